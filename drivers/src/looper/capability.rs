//! How a volume is to be used, once it is known to be well-formed.

use csi_proto::v1::VolumeCapability;
use csi_proto::v1::volume_capability::AccessType;
use csi_proto::v1::volume_capability::access_mode::Mode;
use serde::{Deserialize, Serialize};
use tonic::Status;

use super::sys::filesystem::Filesystem;
use super::sys::mount::MountOptions;

/// A volume capability with all its required fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Capability {
    pub(super) access: Access,
    /// A number of `AccessMode.Mode`, and a known one.
    mode: i32,
}

/// As what the volume is seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Access {
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
    pub(super) fn parse(capability: Option<&VolumeCapability>) -> Result<Self, Status> {
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
    pub(super) fn parse_all(capabilities: &[VolumeCapability]) -> Result<Vec<Self>, Status> {
        if capabilities.is_empty() {
            return Err(Status::invalid_argument("volume_capabilities is missing"));
        }
        capabilities
            .iter()
            .map(|capability| Self::parse(Some(capability)))
            .collect()
    }

    pub(super) fn mode(&self) -> Mode {
        Mode::try_from(self.mode).unwrap_or(Mode::Unknown)
    }

    pub(super) fn is_block(&self) -> bool {
        self.access == Access::Block
    }

    /// Whether the access mode lets nobody write.
    pub(super) fn is_reader_only(&self) -> bool {
        self.mode() == Mode::SingleNodeReaderOnly
    }

    /// The file system that was asked for; none where the choice is ours.
    pub(super) fn fs_type(&self) -> Option<&str> {
        match &self.access {
            Access::Mount { fs_type, .. } if !fs_type.is_empty() => Some(fs_type),
            _ => None,
        }
    }

    /// The mount flags, sorted by who understands them.
    pub(super) fn mount_options(&self) -> MountOptions {
        match &self.access {
            Access::Mount { mount_flags, .. } => MountOptions::parse(mount_flags),
            Access::Block => MountOptions::default(),
        }
    }

    /// Whether both ask for the same use; mount flags may differ.
    pub(super) fn is_same_use(&self, other: &Self) -> bool {
        self.mode == other.mode
            && self.is_block() == other.is_block()
            && (self.fs_type().is_none()
                || other.fs_type().is_none()
                || self.fs_type() == other.fs_type())
    }

    /// Why this driver can serve no volume in this way, or that it can.
    pub(super) fn check(&self, filesystems: &[Filesystem]) -> Result<(), String> {
        match self.mode() {
            Mode::SingleNodeWriter
            | Mode::SingleNodeReaderOnly
            | Mode::SingleNodeSingleWriter
            | Mode::SingleNodeMultiWriter => {}
            // A file on one machine is seen by one machine.
            mode => return Err(format!("{} is not supported", mode.as_str_name())),
        }
        let Access::Mount { mount_group, .. } = &self.access else {
            return Ok(());
        };
        if *mount_group {
            return Err("volume_mount_group is not supported".to_owned());
        }
        match self.fs_type() {
            Some(name) if !filesystems.iter().any(|fs| fs.name() == name) => {
                Err("this fs_type is not supported on this node".to_owned())
            }
            _ => Ok(()),
        }
    }
}
