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
    let still = Still::hold(driver, volume)?;
    let copied = still.copy(to);
    still.release()?;
    copied
}

/// A volume whose workload changes nothing until this is released or dropped.
pub(super) struct Still<'a> {
    driver: &'a Driver,
    id: String,
    image: PathBuf,
    /// None: it is mounted nowhere.
    frozen: Option<copy::Frozen>,
}

impl<'a> Still<'a> {
    /// Lets it hold still, as far as there is a file system to freeze.
    pub(super) fn hold(driver: &'a Driver, volume: &Volume) -> Result<Self, Status> {
        let image = driver.image(volume);
        if file::length(&image).map_err(internal)? < volume.capacity_bytes {
            return Err(Status::data_loss(
                "the disk image is shorter than the volume",
            ));
        }
        let mut still = Self {
            driver,
            id: volume.id.clone(),
            image,
            frozen: None,
        };
        if driver.defects.has(Defect::SNAPSHOT_WITHOUT_SYNC) {
            return Ok(still);
        }
        if driver.defects.has(Defect::HOST_FS_OP_AFTER_MOUNT_LOST) {
            meddle(volume);
        }
        let Some(path) = mounted_at(driver, volume)? else {
            // A block volume's writers write to the device; what it holds back goes out.
            for device in loopdev::find(&still.image).map_err(internal)? {
                copy::flush(&device.node()).map_err(internal)?;
            }
            return Ok(still);
        };
        // A process that is killed meanwhile must know what it has to thaw.
        still.note(true)?;
        match copy::freeze(&path) {
            Ok(frozen) => still.frozen = Some(frozen),
            Err(error) => {
                still.note(false)?;
                return Err(internal(error));
            }
        }
        Ok(still)
    }

    /// Copies its disk image.
    pub(super) fn copy(&self, to: &Path) -> Result<(), Status> {
        copy::file(&self.image, to).map_err(internal)
    }

    /// Lets its workload go on.
    pub(super) fn release(mut self) -> Result<(), Status> {
        self.thaw()
    }

    fn thaw(&mut self) -> Result<(), Status> {
        match self.frozen.take() {
            Some(frozen) => {
                drop(frozen);
                self.note(false)
            }
            None => Ok(()),
        }
    }

    fn note(&self, frozen: bool) -> Result<(), Status> {
        let store = &self.driver.store;
        store.update(&self.id, |volume| volume.frozen = frozen)
    }
}

impl Drop for Still<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.thaw() {
            tracing::error!(why = error.message(), "a volume is noted as frozen");
        }
    }
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
