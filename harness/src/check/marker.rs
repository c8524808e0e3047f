//! Bytes that we wrote to know them again.

use std::fmt;
use std::path::Path;

use super::step::Access;
use super::stop::Stop;
use crate::node::{DiskId, Look};

/// Where a block marker lies: past what a partition table or a superblock
/// probe reads at the start, well inside the smallest volume.
const BLOCK_OFFSET: u64 = 1 << 20;

/// Random bytes; as a file of a mounted volume, or at a fixed place of a block
/// volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    token: String,
    offset: u64,
}

impl Marker {
    /// A new one.
    ///
    /// # Errors
    /// Ours: the host gives no random bytes.
    pub fn new() -> Result<Self, Stop> {
        let token = crate::lab::random_hex(16).map_err(|e| Stop::ours("choose a marker", e))?;
        Ok(Self {
            token,
            offset: BLOCK_OFFSET,
        })
    }

    /// A new one that, on a block volume, does not overwrite the first.
    ///
    /// # Errors
    /// As [`Marker::new`].
    pub fn second() -> Result<Self, Stop> {
        Ok(Self {
            offset: BLOCK_OFFSET + 4096,
            ..Self::new()?
        })
    }

    /// The name of its file.
    pub fn file(&self) -> String {
        format!("csi-conformance-{}", self.token)
    }

    /// The bytes: a sector, so that a block device takes it as it is.
    pub fn bytes(&self) -> Vec<u8> {
        self.token.bytes().cycle().take(512).collect()
    }

    /// Bytes that tell where they were written, too.
    pub(super) fn bytes_at(&self, offset: u64) -> Vec<u8> {
        let text = format!("{}@{offset};", self.token);
        text.bytes().cycle().take(512).collect()
    }

    /// Whether these are its bytes.
    pub fn is(&self, bytes: &[u8]) -> bool {
        bytes == self.bytes()
    }

    pub(super) fn write_file(&self, target: &Path) -> Look {
        Look::WriteFile {
            path: target.join(self.file()),
            offset: 0,
            bytes: self.bytes(),
            create: true,
            truncate: true,
            fsync: true,
        }
    }

    /// Onto this disk, and no other.
    pub(super) fn write_device(&self, target: &Path, only: DiskId) -> Look {
        let (path, bytes) = (target.to_owned(), self.bytes());
        Look::WriteDevice {
            path,
            only,
            offset: self.offset,
            bytes,
            fsync: true,
        }
    }

    pub(super) fn read_look(&self, target: &Path, access: Access) -> Look {
        match access {
            Access::Mount => Look::ReadFile {
                path: target.join(self.file()),
                offset: 0,
                max: 1024,
            },
            Access::Block => Look::ReadDevice {
                path: target.to_owned(),
                offset: self.offset,
                len: 512,
            },
        }
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.token[..8])
    }
}
