//! Several packages and binaries: in one archive, or in one each.

use std::fs;
use std::process::Command;

use bpfship::testing::{Arch, layout};
use serde_json::{Value, json};

use super::support::{Run, Workspace, has, own_root};

const LOCK: &str = "version = 4\n\n[[package]]\nname = \"extra\"\nversion = \"0.9.0\"\n
[[package]]\nname = \"tool\"\nversion = \"0.3.0\"\n";

const PROBED: &str = "fn main() { println!(\"daemon, loud: {}\", cfg!(feature = \"loud\")); }\n";

const EXTRA: &str = "fn main() { println!(\"extra, without BPF\"); }\n";

/// Two packages with three binaries, of which one needs a feature. `products` is what is configured.
fn workspace(name: &str, products: &str) -> Workspace {
    let workspace = Workspace::usual(name);
    let tool = workspace.read("tool/Cargo.toml")
        + "\n[[bin]]\nname = \"probed\"\npath = \"probed.rs\"\nrequired-features = [\"loud\"]\n\n[features]\nloud = []\n";
    workspace
        .write(
            "Cargo.toml",
            &format!(
                "[workspace]\nmembers = [\"tool\", \"extra\"]\nresolver = \"3\"\n\n[workspace.metadata.bpfship]\n\
                 bpf.folder = \"kernel\"\n{products}"
            ),
        )
        .write("Cargo.lock", LOCK)
        .write("tool/Cargo.toml", &tool)
        .write("tool/probed.rs", PROBED)
        .write(
            "extra/Cargo.toml",
            "[package]\nname = \"extra\"\nversion = \"0.9.0\"\nedition = \"2021\"\nlicense = \"MIT\"\n",
        )
        .write("extra/src/main.rs", EXTRA)
        .write("extra/EXTRA.md", "More.\n")
}

const TOOL: &str = "[[workspace.metadata.bpfship.product]]\npackage = \"tool\"\nbin = [\"probe\", \"probed\"]\n\
                    features = [\"loud\"]\n";

const TOGETHER: &str = "[[workspace.metadata.bpfship.product]]\npackage = \"extra\"\narchive = \"tool\"\n\
                        include = [{ path = \"extra/EXTRA.md\", as = \"EXTRA.md\" }]\n";

const APART: &str = "[[workspace.metadata.bpfship.product]]\npackage = \"extra\"\n";

