//! `bpf`: sources of all kinds, for all architectures.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::support::Workspace;
use bpfship::testing::ObjectName;
use bpfship_object::check;
use bpfship_object::report::Report;

/// The sources that have an object for each architecture, and why; all others have one for each byte order.
const BY_ARCHITECTURE: [&str; 5] = ["kprobe_core", "kprobe_headers", "numbers", "uprobe", "usdt"];

#[test]
fn every_kind_of_program_compiles_for_every_architecture() {
    let workspace = Workspace::copy_of_our_own("sources");
    let manifest = workspace.read("Cargo.toml").replace(
        "[workspace.metadata.bpfship.bpf]\ncflags = [\"-Wextra\", \"-Werror\"]\nbindings = \"bpf/src\"\n\
         types = [\"exit_event\", \"limits\"]\n",
        "[[workspace.metadata.bpfship.bpf.variant]]\nname = \"twice\"\nsources = [\"variants.bpf.c\"]\n\
         defines = [\"STEP=2\"]\n[workspace.metadata.bpfship.bpf]\nfolder = \"xtask/tests/bpf\"\ncflags = [\"-Werror\"]\n\
         bindings = \"xtask/tests/bindings\"\n",
    );
    let workspace = workspace.write("Cargo.toml", &manifest);
    workspace.xtask("bpf").succeeds();
    let mut targets: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for file in workspace.list("xtask/tests/bpf/objects") {
        let name: ObjectName = file.parse().unwrap();
        targets.entry(name.stem).or_default().insert(name.target.name);
        let bytes = fs::read(workspace.path(&format!("xtask/tests/bpf/objects/{file}"))).unwrap();
        let (endian, _) = Report::read(&bytes).unwrap_or_else(|error| panic!("{file}: {error:#}"));
        check(&bytes, endian).unwrap_or_else(|error| panic!("{file}: {error:#}"));
    }
    let is_source = |name: &String| name.ends_with(".bpf.c");
    let folders = ["xtask/tests/bpf", "xtask/tests/bpf/net"].map(|folder| workspace.list(folder));
    // And the variant of one.
    assert_eq!(targets.len(), folders.iter().flatten().filter(|name| is_source(name)).count() + 1, "{targets:?}");
    assert_eq!(workspace.list("xtask/tests/bindings").len(), targets.len());
    for (stem, targets) in &targets {
        let expected = if BY_ARCHITECTURE.contains(&stem.as_str()) { 6 } else { 2 };
        assert_eq!(targets.len(), expected, "{stem}: {targets:?}");
    }
    workspace.xtask("bpf --check").succeeds();
}
