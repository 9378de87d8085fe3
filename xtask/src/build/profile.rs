//! The profile that binaries are built with: Cargo.toml's, but for the keys that the tool decides. A workspace that
//! sets those gets a line, since the setting has no effect; if the program would behave differently, it is refused.

use std::path::Path;

use anyhow::{Context, Result};
use toml::{Table, Value};

use crate::sys::files;
use crate::ui::error::bad_request;
use crate::ui::suggest;
use crate::workspace::cargo_home;

/// A key of the profile that is the same for every workspace.
struct Key {
    name: &'static str,
    /// In TOML.
    value: &'static str,
    /// Its other names.
    same: &'static [&'static str],
}

/// A standard library from source consists of bitcode alone and aborts on panic, hence the first two.
const DECIDED: [Key; 5] = [
    Key { name: "lto", value: "'fat'", same: &["fat", "true"] },
    Key { name: "panic", value: "'abort'", same: &["abort"] },
    Key { name: "strip", value: "true", same: &["true", "symbols"] },
    Key { name: "debug", value: "false", same: &["false", "0", "none"] },
    Key { name: "incremental", value: "false", same: &["false"] },
];

/// The arguments of cargo for the profile, whose rest is the workspace's own.
pub fn flags() -> Vec<String> {
    DECIDED.iter().map(|key| format!("--config=profile.release.{}={}", key.name, key.value)).collect()
}

/// Refuses a workspace that needs something else of what the tool decides. What else it wants and does not get is returned, one
/// line for each. `bpf` are the packages that are BPF, which are built with another profile.
pub fn check(root: &Path, triples: &[&str], bpf: &[&str]) -> Result<Vec<String>> {
    let file = root.join("Cargo.toml");
    let manifest = files::read_if_there(&file)?.unwrap_or_default();
    let manifest: Table = manifest.parse().with_context(|| format!("cannot understand {}", file.display()))?;
    let mut ignored = check_manifest(&manifest, bpf)?;
    if let Some((file, config)) = cargo_home::own_config(root)? {
        let file = file.display();
        if config.get("profile").and_then(|profiles| profiles.get("release")).is_some() {
            bad_request!(
                "[profile.release] in {file} does not affect what is shipped: move it to Cargo.toml, where every build of the \
                 commit has it"
            );
        }
        let keys = unheeded(&config, triples);
        ignored.extend(keys.iter().map(|key| format!("`{key}` in {file} does not affect what is shipped")));
    }
    Ok(ignored)
}

/// Settings in a configuration of cargo that other builds of the workspace obey, and this one does not.
fn unheeded(config: &Table, triples: &[&str]) -> Vec<String> {
    let mut keys: Vec<String> = ["env", "unstable"].map(String::from).into();
    keys.retain(|key| config.get(key).and_then(Value::as_table).is_some_and(|table| !table.is_empty()));
    let has_flags = |table: &Value| table.get("rustflags").is_some();
    keys.extend(config.get("build").filter(|build| has_flags(build)).map(|_| "build.rustflags".into()));
    let targets = config.get("target").and_then(Value::as_table);
    let is_shipped = |name: &str| name.starts_with("cfg(") || triples.contains(&name);
    let targets = targets.into_iter().flatten().filter(|(name, table)| is_shipped(name) && has_flags(table));
    keys.extend(targets.map(|(name, _)| format!("target.'{name}'.rustflags")));
    keys
}

fn check_manifest(manifest: &Table, bpf: &[&str]) -> Result<Vec<String>> {
    let release = manifest.get("profile").and_then(|profiles| profiles.get("release")).and_then(Value::as_table);
    let Some(release) = release else { return Ok(Vec::new()) };
    let mut ignored = check_table("profile.release", release, &["lto", "strip", "debug", "incremental"])?;
    let packages = release.get("package").and_then(Value::as_table);
    for (package, table) in packages.into_iter().flatten().filter(|(package, _)| !bpf.contains(&package.as_str())) {
        if let Some(table) = table.as_table() {
            // Of a package's own table, the command line overrides nothing, but what is linked is stripped.
            let name = format!("profile.release.package.{}", suggest::cut(package));
            ignored.extend(check_table(&name, table, &["debug"])?);
        }
    }
    Ok(ignored)
}

/// `harmless` are the keys that change how a program is built, and not what it does.
fn check_table(name: &str, table: &Table, harmless: &[&str]) -> Result<Vec<String>> {
    let mut ignored = Vec::new();
    for key in &DECIDED {
        let Some(value) = table.get(key.name) else { continue };
        let written = value.as_str().map_or_else(|| value.to_string(), String::from);
        if key.same.contains(&written.as_str()) {
            continue;
        }
        let sentence = format!(
            "`{0}` in [{name}] of Cargo.toml is {1}, but what is shipped is built with {0} = {2}",
            key.name,
            suggest::cut(&value.to_string()),
            key.value
        );
        match harmless.contains(&key.name) {
            true => ignored.push(sentence),
            false => bad_request!("{sentence}: leave it out, or have it in another profile"),
        }
    }
    Ok(ignored)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_tool_decides_has_no_effect_or_is_refused_and_all_else_can_be_set() {
        let check = |release: &str| {
            let manifest = format!("[profile.release]\n{release}");
            check_manifest(&manifest.parse().unwrap(), &["a-ebpf"]).map_err(|error| error.to_string())
        };
        for same in [
            "opt-level = 's'\ncodegen-units = 1\noverflow-checks = true\n[profile.dev]\nlto = false",
            "lto = 'fat'\npanic = 'abort'\nstrip = 'symbols'\ndebug = 0\nincremental = false",
            "lto = true\nstrip = true\ndebug = false\n[profile.release.package.a]\nopt-level = 3\ndebug = 'none'",
            "package.a-ebpf.strip = false\npackage.a-ebpf.panic = 'unwind'",
        ] {
            assert_eq!(check(same), Ok(Vec::new()), "{same}");
        }
        for (other, words) in [
            ("panic = 'unwind'", "built with panic = 'abort': leave it out"),
            ("package.a.strip = false", "`strip` in [profile.release.package.a] of Cargo.toml is false,"),
        ] {
            let error = check(other).unwrap_err();
            assert!(error.contains(words), "{other}: {error}");
        }
        for (other, words) in [
            (
                "lto = 'thin'",
                "`lto` in [profile.release] of Cargo.toml is \"thin\", but what is shipped is built with lto = 'fat'",
            ),
            ("lto = false", "`lto` in [profile.release] of Cargo.toml is false,"),
            ("lto = 'banana'", "is \"banana\","),
            ("strip = 'debuginfo'", "built with strip = true"),
            ("debug = 1", "built with debug = false"),
            ("debug = 'line-tables-only'", "built with debug = false"),
            ("incremental = true", "built with incremental = false"),
            ("package.'*'.debug = true", "`debug` in [profile.release.package.*] of Cargo.toml is true,"),
        ] {
            let ignored = check(other).unwrap();
            assert!(matches!(&ignored[..], [only] if only.contains(words)), "{other}: {ignored:?}");
        }
    }
}
