//! `NodeUnstageVolume`.

use std::path::Path;
use std::sync::PoisonError;

use csi_proto::v1 as csi;
use tonic::Status;

use super::device;
use super::lost;
use super::unpublish::unknown;
use crate::defect::Defect;
use crate::looper::args;
use crate::looper::driver::Driver;
use crate::looper::volume::Volume;

/// Undoes a stage; the folder stays, since the caller made it.
pub(super) fn unstage(
    driver: &Driver,
    request: &csi::NodeUnstageVolumeRequest,
) -> Result<csi::NodeUnstageVolumeResponse, Status> {
    let id = args::required("volume_id", &request.volume_id)?;
    let path = args::path("staging_target_path", &request.staging_target_path)?;
    let Some(volume) = driver.store.find(id) else {
        unknown(driver, &path)?;
        return Ok(csi::NodeUnstageVolumeResponse {});
    };
    let done = take_down(driver, &volume, &path);
    if driver.defects.has(Defect::UNSTAGE_OK_STILL_MOUNTED)
        && let Err(error) = &done
    {
        tracing::warn!(why = error.message(), "could not unstage");
        driver
            .store
            .update(id, |volume| drop(volume.stages.remove(&path)))?;
        return Ok(csi::NodeUnstageVolumeResponse {});
    }
    done.map(|()| csi::NodeUnstageVolumeResponse {})
}

fn take_down(driver: &Driver, volume: &Volume, path: &Path) -> Result<(), Status> {
    let recorded = volume.stages.contains_key(path);
    if !recorded {
        let forgetful = [
            Defect::STATE_ON_PRIVATE_PATH,
            Defect::UNSTAGE_OK_STILL_MOUNTED,
        ];
        if forgetful.iter().any(|defect| driver.defects.has(*defect)) {
            return Ok(());
        }
        if driver.defects.has(Defect::REPEAT_UNPUBLISH_FAILS) {
            return Err(Status::not_found("the volume is not staged there"));
        }
        // The record may be lost; the mount, if there is one, is not.
        if !matches!(device::top(driver, volume, path)?, device::Top::Own(_)) {
            return device::release_if_unstaged(driver, volume);
        }
    }
    let published = device::published(driver, volume)?;
    if let (Some(target), 1) = (published.first(), volume.stages.len()) {
        let message = format!("the volume is still published at {}", target.display());
        return Err(Status::failed_precondition(message));
    }
    let before = match driver.defects.has(Defect::UNSYNCED_LOST_ON_UNSTAGE) {
        true => Some(lost::remember(driver, volume)?),
        false => None,
    };
    device::unmount_all(driver, volume, path)?;
    if driver.fails_this_once(path) {
        return Err(Status::internal("the last step failed, after the unmount"));
    }
    let mut left = volume.clone();
    left.stages.remove(path);
    if !driver.defects.has(Defect::LOOP_LEFT_AFTER_UNSTAGE) {
        device::release(driver, &left)?;
    }
    lost::spoil(driver, volume, before)?;
    if recorded {
        driver
            .store
            .update(&volume.id, |volume| drop(volume.stages.remove(path)))?;
    }
    Ok(())
}

impl Driver {
    /// The defect unstage-error-after-umount: whether this is the first try here.
    fn fails_this_once(&self, path: &Path) -> bool {
        if !self.defects.has(Defect::UNSTAGE_ERROR_AFTER_UMOUNT) {
            return false;
        }
        let failed = self.failed_unstages.lock();
        let mut failed = failed.unwrap_or_else(PoisonError::into_inner);
        !failed.remove(path) && failed.insert(path.to_owned())
    }
}
