//! `CreateVolume` and `DeleteVolume`.

use std::collections::BTreeMap;

use csi_proto::v1 as csi;
use tonic::Status;

use super::origin::{self, Found};
use super::told;
use crate::common::capability::Capability;
use crate::common::patience::Patience;
use crate::defect::Defect;
use crate::looper::args::{self, bounds, lies_in, smallest};
use crate::looper::driver::Driver;
use crate::looper::volume::{self, Source, Volume, busy, internal};
use crate::sys::file;
use crate::sys::filesystem::Filesystem;
use crate::sys::loopdev;

/// The one parameter: the file system of a volume whose capabilities name none.
const FS_TYPE: &str = "fsType";

/// One name is one volume: a repeat finds it again, also after a crash.
pub(super) fn create(
    driver: &Driver,
    request: &csi::CreateVolumeRequest,
    patience: &Patience,
) -> Result<csi::CreateVolumeResponse, Status> {
    let name = args::known_by(driver, args::name(&request.name)?);
    let capabilities = Capability::parse_all(&request.volume_capabilities)?;
    bounds(request.capacity_range.as_ref())?;
    check_form(request)?;
    let mut is_repeat = false;
    let volume = match driver.store.named(name) {
        Some(existing) => {
            is_repeat = true;
            is_same(driver, &existing, request, &capabilities).map_err(|why| {
                Status::already_exists(format!("a volume of this name exists, and {why}"))
            })?;
            existing
        }
        None if driver.defects.has(Defect::CREATE_LEAKS_ON_CANCEL) => {
            let volume = make(driver, request, &capabilities, "")?;
            name_it(driver, volume, name, patience)?
        }
        None => make(driver, request, &capabilities, name)?,
    };
    let mut told = told(driver, &volume);
    if driver.defects.has(Defect::CAPACITY_OVERSTATED) {
        told.capacity_bytes *= 2;
    }
    if is_repeat && driver.defects.has(Defect::CONTEXT_LOST_ON_REPEAT) {
        told.volume_context.clear();
    }
    Ok(csi::CreateVolumeResponse { volume: Some(told) })
}

/// The defect create-leaks-on-cancel: a volume by whose name nobody finds it, unless
/// the caller is still there when it is made.
fn name_it(
    driver: &Driver,
    mut volume: Volume,
    name: &str,
    patience: &Patience,
) -> Result<Volume, Status> {
    std::thread::sleep(std::time::Duration::from_millis(200));
    if patience.over().is_some() {
        return Err(Status::cancelled("the caller has given up"));
    }
    name.clone_into(&mut volume.name);
    driver
        .store
        .update(&volume.id, |made| made.name.clone_from(&volume.name))?;
    Ok(volume)
}

/// What is wrong with a request whatever volumes there are.
fn check_form(request: &csi::CreateVolumeRequest) -> Result<(), Status> {
    let invalid = |message| Err(Status::invalid_argument(message));
    if !request.mutable_parameters.is_empty() {
        return invalid("mutable_parameters are not supported");
    }
    match &request.accessibility_requirements {
        Some(topology) if topology.requisite.is_empty() && topology.preferred.is_empty() => {
            invalid("accessibility_requirements has neither requisite nor preferred")
        }
        _ => origin::asked(request).map(drop),
    }
}

/// Makes a volume of this name: blank, or with the content of its source.
fn make(
    driver: &Driver,
    request: &csi::CreateVolumeRequest,
    capabilities: &[Capability],
    name: &str,
) -> Result<Volume, Status> {
    let source = origin::asked(request)?;
    let mut found = match &source {
        Some(source) => Some(origin::find(driver, source)?),
        None => None,
    };
    let mut volume = design(driver, request, capabilities, found.as_ref())?;
    volume.source = source;
    name.clone_into(&mut volume.name);
    if driver.defects.has(Defect::RESTORE_IGNORES_SOURCE) {
        found = None;
    }
    volume.filled = found.as_ref().map_or(0, |found| found.origin.filled);
    driver.store.create(&volume, |image| match &found {
        Some(found) => found.copy(driver, image),
        None => Ok(()),
    })?;
    Ok(volume)
}

