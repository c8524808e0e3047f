//! The Node service.

mod device;
mod expand;
mod lost;
mod publish;
mod stage;
mod stats;
mod unpublish;
mod unstage;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use csi_proto::v1 as csi;
use csi_proto::v1::node_server;
use csi_proto::v1::node_service_capability::rpc::Type as Rpc;
use csi_proto::v1::node_service_capability::{self, Type};
use tonic::{Request, Response, Status, async_trait};

use super::args;
use super::controller::{ATTACHMENT, DEVICE};
use super::driver::Driver;
use super::volume::{Attachment, Volume, internal};
use crate::common::calls::Answers;
use crate::common::capability::Capability;
use crate::defect::Defect;
use crate::sys::file;

/// What is offered beside the calls that every node must answer.
const OFFERED: [Rpc; 5] = [
    Rpc::StageUnstageVolume,
    Rpc::GetVolumeStats,
    Rpc::ExpandVolume,
    Rpc::VolumeCondition,
    Rpc::SingleNodeMultiWriter,
];

/// How many volumes the node takes.
pub(super) const MOST_VOLUMES: usize = 200;

/// The Node service of the loop driver.
pub(super) struct Node(pub(super) Arc<Driver>);

#[async_trait]
impl node_server::Node for Node {
    async fn node_stage_volume(
        &self,
        request: Request<csi::NodeStageVolumeRequest>,
    ) -> Result<Response<csi::NodeStageVolumeResponse>, Status> {
        self.0
            .patient_call(
                "NodeStageVolume",
                request,
                |q| Some(&q.volume_id),
                stage::stage,
            )
            .await
    }

    async fn node_unstage_volume(
        &self,
        request: Request<csi::NodeUnstageVolumeRequest>,
    ) -> Result<Response<csi::NodeUnstageVolumeResponse>, Status> {
        let rpc = "NodeUnstageVolume";
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
        request: Request<csi::NodeExpandVolumeRequest>,
    ) -> Result<Response<csi::NodeExpandVolumeResponse>, Status> {
        self.0
            .call(
                "NodeExpandVolume",
                request,
                |q| Some(&q.volume_id),
                expand::expand,
            )
            .await
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
    _: &Driver,
    _: &csi::NodeGetCapabilitiesRequest,
) -> Result<csi::NodeGetCapabilitiesResponse, Status> {
    let capabilities = OFFERED.map(|rpc| csi::NodeServiceCapability {
        r#type: Some(Type::Rpc(node_service_capability::Rpc {
            r#type: rpc.into(),
        })),
    });
    Ok(csi::NodeGetCapabilitiesResponse {
        capabilities: capabilities.into(),
    })
}

fn info(driver: &Driver, _: &csi::NodeGetInfoRequest) -> Result<csi::NodeGetInfoResponse, Status> {
    Ok(csi::NodeGetInfoResponse {
        node_id: driver.node_id.clone(),
        max_volumes_per_node: i64::try_from(MOST_VOLUMES).unwrap_or(0),
        accessible_topology: Some(args::topology(&driver.node_id)),
    })
}

/// The capability of a stage or publish.
fn capability(
    driver: &Driver,
    capability: Option<&csi::VolumeCapability>,
) -> Result<Capability, Status> {
    if capability.is_none() && driver.defects.has(Defect::EDGE_REQUEST_PANICS) {
        std::process::abort();
    }
    Capability::parse(capability)
}

/// Whether the volume may be used on this node in this way, and its attachment,
/// which `publish_context` must name.
fn admitted<'a>(
    driver: &Driver,
    volume: &'a Volume,
    capability: &Capability,
    publish_context: &HashMap<String, String>,
    volume_context: &HashMap<String, String>,
) -> Result<&'a Attachment, Status> {
    capability
        .check(&driver.filesystems)
        .and_then(|()| volume.check(capability))
        .map_err(Status::failed_precondition)?;
    if !driver.defects.has(Defect::SAME_HANDLE_CONTEXT_IGNORED) {
        args::context(volume_context, volume)?;
    }
    let shown = publish_context.get(ATTACHMENT);
    volume
        .attachment
        .as_ref()
        .filter(|attachment| shown == Some(&attachment.id))
        .ok_or_else(|| {
            let message = "publish_context names no publication of the volume to this node";
            Status::failed_precondition(message)
        })
}

/// The name of the disk in `publish_context` must lead to this volume's: names are
/// given anew, and may be another's by now.
fn leads_to_own_disk(
    driver: &Driver,
    volume: &Volume,
    publish_context: &HashMap<String, String>,
) -> Result<(), Status> {
    let Some(alias) = publish_context.get(DEVICE) else {
        return Ok(());
    };
    let led_to = file::led_to(Path::new(alias)).map_err(internal)?;
    if led_to == driver.image(volume) {
        return Ok(());
    }
    Err(Status::failed_precondition(
        "the device that publish_context names leads to another disk than the volume's",
    ))
}

/// A volume that cannot be used is neither staged nor published, also where it is
/// mounted already.
fn healthy(driver: &Driver, volume: &Volume, staging: &Path) -> Result<(), Status> {
    if driver.defects.has(Defect::ALREADY_MOUNTED_NO_HEALTH_CHECK) {
        return Ok(());
    }
    whole(driver, volume)?;
    if let Some(message) = device::turned_read_only(driver, volume, staging) {
        return Err(Status::failed_precondition(message));
    }
    if let Some(device) = device::primary(driver, volume)? {
        device.answers().map_err(internal)?;
    }
    // What has stopped does not even show its root.
    if matches!(device::top(driver, volume, staging)?, device::Top::Own(_)) {
        file::identity(staging).map_err(internal)?;
    }
    Ok(())
}

/// The disk must be whole: one that was cut short reads as zeros or as errors,
/// and is neither blank nor usable.
fn whole(driver: &Driver, volume: &Volume) -> Result<(), Status> {
    let length = file::length(&driver.image(volume)).map_err(internal)?;
    if length < volume.capacity_bytes {
        return Err(Status::data_loss(
            "the disk image is shorter than the volume",
        ));
    }
    Ok(())
}

/// Whether the file system of this volume is what is mounted at a path.
pub(super) fn is_at(driver: &Driver, volume: &Volume, path: &Path) -> Result<bool, Status> {
    let there = device::top(driver, volume, path)?;
    Ok(matches!(there, device::Top::Own(mount) if !mount.is_node()))
}

/// A path at which something is mounted that is not ours.
fn occupied(path: &Path) -> Status {
    let message = format!("something else is mounted at {}", path.display());
    Status::failed_precondition(message)
}
