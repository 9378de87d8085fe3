//! Habits of the sources that no compiler checks.

use std::{fs, path::Path};

/// Each panics where nobody reads what it prints, or may: `stderr::say`, `write!` and errors do not.
const PANICS: &[&str] = &["println!", "print!(", "dbg!", ".unwrap()", ".expect(", "panic!(", "todo!"];

#[test]
fn every_file_says_what_it_is_and_none_panics() {
    let mut files = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    assert!(files.len() > 10);
    for (path, source) in files {
        assert!(source.starts_with("//! "), "{path}: no first line that says what it is");
        let program = source.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        for (index, line) in program.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for panic in PANICS {
                assert!(!code.contains(panic), "{path}:{}: {panic} may panic", index + 1);
            }
        }
    }
}

fn collect(folder: &Path, files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
        }
    }
}
