//! A volume that holds still while its disk image is copied.
//!
//! What a workload has written may not be on the disk yet, and what is there may
//! be in the middle of a change. So a mounted file system is frozen for as long as
//! the copy takes: the kernel writes out what it holds back, and lets writers wait.

use std::path::{Path, PathBuf};

use tonic::Status;

use super::driver::Driver;
use super::node::is_at;
use super::volume::{Volume, internal};
use crate::defect::Defect;
use crate::sys::{copy, file, loopdev};

/// Copies the disk image of a volume as it is at one moment.
pub(super) fn copy_image(driver: &Driver, volume: &Volume, to: &Path) -> Result<(), Status> {
    let image = driver.image(volume);
    if file::length(&image).map_err(internal)? < volume.capacity_bytes {
        return Err(Status::data_loss(
            "the disk image is shorter than the volume",
        ));
    }
    let cut = || copy::file(&image, to).map_err(internal);
    if driver.defects.has(Defect::SNAPSHOT_WITHOUT_SYNC) {
        return cut();
    }
    if driver.defects.has(Defect::HOST_FS_OP_AFTER_MOUNT_LOST) {
        meddle(volume);
    }
    let Some(path) = mounted_at(driver, volume)? else {
        // A block volume's writers write to the device; what it holds back goes out.
        for device in loopdev::find(&image).map_err(internal)? {
            copy::flush(&device.path()).map_err(internal)?;
        }
        return cut();
    };
    let note = |frozen| {
        driver
            .store
            .update(&volume.id, |volume| volume.frozen = frozen)
    };
    // A process that is killed meanwhile must know what it has to thaw.
    note(true)?;
    let frozen = copy::freeze(&path).map_err(internal);
    let cut = frozen.and_then(|_frozen| cut());
    note(false)?;
    cut
}

/// One place where the volume's file system is mounted; none where it is nowhere.
fn mounted_at(driver: &Driver, volume: &Volume) -> Result<Option<PathBuf>, Status> {
    let paths = volume.stages.keys().chain(volume.targets.keys());
    for path in paths {
        if is_at(driver, volume, path)? {
            return Ok(Some(path.clone()));
        }
    }
    Ok(None)
}

/// Thaws what a killed process left frozen.
pub(super) fn thaw_all(driver: &Driver) {
    for volume in driver.store.all().iter().filter(|volume| volume.frozen) {
        let thawed = mounted_at(driver, volume).and_then(|path| match path {
            Some(path) => copy::thaw(&path).map_err(internal),
            None => Ok(()),
        });
        let noted = thawed.and_then(|()| {
            driver
                .store
                .update(&volume.id, |volume| volume.frozen = false)
        });
        if let Err(error) = noted {
            tracing::error!(why = error.message(), "could not thaw a volume");
        }
    }
}

/// The defect host-fs-op-after-mount-lost: nobody looks whether the volume is
/// there, so that it may be a folder of the node that is changed.
fn meddle(volume: &Volume) {
    for path in volume.stages.keys() {
        file::set_mode(path, 0o555);
        file::set_mode(path, 0o755);
    }
}
