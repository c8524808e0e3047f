//! Which loop devices are there, and what is behind them?
//!
//! From sysfs alone. What it cannot tell for certain (which very file is
//! behind the device, when its name was given to another since) is asked of
//! the device itself: [`LoopDevice::backing_id`].

use super::block::{self, DiskId};
use super::look::{self, LookError};
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A loop device that has a file behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoopDevice {
    /// The N of `/dev/loopN`: to find the device, not to know it again.
    pub number: u32,
    /// What it is known by.
    pub id: DiskId,
    /// The path of the file behind it, as the kernel names it from our root.
    /// It may lie in a namespace that we do not see.
    pub backing: PathBuf,
    /// That file was removed. (The kernel says so by a suffix to the path, so
    /// a file that is really named `… (deleted)` is mistaken for one.)
    pub backing_deleted: bool,
    /// It refuses writes.
    pub read_only: bool,
    /// In bytes.
    pub size: u64,
    /// Where in the file it begins, in bytes.
    pub offset: u64,
    /// It lets its file go when the last user does.
    pub autoclear: bool,
}

/// The file behind a loop device, by identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BackingId {
    /// The device of its file system: major, minor.
    pub dev: (u32, u32),
    /// Its inode.
    pub ino: u64,
}

/// The loop devices that have a file behind them, by number.
///
/// # Errors
/// As reading `/sys/block` fails. A device that goes away meanwhile is not in
/// the list.
pub fn loops() -> io::Result<Vec<LoopDevice>> {
    let all = Path::new("/sys/block");
    let mut loops = Vec::new();
    for entry in std::fs::read_dir(all).map_err(|e| block::about(all, &e))? {
        let dir = entry.map_err(|e| block::about(all, &e))?.path();
        loops.extend(LoopDevice::at(&dir)?);
    }
    loops.sort_by_key(|l| l.number);
    Ok(loops)
}

impl LoopDevice {
    /// The loop device that has this number now; `None` when it has no file
    /// behind it.
    ///
    /// # Errors
    /// As reading its folder in `/sys/block` fails.
    pub fn numbered(number: u32) -> io::Result<Option<Self>> {
        Self::at(&PathBuf::from(format!("/sys/block/loop{number}")))
    }

    /// The loop device of a folder of sysfs; `None` when it is none, has no
    /// file, or loses it while we look.
    pub(super) fn at(dir: &Path) -> io::Result<Option<Self>> {
        match Self::read(dir) {
            Ok(device) => Ok(device),
            // ENXIO and ENODEV: the attribute of a device that has just lost
            // its file, or of one that is just going.
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(_) if !dir.join("loop/backing_file").exists() => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn read(dir: &Path) -> io::Result<Option<Self>> {
        let Some(number) = block::name(dir)
            .strip_prefix("loop")
            .and_then(|n| n.parse().ok())
        else {
            return Ok(None);
        };
        let file = dir.join("loop/backing_file");
        let backing = std::fs::read(&file).map_err(|e| block::about(&file, &e))?;
        let (backing, backing_deleted) = path(&backing);
        if backing.as_os_str().is_empty() {
            return Ok(None);
        }
        let dev = dir.join("dev");
        let text = std::fs::read_to_string(&dev).map_err(|e| block::about(&dev, &e))?;
        let parts = text.trim().split_once(':');
        let (major, minor) = parts
            .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)))
            .ok_or_else(|| block::about(&dev, &io::ErrorKind::InvalidData.into()))?;
        Ok(Some(Self {
            number,
            id: DiskId {
                number: (major, minor),
                diskseq: block::diskseq(dir)?,
            },
            backing,
            backing_deleted,
            read_only: block::number(&dir.join("ro"))? != 0,
            size: block::size(dir)?,
            offset: block::number(&dir.join("loop/offset"))?,
            autoclear: block::number(&dir.join("loop/autoclear"))? != 0,
        }))
    }

    /// `/dev/loopN`.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/dev/loop{}", self.number))
    }

    /// The device and inode of the file behind it, asked of the device itself.
    ///
    /// This opens the device for a moment: between calls only, since a driver
    /// that detaches it just then would only mark it for later. `None` when
    /// the number belongs to another disk by now.
    ///
    /// # Errors
    /// See [`LookError`].
    pub async fn backing_id(&self, deadline: Duration) -> Result<Option<BackingId>, LookError> {
        let seen = look::loop_status(&self.path(), deadline).await?;
        let same = seen.disk == self.id || seen.disk.diskseq.is_none();
        Ok(same.then_some(seen.backing))
    }
}

/// The path in `backing_file`, and whether it says that it was removed.
fn path(text: &[u8]) -> (PathBuf, bool) {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let (path, deleted) = match text.strip_suffix(b" (deleted)") {
        Some(path) => (path, true),
        None => (text, false),
    };
    (PathBuf::from(OsString::from_vec(path.to_vec())), deleted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_taken_as_bytes_and_the_mark_of_deletion_taken_off() {
        assert_eq!(path(b"/a b\n"), (PathBuf::from("/a b"), false));
        assert_eq!(path(b"/a (deleted)\n"), (PathBuf::from("/a"), true));
        assert_eq!(path(b"/a\n\n"), (PathBuf::from("/a\n"), false));
    }
}
