//! File systems that a driver froze and did not live to thaw.
//!
//! A file system that is frozen outlives its last mount, and keeps its device: it must
//! be thawed before it is unmounted, while something still leads to it, or else be
//! mounted once more.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::errand::{Child, Errand};
use crate::node::mountinfo::MountTable;

/// How long the writes that waited may take to let the file system go.
const PATIENCE: Duration = Duration::from_secs(5);

/// Thaws the file systems that are mounted below a folder from a device; which of them
/// were frozen.
///
/// # Errors
/// The folder cannot be resolved, or the mount table cannot be read.
pub(super) fn thaw_below(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let folder = folder.canonicalize()?;
    let table = MountTable::ours()?;
    let mounts = table.under(&folder);
    // No other can be frozen; and to open a share whose server is away takes forever.
    let on_device = mounts
        .iter()
        .filter(|mount| mount.source.as_bytes().starts_with(b"/dev/"));
    let frozen = on_device.filter(|mount| was_frozen(&mount.point));
    Ok(frozen.map(|mount| mount.point.clone()).collect())
}

/// Thaws the file system on a device that nobody has mounted any more.
pub(super) fn thaw_device(device: &Path) {
    if let Ok(device) = CString::new(device.as_os_str().as_bytes()) {
        thaw(&Errand::ThawDevice { device: &device });
    }
}

fn was_frozen(point: &Path) -> bool {
    CString::new(point.as_os_str().as_bytes()).is_ok_and(|path| thaw(&Errand::Thaw { path: &path }))
}

/// The kernel says `EINVAL` of one that was not frozen.
fn thaw(errand: &Errand<'_>) -> bool {
    Child::send(errand).is_ok_and(|child| matches!(child.answer(PATIENCE), Some(Ok(()))))
}
