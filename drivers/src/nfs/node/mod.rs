//! The Node service.

mod publish;
mod stage;
mod stats;
mod there;
mod unpublish;
mod unstage;

use std::collections::HashMap;
use std::sync::Arc;

use csi_proto::v1 as csi;
use csi_proto::v1::node_server;
use csi_proto::v1::node_service_capability::rpc::Type as Rpc;
use csi_proto::v1::node_service_capability::{self, Type};
use tonic::{Request, Response, Status, async_trait};

use super::capability;
use super::driver::Driver;
use super::flags::Flags;
use crate::common::calls::Answers;
use crate::common::capability::Capability;
use crate::common::patience::Patience;
use crate::defect::Defect;
use crate::sys::command;

/// The Node service of the NFS driver.
pub(super) struct Node(pub(super) Arc<Driver>);

#[async_trait]
impl node_server::Node for Node {
    async fn node_stage_volume(
        &self,
        request: Request<csi::NodeStageVolumeRequest>,
    ) -> Result<Response<csi::NodeStageVolumeResponse>, Status> {
        let rpc = "NodeStageVolume";
        if !self.0.stages {
            return self.0.unimplemented(rpc);
        }
        self.0
            .call(rpc, request, |q| Some(&q.volume_id), stage::stage)
            .await
    }

    async fn node_unstage_volume(
        &self,
        request: Request<csi::NodeUnstageVolumeRequest>,
    ) -> Result<Response<csi::NodeUnstageVolumeResponse>, Status> {
        let rpc = "NodeUnstageVolume";
        if !self.0.stages {
            return self.0.unimplemented(rpc);
        }
        self.0
            .call(rpc, request, |q| Some(&q.volume_id), unstage::unstage)
            .await
    }

    async fn node_publish_volume(
        &self,
        request: Request<csi::NodePublishVolumeRequest>,
    ) -> Result<Response<csi::NodePublishVolumeResponse>, Status> {
        self.0.calls().maybe_hang().await;
        let rpc = "NodePublishVolume";
        self.0
            .call(rpc, request, |q| Some(&q.volume_id), publish::publish)
            .await
    }

    async fn node_unpublish_volume(
        &self,
        request: Request<csi::NodeUnpublishVolumeRequest>,
    ) -> Result<Response<csi::NodeUnpublishVolumeResponse>, Status> {
        let rpc = "NodeUnpublishVolume";
        self.0
            .call(rpc, request, |q| Some(&q.volume_id), unpublish::unpublish)
            .await
    }

    async fn node_get_volume_stats(
        &self,
        request: Request<csi::NodeGetVolumeStatsRequest>,
    ) -> Result<Response<csi::NodeGetVolumeStatsResponse>, Status> {
        self.0
            .call("NodeGetVolumeStats", request, |_| None, stats::stats)
            .await
    }

    async fn node_expand_volume(
        &self,
        _: Request<csi::NodeExpandVolumeRequest>,
    ) -> Result<Response<csi::NodeExpandVolumeResponse>, Status> {
        self.0.unimplemented("NodeExpandVolume")
    }

    async fn node_get_capabilities(
        &self,
        request: Request<csi::NodeGetCapabilitiesRequest>,
    ) -> Result<Response<csi::NodeGetCapabilitiesResponse>, Status> {
        self.0
            .call("NodeGetCapabilities", request, |_| None, capabilities)
            .await
    }

    async fn node_get_info(
        &self,
        request: Request<csi::NodeGetInfoRequest>,
    ) -> Result<Response<csi::NodeGetInfoResponse>, Status> {
        self.0.call("NodeGetInfo", request, |_| None, info).await
    }

    async fn node_get_volume_health(
        &self,
        _: Request<csi::NodeGetVolumeHealthRequest>,
    ) -> Result<Response<csi::NodeGetVolumeHealthResponse>, Status> {
        self.0.unimplemented("NodeGetVolumeHealth")
    }

    async fn node_get_storage_health(
        &self,
        _: Request<csi::NodeGetStorageHealthRequest>,
    ) -> Result<Response<csi::NodeGetStorageHealthResponse>, Status> {
        self.0.unimplemented("NodeGetStorageHealth")
    }
}

fn capabilities(
    driver: &Driver,
    _: &csi::NodeGetCapabilitiesRequest,
    _: &Patience,
) -> Result<csi::NodeGetCapabilitiesResponse, Status> {
    let stages = driver.stages.then_some(Rpc::StageUnstageVolume);
    let capabilities = [Rpc::GetVolumeStats, Rpc::SingleNodeMultiWriter]
        .into_iter()
        .chain(stages)
        .map(|rpc| csi::NodeServiceCapability {
            r#type: Some(Type::Rpc(node_service_capability::Rpc {
                r#type: rpc.into(),
            })),
        });
    Ok(csi::NodeGetCapabilitiesResponse {
        capabilities: capabilities.collect(),
    })
}

fn info(
    driver: &Driver,
    _: &csi::NodeGetInfoRequest,
    _: &Patience,
) -> Result<csi::NodeGetInfoResponse, Status> {
    Ok(csi::NodeGetInfoResponse {
        node_id: driver.node_id.clone(),
        max_volumes_per_node: 0,
        accessible_topology: None,
    })
}

/// The capability of a stage or publish, and how it is to be mounted.
fn capability(
    driver: &Driver,
    asked: Option<&csi::VolumeCapability>,
) -> Result<(Capability, Flags), Status> {
    if asked.is_none() && driver.defects.has(Defect::EDGE_REQUEST_PANICS) {
        std::process::abort();
    }
    let asked = Capability::parse(asked)?;
    capability::check(&asked).map_err(Status::invalid_argument)?;
    let flags = Flags::of(&asked, driver.lets_background())?;
    Ok(match driver.defects.has(Defect::MOUNT_FLAGS_DROPPED) {
        true => (asked, flags.dropped()),
        false => (asked, flags),
    })
}

/// The defects that bite before a volume is mounted.
fn misbehave(driver: &Driver, secrets: &HashMap<String, String>) {
    if driver.defects.has(Defect::ZOMBIE_CHILDREN) {
        command::start_and_forget("true");
    }
    if driver.defects.has(Defect::SECRET_IN_ARGV) && !secrets.is_empty() {
        let words: Vec<_> = secrets.values().cloned().collect();
        command::show_in_argv(&words);
    }
}
