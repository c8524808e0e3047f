//! Whose mounts are watched, and how long there is somebody to watch.

use super::super::process::{self, ProcessId};
use super::WatchError;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// A mount namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespace {
    /// That of the calling thread.
    Ours,
    /// That in which a process lives now.
    Of(ProcessId),
}

impl Namespace {
    /// Opens a file that /proc has for it, and makes sure whose it was.
    pub(super) fn open(self, name: &str) -> Result<File, WatchError> {
        let path = match self {
            Self::Ours => format!("/proc/thread-self/{name}"),
            Self::Of(process) => format!("/proc/{}/{name}", process.pid),
        };
        let opened = File::open(&path).map_err(|e| match self {
            Self::Of(process) if !process.alive() => WatchError::Gone(process),
            _ => WatchError::io(format!("opening {path}"), e),
        })?;
        self.confirm().map(|()| opened)
    }

    /// Whether the process that it is the namespace of still lives.
    pub(super) fn confirm(self) -> Result<(), WatchError> {
        match self {
            Self::Of(process) if !process.alive() => Err(WatchError::Gone(process)),
            _ => Ok(()),
        }
    }

    /// A handle on the process that it is the namespace of; none for our own,
    /// which lasts longer than we do.
    pub(super) fn holder(self) -> Result<Option<Holder>, WatchError> {
        let Self::Of(process) = self else {
            return Ok(None);
        };
        let opened = Holder::open(process.pid);
        self.confirm()?;
        opened
            .map(Some)
            .map_err(|e| WatchError::io(format!("pidfd_open of process {}", process.pid), e))
    }
}

/// A process that lives in the namespace. Its descriptor becomes readable when
/// the process ends, and holds nothing of it.
#[derive(Debug)]
pub(super) struct Holder(OwnedFd);

impl Holder {
    fn open(pid: u32) -> io::Result<Self> {
        // SAFETY: pidfd_open takes two numbers and gives a new descriptor.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        match RawFd::try_from(fd) {
            // SAFETY: the kernel just made this descriptor, and nobody else
            // has it.
            Ok(fd) if fd >= 0 => Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) })),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Another process that lives in the namespace of this device and inode.
    /// They belong to it as long as somebody holds it, the caller for instance.
    pub(super) fn heir(namespace: (u64, u64)) -> Option<Self> {
        let all = process::all().ok()?;
        all.iter().find_map(|other| {
            let lives_there =
                || !other.is_zombie() && other.id.mount_namespace().is_ok_and(|it| it == namespace);
            let opened = lives_there().then(|| Self::open(other.id.pid).ok())??;
            // Whom the descriptor is of is certain only if it still is there.
            lives_there().then_some(opened)
        })
    }
}

impl AsFd for Holder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
