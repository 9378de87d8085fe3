//! The command line.

use std::{ffi::OsString, ops::RangeInclusive, path::PathBuf, str::FromStr, time::Duration};

use clap::builder::Resettable;
use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgGroup, ArgMatches, Command, CommandFactory as _, Error, FromArgMatches as _, Parser, ValueEnum};
use nix::unistd::User;
use regex_lite::Regex;

/// Shows every program that this machine runs, and how each process ends.
#[derive(Debug, Parser)]
#[command(name = "exectrace", disable_version_flag = true, after_long_help = AFTER_HELP)]
#[command(group = ArgGroup::new("tracing").multiple(true).args(TRACING))]
pub(crate) struct Cli {
    /// One JSON object a line (--help lists the fields)
    #[arg(long)]
    pub(crate) json: bool,

    /// Only this process and its descendants (may be given more than once)
    #[arg(long, value_name = "PID", allow_negative_numbers = true, value_parser = |text: &str| number(text, 1..=i32::MAX as u32, A_PROCESS))]
    pub(crate) pid: Vec<u32>,

    /// Only programs of this name, of which the kernel keeps 15 bytes (may be given more than once)
    #[arg(long, value_name = "NAME", value_parser = OsStringValueParser::new().try_map(not_empty))]
    pub(crate) comm: Vec<OsString>,

    /// Only programs run by this user, a name or a number (may be given more than once)
    #[arg(long, value_name = "USER", allow_negative_numbers = true, value_parser = parse_user)]
    pub(crate) uid: Vec<u32>,

    /// Only children of this process (may be given more than once)
    #[arg(long, value_name = "PID", allow_negative_numbers = true, value_parser = |text: &str| number(text, 0..=i32::MAX as u32, A_PROCESS))]
    pub(crate) ppid: Vec<u32>,

    /// Only programs in this control group (v2), such as /system.slice, or below it (may be given more than once)
    #[arg(long, value_name = "PATH")]
    pub(crate) cgroup: Vec<PathBuf>,

    /// Only programs whose file and arguments, with a blank between each, match this regular expression
    #[arg(long = "match", value_name = "REGEX", value_parser = Regex::new)]
    pub(crate) pattern: Option<Regex>,

    /// Only exits, of processes that ran at least so long after their last exec
    #[arg(long, value_name = "SECS", allow_negative_numbers = true, value_parser = parse_seconds, conflicts_with = "no_exits")]
    pub(crate) min_duration: Option<Duration>,

    /// Only programs that start, not how processes end
    #[arg(long)]
    pub(crate) no_exits: bool,

    /// Also execs that are refused, with the error; needs BTF
    #[arg(long)]
    pub(crate) failed: bool,

    /// Instead of the time of day, seconds since tracing began
    #[arg(long, conflicts_with = "json")]
    pub(crate) relative: bool,

    /// Indent programs below those that started them
    #[arg(long, conflicts_with = "json")]
    pub(crate) tree: bool,

    /// A column with the ID of the container, or else with the path of the control group
    #[arg(long, conflicts_with = "json")]
    pub(crate) show_cgroup: bool,

    /// A column with the controlling terminal of each program that starts
    #[arg(long, conflicts_with = "json")]
    pub(crate) show_tty: bool,

    /// A column with the current directory of each program that starts
    #[arg(long, conflicts_with = "json")]
    pub(crate) show_cwd: bool,

    /// At the end, what was executed how often, what failed, and what took longest; no events
    #[arg(long, conflicts_with_all = ["json", "relative", "tree", "show_cgroup", "show_tty", "show_cwd", "no_exits"])]
    pub(crate) summary: bool,

    /// Append to this file, which SIGHUP opens anew
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// Stop after this many seconds
    #[arg(long, value_name = "SECS", allow_negative_numbers = true, value_parser = parse_seconds)]
    pub(crate) duration: Option<Duration>,

