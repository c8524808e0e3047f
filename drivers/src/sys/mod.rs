//! All that the driver does to the node: mounts, folders, loop devices, file
//! systems, helper programs.
//!
//! The handlers decide, these functions do. They are plain functions over paths,
//! and each error says what was being done and to what. What changes the node, or
//! tells of it, goes through one [`kernel`], so that a driver can be told to let any
//! of these calls go wrong.

pub(crate) mod command;
pub(crate) mod copy;
pub(crate) mod disposable;
pub(crate) mod file;
pub(crate) mod filesystem;
pub(crate) mod fuse;
pub(crate) mod kernel;
pub(crate) mod loopdev;
pub(crate) mod mapped;
pub(crate) mod mount;
pub(crate) mod mountinfo;
pub(crate) mod mutant;
pub(crate) mod nfs;
pub(crate) mod rpc;

use std::io;
use std::path::{Path, PathBuf};

/// A system call or a helper program that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} {}: {source}", path.display())]
pub(crate) struct SysError {
    doing: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl SysError {
    fn new(doing: &'static str, path: impl Into<PathBuf>, source: impl Into<io::Error>) -> Self {
        Self {
            doing,
            path: path.into(),
            source: source.into(),
        }
    }

    /// What kind of failure it was.
    pub(crate) fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }

    /// The error number, where it was a system call that failed.
    pub(crate) fn errno(&self) -> Option<i32> {
        self.source.raw_os_error()
    }
}

/// Says what was being done, and to which path, when it failed.
trait Doing<T> {
    fn doing(self, what: &'static str, path: &Path) -> Result<T, SysError>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, what: &'static str, path: &Path) -> Result<T, SysError> {
        self.map_err(|error| SysError::new(what, path, error))
    }
}
