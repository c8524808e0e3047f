//! Removal that provably crosses no mount and follows no symlink.
//!
//! A plain recursive delete over a leftover mount would delete the volume.
//! Here every step down is an openat2(2) that the kernel refuses where it would
//! leave the folder, follow a symlink or enter a mount, bind mounts of the same
//! file system included. A mount that appears in the middle of the work is
//! safe too: the kernel does not unlink a mount point (`EBUSY`).

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::identity::FileIdentity;
use crate::node::mountinfo;

/// Each level costs a descriptor while we are below it; ours are shallow.
const DEEPEST: usize = 128;

/// What a removal took away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Files, symlinks, sockets and device nodes.
    pub files: u64,
    /// Folders.
    pub folders: u64,
}

/// Why a removal stopped.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// Something is mounted there. Where it was seen beforehand, nothing was
    /// removed at all; what is mounted was not touched in any case.
    #[error("{path} was not removed: {mount} is a mount point")]
    Mounted {
        /// What was to be removed.
        path: PathBuf,
        /// The mount in the way.
        mount: PathBuf,
    },
    /// A symlink stands where a folder of ours was.
    #[error("{path} was not removed: it is, or lies behind, a symlink")]
    Symlink {
        /// The path in the way.
        path: PathBuf,
    },
    /// The path leads to another folder than the one that we made.
    #[error("{path} was not removed: it is not the folder that we made")]
    Stranger {
        /// The path in the way.
        path: PathBuf,
    },
    /// The relative path is empty, absolute, or has `.` or `..` in it.
    #[error("{path:?} is no plain path below a folder")]
    NotBeneath {
        /// The path that was asked for.
        path: PathBuf,
    },
    /// The tree is deeper than anything of ours.
    #[error("{path} was not removed: it lies more than {DEEPEST} folders deep")]
    TooDeep {
        /// The path in the way.
        path: PathBuf,
    },
    /// A system call failed.
    #[error("{call} {path}: {error}")]
    Io {
        /// The call.
        call: &'static str,
        /// The path that it was for.
        path: PathBuf,
        /// What it answered.
        error: io::Error,
    },
}

/// Removes `relative` (a file, or a folder with all that is in it) below the
/// folder `root`. Symlinks in `root` itself are followed: it is the user's.
/// What is not there is removed already.
///
/// # Errors
/// See [`RemoveError`]: a mount or symlink in the way, or a failed call.
pub fn remove_tree(root: &Path, relative: &Path) -> Result<Removed, RemoveError> {
    remove(root, relative, None)
}

/// As [`remove_tree`], and only if `path` is still the folder that was made.
pub(super) fn remove_if(path: &Path, made: FileIdentity) -> Result<Removed, RemoveError> {
    let (Some(root), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(RemoveError::NotBeneath {
            path: path.to_owned(),
        });
    };
    remove(root, Path::new(name), Some(made))
}

fn remove(
    root: &Path,
    relative: &Path,
    made: Option<FileIdentity>,
) -> Result<Removed, RemoveError> {
    let plain = relative
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    let (true, Some(name)) = (plain, relative.file_name()) else {
        return Err(RemoveError::NotBeneath {
            path: relative.to_owned(),
        });
    };
    let Some(root_fd) = open_root(root)? else {
        return Ok(Removed::default());
    };
    let real = real_path(&root_fd).map_err(|error| failed("readlink", root, error))?;
    refuse_mounts(&real.join(relative))?;

    let above = relative
        .parent()
        .filter(|above| !above.as_os_str().is_empty());
    let parent = match above {
        None => root_fd,
        Some(above) => match open_beneath(&root_fd, above.as_os_str(), &real.join(above))? {
            Opened::Folder(folder) => folder,
            Opened::Missing => return Ok(Removed::default()),
            Opened::NoFolder => {
                return Err(failed("openat2", &real.join(above), Errno::ENOTDIR.into()));
            }
        },
    };
    let mut removed = Removed::default();
    entry(
        &parent,
        &c_string(name)?,
        &real.join(relative),
        made,
        0,
        &mut removed,
    )?;
    Ok(removed)
}

/// The path that a folder has now, free of symlinks.
pub(super) fn real_path(folder: &OwnedFd) -> io::Result<PathBuf> {
    std::fs::read_link(format!("/proc/thread-self/fd/{}", folder.as_raw_fd()))
}

fn open_root(root: &Path) -> Result<Option<OwnedFd>, RemoveError> {
    match open(
        root,
        OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
        Mode::empty(),
    ) {
        Ok(folder) => Ok(Some(folder)),
        Err(Errno::ENOENT) => Ok(None),
        Err(errno) => Err(failed("open", root, errno.into())),
    }
}

/// Looks before the first removal, so that a mount far down costs nothing.
fn refuse_mounts(path: &Path) -> Result<(), RemoveError> {
    let mounts = mountinfo::places_below(path)
        .map_err(|error| failed("look for mounts below", path, error))?;
    match mounts.into_iter().next() {
        None => Ok(()),
        Some(mount) => Err(RemoveError::Mounted {
            path: path.to_owned(),
            mount: mount.point,
        }),
    }
}

enum Opened {
    Folder(OwnedFd),
    NoFolder,
    Missing,
}