    /// Stop after this many events
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = |text: &str| number(text, 1..=u64::MAX, "a whole number above 0"))]
    pub(crate) count: Option<u64>,

    /// Room for events not yet shown; rounded up to a power of two, and to a page
    #[arg(long, value_name = "KIB", allow_negative_numbers = true, default_value_t = 1024, value_parser = |text: &str| number(text, 1..=1_u32 << 20, BUFFER))]
    pub(crate) buffer: u32,

    /// The kernel's types, should /sys/kernel/btf/vmlinux be missing; or in the variable EXECTRACE_BTF
    #[arg(long, value_name = "FILE")]
    pub(crate) btf: Option<PathBuf>,

    /// Report what this kernel offers, and what would be missing here; with --json for programs
    #[arg(long, conflicts_with_all = ["self_test", "tracing"])]
    pub(crate) preflight: bool,

    /// Use this backend only, instead of the best one that works here
    #[arg(long, value_name = "NAME")]
    pub(crate) backend: Option<BackendName>,

    /// Check on this machine that exectrace sees what happens, and exit with 0 if so
    #[arg(long, conflicts_with_all = ["json", "tracing"])]
    pub(crate) self_test: bool,

    /// Say when tracing begins, and show the verifier's log should the kernel reject a BPF program
    #[arg(short, long)]
    pub(crate) verbose: bool,

    /// Print version, commit, target and the SHA-256 of each embedded BPF object
    #[arg(short = 'V', long)]
    pub(crate) version: bool,

    /// Run this, trace it and its descendants, and end with it and with its exit code; events go to standard error. With
    /// sudo, it runs as the user who has called that
    #[arg(last = true, value_name = "COMMAND", conflicts_with = "pid")]
    pub(crate) command: Vec<OsString>,
}

impl Cli {
    /// What the words of a command line ask for.
    pub(crate) fn read(words: impl IntoIterator<Item = OsString>) -> Result<Self, Error> {
        let without_conflicts = |arg: Arg| arg.conflicts_with(Resettable::Reset);
        let mut command = Self::command();
        for (flag, _) in ALONE {
            command = command.mut_arg(flag, without_conflicts);
        }
        let matches = command.try_get_matches_from_mut(words).map_err(hinted)?;
        refuse_others(&mut command, &matches)?;
        Self::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
    }
}

/// The library would propose to run what it does not know as a command.
fn hinted(mut error: Error) -> Error {
    if error.kind() == ErrorKind::UnknownArgument {
        error.remove(ContextKind::Suggested);
        if let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidArg)
            && !word.starts_with('-')
        {
            let tip = format!("to trace a command, put -- before it: exectrace -- {word}");
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
        }
    }
    error
}

/// What shows no events, and with which option it does not go together besides those for tracing.
const ALONE: [(&str, &str); 2] = [("preflight", "self_test"), ("self_test", "json")];

/// Names the one option that does not fit. The library, which knows of it for completions, would name all that do not.
fn refuse_others(command: &mut Command, matches: &ArgMatches) -> Result<(), Error> {
    let Some((what, besides)) = ALONE.into_iter().find(|(what, _)| matches.get_flag(what)) else { return Ok(()) };
    let is_given = |id: &&str| matches.value_source(id) == Some(ValueSource::CommandLine);
    let Some(other) = [besides].into_iter().chain(TRACING).find(is_given) else { return Ok(()) };
    let shown = |id: &str| command.get_arguments().find(|arg| arg.get_id() == id).map(ToString::to_string);
    let (what, other) = (shown(what).unwrap_or_default(), shown(other).unwrap_or_default());
    let sentence = format!("the argument '{what}' cannot be used with '{other}', for it shows no events");
    Err(command.error(ErrorKind::ArgumentConflict, sentence))
}

/// What says what is traced, and how it is shown.
const TRACING: [&str; 19] = [
    "pid",
    "comm",
    "uid",
    "ppid",
    "cgroup",
    "pattern",
    "min_duration",
    "no_exits",
    "failed",
    "relative",
    "tree",
    "show_cgroup",
    "show_tty",
    "show_cwd",
    "summary",
    "output",
    "duration",
    "count",
    "command",
];

