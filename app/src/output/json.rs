//! Events as JSON, one object a line. The fields are documented in `--help` and docs/exectrace.md: keep them.

use std::io::{self, Write};

use nix::errno::Errno;
use serde::{Serialize, Serializer};
use serde_json::ser::Formatter;

use crate::{
    backend::Backend,
    cgroup,
    clock::WallTime,
    event::{self, End, Event},
    place::Place,
    quote::needs_escape,
};

/// `cgroup`: the path of its control group.
pub(crate) fn write_event(
    out: &mut impl Write,
    time: WallTime,
    event: &Event<'_>,
    cgroup: Option<&[u8]>,
) -> io::Result<()> {
    let container = cgroup.and_then(cgroup::container);
    match event {
        Event::Exec(exec) => {
            let [cwd, tty] = [exec.place.map(Place::cwd), exec.place.map(Place::tty)];
            write_line(
                out,
                &Exec {
                    event: "exec",
                    time: Time(time),
                    pid: exec.process.pid,
                    ppid: exec.process.ppid,
                    uid: exec.process.uid,
                    comm: exec.process.comm.map(Bytes),
                    start_us: exec.process.start_ns.map(|ns| ns / 1000),
                    cgroup_id: exec.process.cgroup_id,
                    cgroup: cgroup.map(Bytes),
                    container,
                    file: Bytes(exec.file),
                    file_truncated: exec.file_truncated,
                    args: exec.args.map(Args),
                    args_truncated: exec.args_truncated,
                    cwd: cwd.as_deref().map(Bytes),
                    cwd_truncated: exec.place.map(Place::cwd_is_truncated),
                    tty: tty.as_deref().map(Bytes),
                },
            )
        }
        Event::Failed(failed) => write_line(
            out,
            &Failed {
                event: "failed",
                time: Time(time),
                pid: failed.process.pid,
                ppid: failed.process.ppid,
                uid: failed.process.uid,
                comm: failed.process.comm.map(Bytes),
                start_us: failed.process.start_ns.map(|ns| ns / 1000),
                cgroup_id: failed.process.cgroup_id,
                cgroup: cgroup.map(Bytes),
                container,
                file: Bytes(failed.file),
                file_truncated: failed.file_truncated,
                errno: failed.error as i32,
                error: Name(failed.error),
            },
        ),
        Event::Exit(exit) => {
            let (code, signal, core_dumped) = match exit.end {
                Some(End::Code(code)) => (Some(code), None, Some(false)),
                Some(End::Signal { number, core_dumped }) => (None, Some(number), core_dumped),
                None => (None, None, None),
            };
            write_line(
                out,
                &Exit {
                    event: "exit",
                    time: Time(time),
                    pid: exit.process.pid,
                    ppid: exit.process.ppid,
                    uid: exit.process.uid,
                    comm: exit.process.comm.map(Bytes),
                    start_us: exit.process.start_ns.map(|ns| ns / 1000),
                    cgroup_id: exit.process.cgroup_id,
                    cgroup: cgroup.map(Bytes),
                    container,
                    code,
                    signal,
                    core_dumped,
                    since_exec_us: exit.since_exec_ns().map(|ns| ns / 1000),
                },
            )
        }
    }
}

/// What a reader has to know of all that follows.
pub(crate) fn write_start(out: &mut impl Write, time: WallTime, backend: &Backend) -> io::Result<()> {
    let missing = backend.gaps().into_iter().map(|gap| Missing { field: gap.field, when: gap.when }).collect();
    let version = env!("CARGO_PKG_VERSION");
    write_line(out, &Start { event: "start", time: Time(time), version, backend: backend.name(), missing })
}

/// `count`: none if that is not known.
pub(crate) fn write_lost(out: &mut impl Write, time: WallTime, count: Option<u64>, exact: bool) -> io::Result<()> {
    write_line(out, &Lost { event: "lost", time: Time(time), count, exact })
}

fn write_line(out: &mut impl Write, line: &impl Serialize) -> io::Result<()> {
    line.serialize(&mut serde_json::Serializer::with_formatter(&mut *out, Safe))?;
    out.write_all(b"\n")
}

/// As serde_json writes it, but with characters escaped that a terminal would act on: it escapes those below U+0020 only.
struct Safe;

impl Formatter for Safe {
    fn write_string_fragment<W: Write + ?Sized>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(needs_escape) {
            let (before, from) = rest.split_at(at);
            let mut chars = from.chars();
            out.write_all(before.as_bytes())?;
            for unit in chars.next().unwrap_or_default().encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}")?;
            }
            rest = chars.as_str();
        }
        out.write_all(rest.as_bytes())
    }
}