/// Whether an existing volume is what is asked for, or why not.
fn is_same(
    driver: &Driver,
    volume: &Volume,
    request: &csi::CreateVolumeRequest,
    capabilities: &[Capability],
) -> Result<(), String> {
    let range =
        bounds(request.capacity_range.as_ref()).map_err(|error| error.message().to_owned())?;
    if !lies_in(volume.capacity_bytes, range) {
        return Err("its size does not lie in the capacity_range".to_owned());
    }
    if volume.parameters != parameters(request) {
        return Err("it was made with other parameters".to_owned());
    }
    let source = origin::asked(request).map_err(|error| error.message().to_owned())?;
    if volume.source != source {
        return Err("it was made from another volume_content_source".to_owned());
    }
    if !is_reachable(driver, request) {
        return Err("it cannot be reached from where it is asked for".to_owned());
    }
    for capability in capabilities {
        capability.check(&driver.filesystems)?;
        volume.check(capability)?;
    }
    Ok(())
}

/// The volume that is asked for.
fn design(
    driver: &Driver,
    request: &csi::CreateVolumeRequest,
    capabilities: &[Capability],
    found: Option<&Found>,
) -> Result<Volume, Status> {
    for capability in capabilities {
        capability
            .check(&driver.filesystems)
            .map_err(Status::invalid_argument)?;
    }
    let parameters = parameters(request);
    let wanted =
        wanted_filesystem(driver, &parameters, capabilities).map_err(Status::invalid_argument)?;
    let block = capabilities.iter().any(Capability::is_block);
    let least = match found {
        Some(found) => {
            found
                .suits(block, wanted)
                .map_err(Status::invalid_argument)?;
            found.origin.size_bytes
        }
        None => smallest(wanted),
    };
    if !is_reachable(driver, request) {
        let message = "volumes can be reached from this driver's own node alone";
        return Err(Status::resource_exhausted(message));
    }
    let rounded_down = driver.defects.has(Defect::SIZE_ROUNDED_DOWN);
    let mut range = request.capacity_range;
    if driver.defects.has(Defect::LIMIT_IGNORED)
        && let Some(range) = &mut range
    {
        range.limit_bytes = 0;
    }
    Ok(Volume {
        id: volume::new_id()?,
        name: request.name.clone(),
        capacity_bytes: args::size(range.as_ref(), least, rounded_down)?,
        parameters,
        block,
        filesystem: wanted,
        attachment: None,
        stages: BTreeMap::new(),
        targets: BTreeMap::new(),
        source: None,
        filled: 0,
        frozen: false,
        formatting: false,
    })
}

