//! What a caller asks for.

use std::collections::HashMap;

use csi_proto::v1 as csi;
use csi_proto::v1::volume_capability::access_mode::Mode;
use csi_proto::v1::volume_capability::{AccessMode, AccessType, BlockVolume, MountVolume};

use crate::world::NODE;

pub(crate) const MIB: i64 = 1 << 20;

/// A volume that was created and published to the node.
#[derive(Debug, Clone)]
pub(crate) struct Volume {
    pub(crate) id: String,
    pub(crate) capability: csi::VolumeCapability,
    pub(crate) context: HashMap<String, String>,
    pub(crate) attachment: HashMap<String, String>,
}

pub(crate) fn create_request(
    name: &str,
    capability: &csi::VolumeCapability,
    bytes: i64,
) -> csi::CreateVolumeRequest {
    csi::CreateVolumeRequest {
        name: name.to_owned(),
        capacity_range: Some(csi::CapacityRange {
            required_bytes: bytes,
            limit_bytes: 0,
        }),
        volume_capabilities: vec![capability.clone()],
        ..Default::default()
    }
}

pub(crate) fn attach_request(
    id: &str,
    capability: &csi::VolumeCapability,
) -> csi::ControllerPublishVolumeRequest {
    csi::ControllerPublishVolumeRequest {
        volume_id: id.to_owned(),
        node_id: NODE.to_owned(),
        volume_capability: Some(capability.clone()),
        ..Default::default()
    }
}

pub(crate) fn mounted(fs_type: &str, flags: &[&str]) -> csi::VolumeCapability {
    csi::VolumeCapability {
        access_mode: mode(Mode::SingleNodeWriter),
        access_type: Some(AccessType::Mount(MountVolume {
            fs_type: fs_type.to_owned(),
            mount_flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            volume_mount_group: String::new(),
        })),
    }
}

pub(crate) fn block() -> csi::VolumeCapability {
    csi::VolumeCapability {
        access_mode: mode(Mode::SingleNodeWriter),
        access_type: Some(AccessType::Block(BlockVolume {})),
    }
}

pub(crate) fn mode(mode: Mode) -> Option<AccessMode> {
    Some(AccessMode { mode: mode.into() })
}
