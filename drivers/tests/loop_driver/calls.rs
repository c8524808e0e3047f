//! The calls, each as one function that waits for its answer.

use std::collections::HashMap;
use std::path::Path;

use csi_proto::v1 as csi;
use csi_proto::v1::controller_client::ControllerClient;
use csi_proto::v1::node_client::NodeClient;
use tonic::Status;

use crate::requests::{Volume, attach_request, create_request};
use crate::world::{World, ask};

impl World {
    pub(crate) fn create(&self, request: csi::CreateVolumeRequest) -> Result<csi::Volume, Status> {
        let answer = ask!(self, ControllerClient.create_volume, request)?;
        answer
            .volume
            .ok_or_else(|| Status::internal("no volume in the answer"))
    }

    pub(crate) fn delete(&self, id: &str) -> Result<(), Status> {
        let request = csi::DeleteVolumeRequest {
            volume_id: id.to_owned(),
            ..Default::default()
        };
        ask!(self, ControllerClient.delete_volume, request).map(drop)
    }

    pub(crate) fn attach(
        &self,
        request: csi::ControllerPublishVolumeRequest,
    ) -> Result<HashMap<String, String>, Status> {
        let answer = ask!(self, ControllerClient.controller_publish_volume, request)?;
        Ok(answer.publish_context)
    }

    pub(crate) fn detach(&self, id: &str, node: &str) -> Result<(), Status> {
        let request = csi::ControllerUnpublishVolumeRequest {
            volume_id: id.to_owned(),
            node_id: node.to_owned(),
            ..Default::default()
        };
        ask!(self, ControllerClient.controller_unpublish_volume, request).map(drop)
    }

    pub(crate) fn list(&self, max: i32, token: &str) -> Result<csi::ListVolumesResponse, Status> {
        let request = csi::ListVolumesRequest {
            max_entries: max,
            starting_token: token.to_owned(),
        };
        ask!(self, ControllerClient.list_volumes, request)
    }

    pub(crate) fn validate(
        &self,
        volume: &Volume,
        capability: csi::VolumeCapability,
    ) -> Result<bool, Status> {
        let request = csi::ValidateVolumeCapabilitiesRequest {
            volume_id: volume.id.clone(),
            volume_capabilities: vec![capability],
            ..Default::default()
        };
        let answer = ask!(self, ControllerClient.validate_volume_capabilities, request)?;
        Ok(answer.confirmed.is_some())
    }

    pub(crate) fn capacity(&self) -> Result<csi::GetCapacityResponse, Status> {
        ask!(
            self,
            ControllerClient.get_capacity,
            csi::GetCapacityRequest::default()
        )
    }

    pub(crate) fn grow(&self, volume: &Volume, bytes: i64) -> Result<i64, Status> {
        let request = csi::ControllerExpandVolumeRequest {
            volume_id: volume.id.clone(),
            capacity_range: Some(csi::CapacityRange {
                required_bytes: bytes,
                limit_bytes: 0,
            }),
            ..Default::default()
        };
        let answer = ask!(self, ControllerClient.controller_expand_volume, request)?;
        Ok(answer.capacity_bytes)
    }

    /// Creates a volume and publishes it to the node.
    pub(crate) fn volume(
        &self,
        name: &str,
        capability: csi::VolumeCapability,
        bytes: i64,
    ) -> Result<Volume, Status> {
        let made = self.create(create_request(name, &capability, bytes))?;
        let attachment = self.attach(attach_request(&made.volume_id, &capability))?;
        Ok(Volume {
            id: made.volume_id,
            capability,
            context: made.volume_context,
            attachment,
        })
    }

    pub(crate) fn stage_request(
        &self,
        volume: &Volume,
        staging: &Path,
    ) -> csi::NodeStageVolumeRequest {
        csi::NodeStageVolumeRequest {
            volume_id: volume.id.clone(),
            publish_context: volume.attachment.clone(),
            staging_target_path: staging.display().to_string(),
            volume_capability: Some(volume.capability.clone()),
            secrets: HashMap::from([("token".to_owned(), "canary-of-a-secret".to_owned())]),
            volume_context: volume.context.clone(),
        }
    }

    pub(crate) fn stage(&self, volume: &Volume, staging: &Path) -> Result<(), Status> {
        self.stage_with(self.stage_request(volume, staging))
    }

    pub(crate) fn stage_with(&self, request: csi::NodeStageVolumeRequest) -> Result<(), Status> {
        ask!(self, NodeClient.node_stage_volume, request).map(drop)
    }

