//! Who is that process, does it still live, and what does it hold?
//!
//! From `/proc/PID` (proc(5)). A pid alone is nobody's name: it is given again.
//! With the moment of its start it is, until the next boot.

mod patient;

use super::block::about;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, socket, sockopt,
};
use serde::{Deserialize, Serialize};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// One process and no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProcessId {
    /// Its pid in our namespace.
    pub pid: u32,
    /// When it was started, in clock ticks since boot.
    pub start_ticks: u64,
}

/// What `/proc/PID/stat` says of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Who it is.
    pub id: ProcessId,
    /// The pid of its parent.
    pub parent: u32,
    /// Its process group: the pid of the leader, who may have ended.
    pub group: u32,
    /// `R`, `S`, `D` (waits in the kernel and cannot be killed), `Z` (zombie),
    /// `T`, …
    pub state: char,
    /// The name of its program, cut to 15 bytes.
    pub comm: String,
    /// How many threads it has.
    pub threads: u64,
}

/// A process's file in /proc.
fn file(pid: u32, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{name}"))
}

impl Process {
    /// The process that has this pid now.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub fn of(pid: u32) -> io::Result<Self> {
        let file = file(pid, "stat");
        let stat = std::fs::read(&file).map_err(|e| about(&file, &gone(e)))?;
        Self::parse(&stat).ok_or_else(|| about(&file, &io::ErrorKind::InvalidData.into()))
    }

    /// Reads a line of /proc/PID/stat. The name stands in parentheses and may
    /// hold some itself, so the last one ends it.
    fn parse(stat: &[u8]) -> Option<Self> {
        let open = stat.iter().position(|&b| b == b'(')?;
        let close = stat.iter().rposition(|&b| b == b')')?;
        let pid = std::str::from_utf8(stat.get(..open)?).ok()?;
        let rest = std::str::from_utf8(stat.get(close + 1..)?).ok()?;
        // From the third field on, as proc_pid_stat(5) counts them.
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let field = |n: usize| fields.get(n - 3);
        Some(Self {
            id: ProcessId {
                pid: pid.trim().parse().ok()?,
                start_ticks: field(22)?.parse().ok()?,
            },
            parent: field(4)?.parse().ok()?,
            group: field(5)?.parse().ok()?,
            state: field(3)?.chars().next()?,
            comm: String::from_utf8_lossy(stat.get(open + 1..close)?).into_owned(),
            threads: field(20)?.parse().ok()?,
        })
    }

    /// Whether it has ended and only waits to be reaped.
    pub fn is_zombie(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

/// A process that ends while its file is read gives ESRCH.
fn gone(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::ESRCH) => io::ErrorKind::NotFound.into(),
        _ => error,
    }
}

/// All processes that we can see.
///
/// # Errors
/// As reading `/proc` fails.
pub fn all() -> io::Result<Vec<Process>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        if let Ok(pid) = entry?.file_name().to_string_lossy().parse() {
            // One that ended since is none.
            all.extend(Process::of(pid).ok());
        }
    }
    Ok(all)
}

/// The processes that descend from this one, parents before their children.
/// One whose parent has ended belongs to init, or to a subreaper, by then.
///
/// # Errors
/// As reading `/proc` fails.
pub fn children(pid: u32) -> io::Result<Vec<Process>> {
    Ok(with_children(all()?, |p| p.parent == pid))
}

/// Where a process writes to: its standard output and its standard error, as paths that
/// lead to them.
pub fn output(pid: u32) -> Vec<PathBuf> {
    [1, 2].map(|fd| file(pid, &format!("fd/{fd}"))).into()
}

/// The processes that still run and have an argument like this, with all of their
/// arguments; not our own, and none that hangs in such a way that they cannot be read.
///
/// # Errors
/// As reading `/proc` fails.
pub fn with_argument(
    is_like: impl Fn(&OsStr) -> bool,
) -> io::Result<Vec<(Process, Vec<OsString>)>> {
    let us = std::process::id();
    let mut found = all()?;
    found.retain(|process| process.id.pid != us && !process.is_zombie());
    let ids: Vec<_> = found.iter().map(|process| process.id).collect();
    let words = patient::cmdlines(&ids);
    let named = found.into_iter().zip(words).filter_map(|(process, words)| {
        words
            .iter()
            .any(|word| is_like(word))
            .then_some((process, words))
    });
    Ok(named.collect())
}

/// The processes that still run and live in this leader's process group, or
/// descend from it or from one of them; the leader itself is not among them.
/// The group keeps those together whose parents have ended.
///
/// # Errors
/// As reading `/proc` fails.
pub fn family(leader: u32) -> io::Result<Vec<ProcessId>> {
    let mut others = all()?;
    others.retain(|p| p.id.pid != leader);
    let family = with_children(others, |p| p.parent == leader || p.group == leader);
    let running = family.iter().filter(|p| !p.is_zombie());
    Ok(running.map(|p| p.id).collect())
}

/// The first ones and all that descend from them, parents before their children.
fn with_children(all: Vec<Process>, first: impl Fn(&Process) -> bool) -> Vec<Process> {
    let mut family = Vec::new();
    let (mut born, mut left): (Vec<_>, Vec<_>) = all.into_iter().partition(first);
    while !born.is_empty() {
        let parents: Vec<u32> = born.iter().map(|p| p.id.pid).collect();
        family.append(&mut born);
        (born, left) = left.into_iter().partition(|p| parents.contains(&p.parent));
    }
    family
}

