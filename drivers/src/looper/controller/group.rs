//! The `GroupController` service: snapshots of several volumes at one moment.

use std::sync::Arc;

use csi_proto::v1 as csi;
use csi_proto::v1::group_controller_server;
use csi_proto::v1::group_controller_service_capability::rpc::Type as Rpc;
use csi_proto::v1::group_controller_service_capability::{self, Type};
use tonic::{Request, Response, Status, async_trait};

use super::snapshot::{now, told as member_told};
use crate::common::calls::Answers;
use crate::defect::Defect;
use crate::looper::args;
use crate::looper::driver::Driver;
use crate::looper::group::{self, Group};
use crate::looper::snapshot::{self, Origin, Snapshot};
use crate::looper::still::Still;
use crate::looper::volume::Volume;

/// The `GroupController` service of the loop driver.
pub(in crate::looper) struct GroupController(pub(in crate::looper) Arc<Driver>);

#[async_trait]
impl group_controller_server::GroupController for GroupController {
    async fn group_controller_get_capabilities(
        &self,
        request: Request<csi::GroupControllerGetCapabilitiesRequest>,
    ) -> Result<Response<csi::GroupControllerGetCapabilitiesResponse>, Status> {
        let rpc = "GroupControllerGetCapabilities";
        self.0.call(rpc, request, |_| None, capabilities).await
    }

    async fn create_volume_group_snapshot(
        &self,
        request: Request<csi::CreateVolumeGroupSnapshotRequest>,
    ) -> Result<Response<csi::CreateVolumeGroupSnapshotResponse>, Status> {
        let rpc = "CreateVolumeGroupSnapshot";
        self.0.call(rpc, request, |_| None, create).await
    }

    async fn delete_volume_group_snapshot(
        &self,
        request: Request<csi::DeleteVolumeGroupSnapshotRequest>,
    ) -> Result<Response<csi::DeleteVolumeGroupSnapshotResponse>, Status> {
        let rpc = "DeleteVolumeGroupSnapshot";
        self.0
            .call(rpc, request, |q| Some(&q.group_snapshot_id), delete)
            .await
    }

    async fn get_volume_group_snapshot(
        &self,
        request: Request<csi::GetVolumeGroupSnapshotRequest>,
    ) -> Result<Response<csi::GetVolumeGroupSnapshotResponse>, Status> {
        let rpc = "GetVolumeGroupSnapshot";
        self.0.call(rpc, request, |_| None, get).await
    }
}

fn capabilities(
    _: &Driver,
    _: &csi::GroupControllerGetCapabilitiesRequest,
) -> Result<csi::GroupControllerGetCapabilitiesResponse, Status> {
    let rpc = group_controller_service_capability::Rpc {
        r#type: Rpc::CreateDeleteGetVolumeGroupSnapshot.into(),
    };
    Ok(csi::GroupControllerGetCapabilitiesResponse {
        capabilities: vec![csi::GroupControllerServiceCapability {
            r#type: Some(Type::Rpc(rpc)),
        }],
    })
}

/// Copies volumes as they are at one moment. One name is one group.
fn create(
    driver: &Driver,
    request: &csi::CreateVolumeGroupSnapshotRequest,
) -> Result<csi::CreateVolumeGroupSnapshotResponse, Status> {
    let name = args::name(&request.name)?;
    if request.source_volume_ids.is_empty() {
        return Err(Status::invalid_argument("source_volume_ids is empty"));
    }
    if !request.parameters.is_empty() {
        return Err(Status::invalid_argument("there are no parameters"));
    }
    let mut ids = request.source_volume_ids.clone();
    ids.sort();
    ids.dedup();
    let _name = driver.calls().hold(&format!("group {name}"))?;
    if let Some(existing) = driver.groups.named(name) {
        if existing.volumes != ids {
            let message = "a group of this name exists, and is of other volumes";
            return Err(Status::already_exists(message));
        }
        return Ok(csi::CreateVolumeGroupSnapshotResponse {
            group_snapshot: Some(told(driver, &existing)),
        });
    }
    let held = ids.iter().map(|id| driver.calls().hold(id));
    let _held = held.collect::<Result<Vec<_>, _>>()?;
    let volumes = ids.iter().map(|id| driver.store.get(id));
    let volumes = volumes.collect::<Result<Vec<_>, _>>()?;
    if volumes.len() > 1 && volumes.iter().any(is_written_past_us) {
        return Err(Status::failed_precondition(
            "a block volume that is in use cannot be cut in one moment with others",
        ));
    }
    let group = cut(driver, name, &volumes)?;
    Ok(csi::CreateVolumeGroupSnapshotResponse {
        group_snapshot: Some(told(driver, &group)),
    })
}

/// Whether its writers cannot be held up: there is no file system to freeze.
fn is_written_past_us(volume: &Volume) -> bool {
    volume.block && !volume.targets.is_empty()
}

