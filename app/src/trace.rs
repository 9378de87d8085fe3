//! The main loop: waits for events, and shows them until it is told to stop.

use std::{
    fs, io,
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
    begin,
    cli::Cli,
    clock::{Clock, WallTime},
    error::Error,
    event::Event,
    filter::Filter,
    json,
    output::Output,
    stderr, text,
    tracer::{Lost, Tracer},
};

/// So often at most it is looked whether events were lost, and processors switched on.
const INTERVAL: Duration = Duration::from_secs(1);
/// Events shown before signals and the clock are looked at again, should the buffer never be empty.
const BATCH: usize = 256;
/// So long a reader that takes nothing is waited for at the end.
const GRACE: Duration = Duration::from_millis(500);

pub(crate) fn run(cli: &Cli) -> Result<ExitCode, Error> {
    // From here on a signal waits until the loop asks for it, so that none is missed.
    let signals = stop_signals().map_err(|errno| Error::System { call: "signalfd", error: errno.into() })?;
    let mut tracer = begin::tracer(cli)?;
    if cli.verbose {
        stderr::say("tracing");
    }

    let start = Instant::now();
    let mut show = Show::new(cli).map_err(Error::Output)?;
    let result = match show.begin() {
        Ok(()) => follow_events(cli, &mut tracer, &signals, &mut show, start),
        Err(error) => Err(error),
    };
    match result {
        // Whoever read our output has had enough, and wants no summary either.
        Err(Stop::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(Stop::ReaderGone) => Ok(ExitCode::SUCCESS),
        Err(Stop::Output(error)) => Err(Error::Output(error)),
        Err(Stop::Error(error)) => Err(error),
        Ok(()) => {
            let at_most = if show.lost.is_exact { "" } else { "at most " };
            stderr::say(format_args!(
                "{} execs, {} exits, {at_most}{} lost, {:.1} s",
                show.execs,
                show.exits,
                show.lost.count,
                start.elapsed().as_secs_f64()
            ));
            Ok(ExitCode::SUCCESS)
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

/// Those that are not ignored: a shell without job control starts what is in the background so, and Ctrl-C is not for it.
fn stop_signals() -> nix::Result<SignalFd> {
    let ignored = fs::read_to_string("/proc/self/status").ok().and_then(|status| ignored_signals(&status)).unwrap_or(0);
    let is_ignored = |signal: Signal| ignored >> (signal as u32 - 1) & 1 == 1;
    let signals =
        SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM].into_iter().filter(|signal| !is_ignored(*signal)));
    signals.thread_block()?;
    SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

/// A bit for each, from the lowest for signal 1 on.
fn ignored_signals(status: &str) -> Option<u128> {
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    u128::from_str_radix(line.trim(), 16).ok()
}

fn follow_events(
    cli: &Cli,
    tracer: &mut Tracer,
    signals: &SignalFd,
    show: &mut Show,
    start: Instant,
) -> Result<(), Stop> {
    let deadline = cli.duration.and_then(|duration| start.checked_add(duration));
    let mut due: Option<Instant> = tracer.watches_processors().then(|| start + INTERVAL);
    loop {
        // Whoever does not read leaves events in the kernel's buffer, where those that find no room are counted.
        let drained = show.output.is_full() || show.batch(tracer)?;
        if show.is_complete() {
            break;
        }
        let now = Instant::now();
        if deadline.is_some_and(|deadline| now >= deadline) {
            break;
        }
        if due.is_some_and(|due| now >= due) {
            tracer.follow_processors()?;
            show.lost(tracer)?;
            due = tracer.watches_processors().then(|| now + INTERVAL);
        }
        // Losses come with events: where there are none, there is nothing to wake up for.
        if show.batch_had_events {
            due.get_or_insert(now + INTERVAL);
        }
        let wake = match (drained, [deadline, due].into_iter().flatten().min()) {
            (false, _) => Some(Duration::ZERO),
            (true, wake) => wake.map(|wake| wake.saturating_duration_since(now)),
        };
        match wait(Some(tracer), signals, &show.output, wake)? {
            Wake::Signal => break,
            Wake::ReaderGone => return Err(Stop::ReaderGone),
            Wake::Other => show.output.write_some()?,
        }
    }
    // What happened until now is still shown, and nothing later: else a busy machine would never let us go.
    tracer.detach();
    finish(tracer, signals, show)
}

/// Shows what is there, as long as it is taken.
fn finish(tracer: &mut Tracer, signals: &SignalFd, show: &mut Show) -> Result<(), Stop> {
    let mut drained = false;
    let mut patience = Instant::now() + GRACE;
    loop {
        let before = show.output.lines_left();
        if !show.output.is_full() && !drained {
            drained = show.is_complete() || show.batch(tracer)?;
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
            match wait(None, signals, &show.output, Some(patience - now))? {
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

/// `tracer`: none if no more events are wanted.
fn wait(tracer: Option<&Tracer>, signals: &SignalFd, output: &Output, timeout: Option<Duration>) -> Result<Wake, Stop> {
    // Errors are always reported, and that its reader has gone is one.
    let room = if output.is_empty() { PollFlags::empty() } else { PollFlags::POLLOUT };
    let mut fds = vec![PollFd::new(output.as_fd(), room)];
    if let Some(tracer) = tracer {
        fds.push(PollFd::new(signals.as_fd(), PollFlags::POLLIN));
        if !output.is_full() {
            fds.extend(tracer.fds().into_iter().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        }
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
    if fds.get(1).is_some_and(|signals| tracer.is_some() && ready(signals).contains(PollFlags::POLLIN)) {
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
    filter: Filter,
    /// How many may still be shown.
    left: Option<u64>,
    batch_had_events: bool,
    execs: u64,
    exits: u64,
    /// What was said of it.
    lost: Lost,
    /// --pid
    follows: bool,
}

impl Show {
    fn new(cli: &Cli) -> io::Result<Self> {
        Ok(Self {
            output: Output::stdout()?,
            json: cli.json,
            filter: Filter::new(cli),
            left: cli.count,
            batch_had_events: false,
            execs: 0,
            exits: 0,
            lost: Lost { is_exact: true, ..Lost::default() },
            follows: !cli.pid.is_empty(),
        })
    }

    fn begin(&mut self) -> Result<(), Stop> {
        if !self.json {
            text::write_header(&mut self.output)?;
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

    fn event(&mut self, clock: Clock, event: &Event<'_>) -> Result<(), Stop> {
        if !self.filter.admits(event) {
            return Ok(());
        }
        match event {
            Event::Exec(_) => self.execs += 1,
            Event::Exit(_) => self.exits += 1,
        }
        if let Some(left) = &mut self.left {
            *left -= 1;
        }
        let time = clock.wall_time(event.process().time_ns);
        if self.json {
            json::write_event(&mut self.output, time, event)?;
        } else {
            text::write_event(&mut self.output, time, event)?;
        }
        Ok(())
    }

    /// Says so if events were lost since the last time.
    fn lost(&mut self, tracer: &Tracer) -> Result<(), Stop> {
        let mut lost = tracer.lost()?;
        // What a filter would have left out is among them.
        lost.is_exact &= lost.count == 0 || !self.filter.is_selective();
        let before = std::mem::replace(&mut self.lost, lost);
        let new = lost.count.saturating_sub(before.count);
        let at_most = if lost.is_exact { "" } else { "at most " };
        let is_new_processor = lost.is_blind && !before.is_blind;
        if is_new_processor {
            stderr::say(format_args!(
                "a processor was switched on, and what happened there until now was not seen: {at_most}{new} events lost"
            ));
        }
        if new == 0 {
            return Ok(());
        }
        let hidden = lost.hidden.saturating_sub(before.hidden);
        if hidden > 0 {
            stderr::say(format_args!(
                "{hidden} execs lost, for another program's BPF on the same tracepoint returns 0 and keeps them away: \
                 stop that program"
            ));
        }
        if new > hidden && !is_new_processor {
            let descendants = if self.follows && tracer.forgets() {
                ", and descendants that began meanwhile may not be followed"
            } else {
                ""
            };
            stderr::say(format_args!(
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
            let had_one = tracer.next(&mut |event| more = u64::from(self.filter.admits(event)))?;
            unwritten += more;
            if !had_one && !tracer.has_more() {
                break;
            }
        }
        self.lost = tracer.lost()?;
        self.lost.count += unwritten;
        stderr::say(format_args!("{unwritten} lines were not written, for nobody takes them from standard output"));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::raise;

    use super::*;

    #[test]
    fn a_signal_waits_until_it_is_asked_for() {
        let signals = stop_signals().unwrap();
        let is_ready = || {
            let mut fds = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
            poll(&mut fds, PollTimeout::ZERO).unwrap() == 1
        };
        assert!(!is_ready());
        // To this thread alone, where it is blocked.
        raise(Signal::SIGTERM).unwrap();
        assert!(is_ready());
    }

    #[test]
    fn ignored_signals_are_read_from_proc() {
        assert_eq!(ignored_signals("SigBlk:\t0\nSigIgn:\t0000000000000002\n"), Some(2));
        // mips has 128 of them.
        assert_eq!(ignored_signals(&format!("SigIgn:\t{}\n", "f".repeat(32))), Some(u128::MAX));
        assert_eq!(ignored_signals(""), None);
    }
}
