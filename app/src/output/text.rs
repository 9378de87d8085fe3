//! Events as lines for people, safe on any terminal.

use std::{
    fmt::{self, Write as _},
    io::{self, Write},
    time::Duration,
};

use exectrace_bpf::{ARGS_MAX, FILE_MAX};
use nix::sys::signal::Signal;

use crate::{
    cgroup,
    event::{End, Event, Exec, Exit},
    quote::quoted,
};

/// So much of a container's ID is shown, as docker does.
const SHORT_ID: usize = 12;

/// How lines look.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Style {
    /// --show-cgroup: with a column for it.
    pub(crate) has_cgroups: bool,
    /// --show-tty
    pub(crate) has_ttys: bool,
    /// --show-cwd
    pub(crate) has_cwds: bool,
    pub(crate) has_colors: bool,
}

/// A way to make a line stand out (ECMA-48, Select Graphic Rendition).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Color {
    Plain = 0,
    Bold = 1,
    Faint = 2,
    Red = 31,
    Yellow = 33,
}

pub(crate) fn write_header(out: &mut impl Write, style: Style) -> io::Result<()> {
    let columns = ["TIME", "EVENT", "PID", "PPID", "UID", "COMM"];
    let asked_for = ["CGROUP", "TTY", "CWD"].map(String::from);
    write_line(out, style, Color::Bold, columns, &asked_for, "FILE AND ARGUMENTS, OR HOW IT ENDED")
}

/// `time`: as it is shown; `depth`: how far below others it is shown; `cgroup`: the path of its control group, if it is known.
pub(crate) fn write_event(
    out: &mut impl Write,
    style: Style,
    time: impl fmt::Display,
    depth: usize,
    event: &Event<'_>,
    cgroup: Option<&[u8]>,
) -> io::Result<()> {
    let process = event.process();
    let (name, details) = match event {
        Event::Exec(exec) => ("exec", exec_details(exec)),
        Event::Exit(exit) => ("exit", exit_details(exit)),
        Event::Failed(failed) => {
            ("fail", format!("{}: {:?}, {}", quoted(failed.file), failed.error, failed.error.desc()))
        }
    };
    let [pid, ppid, uid] = [Some(process.pid), process.ppid, process.uid].map(or_dash);
    let columns = [
        &time.to_string(),
        name,
        &pid,
        &ppid,
        &uid,
        &process.comm.map_or_else(|| "-".to_owned(), |comm| quoted(comm).to_string()),
    ];
    let cgroup = cgroup.map_or_else(
        || "-".to_owned(),
        |path| match cgroup::container(path) {
            Some(id) => id[..SHORT_ID].to_owned(),
            None => quoted(path).to_string(),
        },
    );
    let [tty, cwd] = if style.has_ttys || style.has_cwds { place(event) } else { Default::default() };
    write_line(out, style, color(event), columns, &[cgroup, tty, cwd], &format!("{:1$}{details}", "", 2 * depth))
}

fn write_line(
    out: &mut impl Write,
    style: Style,
    color: Color,
    [time, event, pid, ppid, uid, comm]: [&str; 6],
    [cgroup, tty, cwd]: &[String; 3],
    details: &str,
) -> io::Result<()> {
    let color = if style.has_colors { color } else { Color::Plain };
    if color != Color::Plain {
        write!(out, "\x1b[{}m", color as u8)?;
    }
    write!(out, "{time:<12} {event:<5} {pid:>7} {ppid:>7} {uid:>5} {comm:<15} ")?;
    if style.has_cgroups {
        write!(out, "{cgroup:<SHORT_ID$} ")?;
    }
    if style.has_ttys {
        write!(out, "{tty:<7} ")?;
    }
    if style.has_cwds {
        write!(out, "{cwd:<20} ")?;
    }
    write!(out, "{details}")?;
    if color != Color::Plain {
        write!(out, "\x1b[m")?;
    }
    writeln!(out)
}