fn manifest(workspace: &Workspace) -> Value {
    serde_json::from_str(&workspace.read("dist/release.json")).unwrap()
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn two_packages_with_three_binaries_are_shipped_in_one_archive_and_run() {
    let workspace = workspace("together", &format!("{TOOL}{TOGETHER}"));
    workspace.xtask("dist --arch amd64,s390x").succeeds().says("binaries");
    workspace.shell("cd dist && sha256sum -c SHA256SUMS && tar xzf tool-0.3.0-s390x*.tar.gz").succeeds();
    let arch = Arch::named("s390x");
    let folder = format!("dist/tool-0.3.0-{}", arch.triple);
    let binaries = [("probe", "probe of "), ("probed", "daemon, loud: true\n"), ("extra", "extra, without BPF\n")];
    assert_eq!(
        workspace.list(&folder),
        ["COPYRIGHT-library.html", "EXTRA.md", "README.md", "THIRD-PARTY-LICENSES.txt", "extra", "probe", "probed"]
    );
    if has("qemu-s390x", "Debian: apt install qemu-user", Command::new("qemu-s390x").arg("--version").output().is_ok())
    {
        for (name, words) in binaries {
            let binary = workspace.path(&folder).join(name);
            Run::of(Command::new("qemu-s390x").args(["-cpu", arch.oldest_cpu]).arg(binary)).succeeds().says(words);
        }
    }
    let described = &manifest(&workspace)["artifacts"][0]["binaries"];
    let held = |index: usize| (described[index]["file"].clone(), described[index]["bpf_objects"].clone());
    let expected = [("probe", json!(["tick_bpfeb.o"])), ("probed", json!([])), ("extra", json!([]))];
    assert_eq!([0, 1, 2].map(held), expected.map(|(name, held)| (json!(name), held)));
    workspace.xtask("verify").succeeds();

    // Parts of it become the same again.
    let before = workspace.read("dist/SHA256SUMS");
    workspace.shell("mv dist part && \"$BPFSHIP\" merge part").succeeds().says("tool-0.3.0-s390x");
    assert_eq!(workspace.read("dist/SHA256SUMS"), before);
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn each_package_may_have_an_archive_of_its_own() {
    let workspace = workspace("apart", &format!("{TOOL}{APART}"));
    workspace.xtask("dist --arch amd64").succeeds();
    workspace.shell("cd dist && for archive in *.tar.gz; do tar xzf $archive; done").succeeds();
    let list = |stem: &str| workspace.list(&format!("dist/{stem}-x86_64-unknown-linux-musl"));
    assert!(list("tool-0.3.0").contains(&"probed".to_owned()) && !list("tool-0.3.0").contains(&"extra".to_owned()));
    assert_eq!(list("extra-0.9.0")[2..], ["THIRD-PARTY-LICENSES.txt", "extra"]);
    assert_eq!(workspace.read("dist/SHA256SUMS").matches(".tar.gz\n").count(), 2);
    workspace.xtask("verify").succeeds().says("extra-0.9.0-x86_64").says("tool-0.3.0-x86_64");
    workspace
        .xtask("dist --arch arm64 --plan")
        .succeeds()
        .says("dist/extra-0.9.0-aarch64")
        .says("dist/tool-0.3.0-aarch64");

    // Without the one that has the BPF object, it would be shipped to nobody.
    let config = workspace.read("Cargo.toml").replace("[\"probe\", \"probed\"]", "[\"probed\"]");
    let workspace = workspace.write("Cargo.toml", &config);
    let error = "no binary for amd64 has a section with the BPF object tick_bpfel.o";
    workspace.xtask("dist --arch amd64").ends_with(1).says(error);
}

#[test]
fn what_is_wrong_with_products_is_one_sentence() {
    let refused = |products: &str, sentence: &str| {
        workspace("wrong", products).xtask("dist --plan").ends_with(2).says(sentence).in_one_line();
    };
    refused(
        &format!("package = \"tool\"\n{APART}"),
        "and so is `product` in [workspace.metadata.bpfship] of Cargo.toml",
    );
    refused(&format!("{APART}bin = [\"extra\", \"extra\"]\n"), "names `extra` twice");
    refused(&format!("{APART}bin = []\n"), "`bin` in [workspace.metadata.bpfship.product] of Cargo.toml is empty");
    refused(&format!("{APART}{APART}"), "has two binaries `extra`");
    refused(&format!("{APART}archive = \"a/b\"\n"), "is `a/b`; letters, digits");
    refused(&format!("{APART}boot.commands = []\n"), "`commands` in [workspace.metadata.bpfship.product.boot]");
    refused(&format!("{APART}bins = \"x\"\n"), "unknown key `bins` in [workspace.metadata.bpfship.product]");
    refused(
        "[[workspace.metadata.bpfship.product]]\npackage = \"tool\"\n",
        "has several binaries (probe, probed): set `bin`",
    );
    refused(&TOOL.replace("features = [\"loud\"]\n", ""), "binary `probed` needs feature `loud`");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_repository_of_one_package_may_have_the_configuration_in_its_own_table() {
    let workspace = Workspace::usual("single");
    let manifest = workspace.read("tool/Cargo.toml").replace("main.rs", "tool/main.rs");
    let table = "\n[package.metadata.bpfship]\nbpf.folder = \"kernel\"\n";
    fs::remove_file(workspace.path("tool/Cargo.toml")).unwrap();
    let workspace = workspace.write("Cargo.toml", &format!("{manifest}{table}"));
    workspace.xtask("dist --arch amd64").succeeds().says("tool-0.3.0-x86_64-unknown-linux-musl");

    let workspace = workspace.write("Cargo.toml", &format!("{manifest}{table}arches_ = 1\n"));
    let sentence = "unknown key `arches_` in [package.metadata.bpfship] of Cargo.toml";
    workspace.xtask("dist").ends_with(2).says(sentence).in_one_line();
    let both = format!("{manifest}{table}\n[workspace.metadata.bpfship]\npackage = \"tool\"\n");
    workspace.write("Cargo.toml", &both).xtask("dist").ends_with(2).says("has no effect: have it all in [workspace.");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_package_with_a_table_of_its_own_has_a_release_of_its_own() {
    let workspace = workspace("own release", "package = \"tool\"\nbin = \"probe\"\n");
    let package = workspace.read("extra/Cargo.toml")
        + "\n[package.metadata.bpfship]\narches = [\"amd64\"]\n\
         deploy.service = false\n";
    let workspace = workspace.write("extra/Cargo.toml", &package);
    let in_extra = |line: &str| workspace.shell(&format!("cd extra && \"$BPFSHIP\" {line}"));
    workspace.xtask("dist --manifest-path extra/Cargo.toml").succeeds().says("dist/extra/extra-0.9.0-x86_64");
    let files = workspace.list("dist");
    assert_eq!(files, ["extra"], "the release of the workspace is another one");
    assert_eq!(workspace.list("dist/extra").iter().filter(|name| name.ends_with(".tar.gz")).count(), 1);

    // It is a command, and no service.
    in_extra("emit systemd").ends_with(2).says("is a command: nothing runs it as a service").in_one_line();
    in_extra("deploy no-host.invalid --service").ends_with(2).says("nothing runs it as a service").in_one_line();

    // Its own folder names it, too.
    in_extra("dist --plan").succeeds().says("dist/extra/extra-0.9.0-x86_64").says_nothing_of("aarch64");
    in_extra("verify").succeeds().says("extra-0.9.0-x86_64");
    workspace
        .xtask("dist --arch amd64 --plan")
        .succeeds()
        .says("dist/tool-0.3.0-x86_64")
        .says_nothing_of("extra-0.9.0");
    let workspace = workspace.write("extra/Cargo.toml", &package.replace("arches", "arch_es"));
    let sentence = "unknown key `arch_es` in [package.metadata.bpfship] of Cargo.toml";
    workspace.xtask("dist --manifest-path extra/Cargo.toml").ends_with(2).says(sentence).in_one_line();
}

#[test]
fn the_tool_is_called_in_messages_as_it_was_called() {
    let workspace = Workspace::usual("words");
    let called = |name: &str| workspace.shell(&format!("ln -s \"$BPFSHIP\" {name} && ./{name} build")).ends_with(2);
    called("bpfship").says("`bpfship dist` does that").says("Usage: bpfship");
    called("ship").says("`cargo ship dist` does that");
    called("xtask").says("`cargo xtask dist` does that");
}

/// By the templates in the packages' own Cargo.toml. `ci/release-check` has cargo-binstall itself do it.
#[test]
fn what_cargo_binstall_would_fetch_is_what_dist_makes() {
    let read = |path: &str| fs::read_to_string(own_root().join(path)).unwrap().parse::<toml::Table>().unwrap();
    let workspace = read("Cargo.toml");
    let version = workspace["workspace"]["package"]["version"].as_str().unwrap();
    for (path, name) in [("app/Cargo.toml", "exectrace"), ("xtask/Cargo.toml", "bpfship")] {
        let manifest = read(path);
        let binstall = &manifest["package"]["metadata"]["binstall"];
        assert_eq!(manifest["package"]["name"].as_str(), Some(name));
        for arch in ["amd64", "arm64"].map(Arch::named) {
            let rendered = |key: &str| {
                let words = [("repo", "https://example.org"), ("name", name), ("bin", name), ("version", version)];
                let template = binstall[key].as_str().unwrap().replace("{ target }", arch.triple);
                words.iter().fold(template, |text, (word, value)| text.replace(&format!("{{ {word} }}"), value))
            };
            let file = layout::file(name, version, arch);
            assert_eq!(rendered("pkg-url"), format!("https://example.org/releases/download/v{version}/{file}"));
            assert_eq!(rendered("bin-dir"), format!("{}/{name}", file.strip_suffix(".tar.gz").unwrap()));
            assert_eq!(rendered("pkg-fmt"), "tgz");
        }
        // It wants every program of the package, but those that need features.
        for bin in manifest.get("bin").and_then(|bins| bins.as_array()).into_iter().flatten() {
            assert!(bin["name"].as_str() == Some(name) || bin.get("required-features").is_some(), "{bin}");
        }
    }
}
