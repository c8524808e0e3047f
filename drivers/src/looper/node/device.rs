//! Which mounts and loop devices are a volume's, as the kernel tells.

use std::path::{Path, PathBuf};

use tonic::Status;

use crate::defect::Defect;
use crate::looper::driver::Driver;
use crate::looper::volume::{Volume, busy, internal};
use crate::sys::loopdev::{self, LoopDevice};
use crate::sys::mountinfo::{self, Mount};
use crate::sys::{SysError, mount};

/// Drivers with these defects mount what is not the volume, and can take it away
/// again only because they take any mount at a path of theirs for their own.
const CARELESS: [Defect; 5] = [
    Defect::MOUNT_ERROR_SWALLOWED,
    Defect::PUBLISH_BINDS_UNMOUNTED_STAGING,
    Defect::STAGE_ERROR_DIR_THEN_OK,
    Defect::UNSTAGE_ERROR_AFTER_UMOUNT,
    Defect::WRONG_VOLUME,
];

/// What is on top at a path.
pub(super) enum Top {
    /// Nothing is mounted there.
    Nothing,
    /// This volume.
    Own(Mount),
    /// Something else.
    Foreign,
}

/// Looks what is mounted at a path, and whether it is this volume: by the file
/// behind the device behind the mount.
pub(super) fn top(driver: &Driver, volume: &Volume, path: &Path) -> Result<Top, Status> {
    let Some(mount) = mountinfo::top(path).map_err(internal)? else {
        return Ok(Top::Nothing);
    };
    let image = driver.image(volume);
    let own = LoopDevice::behind(&mount).is_some_and(|device| device.shows(&image));
    let taken_for_own = (CARELESS.iter().any(|defect| driver.defects.has(*defect))
        && volume.targets.contains_key(path))
        || driver
            .defects
            .has(Defect::ALREADY_MOUNTED_NO_IDENTITY_CHECK);
    Ok(if own || taken_for_own {
        Top::Own(mount)
    } else {
        Top::Foreign
    })
}

/// The device that a staged volume is used through. Where a read-only one is
/// there beside it, that is for read-only targets alone.
pub(super) fn primary(driver: &Driver, volume: &Volume) -> Result<Option<LoopDevice>, Status> {
    let mut devices = loopdev::find(&driver.image(volume)).map_err(internal)?;
    devices.sort_by_key(|device| device.is_read_only());
    Ok(devices.first().copied())
}

/// Whether the volume is staged at this path, as its record says and the kernel agrees.
pub(super) fn is_staged(driver: &Driver, volume: &Volume, path: &Path) -> Result<bool, Status> {
    match volume.stages.get(path) {
        None => Ok(false),
        Some(stage) if stage.is_block() => Ok(primary(driver, volume)?.is_some()),
        Some(_) => Ok(matches!(top(driver, volume, path)?, Top::Own(_))),
    }
}

/// The paths at which the volume is published, as its record says and the kernel agrees.
pub(super) fn published(driver: &Driver, volume: &Volume) -> Result<Vec<PathBuf>, Status> {
    let mut published = Vec::new();
    for target in volume.targets.keys() {
        if matches!(top(driver, volume, target)?, Top::Own(_)) {
            published.push(target.clone());
        }
    }
    Ok(published)
}

/// Takes away every mount of this volume at a path. What is not its own is left,
/// and is an error, because what is beneath it cannot be taken away either.
pub(super) fn unmount_all(driver: &Driver, volume: &Volume, path: &Path) -> Result<(), Status> {
    loop {
        match top(driver, volume, path)? {
            Top::Nothing => return Ok(()),
            Top::Own(_) => unmount(driver, path).map_err(busy)?,
            Top::Foreign => return Err(super::occupied(path)),
        }
    }
}

/// Takes away one mount.
pub(super) fn unmount(driver: &Driver, path: &Path) -> Result<(), SysError> {
    if driver.defects.has(Defect::LAZY_UMOUNT_HIDES_BUSY) {
        return mount::unmount_lazily(path);
    }
    mount::unmount(path)
}

/// Detaches the loop devices of a volume that nothing uses any more.
pub(super) fn release(driver: &Driver, volume: &Volume) -> Result<(), Status> {
    let image = driver.image(volume);
    let mounts = mountinfo::mounts().map_err(internal)?;
    let primary = primary(driver, volume)?;
    // A logical volume is there until it is deleted, used or not.
    let keeps_primary =
        driver.device_mapper || volume.stages.values().any(|stage| stage.is_block());
    for device in loopdev::find(&image).map_err(internal)? {
        let mounted = mounts
            .iter()
            .any(|mount| LoopDevice::behind(mount) == Some(device));
        if mounted || (keeps_primary && primary == Some(device)) {
            continue;
        }
        match device.detach(&image) {
            Err(_) if driver.defects.has(Defect::LAZY_UMOUNT_HIDES_BUSY) => {}
            detached => detached.map_err(busy)?,
        }
    }
    Ok(())
}

/// Notes that the file system of a volume is as large as its disk.
pub(super) fn fills(driver: &Driver, volume: &Volume) -> Result<(), Status> {
    let bytes = volume.capacity_bytes;
    driver
        .store
        .update(&volume.id, |volume| volume.filled = bytes)
}

/// Detaches what a lost record of a stage may have left, where the volume is
/// neither staged nor published anywhere.
pub(super) fn release_if_unstaged(driver: &Driver, volume: &Volume) -> Result<(), Status> {
    if volume.stages.is_empty() && volume.targets.is_empty() {
        return release(driver, volume);
    }
    Ok(())
}

/// What to say where a file system that was meant to be writable is so no more.
pub(super) fn turned_read_only(driver: &Driver, volume: &Volume, path: &Path) -> Option<String> {
    let Ok(Top::Own(mount)) = top(driver, volume, path) else {
        return None;
    };
    let read_only = mount.is_super_read_only() && !volume.is_meant_read_only();
    let turned = read_only || mount.has_stopped();
    turned.then(|| "the file system has stopped, or turned read-only, after an error".to_owned())
}