/// Terminal and current directory: of an exec alone. That there is no terminal is shown as `ps` does.
fn place(event: &Event<'_>) -> [String; 2] {
    let Event::Exec(exec) = event else { return Default::default() };
    let Some(place) = exec.place else { return ["-", "-"].map(String::from) };
    let (tty, mut cwd) = (place.tty(), place.cwd());
    if place.cwd_is_truncated() {
        cwd.splice(..0, *b".../");
    }
    [if tty.is_empty() { "?".to_owned() } else { quoted(&tty).to_string() }, quoted(&cwd).to_string()]
}

/// What went wrong stands out, and what is over steps back.
fn color(event: &Event<'_>) -> Color {
    match event {
        Event::Exec(_) => Color::Plain,
        Event::Failed(_) => Color::Yellow,
        Event::Exit(exit) => match exit.end {
            Some(End::Signal { .. }) => Color::Red,
            Some(End::Code(1..)) => Color::Yellow,
            Some(End::Code(0)) | None => Color::Faint,
        },
    }
}

/// What is not known is a dash.
fn or_dash(number: Option<u32>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| number.to_string())
}

/// The file and its arguments, as one would type them. The first argument is nearly always the file's name over again
/// and then left out; where it is not (scripts, login shells), all arguments follow in brackets.
fn exec_details(exec: &Exec<'_>) -> String {
    let mut text = quoted(exec.file).to_string();
    if exec.file_truncated {
        let _ = write!(text, " [file cut at {FILE_MAX} bytes]");
    }
    let Some(args) = exec.args else {
        text.push_str(" [arguments -]");
        return text;
    };
    let is_empty = args.iter().next().is_none();
    let mut args = args.iter().peekable();
    let base = exec.file.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    if args.peek().is_none_or(|first| *first == exec.file || *first == base) {
        args.next();
        for arg in args {
            let _ = write!(text, " {}", quoted(arg));
        }
    } else {
        let all: Vec<String> = args.map(|arg| quoted(arg).to_string()).collect();
        let _ = write!(text, " [as {}]", all.join(" "));
    }
    if exec.args_truncated == Some(true) {
        if is_empty {
            text.push_str(" [arguments unreadable]");
        } else {
            let _ = write!(text, " [arguments cut at {ARGS_MAX} bytes]");
        }
    }
    text
}

