//! The ways a run can fail: each is one sentence that names what failed, the reason and the remedy, with the failing
//! tool's own words below it (cargo's stand above), and leaves everything as it was.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use bpfship::testing::Cache;

use super::support::{Run, Workspace, can_mount, commit, has, list, own_root};

/// No server listens there.
const DEAD: &str = "http://127.0.0.1:1";

/// The usual workspace, with its own cache.
fn with_cache(name: &str) -> Workspace {
    let workspace = Workspace::usual(name);
    let cache = workspace.path("cache");
    workspace.env("BPFSHIP_CACHE", cache.to_str().unwrap())
}

/// The same, with a `python3` that does this when it is asked to download to `$folder`.
fn with_pip(name: &str, script: &str) -> Workspace {
    let find = "while [ $# -gt 1 ] && [ \"$1\" != --dest ]; do shift; done; folder=$2";
    with_cache(name).program("python3", &format!("#!/bin/sh\n{find}\n{script}\n"))
}

/// A script that prints this to standard error and fails.
fn says(words: &str) -> String {
    format!("cat >&2 <<'END'\n{words}\nEND\nexit 1")
}

/// The folder of the toolchain that these tests were compiled with.
fn toolchain() -> PathBuf {
    let rustc = Command::new("rustc").args(["--print", "sysroot"]).current_dir(own_root()).output().unwrap();
    String::from_utf8(rustc.stdout).unwrap().trim_end().into()
}

/// A toolchain that is the real one but for what it has no standard library, and for what `rustc` does first, in shell.
fn with_toolchain(workspace: Workspace, rustc_first: &str) -> Workspace {
    let sysroot = workspace.path("programs");
    let real = toolchain().join("bin");
    let real = real.display();
    workspace
        .program("rustc", &format!("#!/bin/sh\necho {}\n", sysroot.display()))
        .program("bin/rustc", &format!("#!/bin/sh\n{rustc_first}\nexec {real}/rustc \"$@\"\n"))
        .program("bin/cargo", &format!("#!/bin/sh\nexec {real}/cargo \"$@\"\n"))
}

/// A machine that has these programs and no others.
fn with_programs_only(workspace: Workspace, programs: &[&str]) -> Workspace {
    let folder = workspace.path("few");
    fs::create_dir_all(&folder).unwrap();
    for program in programs {
        let mut folders = env::split_paths(&env::var_os("PATH").unwrap()).collect::<Vec<_>>().into_iter();
        let found = folders.find(|folder| folder.join(program).exists()).unwrap();
        symlink(found.join(program), folder.join(program)).unwrap();
    }
    let path = format!("{}:{}", workspace.path("programs").display(), folder.display());
    workspace.env("PATH", &path)
}

/// A crate from the registry, which cargo must download.
fn with_dependency(workspace: Workspace) -> Workspace {
    let manifest = workspace.read("tool/Cargo.toml");
    let home = workspace.path("cargo-home");
    fs::create_dir_all(&home).unwrap();
    workspace
        .write("tool/Cargo.toml", &format!("{manifest}\n[dependencies]\nitoa = \"1\"\n"))
        .write(
            "Cargo.lock",
            "version = 4\n\n[[package]]\nname = \"itoa\"\nversion = \"1.0.15\"\n\
             source = \"registry+https://github.com/rust-lang/crates.io-index\"\n\
             checksum = \"4a5f13b858c8d314ee3e8f639011f7ccefe71f97f96e50151fb991f267928e2c\"\n\n\
             [[package]]\nname = \"tool\"\nversion = \"0.3.0\"\ndependencies = [\n \"itoa\",\n]\n",
        )
        .env("CARGO_HOME", home.to_str().unwrap())
        .env("CARGO_NET_RETRY", "0")
}

/// A proxy that lets nothing through.
fn proxy_that_refuses() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    format!("http://{address}")
}

/// What must be as it was after a failure, by path: files with their hashes, and the names in the cache.
fn state(workspace: &Workspace) -> BTreeMap<PathBuf, String> {
    fn add(path: &Path, state: &mut BTreeMap<PathBuf, String>) {
        if path.is_dir() {
            list(path).iter().for_each(|name| add(&path.join(name), state));
        } else if path.exists() {
            state.insert(path.into(), bpfship::testing::hash::file(path).unwrap().to_string());
        }
    }
    let mut state = BTreeMap::new();
    for path in ["dist", "kernel", "cache"] {
        add(&workspace.path(path), &mut state);
    }
    state.retain(|path, _| !path.starts_with(workspace.path("cache/locks")));
    state
}

