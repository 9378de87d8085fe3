//! What the kernel reports over netlink, which takes neither BPF, nor BTF, nor tracefs.

mod connector;
mod taskstats;

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use nix::{
    errno::Errno,
    sys::socket::{self, MsgFlags, NetlinkAddr, sockopt},
};

pub(crate) use self::{
    connector::Users,
    taskstats::{Report, Taskstats},
};

/// linux/netlink.h
const NLMSG_HEADER: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

struct Socket(OwnedFd);

impl Socket {
    /// `protocol`: one of linux/netlink.h, not all of which nix knows.
    fn open(protocol: i32, groups: u32, buffer_kib: u32) -> io::Result<Self> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: the call takes numbers only.
        let socket = Errno::result(unsafe { libc::socket(libc::AF_NETLINK, kind, protocol) })?;
        // SAFETY: the call gave this descriptor to us alone.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        let bytes = (buffer_kib as usize).saturating_mul(1024).min(1 << 30);
        // With CAP_NET_ADMIN, which is needed anyway.
        socket::setsockopt(&socket, sockopt::RcvBufForce, &bytes)?;
        socket::bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
        Ok(Self(socket))
    }

    fn request(&self, family: u16, command: u8, attribute: u16, value: &[u8], acknowledge: bool) -> io::Result<()> {
        let mut body = vec![command, 1, 0, 0];
        body.extend((4 + value.len() as u16).to_ne_bytes());
        body.extend(attribute.to_ne_bytes());
        body.extend(value);
        body.resize(body.len().next_multiple_of(4), 0);
        self.send(family, &body, acknowledge)
    }

    /// NLM_F_REQUEST is 1, NLM_F_ACK 4.
    fn send(&self, kind: u16, body: &[u8], acknowledge: bool) -> io::Result<()> {
        let mut message = Vec::new();
        message.extend(((NLMSG_HEADER + body.len()) as u32).to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend(if acknowledge { 5_u16 } else { 1 }.to_ne_bytes());
        message.extend([0; 8]);
        message.extend(body);
        socket::send(self.0.as_raw_fd(), &message, MsgFlags::empty())?;
        Ok(())
    }

    /// The body of the answer to a request that was sent, which is of this kind, or nothing if it is an acknowledgement.
    ///
    /// It is there when the request returns, but not always as the first message: a socket that asks for reports gets them at
    /// once, and one that has the number of a socket that was closed gets that one's, until the kernel notices.
    ///
    /// # Errors
    /// The error that the answer is.
    fn answer(&self, kind: u16) -> io::Result<Vec<u8>> {
        let mut message = [0; 8192];
        loop {
            let length = match self.receive(&mut message) {
                // Reports were lost that nobody waits for yet.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => continue,
                length => length?,
            };
            for (found, body) in messages(&message[..length]) {
                if found == NLMSG_ERROR {
                    return match i32_at(body, 0) {
                        Some(0) => Ok(Vec::new()),
                        Some(error) => Err(io::Error::from_raw_os_error(-error)),
                        None => Err(io::ErrorKind::InvalidData.into()),
                    };
                }
                if found == kind {
                    return Ok(body.to_vec());
                }
            }
        }
    }

    fn receive(&self, message: &mut [u8]) -> io::Result<usize> {
        loop {
            match socket::recv(self.0.as_raw_fd(), message, MsgFlags::empty()) {
                Err(Errno::EINTR) => {}
                result => return Ok(result?),
            }
        }
    }

    /// What this program of the classic BPF refuses stays in the kernel.
    fn set_filter(&self, program: &mut [libc::sock_filter]) -> io::Result<()> {
        let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
        // SAFETY: the program is alive during the call, and its lengths are right.
        let result = unsafe {
            libc::setsockopt(
                self.0.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_ATTACH_FILTER,
                (&raw const program).cast(),
                size_of::<libc::sock_fprog>() as libc::socklen_t,
            )
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// Kind and body of each message.
fn messages(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = u32_at(rest, 0)? as usize;
        let body = rest.get(NLMSG_HEADER..length)?;
        let kind = u16::from_ne_bytes(rest.get(4..6)?.try_into().ok()?);
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, body))
    })
}

/// Kind and value of each attribute.
fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(rest.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(rest.get(2..4)?.try_into().ok()?);
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(offset..)?.get(..4)?.try_into().ok()?))
}

fn i32_at(bytes: &[u8], offset: usize) -> Option<i32> {
    u32_at(bytes, offset).map(|number| number as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_follow_one_another() {
        let message = |kind: u16, body: &[u8]| {
            let mut bytes = ((NLMSG_HEADER + body.len()) as u32).to_ne_bytes().to_vec();
            bytes.extend(kind.to_ne_bytes());
            bytes.extend([0; 10]);
            bytes.extend(body);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes
        };
        let two = [message(5, b"abc"), message(6, b"")].concat();
        assert_eq!(messages(&two).collect::<Vec<_>>(), [(5, &b"abc"[..]), (6, &b""[..])]);
        assert_eq!(messages(&two[..18]).count(), 0);
    }
}
