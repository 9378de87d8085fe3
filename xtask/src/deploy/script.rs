//! What is sent to a target: assignments, the functions of target.sh, and the call of one.

use serde::Serialize;

use crate::sys::command::word;
use crate::sys::hash::Sha256;

const FUNCTIONS: &str = include_str!("target.sh");

/// How the first line begins of every unit that this tool writes, by `deploy` or by `emit`.
pub const MARK: &str = "# Written by `cargo xtask";

/// Where on the target, and who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// What the program is called.
    pub name: String,
    /// The folder that it is found in.
    pub folder: String,
    /// For whoever finds the target locked.
    pub operator: String,
}

/// What becomes the current version, and how it is proved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    pub version: String,
    pub sha256: Sha256,
    /// In bytes; 0 if it is there already.
    pub size: usize,
    pub preflight: Vec<Vec<String>>,
    pub self_test: Vec<Vec<String>>,
    pub service: Option<String>,
    /// In seconds: for a command; for the unit to be watched; for the confirmation.
    pub limit: u64,
    pub watch: u64,
    pub confirm: u64,
    /// How many versions are kept.
    pub keep: usize,
}

impl Place {
    /// Everything about a target that can be read.
    pub fn facts(&self, token: &str) -> String {
        self.script(token, "facts", "")
    }

    pub fn deploy(&self, token: &str, change: &Change) -> String {
        self.script(token, "deploy", &assignments(change))
    }

    pub fn confirm(&self, token: &str, change: &Change) -> String {
        self.script(token, "confirm", &assignments(change))
    }

    pub fn uninstall(&self, token: &str) -> String {
        self.script(token, "uninstall", "VERSION=-\n")
    }

    fn script(&self, token: &str, call: &str, more: &str) -> String {
        let Place { name, folder, operator } = self;
        let folder = folder.trim_end_matches('/');
        let set = |name: &str, value: &str| format!("{name}={}\n", word(value));
        let head = [
            set("TOKEN", token),
            set("NAME", name),
            set("DIR", folder),
            set("LINK", &format!("{folder}/{name}")),
            set("STORE", &format!("{folder}/.{name}")),
            set("UNIT", &format!("/etc/systemd/system/{name}.service")),
            set("MARK", MARK),
            set("WHO", operator),
        ]
        .concat();
        // Comments need not travel.
        let lines = FUNCTIONS.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let functions: String = lines.flat_map(|line| [line, "\n"]).collect();
        format!("{head}{more}{functions}{call}")
    }
}

fn assignments(change: &Change) -> String {
    let commands: Vec<&Vec<String>> = change.preflight.iter().chain(&change.self_test).collect();
    let numbers =
        |from: usize, count: usize| (from..from + count).map(|number| number.to_string()).collect::<Vec<_>>().join(" ");
    let (first, second) = (change.preflight.len(), change.self_test.len());
    let mut values = vec![
        ("VERSION".to_owned(), change.version.clone()),
        ("SHA256".into(), change.sha256.to_string()),
        ("SIZE".into(), change.size.to_string()),
        ("SERVICE".into(), change.service.as_deref().unwrap_or_default().trim_end().to_owned()),
        ("LIMIT".into(), change.limit.to_string()),
        ("WATCH".into(), change.watch.to_string()),
        ("CONFIRM".into(), change.confirm.to_string()),
        ("KEEP".into(), change.keep.to_string()),
        ("PREFLIGHTS".into(), numbers(0, first)),
        ("SELFTESTS".into(), numbers(first, second)),
    ];
    values.extend(commands.iter().enumerate().map(|(number, words)| {
        let words: Vec<String> = words.iter().map(|it| word(it)).collect();
        (format!("COMMAND_{number}"), words.join(" "))
    }));
    values.iter().map(|(name, value)| format!("{name}={}\n", word(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_ascii_and_ends_with_the_call_so_that_a_part_of_it_does_nothing() {
        let place = Place { name: "probe".into(), folder: "/opt/it's here/".into(), operator: "ann@desk".into() };
        let text = place.facts("12ab");
        assert!(text.is_ascii() && text.ends_with("\n}\nfacts"), "{}", &text[text.len() - 20..]);
        assert!(text.contains("\nLINK=\"/opt/it's here/probe\"\n"), "{}", &text[..300]);
        // Outside of functions nothing is called.
        let mut depth = 0;
        for line in FUNCTIONS.lines().filter(|line| !line.is_empty() && !line.starts_with(['#', ' ', '\t'])) {
            depth += i32::from(line.ends_with("() {")) - i32::from(line == "}");
            assert!(depth == 1 || line == "}" || line == "END" || line.starts_with("$("), "{line}");
        }
    }

    #[test]
    fn commands_keep_their_words() {
        let change = Change {
            version: "1.0.0-12ab".into(),
            sha256: crate::sys::hash::bytes(b""),
            size: 0,
            preflight: vec![vec!["--preflight".into()]],
            self_test: vec![vec!["--self-test".into(), "two words".into()]],
            service: None,
            limit: 60,
            watch: 10,
            confirm: 60,
            keep: 3,
        };
        let text = assignments(&change);
        assert!(text.contains("PREFLIGHTS=0\nSELFTESTS=1\nCOMMAND_0=--preflight\n"), "{text}");
        assert!(text.contains("COMMAND_1=\"--self-test 'two words'\"\n"), "{text}");
    }
}
