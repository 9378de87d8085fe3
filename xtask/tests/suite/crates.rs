//! Crates from registries, from git and from folders: where they come from, and that nothing writes into them.

use super::kinds::{shipped, with};
use super::support::{Workspace, commit};

/// The manifest of the crate.
const CRATE: &str = "[package]\nname = \"local-crate\"\nversion = \"1.0.0\"\nedition = \"2024\"\nlicense = \"ISC\"\n";

/// A workspace that depends on a crate of a registry on this machine, and the path of its index. The crate has a module
/// `words`, and a build script that does this.
fn with_registry(name: &str, does: &str) -> (Workspace, String) {
    let workspace = with(name, "")
        .write("registry/x/src/lib.rs", "pub mod words;\n")
        .write("registry/x/src/words.rs", "pub const WORD: &str = \"published\";\n")
        .write("registry/x/build.rs", &script(does))
        .write("registry/x/LICENSE", "Free.\n")
        .write("registry/x/Cargo.toml", CRATE);
    let registry = workspace.path("registry");
    let registry = registry.to_str().unwrap();
    let tool = workspace.read("tool/Cargo.toml")
        + "\n[dependencies]\nlocal-crate = { version = \"1\", registry = \"mine\" }\n";
    let workspace = workspace.write("tool/Cargo.toml", &tool).write(
        "registry/index/config.json",
        &format!("{{\"dl\": \"file://{registry}/dl/{{crate}}-{{version}}.crate\"}}\n"),
    );
    let index = format!("file://{registry}/index");
    workspace
        .shell(&format!(
            "set -e; cd registry; mkdir dl index/lo index/lo/ca; mv x local-crate-1.0.0; tar czf dl/local-crate-1.0.0.crate \
             local-crate-1.0.0; sum=$(sha256sum dl/*.crate | cut -c1-64); printf '{{\"name\":\"local-crate\",\"vers\":\"1.0.0\",\
             \"deps\":[],\"cksum\":\"%s\",\"features\":{{}},\"yanked\":false}}\\n' $sum >index/lo/ca/local-crate; rm -r \
             local-crate-1.0.0; cd index; git init -q; git add -A; git -c user.name=a -c user.email=a@b.invalid commit -qm first; \
             cd ../..; printf 'version = 4\\n\\n[[package]]\\nname = \"local-crate\"\\nversion = \"1.0.0\"\\nsource = \
             \"registry+{index}\"\\nchecksum = \"%s\"\\n\\n[[package]]\\nname = \"tool\"\\nversion = \"0.3.0\"\\ndependencies = \
             [\\n \"local-crate\",\\n]\\n' $sum >Cargo.lock"
        ))
        .succeeds();
    let home = workspace.path("cargo-home");
    (workspace.env("CARGO_HOME", home.to_str().unwrap()), index)
}

