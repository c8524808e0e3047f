//! What does an untrusted path show, when looking at it may never come back?
//!
//! A path that a driver was given may lie on a dead server or a failing disk:
//! a `stat` of it can wait for ever in the kernel, and nothing, not even
//! SIGKILL, ends that. So each look is done by a disposable child, forked for
//! this one look. It closes every descriptor first, makes raw system calls
//! from a closed list (in the child of a threaded process nothing else is
//! safe, see signal-safety(7)), and leaves its answer in memory that both
//! share. An answer is given only after the child is gone, so no handle of
//! ours is left on the path. A child that cannot be killed is abandoned, and
//! reaped by [`reap`] when the kernel lets go of it.
//!
//! Looks read. [`Look::WriteFile`], [`Look::Leave`], [`Look::SetMode`],
//! [`Look::Remove`] and [`Look::WriteDevice`] are the exception: they ask through the
//! path whether what a workload does gets to the volume that we were given, and live
//! here since they may hang like the rest.
//! They touch what they are told to and nothing else: no symbolic link is
//! followed to a file, and a device is written only if it is the one named.
//!
//! Needs Linux 5.9 (close_range); fork costs some 100 µs, so many looks at
//! once are no problem.

mod ask;
mod child;
mod parent;
mod seen;
mod slate;
#[cfg(test)]
mod tests;

pub use ask::{
    file_system, is_free, loop_status, open_device, read_beneath, read_device, read_dir, read_file,
    remove_file, stat, stat_follow, statfs, write_device, write_file,
};
pub use parent::{abandoned, look_now, reap};
pub use seen::{DeviceSeen, FileStat, FsStat, Listing, LoopSeen, Name, Seen};

use super::block::DiskId;
use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The most that one look reads or writes, in bytes.
pub const MAX_BYTES: usize = 64 * 1024;

/// One raw look. Paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// lstat(2).
    Stat {
        /// Where to look.
        path: PathBuf,
    },
    /// stat(2): symbolic links are followed.
    StatFollow {
        /// Where to look.
        path: PathBuf,
    },
    /// statfs(2).
    StatFs {
        /// Any path on the file system.
        path: PathBuf,
    },
    /// getdents64(2) until the end or until enough was seen.
    ReadDir {
        /// The directory.
        path: PathBuf,
        /// The most names to give back (see also [`Listing::truncated`]).
        max: usize,
    },
    /// pread(2) of a file, never waiting for the other end of a FIFO. Its clean pages
    /// are dropped from the cache first (posix_fadvise(2)), so that the disk or the
    /// server is asked.
    ReadFile {
        /// The file.
        path: PathBuf,
        /// From which byte.
        offset: u64,
        /// How many bytes at most; no more than [`MAX_BYTES`].
        max: usize,
    },
    /// pread(2) of a file that a mount has hidden since it was written: the mount
    /// that holds the folder of the mount point is copied without what is mounted
    /// on it (`OPEN_TREE_CLONE`, open_tree(2), Linux 5.2), attached nowhere, and
    /// read through.
    ReadBeneath {
        /// The file, as if nothing were mounted over it.
        path: PathBuf,
        /// How many names of the path lie below the folder that is copied: 2 for a
        /// file directly in the mount point.
        names: usize,
        /// How many bytes at most; no more than [`MAX_BYTES`].
        max: usize,
    },
    /// getdents64(2) of a folder as [`Look::ReadBeneath`] reads a file: without what is
    /// mounted on it.
    ListBeneath {
        /// The folder, as if nothing were mounted over it.
        path: PathBuf,
        /// How many names of the path lie below the folder that is copied: 1 for the
        /// mount point itself.
        names: usize,
        /// The most names to give back.
        max: usize,
    },
    /// readlink(2).
    ReadLink {
        /// The symbolic link.
        path: PathBuf,
    },
    /// lgetxattr(2).
    ReadTag {
        /// The file; no symbolic link is followed.
        path: PathBuf,
        /// The attribute's name.
        name: CString,
    },
    /// Leaves something that is more than bytes, as a workload does.
    Leave {
        /// Where; no symbolic link is followed.
        path: PathBuf,
        /// What.
        what: Leave,
    },
    /// Writes a marker to a regular file.
    WriteFile {
        /// The file; a symbolic link is refused (`ELOOP`).
        path: PathBuf,
        /// From which byte on.
        offset: u64,
        /// At most [`MAX_BYTES`].
        bytes: Vec<u8>,
        /// Make the file (mode 0600) if it is not there.
        create: bool,
        /// Cut the file to nothing first.
        truncate: bool,
        /// fsync(2) before the answer.
        fsync: bool,
    },
    /// fchmod(2) of a directory.
    SetMode {
        /// The directory; nothing else is changed, and no symbolic link followed.
        path: PathBuf,
        /// The permission bits, `0o2770`.
        mode: u32,
    },
    /// unlink(2) of a marker that we wrote; never a directory.
    Remove {
        /// The file.
        path: PathBuf,
    },
    /// Opens a block device and asks for its size and state.
    OpenDevice {
        /// The device; anything else is not opened.
        path: PathBuf,
        /// Open it for writing as well.
        write: bool,
    },
    /// pread(2) of a block device. Clean pages of that range are dropped from
    /// the cache first (posix_fadvise(2)), so that the device is asked; the
    /// whole cache is not flushed (`BLKFLSBUF`), which would write out what a
    /// driver has not yet synced and so hide its fault.
    ReadDevice {
        /// The device.
        path: PathBuf,
        /// From which byte.
        offset: u64,
        /// How many bytes; no more than [`MAX_BYTES`].
        len: usize,
    },
    /// Writes a marker to a block device.
    WriteDevice {
        /// The device.
        path: PathBuf,
        /// What the path must show; nothing is written to anything else.
        only: DiskId,
        /// At which byte.
        offset: u64,
        /// At most [`MAX_BYTES`].
        bytes: Vec<u8>,
        /// fsync(2) before the answer.
        fsync: bool,
    },
    /// Whether nobody uses a block device: an open with `O_EXCL`, closed at
    /// once. Only between calls: an honest mkfs of that moment would fail.
    OpenExclusive {
        /// The device.
        path: PathBuf,
    },
    /// What a loop device says of the file behind it (`LOOP_GET_STATUS64`,
    /// loop(4)). Only between calls, as for any open of a device.
    LoopStatus {
        /// The loop device.
        path: PathBuf,
    },
    /// Whether the kernel has a file system of this device number in use, mounted or
    /// not: one that was only put out of sight is found too (ustat(2), which some
    /// architectures have not: `ENOSYS`). A dead server is waited for.
    FileSystem {
        /// Where it is, or was: for the record.
        path: PathBuf,
        /// Major and minor number, as mountinfo has them.
        dev: (u32, u32),
    },
    /// Waits until it is killed, for the tests of the deadline.
    #[cfg(test)]
    Sleep,
}

