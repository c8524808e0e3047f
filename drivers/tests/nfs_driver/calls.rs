//! What a caller asks for, each as one function that waits for its answer.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use csi_proto::v1 as csi;
use csi_proto::v1::controller_client::ControllerClient;
use csi_proto::v1::node_client::NodeClient;
use csi_proto::v1::volume_capability::access_mode::Mode as Access;
use csi_proto::v1::volume_capability::{AccessMode, AccessType, BlockVolume, MountVolume};
use libtest_mimic::Failed;
use tonic::Status;

use crate::Mode;
use crate::world::{World, ask};

/// The longest that a call may take here where nothing is wrong.
pub(crate) const LONG: Duration = Duration::from_secs(60);
/// What callers wait that are to see it fail.
pub(crate) const SHORT: Duration = Duration::from_secs(5);
/// In every secret.
pub(crate) const CANARY: &str = "canary-of-a-secret";

/// A volume, and how it is to be mounted.
#[derive(Debug, Clone)]
pub(crate) struct Volume {
    pub(crate) id: String,
    pub(crate) context: HashMap<String, String>,
    pub(crate) capability: csi::VolumeCapability,
}

pub(crate) fn mounted(fs_type: &str, flags: &[&str]) -> csi::VolumeCapability {
    csi::VolumeCapability {
        access_mode: mode(Access::MultiNodeMultiWriter),
        access_type: Some(AccessType::Mount(MountVolume {
            fs_type: fs_type.to_owned(),
            mount_flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            volume_mount_group: String::new(),
        })),
    }
}

pub(crate) fn block() -> csi::VolumeCapability {
    csi::VolumeCapability {
        access_mode: mode(Access::SingleNodeWriter),
        access_type: Some(AccessType::Block(BlockVolume {})),
    }
}

pub(crate) fn mode(mode: Access) -> Option<AccessMode> {
    Some(AccessMode { mode: mode.into() })
}

fn secrets() -> HashMap<String, String> {
    HashMap::from([("token".to_owned(), CANARY.to_owned())])
}