/// Runs it. It fails with this sentence, in which `@` stands for the folder of the workspace, and changes nothing.
#[track_caller]
fn fails(workspace: &Workspace, line: &str, sentence: &str) -> Run {
    let before = state(workspace);
    let run = Run::of(workspace.command(line).env("RUST_BACKTRACE", "1"));
    assert!(state(workspace) == before, "it changed something:\n{}", run.text());
    fails_with(run, &sentence.replace('@', workspace.root.to_str().unwrap()))
}

/// The run failed, and its last error is this sentence. The output of a tool is indented, so no other line looks like
/// it.
#[track_caller]
fn fails_with(run: Run, sentence: &str) -> Run {
    let run = run.ends_with(1);
    let text = run.text();
    assert_eq!(text.lines().rfind(|line| line.starts_with("error: ")), Some(&*format!("error: {sentence}")), "{text}");
    run
}

const NO_NETWORK: &str = "the network does not answer: see that this machine is connected, and that HTTPS_PROXY is \
                          right, or not set where no proxy is needed";
const NO_PROXY: &str = "the proxy does not answer, or does not let it through: see that HTTPS_PROXY names one that works, \
                        with user and password if it wants them, and NO_PROXY what needs none";
const UNTRUSTED: &str = "the server's certificate is not trusted: set PIP_CERT, CARGO_HTTP_CAINFO and SSL_CERT_FILE to \
                         your organisation's certificates";
const NO_PIP: &str = "python3 has no pip: install it: apt install python3-pip (Debian), dnf install python3-pip (Fedora), \
                      pacman -S python-pip (Arch), brew install python (macOS)";
const OLD_PIP: &str = "this pip is too old: bring it up to date: python3 -m pip install --user --upgrade pip";
const CACHE_IS_FULL: &str = "the disk is full: free some space, or set BPFSHIP_CACHE to a folder on a larger disk";

