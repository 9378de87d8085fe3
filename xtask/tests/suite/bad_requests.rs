//! A wrong request fails before any work, with exit code 2 and a sentence that names the thing and the remedy.

use super::support::{Workspace, commit};

fn with_config(name: &str, config: &str) -> Workspace {
    Workspace::new(name, config)
}

#[test]
fn a_misspelt_architecture_suggests_the_right_one() {
    Workspace::usual("arch")
        .xtask("dist --arch arm46")
        .ends_with(2)
        .says("unknown architecture `arm46`: did you mean `arm64`?");
}

#[test]
fn an_unknown_flag_is_refused() {
    Workspace::usual("flag").xtask("dist --achr arm64").ends_with(2).says("--achr");
}

#[test]
fn a_misspelt_key_suggests_the_right_one() {
    with_config("key", "package = \"tool\"\ninclud = []\n")
        .xtask("dist")
        .ends_with(2)
        .says("unknown key `includ` in [workspace.metadata.bpfship] of Cargo.toml; did you mean `include`?")
        .in_one_line();
}

#[test]
fn a_misspelt_key_of_the_bpf_table_is_refused_too() {
    with_config("bpf-key", "package = \"tool\"\nbpf.cflag = []\n")
        .xtask("bpf")
        .ends_with(2)
        .says("unknown key `cflag` in [workspace.metadata.bpfship.bpf] of Cargo.toml; did you mean `cflags`?");
}

#[test]
fn a_value_of_the_wrong_type_is_refused() {
    with_config("type", "package = \"tool\"\narches = \"arm64\"\n")
        .xtask("dist")
        .ends_with(2)
        .says("`arches` in [workspace.metadata.bpfship] of Cargo.toml: invalid type: string \"arm64\", expected a sequence")
        .in_one_line();
}

#[test]
fn a_list_of_no_architecture_is_refused() {
    with_config("no-arch", "package = \"tool\"\narches = []\n")
        .xtask("dist")
        .ends_with(2)
        .says("`arches` in [workspace.metadata.bpfship] of Cargo.toml is empty: leave it out to ship for the usual")
        .in_one_line();
}

#[test]
fn what_is_included_elsewhere_is_reported_with_its_place() {
    for (value, why) in [
        ("{ path = \"README.md\" }", "as = "),
        ("3", "a path or { path ="),
        ("{ path = \"README.md\", as = \"../x\" }", "inside the archive"),
    ] {
        with_config("as", &format!("package = \"tool\"\nbpf.folder = \"kernel\"\ninclude = [{value}]\n"))
            .xtask("dist")
            .ends_with(2)
            .says("`include` in [workspace.metadata.bpfship] of Cargo.toml")
            .says(why)
            .in_one_line();
    }
}

#[test]
fn the_key_of_cargo_dist_is_not_ours() {
    let workspace = with_config("dist-key", "package = \"tool\"\nbpf.folder = \"nowhere\"\n");
    let manifest = workspace.read("Cargo.toml");
    let with_both = format!("{manifest}\n[workspace.metadata.dist]\ncargo-dist-version = \"0.30.0\"\n");
    let workspace = workspace.write("Cargo.toml", &with_both);
    workspace.xtask("dist").ends_with(2).says("names `nowhere`, which is not there").in_one_line();
    let workspace = workspace.write("Cargo.toml", &manifest.replace("metadata.bpfship", "metadata.dist"));
    workspace.xtask("dist").ends_with(2).says("if [workspace.metadata.dist] was written for this tool, rename it");
}

#[test]
fn a_misspelt_architecture_in_the_configuration_is_refused() {
    with_config("config-arch", "package = \"tool\"\narches = [\"amd46\"]\n").xtask("dist").ends_with(2).says(
        "`arches` in [workspace.metadata.bpfship] of Cargo.toml: unknown architecture `amd46`: did you mean `amd64`?",
    );
}

#[test]
fn an_unknown_package_suggests_the_right_one() {
    with_config("package", "package = \"tol\"\n")
        .xtask("dist")
        .ends_with(2)
        .says("no package `tol` in this workspace; did you mean `tool`?");
}

#[test]
fn an_unknown_binary_suggests_the_right_one() {
    with_config("bin", "package = \"tool\"\nbin = \"prob\"\n")
        .xtask("dist")
        .ends_with(2)
        .says("package `tool` has no binary `prob`; did you mean `probe`?");
}

#[test]
fn a_missing_file_to_include_is_found_before_anything_is_built() {
    let workspace =
        with_config("include", "package = \"tool\"\nbpf.folder = \"kernel\"\ninclude = [\"man/probe.1\"]\n");
    workspace
        .xtask("dist")
        .ends_with(2)
        .says("`include` in [workspace.metadata.bpfship] of Cargo.toml names `man/probe.1`, which is not there")
        .in_one_line();
    assert!(!workspace.path("target/bpfship/build").exists() && !workspace.path("dist").exists());
}

#[test]
fn what_build_scripts_may_write_is_in_the_workspace() {
    for pattern in ["../*.rs", "/src/*.rs", "./src/*.rs", ""] {
        with_config("generated", &format!("package = \"tool\"\nbpf.folder = \"kernel\"\ngenerated = [{pattern:?}]\n"))
            .xtask("dist")
            .ends_with(2)
            .says(&format!(
                "`generated` in [workspace.metadata.bpfship] of Cargo.toml has `{pattern}`; the path of a file"
            ))
            .in_one_line();
    }
}