fn script(does: &str) -> String {
    format!("fn main() {{ println!(\"cargo:rerun-if-changed=build.rs\"); {does} }}\n")
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_registry_is_known_from_the_environment_and_from_what_a_configuration_includes() {
    let (workspace, index) = with_registry("registry", "");
    let workspace = workspace.env("CARGO_REGISTRIES_MINE_INDEX", &index);
    workspace.xtask("dist").succeeds();
    assert!(shipped(&workspace)["THIRD-PARTY-LICENSES.txt"].contains("* local-crate 1.0.0: ISC\n"));

    let (workspace, index) = with_registry("included", "");
    let workspace = workspace
        .write(".cargo/config.toml", "include = [\"sub/mine.toml\", { path = \"none.toml\", optional = true }]\n")
        .write(".cargo/sub/mine.toml", &format!("[registries.mine]\nindex = \"{index}\"\n"));
    workspace.xtask("dist").succeeds();
    assert!(shipped(&workspace)["THIRD-PARTY-LICENSES.txt"].contains("* local-crate 1.0.0: ISC\n"));
}

/// What build scripts do with the sources of their crate, and what is printed of it.
const WRITES: [(&str, &str); 3] = [
    (
        "std::fs::write(\"src/words.rs\", format!(\"pub const WORD: &str = {:?};\", std::env::var(\"TARGET\").unwrap())).unwrap();",
        "src/words.rs of local-crate was changed",
    ),
    ("std::fs::write(\"src/object.o\", \"\").unwrap();", "src/object.o of local-crate was added"),
    ("let _ = std::fs::remove_file(\"LICENSE\");", "LICENSE of local-crate was removed"),
];

const SENTENCE: &str = "a build script wrote into the sources of its crate, which all targets and later builds share: ";

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_build_script_that_writes_into_the_sources_of_its_crate_is_caught_each_time() {
    for (does, fault) in WRITES {
        let (workspace, index) = with_registry("writes", does);
        let workspace = workspace.env("CARGO_REGISTRIES_MINE_INDEX", &index);
        for _ in 0..2 {
            workspace.xtask("dist --arch amd64,arm64").ends_with(1).says(&format!("{SENTENCE}{fault}; have it write "));
            assert!(!workspace.path("dist/release.json").exists(), "{does}");
        }
    }
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn the_same_holds_for_crates_of_git_and_for_those_of_folders_outside_the_repository() {
    let (does, fault) = WRITES[0];
    let fault = fault.replace("changed", "written");
    let workspace = with("of-git", "");
    let other = Workspace::empty("other")
        .write("sub/Cargo.toml", CRATE)
        .write("sub/LICENSE", "Free.\n")
        .write("sub/build.rs", &script(does))
        .write("sub/src/lib.rs", "pub mod words;\n")
        .write("sub/src/words.rs", "");
    commit(&other);
    let home = workspace.path("../home");
    let tool = workspace.read("tool/Cargo.toml")
        + &format!("\n[dependencies]\nlocal-crate.git = \"file://{}\"\n", other.root.display());
    let workspace = workspace.write("tool/Cargo.toml", &tool).env("CARGO_HOME", home.to_str().unwrap());
    workspace.shell("cargo update --quiet --workspace").succeeds();
    for _ in 0..2 {
        workspace.xtask("dist").ends_with(1).says(&format!("{SENTENCE}{fault}; "));
    }
    let other = other.write("sub/build.rs", &script(""));
    commit(&other);
    workspace.shell("cargo update --quiet local-crate").succeeds();
    workspace.xtask("dist").succeeds();
    workspace.xtask("dist").succeeds();

    let other = other.write("sub/build.rs", &script(WRITES[1].0));
    commit(&other);
    workspace.shell("cargo update --quiet local-crate").succeeds();
    let url = format!("file://{}", other.root.display());
    let workspace = workspace.write(
        ".cargo/config.toml",
        &format!(
            "[source.\"git+{url}\"]\ngit = \"{url}\"\nreplace-with = \"vendored\"\n[source.vendored]\ndirectory = \"../vendor\"\n"
        ),
    );
    // As `cargo vendor` does it.
    workspace
        .shell(&format!(
            "mkdir ../vendor && cp -r {}/sub ../vendor/local-crate && cd ../vendor/local-crate && for file in Cargo.toml LICENSE \
             build.rs src/lib.rs src/words.rs; do printf '%s\"%s\":\"%s\"' \"$comma\" $file $(sha256sum <$file | cut -c1-64); \
             comma=,; done >list && echo \"{{\\\"files\\\":{{$(cat list)}},\\\"package\\\":null}}\" >.cargo-checksum.json && rm list",
            other.root.display()
        ))
        .succeeds();
    workspace.xtask("dist").ends_with(1).says(&format!("{SENTENCE}{}; ", WRITES[1].1));
    // What is there already is no better.
    workspace.xtask("dist").ends_with(1).says(WRITES[1].1);
}