    /// Two stages at once: what each was answered.
    pub(crate) fn stage_twice(&self, volume: &Volume, staging: &Path) -> [Result<(), Status>; 2] {
        let one = self.stage_request(volume, staging);
        let other = one.clone();
        let channel = self.channel();
        self.runtime.block_on(async move {
            let stage = async |request| -> Result<(), Status> {
                let mut client = NodeClient::new(channel.clone()?);
                client.node_stage_volume(request).await.map(drop)
            };
            let (one, other) = tokio::join!(stage(one), stage(other));
            [one, other]
        })
    }

    pub(crate) fn unstage(&self, id: &str, staging: &Path) -> Result<(), Status> {
        let request = csi::NodeUnstageVolumeRequest {
            volume_id: id.to_owned(),
            staging_target_path: staging.display().to_string(),
        };
        ask!(self, NodeClient.node_unstage_volume, request).map(drop)
    }

    pub(crate) fn publish_request(
        &self,
        volume: &Volume,
        staging: &Path,
        target: &Path,
        readonly: bool,
    ) -> csi::NodePublishVolumeRequest {
        csi::NodePublishVolumeRequest {
            volume_id: volume.id.clone(),
            publish_context: volume.attachment.clone(),
            staging_target_path: staging.display().to_string(),
            target_path: target.display().to_string(),
            volume_capability: Some(volume.capability.clone()),
            readonly,
            secrets: HashMap::from([("token".to_owned(), "canary-of-a-secret".to_owned())]),
            volume_context: volume.context.clone(),
        }
    }

    pub(crate) fn publish(
        &self,
        volume: &Volume,
        staging: &Path,
        target: &Path,
        readonly: bool,
    ) -> Result<(), Status> {
        self.publish_with(self.publish_request(volume, staging, target, readonly))
    }

    pub(crate) fn publish_with(
        &self,
        request: csi::NodePublishVolumeRequest,
    ) -> Result<(), Status> {
        ask!(self, NodeClient.node_publish_volume, request).map(drop)
    }

    /// A stage that nobody waits for.
    pub(crate) fn stage_in_background(
        &self,
        volume: &Volume,
        staging: &Path,
    ) -> tokio::task::JoinHandle<Result<(), Status>> {
        let request = self.stage_request(volume, staging);
        let channel = self.channel();
        self.runtime.spawn(async move {
            let mut client = NodeClient::new(channel?);
            client.node_stage_volume(request).await.map(drop)
        })
    }

    /// A publish that nobody waits for.
    pub(crate) fn publish_in_background(
        &self,
        volume: &Volume,
        staging: &Path,
        target: &Path,
    ) -> tokio::task::JoinHandle<Result<(), Status>> {
        let request = self.publish_request(volume, staging, target, false);
        let channel = self.channel();
        self.runtime.spawn(async move {
            let mut client = NodeClient::new(channel?);
            client.node_publish_volume(request).await.map(drop)
        })
    }

    pub(crate) fn unpublish(&self, id: &str, target: &Path) -> Result<(), Status> {
        let request = csi::NodeUnpublishVolumeRequest {
            volume_id: id.to_owned(),
            target_path: target.display().to_string(),
        };
        ask!(self, NodeClient.node_unpublish_volume, request).map(drop)
    }

    pub(crate) fn stats(
        &self,
        id: &str,
        path: &Path,
    ) -> Result<csi::NodeGetVolumeStatsResponse, Status> {
        let request = csi::NodeGetVolumeStatsRequest {
            volume_id: id.to_owned(),
            volume_path: path.display().to_string(),
            ..Default::default()
        };
        ask!(self, NodeClient.node_get_volume_stats, request)
    }

    pub(crate) fn node_grow(&self, volume: &Volume, path: &Path) -> Result<i64, Status> {
        let request = csi::NodeExpandVolumeRequest {
            volume_id: volume.id.clone(),
            volume_path: path.display().to_string(),
            ..Default::default()
        };
        ask!(self, NodeClient.node_expand_volume, request).map(|answer| answer.capacity_bytes)
    }

    pub(crate) fn node_info(&self) -> Result<csi::NodeGetInfoResponse, Status> {
        ask!(self, NodeClient.node_get_info, csi::NodeGetInfoRequest {})
    }

    pub(crate) fn modify(&self) -> Result<(), Status> {
        let request = csi::ControllerModifyVolumeRequest::default();
        ask!(self, ControllerClient.controller_modify_volume, request).map(drop)
    }
}