#[test]
fn a_file_outside_the_workspace_cannot_be_included() {
    with_config("outside", "package = \"tool\"\ninclude = [\"../secret\"]\n")
        .xtask("dist")
        .ends_with(2)
        .says("names `../secret`; a relative path inside the workspace is expected");
}

#[test]
fn a_missing_bpf_folder_is_refused() {
    with_config("folder", "package = \"tool\"\nbpf.folder = \"bpf\"\n")
        .xtask("bpf")
        .ends_with(2)
        .says("names `bpf`, which is not there");
    with_config("no folder", "package = \"tool\"\n").xtask("bpf").ends_with(2).says("there is no folder `bpf`");
}

#[test]
fn a_bpf_folder_without_a_program_is_refused() {
    with_config("no-program", "package = \"tool\"\nbpf.folder = \"tool\"\n")
        .xtask("bpf")
        .ends_with(2)
        .says("there is no *.bpf.c in");
}

#[test]
fn a_standard_library_that_rust_does_not_provide_is_refused() {
    Workspace::usual("std")
        .xtask("dist --arch s390x --std prebuilt")
        .ends_with(2)
        .says("leave --std out")
        .in_one_line();
}

#[test]
fn outside_git_a_date_is_asked_for() {
    Workspace::usual("date")
        .without_env("SOURCE_DATE_EPOCH")
        .xtask("dist")
        .ends_with(2)
        .says("set SOURCE_DATE_EPOCH to seconds since 1970")
        .in_one_line();
}

#[test]
fn a_date_that_is_no_number_is_refused() {
    Workspace::usual("no-date")
        .env("SOURCE_DATE_EPOCH", "today")
        .xtask("dist")
        .ends_with(2)
        .says("SOURCE_DATE_EPOCH is `today`");
}

#[test]
fn a_manifest_that_is_not_there_or_is_none_is_refused() {
    let workspace = Workspace::usual("manifest");
    workspace.xtask("dist --manifest-path nowhere/Cargo.toml").ends_with(2).says("which is not there");
    workspace.xtask("dist --manifest-path README.md").ends_with(2).says("the path of a Cargo.toml is expected");
}

#[test]
fn a_package_that_wants_a_newer_rust_is_refused_before_anything_is_built() {
    let workspace = Workspace::usual("newer");
    let manifest = workspace.read("tool/Cargo.toml").replace("edition", "rust-version = \"1.999\"\nedition");
    let workspace = workspace.write("tool/Cargo.toml", &manifest);
    let words = "tool 0.3.0 wants Rust 1.999.0 or newer, and this is";
    workspace.xtask("dist --plan --arch amd64").ends_with(2).says(words).in_one_line();
}

#[test]
fn another_rust_than_the_pinned_one_is_refused() {
    let workspace = Workspace::usual("rust");
    let sysroot = workspace.root.join("programs");
    // A toolchain that says it is another version, and is the real one in all else.
    let workspace = workspace
        .program("rustc", &format!("#!/bin/sh\necho {}\n", sysroot.display()))
        .program(
            "bin/rustc",
            "#!/bin/sh\necho 'release: 1.2.3'\necho 'commit-hash: c'\necho 'LLVM version: 1'\necho 'host: h'\n",
        )
        .program("bin/cargo", "#!/bin/sh\nexec cargo \"$@\"\n");
    workspace.xtask("dist").ends_with(1).says("this is Rust 1.2.3").says("rustup toolchain install");
}

#[test]
fn a_folder_that_would_hide_the_binary_cannot_be_included() {
    with_config("hide", "package = \"tool\"\nbpf.folder = \"kernel\"\ninclude = [\"probe/\"]\n")
        .write("probe/man.1", "")
        .xtask("dist")
        .ends_with(2)
        .says("names `probe`, but the archive already contains a file `probe`");
}

#[test]
fn a_lock_file_of_cargo_that_is_missing_is_named_with_the_remedy() {
    let workspace = Workspace::usual("no-lock");
    std::fs::remove_file(workspace.path("Cargo.lock")).unwrap();
    workspace
        .xtask("bpf")
        .ends_with(1)
        .says("Cargo.lock is missing: run `cargo generate-lockfile` and commit what it writes")
        .in_one_line();
    assert!(!workspace.path("Cargo.lock").exists());
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let workspace = Workspace::usual("full");
    for line in ["kernels", "kernels --json", "kernels -q", "--help", "dist --help", "cache", "completions bash"] {
        let run = workspace.shell(&format!("\"$BPFSHIP\" {line} >/dev/full"));
        run.ends_with(1).says("error: cannot write to standard output").in_one_line();
    }
    // Whoever reads it may have had enough.
    workspace.shell("\"$BPFSHIP\" kernels | head -n 1").succeeds().says("arch ").in_one_line();
}

#[test]
fn an_empty_folder_is_none_that_git_has() {
    let workspace = Workspace::new("empty", "package = \"tool\"\nbpf.folder = \"kernel\"\ninclude = [\"docs\"]\n");
    commit(&workspace);
    std::fs::create_dir(workspace.path("docs")).unwrap();
    workspace.xtask("dist --plan").ends_with(2).says("names `docs`, which is empty, and git keeps no empty folders");
}
