//! Which file or folder a path led to.

use std::io;
use std::os::fd::AsFd;

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
