//! The bindings that the configuration asks for: which files, and what is in them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use bpfship_object::bindings::{self, Object, Options};

use crate::arch::ARCHES;
use crate::bpf::paths;
use crate::bpf::target::ObjectName;
use crate::bpf::units::Unit;
use crate::sys::hash::Sha256;
use crate::workspace::config::Bpf;

/// Bindings of another version are written again: it changes whenever the same objects give another text.
const VERSION: u32 = 4;

/// What a module in a file of its own cannot be called: cargo and rustc have other uses for such a file, or Rust for the word.
const NO_MODULES: [&str; 7] = ["main", "lib", "mod", "crate", "self", "Self", "super"];

/// An object, and its bytes.
pub struct Input {
    pub name: ObjectName,
    pub sha256: Sha256,
    pub bytes: Vec<u8>,
}

/// The line of the lock file that says what is asked for.
pub fn line(bpf: &Bpf) -> Option<String> {
    let folder = bpf.bindings.as_ref()?;
    let types: String = bpf.types.iter().map(|name| format!(" {name}")).collect();
    Some(format!("bindings {VERSION} {}{types}", paths::from_folder(&bpf.folder, folder)))
}

/// The file for what is called so, from the workspace: its name is that of a module.
fn path(folder: &str, stem: &str) -> String {
    let mut module = stem.replace(|letter: char| !letter.is_ascii_alphanumeric(), "_");
    if module.starts_with(|first: char| first.is_ascii_digit()) {
        module.insert(0, '_');
    }
    if NO_MODULES.contains(&module.as_str()) || module == "_" {
        module.push('_');
    }
    format!("{folder}/{module}.rs")
}

/// The files that are to be written, from the workspace.
pub fn paths(units: &[Unit], bpf: &Bpf) -> Vec<String> {
    bpf.bindings.iter().flat_map(|folder| units.iter().map(|unit| path(folder, &unit.stem))).collect()
}

/// Whether a file has bindings: their first line says so.
pub fn is_written(text: &str) -> bool {
    text.lines().next().is_some_and(|line| line.starts_with("//! Bindings for ") && line.ends_with(bindings::BY))
}

/// The files by their paths from the workspace: one for each source or variant. None, if none are asked for.
pub fn render(inputs: &[Input], bpf: &Bpf) -> Result<BTreeMap<String, String>> {
    let Some(folder) = &bpf.bindings else { return Ok(BTreeMap::new()) };
    let mut stems: BTreeMap<&str, Vec<&Input>> = BTreeMap::new();
    for input in inputs {
        stems.entry(&input.name.stem).or_default().push(input);
    }
    let mut files = BTreeMap::new();
    let mut types = BTreeSet::new();
    for (stem, inputs) in stems {
        let named: Vec<(String, String, Vec<&str>)> = inputs
            .iter()
            .map(|Input { name, sha256, .. }| {
                // One word of Rust's is for all generations of ARM, as one of the kernel's is.
                let only_for =
                    |word| ARCHES.iter().filter(move |arch| arch.linux == word).map(|arch| arch.rust()).take(1);
                (name.to_string(), sha256.to_string(), name.target.arch_word.into_iter().flat_map(only_for).collect())
            })
            .collect();
        let objects = inputs.iter().zip(&named);
        let objects: Vec<Object> = objects
            .map(|(input, (file, sha256, arches))| Object { file, sha256, bytes: &input.bytes, arches })
            .collect();
        let rendered = bindings::render(&objects, &Options { name: stem, types: &bpf.types })?;
        types.extend(rendered.types);
        let path = path(folder, stem);
        if files.insert(path.clone(), rendered.text).is_some() {
            bail!("the bindings of two sources would both be {path}: give one another name");
        }
    }
    if let Some(missing) = bpf.types.iter().find(|name| !types.contains(*name)) {
        bail!(
            "no object has a type `{missing}`, which `types` in [workspace.metadata.bpfship.bpf] names: clang leaves out what \
             nothing mentions, so mention it in a source: const struct {missing} *unused_{missing} __attribute__((unused));"
        );
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::hash;

    fn input(name: &str) -> Input {
        let bytes = include_bytes!("../../object/tests/tick_bpfel.o").to_vec();
        Input { name: name.parse().unwrap(), sha256: hash::bytes(&bytes), bytes }
    }

    fn asked() -> Bpf {
        Bpf { folder: "bpf".into(), bindings: Some("bpf/src".into()), ..Bpf::default() }
    }

    #[test]
    fn each_source_has_a_file_and_all_of_its_objects_are_named_in_it() {
        let inputs = ["tick_x86_bpfel.o", "tick_arm64_bpfel.o", "tick-tock_bpfel.o"].map(input);
        assert_eq!(render(&inputs, &Bpf::default()).unwrap(), BTreeMap::new());
        let files = render(&inputs, &asked()).unwrap();
        assert_eq!(files.keys().collect::<Vec<_>>(), ["bpf/src/tick.rs", "bpf/src/tick_tock.rs"]);
        let text = &files["bpf/src/tick.rs"];
        assert!(is_written(text) && !is_written("//! Bindings for tick, by hand.\n") && !is_written(""));
        for input in &inputs[..2] {
            assert!(text.contains(&format!("//! object {} {}\n", input.sha256, input.name)), "{text}");
        }
        assert!(text.contains("embed!(\"tick\")"), "{text}");
        assert!(files["bpf/src/tick_tock.rs"].contains("embed!(\"tick-tock\")"));
        assert_eq!(line(&asked()).as_deref(), Some("bindings 4 src"));
    }

    #[test]
    fn a_file_is_called_as_a_module_can_be() {
        for (stem, file) in [
            ("tick-tock", "tick_tock.rs"),
            ("1-hello_probe", "_1_hello_probe.rs"),
            ("main", "main_.rs"),
            ("lib", "lib_.rs"),
            ("mod", "mod_.rs"),
            ("super", "super_.rs"),
            ("net_main", "net_main.rs"),
            // `mod r#type;` is in this file.
            ("type", "type.rs"),
        ] {
            assert_eq!(path("bpf/src", stem), format!("bpf/src/{file}"));
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let error = |inputs: &[Input], bpf: &Bpf| render(inputs, bpf).unwrap_err().to_string();
        let same = ["a-b_bpfel.o", "a_b_bpfel.o"].map(input);
        assert!(error(&same, &asked()).contains("would both be bpf/src/a_b.rs"));
        let with_type = Bpf { types: vec!["event".into()], ..asked() };
        assert!(error(&same[..1], &with_type).starts_with("no object has a type `event`"));
    }
}
