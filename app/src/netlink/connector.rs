//! The proc connector: changes of user (CONFIG_PROC_EVENTS).

use std::io;

use super::{NLMSG_DONE, NLMSG_HEADER, Socket, i32_at, messages, u32_at};
use crate::perf_ring::{Content, Sample};

/// linux/cn_proc.h
const CN_IDX_PROC: u32 = 1;
const CN_MESSAGE: usize = 20;
const PROC_CN_MCAST_LISTEN: u32 = 1;
const PROC_EVENT_NONE: u32 = 0;
const PROC_EVENT_UID: u32 = 4;

/// The proc connector, for changes of user only.
pub(crate) struct Users {
    socket: Socket,
    overruns: u64,
}

impl Users {
    /// Every change of user after this returns is reported.
    ///
    /// # Errors
    /// EPROTONOSUPPORT if this kernel has none; EPERM without CAP_NET_ADMIN, or in another namespace than the first.
    pub(crate) fn start(buffer_kib: u32) -> io::Result<Self> {
        let socket = Socket::open(libc::NETLINK_CONNECTOR, CN_IDX_PROC, buffer_kib)?;
        only_changes_of_user(&socket)?;
        socket.send(NLMSG_DONE, &listen(), false)?;
        let mut message = [0; 1024];
        // The answer is there when the request returns: else nothing would be reported, and nobody would notice.
        loop {
            let length = socket.receive(&mut message)?;
            match messages(&message[..length]).find_map(|(_, body)| answer(body)) {
                None => {}
                Some(0) => return Ok(Self { socket, overruns: 0 }),
                Some(error) => return Err(io::Error::from_raw_os_error(error)),
            }
        }
    }

    /// Adds what has come.
    pub(crate) fn read(&mut self, samples: &mut Vec<Sample>) {
        let mut message = [0; 1024];
        loop {
            match self.socket.receive(&mut message) {
                Ok(length) => {
                    samples.extend(messages(&message[..length]).filter_map(|(_, body)| change_of_user(body)));
                }
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => self.overruns += 1,
                Err(_) => return,
            }
        }
    }

    pub(crate) fn overruns(&self) -> u64 {
        self.overruns
    }
}

/// A struct cn_msg with its one word.
fn listen() -> Vec<u8> {
    let mut message = Vec::new();
    // To whom, and numbers of ours.
    for word in [CN_IDX_PROC, 1, 0, 0] {
        message.extend(word.to_ne_bytes());
    }
    // The length of what follows, and flags.
    for half in [size_of::<u32>() as u16, 0] {
        message.extend(half.to_ne_bytes());
    }
    message.extend(PROC_CN_MCAST_LISTEN.to_ne_bytes());
    message
}

/// The error number in the answer to a request, 0 if it was granted.
fn answer(message: &[u8]) -> Option<i32> {
    let event = message.get(CN_MESSAGE..)?;
    if u32_at(event, 0)? == PROC_EVENT_NONE { i32_at(event, 16) } else { None }
}

/// struct proc_event, behind a struct cn_msg: what, processor, time, and then thread, process, real and effective user.
fn change_of_user(message: &[u8]) -> Option<Sample> {
    let event = message.get(CN_MESSAGE..)?;
    if u32_at(event, 0)? != PROC_EVENT_UID {
        return None;
    }
    Some(Sample {
        time_ns: u64::from_ne_bytes(event.get(8..16)?.try_into().ok()?),
        tid: u32_at(event, 16)?,
        pid: u32_at(event, 20)?,
        content: Content::UserSet(u32_at(event, 24)?),
    })
}

/// All else that the connector reports (every fork, exec and exit) stays in the kernel.
fn only_changes_of_user(socket: &Socket) -> io::Result<()> {
    let filter = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut program = [
        // The filter reads in network byte order.
        filter(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, (NLMSG_HEADER + CN_MESSAGE) as u32),
        filter(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, 0, PROC_EVENT_NONE.to_be()),
        filter(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, PROC_EVENT_UID.to_be()),
        filter(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
        filter(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
    ];
    socket.set_filter(&mut program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_user_is_read() {
        let mut event = vec![0; CN_MESSAGE];
        for word in [PROC_EVENT_UID, 0, 9_u32.to_le(), 9_u32.to_be(), 8, 7, 1000, 0] {
            event.extend(word.to_ne_bytes());
        }
        let sample = change_of_user(&event).unwrap();
        assert_eq!((sample.pid, sample.tid, sample.content), (7, 8, Content::UserSet(1000)));
        event[CN_MESSAGE] ^= 1;
        assert_eq!(change_of_user(&event), None);
    }

    #[test]
    fn the_request_has_its_length_where_the_kernel_reads_it() {
        // struct cn_msg: idx, val, seq, ack, len (16 bits), flags (16 bits), data.
        let message = listen();
        assert_eq!(message.len(), CN_MESSAGE + 4);
        assert_eq!(message[16..18], 4_u16.to_ne_bytes());
        assert_eq!(message[18..20], [0; 2]);
        assert_eq!(message[20..], PROC_CN_MCAST_LISTEN.to_ne_bytes());
    }

    #[test]
    fn an_answer_is_no_change_of_user() {
        let event = |what: u32| {
            let words = [what, 0, 0, 0, libc::EPERM as u32];
            [vec![0; CN_MESSAGE], words.iter().flat_map(|word| word.to_ne_bytes()).collect()].concat()
        };
        assert_eq!(answer(&event(PROC_EVENT_NONE)), Some(libc::EPERM));
        assert_eq!(answer(&event(PROC_EVENT_UID)), None);
        assert_eq!(answer(&event(PROC_EVENT_NONE)[..38]), None);
    }
}
