//! `cargo xtask completions`: what a shell loads to complete the command line.

use anyhow::Result;
use clap::CommandFactory;

use crate::flags::{Completions, Flags};
use crate::ui::screen;

/// Runs the verb.
pub fn run(request: &Completions) -> Result<()> {
    let mut text = Vec::new();
    let name = if screen::command() == crate::NAME { crate::NAME } else { "xtask" };
    clap_complete::generate(request.shell, &mut Flags::command().bin_name(name), name, &mut text);
    screen::print(&String::from_utf8(text)?)
}
