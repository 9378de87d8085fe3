//! What the user sees while something is done: on a terminal, one live line for each thing under way; elsewhere, plain
//! lines that begin with the time.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use clap::ValueEnum;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use rustix::process::getpgrp;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};
use serde::Serialize;
use serde_json::json;

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
pub const RESULT_SCHEMA: u32 = 1;

/// How often a plain line repeats what is under way.
const REMINDER: Duration = Duration::from_secs(20);

/// Seconds after which it is of interest how long a run took.
const NOTICED: u64 = 5;

/// Standard error, as a person sees it.
#[derive(Debug)]
pub struct Screen {
    pub level: Level,
    started: Instant,
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
        Screen { level, started: Instant::now(), live, terminal }
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

    /// What came out, on standard output: the first of these tables that fits, or else the last one without columns.
    pub fn table(&self, tables: &[Table]) {
        fitting(tables).iter().for_each(|line| self.println(line));
    }

    /// How long the run took, at its end, if anybody had to wait for it. Lines elsewhere have the time.
    pub fn finish(&self) {
        let seconds = self.started.elapsed().as_secs();
        if seconds >= NOTICED && self.live.is_some() {
            self.status(&format!("finished in {}", humantime::format_duration(Duration::from_secs(seconds))));
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

/// A path for a line on standard error: a link, on a terminal that has them.
pub fn linked(shown: &Path, file: &Path) -> String {
    let shown = shown.display();
    match file.canonicalize() {
        Ok(file) if supports_hyperlinks::on(supports_hyperlinks::Stream::Stderr) => {
            let byte = |byte: &u8| match byte {
                b'/' | b'.' | b'-' | b'_' => char::from(*byte).to_string(),
                _ if byte.is_ascii_alphanumeric() => char::from(*byte).to_string(),
                _ => format!("%{byte:02X}"),
            };
            let path: String = file.as_os_str().as_bytes().iter().map(byte).collect();
            format!("\x1b]8;;file://{path}\x1b\\{shown}\x1b]8;;\x1b\\")
        }
        _ => shown.to_string(),
    }
}

/// The lines of the first of these tables that fits on standard output, or else of the last one without columns.
fn fitting(tables: &[Table]) -> Vec<String> {
    let width = width().unwrap_or(usize::MAX);
    match (tables.iter().find(|table| table.width() <= width), tables.last()) {
        (Some(table), _) => table.lines(),
        (None, Some(last)) => last.wrapped(width),
        (None, None) => Vec::new(),
    }
}

/// The first of these tables that fits, on standard output, whatever the level: it was asked for.
pub fn print_tables(tables: &[Table]) -> Result<()> {
    let lines: Vec<String> = fitting(tables).into_iter().map(|line| line + "\n").collect();
    print(&lines.concat())
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

/// Whether standard output has its JSON already.
static HAS_RESULT: AtomicBool = AtomicBool::new(false);

/// What came out of a verb, as JSON on standard output, whatever the level. Its form is in docs/schemas/.
pub fn print_result(result: impl Serialize) -> Result<()> {
    let mut result = serde_json::to_value(result)?;
    result["schema"] = RESULT_SCHEMA.into();
    HAS_RESULT.store(true, Ordering::SeqCst);
    print(&format!("{result:#}\n"))
}

/// Why there is no result, where it was to be JSON and none was printed.
pub fn print_failure(message: &str, code: u8) {
    let words = std::env::args_os().take_while(|word| word != "--");
    if words.into_iter().any(|word| word == "--json") && !HAS_RESULT.load(Ordering::SeqCst) {
        // Whoever does not read it does not need it.
        let _ = print_result(json!({ "error": message, "code": code }));
    }
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
    let shown = if has_colors { text.ansi().to_string() } else { text.to_string() };
    let code = u8::try_from(error.exit_code()).unwrap_or(1);
    if error.use_stderr() {
        print_failure(text.to_string().trim_start_matches("error: ").trim_end(), code);
        // Whoever does not read it does not need it.
        let _ = io::stderr().write_all(in_words_of_caller(&shown).as_bytes());
    } else if let Err(error) = print(&shown) {
        eprintln!("{} {error:#}", error_word());
        return ExitCode::FAILURE;
    }
    ExitCode::from(code)
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
