//! What is shipped is the commit: neither what git ignores, nor what is edited meanwhile, nor anybody's settings take
//! part.

use std::fs;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::support::{Run, Workspace, commit};

const ARCHIVE: &str = "dist/tool-0.3.0-x86_64-unknown-linux-musl.tar.gz";

/// A commit with up-to-date objects. Its binary prints a word of another member, `part`.
fn released(name: &str) -> Workspace {
    let workspace = Workspace::new(name, "package = \"tool\"\nbpf.folder = \"kernel\"\narches = [\"amd64\"]\n")
        .without_env("SOURCE_DATE_EPOCH")
        .env("GIT_CONFIG_GLOBAL", "/dev/null");
    let manifest = workspace.read("Cargo.toml").replace("[\"tool\"]", "[\"tool\", \"part\"]");
    let tool = workspace.read("tool/Cargo.toml");
    let main =
        workspace.read("tool/main.rs").replace("fn main() {", "fn main() {\n    println!(\"{}\", part::word());");
    let workspace = workspace
        .write("Cargo.toml", &manifest)
        .write(
            "Cargo.lock",
            "version = 4\n\n[[package]]\nname = \"part\"\nversion = \"0.1.0\"\n\n[[package]]\nname = \"tool\"\n\
             version = \"0.3.0\"\ndependencies = [\n \"part\",\n]\n",
        )
        .write("tool/Cargo.toml", &format!("{tool}\n[dependencies]\npart.path = \"../part\"\n"))
        .write("tool/main.rs", &main)
        .write(
            "part/Cargo.toml",
            "[package]\nname = \"part\"\nversion = \"0.1.0\"\nedition = \"2024\"\nlicense = \"MIT\"\n",
        )
        .write("part/src/lib.rs", "pub fn word() -> &'static str { \"one\" }\n")
        .write(".gitignore", "/target\n/dist\n");
    workspace.xtask("bpf").succeeds();
    commit(&workspace);
    workspace
}

/// The first line that the shipped binary prints.
#[track_caller]
fn word(workspace: &Workspace) -> String {
    let run = format!("tar xzf {ARCHIVE} -C target && target/tool-0.3.0-x86_64-unknown-linux-musl/probe");
    workspace.shell(&run).succeeds().text().lines().next().unwrap().to_owned()
}

fn dirty(workspace: &Workspace) -> Value {
    let manifest: Value = serde_json::from_str(&workspace.read("dist/release.json")).unwrap();
    manifest["dirty"].clone()
}

