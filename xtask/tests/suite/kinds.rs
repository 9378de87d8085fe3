//! What a workspace, its machine and its settings may be like, and that each is shipped right or refused before a
//! build.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use serde_json::Value;

use super::support::{Run, Workspace, commit};

const STEM: &str = "tool-0.3.0-x86_64-unknown-linux-musl";

/// A workspace that is shipped for amd64 alone, with more of its configuration.
pub fn with(name: &str, config: &str) -> Workspace {
    Workspace::new(name, &format!("package = \"tool\"\nbpf.folder = \"kernel\"\narches = [\"amd64\"]\n{config}"))
}

/// A link in the workspace.
fn link(workspace: &Workspace, file: &str, to: &str) {
    let file = workspace.path(file);
    let _ = fs::remove_file(&file);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    symlink(to, file).unwrap();
}

/// The texts in the archive, by their names in it.
pub fn shipped(workspace: &Workspace) -> BTreeMap<String, String> {
    let archive = fs::File::open(workspace.path(&format!("dist/{STEM}.tar.gz"))).unwrap();
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(archive));
    let read = |entry: std::io::Result<tar::Entry<'_, _>>| {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        let name = entry.path().unwrap().strip_prefix(STEM).unwrap().to_str().unwrap().to_owned();
        (name, String::from_utf8_lossy(&bytes).into_owned())
    };
    tar.entries().unwrap().map(read).collect()
}

/// Refused as a usage error, in one line, before any work.
#[track_caller]
fn is_refused(workspace: &Workspace, run: Run, words: &str) {
    run.ends_with(2).says(words).in_one_line();
    for folder in ["target/bpfship/build", "dist/.partial"] {
        assert!(!workspace.path(folder).exists(), "{folder} was made");
    }
}

