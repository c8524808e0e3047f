//! Which file or folder a path led to.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::sys::stat::fstat;
use serde::{Deserialize, Serialize};

/// Which file or folder: the device and inode that a path led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileIdentity {
    /// `st_dev`.
    pub dev: u64,
    /// `st_ino`.
    pub ino: u64,
}

impl FileIdentity {
    /// The identity of what is at a path. It is not opened for use (`O_PATH`, open(2)):
    /// where it lies on a disk that we serve, closing it would wait for ourselves.
    ///
    /// # Errors
    /// There is nothing, or fstat(2) failed.
    pub fn at(path: &Path) -> io::Result<Self> {
        let mut options = std::fs::File::options();
        options.read(true).custom_flags(libc::O_PATH);
        Self::of(options.open(path)?)
    }

    /// The identity of an open file.
    ///
    /// # Errors
    /// fstat(2) failed.
    pub fn of(file: impl AsFd) -> io::Result<Self> {
        let stat = fstat(file)?;
        Ok(Self {
            dev: stat.st_dev,
            ino: stat.st_ino,
        })
    }
}