/// A way of tracing (see backend.rs).
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BackendName {
    /// BPF reads the kernel's structs, and a ring buffer carries the events
    Btf,
    /// The same with perf buffers
    BtfPerf,
    /// BPF hands over the records of tracepoints
    Tracepoints,
    /// Without BPF
    Perf,
}

const A_PROCESS: &str = "the number of a process, such as 1234";
const BUFFER: &str = "a number of KiB from 1 to 1048576";

/// What is expected is said in words, for the error of `parse` speaks of digits.
fn number<T: FromStr + PartialOrd>(text: &str, range: RangeInclusive<T>, expected: &str) -> Result<T, String> {
    text.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| format!("expected {expected}"))
}

fn not_empty(name: OsString) -> Result<OsString, String> {
    if name.is_empty() { Err("every program has a name".to_owned()) } else { Ok(name) }
}

/// By number, or by name.
fn parse_user(text: &str) -> Result<u32, String> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    match User::from_name(text) {
        Ok(Some(user)) => Ok(user.uid.as_raw()),
        Ok(None) => Err("no user has this name".to_owned()),
        Err(errno) => Err(errno.to_string()),
    }
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    match text.parse().map(Duration::try_from_secs_f64) {
        Ok(Ok(duration)) if !duration.is_zero() => Ok(duration),
        _ => Err("expected a number of seconds above 0, such as 10 or 0.5".to_owned()),
    }
}

const AFTER_HELP: &str = "\
Events:
  exec  a process has begun to run a program
  exit  the last thread of a process has ended; processes that only forked have one too
  fail  with --failed: a process could not run a program, and goes on as what it was

A program is shown if it matches one of each kind of filter. The exit of a process is shown if its
exec was; of a process whose exec was not seen, if its own name, user, parent and control group
match. Process and user numbers are those of the host.

JSON, in this order, none left out:
  start event            \"start\": the first line
        time             when tracing began
        version          of exectrace
        backend          as --backend names it
        missing          what is not known: a list of field, and when (null: always)
  exec  event            \"exec\"
        time             when, in UTC: \"2026-11-22T10:33:00.123456Z\"
        pid, ppid        its number and its parent's
        uid              the number of the user who runs it
        comm             its name, cut by the kernel at 15 bytes
        start_us         when the process began, in microseconds since boot: with pid, it names it
        cgroup_id        the number of its control group (v2)
        cgroup           the path of that; null if the group is gone already
        container        the ID of the container that the group is of: 64 digits; null if of none
        file             what was executed; of a script, the script
        file_truncated   true if file was cut at 4096 bytes
        args             its arguments; of a script, the interpreter's
        args_truncated   true if args were cut at 4096 bytes in all, or could not be read
        cwd              the current directory, as the process itself sees it
        cwd_truncated    true if cwd lacks its beginning, for it is in more folders than were read
        tty              its controlling terminal, such as \"pts/0\"; \"\" if it has none
  exit  event            \"exit\"
        time, pid, ppid, uid, comm, start_us, cgroup_id, cgroup, container
        code             what it returned, 0 to 255; null if a signal killed it
        signal           the number of the signal that killed it, or null
        core_dumped      true if the signal also wrote a core dump
        since_exec_us    microseconds since its last exec; null if none was seen: it began before
                         exectrace, or only forked
  failed                 with --failed
        event            \"failed\"
        time, pid, ppid, uid, comm, start_us, cgroup_id, cgroup, container
        file             what was to be executed; empty if that cannot be read
        file_truncated   true if file was cut at 4096 bytes
        errno            why it was refused, as this machine's architecture numbers it
        error            the name of that: \"ENOENT\"
  lost  event            \"lost\"
        time             when it was noticed
        count            execs and exits lost since the last such line; null if that is not known
        exact            false if that is the most that it can be

What is not known with the backend that was taken is null, or - without --json: --preflight
says what and why.

comm, cgroup, file, each of args, cwd and tty are strings; where the bytes are not UTF-8, an array
of their numbers stands in the string's place.

Exit status:
  0  done, also when interrupted or when the reader of the output has gone
  1  failed, or the self-test did
  2  wrong usage
With a command: its own; 128 and the signal that killed it; 126 or 127 if it cannot be run.

