//! The main loop: waits for events, and shows them until it is to stop.

use std::{
    collections::HashMap,
    fs, io, iter,
    os::fd::AsFd as _,
    process::ExitCode,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
    },
};

use crate::{
    backend::{
        Backend,
        tracer::{Lost, Tracer},
    },
    cgroup::Cgroups,
    cli::Cli,
    clock::{Clock, WallTime, monotonic_ns},
    command::Running,
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
    procfs, start,
};

/// So often at most it is looked whether events were lost, and processors switched on.
const INTERVAL: Duration = Duration::from_secs(1);
/// Events shown before signals and the clock are looked at again, should the buffer never be empty.
const BATCH: usize = 256;
/// So long events gather before they are looked at again.
const PAUSE: Duration = Duration::from_millis(4);
/// So long events wait that cannot be shown yet.
const MOMENT: Duration = Duration::from_millis(1);
/// So long a reader that takes nothing is waited for at the end.
const GRACE: Duration = Duration::from_millis(500);
/// So many ancestors are looked at for one that is shown.
const GENERATIONS: usize = 8;

pub(crate) fn run(cli: &Cli) -> Result<ExitCode, Error> {
    // From here on a signal waits until the loop asks for it, so that none is missed.
    let signals = Signals::new(cli).map_err(|errno| Error::System { call: "signalfd", error: errno.into() })?;
    let mut show = Show::new(cli)?;
    let mut command = if cli.command.is_empty() { None } else { Some(Running::prepare(&cli.command)?) };
    let pids = command.as_ref().map_or_else(|| cli.pid.clone(), |command| vec![command.pid()]);
    show.follows = !pids.is_empty();
    let (mut tracer, backend) = start::tracer(cli, &pids)?;
    if cli.verbose {
        diag::note("tracing");
    }

    let start = Instant::now();
    show.start_ns = monotonic_ns();
    let result = match show.begin(&backend) {
        Ok(()) => {
            if let Some(command) = &mut command {
                command.go();
            }
            follow_events(cli, &mut tracer, &signals, &mut show, command.as_mut(), start)
        }
        Err(error) => Err(error),
    };
    match result {
        // Whoever read our output has had enough, and wants no summary either.
        Err(Stop::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(Stop::ReaderGone) => Ok(ExitCode::SUCCESS),
        Err(Stop::Output(error)) => Err(match &cli.output {
            Some(file) => Error::OutputFile { file: file.clone(), error },
            None => Error::Output(error),
        }),
        Err(Stop::Error(error)) => Err(error),
        Ok(code) => {
            let at_most = if show.lost.is_exact { "" } else { "at most " };
            diag::note(format_args!(
                "{} execs, {} exits, {at_most}{} lost, {:.1} s",
                show.execs,
                show.exits,
                show.lost.count,
                start.elapsed().as_secs_f64()
            ));
            Ok(code)
        }
    }
}

/// Why tracing ends, other than as it should.
enum Stop {
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

/// What is asked for by signals.
struct Signals(SignalFd);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// SIGINT, which a terminal sends to the command as well.
    Interrupt,
    Terminate,
    /// SIGHUP, with --output.
    Reopen,
    /// The command has changed its state.
    Child,
}

impl Signals {
    /// Those that are not ignored: a shell without job control starts what is in the background so, and Ctrl-C is not for it.
    fn new(cli: &Cli) -> nix::Result<Self> {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ignored = ignored_signals(&status).unwrap_or(0);
        let is_ignored = |signal: Signal| ignored >> (signal as u32 - 1) & 1 == 1;
        let mut signals: SigSet =
            [Signal::SIGINT, Signal::SIGTERM].into_iter().filter(|signal| !is_ignored(*signal)).collect();
        if cli.output.is_some() {
            signals.add(Signal::SIGHUP);
        }
        if !cli.command.is_empty() {
            signals.add(Signal::SIGCHLD);
        }
        signals.thread_block()?;
        Ok(Self(SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?))
    }

    fn next(&self) -> Option<Asked> {
        let signal = self.0.read_signal().ok().flatten()?;
        Some(match Signal::try_from(signal.ssi_signo as i32) {
            Ok(Signal::SIGINT) => Asked::Interrupt,
            Ok(Signal::SIGHUP) => Asked::Reopen,
            Ok(Signal::SIGCHLD) => Asked::Child,
            _ => Asked::Terminate,
        })
    }
}

/// A bit for each, from the lowest for signal 1 on.
fn ignored_signals(status: &str) -> Option<u128> {
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    u128::from_str_radix(line.trim(), 16).ok()
}

/// Gives the code to exit with.
fn follow_events(
    cli: &Cli,
    tracer: &mut Tracer,
    signals: &Signals,
    show: &mut Show,
    mut command: Option<&mut Running>,
    start: Instant,
) -> Result<ExitCode, Stop> {
    let deadline = cli.duration.and_then(|duration| start.checked_add(duration));
    // Who is followed may end without an event that is shown.
    let ticks = tracer.watches_processors() || show.follows;
    let mut due: Option<Instant> = ticks.then(|| start + INTERVAL);
    let mut code = ExitCode::SUCCESS;
    'events: loop {
        // Whoever does not read leaves events in the kernel's buffer, where those that find no room are counted.
        let drained = show.output.is_full() || show.batch(tracer)?;
        if show.is_complete() {
            break;
        }
        let now = Instant::now();
        if deadline.is_some_and(|deadline| now >= deadline) {
            break;
        }
        let is_due = due.is_some_and(|due| now >= due);
        if is_due {
            tracer.follow_processors()?;
            show.lost(tracer)?;
            due = ticks.then(|| now + INTERVAL);
        }
        if drained && show.follows && command.is_none() && (is_due || show.batch_had_events) && !tracer.has_tracked() {
            break;
        }
        // Losses come with events: where there are none, there is nothing to wake up for.
        if show.batch_had_events {
            due.get_or_insert(now + INTERVAL);
        }
        let wake = match (drained, [deadline, due].into_iter().flatten().min()) {
            (false, _) => Some(Duration::ZERO),
            (true, wake) => wake.map(|wake| wake.saturating_duration_since(now)),
        };
        // Who has just looked need not be woken up by the next event already: some of them at a time cost less.
        let (watched, wake) = match (drained, show.batch_had_events, tracer.holds_back()) {
            (true, true, _) => (None, Some(wake.unwrap_or(PAUSE).min(PAUSE))),
            (true, false, true) => (None, Some(wake.unwrap_or(MOMENT).min(MOMENT))),
            _ => (Some(&*tracer), wake),
        };
        match wait(watched, Some(signals), &show.output, wake)? {
            Wake::ReaderGone => return Err(Stop::ReaderGone),
            Wake::Other => show.output.write_some()?,
            Wake::Signal => {
                while let Some(asked) = signals.next() {
                    match (asked, &mut command) {
                        (Asked::Reopen, _) => show.output.reopen()?,
                        (Asked::Child, Some(command)) => {
                            if let Some(ended) = command.ended() {
                                code = ended;
                                break 'events;
                            }
                        }
                        // It ends as the command does.
                        (Asked::Interrupt, Some(_)) => {}
                        (Asked::Terminate, Some(command)) => command.terminate(),
                        (_, None) => break 'events,
                    }
                }
            }
        }
    }
    // What happened until now is still shown, and nothing later: else a busy machine would never let us go.
    tracer.detach();
    finish(tracer, show)?;
    Ok(code)
}