fn sha256(workspace: &Workspace) -> String {
    bpfship::testing::hash::file(&workspace.path(ARCHIVE)).unwrap().to_string()
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_source_whose_date_is_older_than_the_last_build_is_built() {
    // Not the first file of a crate: that is made newer for each commit.
    let inner = |word: &str| format!("pub fn word() -> &'static str {{ {word:?} }}\n");
    let workspace = released("older")
        .write("part/src/lib.rs", "mod inner;\npub use inner::word;\n")
        .write("part/src/inner.rs", &inner("one"));
    commit(&workspace);
    workspace.xtask("dist --locked").succeeds();
    assert_eq!(word(&workspace), "one");
    let workspace = workspace.write("part/src/inner.rs", &inner("two"));
    workspace.shell("touch -d 2020-01-01 part/src/inner.rs").succeeds();
    commit(&workspace);
    workspace.xtask("dist --locked").succeeds();
    assert_eq!((word(&workspace).as_str(), dirty(&workspace)), ("two", false.into()));
    // The bytes of the first commit, with dates before the second build, are back.
    workspace.shell("git checkout -q HEAD~ && touch -d 2020-01-01 part/src/inner.rs").succeeds();
    workspace.xtask("dist --locked").succeeds();
    assert_eq!((word(&workspace).as_str(), dirty(&workspace)), ("one", false.into()));
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_build_script_that_watches_only_itself_knows_the_commit_and_the_files() {
    let script = r#"fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let files = std::fs::read_dir("data").unwrap().count();
    println!("cargo:rustc-env=WORD={} {files}", std::env::var("BPFSHIP_COMMIT").unwrap());
}
"#;
    let workspace = released("script")
        .write("part/build.rs", script)
        .write("part/data/a", "")
        .write("part/src/lib.rs", "pub fn word() -> &'static str { env!(\"WORD\") }\n");
    commit(&workspace);
    let head = |workspace: &Workspace| workspace.shell("git rev-parse HEAD").succeeds().text().trim_end().to_owned();
    workspace.xtask("dist").succeeds();
    assert_eq!(word(&workspace), format!("{} 1", head(&workspace)));
    workspace.shell("git -c user.name=a -c user.email=a@b.invalid commit -q --allow-empty -m next").succeeds();
    workspace.xtask("dist").succeeds();
    assert_eq!(word(&workspace), format!("{} 1", head(&workspace)));
    let workspace = workspace.write("part/data/b", "");
    workspace.xtask("dist").succeeds().says("changes that are not committed");
    assert_eq!(word(&workspace), format!("{}-dirty 2", head(&workspace)));
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn what_git_ignores_takes_no_part_and_is_named() {
    let workspace = released("ignored")
        .write("part/src/lib.rs", "mod r#gen; pub fn word() -> &'static str { r#gen::WORD }\n")
        .write("part/src/gen.rs", "pub const WORD: &str = include_str!(\"data/word\");\n")
        .write("part/src/data/word", "of a file");
    commit(&workspace);
    let ignore = |pattern: &str| {
        workspace.shell("git checkout -q -- . && git rm -rq --cached . && git add -A").succeeds();
        let ignored = format!("/target\n/dist\n{pattern}\n");
        fs::write(workspace.path(".gitignore"), ignored).unwrap();
        workspace
            .shell("git rm -rq --cached . && git add -A && git -c user.name=a -c user.email=a@b.invalid commit -qm ignored")
            .succeeds();
    };
    for (pattern, file) in [
        ("Cargo.lock", "Cargo.lock"),
        ("rust-toolchain.toml", "rust-toolchain.toml"),
        ("*.o", "kernel/objects/tick_bpfel.o"),
        ("answer.h", "kernel/include/answer.h"),
        ("bpf.lock", "kernel/bpf.lock"),
        ("gen.rs", "part/src/gen.rs"),
        ("data/", "part/src/data/"),
        ("/part", "part"),
        ("/kernel", "kernel"),
    ] {
        ignore(pattern);
        let run = workspace.xtask("dist --locked");
        let is_error = |run: &Run| !run.text().contains("archives, SHA256SUMS");
        assert!(is_error(&run), "{pattern}: {}", run.text());
        let text = run.text();
        let sentence = "is ignored by git (.gitignore:3), so no clone has it";
        assert!(text.contains(file) && text.contains(sentence), "{pattern}: {text}");
        assert!(!workspace.path("dist/release.json").exists(), "{pattern}");
    }
    // A header that clang does not find.
    ignore("answer.h");
    workspace.xtask("bpf").ends_with(1).says("kernel/include/answer.h is ignored by git (.gitignore:3)");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn of_one_commit_the_bytes_are_the_same_with_any_settings_of_git() {
    let workspace = released("settings").write("README.md", "A tool. $Id$\n");
    commit(&workspace);
    workspace.xtask("dist --locked").succeeds();
    let expected = sha256(&workspace);
    let attributes = workspace.path("../attributes").to_str().unwrap().to_owned();
    fs::write(&attributes, "*.md text ident\n").unwrap();
    for setting in
        ["core.autocrlf=true".to_owned(), "core.eol=crlf".to_owned(), format!("core.attributesFile={attributes}")]
    {
        let clone = format!("git clone -q -c {setting} . ../cloned && rm -rf target dist && mkdir -p target");
        workspace.shell("rm -rf ../cloned").succeeds();
        workspace.shell(&clone).succeeds();
        let script = format!("cd ../cloned && \"$BPFSHIP\" dist --locked && sha256sum {ARCHIVE}");
        workspace.shell(&script).succeeds().says(&expected);
    }
    // Neither of these is shown by `git status`, and each of them is a change or none that counts.
    for (script, is_dirty) in [
        ("git config core.fileMode false && chmod 755 README.md", false),
        (
            "chmod 644 README.md && git config core.fileMode true && git update-index --skip-worktree README.md && echo more >>README.md",
            true,
        ),
        (
            "git update-index --no-skip-worktree README.md && git checkout -q README.md && git update-index --assume-unchanged rust-toolchain.toml && echo '# more' >>rust-toolchain.toml",
            true,
        ),
    ] {
        workspace.shell(script).succeeds();
        workspace.xtask("dist").succeeds();
        assert_eq!(dirty(&workspace), is_dirty, "{script}");
        if !is_dirty {
            assert_eq!(sha256(&workspace), expected, "{script}");
        }
        let locked = workspace.xtask("dist --locked");
        match is_dirty {
            true => locked.ends_with(1).says("(git status does not show it: "),
            false => locked.succeeds(),
        };
    }
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_pointer_of_git_lfs_is_not_shipped() {
    let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 12345\n", "7".repeat(64));
    let workspace =
        released("lfs").write("part/model.bin", &pointer).write(".gitattributes", "*.bin filter=lfs -text\n");
    commit(&workspace);
    workspace
        .xtask("dist")
        .ends_with(2)
        .says("part/model.bin is a Git LFS pointer, and the file that it stands for is not here: git lfs pull")
        .in_one_line();
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_release_is_rebuilt_deaf_to_settings_hooks_and_templates_and_with_submodules() {
    let workspace = released("rebuilt");
    let sub = Workspace::empty("sub").write("q.h", "#define Q 0\n");
    commit(&sub);
    let program = workspace.read("kernel/tick.bpf.c");
    let add = format!("git -c protocol.file.allow=always submodule -q add {} kernel/include/sub", sub.root.display());
    workspace.shell(&add).succeeds();
    let workspace = workspace.write("kernel/tick.bpf.c", &format!("#include \"sub/q.h\"\n{program}"));
    workspace.xtask("bpf").succeeds();
    commit(&workspace);
    workspace.xtask("dist --locked").succeeds();

    let hook = "#!/bin/sh\necho hook >>README.md\n";
    let workspace = workspace
        .write("../hooks/post-checkout", hook)
        .write("../template/hooks/post-checkout", hook)
        .write("../settings", "[core]\nautocrlf = true\nhooksPath = ../hooks\n[init]\ntemplateDir = ../template\n");
    workspace.shell("chmod +x ../hooks/* ../template/hooks/*").succeeds();
    let settings = workspace.path("../settings").to_str().unwrap().to_owned();
    // What the work tree holds now does not matter either.
    let workspace = workspace.env("GIT_CONFIG_GLOBAL", &settings).write("README.md", "Changed.\n");
    workspace.xtask("rebuild").succeeds().says("  ok  built again");
    assert_eq!(workspace.read("README.md"), "Changed.\n");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_commit_is_built_whatever_the_work_tree_holds() {
    let workspace = released("commit").write("part/src/lib.rs", "not Rust");
    workspace.xtask("dist --locked").ends_with(1).says("part/src/lib.rs is changed; commit them").in_one_line();
    workspace.xtask("dist --locked --commit HEAD --to ../elsewhere").succeeds();
    // The lock file of another workspace is called by its own name.
    workspace.shell("git checkout -q part && mkdir fuzz && touch fuzz/Cargo.lock").succeeds();
    workspace.xtask("dist --locked").ends_with(1).says("fuzz/Cargo.lock is not committed; ").in_one_line();
    assert!(!workspace.path("dist").exists());
    workspace.shell("mkdir dist && cp ../elsewhere/* dist").succeeds();
    assert_eq!((word(&workspace).as_str(), dirty(&workspace)), ("one", false.into()));
    workspace.xtask("dist --commit nothing").ends_with(2).says("there is no commit nothing in ").in_one_line();
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn what_is_edited_while_it_builds_is_for_the_next_build() {
    let workspace = released("edited");
    let [started, go] = ["started", "go"].map(|name| workspace.path(&format!("../{name}")));
    let script = format!(
        "fn main() {{ std::fs::write({started:?}, \"\").unwrap(); while !std::path::Path::new({go:?}).exists() {{ \
         std::thread::sleep(std::time::Duration::from_millis(20)); }} }}\n"
    );
    let workspace = workspace.write("part/build.rs", &script);
    commit(&workspace);
    let child = workspace.command("dist --locked").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(300);
    while !started.exists() {
        assert!(Instant::now() < deadline, "the build never started");
        thread::sleep(Duration::from_millis(20));
    }
    let workspace = workspace
        .write("part/src/lib.rs", "pub fn word() -> &'static str { \"edited\" }\n")
        .write("README.md", "Edited.\n");
    fs::write(&go, "").unwrap();
    Run::from_output(child.wait_with_output().unwrap()).succeeds();
    assert_eq!((word(&workspace).as_str(), dirty(&workspace)), ("one", false.into()));
    workspace.shell(&format!("tar xzOf {ARCHIVE} --wildcards '*/README.md'")).succeeds().says("A tool.");
    workspace.xtask("dist").succeeds();
    assert_eq!((word(&workspace).as_str(), dirty(&workspace)), ("edited", true.into()));
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_build_script_that_writes_into_the_sources_is_caught() {
    for (does, fault) in [
        (
            "std::fs::write(\"src/gen.rs\", \"pub const WORD: &str = \\\"written\\\";\").unwrap()",
            "part/src/gen.rs was changed",
        ),
        ("std::fs::write(\"src/new.rs\", \"\").unwrap()", "part/src/new.rs was added"),
        ("std::fs::remove_file(\"../README.md\").unwrap()", "README.md was removed"),
    ] {
        let workspace = released("writes")
            .write(
                "part/build.rs",
                &format!("fn main() {{ println!(\"cargo:rerun-if-changed=build.rs\"); {does}; }}\n"),
            )
            .write("part/src/gen.rs", "pub const WORD: &str = \"committed\";\n")
            .write("part/src/lib.rs", "mod r#gen; pub fn word() -> &'static str { r#gen::WORD }\n");
        commit(&workspace);
        workspace
            .xtask("dist --locked")
            .ends_with(1)
            .says(&format!("the build wrote into its own sources, so what it made is of no commit: {fault}"));
        assert!(!workspace.path(ARCHIVE).exists(), "{does}");
        // Not by the next run either, although the script did its work already.
        workspace.xtask("dist --locked").ends_with(1).says(fault);
        assert!(!workspace.path(ARCHIVE).exists(), "{does}");
    }
}

/// Writes the name of the target among the sources, in a new folder, and something else.
const GENERATES: &str = r#"fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let arch = std::env::var("CARGO_CFG_TARGET_ARCH").unwrap();
    std::fs::create_dir_all("src/made").unwrap();
    std::fs::write("src/made/word.skel.rs", format!("\"for {arch}\"")).unwrap();
    if std::path::Path::new("more").exists() {
        std::fs::write("src/more.rs", "").unwrap();
    }
}
"#;

#[test]
#[ignore = "long: --include-ignored runs it"]
fn what_build_scripts_write_among_the_sources_and_is_named_is_each_targets_own() {
    let arches = [("amd64", "x86_64"), ("arm64", "aarch64")];
    let workspace = released("generates")
        .write("part/build.rs", GENERATES)
        .write("part/src/lib.rs", "pub fn word() -> &'static str { include!(\"made/word.skel.rs\") }\n");
    let config = workspace.read("Cargo.toml");
    let workspace = workspace.write("Cargo.toml", &format!("{config}generated = [\"part/src/**/*.skel.rs\"]\n"));
    commit(&workspace);
    let mut sums = Vec::new();
    for _ in 0..2 {
        workspace.xtask("dist --locked --arch amd64,arm64").succeeds();
        for (_, rust) in arches {
            let binary = format!("tool-0.3.0-{rust}-unknown-linux-musl");
            let binary = workspace
                .shell(&format!("tar xzOf dist/{binary}.tar.gz {binary}/probe | grep -ao 'for [xa][a-z0-9_]*64'"));
            assert_eq!(binary.succeeds().text(), format!("for {rust}\n"));
        }
        sums.push(workspace.read("dist/SHA256SUMS"));
    }
    assert_eq!(sums[0], sums[1]);
    assert!(!workspace.path("target/bpfship/snapshot/source/part/src/made").exists());

    // A file that is in the commit is written anew, too.
    let workspace = workspace.write("part/src/made/word.skel.rs", "\"for nothing\"");
    commit(&workspace);
    workspace.xtask("dist --locked --arch amd64,arm64").succeeds();
    workspace
        .shell("for file in dist/*.tar.gz; do tar xzOf $file | grep -ao 'for [xa][a-z0-9_]*64'; done | sort")
        .succeeds();
    workspace.shell("! tar xzOf dist/*aarch64*.tar.gz | grep -a 'for nothing'").succeeds();
    workspace.xtask("verify").succeeds();

    let workspace = workspace.write("part/more", "");
    commit(&workspace);
    workspace
        .xtask("dist --locked --arch amd64")
        .ends_with(1)
        .says("part/src/more.rs was added; have build scripts write to OUT_DIR, or name these files in `generated`");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_source_that_reads_a_file_outside_the_repository_is_refused_each_time() {
    let workspace = released("outside").write("part/src/word", "inside");
    let secret = workspace.path("../secret");
    fs::write(&secret, "a secret").unwrap();
    let says = |script: &str| format!("fn main() {{ println!(\"cargo:rerun-if-changed={{}}\", {script}); }}\n");
    let of_work_tree = format!("{}/README.md", workspace.root.canonicalize().unwrap().display());
    for (file, script) in [
        (format!("{secret:?}"), says("\"build.rs\"")),
        ("\"../../../../../../../secret\"".to_owned(), says("\"build.rs\"")),
        (format!("{of_work_tree:?}"), says("\"build.rs\"")),
    ] {
        let lib = format!("pub fn word() -> &'static str {{ include_str!({file}) }}\n");
        workspace.shell("rm -rf dist").succeeds();
        fs::write(workspace.path("part/src/lib.rs"), lib).unwrap();
        fs::write(workspace.path("part/build.rs"), script).unwrap();
        commit(&workspace);
        for _ in 0..2 {
            workspace
                .xtask("dist --locked")
                .ends_with(1)
                .says("what is built contains /")
                .says(", by a path that leads out of the repository, so it is of no commit: copy it there");
            assert!(!workspace.path(ARCHIVE).exists(), "{file}");
        }
    }
    // What a build script does with a file that it names is not known.
    fs::write(workspace.path("part/build.rs"), says(&format!("{secret:?}"))).unwrap();
    fs::write(workspace.path("part/src/lib.rs"), "pub fn word() -> &'static str { include_str!(\"word\") }\n").unwrap();
    commit(&workspace);
    let words = "of this machine: elsewhere, the same commit may give other bytes";
    for _ in 0..2 {
        workspace.xtask("dist --locked").succeeds().says("build scripts name /").says(words);
    }
    assert_eq!(word(&workspace), "inside");
    // Nor is it where a library is from that is looked for there; a file for the linker is part of what is built.
    let link = |what: &str| format!("fn main() {{ println!(\"cargo::rustc-link-{what}={{}}\", {secret:?}); }}\n");
    fs::write(workspace.path("part/build.rs"), says("\"/nowhere\"")).unwrap();
    fs::write(workspace.path("tool/build.rs"), link("arg").replace("secret", "empty.o")).unwrap();
    workspace.shell("echo 'int f;' >../empty.c && cc -c ../empty.c -o ../empty.o").succeeds();
    commit(&workspace);
    workspace.xtask("dist --locked").ends_with(1).says("what is built contains /").says("/empty.o, by a path that");
    fs::write(workspace.path("tool/build.rs"), link("search").replace("secret", "folder")).unwrap();
    fs::create_dir(workspace.path("../folder")).unwrap();
    commit(&workspace);
    workspace.xtask("dist --locked").succeeds().says("build scripts name /").says(words);
    // Where that is why nothing can be linked, it is said, too.
    let missing = link("search")
        .replace("secret", "folder")
        .replace("fn main() {", "fn main() { println!(\"cargo::rustc-link-lib=none\");");
    fs::write(workspace.path("tool/build.rs"), missing).unwrap();
    commit(&workspace);
    workspace
        .xtask("dist --locked")
        .ends_with(1)
        .says("build scripts have the linker look into /")
        .says("/folder, of this");
    fs::remove_file(workspace.path("tool/build.rs")).unwrap();
    commit(&workspace);
    workspace.xtask("dist --locked").succeeds().says_nothing_of(words);
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_build_finds_no_repository_but_the_commit() {
    let script = r#"fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let git = std::process::Command::new("git").args(["describe", "--always", "--dirty"]).output().unwrap();
    let said = String::from_utf8(git.stderr).unwrap();
    println!("cargo:rustc-env=WORD={} {}", git.status.success(), said.lines().next().unwrap_or_default());
}
"#;
    let workspace = released("describe")
        .write("part/build.rs", script)
        .write("part/src/lib.rs", "pub fn word() -> &'static str { env!(\"WORD\") }\n");
    commit(&workspace);
    workspace.xtask("dist --locked").succeeds();
    let said = "not a git repository: /none: what is built is a snapshot, whose commit is in BPFSHIP_COMMIT";
    assert_eq!(word(&workspace), format!("false fatal: {said}"));
    // Which holds wherever it is built.
    workspace.xtask("rebuild").succeeds().says("  ok  built again");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_package_behind_a_link_is_built_if_that_stays_in_the_repository() {
    let workspace = released("linked");
    workspace.shell("mkdir real && git mv part real/part && ln -s real/part part").succeeds();
    commit(&workspace);
    workspace.xtask("dist --locked").succeeds();
    assert_eq!((word(&workspace).as_str(), dirty(&workspace)), ("one", false.into()));
    workspace.shell("mv real/part .. && rm part && ln -s ../part part").succeeds();
    workspace.xtask("dist").ends_with(2).says("part is a link that leads to ../part, outside the repository: cannot ");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_link_that_leads_out_of_the_repository_is_not_shipped() {
    let workspace = released("links");
    let manifest = workspace.read("Cargo.toml").replace("arches", "include = [\"docs\"]\narches");
    let workspace = workspace.write("Cargo.toml", &manifest).write("docs/page", "A page.\n");
    for link in ["docs/evil", "CHANGELOG"] {
        workspace.shell(&format!("ln -s /etc/passwd {link}")).succeeds();
        commit(&workspace);
        workspace
            .xtask("dist --locked")
            .ends_with(2)
            .says(&format!("{link} is a link that leads to /etc/passwd, outside the repository"));
        workspace.shell(&format!("git rm -q {link}")).succeeds();
    }
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_dependency_beside_the_workspace_is_of_the_snapshot() {
    let outer = Workspace::empty("outer").env("GIT_CONFIG_GLOBAL", "/dev/null");
    let inner = released("inner");
    inner
        .shell(&format!("rm -rf .git target && cp -a . {}/inner && mv {0}/inner/part {0}/part", outer.root.display()))
        .succeeds();
    let tool = outer.read("inner/tool/Cargo.toml").replace("../part", "../../part");
    let manifest = outer.read("inner/Cargo.toml").replace(", \"part\"", "");
    let outer = outer.write("inner/tool/Cargo.toml", &tool).write("inner/Cargo.toml", &manifest);
    commit(&outer);
    let outer = outer.write("part/src/lib.rs", "not Rust");
    let dist = "cd inner && \"$BPFSHIP\" dist --commit HEAD && tar xzf dist/*.gz -C target && target/tool*/probe";
    outer.shell(dist).succeeds().says("one\nprobe of");
    let outer = outer.write("part/src/lib.rs", "pub fn word() -> &'static str { file!() }\n");
    outer.shell(&dist.replace(" --commit HEAD", "")).succeeds().says("cargo/part-0.1.0/src/lib.rs\nprobe of");

    // Wherever the repository lies, its crates have the same names.
    let word = "pub fn word() -> String { format!(\"{:?}\", std::any::TypeId::of::<Word>()) }\npub struct Word;\n";
    let outer = outer.write("part/src/lib.rs", word);
    commit(&outer);
    let sums = "git clone -q . ../somewhere/else; for folder in . ../somewhere/else; do \
                (cd $folder/inner && \"$BPFSHIP\" -q dist --locked && cat dist/SHA256SUMS) || exit 1; done";
    let sums = outer.shell(sums).succeeds().text();
    let sums: Vec<&str> = sums.lines().collect();
    let (one, other) = sums.split_at(sums.len() / 2);
    assert!(one.len() == 4 && one == other, "{sums:?}");

    // What lies outside of it is in no commit.
    let outside = outer.path("../part");
    let tool = tool.replace("../../part", outside.to_str().unwrap());
    let outer = outer.write("inner/tool/Cargo.toml", &tool).write("../part/src/lib.rs", &word.replace("W", "V"));
    outer.shell("cp part/Cargo.toml ../part").succeeds();
    commit(&outer);
    let outside = outside.canonicalize().unwrap();
    let words = format!("part is taken from {}, outside the repository", outside.display());
    outer.shell("cd inner && \"$BPFSHIP\" dist --locked").ends_with(1).says(&words).in_one_line();
    outer
        .shell("cd inner && \"$BPFSHIP\" -v dist && cat dist/release.json")
        .succeeds()
        .says(&words)
        .says("\"dirty\": true");
}