/// Holds all of them still, copies each, and lets them go.
fn cut(driver: &Driver, name: &str, volumes: &[Volume]) -> Result<Group, Status> {
    let id = group::new_id()?;
    let mut members = Vec::new();
    let cut = match driver.defects.has(Defect::GROUP_CUT_ONE_BY_ONE) {
        true => volumes.iter().try_for_each(|volume| {
            std::thread::sleep(BETWEEN);
            copy_all(driver, &id, std::slice::from_ref(volume), &mut members)
        }),
        false => copy_all(driver, &id, volumes, &mut members),
    };
    let group = cut.and_then(|()| {
        let group = Group {
            id,
            name: name.to_owned(),
            volumes: volumes.iter().map(|volume| volume.id.clone()).collect(),
            members: members.clone(),
            created: now(),
        };
        driver.groups.create(&group)?;
        Ok(group)
    });
    // What cannot be deleted now is deleted at the next start: it is of no group.
    group.inspect_err(|_| {
        for member in &members {
            let _ = driver.snapshots.delete(member);
        }
    })
}

/// How long the defect group-cut-one-by-one takes from one member to the next.
const BETWEEN: std::time::Duration = std::time::Duration::from_millis(150);

fn copy_all(
    driver: &Driver,
    group: &str,
    volumes: &[Volume],
    members: &mut Vec<String>,
) -> Result<(), Status> {
    let stills = volumes.iter().map(|volume| Still::hold(driver, volume));
    let stills = stills.collect::<Result<Vec<_>, _>>()?;
    let created = now();
    let swapped = driver.defects.has(Defect::GROUP_MEMBERS_SWAPPED);
    let mut copied_from: Vec<_> = stills.iter().collect();
    if swapped {
        copied_from.rotate_left(1);
    }
    for (volume, still) in volumes.iter().zip(copied_from) {
        let member = Snapshot {
            id: snapshot::new_id()?,
            name: format!("{group} {}", volume.id),
            source_volume_id: volume.id.clone(),
            created,
            origin: Origin::of(volume),
            group: Some(group.to_owned()),
        };
        driver
            .snapshots
            .create(&member, |image| still.copy(image))?;
        members.push(member.id);
    }
    stills.into_iter().try_for_each(Still::release)
}

/// Deletes a group and its members. One that is not there is deleted.
fn delete(
    driver: &Driver,
    request: &csi::DeleteVolumeGroupSnapshotRequest,
) -> Result<csi::DeleteVolumeGroupSnapshotResponse, Status> {
    let id = args::required("group_snapshot_id", &request.group_snapshot_id)?;
    let members = asked_members(&request.snapshot_ids)?;
    let Some(group) = driver.groups.find(id) else {
        return Ok(csi::DeleteVolumeGroupSnapshotResponse {});
    };
    fit(&group, &members)?;
    // The record is the last to go, so that a repeat goes on where this ended.
    for member in &group.members {
        let keeps = driver.defects.has(Defect::GROUP_DELETE_KEEPS_MEMBERS);
        if !keeps && driver.snapshots.find(member).is_some() {
            driver.snapshots.delete(member)?;
        }
    }
    driver.groups.delete(id)?;
    Ok(csi::DeleteVolumeGroupSnapshotResponse {})
}

/// One group, as it is now.
fn get(
    driver: &Driver,
    request: &csi::GetVolumeGroupSnapshotRequest,
) -> Result<csi::GetVolumeGroupSnapshotResponse, Status> {
    let id = args::required("group_snapshot_id", &request.group_snapshot_id)?;
    let members = asked_members(&request.snapshot_ids)?;
    let found = driver.groups.find(id);
    let found = found.ok_or_else(|| Status::not_found("there is no group of this id"))?;
    fit(&found, &members)?;
    Ok(csi::GetVolumeGroupSnapshotResponse {
        group_snapshot: Some(told(driver, &found)),
    })
}

fn asked_members(snapshot_ids: &[String]) -> Result<Vec<String>, Status> {
    if snapshot_ids.is_empty() {
        return Err(Status::invalid_argument("snapshot_ids is empty"));
    }
    let mut ids = snapshot_ids.to_vec();
    ids.sort();
    ids.dedup();
    Ok(ids)
}

fn fit(group: &Group, asked: &[String]) -> Result<(), Status> {
    let mut members = group.members.clone();
    members.sort();
    match members == asked {
        true => Ok(()),
        false => Err(Status::invalid_argument(
            "snapshot_ids are not the members of this group",
        )),
    }
}

/// A group as answers tell of it: what is there is whole.
fn told(driver: &Driver, group: &Group) -> csi::VolumeGroupSnapshot {
    let members = group.members.iter();
    let (seconds, nanos) = group.created;
    csi::VolumeGroupSnapshot {
        group_snapshot_id: group.id.clone(),
        snapshots: members
            .filter_map(|id| driver.snapshots.find(id))
            .map(|member| member_told(&member))
            .collect(),
        creation_time: Some(prost_types::Timestamp { seconds, nanos }),
        ready_to_use: true,
    }
}