/// Shows what is there, as long as it is taken.
fn finish(tracer: &mut Tracer, show: &mut Show) -> Result<(), Stop> {
    let mut drained = false;
    let mut patience = Instant::now() + GRACE;
    loop {
        let before = show.output.lines_left();
        if !show.output.is_full() && !drained {
            drained = show.is_complete() || show.batch(tracer)? && !tracer.holds_back();
            if let (true, Some(summary)) = (drained, show.summary.take()) {
                summary.write(&mut show.output)?;
            }
        }
        show.output.write_some()?;
        if drained && show.output.is_empty() {
            return show.lost(tracer);
        }
        let now = Instant::now();
        if show.output.is_empty() || show.output.lines_left() < before {
            patience = now + GRACE;
        } else if now >= patience {
            break;
        }
        if show.output.is_full() || drained {
            match wait(None, None, &show.output, Some(patience - now))? {
                Wake::ReaderGone => return Err(Stop::ReaderGone),
                Wake::Signal | Wake::Other => {}
            }
        }
    }
    show.give_up(tracer)
}

enum Wake {
    Signal,
    ReaderGone,
    /// Events, room for output, or the time has come.
    Other,
}

/// Without `tracer` not for events, without `signals` not for those.
fn wait(
    tracer: Option<&Tracer>,
    signals: Option<&Signals>,
    output: &Output,
    timeout: Option<Duration>,
) -> Result<Wake, Stop> {
    // Errors are always reported, and that its reader has gone is one.
    let room = if output.is_empty() { PollFlags::empty() } else { PollFlags::POLLOUT };
    let mut fds = vec![PollFd::new(output.as_fd(), room)];
    fds.extend(signals.map(|signals| PollFd::new(signals.0.as_fd(), PollFlags::POLLIN)));
    if let Some(tracer) = tracer.filter(|_| !output.is_full()) {
        fds.extend(tracer.fds().into_iter().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
    }
    // Rounded up: a poll that returns a little early would run once more for nothing.
    let timeout = timeout.map_or(PollTimeout::NONE, |timeout| {
        let millis = timeout.as_nanos().div_ceil(1_000_000);
        PollTimeout::try_from(millis.min(i32::MAX as u128) as i32).unwrap_or(PollTimeout::MAX)
    });
    match poll(&mut fds, timeout) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(errno) => {
            return Err(Error::System { call: "poll", error: errno.into() }.into());
        }
    }
    let ready = |fd: &PollFd<'_>| fd.revents().unwrap_or(PollFlags::empty());
    if signals.is_some() && fds.get(1).is_some_and(|fd| ready(fd).contains(PollFlags::POLLIN)) {
        Ok(Wake::Signal)
    } else if ready(&fds[0]).intersects(PollFlags::POLLERR | PollFlags::POLLHUP) {
        Ok(Wake::ReaderGone)
    } else {
        Ok(Wake::Other)
    }
}