fn open_beneath(parent: &OwnedFd, relative: &OsStr, path: &Path) -> Result<Opened, RemoveError> {
    // Without O_NOFOLLOW, with which a symlink would be told as "not a directory".
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .resolve(
            ResolveFlag::RESOLVE_BENEATH
                | ResolveFlag::RESOLVE_NO_XDEV
                | ResolveFlag::RESOLVE_NO_SYMLINKS
                | ResolveFlag::RESOLVE_NO_MAGICLINKS,
        );
    match openat2(parent.as_fd(), relative, how) {
        Ok(folder) => Ok(Opened::Folder(folder)),
        Err(Errno::ENOENT) => Ok(Opened::Missing),
        Err(Errno::ENOTDIR) => Ok(Opened::NoFolder),
        Err(Errno::EXDEV) => Err(RemoveError::Mounted {
            path: path.to_owned(),
            mount: path.to_owned(),
        }),
        Err(Errno::ELOOP) => Err(RemoveError::Symlink {
            path: path.to_owned(),
        }),
        Err(errno) => Err(failed("openat2", path, errno.into())),
    }
}

/// Opens the folder at `path` itself if no mount covers it and no symlink
/// replaces it; none where nothing is there.
pub(super) fn open_uncovered(path: &Path) -> Result<Option<OwnedFd>, RemoveError> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(RemoveError::NotBeneath {
            path: path.to_owned(),
        });
    };
    let Some(parent) = open_root(parent)? else {
        return Ok(None);
    };
    match open_beneath(&parent, name, path)? {
        Opened::Folder(folder) => Ok(Some(folder)),
        Opened::NoFolder => Err(RemoveError::Stranger {
            path: path.to_owned(),
        }),
        Opened::Missing => Ok(None),
    }
}

/// Removes one entry of a folder, with all that is in it.
fn entry(
    parent: &OwnedFd,
    name: &CStr,
    path: &Path,
    made: Option<FileIdentity>,
    depth: usize,
    removed: &mut Removed,
) -> Result<(), RemoveError> {
    if depth > DEEPEST {
        return Err(RemoveError::TooDeep {
            path: path.to_owned(),
        });
    }
    // A file or symlink goes at once; the kernel refuses folders (EISDIR). With
    // an identity to be kept it must be looked at first.
    if made.is_none() {
        match unlinkat(parent, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) => {
                removed.files += 1;
                return Ok(());
            }
            Err(Errno::ENOENT) => return Ok(()),
            Err(Errno::EISDIR) => {}
            Err(errno) => return Err(refused("unlink", path, errno)),
        }
    }
    let folder = match open_beneath(parent, OsStr::from_bytes(name.to_bytes()), path)? {
        Opened::Folder(folder) => folder,
        Opened::Missing => return Ok(()),
        Opened::NoFolder => {
            return Err(RemoveError::Stranger {
                path: path.to_owned(),
            });
        }
    };
    if let Some(made) = made
        && FileIdentity::of(&folder).map_err(|error| failed("fstat", path, error))? != made
    {
        return Err(RemoveError::Stranger {
            path: path.to_owned(),
        });
    }
    for child in names(&folder, path)? {
        let below = path.join(OsStr::from_bytes(child.to_bytes()));
        entry(&folder, &child, &below, None, depth + 1, removed)?;
    }
    match unlinkat(parent, name, UnlinkatFlags::RemoveDir) {
        Ok(()) => removed.folders += 1,
        Err(Errno::ENOENT) => {}
        Err(errno) => return Err(refused("rmdir", path, errno)),
    }
    Ok(())
}

fn names(folder: &OwnedFd, path: &Path) -> Result<Vec<CString>, RemoveError> {
    let listed = folder
        .try_clone()
        .and_then(|copy| Ok(Dir::from_fd(copy)?))
        .and_then(|mut dir| {
            let names = dir.iter().map(|entry| Ok(entry?.file_name().to_owned()));
            names
                .filter(|name| !matches!(name, Ok(name) if matches!(name.to_bytes(), b"." | b"..")))
                .collect()
        });
    listed.map_err(|error: io::Error| failed("readdir", path, error))
}

fn refused(call: &'static str, path: &Path, errno: Errno) -> RemoveError {
    match errno {
        Errno::EBUSY => RemoveError::Mounted {
            path: path.to_owned(),
            mount: path.to_owned(),
        },
        errno => failed(call, path, errno.into()),
    }
}

fn failed(call: &'static str, path: &Path, error: io::Error) -> RemoveError {
    RemoveError::Io {
        call,
        path: path.to_owned(),
        error,
    }
}

fn c_string(name: &OsStr) -> Result<CString, RemoveError> {
    CString::new(name.as_bytes()).map_err(|_| RemoveError::NotBeneath { path: name.into() })
}

/// Removes an empty folder that others may share, if it is the one made.
pub(super) fn rmdir_if(path: &Path, made: FileIdentity) -> Result<bool, RemoveError> {
    match open_uncovered(path)? {
        None => return Ok(false),
        Some(folder)
            if FileIdentity::of(&folder).map_err(|error| failed("fstat", path, error))? == made => {
        }
        Some(_) => {
            return Err(RemoveError::Stranger {
                path: path.to_owned(),
            });
        }
    }
    match unlinkat(AT_FDCWD, path, UnlinkatFlags::RemoveDir) {
        Ok(()) => Ok(true),
        Err(Errno::ENOENT | Errno::ENOTEMPTY | Errno::EEXIST) => Ok(false),
        Err(errno) => Err(refused("rmdir", path, errno)),
    }
}
