//! What came out of a guest's console, understood line by line: reports of the first process, and noise.

use std::collections::{BTreeMap, VecDeque};

use bpfship_guest::frame;
use bpfship_guest::message::{End, Message};

/// Lines of a guest's output that are kept, the last ones.
const KEPT: usize = 500;
/// Lines that are kept before the first report: they show why a kernel got no further.
const KEPT_BEFORE: usize = 30;
/// Reports that are kept. Of a program's output, nothing is kept beyond that.
const MAX_MESSAGES: usize = 50_000;

/// What QEMU prints when the processor cannot run a guest, which it then keeps as it is.
const STOPPED: &str = "KVM internal error";

/// What has come so far.
#[derive(Debug)]
pub struct Console {
    nonce: String,
    /// What the verdict depends on, by number.
    messages: BTreeMap<u32, Message>,
    /// What there is to show: the program's lines and noise, from the first report on.
    lines: VecDeque<String>,
    /// The kernel's words when it panicked.
    panic: Option<String>,
    /// What QEMU itself printed.
    complaint: Option<String>,
    has_stopped: bool,
}

impl Console {
    pub fn new(nonce: String) -> Console {
        Console {
            nonce,
            messages: BTreeMap::new(),
            lines: VecDeque::new(),
            panic: None,
            complaint: None,
            has_stopped: false,
        }
    }

    /// Takes in a line, and returns what there is to show of it.
    pub fn push_line(&mut self, line: &str) -> Option<String> {
        let reports = frame::decode(&self.nonce, line);
        if reports.is_empty() {
            let line = printable(line);
            if line.is_empty() {
                return None;
            }
            if self.panic.is_none() {
                self.panic = line.split_once("Kernel panic - not syncing: ").map(|(_, reason)| reason.into());
            }
            self.has_stopped |= line.starts_with(STOPPED);
            if self.complaint.is_none() {
                let of_qemu = line.strip_prefix("qemu-system-").and_then(|rest| Some(rest.split_once(": ")?.1));
                self.complaint = of_qemu.or(line.starts_with(STOPPED).then_some(&*line)).map(String::from);
            }
            return self.keep(line);
        }
        let mut shown = None;
        for (number, body) in reports {
            let Some(message) = Message::parse(&body) else { continue };
            if self.messages.len() >= MAX_MESSAGES && matches!(message, Message::Output { .. }) {
                continue;
            }
            if self.messages.is_empty() {
                self.lines.clear();
            }
            if self.messages.insert(number, message.clone()).is_none() {
                let line = show(&message);
                shown = line.and_then(|line| self.keep(line)).or(shown);
            }
        }
        shown
    }

    fn keep(&mut self, line: String) -> Option<String> {
        self.lines.push_back(line.clone());
        if self.lines.len() > if self.messages.is_empty() { KEPT_BEFORE } else { KEPT } {
            self.lines.pop_front();
        }
        Some(line)
    }

    /// Whether the first process has reported that it is done.
    pub fn is_done(&self) -> bool {
        self.messages.last_key_value().is_some_and(|(_, message)| *message == Message::Done)
    }

    /// Whether QEMU has stopped the guest, and waits for somebody to look at it.
    pub fn has_stopped(&self) -> bool {
        self.has_stopped
    }

    /// Whether the first process has reported anything.
    pub fn has_started(&self) -> bool {
        !self.messages.is_empty()
    }

    /// Reports that were lost, of those that must have been written.
    pub fn lost(&self) -> usize {
        let made = self.messages.last_key_value().map_or(0, |(last, _)| *last as usize + 1);
        made - self.messages.len()
    }

    /// What was reported of the kernel.
    pub fn fact(&self, asked: &str) -> Option<&str> {
        self.messages.values().find_map(|message| match message {
            Message::Fact { name, value } if name == asked => Some(value.as_str()),
            _ => None,
        })
    }

