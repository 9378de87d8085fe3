//! What the first process reports, and the form it reports it in.

use std::fmt;

/// The prefix of a line by which a program names something it cannot do on this kernel, though it works.
pub const GAP: &str = "gap: ";

/// One report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Something about the kernel: see [`facts`].
    Fact { name: String, value: String },
    /// Something that the first process could not do.
    Fault(String),
    /// The command with this number is about to run.
    Started(usize),
    /// A line that it wrote, on standard output or standard error.
    Output { command: usize, line: String },
    /// It exited.
    Exited { command: usize, end: End },
    /// All commands were run. Nothing follows.
    Done,
}

/// How a command exited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    Code(i32),
    Signal(i32),
    /// By the interrupt that it was sent.
    Interrupted,
    /// Why it could not be started.
    NotStarted(String),
}

/// The names of the facts about the kernel.
pub mod facts {
    /// As `uname -r` prints it.
    pub const RELEASE: &str = "release";
    /// Bytes in a page.
    pub const PAGE: &str = "page";
    /// Bytes of memory.
    pub const MEMORY: &str = "memory";
    /// Bytes of the kernel's BTF as programs find it, or `none`.
    pub const BTF: &str = "btf";
    /// Bytes of the BTF that the first process hid from them, where it was to and could.
    pub const HIDDEN_BTF: &str = "hidden-btf";
    /// `on`, `switched on` (by the first process), `off` (and could not be switched on) or `none`.
    pub const JIT: &str = "jit";
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Message::Fact { name, value } => write!(f, "fact {name} {value}"),
            Message::Fault(text) => write!(f, "fault {text}"),
            Message::Started(command) => write!(f, "started {command}"),
            Message::Output { command, line } => write!(f, "output {command} {line}"),
            Message::Exited { command, end: End::Code(code) } => write!(f, "exited {command} code {code}"),
            Message::Exited { command, end: End::Signal(signal) } => write!(f, "exited {command} signal {signal}"),
            Message::Exited { command, end: End::Interrupted } => write!(f, "exited {command} interrupted"),
            Message::Exited { command, end: End::NotStarted(why) } => write!(f, "exited {command} not-started {why}"),
            Message::Done => f.write_str("done"),
        }
    }
}

impl Message {
    /// Whether a verdict depends on it.
    pub fn counts(&self) -> bool {
        match self {
            Message::Output { line, .. } => line.starts_with(GAP),
            _ => true,
        }
    }

    /// Reads what [`Message`]'s `Display` wrote.
    pub fn parse(text: &str) -> Option<Message> {
        let (kind, rest) = text.split_once(' ').unwrap_or((text, ""));
        let (first, second) = rest.split_once(' ').unwrap_or((rest, ""));
        Some(match kind {
            "fact" => Message::Fact { name: first.into(), value: second.into() },
            "fault" => Message::Fault(rest.into()),
            "started" => Message::Started(rest.parse().ok()?),
            "output" => Message::Output { command: first.parse().ok()?, line: second.into() },
            "exited" => Message::Exited { command: first.parse().ok()?, end: End::parse(second)? },
            "done" => Message::Done,
            _ => return None,
        })
    }
}

impl End {
    fn parse(text: &str) -> Option<End> {
        let (kind, rest) = text.split_once(' ').unwrap_or((text, ""));
        Some(match kind {
            "code" => End::Code(rest.parse().ok()?),
            "signal" => End::Signal(rest.parse().ok()?),
            "interrupted" => End::Interrupted,
            "not-started" => End::NotStarted(rest.into()),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_programs_output_its_gaps_count() {
        let output = |line: &str| Message::Output { command: 0, line: line.into() };
        assert!(output("gap: no uid").counts() && Message::Done.counts());
        assert!(!output("passed, no gap: fine").counts());
    }

    #[test]
    fn every_message_is_read_as_what_was_written() {
        for message in [
            Message::Fact { name: facts::JIT.into(), value: "switched on".into() },
            Message::Fault("cannot mount /sys: no such device".into()),
            Message::Started(1),
            Message::Output { command: 1, line: String::new() },
            Message::Output { command: 1, line: "  two  words ".into() },
            Message::Exited { command: 0, end: End::Code(255) },
            Message::Exited { command: 0, end: End::Signal(9) },
            Message::Exited { command: 0, end: End::Interrupted },
            Message::Exited { command: 0, end: End::NotStarted("exec format error".into()) },
            Message::Done,
        ] {
            assert_eq!(Message::parse(&message.to_string()), Some(message));
        }
        for text in ["", "what", "started x", "exited 0", "exited 0 well", "exited 0 code x"] {
            assert_eq!(Message::parse(text), None, "{text}");
        }
    }
}