/// What [`Look::Leave`] leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leave {
    /// mkdir(2), with mode 0755.
    Folder,
    /// symlink(2) to this.
    Link(CString),
    /// lchown(2) and fchmod(2) of a regular file that is there.
    Owner {
        /// Whose it shall be.
        uid: u32,
        /// The group.
        gid: u32,
        /// The permission bits.
        mode: u32,
    },
    /// lsetxattr(2) of a file that is there.
    Tag {
        /// The attribute's name.
        name: CString,
        /// Its value.
        value: Vec<u8>,
    },
}

impl Look {
    /// The path that is looked at.
    pub fn path(&self) -> &Path {
        match self {
            Look::Stat { path }
            | Look::StatFollow { path }
            | Look::StatFs { path }
            | Look::ReadDir { path, .. }
            | Look::ReadFile { path, .. }
            | Look::ReadBeneath { path, .. }
            | Look::ListBeneath { path, .. }
            | Look::ReadLink { path }
            | Look::ReadTag { path, .. }
            | Look::Leave { path, .. }
            | Look::WriteFile { path, .. }
            | Look::SetMode { path, .. }
            | Look::Remove { path }
            | Look::OpenDevice { path, .. }
            | Look::ReadDevice { path, .. }
            | Look::WriteDevice { path, .. }
            | Look::OpenExclusive { path }
            | Look::FileSystem { path, .. }
            | Look::LoopStatus { path } => path,
            #[cfg(test)]
            Look::Sleep => Path::new("/"),
        }
    }
}

/// Why a look showed nothing.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// The path did not answer in time. The child was killed, or abandoned.
    #[error("{}: no answer after {:.1} s", .path.display(), .after.as_secs_f64())]
    NoAnswer {
        /// Where we looked.
        path: PathBuf,
        /// How long we waited.
        after: Duration,
    },
    /// The kernel refused a call.
    #[error("{what} {}: {}", .path.display(), std::io::Error::from_raw_os_error(*.errno))]
    Os {
        /// The error number, e.g. `libc::ENOENT`.
        errno: i32,
        /// The system call.
        what: &'static str,
        /// Where we looked.
        path: PathBuf,
    },
    /// The path shows something else than this look is for, so it was let be.
    #[error("{}: {what}", .path.display())]
    NotThat {
        /// Where we looked.
        path: PathBuf,
        /// What it should have been, and is not.
        what: &'static str,
    },
    /// The look itself could not be made: our own fault, or the host's.
    #[error("looking at {}: {why}", .path.display())]
    Ours {
        /// Where we wanted to look.
        path: PathBuf,
        /// What went wrong.
        why: String,
    },
}

impl LookError {
    /// The error number, if the kernel refused a call.
    pub fn errno(&self) -> Option<i32> {
        match self {
            LookError::Os { errno, .. } => Some(*errno),
            _ => None,
        }
    }

    /// Whether the path is simply not there (`ENOENT`).
    pub fn is_not_found(&self) -> bool {
        self.errno() == Some(libc::ENOENT)
    }
}

/// Looks, and waits for the answer no longer than `deadline`.
///
/// # Errors
/// See [`LookError`].
pub async fn look(look: Look, deadline: Duration) -> Result<Seen, LookError> {
    let path = look.path().to_path_buf();
    match tokio::task::spawn_blocking(move || look_now(&look, deadline)).await {
        Ok(seen) => seen,
        Err(error) => {
            let why = error.to_string();
            Err(LookError::Ours { path, why })
        }
    }
}
