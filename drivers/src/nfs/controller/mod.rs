//! The Controller service.

mod create;
mod delete;
mod validate;

use std::sync::Arc;

use csi_proto::v1 as csi;
use csi_proto::v1::controller_server;
use csi_proto::v1::controller_service_capability::rpc::Type as Rpc;
use csi_proto::v1::controller_service_capability::{self, Type};
use tonic::{Request, Response, Status, async_trait};

use super::driver::Driver;
use crate::common::patience::Patience;

/// What is offered beside the calls that every controller must answer.
const OFFERED: [Rpc; 2] = [Rpc::CreateDeleteVolume, Rpc::SingleNodeMultiWriter];

/// The Controller service of the NFS driver.
pub(super) struct Controller(pub(super) Arc<Driver>);

#[async_trait]
impl controller_server::Controller for Controller {
    async fn create_volume(
        &self,
        request: Request<csi::CreateVolumeRequest>,
    ) -> Result<Response<csi::CreateVolumeResponse>, Status> {
        self.0
            .call("CreateVolume", request, |q| Some(&q.name), create::create)
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
                delete::delete,
            )
            .await
    }

    async fn controller_publish_volume(
        &self,
        _: Request<csi::ControllerPublishVolumeRequest>,
    ) -> Result<Response<csi::ControllerPublishVolumeResponse>, Status> {
        self.0.unimplemented("ControllerPublishVolume")
    }

    async fn controller_unpublish_volume(
        &self,
        _: Request<csi::ControllerUnpublishVolumeRequest>,
    ) -> Result<Response<csi::ControllerUnpublishVolumeResponse>, Status> {
        self.0.unimplemented("ControllerUnpublishVolume")
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
                validate::validate,
            )
            .await
    }

    async fn list_volumes(
        &self,
        _: Request<csi::ListVolumesRequest>,
    ) -> Result<Response<csi::ListVolumesResponse>, Status> {
        self.0.unimplemented("ListVolumes")
    }

    async fn controller_get_volume(
        &self,
        _: Request<csi::ControllerGetVolumeRequest>,
    ) -> Result<Response<csi::ControllerGetVolumeResponse>, Status> {
        self.0.unimplemented("ControllerGetVolume")
    }

    async fn get_capacity(
        &self,
        _: Request<csi::GetCapacityRequest>,
    ) -> Result<Response<csi::GetCapacityResponse>, Status> {
        self.0.unimplemented("GetCapacity")
    }

    async fn controller_expand_volume(
        &self,
        _: Request<csi::ControllerExpandVolumeRequest>,
    ) -> Result<Response<csi::ControllerExpandVolumeResponse>, Status> {
        self.0.unimplemented("ControllerExpandVolume")
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
        _: Request<csi::CreateSnapshotRequest>,
    ) -> Result<Response<csi::CreateSnapshotResponse>, Status> {
        self.0.unimplemented("CreateSnapshot")
    }

    async fn delete_snapshot(
        &self,
        _: Request<csi::DeleteSnapshotRequest>,
    ) -> Result<Response<csi::DeleteSnapshotResponse>, Status> {
        self.0.unimplemented("DeleteSnapshot")
    }

    async fn list_snapshots(
        &self,
        _: Request<csi::ListSnapshotsRequest>,
    ) -> Result<Response<csi::ListSnapshotsResponse>, Status> {
        self.0.unimplemented("ListSnapshots")
    }

    async fn get_snapshot(
        &self,
        _: Request<csi::GetSnapshotRequest>,
    ) -> Result<Response<csi::GetSnapshotResponse>, Status> {
        self.0.unimplemented("GetSnapshot")
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
    _: &Patience,
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
