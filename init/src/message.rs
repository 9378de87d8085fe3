//! What init reports, and its words for it.

use std::fmt;

/// What a line of a program's begins with that names something it cannot do on this kernel, though it works.
pub const GAP: &str = "gap: ";

/// One report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Something about the kernel: see [`facts`].
    Fact {
        name: String,
        value: String,
    },
    /// Something that init could not do.
    Fault(String),
    /// The command with this number is about to run.
    Begun(usize),
    /// A line that it wrote, on standard output or standard error.
    Said {
        command: usize,
        line: String,
    },
    Ended {
        command: usize,
        end: End,
    },
    /// All commands were run. Nothing follows.
    Done,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    Code(i32),
    Signal(i32),
    /// Why it could not be started.
    NotStarted(String),
}

/// The names of what is told about the kernel.
pub mod facts {
    /// As `uname -r` says.
    pub const RELEASE: &str = "release";
    /// Bytes in a page.
    pub const PAGE: &str = "page";
    /// Bytes of memory.
    pub const MEMORY: &str = "memory";
    /// Bytes of the kernel's BTF as programs find it, or `none`.
    pub const BTF: &str = "btf";
    /// Bytes of the BTF that init has put out of their sight, where it was told to and could.
    pub const HIDDEN_BTF: &str = "hidden-btf";
    /// `on`, `switched on` (by init), `off` (and could not be switched on) or `none`.
    pub const JIT: &str = "jit";
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Message::Fact { name, value } => write!(f, "fact {name} {value}"),
            Message::Fault(text) => write!(f, "fault {text}"),
            Message::Begun(command) => write!(f, "begun {command}"),
            Message::Said { command, line } => write!(f, "said {command} {line}"),
            Message::Ended { command, end: End::Code(code) } => write!(f, "ended {command} code {code}"),
            Message::Ended { command, end: End::Signal(signal) } => write!(f, "ended {command} signal {signal}"),
            Message::Ended { command, end: End::NotStarted(why) } => write!(f, "ended {command} not-started {why}"),
            Message::Done => f.write_str("done"),
        }
    }
}

impl Message {
    /// Whether a verdict depends on it.
    pub fn counts(&self) -> bool {
        match self {
            Message::Said { line, .. } => line.starts_with(GAP),
            _ => true,
        }
    }

    pub fn parse(text: &str) -> Option<Message> {
        let (kind, rest) = text.split_once(' ').unwrap_or((text, ""));
        let (first, second) = rest.split_once(' ').unwrap_or((rest, ""));
        Some(match kind {
            "fact" => Message::Fact { name: first.into(), value: second.into() },
            "fault" => Message::Fault(rest.into()),
            "begun" => Message::Begun(rest.parse().ok()?),
            "said" => Message::Said { command: first.parse().ok()?, line: second.into() },
            "ended" => Message::Ended { command: first.parse().ok()?, end: End::parse(second)? },
            "done" => Message::Done,
            _ => return None,
        })
    }
}

impl End {
    fn parse(text: &str) -> Option<End> {
        let (kind, rest) = text.split_once(' ')?;
        Some(match kind {
            "code" => End::Code(rest.parse().ok()?),
            "signal" => End::Signal(rest.parse().ok()?),
            "not-started" => End::NotStarted(rest.into()),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_a_program_says_its_gaps_count() {
        let said = |line: &str| Message::Said { command: 0, line: line.into() };
        assert!(said("gap: no uid").counts() && Message::Done.counts());
        assert!(!said("passed, no gap: fine").counts());
    }

    #[test]
    fn every_message_is_read_as_what_was_written() {
        for message in [
            Message::Fact { name: facts::JIT.into(), value: "switched on".into() },
            Message::Fault("cannot mount /sys: no such device".into()),
            Message::Begun(1),
            Message::Said { command: 1, line: String::new() },
            Message::Said { command: 1, line: "  two  words ".into() },
            Message::Ended { command: 0, end: End::Code(255) },
            Message::Ended { command: 0, end: End::Signal(9) },
            Message::Ended { command: 0, end: End::NotStarted("exec format error".into()) },
            Message::Done,
        ] {
            assert_eq!(Message::parse(&message.to_string()), Some(message));
        }
        for text in ["", "what", "begun x", "ended 0", "ended 0 well", "ended 0 code x"] {
            assert_eq!(Message::parse(text), None, "{text}");
        }
    }
}
