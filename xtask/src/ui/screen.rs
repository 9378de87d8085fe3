//! What the user sees while something is done: on a terminal, one live line for each thing under way; elsewhere, plain
//! lines that begin with the time.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use clap::ValueEnum;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use rustix::process::getpgrp;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};
use serde_json::Value;

use crate::NAME;
use crate::ui::table::Table;

/// How much is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Failures only.
    Quiet,
    Normal,
    /// Each command as it is started, too.
    Verbose,
}

/// The number by which a reader of a verb's JSON knows its form. Fields may be added without another.
const RESULT_SCHEMA: u32 = 1;

/// How often a plain line repeats what is under way.
const REMINDER: Duration = Duration::from_secs(20);

/// Standard error, as a person sees it.
#[derive(Debug)]
pub struct Screen {
    pub level: Level,
    /// None where there is no terminal to update: in a pipe, a file, or a terminal that cannot go back to a line.
    live: Option<MultiProgress>,
    /// How the terminal was before.
    terminal: Option<Termios>,
}

impl Screen {
    pub fn new(level: Level) -> Screen {
        let watched = console::user_attended_stderr() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let live = (watched && level > Level::Quiet)
            .then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10)));
        let terminal = live.as_ref().and_then(|_| hide_control_characters());
        Screen { level, live, terminal }
    }

    /// A line on standard error, as it is. A closed standard error is no reason to stop.
    pub fn eprintln(&self, line: &str) {
        let line = in_words_of_caller(line);
        let print = || drop(writeln!(io::stderr(), "{line}"));
        match &self.live {
            Some(live) => live.suspend(print),
            None => print(),
        }
    }

    /// A line on standard error, behind our name: what is done now. Not with `--quiet`.
    pub fn status(&self, line: &str) {
        match self.live {
            _ if self.level == Level::Quiet => {}
            Some(_) => self.eprintln(&format!("{NAME}: {line}")),
            None => self.eprintln(&format!("{} {NAME}: {line}", humantime::format_rfc3339_seconds(SystemTime::now()))),
        }
    }

    /// Starts a progress line, which disappears when the returned value is dropped.
    pub fn line(&self, name: &str) -> Line<'_> {
        let bar = self.live.as_ref().map(|live| {
            let bar = live.add(ProgressBar::no_length());
            bar.set_style(style());
            bar.set_prefix(name.to_owned());
            bar.enable_steady_tick(Duration::from_millis(250));
            bar
        });
        Line { screen: self, name: name.into(), bar, printed: Mutex::new(Instant::now()) }
    }

    /// A line on standard output: what came out. Not with `--quiet`.
    pub fn println(&self, line: &str) {
        if self.level > Level::Quiet {
            let _ = writeln!(io::stdout(), "{}", in_words_of_caller(line));
        }
    }

    /// What came out, on standard output: the first of these tables that fits, or else the last.
    pub fn table(&self, tables: &[Table]) {
        let width = width().unwrap_or(usize::MAX);
        if let Some(table) = tables.iter().find(|table| table.width() <= width).or(tables.last()) {
            table.lines().iter().for_each(|line| self.println(line));
        }
    }

    /// Removes every live line, at the end of the run.
    pub fn clear(&self) {
        if let Some(live) = &self.live {
            let _ = live.clear();
        }
        self.restore_terminal();
    }

    /// Gives the terminal back as it was.
    pub fn restore_terminal(&self) {
        if let Some(terminal) = &self.terminal {
            let _ = tcsetattr(io::stderr(), OptionalActions::Now, terminal);
        }
    }
}

/// The columns of standard output, if it is a terminal.
pub fn width() -> Option<usize> {
    console::Term::stdout().size_checked().map(|(_, columns)| columns.into())
}

/// What was asked for, on standard output, whatever the level.
pub fn print(text: &str) -> Result<()> {
    match io::stdout().write_all(in_words_of_caller(text).as_bytes()) {
        // Whoever read it has had enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to standard output"),
    }
}

/// What came out of a verb, as JSON on standard output, whatever the level. Its form is in docs/commands.md.
pub fn print_result(mut result: Value) -> Result<()> {
    result["schema"] = RESULT_SCHEMA.into();
    print(&format!("{result:#}\n"))
}

