//! `NodeUnpublishVolume`.

use std::path::Path;

use csi_proto::v1 as csi;
use tonic::Status;

use super::device::{self, Top};
use crate::defect::Defect;
use crate::looper::args;
use crate::looper::driver::Driver;
use crate::looper::volume::{Volume, internal};
use crate::sys::{file, mountinfo};

/// Undoes a publish, mount point and all. Where there is nothing to undo, it is undone.
pub(super) fn unpublish(
    driver: &Driver,
    request: &csi::NodeUnpublishVolumeRequest,
) -> Result<csi::NodeUnpublishVolumeResponse, Status> {
    let id = args::required("volume_id", &request.volume_id)?;
    let target = args::path("target_path", &request.target_path)?;
    let Some(volume) = driver.store.find(id) else {
        unknown(driver, &target)?;
        return Ok(csi::NodeUnpublishVolumeResponse {});
    };
    take_down(driver, &volume, &target)?;
    Ok(csi::NodeUnpublishVolumeResponse {})
}

/// A volume that is not known has nothing to undo, unless something is mounted
/// where it is said to be: whose that is, nobody can tell.
pub(super) fn unknown(driver: &Driver, path: &Path) -> Result<(), Status> {
    let mounted = mountinfo::top(path).map_err(internal)?.is_some();
    if mounted || driver.defects.has(Defect::REPEAT_UNPUBLISH_FAILS) {
        return Err(Status::not_found("there is no volume of this volume_id"));
    }
    Ok(())
}

fn take_down(driver: &Driver, volume: &Volume, target: &Path) -> Result<(), Status> {
    let recorded = volume.targets.contains_key(target);
    if !recorded {
        let believed = [
            Defect::CRASH_MID_PUBLISH_NO_CONVERGE,
            Defect::STATE_ON_PRIVATE_PATH,
        ];
        if believed.iter().any(|defect| driver.defects.has(*defect)) {
            return Ok(());
        }
        if driver.defects.has(Defect::REPEAT_UNPUBLISH_FAILS) {
            return Err(Status::not_found("the volume is not published there"));
        }
        match device::top(driver, volume, target)? {
            // The record may be lost; the mount is not.
            Top::Own(_) => {}
            Top::Foreign => return Ok(()),
            Top::Nothing => {
                // What a caller or a lost record left there goes if it is empty.
                let _ = file::remove_mount_point(target);
                return Ok(());
            }
        }
    }
    if driver.defects.has(Defect::ESTALE_BLOCKS_UNPUBLISH) {
        file::list(target).map_err(internal)?;
    }
    if driver.defects.has(Defect::UNPUBLISH_OK_STILL_MOUNTED) {
        unmount_once(driver, target);
    } else if driver.defects.has(Defect::UMOUNT_ONCE_THEN_REMOVEALL) {
        unmount_once(driver, target);
        if matches!(device::top(driver, volume, target)?, Top::Own(_)) {
            file::empty_out(target);
        }
    } else {
        device::unmount_all(driver, volume, target)?;
    }
    if !driver.defects.has(Defect::TARGET_DIR_LEFT) {
        remove(driver, target)?;
    }
    device::release(driver, volume)?;
    if recorded {
        driver
            .store
            .update(&volume.id, |volume| drop(volume.targets.remove(target)))?;
    }
    Ok(())
}

fn remove(driver: &Driver, target: &Path) -> Result<(), Status> {
    let careless = [
        Defect::UNPUBLISH_OK_STILL_MOUNTED,
        Defect::UMOUNT_ONCE_THEN_REMOVEALL,
    ];
    match file::remove_mount_point(target) {
        Err(error) if careless.iter().any(|defect| driver.defects.has(*defect)) => {
            tracing::warn!(%error, "could not remove the mount point");
            Ok(())
        }
        removed => removed.map_err(internal),
    }
}

/// As the defects do it: once, and come what may.
fn unmount_once(driver: &Driver, target: &Path) {
    if let Err(error) = device::unmount(driver, target) {
        tracing::warn!(%error, "could not unmount");
    }
}
