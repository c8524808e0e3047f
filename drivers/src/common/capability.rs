//! How a volume is to be used, once it is known to be well-formed.

use csi_proto::v1::VolumeCapability;
use csi_proto::v1::volume_capability::AccessType;
use csi_proto::v1::volume_capability::access_mode::Mode;
use serde::{Deserialize, Serialize};
use tonic::Status;

/// A volume capability with all its required fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Capability {
    pub(crate) access: Access,
    /// A number of `AccessMode.Mode`, and a known one.
    mode: i32,
}

/// As what the volume is seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Access {
    /// A raw device.
    Block,
    /// A file system.
    Mount {
        /// Empty: the driver chooses.
        fs_type: String,
        /// They may be sensitive, and are neither logged nor told.
        mount_flags: Vec<String>,
        /// Set only by a caller that believes we offered VOLUME_MOUNT_GROUP.
        mount_group: bool,
    },
}

impl Capability {
    /// Takes a capability from a request.
    ///
    /// # Errors
    ///
    /// INVALID_ARGUMENT where it, its access type or its access mode is missing.
    pub(crate) fn parse(capability: Option<&VolumeCapability>) -> Result<Self, Status> {
        let missing = |what| Status::invalid_argument(format!("{what} is missing"));
        let capability = capability.ok_or_else(|| missing("volume_capability"))?;
        let mode = capability.access_mode.map_or(0, |access| access.mode);
        let access = match &capability.access_type {
            None => return Err(missing("access_type of the volume_capability")),
            Some(AccessType::Block(_)) => Access::Block,
            Some(AccessType::Mount(mount)) => Access::Mount {
                fs_type: mount.fs_type.clone(),
                mount_flags: mount.mount_flags.clone(),
                mount_group: !mount.volume_mount_group.is_empty(),
            },
        };
        match Mode::try_from(mode) {
            Ok(Mode::Unknown) => Err(missing("access_mode of the volume_capability")),
            Err(_) => Err(Status::invalid_argument("there is no such access_mode")),
            Ok(_) => Ok(Self { access, mode }),
        }
    }

    /// Takes a list of capabilities, which must not be empty.
    pub(crate) fn parse_all(capabilities: &[VolumeCapability]) -> Result<Vec<Self>, Status> {
        if capabilities.is_empty() {
            return Err(Status::invalid_argument("volume_capabilities is missing"));
        }
        capabilities
            .iter()
            .map(|capability| Self::parse(Some(capability)))
            .collect()
    }

    pub(crate) fn mode(&self) -> Mode {
        Mode::try_from(self.mode).unwrap_or(Mode::Unknown)
    }

    pub(crate) fn is_block(&self) -> bool {
        self.access == Access::Block
    }

    /// Whether the access mode lets nobody write.
    pub(crate) fn is_reader_only(&self) -> bool {
        matches!(
            self.mode(),
            Mode::SingleNodeReaderOnly | Mode::MultiNodeReaderOnly
        )
    }

    /// The file system that was asked for; none where the choice is ours.
    pub(crate) fn fs_type(&self) -> Option<&str> {
        match &self.access {
            Access::Mount { fs_type, .. } if !fs_type.is_empty() => Some(fs_type),
            _ => None,
        }
    }

    /// The mount flags, as they were asked for.
    pub(crate) fn mount_flags(&self) -> &[String] {
        match &self.access {
            Access::Mount { mount_flags, .. } => mount_flags,
            Access::Block => &[],
        }
    }

    /// Whether a group is named that the volume shall belong to.
    pub(crate) fn has_mount_group(&self) -> bool {
        matches!(self.access, Access::Mount { mount_group, .. } if mount_group)
    }

    /// Whether both ask for the same use; mount flags may differ.
    pub(crate) fn is_same_use(&self, other: &Self) -> bool {
        self.mode == other.mode
            && self.is_block() == other.is_block()
            && (self.fs_type().is_none()
                || other.fs_type().is_none()
                || self.fs_type() == other.fs_type())
    }
}