struct Show {
    output: Output,
    json: bool,
    /// What the output is, if it is a terminal.
    terminal: Option<Terminal>,
    style: Style,
    filter: Filter,
    cgroups: Cgroups,
    /// --relative
    relative: bool,
    /// `CLOCK_MONOTONIC`
    start_ns: u64,
    /// --tree: how far below others each process is shown.
    depths: Option<HashMap<u32, usize>>,
    /// In the place of events.
    summary: Option<Summary>,
    /// How many may still be shown.
    left: Option<u64>,
    batch_had_events: bool,
    execs: u64,
    exits: u64,
    /// What was said of it.
    lost: Lost,
    /// --pid, or a command
    follows: bool,
}

impl Show {
    fn new(cli: &Cli) -> Result<Self, Error> {
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
            style: Style { has_cgroups: cli.show_cgroup, has_colors },
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

    fn begin(&mut self, backend: &Backend) -> Result<(), Stop> {
        if self.json {
            json::write_start(&mut self.output, WallTime::now(), backend)?;
        } else if self.summary.is_none() {
            text::write_header(&mut self.output, self.style)?;
        }
        Ok(self.output.write_some()?)
    }

    /// --count is reached.
    fn is_complete(&self) -> bool {
        self.left == Some(0)
    }

    /// Shows what is there, up to [`BATCH`] events, and whether that was all.
    fn batch(&mut self, tracer: &mut Tracer) -> Result<bool, Stop> {
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
    fn lost(&mut self, tracer: &Tracer) -> Result<(), Stop> {
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
        let is_new_processor = lost.is_blind && !before.is_blind;
        if is_new_processor {
            diag::note(format_args!(
                "a processor was switched on, and what happened there until now was not seen: {at_most}{new} events lost"
            ));
        }
        if new == 0 {
            return Ok(());
        }
        let hidden = lost.hidden.saturating_sub(before.hidden);
        if hidden > 0 {
            diag::note(format_args!(
                "{hidden} execs lost, for perf had no sample of them: most likely another program's BPF on the same \
                 tracepoint returns 0: stop that program"
            ));
        }
        if new > hidden && !is_new_processor {
            let descendants = if self.follows && tracer.forgets() {
                ", and descendants that began meanwhile may not be followed"
            } else {
                ""
            };
            diag::note(format_args!(
                "{at_most}{} events lost, for the buffer was full{descendants}: a larger --buffer may help",
                new - hidden
            ));
        }
        if self.json {
            json::write_lost(&mut self.output, WallTime::now(), new, lost.is_exact)?;
            self.output.write_some()?;
        }
        Ok(())
    }

    /// Nobody takes the output: what was not written is lost.
    fn give_up(&mut self, tracer: &mut Tracer) -> Result<(), Stop> {
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
        diag::note(format_args!("{unwritten} lines were not written, for nobody takes them from standard output"));
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

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use nix::sys::signal::raise;

    use super::*;

    #[test]
    fn a_signal_waits_until_it_is_asked_for() {
        let signals = Signals::new(&Cli::parse_from(["exectrace", "--output", "x"])).unwrap();
        assert_eq!(signals.next(), None);
        // To this thread alone, where they are blocked.
        for (signal, asked) in [(Signal::SIGTERM, Asked::Terminate), (Signal::SIGHUP, Asked::Reopen)] {
            raise(signal).unwrap();
            assert_eq!(signals.next(), Some(asked));
        }
        assert_eq!(signals.next(), None);
    }

    #[test]
    fn ignored_signals_are_read_from_proc() {
        assert_eq!(ignored_signals("SigBlk:\t0\nSigIgn:\t0000000000000002\n"), Some(2));
        // mips has 128 of them.
        assert_eq!(ignored_signals(&format!("SigIgn:\t{}\n", "f".repeat(32))), Some(u128::MAX));
        assert_eq!(ignored_signals(""), None);
    }
}
