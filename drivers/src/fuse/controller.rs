//! The Controller service: volumes are made and deleted, and that is all.

use std::sync::Arc;

use csi_proto::v1 as csi;
use csi_proto::v1::controller_server;
use csi_proto::v1::controller_service_capability::rpc::Type as Rpc;
use csi_proto::v1::controller_service_capability::{self, Type};
use csi_proto::v1::validate_volume_capabilities_response::Confirmed;
use tonic::{Request, Response, Status, async_trait};

use super::driver::{Driver, Volume, check, internal};
use super::node;
use crate::common::args::{self, bounds, lies_in};
use crate::common::capability::Capability;
use crate::defect::Defect;
use crate::sys::{file, fuse};

/// What a volume is said to have where nobody asks for anything: 1 GiB.
const DEFAULT_BYTES: u64 = 1 << 30;

/// The Controller service of the FUSE driver.
pub(super) struct Controller(pub(super) Arc<Driver>);

#[async_trait]
impl controller_server::Controller for Controller {
    async fn create_volume(
        &self,
        request: Request<csi::CreateVolumeRequest>,
    ) -> Result<Response<csi::CreateVolumeResponse>, Status> {
        self.0
            .call("CreateVolume", request, |q| Some(&q.name), create)
            .await
    }

    async fn delete_volume(
        &self,
        request: Request<csi::DeleteVolumeRequest>,
    ) -> Result<Response<csi::DeleteVolumeResponse>, Status> {
        self.0
            .call("DeleteVolume", request, |q| Some(&q.volume_id), delete)
            .await
    }

    async fn validate_volume_capabilities(
        &self,
        request: Request<csi::ValidateVolumeCapabilitiesRequest>,
    ) -> Result<Response<csi::ValidateVolumeCapabilitiesResponse>, Status> {
        self.0
            .call("ValidateVolumeCapabilities", request, |_| None, validate)
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
) -> Result<csi::ControllerGetCapabilitiesResponse, Status> {
    let offered = [Rpc::CreateDeleteVolume, Rpc::SingleNodeMultiWriter];
    let capabilities = offered.map(|rpc| csi::ControllerServiceCapability {
        r#type: Some(Type::Rpc(controller_service_capability::Rpc {
            r#type: rpc.into(),
        })),
    });
    Ok(csi::ControllerGetCapabilitiesResponse {
        capabilities: capabilities.into(),
    })
}

/// One name is one volume: a repeat finds it again, also after a crash.
fn create(
    driver: &Driver,
    request: &csi::CreateVolumeRequest,
) -> Result<csi::CreateVolumeResponse, Status> {
    let name = args::name(&request.name)?;
    let range = bounds(request.capacity_range.as_ref())?;
    for capability in Capability::parse_all(&request.volume_capabilities)? {
        check(&capability).map_err(Status::invalid_argument)?;
    }
    if !request.parameters.is_empty() || !request.mutable_parameters.is_empty() {
        return Err(Status::invalid_argument("there are no parameters"));
    }
    if request.volume_content_source.is_some() {
        let message = "volume_content_source is not supported";
        return Err(Status::invalid_argument(message));
    }
    let there = driver.volumes.records().into_iter();
    let there = there.into_iter().find(|(_, volume)| volume.name == name);
    let (id, bytes) = match there {
        Some((id, volume)) => {
            if !lies_in(volume.capacity_bytes, range) {
                let message = "a volume of this name exists, and its size is another";
                return Err(Status::already_exists(message));
            }
            (id, volume.capacity_bytes)
        }
        None => make(driver, name, range)?,
    };
    Ok(csi::CreateVolumeResponse {
        volume: Some(csi::Volume {
            capacity_bytes: i64::try_from(bytes).unwrap_or(i64::MAX),
            volume_id: id,
            ..Default::default()
        }),
    })
}

fn make(
    driver: &Driver,
    name: &str,
    (required, limit): (u64, u64),
) -> Result<(String, u64), Status> {
    let capacity_bytes = match (required, limit) {
        (0, 0) => DEFAULT_BYTES,
        (0, limit) => DEFAULT_BYTES.min(limit),
        (required, _) => required,
    };
    let id = format!("fuse-{}", file::random_hex(12).map_err(internal)?);
    // A folder without a record, as a crash leaves it, is in nobody's way.
    file::make_dir(&driver.folder(&id), 0o755).map_err(internal)?;
    driver.volumes.update(|volumes| {
        let volume = Volume {
            name: name.to_owned(),
            capacity_bytes,
            stages: Default::default(),
            targets: Default::default(),
        };
        volumes.insert(id.clone(), volume);
        Ok(())
    })?;
    Ok((id, capacity_bytes))
}

/// Deletes a volume that nobody uses. One that is not there is deleted.
fn delete(
    driver: &Driver,
    request: &csi::DeleteVolumeRequest,
) -> Result<csi::DeleteVolumeResponse, Status> {
    let id = args::required("volume_id", &request.volume_id)?;
    if driver.defects.has(Defect::DELETE_DOES_NOTHING) {
        return Ok(csi::DeleteVolumeResponse {});
    }
    if let Some(volume) = driver.volumes.records().get(id) {
        for path in volume.stages.keys().chain(volume.targets.keys()) {
            if node::is_at(id, path)? {
                let message = format!("the volume is mounted at {}", path.display());
                return Err(Status::failed_precondition(message));
            }
        }
        fuse::remove_tree(&driver.folder(id)).map_err(internal)?;
        if !driver.defects.has(Defect::DELETED_NAMES_STAY_KNOWN) {
            driver.volumes.update(|volumes| {
                volumes.remove(id);
                Ok(())
            })?;
        }
    }
    Ok(csi::DeleteVolumeResponse {})
}

/// Confirms what publish and stage would accept.
fn validate(
    driver: &Driver,
    request: &csi::ValidateVolumeCapabilitiesRequest,
) -> Result<csi::ValidateVolumeCapabilitiesResponse, Status> {
    let id = args::required("volume_id", &request.volume_id)?;
    let capabilities = Capability::parse_all(&request.volume_capabilities)?;
    driver.volume(id)?;
    let why_not = capabilities.iter().try_for_each(check).err();
    let none = request.parameters.is_empty() && request.mutable_parameters.is_empty();
    let why_not = why_not.or_else(|| (!none).then(|| "there are no parameters".to_owned()));
    let confirmed = Confirmed {
        volume_context: request.volume_context.clone(),
        volume_capabilities: request.volume_capabilities.clone(),
        ..Default::default()
    };
    Ok(csi::ValidateVolumeCapabilitiesResponse {
        confirmed: why_not.is_none().then_some(confirmed),
        message: why_not.unwrap_or_default(),
    })
}
