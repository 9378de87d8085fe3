//! Where a program is executed: the current directory of the process, and its controlling terminal.

use exectrace_bpf::exectrace::ExecFlags;

/// As it lay in the kernel's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place<'a> {
    /// The names of the current directory and of all that it is in, up to the root of the process; a NUL after each.
    names: &'a [u8],
    /// The terminal's name as its driver has it; empty if there is none.
    tty: &'a [u8],
    flags: u32,
}

impl<'a> Place<'a> {
    pub(crate) fn new(names: &'a [u8], tty: &'a [u8], flags: ExecFlags) -> Self {
        let tty = tty.strip_suffix(b"\0").unwrap_or(tty);
        Self { names, tty, flags: flags.0 }
    }

    fn has(self, flag: ExecFlags) -> bool {
        self.flags & flag.0 != 0
    }

    /// It is in more than is here.
    pub(crate) fn cwd_is_truncated(self) -> bool {
        self.has(ExecFlags::EXEC_CWD_CUT)
    }

    /// As getcwd(2) and `/proc/PID/cwd` show it to the process itself; without its beginning, if it is truncated.
    pub(crate) fn cwd(self) -> Vec<u8> {
        let mut path = Vec::new();
        if self.has(ExecFlags::EXEC_CWD_UNREACHABLE) {
            path.extend(b"(unreachable)");
        }
        for name in self.names.split(|&byte| byte == 0).rev().filter(|name| !name.is_empty()) {
            path.push(b'/');
            path.extend(name);
        }
        if self.names.is_empty() && !self.cwd_is_truncated() {
            path.push(b'/');
        }
        if self.cwd_is_truncated() && path.first() == Some(&b'/') {
            path.remove(0);
        }
        if self.has(ExecFlags::EXEC_CWD_DELETED) {
            path.extend(b" (deleted)");
        }
        path
    }

    /// The terminal's file in /dev, such as `pts/0` or `ttyS0`; empty if the process has none.
    pub(crate) fn tty(self) -> Vec<u8> {
        // The driver of pseudo-terminals counts them by number alone, and devpts is a folder.
        match self.tty.strip_prefix(b"pts") {
            Some(number) if number.first().is_some_and(u8::is_ascii_digit) => [b"pts/", number].concat(),
            _ => self.tty.to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_cwd(names: &[u8], flags: u32, expected: &str) {
        let place = Place::new(names, b"", ExecFlags(flags));
        assert_eq!(String::from_utf8(place.cwd()).unwrap(), expected);
    }

    #[test]
    fn a_path_begins_at_the_root() {
        assert_cwd(b"", 0, "/");
        assert_cwd(b"usr\0", 0, "/usr");
        assert_cwd(b"bin\0local\0usr\0", 0, "/usr/local/bin");
    }

    #[test]
    fn what_is_odd_about_it_is_shown() {
        let (cut, deleted, unreachable) =
            (ExecFlags::EXEC_CWD_CUT.0, ExecFlags::EXEC_CWD_DELETED.0, ExecFlags::EXEC_CWD_UNREACHABLE.0);
        assert_cwd(b"b\0a\0", cut, "a/b");
        assert_cwd(b"", cut, "");
        assert_cwd(b"b\0a\0", deleted, "/a/b (deleted)");
        assert_cwd(b"b\0a\0", unreachable, "(unreachable)/a/b");
        assert_cwd(b"", unreachable, "(unreachable)/");
    }

    #[test]
    fn a_terminal_has_the_name_of_its_file() {
        let name = |driver: &[u8]| String::from_utf8(Place::new(b"", driver, ExecFlags(0)).tty()).unwrap();
        assert_eq!(name(b"pts0\0"), "pts/0");
        assert_eq!(name(b"pts12\0"), "pts/12");
        assert_eq!(name(b"ttyS0\0"), "ttyS0");
        assert_eq!(name(b"tty1\0"), "tty1");
        assert_eq!(name(b""), "");
    }
}
