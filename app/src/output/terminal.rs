//! What a terminal gets besides text: colours, and the header again after each screenful.

use std::{
    env,
    ffi::OsString,
    io::IsTerminal as _,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd},
};

/// Of a terminal that does not say how many lines it has.
const USUAL_ROWS: u16 = 24;

pub(crate) struct Terminal {
    pub(crate) has_colors: bool,
    /// So many lines until the header has left the screen.
    left: u16,
}

impl Terminal {
    /// None if the output is anything else. It has a header already.
    pub(crate) fn of(output: impl AsFd) -> Option<Self> {
        let output = output.as_fd();
        let has_colors = has_colors(|name| env::var_os(name));
        output.is_terminal().then(|| Self { has_colors, left: lines_below_header(output) })
    }

    /// Counts one line more, and whether it needs the header above it.
    pub(crate) fn needs_header(&mut self, output: impl AsFd) -> bool {
        let is_gone = self.left == 0;
        if is_gone {
            self.left = lines_below_header(output.as_fd());
        }
        self.left -= 1;
        is_gone
    }
}

fn lines_below_header(output: BorrowedFd<'_>) -> u16 {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the call fills the struct, which is alive. Where it fails, the struct is as it was.
    unsafe { libc::ioctl(output.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    let rows = size.ws_row;
    // The last one is empty.
    if rows == 0 { USUAL_ROWS - 2 } else { rows.saturating_sub(2).max(1) }
}

/// As https://no-color.org has it.
fn has_colors(variable: impl Fn(&str) -> Option<OsString>) -> bool {
    variable("NO_COLOR").is_none_or(|value| value.is_empty())
        && variable("TERM").is_some_and(|term| !term.is_empty() && term != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colors_are_for_terminals_that_have_them_and_users_who_want_them() {
        let with = |no_color: Option<&str>, term: Option<&str>| {
            has_colors(|name| if name == "NO_COLOR" { no_color } else { term }.map(OsString::from))
        };
        assert!(with(None, Some("xterm")) && with(Some(""), Some("xterm")));
        assert!(!with(Some("1"), Some("xterm")));
        assert!(!with(None, Some("dumb")) && !with(None, None));
    }

    #[test]
    fn the_header_comes_again_after_a_screenful() {
        let (reader, _writer) = std::io::pipe().unwrap();
        assert!(Terminal::of(&reader).is_none());
        let mut terminal = Terminal { has_colors: false, left: 1 };
        let needed: Vec<bool> = (0..USUAL_ROWS).map(|_| terminal.needs_header(&reader)).collect();
        let at: Vec<usize> = (0..needed.len()).filter(|&line| needed[line]).collect();
        assert_eq!(at, [1, 23]);
    }
}
