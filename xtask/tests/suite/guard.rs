//! A plain `cargo build` needs no clang, and refuses objects that do not match their sources, in one line.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bpfship_object::elf::Elf;

use super::support::{Run, Workspace, own_root};

const TARGET: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/guard-target");

/// A target folder of its own: cargo takes packages in two copies of a workspace for the same ones.
fn target(workspace: &Workspace) -> PathBuf {
    Path::new(TARGET).join(workspace.root.file_name().unwrap())
}

fn cargo(workspace: &Workspace, arguments: &[&str]) -> Run {
    let mut command = Command::new("cargo");
    command
        .args(arguments)
        .args(["--quiet", "--offline"])
        .current_dir(&workspace.root)
        // A PATH without this and that would be another test: nothing here could call a clang anyway.
        .env_remove("CARGO")
        .env("CARGO_TARGET_DIR", target(workspace));
    Run::of(&mut command)
}

fn build(workspace: &Workspace) -> Run {
    cargo(workspace, &["build", "--package", "exectrace-bpf"])
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn objects_that_do_not_match_their_sources_are_refused() {
    let copy = Workspace::copy_of_our_own("guard");
    build(&copy).succeeds();

    let source = copy.read("bpf/exectrace.bpf.c");
    let copy = copy.write("bpf/exectrace.bpf.c", &format!("{source}\n"));
    build(&copy)
        .ends_with(101)
        .says("bpf/exectrace.bpf.c is not what the BPF objects were compiled from: run `cargo xtask bpf`");
    let copy = copy.write("bpf/exectrace.bpf.c", &source);
    build(&copy).succeeds();

    let copy = copy.write("bpf/include/new.h", "");
    build(&copy).ends_with(101).says("bpf/include/new.h is not what the BPF objects were compiled from");
    fs::remove_file(copy.path("bpf/include/new.h")).unwrap();

    let object = fs::read(copy.path("bpf/objects/exectrace_bpfeb.o")).unwrap();
    let copy = copy.write("bpf/objects/exectrace_bpfeb.o", "altered");
    build(&copy).ends_with(101).says("bpf/objects/exectrace_bpfeb.o is not what was compiled: run `cargo xtask bpf`");
    fs::write(copy.path("bpf/objects/exectrace_bpfeb.o"), object).unwrap();

    let lock = copy.read("bpf/bpf.lock");
    fs::remove_file(copy.path("bpf/bpf.lock")).unwrap();
    build(&copy).ends_with(101).says("bpf/bpf.lock is missing: run `cargo xtask bpf`");
    let copy = copy.write("bpf/bpf.lock", &lock);
    build(&copy).succeeds();
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_source_that_takes_the_place_of_another_is_noticed_however_old_it_is() {
    let copy = Workspace::copy_of_our_own("guard-times/copy");
    let prepare = "set -e; rm -rf .git ../other ../kept; git init -q; git config user.name a; git config user.email a@b.invalid; \
         echo target >.gitignore; git add -A; git commit -qm first; cp -r bpf/include ../other; cp -r bpf/include ../other; \
         cp bpf/objects/exectrace_bpfel.o ../other; \
         for file in kernel.h include/kernel.h exectrace_bpfel.o; do echo >>../other/$file; done; \
         find ../other -exec touch -d 2020-01-01 {} +";
    copy.shell(prepare).succeeds();
    let ways = [
        ("mv ../other/kernel.h bpf/include", true),
        // As rsync -t, git and most editors do.
        ("cp -p ../other/kernel.h bpf/include/.new && mv bpf/include/.new bpf/include/kernel.h", true),
        ("cp -p --remove-destination ../other/kernel.h bpf/include", true),
        ("tar -C ../other -c kernel.h | tar -C bpf/include -x", true),
        ("cp -p ../other/kernel.h bpf/include/another.h", true),
        ("rm bpf/include/kernel.h", true),
        ("rm -r bpf/include && cp -rp ../other/include bpf", true),
        ("mv ../other/exectrace_bpfel.o bpf/objects", true),
        ("cp ../other/kernel.h bpf/include", true),
        ("echo >>bpf/include/kernel.h && git stash -q && git stash pop -q", true),
        // Overwritten in place, with the date of the other one: not, but by the test.
        ("cp -p ../other/kernel.h bpf/include", false),
        ("tar -C ../other -c kernel.h | tar -C bpf/include -x --overwrite", false),
        ("echo >>bpf/include/kernel.h; touch -d 2020-01-01 bpf/include/kernel.h", false),
    ];
    build(&copy).succeeds();
    for (way, noticed) in ways {
        println!("{way}");
        copy.shell(&format!("rm -rf ../kept && cp -rp ../other ../kept && {way}")).succeeds();
        let run = build(&copy);
        match noticed {
            true => run.ends_with(101).says("is not what ").says("run `cargo xtask bpf`"),
            false => run.succeeds(),
        };
        if !noticed {
            cargo(&copy, &["test", "--package", "exectrace-bpf", "--lib"])
                .ends_with(101)
                .says("bpf/include/kernel.h is not what the BPF objects were compiled from");
        }
        copy.shell("git reset -q --hard && git clean -qfd bpf && rm -rf ../other && mv ../kept ../other").succeeds();
        build(&copy).succeeds();
    }
}

#[test]
fn objects_in_a_folder_that_is_not_a_package_are_embedded() {
    let embed = own_root().join("xtask/embed");
    let embed = embed.display();
    let workspace = Workspace::usual("adopter")
        .write(
            "tool/Cargo.toml",
            &format!(
                "[package]\nname = \"tool\"\nversion = \"0.3.0\"\nedition = \"2021\"\n
                [[bin]]\nname = \"embeds\"\npath = \"main.rs\"\n
                [dependencies]\nbpfship-embed = {{ path = \"{embed}\", default-features = false }}\n
                [build-dependencies]\nbpfship-embed = {{ path = \"{embed}\" }}\n"
            ),
        )
        .write(
            "tool/main.rs",
            "fn main() {
                let object: &'static [u8] = bpfship_embed::embed!(\"tick\");
                let [(name, sha256)] = bpfship_embed::objects!();
                println!(\"{name} {sha256} {} {}\", object.len(), object.as_ptr() as usize % 8);
            }\n",
        );
    cargo(&workspace, &["build"])
        .ends_with(101)
        .says("no build script has checked the BPF objects: call bpfship_embed");
    let workspace = workspace.write("tool/build.rs", "fn main() {\n    bpfship_embed::check(\"../kernel\");\n}\n");
    cargo(&workspace, &["build"]).ends_with(101).says("adopter/kernel/bpf.lock is missing: run `cargo xtask bpf`");

    workspace.xtask("bpf").succeeds();
    let object = fs::read(workspace.path("kernel/objects/tick_bpfel.o")).unwrap();
    let lock = workspace.read("kernel/bpf.lock");
    let sha256 = lock.lines().find_map(|line| line.strip_prefix("object ")?.strip_suffix(" tick_bpfel.o")).unwrap();
    cargo(&workspace, &["run"]).succeeds().says(&format!("tick_bpfel {sha256} {} 0\n", object.len()));

    let program = fs::read(target(&workspace).join("debug/embeds")).unwrap();
    let sections = Elf::parse(&program).unwrap().sections;
    let embedded = sections.iter().find(|section| section.name == ".bpf.tick").unwrap().data;
    assert_eq!(embedded.len(), object.len().next_multiple_of(8));
    assert!(embedded.starts_with(&object) && embedded[object.len()..].iter().all(|byte| *byte == 0));

    let workspace = workspace.write("kernel/include/answer.h", "#define ANSWER 43\n");
    cargo(&workspace, &["build"])
        .ends_with(101)
        .says("adopter/kernel/include/answer.h is not what the BPF objects were compiled from: run `cargo xtask bpf`");
}
