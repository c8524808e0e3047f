//! What kind of volume.

use std::fmt;

use csi_proto::v1::VolumeCapability;
use csi_proto::v1::volume_capability::{self, AccessType, access_mode};

use super::step::Access;

/// A mounted file system or a raw block device.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Mounted, with this `fs_type`; empty: the driver's choice.
    Mount(String),
    /// Raw block.
    Block,
}

impl Kind {
    /// The access type.
    pub fn access(&self) -> Access {
        match self {
            Self::Mount(_) => Access::Mount,
            Self::Block => Access::Block,
        }
    }

    /// A capability of this kind.
    pub fn capability(&self, mode: access_mode::Mode, flags: &[String]) -> VolumeCapability {
        let access_type = match self {
            Self::Mount(fs_type) => AccessType::Mount(volume_capability::MountVolume {
                fs_type: fs_type.clone(),
                mount_flags: flags.to_vec(),
                ..Default::default()
            }),
            Self::Block => AccessType::Block(volume_capability::BlockVolume {}),
        };
        VolumeCapability {
            access_type: Some(access_type),
            access_mode: Some(volume_capability::AccessMode { mode: mode.into() }),
        }
    }
}

/// As in the suffix of a case: `ext4`, `mount`, `block`.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mount(fs_type) if fs_type.is_empty() => f.write_str("mount"),
            Self::Mount(fs_type) => f.write_str(fs_type),
            Self::Block => f.write_str("block"),
        }
    }
}
