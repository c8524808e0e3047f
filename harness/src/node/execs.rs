//! Which programs does a process start, and with which words?
//!
//! The kernel tells of each fork, exec and exit over a netlink socket (the process
//! connector, `linux/cn_proc.h`; since 2.6.15, where it was configured). So helpers
//! that live for a millisecond are seen, which a look at `/proc` now and then would
//! miss. It takes CAP_NET_ADMIN, and the initial network and user namespaces; pids are
//! those of the initial pid namespace.
//!
//! A thread reads the arguments right after each exec of the family that is watched:
//! the process and all that descends from it, also where a parent has ended since.

use std::collections::HashSet;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::process::{self, ProcessId};

/// From `linux/connector.h` and `linux/cn_proc.h`.
const CN_IDX_PROC: u32 = 1;
const CN_VAL_PROC: u32 = 1;
const PROC_CN_MCAST_LISTEN: u32 = 1;
const PROC_EVENT_FORK: u32 = 0x1;
const PROC_EVENT_EXEC: u32 = 0x2;
const PROC_EVENT_EXIT: u32 = 0x8000_0000;
/// `struct nlmsghdr`, then `struct cn_msg` without its data.
const NETLINK_HEADER: usize = 16;
const CONNECTOR_HEADER: usize = 20;
/// Of `struct proc_event`: what, cpu, timestamp.
const EVENT_HEADER: usize = 16;

/// How many are kept: a driver gone mad must not fill our memory.
const MOST: usize = 100_000;
/// How often the thread looks whether it shall end, in milliseconds.
const TICK: u8 = 100;

/// A program that was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// When we learned of it.
    pub at: Instant,
    /// Who it is.
    pub pid: u32,
    /// Its arguments, its own name first; empty where it had ended before it could be
    /// read.
    pub words: Vec<OsString>,
}

#[derive(Debug, Default)]
struct State {
    roots: HashSet<u32>,
    family: HashSet<u32>,
    ran: Vec<Ran>,
    lost: bool,
    stopping: bool,
}

