//! The Controller service.

mod create;
mod expand;
mod group;
mod origin;
mod publish;
mod query;
mod snapshot;

use std::sync::Arc;

use csi_proto::v1 as csi;
use csi_proto::v1::controller_server;
use csi_proto::v1::controller_service_capability::rpc::Type as Rpc;
use csi_proto::v1::controller_service_capability::{self, Type};
use tonic::{Request, Response, Status, async_trait};

use super::args;
use super::driver::Driver;
use super::volume::Volume;

pub(super) use group::GroupController;
pub(super) use publish::{ATTACHMENT, DEVICE};

/// What is offered beside the calls that every controller must answer.
const OFFERED: [Rpc; 14] = [
    Rpc::CreateDeleteVolume,
    Rpc::PublishUnpublishVolume,
    Rpc::ListVolumes,
    Rpc::GetCapacity,
    Rpc::CreateDeleteSnapshot,
    Rpc::ListSnapshots,
    Rpc::CloneVolume,
    Rpc::PublishReadonly,
    Rpc::ExpandVolume,
    Rpc::ListVolumesPublishedNodes,
    Rpc::VolumeCondition,
    Rpc::GetVolume,
    Rpc::GetSnapshot,
    Rpc::SingleNodeMultiWriter,
];

/// The Controller service of the loop driver.
pub(super) struct Controller(pub(super) Arc<Driver>);

#[async_trait]
impl controller_server::Controller for Controller {
    async fn create_volume(
        &self,
        request: Request<csi::CreateVolumeRequest>,
    ) -> Result<Response<csi::CreateVolumeResponse>, Status> {
        self.0
            .patient_call("CreateVolume", request, |q| Some(&q.name), create::create)
            .await
    }

    async fn delete_volume(
        &self,
        request: Request<csi::DeleteVolumeRequest>,
    ) -> Result<Response<csi::DeleteVolumeResponse>, Status> {
        self.0
            .call(
                "DeleteVolume",
                request,
                |q| Some(&q.volume_id),
                create::delete,
            )
            .await
    }

    async fn controller_publish_volume(
        &self,
        request: Request<csi::ControllerPublishVolumeRequest>,
    ) -> Result<Response<csi::ControllerPublishVolumeResponse>, Status> {
        let rpc = "ControllerPublishVolume";
        self.0
            .call(rpc, request, |q| Some(&q.volume_id), publish::publish)
            .await
    }

    async fn controller_unpublish_volume(
        &self,
        request: Request<csi::ControllerUnpublishVolumeRequest>,
    ) -> Result<Response<csi::ControllerUnpublishVolumeResponse>, Status> {
        let rpc = "ControllerUnpublishVolume";
        self.0
            .call(rpc, request, |q| Some(&q.volume_id), publish::unpublish)
            .await
    }

    async fn validate_volume_capabilities(
        &self,
        request: Request<csi::ValidateVolumeCapabilitiesRequest>,
    ) -> Result<Response<csi::ValidateVolumeCapabilitiesResponse>, Status> {
        self.0
            .call(
                "ValidateVolumeCapabilities",
                request,
                |_| None,
                query::validate,
            )
            .await
    }

    async fn list_volumes(
        &self,
        request: Request<csi::ListVolumesRequest>,
    ) -> Result<Response<csi::ListVolumesResponse>, Status> {
        self.0
            .call("ListVolumes", request, |_| None, query::list)
            .await
    }

    async fn controller_get_volume(
        &self,
        request: Request<csi::ControllerGetVolumeRequest>,
    ) -> Result<Response<csi::ControllerGetVolumeResponse>, Status> {
        self.0
            .call("ControllerGetVolume", request, |_| None, query::get)
            .await
    }

    async fn get_capacity(
        &self,
        request: Request<csi::GetCapacityRequest>,
    ) -> Result<Response<csi::GetCapacityResponse>, Status> {
        self.0
            .call("GetCapacity", request, |_| None, query::capacity)
            .await
    }

    async fn controller_expand_volume(
        &self,
        request: Request<csi::ControllerExpandVolumeRequest>,
    ) -> Result<Response<csi::ControllerExpandVolumeResponse>, Status> {
        let rpc = "ControllerExpandVolume";
        self.0
            .call(rpc, request, |q| Some(&q.volume_id), expand::expand)
            .await
    }

    async fn controller_get_capabilities(
        &self,
        request: Request<csi::ControllerGetCapabilitiesRequest>,
    ) -> Result<Response<csi::ControllerGetCapabilitiesResponse>, Status> {
        self.0
            .call("ControllerGetCapabilities", request, |_| None, capabilities)
            .await
    }

    async fn controller_list_volume_health(
        &self,
        _: Request<csi::ControllerListVolumeHealthRequest>,
    ) -> Result<Response<csi::ControllerListVolumeHealthResponse>, Status> {
        self.0.unimplemented("ControllerListVolumeHealth")
    }

    async fn controller_get_volume_health(
        &self,
        _: Request<csi::ControllerGetVolumeHealthRequest>,
    ) -> Result<Response<csi::ControllerGetVolumeHealthResponse>, Status> {
        self.0.unimplemented("ControllerGetVolumeHealth")
    }

    async fn create_snapshot(
        &self,
        request: Request<csi::CreateSnapshotRequest>,
    ) -> Result<Response<csi::CreateSnapshotResponse>, Status> {
        let rpc = "CreateSnapshot";
        self.0
            .call(
                rpc,
                request,
                |q| Some(&q.source_volume_id),
                snapshot::create,
            )
            .await
    }

    async fn delete_snapshot(
        &self,
        request: Request<csi::DeleteSnapshotRequest>,
    ) -> Result<Response<csi::DeleteSnapshotResponse>, Status> {
        let rpc = "DeleteSnapshot";
        self.0
            .call(rpc, request, |q| Some(&q.snapshot_id), snapshot::delete)
            .await
    }

    async fn list_snapshots(
        &self,
        request: Request<csi::ListSnapshotsRequest>,
    ) -> Result<Response<csi::ListSnapshotsResponse>, Status> {
        self.0
            .call("ListSnapshots", request, |_| None, snapshot::list)
            .await
    }

    async fn get_snapshot(
        &self,
        request: Request<csi::GetSnapshotRequest>,
    ) -> Result<Response<csi::GetSnapshotResponse>, Status> {
        self.0
            .call("GetSnapshot", request, |_| None, snapshot::get)
            .await
    }

    async fn controller_modify_volume(
        &self,
        _: Request<csi::ControllerModifyVolumeRequest>,
    ) -> Result<Response<csi::ControllerModifyVolumeResponse>, Status> {
        self.0.unimplemented("ControllerModifyVolume")
    }
}

fn capabilities(
    _: &Driver,
    _: &csi::ControllerGetCapabilitiesRequest,
) -> Result<csi::ControllerGetCapabilitiesResponse, Status> {
    let capabilities = OFFERED.map(|rpc| csi::ControllerServiceCapability {
        r#type: Some(Type::Rpc(controller_service_capability::Rpc {
            r#type: rpc.into(),
        })),
    });
    Ok(csi::ControllerGetCapabilitiesResponse {
        capabilities: capabilities.into(),
    })
}

/// A volume as answers tell of it.
fn told(driver: &Driver, volume: &Volume) -> csi::Volume {
    csi::Volume {
        capacity_bytes: i64::try_from(volume.capacity_bytes).unwrap_or(i64::MAX),
        volume_id: volume.id.clone(),
        volume_context: volume.context().into_iter().collect(),
        content_source: volume.source.as_ref().map(origin::told),
        accessible_topology: vec![args::topology(&driver.node_id)],
    }
}
