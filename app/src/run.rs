//! The main loop: waits for events, and shows them until it is to stop.

use std::{
    io,
    os::fd::AsFd as _,
    process::ExitCode,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use crate::{
    backend::tracer::Tracer,
    cli::Cli,
    clock::monotonic_ns,
    command::Running,
    diag,
    error::Error,
    output::Output,
    show::{Show, Stop},
    signals::{Asked, Signals},
    start,
};

/// So often at most it is looked whether events were lost, and processors switched on.
const INTERVAL: Duration = Duration::from_secs(1);
/// So long events gather before they are looked at again.
const PAUSE: Duration = Duration::from_millis(4);
/// So long events wait that cannot be shown yet.
const MOMENT: Duration = Duration::from_millis(1);
/// So long a reader that takes nothing is waited for at the end.
const GRACE: Duration = Duration::from_millis(500);

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
            let uncounted = if show.lost.is_incomplete { " and some not counted" } else { "" };
            diag::note(format_args!(
                "{}, {}, {at_most}{} lost{uncounted}, {:.1} s",
                diag::counted(show.execs, "exec"),
                diag::counted(show.exits, "exit"),
                show.lost.count,
                start.elapsed().as_secs_f64()
            ));
            Ok(code)
        }
    }
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
            _ => (Some(&*tracer), [wake, tracer.look_after()].into_iter().flatten().min()),
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
    fds.extend(signals.map(|signals| PollFd::new(signals.as_fd(), PollFlags::POLLIN)));
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
