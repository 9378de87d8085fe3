//! The command line.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{Parser, ValueEnum};

/// Shows every program that this machine runs, and how each process ends.
#[derive(Debug, Parser)]
#[command(name = "exectrace", disable_version_flag = true, after_long_help = AFTER_HELP)]
pub(crate) struct Cli {
    /// One JSON object a line (--help lists the fields)
    #[arg(long)]
    pub(crate) json: bool,

    /// Only this process and its descendants (may be given more than once)
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..=i32::MAX as i64))]
    pub(crate) pid: Vec<u32>,

    /// Only programs of this name, of which the kernel keeps 15 bytes (may be given more than once)
    #[arg(long, value_name = "NAME")]
    pub(crate) comm: Vec<OsString>,

    /// Only programs run by the user of this number (may be given more than once)
    #[arg(long, value_name = "UID")]
    pub(crate) uid: Vec<u32>,

    /// Only programs that start, not how processes end
    #[arg(long)]
    pub(crate) no_exits: bool,

    /// Stop after this many seconds
    #[arg(long, value_name = "SECS", value_parser = parse_seconds)]
    pub(crate) duration: Option<Duration>,

    /// Stop after this many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,

    /// Room for events not yet shown; rounded up to a power of two, and to a page
    #[arg(long, value_name = "KIB", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub(crate) buffer: u32,

    /// The kernel's types, should /sys/kernel/btf/vmlinux be missing; or in the variable EXECTRACE_BTF
    #[arg(long, value_name = "FILE")]
    pub(crate) btf: Option<PathBuf>,

    /// Tell what this kernel offers, and what would be missing here; with --json for programs
    #[arg(long, conflicts_with_all = ["self_test", "pid", "comm", "uid", "no_exits", "duration", "count"])]
    pub(crate) preflight: bool,

    /// Only this way, instead of the best one.
    #[arg(long, value_name = "NAME", hide = true)]
    pub(crate) way: Option<Name>,

    /// Check on this machine that exectrace sees what happens, and exit with 0 if so
    #[arg(long, conflicts_with_all = ["json", "pid", "comm", "uid", "no_exits", "duration", "count"])]
    pub(crate) self_test: bool,

    /// Say when tracing begins, and show the verifier's log should the kernel reject a BPF program
    #[arg(short, long)]
    pub(crate) verbose: bool,

    /// Print version, commit, target and the SHA-256 of each embedded BPF object
    #[arg(short = 'V', long)]
    pub(crate) version: bool,
}

/// A way of tracing (see way.rs).
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Name {
    Btf,
    /// The same for kernels without a ring buffer.
    BtfPerf,
    Tracepoints,
    /// The same without BPF.
    Perf,
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

With --comm or --uid, the exit of a process is shown if its exec was; of a process whose exec was
not seen, if its own name and user match. Process and user numbers are those of the host.

JSON, in this order, none left out:
  exec  event            \"exec\"
        time             when, in UTC: \"2026-11-22T10:33:00.123456Z\"
        pid, ppid        its number and its parent's
        uid              the number of the user who runs it
        comm             its name, cut by the kernel at 15 bytes
        file             what was executed; of a script, the script
        file_truncated   true if file was cut at 4096 bytes
        args             its arguments; of a script, the interpreter's
        args_truncated   true if args were cut at 4096 bytes in all, or could not be read
  exit  event            \"exit\"
        time, pid, ppid, uid, comm
        code             what it returned, 0 to 255; null if a signal killed it
        signal           the number of the signal that killed it, or null
        core_dumped      true if the signal also wrote a core dump
        since_exec_us    microseconds since its last exec; null if none was seen: it began before
                         exectrace, or only forked
  lost  event            \"lost\"
        time             when it was noticed
        count            events lost since the last such line, because the buffer was full

Where the kernel does not describe its types (BTF), or runs no BPF, some of this cannot always be
told, and is null, or - without --json: --preflight says what and why.

comm, file and each of args are strings; where the bytes are not UTF-8, an array of their numbers
stands in the string's place.

Exit status:
  0  done, also when interrupted or when the reader of the output has gone
  1  failed, or the self-test did
  2  wrong usage

Examples:
  exectrace --preflight                what will be seen on this machine, and what not
  exectrace                            everything, until Ctrl-C
  exectrace --pid $$                   what this shell starts
  exectrace --comm sshd --no-exits     programs named sshd
  exectrace --json --duration 60 | jq -c 'select(.code != 0 and .event == \"exit\")'";

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

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
    fn self_test_takes_no_filters() {
        assert!(Cli::try_parse_from(["exectrace", "--self-test", "--pid", "1"]).is_err());
    }
}
