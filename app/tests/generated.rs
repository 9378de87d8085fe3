//! Shell completions and the man page, which are checked in: what is there is what the command line generates.

use std::{env, fs, path::Path};

use clap::{CommandFactory as _, ValueHint};
use clap_complete::{Generator, Shell};
use clap_mangen::Man;

// A binary has no library to take it from. Its own tests are run here once more.
#[path = "../src/cli.rs"]
mod cli;

const UPDATE: &str = "UPDATE_GENERATED=1 cargo test --package exectrace --test generated";

/// In place of --help's one sentence. Each sentence begins a line, as roff wants it.
const DESCRIPTION: &str = "\
exectrace shows every program that a Linux machine runs: who started it, with which arguments, and how it ended.
Events are shown as they happen, one a line: as text for people, or with --json for programs.

Tracing ends with Ctrl-C or SIGTERM, with --duration or --count, with the last process of --pid or the command, and a \
summary on standard error; or without a word \
when the reader of the output has gone, as in exectrace | head.";

/// In place of --help's one line.
const USAGE: &str = "\
exectrace [OPTION]...
exectrace [OPTION]... -- COMMAND [ARGUMENT]...
exectrace --preflight [--json]
exectrace --self-test [--buffer KIB] [--verbose]
exectrace --version";

/// What follows the options.
const SECTIONS: &str = include_str!("../man/sections.roff");

#[test]
fn completions_and_man_page_are_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut stale = generate().to_vec();
    stale.retain(|(path, text)| fs::read_to_string(root.join(path)).ok().as_ref() != Some(text));
    if env::var_os("UPDATE_GENERATED").is_some() {
        for (path, text) in stale {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        return;
    }
    let paths: Vec<_> = stale.iter().map(|(path, _)| *path).collect();
    assert!(paths.is_empty(), "not what app/src/cli.rs and app/man say: {}: run {UPDATE}", paths.join(", "));
}

/// All generated files: paths in the workspace, and what is in each.
fn generate() -> [(&'static str, String); 4] {
    [
        ("app/completions/exectrace.bash", completions(Shell::Bash)),
        ("app/completions/_exectrace", completions(Shell::Zsh)),
        ("app/completions/exectrace.fish", completions(Shell::Fish)),
        ("docs/exectrace.1", man_page()),
    ]
}

fn completions(shell: Shell) -> String {
    // Without a hint, shells offer names of files, which no option takes.
    let mut command = cli::Cli::command().mut_args(|arg| match arg.get_id().as_str() {
        "cgroup" => arg.value_hint(ValueHint::DirPath),
        "uid" => arg.value_hint(ValueHint::Username),
        "comm" | "command" => arg.value_hint(ValueHint::CommandName),
        "btf" | "output" => arg.value_hint(ValueHint::FilePath),
        _ if arg.get_action().takes_values() => arg.value_hint(ValueHint::Other),
        _ => arg,
    });
    command.set_bin_name("exectrace");
    command.build();
    let mut text = Vec::new();
    shell.generate(&command, &mut text);
    String::from_utf8(text).unwrap()
}

fn man_page() -> String {
    let command = cli::Cli::command()
        .override_usage(USAGE)
        .long_about(DESCRIPTION)
        .mut_args(|arg| match arg.get_id().as_str() {
            "json" => arg.help("One JSON object a line: see JSON below"),
            "duration" => arg.help("Stop after this many seconds, which may have a fraction"),
            _ => arg,
        })
        // The sections say it at greater length.
        .after_long_help(None::<&str>);
    let mut page = Vec::new();
    Man::new(command)
        .title("EXECTRACE")
        // None, in quotes: an empty one is left out, and what follows takes its place.
        .date("\"\"")
        .source("exectrace")
        .manual("User Commands")
        .render(&mut page)
        .unwrap();
    let page = String::from_utf8(page).unwrap();
    format!(".\\\" Generated from app/src/cli.rs and app/man by\n.\\\" {UPDATE}\n{page}{SECTIONS}")
}