fn exit_details(exit: &Exit<'_>) -> String {
    let mut text = match exit.end {
        None => "code -".to_owned(),
        Some(End::Code(code)) => format!("code {code}"),
        Some(End::Signal { number, core_dumped }) => {
            // Names differ between architectures as numbers do; real-time signals have none.
            let name = Signal::try_from(i32::from(number))
                .map_or_else(|_| format!("signal {number}"), |signal| signal.to_string());
            match core_dumped {
                Some(true) => format!("killed by {name}, core dumped"),
                Some(false) => format!("killed by {name}"),
                None => format!("killed by {name}, core dumped -"),
            }
        }
    };
    if let Some(ns) = exit.since_exec_ns() {
        let _ = write!(text, ", {:.1?} after its exec", Duration::from_nanos(ns));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::WallTime,
        event::{Args, Failed, Process},
        place::Place,
    };
    use exectrace_bpf::exectrace::ExecFlags;
    use nix::errno::Errno;

    fn process(comm: &[u8]) -> Process<'_> {
        Process {
            pid: 42,
            ppid: Some(7),
            uid: Some(1000),
            time_ns: 5_000_000_000,
            start_ns: None,
            cgroup_id: None,
            comm: Some(comm),
        }
    }

    fn exec<'a>(file: &'a [u8], args: &'a [u8]) -> Exec<'a> {
        Exec {
            process: process(b"x"),
            file,
            file_truncated: false,
            args: Some(Args::new(args)),
            args_truncated: Some(false),
            place: None,
        }
    }

    #[test]
    fn a_first_argument_that_repeats_the_file_is_left_out() {
        assert_eq!(exec_details(&exec(b"/bin/ls", b"ls\0-l\0a b\0")), "/bin/ls -l 'a b'");
        assert_eq!(exec_details(&exec(b"/bin/ls", b"/bin/ls\0")), "/bin/ls");
    }

    #[test]
    fn another_first_argument_is_shown_with_all_others() {
        assert_eq!(exec_details(&exec(b"/bin/bash", b"-bash\0")), "/bin/bash [as -bash]");
        assert_eq!(exec_details(&exec(b"/tmp/s", b"/bin/sh\0/tmp/s\0x\0")), "/tmp/s [as /bin/sh /tmp/s x]");
    }

    #[test]
    fn what_was_cut_says_so() {
        let cut = Exec { args_truncated: Some(true), file_truncated: true, ..exec(b"/bin/ls", b"ls\0a") };
        assert_eq!(exec_details(&cut), "/bin/ls [file cut at 4096 bytes] a [arguments cut at 4096 bytes]");
        let unreadable = Exec { args_truncated: Some(true), ..exec(b"/bin/ls", b"") };
        assert_eq!(exec_details(&unreadable), "/bin/ls [arguments unreadable]");
    }

    #[test]
    fn exits_say_how_and_after_how_long() {
        let exit = |end, exec_ns| exit_details(&Exit { process: process(b"x"), end, exec_ns });
        assert_eq!(exit(Some(End::Code(3)), Some(4_998_800_000)), "code 3, 1.2ms after its exec");
        assert_eq!(exit(Some(End::Code(0)), None), "code 0");
        assert_eq!(exit(Some(End::Signal { number: 9, core_dumped: Some(false) }), None), "killed by SIGKILL");
        assert_eq!(
            exit(Some(End::Signal { number: 11, core_dumped: Some(true) }), None),
            "killed by SIGSEGV, core dumped"
        );
        assert_eq!(exit(Some(End::Signal { number: 64, core_dumped: Some(false) }), None), "killed by signal 64");
        // A clock that went backwards between two CPUs.
        assert_eq!(exit(Some(End::Code(0)), Some(5_000_000_001)), "code 0, 0.0ns after its exec");
    }

    #[test]
    fn what_is_not_known_is_a_dash() {
        assert_eq!(
            exec_details(&Exec { args: None, args_truncated: None, ..exec(b"/bin/ls", b"") }),
            "/bin/ls [arguments -]"
        );
        let exit = |end| exit_details(&Exit { process: process(b"x"), end, exec_ns: None });
        assert_eq!(exit(None), "code -");
        assert_eq!(exit(Some(End::Signal { number: 11, core_dumped: None })), "killed by SIGSEGV, core dumped -");
        let unknown = Process { ppid: None, uid: None, ..process(b"x") };
        let mut line = Vec::new();
        let event = Event::Exit(Exit { process: unknown, end: None, exec_ns: None });
        write_event(&mut line, Style::default(), WallTime::now().local(), 0, &event, None).unwrap();
        let line = String::from_utf8(line).unwrap();
        assert!(line.ends_with(" exit       42       -     - x               code -\n"), "{line}");
    }

    #[test]
    fn a_refused_exec_says_why() {
        let failed = Failed { process: process(b"x"), file: b"/no such", file_truncated: false, error: Errno::ENOENT };
        let mut line = Vec::new();
        write_event(&mut line, Style::default(), "1.5", 0, &Event::Failed(failed), None).unwrap();
        let line = String::from_utf8(line).unwrap();
        assert!(line.ends_with(" x               '/no such': ENOENT, No such file or directory\n"), "{line}");
    }

    #[test]
    fn what_is_shown_below_others_is_indented() {
        let mut line = Vec::new();
        write_event(&mut line, Style::default(), "1.5", 2, &Event::Exec(exec(b"/bin/ls", b"ls\0")), None).unwrap();
        assert_eq!(line, b"1.5          exec       42       7  1000 x                   /bin/ls\n");
    }

    #[test]
    fn a_column_shows_the_container_or_the_control_group() {
        let shown = |cgroup: Option<&[u8]>| {
            let mut line = Vec::new();
            let style = Style { has_cgroups: true, ..Style::default() };
            write_event(&mut line, style, "1.5", 0, &Event::Exec(exec(b"/bin/ls", b"ls\0")), cgroup).unwrap();
            String::from_utf8(line).unwrap().split_off(57)
        };
        assert_eq!(shown(Some(b"/system.slice")), "/system.slice /bin/ls\n");
        assert_eq!(shown(None), "-            /bin/ls\n");
        let id = "0123456789abcdef".repeat(4);
        assert_eq!(shown(Some(format!("/system.slice/docker-{id}.scope").as_bytes())), "0123456789ab /bin/ls\n");
    }

    #[test]
    fn columns_show_the_terminal_and_the_current_directory_of_an_exec() {
        let shown = |event: &Event<'_>| {
            let mut line = Vec::new();
            let style = Style { has_ttys: true, has_cwds: true, ..Style::default() };
            write_event(&mut line, style, "1.5", 0, event, None).unwrap();
            String::from_utf8(line).unwrap().split_off(57)
        };
        let exec = |place| Event::Exec(Exec { place, ..exec(b"/bin/ls", b"ls\0") });
        let flags = ExecFlags::EXEC_PLACE;
        let place = Place::new(b"my files\0home\0", b"pts1\0", flags);
        assert_eq!(shown(&exec(Some(place))), "pts/1   '/home/my files'     /bin/ls\n");
        assert_eq!(shown(&exec(Some(Place::new(b"", b"", flags)))), "?       /                    /bin/ls\n");
        let cut = ExecFlags(flags.0 | ExecFlags::EXEC_CWD_CUT.0);
        assert_eq!(shown(&exec(Some(Place::new(b"b\0a\0", b"", cut)))), "?       .../a/b              /bin/ls\n");
        assert_eq!(shown(&exec(None)), "-       -                    /bin/ls\n");
        let exit = Exit { process: process(b"x"), end: Some(End::Code(0)), exec_ns: None };
        assert_eq!(shown(&Event::Exit(exit)), format!("{:29}code 0\n", ""));
    }

    #[test]
    fn what_went_wrong_has_a_color_and_what_is_quoted_none() {
        let style = Style { has_colors: true, ..Style::default() };
        let shown = |event: &Event<'_>| {
            let mut line = Vec::new();
            write_event(&mut line, style, "1.5", 0, event, None).unwrap();
            String::from_utf8(line).unwrap()
        };
        let exit = |end| shown(&Event::Exit(Exit { process: process(b"x"), end, exec_ns: None }));
        assert!(exit(Some(End::Code(3))).starts_with("\x1b[33m1.5 "));
        assert!(exit(Some(End::Code(3))).ends_with("code 3\x1b[m\n"));
        assert!(exit(Some(End::Signal { number: 9, core_dumped: None })).starts_with("\x1b[31m1.5 "));
        assert!(exit(Some(End::Code(0))).starts_with("\x1b[2m1.5 "));
        let exec = shown(&Event::Exec(exec(b"/bin/\x1b[31m", b"")));
        assert!(!exec.contains('\x1b'), "{exec}");
    }

    #[test]
    fn a_line_has_no_line_break_within() {
        let event = Event::Exec(Exec { process: process(b"a\nb"), ..exec(b"/a\nb", b"\n\0\n\0") });
        let mut line = Vec::new();
        write_event(&mut line, Style::default(), WallTime::now().local(), 0, &event, None).unwrap();
        let line = String::from_utf8(line).unwrap();
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        assert!(
            line.ends_with(" exec       42       7  1000 $'a\\nb'         $'/a\\nb' [as $'\\n' $'\\n']\n"),
            "{line}"
        );
    }
}
