//! --summary: what was executed how often, what failed, and what took longest.

use std::{
    collections::HashMap,
    io::{self, Write},
    time::Duration,
};

use crate::{
    event::{End, Event},
    quote::quoted,
};

#[derive(Debug, Default)]
pub(crate) struct Summary {
    files: HashMap<Vec<u8>, Counts>,
    /// What each process has executed last.
    running: HashMap<u32, (u64, Vec<u8>)>,
}

#[derive(Debug, Default)]
struct Counts {
    execs: u64,
    /// Ended with another code than 0, or by a signal.
    failed: u64,
    total_ns: u64,
    longest_ns: u64,
}

impl Summary {
    pub(crate) fn add(&mut self, event: &Event<'_>) {
        let process = event.process();
        match event {
            Event::Exec(exec) => {
                self.files.entry(exec.file.to_vec()).or_default().execs += 1;
                self.running.insert(process.pid, (process.time_ns, exec.file.to_vec()));
            }
            Event::Exit(exit) => {
                // Of another time: the exec of this process was lost, and that is one of before with its number.
                let Some((_, file)) = self.running.remove(&process.pid).filter(|(time, _)| exit.exec_ns == Some(*time))
                else {
                    return;
                };
                let counts = self.files.entry(file).or_default();
                counts.failed += u64::from(!matches!(exit.end, Some(End::Code(0)) | None));
                let ns = exit.since_exec_ns().unwrap_or_default();
                counts.total_ns += ns;
                counts.longest_ns = counts.longest_ns.max(ns);
            }
            Event::Failed(failed) => self.files.entry(failed.file.to_vec()).or_default().failed += 1,
        }
    }

    /// The most frequent first.
    pub(crate) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let mut files: Vec<_> = self.files.iter().collect();
        files.sort_by(|(file, counts), (other, others)| others.execs.cmp(&counts.execs).then(file.cmp(other)));
        writeln!(out, "{:>8} {:>8} {:>10} {:>10} FILE", "EXECS", "FAILED", "TOTAL", "LONGEST")?;
        for (file, counts) in files {
            let [total, longest] =
                [counts.total_ns, counts.longest_ns].map(|ns| format!("{:.1?}", Duration::from_nanos(ns)));
            writeln!(out, "{:>8} {:>8} {total:>10} {longest:>10} {}", counts.execs, counts.failed, quoted(file))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Args, Exec, Exit, Process};

    fn process(pid: u32, time_ns: u64) -> Process<'static> {
        Process { pid, ppid: Some(1), uid: Some(0), time_ns, start_ns: None, cgroup_id: None, comm: Some(b"x") }
    }

    #[test]
    fn execs_are_counted_by_file_with_their_ends() {
        let mut summary = Summary::default();
        let exec = |pid, time_ns, file| {
            let args = Some(Args::new(b""));
            Event::Exec(Exec {
                process: process(pid, time_ns),
                file,
                file_truncated: false,
                args,
                args_truncated: None,
                place: None,
            })
        };
        let exit =
            |pid, time_ns, end, exec_ns| Event::Exit(Exit { process: process(pid, time_ns), end: Some(end), exec_ns });
        summary.add(&exec(5, 1_000, b"/bin/b"));
        summary.add(&exit(5, 3_000, End::Code(1), Some(1_000)));
        summary.add(&exec(6, 4_000, b"/bin/b"));
        summary.add(&exec(7, 4_000, b"/bin/a"));
        summary.add(&exit(6, 5_000, End::Code(0), Some(4_000)));
        // Only forked, and one whose exec was lost.
        summary.add(&exit(8, 5_000, End::Code(9), None));
        summary.add(&exit(7, 5_000, End::Code(9), Some(4_500)));
        let mut text = Vec::new();
        summary.write(&mut text).unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "   EXECS   FAILED      TOTAL    LONGEST FILE\n\
             \x20      2        1      3.0µs      2.0µs /bin/b\n\
             \x20      1        0      0.0ns      0.0ns /bin/a\n"
        );
    }
}
