//! From events to lines: filters them, and writes those that are left.

use std::{collections::HashMap, io, iter};

use crate::{
    backend::{Backend, terms::Lost, tracer::Tracer},
    cgroup::Cgroups,
    cli::Cli,
    clock::{Clock, WallTime},
    diag,
    error::Error,
    event::Event,
    output::{
        Output,
        filter::Filter,
        json,
        summary::Summary,
        terminal::Terminal,
        text::{self, Style},
    },
    procfs,
};

/// Events shown before signals and the clock are looked at again, should the buffer never be empty.
const BATCH: usize = 256;

/// So many ancestors are looked at for one that is shown.
const GENERATIONS: usize = 8;

/// Why tracing ends, other than as it should.
pub(crate) enum Stop {
    ReaderGone,
    Output(io::Error),
    Error(Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

pub(crate) struct Show {
    pub(crate) output: Output,
    json: bool,
    /// What the output is, if it is a terminal.
    terminal: Option<Terminal>,
    style: Style,
    filter: Filter,
    cgroups: Cgroups,
    /// --relative
    relative: bool,
    /// `CLOCK_MONOTONIC`
    pub(crate) start_ns: u64,
    /// --tree: how far below others each process is shown.
    depths: Option<HashMap<u32, usize>>,
    /// In the place of events.
    pub(crate) summary: Option<Summary>,
    /// How many may still be shown.
    left: Option<u64>,
    pub(crate) batch_had_events: bool,
    pub(crate) execs: u64,
    pub(crate) exits: u64,
    /// What was said of it.
    pub(crate) lost: Lost,
    /// --pid, or a command
    pub(crate) follows: bool,
}

impl Show {
    pub(crate) fn new(cli: &Cli) -> Result<Self, Error> {
        let output = match &cli.output {
            Some(file) => Output::file(file).map_err(|error| Error::OutputFile { file: file.clone(), error })?,
            // Standard output is the command's.
            None if !cli.command.is_empty() => Output::stderr().map_err(Error::Output)?,
            None => Output::stdout().map_err(Error::Output)?,
        };
        let terminal = Terminal::of(&output);
        let has_colors = terminal.as_ref().is_some_and(|terminal| terminal.has_colors);
        Ok(Self {
            output,
            json: cli.json,
            terminal,
            style: Style { has_cgroups: cli.show_cgroup, has_ttys: cli.show_tty, has_cwds: cli.show_cwd, has_colors },
            filter: Filter::new(cli),
            cgroups: Cgroups::new(&cli.cgroup)?,
            relative: cli.relative,
            start_ns: 0,
            depths: cli.tree.then(HashMap::new),
            summary: cli.summary.then(Summary::default),
            left: cli.count,
            batch_had_events: false,
            execs: 0,
            exits: 0,
            lost: Lost { is_exact: true, ..Lost::default() },
            follows: false,
        })
    }

    pub(crate) fn begin(&mut self, backend: &Backend) -> Result<(), Stop> {
        if self.json {
            json::write_start(&mut self.output, WallTime::now(), backend)?;
        } else if self.summary.is_none() {
            text::write_header(&mut self.output, self.style)?;
        }
        Ok(self.output.write_some()?)
    }

    /// --count is reached.
    pub(crate) fn is_complete(&self) -> bool {
        self.left == Some(0)
    }

    /// Shows what is there, up to [`BATCH`] events, and whether that was all.
    pub(crate) fn batch(&mut self, tracer: &mut Tracer) -> Result<bool, Stop> {
        let mut clock = None;
        self.batch_had_events = false;
        for _ in 0..BATCH {
            let mut shown = Ok(());
            let had_one = tracer.next(&mut |event| {
                shown = self.event(*clock.get_or_insert_with(Clock::read), event);
            })?;
            shown?;
            if !had_one {
                self.output.write_some()?;
                return Ok(!tracer.has_more());
            }
            self.batch_had_events = true;
            if self.is_complete() {
                break;
            }
        }
        self.output.write_some()?;
        Ok(false)
    }

    /// Whether it is to be shown. Every event has to pass here, in order.
    fn admits(&mut self, event: &Event<'_>) -> bool {
        self.filter.admits(event) && self.cgroups.admits(event.process().cgroup_id)
    }

    fn event(&mut self, clock: Clock, event: &Event<'_>) -> Result<(), Stop> {
        if !self.admits(event) {
            return Ok(());
        }
        match event {
            Event::Exec(_) => self.execs += 1,
            Event::Exit(_) => self.exits += 1,
            Event::Failed(_) => {}
        }
        if let Some(left) = &mut self.left {
            *left -= 1;
        }
        let process = event.process();
        let time = clock.wall_time(process.time_ns);
        if self.json {
            let cgroup = process.cgroup_id.and_then(|id| self.cgroups.path(id));
            json::write_event(&mut self.output, time, event, cgroup)?;
        } else if let Some(summary) = &mut self.summary {
            summary.add(event);
        } else {
            if self.terminal.as_mut().is_some_and(|terminal| terminal.needs_header(&self.output)) {
                text::write_header(&mut self.output, self.style)?;
            }
            let depth = self.depths.as_mut().map_or(0, |depths| depth(depths, event));
            let cgroup = process.cgroup_id.filter(|_| self.style.has_cgroups).and_then(|id| self.cgroups.path(id));
            if self.relative {
                let ns = process.time_ns.saturating_sub(self.start_ns);
                let seconds = format!("{}.{:06}", ns / 1_000_000_000, ns / 1000 % 1_000_000);
                text::write_event(&mut self.output, self.style, seconds, depth, event, cgroup)?;
            } else {
                text::write_event(&mut self.output, self.style, time.local(), depth, event, cgroup)?;
            }
        }
        Ok(())
    }

    /// Says so if events were lost since the last time.
    pub(crate) fn lost(&mut self, tracer: &Tracer) -> Result<(), Stop> {
        let mut lost = tracer.lost()?;
        // What seemed lost may have come late.
        if lost.count < self.lost.count {
            lost = Lost { count: self.lost.count, is_exact: false, ..lost };
        }
        // What a filter would have left out is among them.
        lost.is_exact &= lost.count == 0 || !(self.filter.is_selective() || self.cgroups.is_selective());
        let before = std::mem::replace(&mut self.lost, lost);
        let new = lost.count.saturating_sub(before.count);
        let at_most = if lost.is_exact { "" } else { "at most " };
        let is_new_processor = lost.blind > before.blind;
        if is_new_processor && lost.is_incomplete {
            diag::note("a processor was switched on, and what happened there until now was neither seen nor counted");
            if self.json {
                json::write_lost(&mut self.output, WallTime::now(), None, false)?;
                self.output.write_some()?;
            }
        } else if is_new_processor {
            diag::note(format_args!(
                "a processor was switched on, and what happened there until now was not seen: {at_most}{} lost",
                diag::counted(new, "event")
            ));
        }
        if new == 0 {
            return Ok(());
        }
        let hidden = lost.hidden.saturating_sub(before.hidden);
        if hidden > 0 {
            diag::note(format_args!(
                "{} lost, for perf had no sample of them: most likely another program's BPF on the same \
                 tracepoint returns 0: stop that program",
                diag::counted(hidden, "exec")
            ));
        }
        let interrupted = lost.interrupted.saturating_sub(before.interrupted);
        if interrupted > 0 {
            diag::note(format_args!(
                "at most {} lost, for the kernel has interrupted the BPF program that sends them: exectrace \
                 --backend tracepoints loses none that way",
                diag::counted(interrupted, "event")
            ));
        }
        let other = new.saturating_sub(hidden + interrupted);
        if other > 0 && (!is_new_processor || lost.is_incomplete) {
            let descendants = if self.follows && tracer.forgets() {
                ", and descendants that began meanwhile may not be followed"
            } else {
                ""
            };
            diag::note(format_args!(
                "{at_most}{} lost, for the buffer was full{descendants}: a larger --buffer may help",
                diag::counted(other, "event")
            ));
        }
        if self.json {
            json::write_lost(&mut self.output, WallTime::now(), Some(new), lost.is_exact)?;
            self.output.write_some()?;
        }
        Ok(())
    }

    /// Nobody takes the output: what was not written is lost.
    pub(crate) fn give_up(&mut self, tracer: &mut Tracer) -> Result<(), Stop> {
        let mut unwritten = self.output.lines_left();
        while !self.is_complete() {
            let mut more = 0;
            let had_one = tracer.next(&mut |event| more = u64::from(self.admits(event)))?;
            unwritten += more;
            if !had_one && !tracer.has_more() && !tracer.holds_back() {
                break;
            }
        }
        self.lost = tracer.lost()?;
        self.lost.count += unwritten;
        let lines = diag::counted(unwritten, "line");
        diag::note(format_args!("{lines} not written, for nobody reads the output"));
        Ok(())
    }
}

/// How far below others a process is shown: below the nearest of its ancestors that is shown, which it may have been forked
/// from by others that have executed nothing.
fn depth(depths: &mut HashMap<u32, usize>, event: &Event<'_>) -> usize {
    let process = event.process();
    match event {
        Event::Exec(_) => {
            let ancestors = iter::successors(process.ppid, |pid| procfs::parent(*pid)).take(GENERATIONS);
            let above = ancestors.enumerate().find_map(|(steps, pid)| Some(depths.get(&pid)? + steps + 1));
            *depths.entry(process.pid).insert_entry(above.unwrap_or_default()).get()
        }
        Event::Exit(_) => depths.remove(&process.pid).unwrap_or_default(),
        Event::Failed(_) => depths.get(&process.pid).copied().unwrap_or_default(),
    }
}