Examples:
  exectrace --preflight                what will be seen on this machine, and what not
  exectrace                            everything, until Ctrl-C
  exectrace -- make                    what make runs
  exectrace --summary -- make          how often it runs what, and how long that takes
  exectrace --pid $$ --tree            what this shell starts
  exectrace --uid www-data --no-exits  what a web server's user runs
  exectrace --json --duration 60 | jq -c 'select(.code != 0 and .event == \"exit\")'";

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(words: &[&str]) -> String {
        let words = ["exectrace"].iter().chain(words).map(OsString::from);
        Cli::read(words).unwrap_err().to_string()
    }

    #[test]
    fn definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn seconds_may_have_a_fraction() {
        assert_eq!(parse_seconds("0.5"), Ok(Duration::from_millis(500)));
        for wrong in ["", "0", "-1", "x", "nan", "inf", "1e30"] {
            assert!(parse_seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_no_number_or_no_name_is_refused_in_words() {
        for (words, sentence) in [
            (["--pid", "abc"], "expected the number of a process"),
            (["--pid", "0"], "expected the number of a process"),
            (["--pid", "2147483648"], "expected the number of a process"),
            (["--ppid", "init"], "expected the number of a process"),
            (["--count", "many"], "expected a whole number above 0"),
            (["--count", "0"], "expected a whole number above 0"),
            (["--buffer", "1M"], "expected a number of KiB from 1 to 1048576"),
            (["--comm", ""], "every program has a name"),
            (["--uid", ""], "no user has this name"),
            (["--duration", "-1"], "expected a number of seconds above 0"),
            (["--count", "-1"], "expected a whole number above 0"),
        ] {
            let error = Cli::try_parse_from(["exectrace"].into_iter().chain(words)).unwrap_err().to_string();
            assert!(error.contains(sentence) && !error.contains("invalid digit"), "{words:?}: {error}");
        }
        let cli =
            Cli::try_parse_from(["exectrace", "--pid", "1", "--ppid", "0", "--count", "1", "--buffer", "1048576"])
                .unwrap();
        assert_eq!((&cli.pid[..], &cli.ppid[..], cli.count, cli.buffer), (&[1][..], &[0][..], Some(1), 1 << 20));
        assert_eq!(Cli::try_parse_from(["exectrace"]).unwrap().buffer, 1024);
    }

    #[test]
    fn self_test_takes_no_filters() {
        assert!(refused(&["--self-test", "--pid", "1"]).contains("'--self-test' cannot be used with '--pid <PID>'"));
        assert!(refused(&["--self-test", "--", "true"]).contains("'--self-test' cannot be used with '[COMMAND]...'"));
    }

    #[test]
    fn of_what_does_not_fit_only_that_is_named() {
        for (words, option) in [
            (["--uid", "root"], "--uid <USER>"),
            (["--failed", "--json"], "--failed"),
            (["--json", "--self-test"], "--self-test"),
        ] {
            let error = refused(&[&["--preflight"][..], &words].concat());
            assert!(
                error.contains(&format!("'--preflight' cannot be used with '{option}', for it shows no events")),
                "{error}"
            );
            assert!(!error.contains("--tree"), "{error}");
        }
        assert!(refused(&["--self-test", "--json"]).contains("'--self-test' cannot be used with '--json'"));
        assert!(Cli::read(["exectrace", "--preflight", "--json", "--backend", "perf"].map(OsString::from)).is_ok());
    }

    #[test]
    fn a_command_has_to_stand_behind_two_dashes_and_no_other_word_becomes_one() {
        assert!(
            refused(&["--json", "ls", "-l"]).contains("tip: to trace a command, put -- before it: exectrace -- ls\n")
        );
        let error = refused(&["--wrong"]);
        assert!(error.contains("unexpected argument '--wrong' found") && !error.contains("tip"), "{error}");
    }

    #[test]
    fn a_user_has_a_number_or_a_name() {
        assert_eq!(parse_user("4294967294"), Ok(u32::MAX - 1));
        assert_eq!(parse_user("root"), Ok(0));
        assert!(parse_user("no such user").is_err());
    }
}
