//! `NodeExpandVolume`.

use std::path::{Path, PathBuf};

use csi_proto::v1 as csi;
use tonic::Status;

use super::device::{self, Top};
use crate::common::capability::Capability;
use crate::defect::Defect;
use crate::looper::args;
use crate::looper::driver::Driver;
use crate::looper::volume::{Volume, internal};
use crate::sys::filesystem::{self, Filesystem};
use crate::sys::loopdev;

/// Lets the loop devices take the length of the disk image, and the file system
/// that of its device. What is as large already stays as it is.
pub(super) fn expand(
    driver: &Driver,
    request: &csi::NodeExpandVolumeRequest,
) -> Result<csi::NodeExpandVolumeResponse, Status> {
    let id = args::required("volume_id", &request.volume_id)?;
    let path = args::path("volume_path", &request.volume_path)?;
    let (required, _) = args::bounds(request.capacity_range.as_ref())?;
    let capability = match &request.volume_capability {
        Some(capability) => Some(Capability::parse(Some(capability))?),
        None => None,
    };
    let volume = driver.store.get(id)?;
    if let Some(capability) = capability {
        capability
            .check(&driver.filesystems)
            .and_then(|()| volume.check(&capability))
            .map_err(Status::invalid_argument)?;
    }
    let block = is_block_at(driver, &volume, &path)?;
    if required > volume.capacity_bytes {
        let message =
            "the volume is smaller than required_bytes; ControllerExpandVolume comes first";
        return Err(Status::out_of_range(message));
    }
    if !driver.defects.has(Defect::EXPAND_NOOP_OK) {
        for device in loopdev::find(&driver.image(&volume)).map_err(internal)? {
            device.grow().map_err(internal)?;
        }
        if !block {
            grow_filesystem(driver, &volume)?;
        }
    }
    Ok(csi::NodeExpandVolumeResponse {
        capacity_bytes: i64::try_from(volume.capacity_bytes).unwrap_or(i64::MAX),
    })
}

/// Whether the volume is at the path as a raw device.
///
/// # Errors
///
/// NOT_FOUND where it is not there at all.
fn is_block_at(driver: &Driver, volume: &Volume, path: &Path) -> Result<bool, Status> {
    if volume.stages.get(path).is_some_and(Capability::is_block) {
        return Ok(true);
    }
    match device::top(driver, volume, path)? {
        Top::Own(mount) => Ok(mount.is_node()),
        _ => Err(Status::not_found("the volume is not at volume_path")),
    }
}

fn grow_filesystem(driver: &Driver, volume: &Volume) -> Result<(), Status> {
    let (Some(filesystem), Some(device)) = (volume.filesystem, device::primary(driver, volume)?)
    else {
        return Err(Status::failed_precondition("the volume's device is gone"));
    };
    let Some(at) = writable_mount(driver, volume)? else {
        let message = "the file system is mounted read-only, and cannot grow";
        return Err(Status::failed_precondition(message));
    };
    let wrong = filesystem == Filesystem::Xfs && driver.defects.has(Defect::EXPAND_XFS_WRONG_PATH);
    let at = if wrong { driver.image(volume) } else { at };
    filesystem::grow(filesystem, &device.node(), volume.capacity_bytes, &at).map_err(|error| {
        match error.errno() {
            // Growing a mounted ext4 takes CAP_SYS_RESOURCE; the next stage grows
            // it without, before it is mounted.
            Some(libc::EPERM) => Status::failed_precondition(format!(
                "{error}: this process may not do so while it is mounted"
            )),
            _ => internal(error),
        }
    })?;
    device::fills(driver, volume)
}

/// Where the file system can be told to grow: through a mount that is not read-only.
fn writable_mount(driver: &Driver, volume: &Volume) -> Result<Option<PathBuf>, Status> {
    for path in volume.stages.keys().chain(volume.targets.keys()) {
        if let Top::Own(mount) = device::top(driver, volume, path)?
            && !mount.is_read_only()
            && !mount.is_super_read_only()
        {
            return Ok(Some(path.clone()));
        }
    }
    Ok(None)
}