/// A text without characters that do something to a terminal: names in a file are anybody's.
pub fn plain(text: &str) -> String {
    let escape = |char: char| match char {
        '"' | '\'' | '\\' => char.to_string(),
        _ => char.escape_debug().to_string(),
    };
    text.chars().map(escape).collect()
}

/// Prints help, or what is wrong with the command line. Gives the exit code.
pub fn usage(error: &clap::Error) -> ExitCode {
    let text = error.render();
    let has_colors = if error.use_stderr() { has_colors() } else { console::colors_enabled() };
    let text = if has_colors { text.ansi().to_string() } else { text.to_string() };
    // Whoever does not read it does not need it.
    let _ = match error.use_stderr() {
        true => io::stderr().write_all(in_words_of_caller(&text).as_bytes()),
        false => io::stdout().write_all(in_words_of_caller(&text).as_bytes()),
    };
    u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// How this tool was called: `cargo xtask`, `cargo ship` in a workspace whose `xtask` is for other work, or `bpfship` where it
/// is a program of its own.
pub fn command() -> &'static str {
    static COMMAND: OnceLock<String> = OnceLock::new();
    COMMAND.get_or_init(|| {
        let program = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
        match program.file_name().and_then(OsStr::to_str) {
            Some(NAME) => NAME.into(),
            Some(name) if name.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_".contains(letter)) => {
                format!("cargo {name}")
            }
            _ => CARGO_XTASK.into(),
        }
    })
}

/// The command as sentences have it.
const CARGO_XTASK: &str = "cargo xtask";

/// A text that calls this tool what its user called it.
pub fn in_words_of_caller(text: &str) -> Cow<'_, str> {
    match text.contains(CARGO_XTASK) && command() != CARGO_XTASK {
        true => text.replace(CARGO_XTASK, command()).into(),
        false => text.into(),
    }
}

/// A number of bytes, for people.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} kB", bytes.div_ceil(1000)),
        1_000_000..999_500_000 => format!("{:.0} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

/// Keeps the terminal from showing a Ctrl-C as `^C`, which would push live lines up and leave one of them behind. Gives
/// what it was like before.
fn hide_control_characters() -> Option<Termios> {
    // A process in the background that changed the terminal would be stopped.
    if tcgetpgrp(io::stderr()).ok()? != getpgrp() {
        return None;
    }
    let before = tcgetattr(io::stderr()).ok()?;
    let mut changed = before.clone();
    changed.local_modes.remove(LocalModes::ECHOCTL);
    tcsetattr(io::stderr(), OptionalActions::Now, &changed).ok()?;
    Some(before)
}

fn style() -> ProgressStyle {
    let style = ProgressStyle::with_template("{prefix:8.cyan} {elapsed:>4.dim}  {wide_msg}");
    style.unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// The progress of one task.
#[derive(Debug)]
pub struct Line<'a> {
    screen: &'a Screen,
    name: String,
    bar: Option<ProgressBar>,
    /// When a plain line was last printed.
    printed: Mutex<Instant>,
}

impl Line<'_> {
    /// Prints what is done now.
    pub fn set(&self, text: &str) {
        let Some(bar) = &self.bar else {
            let mut printed = self.printed.lock().unwrap();
            if printed.elapsed() >= REMINDER {
                *printed = Instant::now();
                self.screen.status(&format!("{}: {text}", self.name));
            }
            return;
        };
        bar.set_message(text.to_owned());
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    Always,
    Never,
}

/// Decides about colours for this process: by the flag, or cargo's own variable, or NO_COLOR, CLICOLOR and
/// CLICOLOR_FORCE, and then by whether it is a terminal.
pub fn choose_colors(color: Option<Color>) {
    let cargo = std::env::var("CARGO_TERM_COLOR").unwrap_or_default();
    let choice = match color.or_else(|| Color::from_str(&cargo, false).ok()) {
        Some(Color::Always) => true,
        Some(Color::Never) => false,
        Some(Color::Auto) | None => return,
    };
    console::set_colors_enabled(choice);
    console::set_colors_enabled_stderr(choice);
}

/// Whether what goes to standard error may have colours.
pub fn has_colors() -> bool {
    console::colors_enabled_stderr()
}

/// What an error begins with.
pub fn error_word() -> String {
    console::style("error:").for_stderr().red().bold().to_string()
}
