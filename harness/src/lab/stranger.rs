//! What strangers do to mounts: other file systems at our paths, mounts that are
//! taken away behind the driver's back, file systems that stop working, and mounts
//! elsewhere on the node that answer nothing.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::node::MountTable;

/// Stops a file system (`FS_IOC_SHUTDOWN` of ext4, `XFS_IOC_GOINGDOWN`): `_IOR('X', 125, u32)`.
const SHUTDOWN: libc::Ioctl = nix::request_code_read!(b'X', 125, size_of::<u32>());
/// The journal is written out first, so that nothing is lost that was synced.
const FLUSH_THE_LOG: u32 = 1;

/// A mount of ours, until this is dropped.
#[derive(Debug)]
pub struct OurMount {
    path: PathBuf,
    id: u64,
}

impl OurMount {
    /// The topmost mount at a path, which we have just made.
    fn just_made(path: &Path) -> io::Result<Self> {
        let table = MountTable::ours()?;
        let mounts = table.at(path);
        let top = mounts
            .last()
            .ok_or_else(|| io::Error::other("what was mounted is not there"))?;
        Ok(Self {
            path: path.to_owned(),
            id: top.id,
        })
    }

    /// A small file system in memory.
    ///
    /// # Errors
    /// mount(2) refuses.
    pub fn memory(path: &Path) -> io::Result<Self> {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        let options = Some("size=1m,mode=0755");
        mount(Some("csi-conformance"), path, Some("tmpfs"), flags, options)?;
        Self::just_made(path)
    }

    /// What is mounted at `from`, here too. It propagates to nowhere else from
    /// there.
    ///
    /// # Errors
    /// mount(2) refuses.
    pub fn bind(from: &Path, path: &Path) -> io::Result<Self> {
        let none = None::<&str>;
        mount(Some(from), path, none, MsFlags::MS_BIND, none)?;
        Self::just_made(path)
    }

    /// Takes it away, if it is on top.
    ///
    /// # Errors
    /// umount2(2) refuses.
    pub fn lift(&self) -> io::Result<()> {
        let table = MountTable::ours()?;
        let mounts = table.at(&self.path);
        if mounts.last().is_some_and(|top| top.id == self.id) {
            umount2(&self.path, MntFlags::UMOUNT_NOFOLLOW | MntFlags::MNT_DETACH)?;
        }
        Ok(())
    }
}

impl Drop for OurMount {
    fn drop(&mut self) {
        if let Err(error) = self.lift() {
            tracing::warn!(%error, path = %self.path.display(), "a mount of ours stays");
        }
    }
}

/// A mount that answers nothing, until this is dropped: a FUSE file system that
/// nobody serves. Everybody who asks it for anything waits.
#[derive(Debug)]
pub struct DeadMount {
    mount: OurMount,
    // Closed after the mount is off the tree; with it everybody who waits gets an error.
    _unserved: File,
}

impl DeadMount {
    /// Mounts it at a folder of ours.
    ///
    /// # Errors
    /// There is no FUSE.
    pub fn at(path: &Path) -> io::Result<Self> {
        let unserved = File::options().read(true).write(true).open("/dev/fuse")?;
        let options = format!(
            "fd={},rootmode=40000,user_id=0,group_id=0,allow_other",
            unserved.as_raw_fd()
        );
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(
            Some("csi-conformance-dead"),
            path,
            Some("fuse"),
            flags,
            Some(options.as_str()),
        )?;
        Ok(Self {
            mount: OurMount::just_made(path)?,
            _unserved: unserved,
        })
    }

    /// Takes it off the tree. Who waits for it waits until it is dropped.
    ///
    /// # Errors
    /// umount2(2) refuses.
    pub fn lift(&self) -> io::Result<()> {
        self.mount.lift()
    }
}

/// Unmounts all that is mounted at a path; how many mounts that were.
///
/// # Errors
/// umount2(2) refuses, or the mounts cannot be read.
pub fn unmount_all(path: &Path) -> io::Result<usize> {
    let there = MountTable::ours()?.at(path).len();
    for _ in 0..there {
        umount2(path, MntFlags::UMOUNT_NOFOLLOW | MntFlags::MNT_DETACH)?;
    }
    Ok(there)
}

/// Stops the file system that is mounted at a path, as if its disk were pulled out:
/// it answers with I/O errors until it is unmounted, and is whole when it is mounted
/// again. Blocks. None: it cannot be stopped like that.
///
/// # Errors
/// The path cannot be opened, or the kernel refuses.
pub fn shut_down(path: &Path) -> io::Result<Option<()>> {
    let root = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW)
        .open(path)?;
    let how = FLUSH_THE_LOG;
    // SAFETY: the descriptor is open, and the kernel reads one u32.
    let told = unsafe { libc::ioctl(root.as_raw_fd(), SHUTDOWN, &raw const how) };
    match Errno::result(told) {
        Ok(_) => Ok(Some(())),
        Err(Errno::ENOTTY | Errno::EOPNOTSUPP | Errno::EINVAL) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
