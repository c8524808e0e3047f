//! The calls that only tell: `ValidateVolumeCapabilities`, `ListVolumes`,
//! `ControllerGetVolume`, `GetCapacity`.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use csi_proto::v1 as csi;
use csi_proto::v1::{
    controller_get_volume_response, list_volumes_response, validate_volume_capabilities_response,
};
use tonic::Status;

use super::create::wanted_filesystem;
use super::told;
use crate::common::capability::Capability;
use crate::defect::Defect;
use crate::looper::args::{self, LARGEST_BYTES, smallest};
use crate::looper::driver::Driver;
use crate::looper::volume::{Volume, internal, is_id};
use crate::sys::{file, filesystem};

/// Confirms what publish and stage would accept.
pub(super) fn validate(
    driver: &Driver,
    request: &csi::ValidateVolumeCapabilitiesRequest,
) -> Result<csi::ValidateVolumeCapabilitiesResponse, Status> {
    let id = args::required("volume_id", &request.volume_id)?;
    let capabilities = Capability::parse_all(&request.volume_capabilities)?;
    let volume = driver.store.get(id)?;
    let why_not = why_not(driver, &volume, request, &capabilities).err();
    let confirmed = validate_volume_capabilities_response::Confirmed {
        volume_context: request.volume_context.clone(),
        volume_capabilities: request.volume_capabilities.clone(),
        parameters: request.parameters.clone(),
        mutable_parameters: request.mutable_parameters.clone(),
    };
    Ok(csi::ValidateVolumeCapabilitiesResponse {
        confirmed: why_not.is_none().then_some(confirmed),
        message: why_not.unwrap_or_default(),
    })
}

fn why_not(
    driver: &Driver,
    volume: &Volume,
    request: &csi::ValidateVolumeCapabilitiesRequest,
    capabilities: &[Capability],
) -> Result<(), String> {
    for capability in capabilities {
        capability.check(&driver.filesystems)?;
        volume.check(capability)?;
    }
    if !request.mutable_parameters.is_empty() {
        return Err("mutable_parameters are not supported".to_owned());
    }
    let made = |(key, value): (&String, &String)| volume.parameters.get(key) == Some(value);
    if !request.parameters.iter().all(made) {
        return Err("the volume was made with other parameters".to_owned());
    }
    args::context(&request.volume_context, volume).map_err(|error| error.message().to_owned())
}

/// The volumes by id, page by page; a page's token is the last id before it.
pub(super) fn list(
    driver: &Driver,
    request: &csi::ListVolumesRequest,
) -> Result<csi::ListVolumesResponse, Status> {
    let page = usize::try_from(request.max_entries)
        .map_err(|_| Status::invalid_argument("max_entries is negative"))?;
    let after = request.starting_token.as_str();
    let after = match driver.defects.has(Defect::LIST_TOKEN_IGNORED) {
        true => "",
        false => after,
    };
    if !after.is_empty() && !is_id(after) {
        return Err(Status::aborted(
            "starting_token is none that was given out here",
        ));
    }
    let page = if page == 0 { usize::MAX } else { page };
    let mut volumes = all(driver);
    volumes.retain(|volume| volume.id.as_str() > after);
    if driver.defects.has(Defect::LIST_SKIPS_AT_PAGE) && !after.is_empty() {
        volumes.drain(..volumes.len().min(1));
    }
    let more = volumes.len() > page;
    volumes.truncate(page);
    let last = volumes.last().map(|volume| volume.id.clone());
    let entry = |volume: &Volume| list_volumes_response::Entry {
        volume: Some(told(driver, volume)),
        status: Some(list_volumes_response::VolumeStatus {
            published_node_ids: published_nodes(driver, volume),
            volume_condition: Some(condition(driver, volume)),
        }),
    };
    Ok(csi::ListVolumesResponse {
        entries: volumes.iter().map(entry).collect(),
        next_token: last.filter(|_| more).unwrap_or_default(),
    })
}

/// The volumes that there are; with the defect deleted-stay-listed, all that were ever
/// told of.
fn all(driver: &Driver) -> Vec<Volume> {
    static TOLD: Mutex<BTreeMap<String, Volume>> = Mutex::new(BTreeMap::new());
    let volumes = driver.store.all();
    if !driver.defects.has(Defect::DELETED_STAY_LISTED) {
        return volumes;
    }
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    told.extend(
        volumes
            .into_iter()
            .map(|volume| (volume.id.clone(), volume)),
    );
    told.values().cloned().collect()
}

/// One volume.
pub(super) fn get(
    driver: &Driver,
    request: &csi::ControllerGetVolumeRequest,
) -> Result<csi::ControllerGetVolumeResponse, Status> {
    let id = args::required("volume_id", &request.volume_id)?;
    let remembered = match driver.defects.has(Defect::DELETED_STAY_LISTED) {
        true => all(driver).into_iter().find(|volume| volume.id == id),
        false => None,
    };
    let volume = remembered.map_or_else(|| driver.store.get(id), Ok)?;
    Ok(csi::ControllerGetVolumeResponse {
        volume: Some(told(driver, &volume)),
        status: Some(controller_get_volume_response::VolumeStatus {
            published_node_ids: published_nodes(driver, &volume),
            volume_condition: Some(condition(driver, &volume)),
        }),
    })
}

fn published_nodes(driver: &Driver, volume: &Volume) -> Vec<String> {
    volume
        .attachment
        .iter()
        .filter(|_| !driver.defects.has(Defect::PUBLISHED_NODES_FORGOTTEN))
        .map(|attachment| attachment.node.clone())
        .collect()
}

/// What can be said of a volume without its node: whether its disk is whole.
fn condition(driver: &Driver, volume: &Volume) -> csi::VolumeCondition {
    let message = match file::length(&driver.image(volume)) {
        Ok(bytes) if bytes >= volume.capacity_bytes => None,
        Ok(bytes) => Some(format!("the disk image has {bytes} bytes left")),
        Err(_) => Some("the disk image cannot be found".to_owned()),
    }
    .filter(|_| !driver.defects.has(Defect::CONDITION_ALWAYS_WELL));
    csi::VolumeCondition {
        abnormal: message.is_some(),
        message: message.unwrap_or_else(|| "the disk image is whole".to_owned()),
    }
}

/// How much room there is for volumes of this kind.
pub(super) fn capacity(
    driver: &Driver,
    request: &csi::GetCapacityRequest,
) -> Result<csi::GetCapacityResponse, Status> {
    let none = csi::GetCapacityResponse {
        available_capacity: 0,
        maximum_volume_size: None,
        minimum_volume_size: None,
    };
    let here = args::topology(&driver.node_id);
    if request
        .accessible_topology
        .as_ref()
        .is_some_and(|asked| *asked != here)
    {
        return Ok(none);
    }
    let capabilities = match request.volume_capabilities.as_slice() {
        [] => Vec::new(),
        some => Capability::parse_all(some)?,
    };
    let parameters = request.parameters.clone().into_iter().collect();
    let servable = capabilities
        .iter()
        .try_for_each(|capability| capability.check(&driver.filesystems))
        .and_then(|()| wanted_filesystem(driver, &parameters, &capabilities));
    let Ok(filesystem) = servable else {
        return Ok(none);
    };
    let room = filesystem::usage(driver.store.folder())
        .map_err(internal)?
        .available;
    let signed = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
    Ok(csi::GetCapacityResponse {
        available_capacity: signed(room),
        maximum_volume_size: Some(signed(LARGEST_BYTES)),
        minimum_volume_size: Some(signed(smallest(filesystem))),
    })
}