    /// How a command exited, if that was reported.
    pub fn end(&self, number: usize) -> Option<&End> {
        self.messages.values().find_map(|message| match message {
            Message::Exited { command, end } if *command == number => Some(end),
            _ => None,
        })
    }

    /// The command that was started last.
    pub fn current(&self) -> Option<usize> {
        self.messages.values().rev().find_map(|message| match message {
            Message::Started(command) => Some(*command),
            _ => None,
        })
    }

    /// The output of a command.
    pub fn output(&self, number: usize) -> impl Iterator<Item = &str> {
        self.messages.values().filter_map(move |message| match message {
            Message::Output { command, line } if *command == number => Some(line.as_str()),
            _ => None,
        })
    }

    /// Why the kernel panicked, if it did.
    pub fn panic(&self) -> Option<&str> {
        self.panic.as_deref()
    }

    /// What QEMU complained of.
    pub fn complaint(&self) -> Option<&str> {
        self.complaint.as_deref()
    }

    /// What there is to show of a boot that failed.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }
}

fn show(message: &Message) -> Option<String> {
    let line = match message {
        Message::Fact { name, value } => format!("init: {name} {value}"),
        Message::Fault(text) => format!("init: {text}"),
        Message::Started(command) => format!("init: command {command}"),
        Message::Output { line, .. } => line.clone(),
        Message::Exited { command, end } => format!("init: command {command} {}", describe_end(end)),
        Message::Done => return None,
    };
    Some(printable(&line))
}

/// How a command exited, to be put after its name.
pub fn describe_end(end: &End) -> String {
    match end {
        End::Code(0) => "succeeded".into(),
        End::Code(code) => format!("failed (exit code {code})"),
        End::Signal(signal) => format!("was killed by signal {signal}"),
        End::Interrupted => "was ended by the interrupt".into(),
        End::NotStarted(why) => format!("could not be started: {}", printable(why)),
    }
}

/// A line of a guest's, with nothing in it that acts on a terminal.
pub fn printable(line: &str) -> String {
    let plain = console::strip_ansi_codes(line);
    plain.chars().filter(|letter| !letter.is_control()).collect::<String>().trim_end().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(number: u32, message: &Message) -> String {
        frame::encode("secret", number, &message.to_string())
    }

    #[test]
    fn noise_before_the_first_report_is_dropped_and_a_repeated_report_is_shown_once() {
        let mut console = Console::new("secret".into());
        assert_eq!(console.push_line("\x1b[2J[    0.1] Linux version 6\r"), Some("[    0.1] Linux version 6".into()));
        assert_eq!(console.push_line("\r"), None);
        let fact = Message::Fact { name: "btf".into(), value: "none".into() };
        assert_eq!(console.push_line(&report(0, &fact)), Some("init: btf none".into()));
        assert_eq!(console.push_line(&report(0, &fact)), None);
        console.push_line("noise");
        assert_eq!(console.lines().collect::<Vec<_>>(), ["init: btf none", "noise"]);
        assert_eq!((console.fact("btf"), console.lost(), console.is_done()), (Some("none"), 0, false));
        console.push_line(&report(2, &Message::Done));
        assert_eq!((console.lost(), console.is_done()), (1, true));
    }

    #[test]
    fn a_guest_that_never_stops_printing_does_not_fill_the_memory() {
        let mut console = Console::new("secret".into());
        (0..1000).for_each(|number| drop(console.push_line(&format!("line {number}"))));
        assert_eq!(console.lines().next(), Some("line 970"));
        console.push_line(&report(0, &Message::Started(0)));
        (0..1000).for_each(|number| drop(console.push_line(&format!("line {number}"))));
        assert_eq!(console.lines().count(), KEPT);
        for number in 1..=60_000 {
            console.push_line(&report(number, &Message::Output { command: 0, line: "again".into() }));
        }
        assert_eq!(console.output(0).count(), MAX_MESSAGES - 1);
        console.push_line(&report(60_001, &Message::Done));
        assert!(console.is_done());
    }
}
