//! Names of crates that are the same on every machine. Rust's symbols and `TypeId`s depend on the name that cargo gives a
//! crate, and that of a package beside the workspace depends on where the repository lies. So where there is one, cargo calls
//! rustc through this tool, which names all crates anew.

use std::path::Path;

use crate::sys::hash;

/// By which name the tool is called in place of rustc.
pub const PROGRAM: &str = "bpfship-rustc";

/// The words of a call of rustc with another name for its crate; unchanged if it compiles none. `variable` is what cargo set
/// for it. Packages are known by their places in these folders, which are called so.
pub fn rewritten(
    words: Vec<String>,
    variable: impl Fn(&str) -> Option<String>,
    folders: &[(&Path, &str)],
) -> Vec<String> {
    let Some(manifest) = variable("CARGO_MANIFEST_DIR") else { return words };
    let place = folders.iter().find_map(|(folder, name)| {
        let place = Path::new(&manifest).strip_prefix(folder).ok()?;
        Some(format!("{name} {}", place.display()))
    });
    let mut identity = vec![place.unwrap_or_default()];
    identity.extend(["CARGO_PKG_NAME", "CARGO_PKG_VERSION"].map(|name| variable(name).unwrap_or_default()));
    // What makes it another crate: for this machine or a target, with which features, a build script or a library.
    for pair in words.windows(2) {
        if ["--crate-name", "--crate-type", "--target", "--cfg"].contains(&pair[0].as_str()) {
            identity.push(pair.join(" "));
        }
    }
    let name = format!("metadata={:.16}", hash::bytes(identity.join("\0").as_bytes()));
    words.into_iter().map(|word| if word.starts_with("metadata=") { name.clone() } else { word }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What rustc is told of a crate in a folder.
    fn called(folder: &str, words: &str) -> String {
        let variable = |name: &str| match name {
            "CARGO_MANIFEST_DIR" => Some(folder.to_owned()),
            "CARGO_PKG_NAME" => Some("util".to_owned()),
            _ => None,
        };
        let words = words.split(' ').map(String::from).collect();
        let folders = [Path::new("/ann/source"), Path::new("/bob/it/source")].map(|folder| (folder, "source"));
        rewritten(words, variable, &folders).join(" ")
    }

    #[test]
    fn a_crate_has_one_name_wherever_its_repository_lies() {
        let name = |folder: &str, words: &str| {
            let words = called(folder, words);
            let (_, name) = words.split_once("metadata=").unwrap();
            name.split(' ').next().unwrap().to_owned()
        };
        let ann = "rustc --crate-name util -C metadata=0123 -C extra-filename=-0123 --target x";
        let bob = "rustc --crate-name util -C metadata=4567 -C extra-filename=-4567 --target x";
        assert_eq!(name("/ann/source/util", ann), name("/bob/it/source/util", bob));
        assert_ne!(name("/ann/source/util", ann), name("/ann/source/other", ann));
        assert_ne!(name("/ann/source/util", ann), name("/ann/source/util", &ann.replace(" x", " y")));
        assert_ne!(name("/ann/source/util", ann), name("/ann/source/util", &format!("{ann} --cfg feature=\"a\"")));
        // Where cargo looks for the file stays as it is.
        assert!(called("/ann/source/util", ann).ends_with(" -C extra-filename=-0123 --target x"));
        assert_eq!(called("/ann/source/util", "rustc -vV"), "rustc -vV");
    }
}