#[derive(Serialize)]
struct Exec<'a> {
    event: &'static str,
    time: Time,
    pid: u32,
    ppid: Option<u32>,
    uid: Option<u32>,
    comm: Option<Bytes<'a>>,
    start_us: Option<u64>,
    cgroup_id: Option<u64>,
    cgroup: Option<Bytes<'a>>,
    container: Option<&'a str>,
    file: Bytes<'a>,
    file_truncated: bool,
    args: Option<Args<'a>>,
    args_truncated: Option<bool>,
    cwd: Option<Bytes<'a>>,
    cwd_truncated: Option<bool>,
    tty: Option<Bytes<'a>>,
}

#[derive(Serialize)]
struct Exit<'a> {
    event: &'static str,
    time: Time,
    pid: u32,
    ppid: Option<u32>,
    uid: Option<u32>,
    comm: Option<Bytes<'a>>,
    start_us: Option<u64>,
    cgroup_id: Option<u64>,
    cgroup: Option<Bytes<'a>>,
    container: Option<&'a str>,
    code: Option<u8>,
    signal: Option<u8>,
    core_dumped: Option<bool>,
    since_exec_us: Option<u64>,
}

#[derive(Serialize)]
struct Failed<'a> {
    event: &'static str,
    time: Time,
    pid: u32,
    ppid: Option<u32>,
    uid: Option<u32>,
    comm: Option<Bytes<'a>>,
    start_us: Option<u64>,
    cgroup_id: Option<u64>,
    cgroup: Option<Bytes<'a>>,
    container: Option<&'a str>,
    file: Bytes<'a>,
    file_truncated: bool,
    errno: i32,
    error: Name,
}

/// As C has it: `ENOENT`.
struct Name(Errno);

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:?}", self.0))
    }
}

#[derive(Serialize)]
struct Start {
    event: &'static str,
    time: Time,
    version: &'static str,
    backend: &'static str,
    missing: Vec<Missing>,
}

/// A field that is null now and then, or always.
#[derive(Serialize)]
struct Missing {
    field: &'static str,
    when: Option<&'static str>,
}

#[derive(Serialize)]
struct Lost {
    event: &'static str,
    time: Time,
    count: Option<u64>,
    exact: bool,
}

struct Time(WallTime);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0.utc())
    }
}

/// A string where the bytes are UTF-8, else an array of their numbers, as journald exports them: nothing is lost, and
/// no reader can mistake one for the other.
struct Bytes<'a>(&'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => serializer.collect_seq(self.0),
        }
    }
}

struct Args<'a>(event::Args<'a>);

impl Serialize for Args<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(Bytes))
    }
}

