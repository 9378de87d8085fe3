//! What a workspace and the environment say to cross, and what becomes of it here: an image is taken, and each other key is
//! named with the reason for which it has no effect.

use std::collections::BTreeMap;

use toml::{Table, Value};

use crate::cross::program::VERSION;

/// Where a workspace configures cross, but for the table `package.metadata.cross` of its Cargo.toml.
pub const FILE: &str = "Cross.toml";

/// The keys that this version of cross knows, and why they have no effect. Those of `build` hold for all targets.
const KEYS: [(&str, &str); 8] = [
    ("env.passthrough", "a build sees nothing of the environment"),
    ("env.volumes", "a build sees what it needs of this machine, and nothing else"),
    ("xargo", "where the standard library comes from is what --std says"),
    ("build-std", "where the standard library comes from is what --std says"),
    (
        "pre-build",
        "nothing is run in the image before a build: name packages of Debian's by `container.packages`, or another image",
    ),
    ("dockerfile", "no image is made of it: make it, and name it by its digest"),
    ("default-target", "what is built for is what `arches` or --arch says"),
    ("runner", "nothing that was built is run"),
];

/// Variables that cross reads, whose names do not begin as its others do.
const VARIABLES: [&str; 3] = ["DOCKER_OPTS", "XARGO_HOME", "QEMU_STRACE"];

/// What there is to take, and to say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// The image for a target, as it is written.
    pub images: BTreeMap<String, String>,
    /// A line for each key that has no effect.
    pub ignored: Vec<String>,
}

impl Settings {
    /// Reads a configuration; `place` is what users call it. What an earlier one says of an image stays.
    pub fn add(&mut self, table: &Table, place: &str) {
        for (key, value) in table {
            match (key.as_str(), value) {
                ("build", Value::Table(build)) => self.add_keys(build, "build", None, place),
                ("target", Value::Table(targets)) => {
                    for (triple, own) in targets {
                        let name = format!("target.{triple}");
                        match own {
                            Value::Table(own) => self.add_keys(own, &name, Some(triple), place),
                            _ => self.ignore(&name, place),
                        }
                    }
                }
                _ => self.ignore(key, place),
            }
        }
    }

    fn add_keys(&mut self, table: &Table, above: &str, triple: Option<&str>, place: &str) {
        for (key, value) in table {
            match (key.as_str(), value, triple) {
                ("image", Value::String(image), Some(triple)) => {
                    self.images.entry(triple.into()).or_insert_with(|| image.clone());
                }
                ("env", Value::Table(env), _) => {
                    env.keys().for_each(|inner| self.ignore(&format!("{above}.env.{inner}"), place));
                }
                _ => self.ignore(&format!("{above}.{key}"), place),
            }
        }
    }

    fn ignore(&mut self, key: &str, place: &str) {
        let known = KEYS.iter().find(|(name, _)| key.strip_suffix(name).is_some_and(|above| above.ends_with('.')));
        let reason = known.map_or_else(|| format!("cross {VERSION} does not know it"), |(_, reason)| (*reason).into());
        self.ignored.push(format!("`{key}` in {place} has no effect: {reason}"));
    }
}

/// A line for each of these variables that cross would read, and here does not see.
pub fn unseen<'a>(variables: impl Iterator<Item = &'a str>) -> Vec<String> {
    let is_read = |name: &&str| name.starts_with("CROSS_") || VARIABLES.contains(name);
    let line = |name: &str| {
        let reason = match name {
            "CROSS_CONTAINER_ENGINE" => "the engine is the one that --engine names, or the first that answers",
            name if name.starts_with("CROSS_TARGET_") && name.ends_with("_IMAGE") => {
                "name the image by `arch.NAME.image` in [workspace.metadata.bpfship] of Cargo.toml"
            }
            _ => "cross gets its settings from this tool alone",
        };
        format!("{name} in the environment has no effect: {reason}")
    };
    variables.filter(is_read).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_taken_and_each_other_key_is_named_with_a_reason() {
        let text = "[build]\nxargo = true\nbuild-std = true\ndefault-target = 'x'\npre-build = ['true']\n\
                    dockerfile = 'D'\nenv = { passthrough = ['A'], volumes = ['B'] }\n\
                    [target.t]\nimage = 'i:1'\nrunner = 'qemu'\nimages = 'i'\ndockerfile = { file = 'D' }\n[cargo]\n";
        let mut settings = Settings::default();
        settings.add(&text.parse().unwrap(), FILE);
        settings.add(&"[target]\nt.image = 'other'\nu.image = 'j'\n".parse().unwrap(), "Cargo.toml");
        let images: Vec<_> = settings.images.iter().map(|(target, image)| (target.as_str(), image.as_str())).collect();
        assert_eq!(images, [("t", "i:1"), ("u", "j")]);
        let reasons: BTreeMap<&str, &str> = settings
            .ignored
            .iter()
            .map(|line| line.strip_prefix('`').unwrap().split_once("` in Cross.toml has no effect: ").unwrap())
            .collect();
        let unknown = ["cargo", "target.t.images"];
        let known = ["build.xargo", "build.build-std", "build.default-target", "build.pre-build", "build.dockerfile"];
        let others = ["build.env.passthrough", "build.env.volumes", "target.t.runner", "target.t.dockerfile"];
        let mut all = [&unknown[..], &known, &others].concat();
        all.sort_unstable();
        assert_eq!(reasons.keys().copied().collect::<Vec<_>>(), all);
        for (key, reason) in reasons {
            assert_eq!(reason == "cross 0.2.5 does not know it", unknown.contains(&key), "{key}: {reason}");
        }
    }

    #[test]
    fn variables_that_cross_would_read_are_named() {
        let lines = unseen(["CROSS_BUILD_PRE_BUILD", "HOME", "DOCKER_OPTS", "DOCKER_HOST"].into_iter());
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("CROSS_BUILD_PRE_BUILD in the environment has no effect: "), "{lines:?}");
    }
}