impl ProcessId {
    /// The process that has this pid now.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub fn of(pid: u32) -> io::Result<Self> {
        Process::of(pid).map(|p| p.id)
    }

    /// Ourselves.
    ///
    /// # Errors
    /// As reading `/proc` fails.
    pub fn ours() -> io::Result<Self> {
        Self::of(std::process::id())
    }

    /// What is known of it.
    ///
    /// # Errors
    /// `NotFound` when it has ended, also when its pid is another's by now.
    pub fn look(&self) -> io::Result<Process> {
        let process = Process::of(self.pid)?;
        if process.id == *self {
            Ok(process)
        } else {
            let why = format!("process {} has ended; its pid is another's now", self.pid);
            Err(io::Error::new(io::ErrorKind::NotFound, why))
        }
    }

    /// Whether it still runs. A zombie does not.
    pub fn alive(&self) -> bool {
        self.look().is_ok_and(|p| !p.is_zombie())
    }

    /// Its arguments; empty for a zombie, for the kernel's own threads, and
    /// for a moment while a process becomes another program.
    ///
    /// The kernel takes them from the process's memory. That can wait for a
    /// process that is just changing its mappings and hangs in it; of one that
    /// is suspected to, take [`super::look::Look::ReadFile`] of the same file.
    ///
    /// # Errors
    /// `NotFound` when it has ended.
    pub fn cmdline(&self) -> io::Result<Vec<OsString>> {
        self.read("cmdline").map(|text| arguments(&text))
    }

    /// Its mount namespace: device and inode of `/proc/PID/ns/mnt`.
    ///
    /// # Errors
    /// `NotFound` when it has ended; `PermissionDenied` without CAP_SYS_PTRACE.
    pub fn mount_namespace(&self) -> io::Result<(u64, u64)> {
        let namespace = mount_namespace_at(&file(self.pid, "ns/mnt"))?;
        self.look().map(|_| namespace)
    }

    /// How many descriptors it has open.
    ///
    /// # Errors
    /// `NotFound` when it has ended; `PermissionDenied` without CAP_SYS_PTRACE.
    pub fn open_fds(&self) -> io::Result<usize> {
        let dir = file(self.pid, "fd");
        let count = std::fs::read_dir(&dir)
            .map_err(|e| about(&dir, &gone(e)))?
            .count();
        self.look().map(|_| count)
    }

    /// How many threads it has.
    ///
    /// # Errors
    /// `NotFound` when it has ended.
    pub fn threads(&self) -> io::Result<u64> {
        self.look().map(|p| p.threads)
    }

    /// A file of this process and no other: who it is, is asked afterwards.
    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let file = file(self.pid, name);
        let bytes = std::fs::read(&file).map_err(|e| about(&file, &gone(e)))?;
        self.look().map(|_| bytes)
    }
}

/// What stands in /proc/PID/cmdline, parted.
pub(super) fn arguments(text: &[u8]) -> Vec<OsString> {
    let text = text.strip_suffix(b"\0").unwrap_or(text);
    if text.is_empty() {
        return Vec::new();
    }
    let arguments = text.split(|&b| b == 0);
    arguments.map(|a| OsString::from_vec(a.to_vec())).collect()
}

/// The mount namespace of the calling thread: device and inode.
///
/// # Errors
/// As looking at `/proc/thread-self/ns/mnt` fails.
pub fn our_mount_namespace() -> io::Result<(u64, u64)> {
    mount_namespace_at(Path::new("/proc/thread-self/ns/mnt"))
}

fn mount_namespace_at(file: &Path) -> io::Result<(u64, u64)> {
    let stat = std::fs::metadata(file).map_err(|e| about(file, &gone(e)))?;
    Ok((stat.dev(), stat.ino()))
}

/// Who listens at a Unix socket (SO_PEERCRED, unix(7)). Connects, asks, and
/// closes; it does not wait for a listener whose queue is full.
///
/// The kernel tells who called listen(2), which need not be who answers: a
/// parent that handed the socket on (systemd does) and may have ended. `None`
/// when it has ended, or lives in a pid namespace that we do not see (pid 0).
/// A pid that was given to another process since cannot be told apart.
///
/// # Errors
/// As connecting fails.
pub fn peer_of(path: &Path) -> io::Result<Option<ProcessId>> {
    let failed = |e: nix::errno::Errno| about(path, &e.into());
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let us = socket(AddressFamily::Unix, SockType::Stream, flags, None).map_err(failed)?;
    let address = UnixAddr::new(path).map_err(failed)?;
    connect(us.as_raw_fd(), &address).map_err(failed)?;
    let peer = getsockopt(&us, sockopt::PeerCredentials).map_err(failed)?;
    match u32::try_from(peer.pid()) {
        Ok(0) | Err(_) => Ok(None),
        Ok(pid) => match ProcessId::of(pid) {
            Ok(id) => Ok(Some(id)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        },
    }
}

#[cfg(test)]
mod tests;