pub(crate) fn context(parts: &[(&str, &str)]) -> HashMap<String, String> {
    parts
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

impl World {
    /// A folder on the server, as a volume that nobody created.
    pub(crate) fn folder_volume(&self, name: &str, flags: &[&str]) -> Result<Volume, Failed> {
        let server = self.server()?;
        let three = flags.iter().any(|flag| flag.contains("vers=3"));
        let folder = self.on_server(name)?;
        fs::create_dir_all(&folder)?;
        let sub_dir = folder.strip_prefix(server.export())?.display().to_string();
        Ok(Volume {
            id: name.to_owned(),
            context: context(&[
                ("server", "127.0.0.1"),
                ("share", &server.share(if three { "3" } else { "4" })),
                ("subDir", &sub_dir),
            ]),
            capability: mounted("", flags),
        })
    }

    /// Where a folder of this world is on the server.
    pub(crate) fn on_server(&self, name: &str) -> Result<PathBuf, Failed> {
        let world = self.folder.file_name().ok_or("no name")?;
        Ok(self.server()?.export().join(world).join(name))
    }

    pub(crate) fn create_request(
        &self,
        name: &str,
        parameters: &[(&str, &str)],
    ) -> csi::CreateVolumeRequest {
        csi::CreateVolumeRequest {
            name: name.to_owned(),
            capacity_range: Some(csi::CapacityRange {
                required_bytes: 1 << 20,
                limit_bytes: 0,
            }),
            volume_capabilities: vec![mounted("", &["vers=4.2"])],
            parameters: context(parameters),
            secrets: secrets(),
            ..Default::default()
        }
    }

    pub(crate) fn create(&self, request: csi::CreateVolumeRequest) -> Result<csi::Volume, Status> {
        let answer = ask!(self, ControllerClient.create_volume, request)?;
        answer
            .volume
            .ok_or_else(|| Status::internal("no volume in the answer"))
    }

    pub(crate) fn delete(&self, id: &str) -> Result<(), Status> {
        let request = csi::DeleteVolumeRequest {
            volume_id: id.to_owned(),
            secrets: secrets(),
        };
        ask!(self, ControllerClient.delete_volume, request).map(drop)
    }

    pub(crate) fn validate(&self, volume: &Volume) -> Result<bool, Status> {
        let request = csi::ValidateVolumeCapabilitiesRequest {
            volume_id: volume.id.clone(),
            volume_context: volume.context.clone(),
            volume_capabilities: vec![volume.capability.clone()],
            ..Default::default()
        };
        let answer = ask!(self, ControllerClient.validate_volume_capabilities, request)?;
        Ok(answer.confirmed.is_some())
    }

    pub(crate) fn staging(&self, volume: &Volume) -> PathBuf {
        self.path(&format!("staging-{}", volume.id.replace(['/', '#'], "_")))
    }

    pub(crate) fn stage_request(&self, volume: &Volume) -> csi::NodeStageVolumeRequest {
        csi::NodeStageVolumeRequest {
            volume_id: volume.id.clone(),
            staging_target_path: self.staging(volume).display().to_string(),
            volume_capability: Some(volume.capability.clone()),
            volume_context: volume.context.clone(),
            secrets: secrets(),
            ..Default::default()
        }
    }

    pub(crate) fn stage(&self, volume: &Volume, deadline: Duration) -> Result<(), Status> {
        let _ = fs::create_dir_all(self.staging(volume));
        let request = self.stage_request(volume);
        ask!(self, NodeClient.node_stage_volume, request, deadline).map(drop)
    }

    pub(crate) fn unstage(&self, volume: &Volume) -> Result<(), Status> {
        let request = csi::NodeUnstageVolumeRequest {
            volume_id: volume.id.clone(),
            staging_target_path: self.staging(volume).display().to_string(),
        };
        ask!(self, NodeClient.node_unstage_volume, request).map(drop)
    }

    pub(crate) fn publish_request(
        &self,
        volume: &Volume,
        target: &Path,
    ) -> csi::NodePublishVolumeRequest {
        csi::NodePublishVolumeRequest {
            volume_id: volume.id.clone(),
            staging_target_path: match self.mode {
                Mode::Direct => String::new(),
                Mode::Staged => self.staging(volume).display().to_string(),
            },
            target_path: target.display().to_string(),
            volume_capability: Some(volume.capability.clone()),
            volume_context: volume.context.clone(),
            secrets: secrets(),
            ..Default::default()
        }
    }

    pub(crate) fn publish_with(
        &self,
        request: csi::NodePublishVolumeRequest,
        deadline: Duration,
    ) -> Result<(), Status> {
        ask!(self, NodeClient.node_publish_volume, request, deadline).map(drop)
    }

    /// Stages, if this driver does, and publishes.
    pub(crate) fn mount(
        &self,
        volume: &Volume,
        target: &Path,
        deadline: Duration,
    ) -> Result<(), Status> {
        if self.mode == Mode::Staged {
            self.stage(volume, deadline)?;
        }
        self.publish_with(self.publish_request(volume, target), deadline)
    }

    pub(crate) fn mount_read_only(&self, volume: &Volume, target: &Path) -> Result<(), Status> {
        if self.mode == Mode::Staged {
            self.stage(volume, LONG)?;
        }
        let mut request = self.publish_request(volume, target);
        request.readonly = true;
        self.publish_with(request, LONG)
    }

    pub(crate) fn unpublish(&self, id: &str, target: &Path) -> Result<(), Status> {
        self.unpublish_within(id, target, LONG)
    }

    pub(crate) fn unpublish_within(
        &self,
        id: &str,
        target: &Path,
        deadline: Duration,
    ) -> Result<(), Status> {
        let request = csi::NodeUnpublishVolumeRequest {
            volume_id: id.to_owned(),
            target_path: target.display().to_string(),
        };
        ask!(self, NodeClient.node_unpublish_volume, request, deadline).map(drop)
    }

    /// Unpublishes, and unstages, if this driver stages.
    pub(crate) fn unmount(&self, volume: &Volume, target: &Path) -> Result<(), Status> {
        self.unpublish(&volume.id, target)?;
        match self.mode {
            Mode::Direct => Ok(()),
            Mode::Staged => self.unstage(volume),
        }
    }

    pub(crate) fn stats(
        &self,
        id: &str,
        path: &Path,
        deadline: Duration,
    ) -> Result<csi::NodeGetVolumeStatsResponse, Status> {
        let request = csi::NodeGetVolumeStatsRequest {
            volume_id: id.to_owned(),
            volume_path: path.display().to_string(),
            ..Default::default()
        };
        ask!(self, NodeClient.node_get_volume_stats, request, deadline)
    }
}