fn parameters(request: &csi::CreateVolumeRequest) -> BTreeMap<String, String> {
    let parameters = &request.parameters;
    parameters
        .iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// The one file system that all capabilities can be served with; none where
/// all are for block access.
pub(super) fn wanted_filesystem(
    driver: &Driver,
    parameters: &BTreeMap<String, String>,
    capabilities: &[Capability],
) -> Result<Option<Filesystem>, String> {
    if let Some(unknown) = parameters.keys().find(|key| *key != FS_TYPE) {
        return Err(format!(
            "the parameter {unknown:?} is not known; there is {FS_TYPE:?}"
        ));
    }
    let mut wanted = match parameters.get(FS_TYPE) {
        Some(name) => Some(
            Filesystem::of_name(name)
                .filter(|filesystem| driver.filesystems.contains(filesystem))
                .ok_or_else(|| format!("this {FS_TYPE} is not supported on this node"))?,
        ),
        None => None,
    };
    for name in capabilities.iter().filter_map(Capability::fs_type) {
        let filesystem = Filesystem::of_name(name);
        if wanted.is_some() && wanted != filesystem {
            return Err("a volume has one file system, and several are asked for".to_owned());
        }
        wanted = filesystem;
    }
    let mounted = capabilities.iter().any(|capability| !capability.is_block());
    Ok(mounted.then_some(wanted.unwrap_or(Filesystem::Ext4)))
}

/// Whether a volume on this node is where it is asked to be.
fn is_reachable(driver: &Driver, request: &csi::CreateVolumeRequest) -> bool {
    let requisite = match &request.accessibility_requirements {
        Some(topology) => topology.requisite.as_slice(),
        None => &[],
    };
    let here = args::topology(&driver.node_id);
    requisite.is_empty() || requisite.contains(&here)
}

/// Deletes a volume that nobody uses. One that is not there is deleted.
pub(super) fn delete(
    driver: &Driver,
    request: &csi::DeleteVolumeRequest,
) -> Result<csi::DeleteVolumeResponse, Status> {
    let id = args::required("volume_id", &request.volume_id)?;
    if driver.defects.has(Defect::DELETE_DOES_NOTHING) {
        return Ok(csi::DeleteVolumeResponse {});
    }
    if let Some(volume) = driver.store.find(id) {
        if driver.defects.has(Defect::DELETE_EMPTIES_DISK_IN_USE) {
            file::set_length(&driver.image(&volume), 0).map_err(internal)?;
        } else if !driver.defects.has(Defect::DELETE_IN_USE_OK) {
            is_unused(driver, &volume)?;
        }
        if driver.device_mapper {
            remove_devices(driver, &volume)?;
        }
        driver.store.delete(id)?;
        empty_relatives(driver, &volume)?;
    }
    Ok(csi::DeleteVolumeResponse {})
}

/// The defects delete-empties-copies and delete-empties-source: what the deleted volume
/// shared with others is gone.
fn empty_relatives(driver: &Driver, deleted: &Volume) -> Result<(), Status> {
    for other in driver.store.all() {
        let is_copy = other.source == Some(Source::Volume(deleted.id.clone()));
        let is_source = deleted.source == Some(Source::Volume(other.id.clone()));
        if (is_copy && driver.defects.has(Defect::DELETE_EMPTIES_COPIES))
            || (is_source && driver.defects.has(Defect::DELETE_EMPTIES_SOURCE))
        {
            let image = driver.image(&other);
            file::set_length(&image, 0).map_err(internal)?;
            file::set_length(&image, other.capacity_bytes).map_err(internal)?;
        }
    }
    Ok(())
}

fn is_unused(driver: &Driver, volume: &Volume) -> Result<(), Status> {
    if let Some(attachment) = &volume.attachment {
        let message = format!("the volume is published to node {}", attachment.node);
        return Err(Status::failed_precondition(message));
    }
    let leaks = [
        Defect::LOOP_LEFT_AFTER_UNSTAGE,
        Defect::STAGE_ERROR_LEAVES_DEVICE,
    ];
    if leaks.iter().any(|defect| driver.defects.has(*defect)) {
        return Ok(());
    }
    // Records may be stale; a loop device is there for as long as anybody uses it.
    let devices = loopdev::find(&driver.image(volume)).map_err(internal)?;
    let in_use = match driver.device_mapper {
        true => !volume.stages.is_empty() || !volume.targets.is_empty(),
        false => !devices.is_empty(),
    };
    if in_use {
        return Err(Status::failed_precondition(
            "the volume is staged on this node",
        ));
    }
    Ok(())
}

/// Takes away the devices of a logical volume, which are there until it is deleted. One
/// that somebody uses stays, and so does the volume.
fn remove_devices(driver: &Driver, volume: &Volume) -> Result<(), Status> {
    let image = driver.image(volume);
    for device in loopdev::find(&image).map_err(internal)? {
        device.detach(&image).map_err(busy)?;
    }
    Ok(())
}