#[cfg(test)]
mod tests {
    use exectrace_bpf::exectrace::ExecFlags;
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        clock::Clock,
        event::{Args, Process},
    };

    fn process(comm: &[u8]) -> Process<'_> {
        Process {
            pid: 42,
            ppid: Some(7),
            uid: Some(1000),
            time_ns: 5_000_000_000,
            start_ns: Some(4_000_000_999),
            cgroup_id: Some(77),
            comm: Some(comm),
        }
    }

    fn line(event: &Event<'_>) -> String {
        let mut line = Vec::new();
        write_event(
            &mut line,
            Clock::at_boot_of(1_795_343_580).wall_time(event.process().time_ns),
            event,
            event.process().cgroup_id.map(|_| &b"/a"[..]),
        )
        .unwrap();
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn an_exec_has_these_fields_in_this_order() {
        let exec = Event::Exec(event::Exec {
            process: process(b"ls"),
            file: b"/bin/ls",
            file_truncated: false,
            args: Some(Args::new(b"ls\0a \"b\"\n\0")),
            args_truncated: Some(true),
            place: Some(Place::new(b"b\0a\0", b"pts3\0", ExecFlags::EXEC_PLACE)),
        });
        assert_eq!(
            line(&exec),
            r#"{"event":"exec","time":"2026-11-22T10:33:05.000000Z","pid":42,"ppid":7,"uid":1000,"comm":"ls","start_us":4000000,"cgroup_id":77,"cgroup":"/a","container":null,"file":"/bin/ls","file_truncated":false,"args":["ls","a \"b\"\n"],"args_truncated":true,"cwd":"/a/b","cwd_truncated":false,"tty":"pts/3"}"#
                .to_owned() + "\n"
        );
    }

    #[test]
    fn an_exit_has_these_fields_in_this_order() {
        let exit = |end, exec_ns| line(&Event::Exit(event::Exit { process: process(b"ls"), end, exec_ns }));
        assert_eq!(
            exit(Some(End::Code(3)), Some(4_999_998_500)),
            r#"{"event":"exit","time":"2026-11-22T10:33:05.000000Z","pid":42,"ppid":7,"uid":1000,"comm":"ls","start_us":4000000,"cgroup_id":77,"cgroup":"/a","container":null,"code":3,"signal":null,"core_dumped":false,"since_exec_us":1}"#
                .to_owned() + "\n"
        );
        assert_eq!(
            exit(Some(End::Signal { number: 11, core_dumped: Some(true) }), None),
            r#"{"event":"exit","time":"2026-11-22T10:33:05.000000Z","pid":42,"ppid":7,"uid":1000,"comm":"ls","start_us":4000000,"cgroup_id":77,"cgroup":"/a","container":null,"code":null,"signal":11,"core_dumped":true,"since_exec_us":null}"#
                .to_owned() + "\n"
        );
    }

    #[test]
    fn a_refused_exec_has_these_fields_in_this_order() {
        let failed = Event::Failed(event::Failed {
            process: process(b"sh"),
            file: b"/no",
            file_truncated: false,
            error: Errno::ENOENT,
        });
        assert_eq!(
            line(&failed),
            r#"{"event":"failed","time":"2026-11-22T10:33:05.000000Z","pid":42,"ppid":7,"uid":1000,"comm":"sh","start_us":4000000,"cgroup_id":77,"cgroup":"/a","container":null,"file":"/no","file_truncated":false,"errno":2,"error":"ENOENT"}"#
                .to_owned() + "\n"
        );
    }

    #[test]
    fn what_is_not_known_is_null() {
        let unknown = Process { ppid: None, uid: None, start_ns: None, cgroup_id: None, comm: None, ..process(b"ls") };
        let exec = Event::Exec(event::Exec {
            process: unknown,
            file: b"/bin/ls",
            file_truncated: false,
            args: None,
            args_truncated: None,
            place: None,
        });
        assert_eq!(
            line(&exec),
            r#"{"event":"exec","time":"2026-11-22T10:33:05.000000Z","pid":42,"ppid":null,"uid":null,"comm":null,"start_us":null,"cgroup_id":null,"cgroup":null,"container":null,"file":"/bin/ls","file_truncated":false,"args":null,"args_truncated":null,"cwd":null,"cwd_truncated":null,"tty":null}"#
                .to_owned() + "\n"
        );
        let exit = line(&Event::Exit(event::Exit { process: process(b"ls"), end: None, exec_ns: None }));
        assert!(exit.contains(r#""code":null,"signal":null,"core_dumped":null,"since_exec_us":null"#), "{exit}");
        let end = Some(End::Signal { number: 11, core_dumped: None });
        let killed = line(&Event::Exit(event::Exit { process: process(b"ls"), end, exec_ns: None }));
        assert!(killed.contains(r#""code":null,"signal":11,"core_dumped":null"#), "{killed}");
    }

    #[test]
    fn lost_events_are_an_object_too() {
        let mut out = Vec::new();
        write_lost(&mut out, Clock::at_boot_of(0).wall_time(0), Some(12), true).unwrap();
        assert_eq!(out, b"{\"event\":\"lost\",\"time\":\"1970-01-01T00:00:00.000000Z\",\"count\":12,\"exact\":true}\n");
    }

    #[test]
    fn bytes_that_are_not_utf_8_become_their_numbers() {
        let line = line(&Event::Exec(event::Exec {
            process: process(b"\xff"),
            file: b"/caf\xe9",
            file_truncated: false,
            args: Some(Args::new(b"caf\xe9\0ok\0\xc3\xa9\0\0")),
            args_truncated: Some(false),
            place: None,
        }));
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["comm"], json!([255]));
        assert_eq!(value["file"], json!([47, 99, 97, 102, 233]));
        assert_eq!(value["args"], json!([[99, 97, 102, 233], "ok", "\u{e9}", ""]));
    }

    #[test]
    fn nothing_reaches_the_terminal_that_it_would_act_on() {
        let odd = "\u{9b}2J \u{7f} \u{202e}txt \u{e0001} \u{1b}[2J Größe \u{1f600}";
        let text = line(&Event::Exec(event::Exec {
            process: process(b"ls"),
            file: odd.as_bytes(),
            file_truncated: false,
            args: Some(Args::new(odd.as_bytes())),
            args_truncated: Some(false),
            place: None,
        }));
        assert!(text.contains(r#""\u009b2J \u007f \u202etxt \udb40\udc01 \u001b[2J Größe 😀""#), "{text}");
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["file"], odd);
        assert_eq!(value["args"][0], odd);
    }

    #[test]
    fn every_event_is_one_line_of_valid_json() {
        let all: Vec<u8> = (1..=255).collect();
        let ascii: Vec<u8> = (1..=127).collect();
        for bytes in [&all[..], &ascii, "\u{2028}\u{202e}\u{7f}".as_bytes()] {
            let line = line(&Event::Exec(event::Exec {
                process: process(bytes),
                file: bytes,
                file_truncated: false,
                args: Some(Args::new(bytes)),
                args_truncated: Some(false),
                place: Some(Place::new(bytes, bytes, ExecFlags::EXEC_PLACE)),
            }));
            assert_eq!(line.matches('\n').count(), 1);
            let value: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(value["file"], std::str::from_utf8(bytes).map_or_else(|_| json!(bytes), |text| json!(text)));
        }
    }
}
