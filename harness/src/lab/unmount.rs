//! Forced removal of the mounts below a folder of ours.
//!
//! Whether a mount is gone is read from the mount table, never from what
//! umount2(2) answered: that call waits for a dead server to take the last
//! writes, and is made by a child that can be left behind.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::errand::{Child, Errand};
use crate::node::{mountinfo, statmount};

/// How long one umount2(2) may take before it is left to itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// More rounds than anything that a run stacks.
const ROUNDS: usize = 64;

/// How a mount was taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// umount2(2) without further ado: nobody used it.
    Plain,
    /// `MNT_DETACH`, as the last resort: it is off the tree, and ends in the
    /// kernel with its last user.
    Detached,
}

/// A mount that was taken away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmounted {
    /// Where it was.
    pub path: PathBuf,
    /// How it went.
    pub how: How,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unmounting {
    /// What is gone, in the order of going.
    pub gone: Vec<Unmounted>,
    /// What is still mounted, and what the kernel said to it.
    pub left: Vec<(PathBuf, String)>,
}

/// Unmounts all that is mounted at or below `folder`, the newest first.
///
/// The folder must be ours: whatever is mounted there goes.
///
/// # Errors
/// The path is not absolute or leads nowhere, or the mount table cannot be read.
pub fn unmount_below(folder: &Path) -> io::Result<Unmounting> {
    let folder = real(folder)?;
    let mut report = Unmounting::default();
    let mut how = How::Plain;
    for _ in 0..ROUNDS {
        let mounts = mountinfo::places_below(&folder)?;
        // A mount made later lies above or beside an earlier one, so the newest
        // goes first; where one was hidden by another, the next round finds it.
        let said: Vec<_> = mounts
            .iter()
            .rev()
            .map(|mount| (mount, unmount(&mount.point, how)))
            .collect();
        let left = mountinfo::places_below(&folder)?;
        let gone: Vec<_> = said
            .iter()
            .filter(|(mount, _)| !left.contains(mount))
            .collect();
        report.gone.extend(gone.iter().map(|(mount, _)| Unmounted {
            path: mount.point.clone(),
            how,
        }));
        if left.is_empty() {
            return Ok(report);
        }
        match (gone.is_empty(), how) {
            (false, _) => how = How::Plain,
            (true, How::Plain) => how = How::Detached,
            (true, How::Detached) => {
                report.left = said
                    .iter()
                    .map(|(mount, said)| (mount.point.clone(), said.clone()))
                    .collect();
                return Ok(report);
            }
        }
    }
    let left = mountinfo::places_below(&folder)?;
    report.left = left
        .into_iter()
        .map(|mount| (mount.point, "it came back again and again".to_owned()))
        .collect();
    Ok(report)
}

/// Unmounts the mount with this unique number: none where it is gone already.
pub(super) fn unmount_one(unique_id: u64) -> io::Result<Option<How>> {
    for how in [How::Plain, How::Detached] {
        let Some(ours) = statmount::by_unique_id(unique_id)? else {
            return Ok(None);
        };
        let ours = ours.mount;
        // umount2 takes the topmost mount at a path: it must be this one.
        let top = mountinfo::places_below(&ours.point)?
            .into_iter()
            .rfind(|mount| mount.point == ours.point);
        if top.is_none_or(|top| top.id != ours.id) {
            return Err(io::Error::other("another mount lies on top of it"));
        }
        unmount(&ours.point, how);
        if statmount::by_unique_id(unique_id)?.is_none() {
            return Ok(Some(how));
        }
    }
    Err(io::Error::other("the kernel does not let go of it"))
}

/// One umount2(2), in a child; what came of it, in words.
fn unmount(path: &Path, how: How) -> String {
    let flags = match how {
        How::Plain => 0,
        How::Detached => libc::MNT_DETACH,
    };
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return "the root is not ours to unmount".to_owned();
    };
    let (Ok(parent), Ok(name)) = (
        CString::new(parent.as_os_str().as_bytes()),
        CString::new(name.as_bytes()),
    ) else {
        return "its path holds a zero byte".to_owned();
    };
    match Child::send(&Errand::Unmount {
        parent: &parent,
        name: &name,
        flags,
    }) {
        Err(error) => format!("no child to unmount it: {error}"),
        Ok(child) => match child.answer(PATIENCE) {
            None => format!("umount2 did not return within {PATIENCE:?}"),
            Some(Ok(())) => "umount2 answered OK".to_owned(),
            Some(Err(error)) => format!("umount2: {error}"),
        },
    }
}

/// The path as the mount table has it: the parent may lie behind symlinks of
/// the user's, the folder itself must not.
fn real(folder: &Path) -> io::Result<PathBuf> {
    match (folder.parent(), folder.file_name()) {
        (Some(parent), Some(name)) if folder.is_absolute() => Ok(parent.canonicalize()?.join(name)),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{} is no absolute path to a folder", folder.display()),
        )),
    }
}
