//! Where lines go. They are written as fast as they are taken: nothing here ever waits for a reader.

pub(crate) mod filter;
pub(crate) mod json;
pub(crate) mod summary;
pub(crate) mod terminal;
pub(crate) mod text;

use std::{
    fs::File,
    io::{self, Write},
    os::{
        fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
        unix::fs::{FileExt as _, FileTypeExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{MsgFlags, send},
};

/// What may lie here before events are left in the kernel's buffer, in bytes.
const FULL: usize = 64 * 1024;
/// As much as a pipe takes at once if it takes anything (PIPE_BUF).
const PIECE: usize = 4096;

pub(crate) struct Output {
    fd: OwnedFd,
    manner: Manner,
    /// Written to this, and not yet to `fd`.
    pending: Vec<u8>,
    /// --output
    file: Option<PathBuf>,
}

/// How to write without waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// It does not make anybody wait: a file on a disk, or one that was opened so.
    AtOnce,
    Socket,
    /// In small pieces, and only when there is room.
    Carefully,
}

impl Output {
    /// # Errors
    /// When it is closed.
    pub(crate) fn stdout() -> io::Result<Self> {
        Self::inherited(io::stdout().as_fd())
    }

    /// # Errors
    /// When it is closed.
    pub(crate) fn stderr() -> io::Result<Self> {
        Self::inherited(io::stderr().as_fd())
    }

    /// Adds to what is in a file, or makes it.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(crate) fn file(path: &Path) -> io::Result<Self> {
        let fd = append(path)?;
        let pending = if ends_within_a_line(path) { b"\n".to_vec() } else { Vec::new() };
        Ok(Self { file: Some(path.to_owned()), pending, ..Self::new(fd, Manner::AtOnce) })
    }

    /// Opens the file anew: the old one was moved away. What was not written yet goes into the new one.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(crate) fn reopen(&mut self) -> io::Result<()> {
        if let Some(path) = &self.file {
            self.fd = append(path)?;
        }
        Ok(())
    }

    fn inherited(fd: BorrowedFd<'_>) -> io::Result<Self> {
        let fd = fd.try_clone_to_owned()?;
        let kind = File::from(fd.try_clone()?).metadata()?.file_type();
        if kind.is_socket() {
            return Ok(Self::new(fd, Manner::Socket));
        }
        if !kind.is_fifo() && !kind.is_char_device() {
            return Ok(Self::new(fd, Manner::AtOnce));
        }
        // Whether writing waits is a property that all who have inherited the descriptor share. So it is opened once more.
        let again = File::options()
            .write(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(format!("/proc/self/fd/{}", fd.as_raw_fd()));
        Ok(match again {
            Ok(file) => Self::new(file.into(), Manner::AtOnce),
            Err(_) => Self::new(fd, Manner::Carefully),
        })
    }

    fn new(fd: OwnedFd, manner: Manner) -> Self {
        Self { fd, manner, pending: Vec::new(), file: None }
    }

    /// So much waits to be written that nothing should be added.
    pub(crate) fn is_full(&self) -> bool {
        self.pending.len() >= FULL
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Lines that nobody has taken, the one included of which a part is gone.
    pub(crate) fn lines_left(&self) -> u64 {
        self.pending.iter().filter(|&&byte| byte == b'\n').count() as u64
    }

    /// Writes what is taken at once.
    ///
    /// # Errors
    /// EPIPE when the reader has gone, and any other but that there is no room just now.
    pub(crate) fn write_some(&mut self) -> io::Result<()> {
        let mut written = 0;
        let result = loop {
            let rest = &self.pending[written..];
            if rest.is_empty() {
                break Ok(());
            }
            match self.write_piece(rest) {
                Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                Ok(length) => written += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        self.pending.drain(..written);
        result
    }

    fn write_piece(&self, bytes: &[u8]) -> io::Result<usize> {
        match self.manner {
            Manner::AtOnce => Ok(nix::unistd::write(&self.fd, bytes)?),
            Manner::Socket => Ok(send(self.fd.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL)?),
            Manner::Carefully => {
                let mut fds = [PollFd::new(self.fd.as_fd(), PollFlags::POLLOUT)];
                match poll(&mut fds, PollTimeout::ZERO)? {
                    0 => Err(io::ErrorKind::WouldBlock.into()),
                    _ => Ok(nix::unistd::write(&self.fd, &bytes[..bytes.len().min(PIECE)])?),
                }
            }
        }
    }
}

/// Whether the last line of a file was cut, as a full disk does.
fn ends_within_a_line(path: &Path) -> bool {
    let last = || -> io::Result<Option<u8>> {
        let kind = path.metadata()?;
        if !kind.is_file() || kind.len() == 0 {
            return Ok(None);
        }
        let mut last = [0];
        File::open(path)?.read_exact_at(&mut last, kind.len() - 1)?;
        Ok(Some(last[0]))
    };
    // What may not be read is as good as whole.
    last().ok().flatten().is_some_and(|last| last != b'\n')
}

fn append(path: &Path) -> io::Result<OwnedFd> {
    Ok(File::options().append(true).create(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?.into())
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pending.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_some()
    }
}

impl AsFd for Output {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Read as _, os::unix::net::UnixStream};

    use super::*;

    /// Writes more than anybody keeps for a reader, and then lets that read.
    fn write_to_who_does_not_read(mut output: Output, mut reader: impl io::Read) {
        let line = [b'x'; 999];
        for _ in 0..2000 {
            output.write_all(&line).unwrap();
            output.write_all(b"\n").unwrap();
            output.write_some().unwrap();
        }
        assert!(output.is_full());
        let left = output.lines_left();
        assert!(0 < left && left < 2000, "{left}");
        let mut taken = vec![0; 20_000];
        reader.read_exact(&mut taken).unwrap();
        output.write_some().unwrap();
        assert!(output.lines_left() < left);
        drop(reader);
        assert_eq!(output.write_some().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn nobody_waits_for_a_reader() {
        let (reader, writer) = io::pipe().unwrap();
        write_to_who_does_not_read(Output::new(writer.into(), Manner::Carefully), reader);
        let (reader, writer) = UnixStream::pair().unwrap();
        write_to_who_does_not_read(Output::new(writer.into(), Manner::Socket), reader);
    }

    #[test]
    fn a_file_is_added_to_and_opened_anew() {
        let folder = std::env::temp_dir().join(format!("exectrace-output-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let (path, old) = (folder.join("log"), folder.join("log.1"));
        std::fs::write(&path, "before\n").unwrap();
        let mut output = Output::file(&path).unwrap();
        for line in ["one\n", "two\n"] {
            output.write_all(line.as_bytes()).unwrap();
            output.write_some().unwrap();
            std::fs::rename(&path, &old).unwrap();
            output.reopen().unwrap();
        }
        output.write_all(b"three\n").unwrap();
        output.write_some().unwrap();
        assert_eq!(std::fs::read_to_string(&old).unwrap(), "two\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three\n");
        // A full disk has cut the last line.
        std::fs::write(&path, "{\"cut").unwrap();
        let mut output = Output::file(&path).unwrap();
        output.write_all(b"four\n").unwrap();
        output.write_some().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"cut\nfour\n");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_was_written_arrives_in_order() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut output = Output::new(writer.into(), Manner::Carefully);
        write!(output, "a\nb\n").unwrap();
        assert_eq!(output.lines_left(), 2);
        output.flush().unwrap();
        assert!(output.is_empty());
        drop(output);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "a\nb\n");
    }
}