#[test]
#[ignore = "long: --include-ignored runs it"]
fn what_keeps_pip_from_getting_the_compiler_is_reported() {
    for (name, words, reason) in [
        (
            "no network",
            "WARNING: Retrying (Retry(total=0, connect=None, read=None, redirect=None, status=None)) after connection broken by 'NewConnectionError('<pip._vendor.urllib3.connection.HTTPSConnection object at 0x7fe55cbeb210>: Failed to establish a new connection: [Errno -3] Temporary failure in name resolution')': /simple/ziglang/
ERROR: Could not find a version that satisfies the requirement ziglang==0.17.1 (from versions: none)
ERROR: No matching distribution found for ziglang==0.17.1",
            NO_NETWORK,
        ),
        (
            "certificate",
            "Could not fetch URL https://localhost:41193/ziglang/: There was a problem confirming the ssl certificate: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate (_ssl.c:1020) - skipping
ERROR: Could not find a version that satisfies the requirement ziglang==0.17.1 (from versions: none)
ERROR: No matching distribution found for ziglang==0.17.1",
            UNTRUSTED,
        ),
        ("no pip", "/usr/bin/python3: No module named pip", NO_PIP),
        ("very old pip", "ERROR: unknown command \"download\"", OLD_PIP),
        (
            "old pip",
            "  Could not find a version that satisfies the requirement ziglang==0.17.1 (from -r requirements.txt (line 1)) (from versions: 0.0.0)
No matching distribution found for ziglang==0.17.1 (from -r requirements.txt (line 1))",
            OLD_PIP,
        ),
        (
            "hash",
            "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. If you have updated the package versions, please update the hashes. Otherwise, examine the package contents carefully; someone may have tampered with them.",
            "what came is not the pinned file: try again; if that does not help, a mirror in pip's configuration \
             (`python3 -m pip config list`) serves another one",
        ),
        (
            "cut off",
            "error: incomplete-download\n\n× Download failed after 6 attempts because not enough bytes were received (10.5 MB/101.1 MB)",
            "the download was cut off: try again; if it is cut off each time, see whether the disk of BPFSHIP_CACHE is full, \
             which pip does not report",
        ),
        (
            "index",
            "ERROR: Could not find a version that satisfies the requirement ziglang==0.17.1 (from versions: none)\nERROR: No matching distribution found for ziglang==0.17.1",
            "the package index does not answer, or has no such package: see that this machine is connected, and which \
             index pip asks: python3 -m pip config list",
        ),
        (
            "version",
            "ERROR: Could not find a version that satisfies the requirement ziglang==0.17.1 (from versions: 0.15.1, 0.15.2)\nERROR: No matching distribution found for ziglang==0.17.1",
            "the package index does not have this version: see which index pip asks: python3 -m pip config list",
        ),
        ("odd", "Segmentation fault", "python3 failed (exit code 1)"),
    ] {
        let workspace = with_pip(name, &says(words));
        let last = words.lines().last().unwrap();
        fails(&workspace, "bpf", &format!("cannot get ziglang==0.17.1 with pip: {reason}"))
            .says("\n\npython3 printed:\n  ")
            .says(&format!("\n  {last}\n"));
    }
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn the_real_pip_without_a_network_is_understood() {
    let pip = Command::new("python3").args(["-m", "pip", "--version"]).output();
    if !has("pip", "install it", pip.is_ok_and(|output| output.status.success())) {
        return;
    }
    for proxy in [DEAD, &proxy_that_refuses()] {
        let workspace =
            with_cache("real pip").env("HTTPS_PROXY", proxy).env("PIP_RETRIES", "1").env("PIP_FIND_LINKS", "");
        // One pip says that the proxy refuses the connection, and another that the connection is refused.
        let before = state(&workspace);
        let run = workspace.xtask("bpf").ends_with(1).says("python3 printed:\n  ");
        let text = run.text();
        let reasons = [NO_PROXY, NO_NETWORK].map(|reason| format!("cannot get ziglang==0.17.1 with pip: {reason}\n"));
        assert!(text.contains(&reasons[0]) || proxy == DEAD && text.contains(&reasons[1]), "{text}");
        assert_eq!(state(&workspace), before);
    }
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_program_that_prints_nothing_or_nonsense_or_too_much_is_handled() {
    let sentence = "cannot get ziglang==0.17.1 with pip: python3 failed (exit code 3)";
    let silent = fails(&with_pip("silent", "exit 3"), "bpf", sentence);
    silent.says_nothing_of("printed:");

    // With -v, it was read already.
    let loud = fails(&with_pip("loud", "echo why >&2; exit 3"), "-v bpf", &format!("{sentence}, for the reason above"));
    loud.says("\nwhy\n").says_nothing_of("printed:");

    let nonsense = fails(&with_pip("nonsense", "printf 'caf\\351 \\000\\033[31m' >&2; exit 3"), "bpf", sentence);
    nonsense.says("python3 printed:\n  caf\u{fffd}");

    let script = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); echo line $i; done; exit 3";
    let long = fails(&with_pip("long", script), "bpf", sentence);
    long.says("python3 printed:\n  line 99971\n").says("\n  line 100000\n").says_nothing_of("line 99970\n");

    let script = "head -c 3000000 /dev/zero | tr '\\0' x; exit 3";
    let wide = fails(&with_pip("wide", script), "bpf", sentence).says("xxx …\n");
    assert!(wide.text().len() < 3000, "{} bytes", wide.text().len());
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn what_keeps_rustup_from_getting_a_standard_library_is_reported() {
    const DOWNLOAD: &str = "info: downloading component rust-std\nerror: component download failed for rust-std-aarch64-unknown-linux-musl\n\nCaused by:";
    const URL: &str = "https://mirror.example/dist/2026-04-16/rust-std-1.95.0-aarch64-unknown-linux-musl.tar.xz";
    const TRACE: &str = "\n\nStack backtrace:\n   0: rustup::download::download_file_with_resume";
    let sending = format!("{DOWNLOAD}\n    3: error sending request for url ({URL})\n    4: client error (Connect)");
    for (name, words, reason) in [
        (
            "dns",
            format!(
                "{sending}\n    5: dns error\n    6: failed to lookup address information: Temporary failure in name resolution{TRACE}"
            ),
            NO_NETWORK,
        ),
        ("refused", format!("{sending}\n    5: tunnel error: unsuccessful{TRACE}"), NO_PROXY),
        ("certificate", format!("{sending}\n    5: invalid peer certificate: UnknownIssuer{TRACE}"), UNTRUSTED),
        (
            "not there",
            format!(
                "{DOWNLOAD}\n    0: could not download file from '{URL}'\n    1: http request returned an unsuccessful status code: 404{TRACE}"
            ),
            "the server that rustup asks does not have it: see RUSTUP_DIST_SERVER; a standard library can also be built \
             from its sources (`--std source`)",
        ),
        (
            "full",
            format!("{DOWNLOAD}\n    unable to write download to disk: No space left on device (os error 28)"),
            "the disk is full: free some space",
        ),
        (
            "read-only",
            format!(
                "{DOWNLOAD}\n    could not create Download Directory directory: '/opt/rustup/downloads': Permission denied (os error 13)"
            ),
            "rustup may not write where it keeps toolchains: run this as the owner of that folder \
             (RUSTUP_HOME), or install your own rustup",
        ),
    ] {
        let workspace =
            with_toolchain(with_cache(name), "").program("rustup", &format!("#!/bin/sh\n{}\n", says(&words)));
        workspace.xtask("bpf --plan").succeeds();
        let sentence = format!("cannot get aarch64-unknown-linux-musl with rustup: {reason}");
        let locked = up_to_date(workspace);
        fails(&locked, "dist --arch arm64", &sentence).says("rustup printed:\n  ").says_nothing_of("backtrace");
    }
}

/// Its BPF objects are compiled with the compiler in the real cache.
fn up_to_date(workspace: Workspace) -> Workspace {
    let cache = Cache::find().unwrap();
    Run::of(workspace.command("bpf").env("BPFSHIP_CACHE", &cache.folder)).succeeds();
    workspace
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn an_incomplete_toolchain_is_reported_with_what_it_lacks() {
    let lacking = |name: &str| up_to_date(with_toolchain(with_cache(name), ""));

    let sources = lacking("no sources").program("rustup", &format!("#!/bin/sh\n{}\n", says("error: odd")));
    fails(&sources, "dist --arch mips", "cannot get rust-src with rustup: rustup failed (exit code 1)")
        .says("rustup printed:\n  error: odd\n");

    let useless = lacking("useless").program("rustup", "#!/bin/sh\n");
    fails(
        &useless,
        "dist --arch arm64",
        "cannot get aarch64-unknown-linux-musl with rustup: rustup reported success, but it is not in @/programs, which is \
         in use: put rustup's Rust first on PATH",
    );

    let no_rustup = with_programs_only(lacking("no rustup"), &["sh", "env"]);
    fails(
        &no_rustup,
        "dist --arch arm64",
        "cannot get aarch64-unknown-linux-musl with rustup: there is no rustup on this machine: see https://rustup.rs",
    );

    let no_cargo = lacking("no cargo");
    fs::remove_file(no_cargo.path("programs/bin/cargo")).unwrap();
    fails(
        &no_cargo,
        "bpf",
        "cannot read the workspace of @/Cargo.toml with cargo: there is no @/programs/bin/cargo: install the toolchain \
         again with rustup",
    );
    fs::remove_file(no_cargo.path("programs/bin/rustc")).unwrap();
    fails(&no_cargo, "bpf", "there is no @/programs/bin/rustc: install the toolchain again with rustup");
}

#[test]
fn on_a_machine_without_rust_git_or_python_the_error_shows_how_to_get_them() {
    let workspace = with_programs_only(with_cache("no rust"), &["sh", "env"]);
    fails(&workspace, "bpf", "cannot ask rustc where it is: there is no rustc on this machine: see https://rustup.rs");

    let workspace = with_programs_only(with_toolchain(with_cache("no python"), ""), &["sh", "env"]);
    fails(
        &workspace,
        "bpf",
        "cannot get ziglang==0.17.1 with pip: there is no python3 on this machine: apt install python3 python3-pip \
         (Debian), dnf install python3 python3-pip (Fedora), pacman -S python python-pip (Arch), brew install python \
         (macOS)",
    );

    let workspace = with_programs_only(with_toolchain(with_cache("no git"), ""), &["sh", "env"]);
    fs::create_dir_all(workspace.path(".git")).unwrap();
    let sentence = format!(
        "cannot ask git about {}: there is no git on this machine: apt install git (Debian), dnf install git (Fedora), \
         pacman -S git (Arch), brew install git (macOS)",
        workspace.root.display()
    );
    fails(&workspace, "dist", &sentence);
}

#[test]
fn a_toolchain_that_rustup_does_not_have_is_reported_with_how_to_install_it() {
    let words = "error: toolchain '1.95.0-x86_64-unknown-linux-gnu' is not installed\nhelp: run `rustup toolchain install` to install it";
    let workspace = with_cache("no toolchain").program("rustc", &format!("#!/bin/sh\n{}\n", says(words)));
    fails(
        &workspace,
        "bpf",
        "cannot ask rustc where it is: rustup does not have the Rust that this workspace wants: install it: rustup \
         toolchain install",
    )
    .says("rustc printed:\n  error: toolchain '1.95.0");
}

#[test]
fn a_repository_without_a_commit_has_no_date_and_whose_it_is_does_not_matter() {
    let workspace = Workspace::usual("no commit").env("GIT_CONFIG_GLOBAL", "/dev/null").env("LANGUAGE", "de");
    workspace.shell("git init -q").succeeds();
    let workspace = workspace.without_env("SOURCE_DATE_EPOCH");
    workspace.xtask("dist --arch amd64 --plan").ends_with(2).says("is in no commit of a git repository").in_one_line();
    if can_mount() {
        let workspace = workspace.write(".gitignore", "/target\n");
        commit(&workspace);
        workspace.shell("chown -R 65534 .").succeeds();
        workspace.xtask("dist --arch amd64 --plan").succeeds();
    }
}

#[test]
fn what_keeps_cargo_from_getting_crates_is_reported() {
    for (proxy, reason) in [(DEAD, NO_NETWORK), (&proxy_that_refuses(), NO_PROXY)] {
        let workspace = with_dependency(with_cache("crates")).env("HTTPS_PROXY", proxy);
        fails(&workspace, "bpf", &format!("cannot get the crates of @/Cargo.lock with cargo: {reason}"))
            .says("cargo printed:\n  ");
    }
    let sentence = "cannot get the crates of @/Cargo.lock with cargo: a crate was never downloaded: run once without \
                    --offline";
    fails(&with_dependency(with_cache("offline crates")), "bpf --offline", sentence);
}

/// The lines that a build which fails for these architectures ends with.
#[track_caller]
fn fails_to_build(workspace: &Workspace, line: &str, failures: &str) -> Run {
    let run = fails(workspace, line, "nothing was written to dist/, because this failed:");
    let text = run.text();
    let (_, listed) = text.rsplit_once("because this failed:").unwrap();
    assert_eq!(listed, failures, "{text}");
    run
}

/// A workspace that has all it needs, and in `dist/` what an earlier run left there, whose `tool/main.rs` ends with
/// this.
fn with_code(name: &str, code: &str) -> Workspace {
    let workspace = Workspace::usual(name).write("dist/SHA256SUMS", "before\n");
    workspace.xtask("bpf").succeeds();
    let main = workspace.read("tool/main.rs");
    workspace.write("tool/main.rs", &format!("{main}{code}\n"))
}

/// The same with a call of a function that is nowhere.
fn with_call(name: &str, declaration: &str) -> Workspace {
    let workspace = with_code(name, declaration);
    let main = workspace.read("tool/main.rs").replace("fn main() {", "fn main() {\n    unsafe { deflate() };");
    workspace.write("tool/main.rs", &main)
}

/// Whether the standard library for this target was built before: here is no time for it.
fn has_sysroot(triple: &str) -> bool {
    let entries = Cache::find().unwrap().entries().unwrap();
    let found = entries.iter().any(|name| name.starts_with(&format!("sysroot-{triple}-")));
    has(&format!("the standard library for {triple}"), "cargo xtask dist", found)
}

/// All architectures, or those that need no standard library of our own.
fn arches() -> &'static str {
    let source = ["riscv64gc", "loongarch64", "s390x", "mips"];
    match source.iter().all(|cpu| has_sysroot(&format!("{cpu}-unknown-linux-musl"))) {
        true => "amd64, arm64, riscv64, loong64, s390x, mips",
        false => "amd64, arm64",
    }
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_build_script_that_fails_for_each_target_is_reported_once() {
    let arches = arches();
    let line = format!("dist --arch {}", arches.replace(' ', ""));
    for (name, script, once, reason) in [
        (
            "script",
            "println!(\"cargo:rerun-if-changed=x\"); eprintln!(\"no luck\"); std::process::exit(1)",
            "no luck",
            "its build script failed: see its words above",
        ),
        (
            "script with its own words",
            "println!(\"cargo::error=it wants a compass\")",
            "error: tool@0.3.0: it wants a compass",
            "its build script failed: see its words above",
        ),
        ("script that is wrong", "let x: u8 = \"\";", "mismatched types", "for the reason above"),
        (
            "C code",
            // What the crate cc prints.
            "println!(\"cargo:rerun-if-env-changed=CC\"); eprintln!(\"\\n\\nerror occurred in cc-rs: failed to find tool \\\"aarch64-linux-musl-gcc\\\": No such file or directory (os error 2)\\n\\n\"); std::process::exit(1)",
            "error occurred in cc-rs",
            "a crate compiles C code with a program that is not on this machine: install it, or use a feature of the crate \
             that does not need it",
        ),
    ] {
        let workspace = with_code(name, "").write("tool/build.rs", &format!("fn main() {{ {script} }}\n"));
        let what = if reason.starts_with("for") { ", " } else { ": " };
        let run = fails_to_build(&workspace, &line, &format!("\n  {arches}: cannot build `tool`{what}{reason}\n"));
        assert_eq!(run.text().matches(once).count(), 1, "{}", run.text());
        run.says_nothing_of("cargo:rerun").says_nothing_of("panicked");
    }
}

/// Why the binary of `with_call` is not linked.
const UNDEFINED: &str = "linking failed, because a symbol is undefined (`deflate`, used by crate `probe`): link what defines \
                         it for this target, or use a feature of that crate, or another crate, that does not need it";

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_crate_that_cannot_be_linked_is_reported_with_what_is_missing() {
    for (name, declaration, words, reason) in [
        (
            "undefined",
            "unsafe extern \"C\" { fn deflate() -> i32; }",
            "rust-lld: error: undefined symbol: deflate",
            UNDEFINED,
        ),
        (
            "library",
            "#[link(name = \"z\")] unsafe extern \"C\" { fn deflate() -> i32; }",
            "rust-lld: error: unable to find library -lz",
            "linking failed, because a library is missing for this target (`z`): use a feature of the crate that links it, \
             or another crate, that does not need it",
        ),
    ] {
        let workspace = with_call(name, declaration);
        let run =
            fails_to_build(&workspace, "dist --arch arm64", &format!("\n  arm64: cannot build `tool`: {reason}\n"));
        assert_eq!(run.text().matches(words).count(), 1, "{}", run.text());
    }
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn the_architectures_that_fail_are_listed_each_with_its_own_reason() {
    if !["mips", "s390x"].iter().all(|cpu| has_sysroot(&format!("{cpu}-unknown-linux-musl"))) {
        return;
    }
    const ATOMIC: &str = "the code uses 64-bit atomics, which a 32-bit processor does not have: use those of the crate \
                          portable-atomic, or leave the architecture out of `arches`";
    let atomic =
        with_code("atomic", "#[used] static COUNT: std::sync::atomic::AtomicU64 = unsafe { std::mem::zeroed() };");
    fails_to_build(&atomic, "dist --arch mips,s390x", &format!("\n  mips: cannot build `tool`: {ATOMIC}\n"))
        .says("error[E0425]: cannot find type `AtomicU64` in module `std::sync::atomic`");

    // Printed of one crate for one target each: cargo does not name it.
    let both = with_code(
        "both",
        "#[cfg(target_arch = \"mips\")]\nuse std::sync::atomic::AtomicU64;\n#[cfg(target_arch = \"s390x\")]\ncompile_error!(\"no mainframes\");",
    );
    fails_to_build(&both, "dist --arch mips,s390x", "\n  mips, s390x: cannot build `tool`, for the reason above\n")
        .says("no `AtomicU64` in `sync::atomic`")
        .says("error: no mainframes");

    // Linkers name the target.
    let linking = with_call(
        "linking",
        "unsafe extern \"C\" { fn deflate() -> i32; }\n#[cfg(target_arch = \"mips\")]\ncompile_error!(\"no routers\");",
    );
    let failures =
        format!("\n  s390x: cannot build `tool`: {UNDEFINED}\n  mips: cannot build `tool`, for the reason above\n");
    fails_to_build(&linking, "dist --arch s390x,mips", &failures).says("undefined symbol: deflate");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn with_quiet_only_failures_are_printed_and_a_warning_never_more_than_once() {
    let failing = with_code("quiet", "fn unused() {}\ncompile_error!(\"no way\");");
    let text =
        fails(&failing, "-q dist --arch amd64,arm64", "nothing was written to dist/, because this failed:").text();
    assert!(text.starts_with("error: no way\n"), "{text}");
    assert!(
        text.ends_with("because this failed:\n  amd64, arm64: cannot build `tool`, for the reason above\n"),
        "{text}"
    );
    assert_eq!(text.matches("error: ").count(), 2, "{text}");

    let warning = with_code("warning", "fn unused() {}");
    let text = warning.xtask("dist --arch amd64,arm64").succeeds().text();
    assert_eq!(text.matches("warning: function `unused` is never used").count(), 1, "{text}");
    assert_eq!(warning.xtask("-q dist --arch amd64,arm64").succeeds().text(), "");
}

#[test]
fn a_compiler_that_is_killed_is_reported_with_the_likely_reason() {
    let first = "case \"$*\" in *'--crate-name probe'*) kill -9 $$;; esac";
    let workspace = with_toolchain(with_code("killed", ""), first);
    symlink(toolchain().join("lib"), workspace.path("programs/lib")).unwrap();
    let failures = "\n  amd64: cannot build `tool`: the compiler or a build script was killed, most likely because the \
                    machine ran out of memory: build less at once: set CARGO_BUILD_JOBS=1, or name one --arch at a time\n";
    fails_to_build(&workspace, "dist --arch amd64", failures)
        .says("(signal: 9, SIGKILL: kill)")
        .says_nothing_of("--extern");

    let name = bpfship::testing::zig::name().unwrap();
    let script = "#!/bin/sh\nkill -9 $$\n";
    let contents = format!("{}  zig\n", bpfship::testing::hash::bytes(script.as_bytes()));
    let workspace = with_cache("clang").program("zig", script).write(&format!("cache/{name}/CONTENTS"), &contents);
    fs::copy(workspace.path("programs/zig"), workspace.path(&format!("cache/{name}/zig"))).unwrap();
    fails(&workspace, "bpf", "cannot compile the BPF objects; the previous ones are untouched:")
        .says("\n  tick_bpfel.o, tick_bpfeb.o: clang was killed, most likely because the machine ran out of memory\n");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn an_engine_that_fails_after_it_answered_is_reported_with_its_output() {
    const ANSWERS: &str = "case \"$1\" in version) echo '27.0 linux/amd64 2'; exit;; \
                           image) echo sha256:1 linux/amd64; exit;; rm|cp) exit;; esac";
    const OTHERWISE: &str = "fix the problem above, or use --engine host, which needs no container";
    let without_image = ANSWERS.replace("echo sha256:1 linux/amd64; exit;;", "exit 1;;");
    for (name, script, sentence) in [
        (
            "create",
            format!("{ANSWERS}\n[ $1 = run ] || {{ {}; }}", says("Error response from daemon: strange")),
            format!("cannot give a container the sources: docker failed (exit code 1): {OTHERWISE}"),
        ),
        (
            "run",
            format!("{ANSWERS}\n[ $1 = create ] && exit; echo 'docker: Error response from daemon: strange' >&2; exit 125"),
            format!(
                "cannot compile the BPF objects; the previous ones are untouched:\n  tick_bpfel.o, tick_bpfeb.o: the container \
                 did not start: docker failed (exit code 125): {OTHERWISE}"
            ),
        ),
        (
            "killed in a container",
            format!("{ANSWERS}\n[ $1 = create ] && exit; exit 137"),
            "cannot compile the BPF objects; the previous ones are untouched:\n  tick_bpfel.o, tick_bpfeb.o: clang was killed, \
             most likely because the machine ran out of memory"
                .into(),
        ),
        (
            "full",
            format!("{without_image}\n{}", says("Error response from daemon: write /var/lib/docker/tmp/x: no space left on device")),
            "cannot get the image of the compiler: the disk on which the engine keeps its images is full: free some space \
             there; its `system df` shows what uses it"
                .into(),
        ),
    ] {
        let workspace = Workspace::usual(name).program("docker", &format!("#!/bin/sh\n{script}\n"));
        // Where it says that it has the image, it is the one that was built.
        let image = bpfship::testing::container::tag().unwrap().replace("bpfship-bpf-clang:", "image-docker-");
        let cache = workspace.path("cache").to_str().unwrap().to_owned();
        let workspace = match name {
            "full" => workspace,
            _ => workspace.write(&format!("cache/{image}"), "sha256:1").env("BPFSHIP_CACHE", &cache),
        };
        let (first, rest) = sentence.split_once('\n').unwrap_or((&sentence, ""));
        let run = fails(&workspace, "bpf --engine docker", first).says(rest);
        if !name.starts_with("killed") {
            run.says("\n\ndocker printed:\n  ");
        }
    }
}

/// Runs a script in which the tool meets a file system of this kind in the folder that `$folder` names. The script ends
/// with the exit code of the tool, and so does the run.
fn with_file_system(workspace: &Workspace, folder: &str, options: &str, script: &str) -> Run {
    let folder = workspace.path(folder);
    fs::create_dir_all(&folder).unwrap();
    let script = format!(
        "export RUST_BACKTRACE=1 folder='{}'; mount -t tmpfs -o {options} none \"$folder\" || exit 99\n{script}",
        folder.display()
    );
    workspace.shell_with_mounts(&script)
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_full_cache_is_reported_and_left_empty() {
    if !can_mount() {
        return;
    }
    let list = "code=$?; ls -A \"$folder\"; exit $code";
    let fill = "mkdir -p \"$folder\"; head -c 3000000 /dev/zero >\"$folder/ziglang.whl\" || exit 1";
    let download = with_pip("download", fill);
    let run = with_file_system(&download, "cache", "size=1m", &format!("\"$BPFSHIP\" bpf; {list}"));
    fails_with(run, &format!("cannot get ziglang==0.17.1 with pip: {CACHE_IS_FULL}"))
        .says("No space left on device")
        .says_nothing_of(".partial");

    let rust_src = toolchain().join("lib/rustlib/src/rust/library/std/Cargo.toml").exists();
    if has("rust-src", "rustup component add rust-src", rust_src) {
        let compiler = Cache::find().unwrap().path(&bpfship::testing::zig::name().unwrap());
        let library = up_to_date(with_cache("library"));
        let script = format!("ln -s '{}' \"$folder\" && \"$BPFSHIP\" dist --arch mips; {list}", compiler.display());
        let run = with_file_system(&library, "cache", "size=1m", &script);
        fails_with(run, "cannot build the standard library:")
            .says(&format!("\n  mips: cannot build the C runtime: {CACHE_IS_FULL}"))
            .says("zig printed:\n  ")
            .says_nothing_of("unable to write cached")
            .says_nothing_of(".partial");
    }
}

#[test]
fn a_read_only_cache_is_reported_with_the_remedy() {
    if !can_mount() {
        return;
    }
    let workspace = with_pip("read-only", "exit 1");
    let run = with_file_system(&workspace, "cache", "ro", "\"$BPFSHIP\" bpf");
    let cache = workspace.path("cache");
    fails_with(
        run,
        &format!(
            "cannot get ziglang==0.17.1 with pip: cannot write to the cache {}: Read-only file system (os error 30): set BPFSHIP_CACHE to a folder that can be \
             written",
            cache.display()
        ),
    );
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_full_target_folder_is_reported() {
    if !can_mount() {
        return;
    }
    let workspace = with_code("target", "");
    let run = with_file_system(&workspace, "target", "size=1m", "\"$BPFSHIP\" dist --arch amd64");
    let failures = "  amd64: cannot build `tool`: the disk is full: free some space, or have the build elsewhere \
                    (CARGO_TARGET_DIR for binaries, BPFSHIP_CACHE for standard libraries)\n";
    fails_with(run, "nothing was written to dist/, because this failed:").says(failures);
    let run =
        with_file_system(&workspace, "target", "size=4k", "echo >\"$folder/full\"; \"$BPFSHIP\" dist --arch amd64");
    run.ends_with(1).says("No space left on device (os error 28): free some space on that disk\n").in_one_line();
    assert_eq!(workspace.list("dist"), ["SHA256SUMS"]);
}

#[test]
fn of_objects_that_do_not_fit_on_the_disk_none_is_replaced() {
    if !can_mount() {
        return;
    }
    let workspace = Workspace::usual("objects");
    workspace.xtask("bpf").succeeds();
    let workspace = workspace.write("kernel/include/answer.h", "#define ANSWER 43\n");
    // Room for the two objects and one more.
    let script = "before=$(cat \"$folder\"/*.o | sha256sum); \"$BPFSHIP\" bpf; code=$?
        [ \"$before\" = \"$(cat \"$folder\"/*.o | sha256sum)\" ] || echo altered; ls -A \"$folder\"; exit $code";
    let script = format!("cp kernel/saved/* \"$folder\" && {script}");
    workspace.shell("cp -r kernel/objects kernel/saved").succeeds();
    let run = with_file_system(&workspace, "kernel/objects", "size=12k", &script);
    let file = workspace.path("kernel/objects/tick_bpfel.o");
    fails_with(
        run,
        &format!(
            "cannot write {}: No space left on device (os error 28): free some space on that disk",
            file.display()
        ),
    )
    .says_nothing_of("altered")
    .says_nothing_of(".partial");
}

#[test]
fn an_untrusted_certificate_of_a_registry_of_crates_is_understood() {
    // As the real cargo says it; a server with such a certificate is more than a test should need.
    let words = "error: failed to get `itoa` as a dependency of package `tool v0.3.0`\n\nCaused by:\n  [60] SSL peer certificate or SSH remote key was not OK (SSL certificate problem: self-signed certificate)";
    let workspace = with_toolchain(with_cache("registry"), "");
    let real = toolchain();
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *--no-deps*) exec {}/bin/cargo \"$@\";; esac\n{}\n",
        real.display(),
        says(words)
    );
    let workspace = workspace.program("bin/cargo", &script);
    fails(&workspace, "bpf", &format!("cannot get the crates of @/Cargo.lock with cargo: {UNTRUSTED}"));
}
