//! The main loop: waits for events, and shows them until it is told to stop.

use std::{
    io::{self, BufWriter, StdoutLock, Write as _},
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
    json, stderr, text,
    tracer::Tracer,
};

/// So often at most is the counter of lost events read.
const LOST_INTERVAL: Duration = Duration::from_secs(1);
/// Events shown before signals and the clock are looked at again, should the ring buffer never be empty.
const BATCH: usize = 256;

pub(crate) fn run(cli: &Cli) -> Result<ExitCode, Error> {
    // From here on a signal waits until the loop asks for it, so that none is missed.
    let signals = stop_signals().map_err(|errno| Error::System { call: "signalfd", error: errno.into() })?;
    let mut tracer = begin::tracer(cli)?;
    if cli.verbose {
        stderr::say("tracing");
    }

    let start = Instant::now();
    let mut output = Output::new(cli);
    let result = match output.begin() {
        Ok(()) => follow_events(cli, &mut tracer, &signals, &mut output, start),
        Err(error) => Err(error),
    };
    match result {
        // Whoever read our output has had enough, and wants no summary either.
        Err(Stop::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(Stop::ReaderGone) => Ok(ExitCode::SUCCESS),
        Err(Stop::Output(error)) => Err(Error::Output(error)),
        Err(Stop::Error(error)) => Err(error),
        Ok(()) => {
            stderr::say(format_args!(
                "{} execs, {} exits, {} lost, {:.1} s",
                output.execs,
                output.exits,
                output.lost,
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

fn stop_signals() -> nix::Result<SignalFd> {
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
    signals.thread_block()?;
    SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

fn follow_events(
    cli: &Cli,
    tracer: &mut Tracer,
    signals: &SignalFd,
    output: &mut Output,
    start: Instant,
) -> Result<(), Stop> {
    let deadline = cli.duration.and_then(|duration| start.checked_add(duration));
    let mut lost_due: Option<Instant> = None;
    loop {
        let drained = output.show_batch(tracer)?;
        if output.is_complete() {
            break;
        }
        let now = Instant::now();
        if deadline.is_some_and(|deadline| now >= deadline) {
            break;
        }
        if lost_due.is_some_and(|due| now >= due) {
            output.show_lost(tracer)?;
            lost_due = None;
        }
        // Losses come with events: where there are none, there is nothing to wake up for.
        if output.batch_had_events {
            lost_due.get_or_insert(now + LOST_INTERVAL);
        }
        let wake = match (drained, [deadline, lost_due].into_iter().flatten().min()) {
            (false, _) => Some(Duration::ZERO),
            (true, wake) => wake.map(|wake| wake.saturating_duration_since(now)),
        };
        match wait(tracer, signals, wake)? {
            Wake::Signal => break,
            Wake::ReaderGone => return Err(Stop::ReaderGone),
            Wake::Other => {}
        }
    }
    // What happened until now is still shown, and nothing later: else a busy machine would never let us go.
    tracer.detach();
    while !output.is_complete() && !output.show_batch(tracer)? {}
    output.show_lost(tracer)?;
    Ok(output.flush()?)
}

enum Wake {
    Signal,
    ReaderGone,
    /// Events, or the time has come.
    Other,
}

fn wait(tracer: &Tracer, signals: &SignalFd, timeout: Option<Duration>) -> Result<Wake, Stop> {
    let stdout = io::stdout();
    let mut fds = vec![
        PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        // Nothing asked for: errors are always reported, and that its reader has gone is one.
        PollFd::new(stdout.as_fd(), PollFlags::empty()),
    ];
    fds.extend(tracer.fds().into_iter().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
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
    if ready(&fds[0]).contains(PollFlags::POLLIN) {
        Ok(Wake::Signal)
    } else if ready(&fds[1]).intersects(PollFlags::POLLERR | PollFlags::POLLHUP) {
        Ok(Wake::ReaderGone)
    } else {
        Ok(Wake::Other)
    }
}

struct Output {
    out: BufWriter<StdoutLock<'static>>,
    json: bool,
    filter: Filter,
    /// How many may still be shown.
    left: Option<u64>,
    batch_had_events: bool,
    execs: u64,
    exits: u64,
    lost: u64,
    /// --pid
    follows: bool,
}

impl Output {
    fn new(cli: &Cli) -> Self {
        Self {
            out: BufWriter::new(io::stdout().lock()),
            json: cli.json,
            filter: Filter::new(cli),
            left: cli.count,
            batch_had_events: false,
            execs: 0,
            exits: 0,
            lost: 0,
            follows: !cli.pid.is_empty(),
        }
    }

    fn begin(&mut self) -> Result<(), Stop> {
        if !self.json {
            text::write_header(&mut self.out)?;
        }
        Ok(self.flush()?)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// --count is reached.
    fn is_complete(&self) -> bool {
        self.left == Some(0)
    }

    /// Shows what is there, up to [`BATCH`] events, and whether that was all.
    fn show_batch(&mut self, tracer: &mut Tracer) -> Result<bool, Stop> {
        let mut clock = None;
        self.batch_had_events = false;
        for _ in 0..BATCH {
            let mut shown = Ok(());
            let had_one = tracer.next(&mut |event| {
                shown = self.show(*clock.get_or_insert_with(Clock::read), event);
            })?;
            shown?;
            if !had_one {
                self.flush()?;
                return Ok(!tracer.has_more());
            }
            self.batch_had_events = true;
            if self.is_complete() {
                break;
            }
        }
        self.flush()?;
        Ok(false)
    }

    fn show(&mut self, clock: Clock, event: &Event<'_>) -> Result<(), Stop> {
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
            json::write_event(&mut self.out, time, event)?;
        } else {
            text::write_event(&mut self.out, time, event)?;
        }
        Ok(())
    }

    /// Says so if events were lost since the last time.
    fn show_lost(&mut self, tracer: &Tracer) -> Result<(), Stop> {
        let lost = tracer.lost()?;
        let new = lost.saturating_sub(self.lost);
        if new > 0 {
            self.lost = lost;
            let descendants = if self.follows && tracer.forgets() {
                ", and descendants that began meanwhile may not be followed"
            } else {
                ""
            };
            stderr::say(format_args!(
                "{new} events lost, for the buffer was full{descendants}: a larger --buffer may help"
            ));
            if self.json {
                json::write_lost(&mut self.out, WallTime::now(), new)?;
                self.flush()?;
            }
        }
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
}