/// Watches what a family of processes starts, until it is dropped.
#[derive(Debug)]
pub struct Execs {
    state: Arc<Mutex<State>>,
    thread: Option<JoinHandle<()>>,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Execs {
    /// Watches a process and all that descends from it.
    ///
    /// # Errors
    /// The kernel has no process connector, or does not let us have it.
    pub fn watch(root: ProcessId) -> io::Result<Self> {
        let socket = listen()?;
        let mut execs = Self {
            state: Arc::default(),
            thread: None,
        };
        execs.also(root);
        let state = execs.state.clone();
        let thread = std::thread::Builder::new()
            .name("csi-execs".to_owned())
            .spawn(move || read(&socket, &state))?;
        execs.thread = Some(thread);
        Ok(execs)
    }

    /// Watches this process too: the driver after a restart.
    pub fn also(&self, root: ProcessId) {
        let children = process::children(root.pid).unwrap_or_default();
        let mut state = lock(&self.state);
        if state.roots.insert(root.pid) {
            state.family.insert(root.pid);
            state
                .family
                .extend(children.iter().map(|child| child.id.pid));
        }
    }

    /// How many programs were started so far.
    pub fn count(&self) -> usize {
        lock(&self.state).ran.len()
    }

    /// The programs that were started after the first `from` ones.
    pub fn since(&self, from: usize) -> Vec<Ran> {
        lock(&self.state)
            .ran
            .get(from..)
            .unwrap_or_default()
            .to_vec()
    }

    /// Whether the kernel had more to tell than we could read: then some are missing.
    pub fn lost(&self) -> bool {
        lock(&self.state).lost
    }
}

impl Drop for Execs {
    fn drop(&mut self) {
        lock(&self.state).stopping = true;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A socket on which the kernel tells of processes.
fn listen() -> io::Result<OwnedFd> {
    let flags = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: a system call with plain numbers.
    let fd = unsafe { libc::socket(libc::AF_NETLINK, flags, libc::NETLINK_CONNECTOR) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just made this descriptor, and nobody else has it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: sockaddr_nl is plain data, for which all zeroes is a valid value.
    let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
    address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
    address.nl_groups = CN_IDX_PROC;
    let len = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
    // SAFETY: the address is a sockaddr_nl, and as long as told.
    let bound = unsafe { libc::bind(fd, (&raw const address).cast(), len) };
    if bound < 0 {
        return Err(io::Error::last_os_error());
    }
    let size: libc::c_int = 4 << 20;
    // SAFETY: the option's value is an int. That a smaller buffer stays is no error.
    unsafe {
        libc::setsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_RCVBUFFORCE,
            (&raw const size).cast(),
            size_of_val(&size) as libc::socklen_t,
        );
    }
    let message = subscription();
    // SAFETY: the buffer is ours and as long as told.
    let sent = unsafe { libc::send(fd, message.as_ptr().cast(), message.len(), 0) };
    if sent < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(socket)
}

/// `PROC_CN_MCAST_LISTEN`, in its two envelopes.
fn subscription() -> Vec<u8> {
    let total = NETLINK_HEADER + CONNECTOR_HEADER + 4;
    let mut message = Vec::with_capacity(total);
    // nlmsghdr: length, type and flags, sequence, port.
    message.extend((total as u32).to_ne_bytes());
    message.extend((libc::NLMSG_DONE as u16).to_ne_bytes());
    message.extend(0_u16.to_ne_bytes());
    message.extend(0_u32.to_ne_bytes());
    message.extend(0_u32.to_ne_bytes());
    // cn_msg: idx, val, seq, ack, length, flags.
    for word in [CN_IDX_PROC, CN_VAL_PROC, 0, 0] {
        message.extend(word.to_ne_bytes());
    }
    message.extend(4_u16.to_ne_bytes());
    message.extend(0_u16.to_ne_bytes());
    message.extend(PROC_CN_MCAST_LISTEN.to_ne_bytes());
    message
}

/// What the thread does.
fn read(socket: &OwnedFd, state: &Mutex<State>) {
    let mut buffer = [0_u8; 4096];
    loop {
        let readable = PollFd::new(socket.as_fd(), PollFlags::POLLIN);
        let _ = poll(&mut [readable], PollTimeout::from(TICK));
        if lock(state).stopping {
            return;
        }
        loop {
            // SAFETY: the buffer is ours and as long as told.
            let got = unsafe {
                libc::recv(
                    socket.as_raw_fd(),
                    buffer.as_mut_ptr().cast(),
                    buffer.len(),
                    0,
                )
            };
            match usize::try_from(got) {
                Ok(0) => break,
                Ok(got) => told(state, buffer.get(..got).unwrap_or_default()),
                Err(_) => match io::Error::last_os_error().raw_os_error() {
                    Some(libc::ENOBUFS) => lock(state).lost = true,
                    Some(libc::EINTR) => {}
                    _ => break,
                },
            }
        }
    }
}

/// One message of the kernel.
fn told(state: &Mutex<State>, message: &[u8]) {
    let event = message
        .get(NETLINK_HEADER + CONNECTOR_HEADER..)
        .unwrap_or_default();
    let number = |at: usize| {
        let bytes = event.get(at..at + 4)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    };
    let word = |n: usize| number(EVENT_HEADER + 4 * n).unwrap_or_default();
    match number(0) {
        // Parent pid and tgid, child pid and tgid. A thread has its process's tgid.
        Some(PROC_EVENT_FORK) => {
            let (parent, child) = (word(1), word(3));
            let mut state = lock(state);
            if state.family.contains(&parent) {
                state.family.insert(child);
            }
        }
        Some(PROC_EVENT_EXEC) => {
            let pid = word(1);
            if !lock(state).family.contains(&pid) {
                return;
            }
            // A program that has only just been started changes no mappings yet.
            let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let ran = Ran {
                at: Instant::now(),
                pid,
                words: process::arguments(&words),
            };
            let mut state = lock(state);
            if state.ran.len() < MOST {
                state.ran.push(ran);
            } else {
                state.lost = true;
            }
        }
        Some(PROC_EVENT_EXIT) => {
            let (thread, pid) = (word(0), word(1));
            if thread == pid {
                let mut state = lock(state);
                if !state.roots.contains(&pid) {
                    state.family.remove(&pid);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pid of a fork, an exec or an exit, as the kernel writes them.
    fn event(what: u32, words: [u32; 4]) -> Vec<u8> {
        let mut message = vec![0; NETLINK_HEADER + CONNECTOR_HEADER];
        message.extend(what.to_ne_bytes());
        message.extend([0; EVENT_HEADER - 4]);
        words
            .iter()
            .for_each(|word| message.extend(word.to_ne_bytes()));
        message
    }

    #[test]
    fn a_family_grows_by_its_forks_and_outlives_a_parent() {
        let state = Mutex::new(State::default());
        lock(&state).family.insert(7);
        told(&state, &event(PROC_EVENT_FORK, [7, 7, 8, 8]));
        told(&state, &event(PROC_EVENT_EXIT, [8, 8, 0, 0]));
        told(&state, &event(PROC_EVENT_FORK, [7, 7, 9, 9]));
        told(&state, &event(PROC_EVENT_EXIT, [11, 9, 0, 0]));
        told(&state, &event(PROC_EVENT_FORK, [9, 9, 10, 10]));
        told(&state, &event(PROC_EVENT_FORK, [1, 1, 12, 12]));
        let mut family: Vec<_> = lock(&state).family.iter().copied().collect();
        family.sort_unstable();
        assert_eq!(family, [7, 9, 10]);
    }
}