/// Runs the tool as a user other than root, whom the modes of files keep out.
fn as_plain_user(workspace: &Workspace, line: &str) -> Run {
    let run = "as() { if [ $(id -u) = 0 ]; then setpriv --inh-caps=-dac_override,-dac_read_search \
               --bounding-set=-dac_override,-dac_read_search \"$@\"; else \"$@\"; fi; }; as \"$BPFSHIP\"";
    workspace.shell(&format!("{run} {line}"))
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_link_that_leads_out_of_the_repository_never_ships() {
    for (file, to, include) in [
        ("evil", "/etc/hostname", "evil"),
        ("docs/evil", "/etc/hostname", "docs"),
        ("docs/evil", "../../../outside", "docs"),
        ("evil", "other", "evil"),
        ("folder", "..", "folder/links/tool"),
        ("README.md", "/etc/hostname", "tool"),
        ("CHANGELOG", "../outside", "tool"),
        ("LICENSE-MIT", "other", "tool"),
        ("LICENSES/MIT.txt", "/etc/hostname", "tool"),
    ] {
        let workspace = with("links", &format!("include = [\"{include}\"]\n"));
        fs::write(workspace.path("../outside"), "a secret").unwrap();
        link(&workspace, "other", "/etc/hostname");
        link(&workspace, file, to);
        commit(&workspace);
        let run = workspace.xtask("dist");
        let said = run.text().matches(&format!("is a link that leads to {to}, outside")).count();
        assert!(said <= 1, "{}", run.text());
        is_refused(&workspace, run, "is a link that leads ");
    }
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_link_inside_the_repository_is_packed_as_what_it_leads_to() {
    // The workspace is a folder of the repository, and one of its submodules is included.
    let workspace = with("inside", "include = [\"manual\", \"page\", \"module\", \"by-link\"]\n")
        .write("docs/man/probe.1", "A page.\n")
        .without_env("SOURCE_DATE_EPOCH");
    fs::write(workspace.path("../README.md"), "Of the repository.\n").unwrap();
    link(&workspace, "README.md", "../README.md");
    link(&workspace, "manual", "docs/man");
    link(&workspace, "page", "manual/probe.1");
    link(&workspace, "by-link", "module/text");
    workspace
        .shell(
            "set -e; git='git -c protocol.file.allow=always -c user.name=a -c user.email=a@b.invalid'; git init -q ../module; \
             echo 'A module.' >../module/text; $git -C ../module add -A; $git -C ../module commit -qm first; cd ..; \
             git init -q; echo '/module/' >.gitignore; $git submodule --quiet add ./module inside/module; \
             git add inside README.md .gitmodules; $git commit -qm first",
        )
        .succeeds();
    workspace.xtask("dist").succeeds();
    let files = shipped(&workspace);
    let expected = [
        ("README.md", "Of the repository.\n"),
        ("manual/probe.1", "A page.\n"),
        ("page", "A page.\n"),
        ("module/text", "A module.\n"),
        ("by-link", "A module.\n"),
    ];
    for (name, text) in expected {
        assert_eq!(files.get(name).map(String::as_str), Some(text), "{name} in {:?}", files.keys());
    }
    assert!(!files.contains_key("module/.git"));
}

#[test]
fn a_document_does_not_get_lost_behind_a_file_of_the_same_name() {
    let workspace = with("same-name", "");
    let tool = workspace.read("tool/Cargo.toml").replace("\"probe\"", "\"notice\"");
    let workspace = workspace.write("tool/Cargo.toml", &tool).write("notice", "Read this.\n");
    is_refused(&workspace, workspace.xtask("dist"), "notice would be packed, but the archive has a file of that name");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_profile_that_would_make_another_program_is_refused() {
    for (profile, words) in [
        ("panic = \"unwind\"", "`panic` in [profile.release]"),
        ("package.tool.strip = false", "`strip` in [profile.release.package.tool] of Cargo.toml"),
    ] {
        let workspace = with("profile", &format!("\n[profile.release]\n{profile}\n"));
        let run = workspace.xtask("dist");
        is_refused(&workspace, run, words);
    }
    with("same-profile", "\n[profile.release]\nlto = true\npanic = \"abort\"\nopt-level = \"z\"\n")
        .xtask("dist --plan")
        .succeeds()
        .says_nothing_of("[profile.release]");
    with("other-profile", "\n[profile.release]\nlto = \"thin\"\n")
        .xtask("dist --plan")
        .succeeds()
        .says("is \"thin\", but what is shipped is built with lto = 'fat'");
    let workspace = with("config-profile", "").write(".cargo/config.toml", "[profile.release]\nopt-level = 1\n");
    let run = workspace.xtask("dist");
    is_refused(&workspace, run, ".cargo/config.toml does not affect what is shipped: move it to Cargo.toml");
}

#[test]
fn settings_of_cargo_that_have_no_effect_are_named() {
    let config = "[env]\nA = \"1\"\n[build]\nrustflags = []\n[target.'cfg(all())']\nrustflags = []\nrunner = \"x\"\n\
                  [target.mips-unknown-linux-musl]\nrustflags = []\n[alias]\nx = \"y\"\n";
    let workspace = with("unheeded", "").write(".cargo/config.toml", config);
    let run = workspace.xtask("dist --plan").succeeds();
    let file = workspace.path(".cargo/config.toml").display().to_string();
    for key in ["env", "build.rustflags", "target.'cfg(all())'.rustflags"] {
        assert!(run.text().contains(&format!("`{key}` in {file} does not affect what is shipped")), "{}", run.text());
    }
    // Nobody asked for mips.
    assert_eq!(run.text().matches("does not affect").count(), 3, "{}", run.text());
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn what_is_in_the_way_is_named_before_a_build() {
    let in_the_way = |make: fn(&Workspace), words: &str| {
        let workspace = with("way", "");
        make(&workspace);
        is_refused(&workspace, workspace.xtask("dist"), words);
    };
    let file = |workspace: &Workspace, name: &str| fs::write(workspace.path(name), "").unwrap();
    in_the_way(|workspace| fs::write(workspace.path("dist"), "").unwrap(), "dist is not a folder");
    in_the_way(|workspace| link(workspace, "dist", "nowhere"), "dist is a link to nothing");
    in_the_way(|workspace| fs::write(workspace.path("target"), "").unwrap(), "target is not a folder");
    in_the_way(|workspace| link(workspace, "target", "nowhere"), "target is a link to nothing");
    in_the_way(
        |workspace| fs::create_dir_all(workspace.path(&format!("dist/{STEM}.tar.gz.sha256"))).unwrap(),
        ".tar.gz.sha256 is a folder, but a file is written there: move it away",
    );
    let workspace = with("target-dir", "");
    file(&workspace, "elsewhere");
    let target = workspace.path("elsewhere");
    let workspace = workspace.env("CARGO_TARGET_DIR", target.to_str().unwrap());
    is_refused(&workspace, workspace.xtask("dist"), "elsewhere is not a folder");

    let workspace = with("unreadable", "").write("CHANGELOG.md", "Many.\n");
    workspace.shell("chmod 000 CHANGELOG.md").succeeds();
    as_plain_user(&workspace, "dist")
        .ends_with(1)
        .says("CHANGELOG.md: Permission denied")
        .says("check its permissions");
    assert!(!workspace.path("target/bpfship/build").exists());
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_date_that_an_archive_cannot_hold_is_refused() {
    for (date, words) in [
        ("8589934592", "no archive can hold a date after 8589934591"),
        ("9999999999999", "no archive can hold a date after"),
        ("99999999999999999999999", "seconds since 1970 are expected"),
        ("-1", "SOURCE_DATE_EPOCH is `-1`; seconds since 1970"),
        ("+1", "SOURCE_DATE_EPOCH is `+1`"),
        ("", "SOURCE_DATE_EPOCH is ``"),
    ] {
        let workspace = with("date", "").env("SOURCE_DATE_EPOCH", date);
        is_refused(&workspace, workspace.xtask("dist"), words);
    }
    let workspace = with("last-date", "").env("SOURCE_DATE_EPOCH", "8589934591");
    workspace.xtask("dist").succeeds();
    workspace.xtask("verify").succeeds();
    workspace.shell("tar tvf dist/*.gz --utc").succeeds().says("2242-03-16");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn an_archive_with_another_date_is_left_out_for_that_reason() {
    let workspace = with("dates", "").write(".gitignore", "/target\n/dist\n");
    workspace.xtask("bpf").succeeds();
    commit(&workspace);
    workspace.xtask("dist --locked --arch arm64").succeeds();
    // What the variable says may be what the commit says.
    let date = workspace.shell("git log -1 --format=%ct").succeeds().text().trim().to_owned();
    let arches = |workspace: &Workspace| {
        let manifest: Value = serde_json::from_str(&workspace.read("dist/release.json")).unwrap();
        manifest["artifacts"].as_array().unwrap().len()
    };
    let workspace = workspace.without_env("SOURCE_DATE_EPOCH");
    let said = format!(
        "not in release.json: arm64, dated otherwise (1700000000, and now {date}): SOURCE_DATE_EPOCH=1700000000 "
    );
    workspace.xtask("dist --locked --arch amd64").succeeds().says(&said);
    assert_eq!(arches(&workspace), 1);
    workspace.xtask("dist --locked --arch arm64").succeeds();
    let workspace = workspace.env("SOURCE_DATE_EPOCH", &date);
    workspace.xtask("dist --locked --arch amd64").succeeds().says_nothing_of("not in release.json");
    assert_eq!(arches(&workspace), 2);
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn licences_in_a_folder_and_of_members_are_packed() {
    let workspace = with("licences", "")
        .write("legal/terms", "Our terms.\n")
        .write("legal/theirs", "Their terms.\n")
        .write("LICENSES/MIT.txt", "Do what you like.\n")
        .write("fork/LICENSE", "Theirs.\n")
        .write("fork/lib.rs", "pub fn f() {}\n")
        .write(
            "fork/Cargo.toml",
            "[package]\nname = \"fork\"\nversion = \"1.0.0\"\nedition = \"2024\"\nlicense = \"ISC\"\nlicense-file = \"../legal/theirs\"\n[lib]\npath = \"lib.rs\"\n",
        );
    let manifest = workspace.read("Cargo.toml").replace("[\"tool\"]", "[\"tool\", \"fork\"]");
    let tool = workspace.read("tool/Cargo.toml").replace("license", "license-file = \"../legal/terms\"\nlicense")
        + "\n[dependencies]\nfork = { path = \"../fork\" }\n";
    let main = workspace.read("tool/main.rs").replace("fn main() {", "fn main() { fork::f();");
    let lock = "version = 4\n\n[[package]]\nname = \"fork\"\nversion = \"1.0.0\"\n\n[[package]]\nname = \"tool\"\nversion = \"0.3.0\"\n\
                dependencies = [\n \"fork\",\n]\n";
    let workspace = workspace
        .write("Cargo.toml", &manifest)
        .write("tool/Cargo.toml", &tool)
        .write("tool/main.rs", &main)
        .write("Cargo.lock", lock);
    workspace.xtask("dist").succeeds();
    let files = shipped(&workspace);
    assert_eq!(files["LICENSES/MIT.txt"], "Do what you like.\n");
    assert_eq!(files["terms"], "Our terms.\n");
    let others = &files["THIRD-PARTY-LICENSES.txt"];
    assert!(others.contains("* fork 1.0.0: ISC\n") && others.contains("fork 1.0.0:\n\nTheirs.\n"), "{others}");
    assert!(others.contains("fork 1.0.0:\n\nTheir terms.\n"), "{others}");
    assert!(!others.contains("* tool"), "{others}");
}

#[test]
fn crates_that_a_configuration_replaces_are_refused_by_its_key() {
    for (key, config) in [
        ("patch", "[patch.crates-io]\nitoa = { path = \"itoa\" }\n"),
        ("paths", "paths = [\"itoa\"]\n"),
        ("patch", "include = [\"other.toml\"]\n"),
    ] {
        let workspace = with("replaced", "")
            .write(".cargo/config.toml", config)
            .write(".cargo/other.toml", "[patch.crates-io]\nitoa = { path = \"itoa\" }\n");
        let words = format!("`{key}` in {} replaces crates", workspace.path(".cargo/config.toml").display());
        let run = workspace.xtask("dist").says_nothing_of("--locked");
        is_refused(&workspace, run, &words);
    }
}

#[test]
fn a_lock_file_is_got_back_from_git_where_git_has_it() {
    let workspace = with("lock", "");
    commit(&workspace);
    fs::remove_file(workspace.path("Cargo.lock")).unwrap();
    workspace
        .xtask("dist")
        .ends_with(1)
        .says("is missing, but git has it: run `git checkout Cargo.lock`")
        .in_one_line();
    assert!(!workspace.path("Cargo.lock").exists());
    let workspace = workspace.write("Cargo.lock", "version = 4\n");
    workspace
        .xtask("dist")
        .ends_with(1)
        .says("Cargo.lock is out of date: run `cargo update --workspace`")
        .says_nothing_of("--locked")
        .in_one_line();
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_path_that_cargo_or_the_linker_cannot_take_is_refused_and_no_other_changes_a_byte() {
    let plain = with("plain", "");
    plain.xtask("dist").succeeds();
    for (name, odd) in [("a:b", ':'), ("50%", '%')] {
        let workspace = with(name, "");
        let words = format!("has a `{odd}` in its path: set CARGO_TARGET_DIR to a folder without one");
        is_refused(&workspace, workspace.xtask("dist"), &words);
    }
    // The sources may be there.
    let target = plain.path("other target, = 'quoted'");
    let workspace = with("a:b%c\nd", "").env("CARGO_TARGET_DIR", target.to_str().unwrap());
    workspace.xtask("dist").succeeds();
    assert_eq!(workspace.read("dist/SHA256SUMS"), plain.read("dist/SHA256SUMS"));

    let run = plain.shell(
        "folder=$(printf 'latin\\351'); mkdir $folder; cp -r Cargo.toml tool $folder; cd $folder; \"$BPFSHIP\" dist",
    );
    run.ends_with(2).says("is not UTF-8: give its folders other names").in_one_line();
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_name_that_is_not_text_stands_in_the_way_only_where_text_is_needed() {
    let odd = |workspace: &Workspace, path: &[u8]| {
        let path = workspace.root.join(std::ffi::OsStr::from_bytes(path));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "").unwrap();
        path
    };
    let workspace = with("odd", "include = [\"docs\"]\n")
        .without_env("SOURCE_DATE_EPOCH")
        .write(".gitignore", "/target\n/dist\n")
        .write("docs/page", "");
    workspace.xtask("bpf").succeeds();
    for path in [&b"caf\xe9"[..], b"tool/\xff/\xfe", b"tool/\xfc.rs"] {
        odd(&workspace, path);
    }
    commit(&workspace);
    workspace.xtask("dist --locked").succeeds();
    workspace.xtask("dist --locked").succeeds();
    for (path, words) in [
        (&b"docs/\xe9"[..], "names `docs`, which cannot be packed: "),
        (b"README.\xe9", "holds a document whose name is not UTF-8: rename it"),
        (b"LICENSES/\xe9", "LICENSES holds \"\\xE9\", a name that is not UTF-8: rename it"),
        (b"kernel/\xe9.bpf.c", "has white space in its path, or a backslash, or is not UTF-8: rename it"),
    ] {
        let path = odd(&workspace, path);
        let run = workspace.xtask("dist").ends_with(2).says(words).says_nothing_of("snapshot").in_one_line();
        assert!(run.text().contains(workspace.root.to_str().unwrap()), "{}", run.text());
        fs::remove_file(path).unwrap();
    }
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn features_of_the_binary_are_configuration_and_part_of_the_origin() {
    let workspace = with("features", "features = [\"loud\"]\nno-default-features = true\n");
    let tool = workspace.read("tool/Cargo.toml")
        + "required-features = [\"loud\"]\n\n[features]\ndefault = [\"quiet\"]\nquiet = []\nloud = [\"louder\"]\nlouder = []\n";
    let main = workspace.read("tool/main.rs").replace(
        "fn main() {",
        "fn main() { println!(\"{} {}\", cfg!(feature = \"louder\"), cfg!(feature = \"quiet\"));",
    );
    let workspace = workspace.write("tool/Cargo.toml", &tool).write("tool/main.rs", &main);
    workspace.xtask("dist").succeeds();
    workspace.shell(&format!("tar xzf dist/*.gz && {STEM}/probe")).succeeds().says("true false");
    let manifest: Value = serde_json::from_str(&workspace.read("dist/release.json")).unwrap();
    let features = &manifest["archives"][0]["products"][0]["features"];
    assert_eq!(*features, serde_json::json!(["--no-default-features", "--features=loud"]));

    let config = workspace.read("Cargo.toml");
    let workspace = workspace.write("Cargo.toml", &config.replace("[\"loud\"]", "[\"lout\"]"));
    workspace
        .xtask("dist")
        .ends_with(2)
        .says("package `tool` has no feature `lout`; did you mean `loud`?")
        .in_one_line();
    let workspace = workspace.write("Cargo.toml", &config.replace("features = [\"loud\"]\n", ""));
    workspace
        .xtask("dist")
        .ends_with(2)
        .says(
            "binary `probe` needs feature `loud` (`required-features` in the Cargo.toml of package `tool`): add it to",
        )
        .in_one_line();
}

#[test]
fn what_is_wrong_with_a_manifest_is_a_wrong_request() {
    for (file, text) in [
        ("Cargo.toml", "[workspace\n"),
        ("Cargo.toml", "[workspace]\nmembers = [\"tool\"]\nresolver = \"9\"\n"),
        ("tool/Cargo.toml", "[package]\nname = \"tool\"\nversion = \"0.1\"\n"),
    ] {
        with("manifest", "").write(file, text).xtask("dist").ends_with(2).says("cannot read the workspace of");
    }
    let workspace = with("closed-manifest", "");
    workspace.shell("chmod 000 tool/Cargo.toml").succeeds();
    as_plain_user(&workspace, "dist")
        .ends_with(2)
        .says("a Cargo.toml cannot be read: check its permissions")
        .says_nothing_of("CARGO_HOME");
    for timeout in ["0", "86401", "99999999999"] {
        with("timeout", &format!("boot.timeout = {timeout}\n"))
            .xtask("dist")
            .ends_with(2)
            .says(&format!("is {timeout}; a number of seconds from 1 to 86400 is expected"))
            .in_one_line();
    }
}

#[test]
fn without_a_workspace_an_archive_must_be_named() {
    Workspace::empty("nowhere")
        .xtask("verify")
        .ends_with(2)
        .says("no archive is named, and there is no Cargo.toml in")
        .says("above it: name an archive, or a folder of them")
        .in_one_line();
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn what_the_cache_would_lose_is_shown_and_kept() {
    let workspace = Workspace::empty("cache").write("cache/ziglang-0.16.0-0123456789abcdef/zig", "a compiler");
    let cache = workspace.path("cache");
    let workspace = workspace.env("BPFSHIP_CACHE", cache.to_str().unwrap());
    workspace
        .xtask("cache clean --plan")
        .succeeds()
        .says("# removing ziglang-0.16.0-0123456789abcdef (")
        .says("\nrm -rf ");
    let plan = workspace.xtask("cache clean --plan --json").succeeds().json();
    let entry = format!("{}/ziglang-0.16.0-0123456789abcdef", cache.display());
    assert_eq!(plan["tasks"][0]["steps"][0]["remove-entry"]["entry"], entry);
    assert_eq!(workspace.read("cache/ziglang-0.16.0-0123456789abcdef/zig"), "a compiler");
    let result = workspace.xtask("cache clean --json").succeeds().json();
    assert_eq!(result["removed"][0], "ziglang-0.16.0-0123456789abcdef");
    assert!(result["schema"] == 1 && result["bytes"].as_u64() > Some(0), "{result}");
    assert!(!workspace.path("cache/ziglang-0.16.0-0123456789abcdef").exists());
}
