//! `NodeUnpublishVolume`.

use std::path::Path;

use csi_proto::v1 as csi;
use tonic::Status;

use crate::common::args as fields;
use crate::common::patience::Patience;
use crate::defect::Defect;
use crate::nfs::driver::Driver;
use crate::nfs::mounting::{self, undone};
use crate::nfs::store::internal;
use crate::sys::{file, mountinfo};

/// Undoes a publish, mount point and all. Where there is nothing to undo, it is undone.
pub(super) fn unpublish(
    driver: &Driver,
    request: &csi::NodeUnpublishVolumeRequest,
    patience: &Patience,
) -> Result<csi::NodeUnpublishVolumeResponse, Status> {
    let id = fields::required("volume_id", &request.volume_id)?;
    let target = fields::path("target_path", &request.target_path)?;
    let recorded = driver.store.records().targets.get(&target).cloned();
    if recorded.as_ref().is_some_and(|place| place.volume_id != id) {
        // Another volume is there, so this one is not.
        return Ok(csi::NodeUnpublishVolumeResponse {});
    }
    if recorded.is_none() {
        let believed = [
            Defect::CRASH_MID_PUBLISH_NO_CONVERGE,
            Defect::STATE_ON_PRIVATE_PATH,
        ];
        if believed.iter().any(|defect| driver.defects.has(*defect)) {
            return Ok(csi::NodeUnpublishVolumeResponse {});
        }
        if driver.defects.has(Defect::REPEAT_UNPUBLISH_FAILS) {
            return Err(Status::not_found("the volume is not published there"));
        }
    }
    mounting::end_helpers(driver, &target, patience)?;
    let mounted = mountinfo::top(&target).map_err(internal)?;
    if recorded.is_none() && mounted.is_some_and(|mount| !mounting::is_ours(driver, &mount)) {
        return Ok(csi::NodeUnpublishVolumeResponse {});
    }
    take_down(driver, &target, patience)?;
    driver.store.update(|records| {
        records.targets.remove(&target);
        Ok(())
    })?;
    Ok(csi::NodeUnpublishVolumeResponse {})
}

fn take_down(driver: &Driver, target: &Path, patience: &Patience) -> Result<(), Status> {
    let is_mounted = || mountinfo::top(target).map(|top| top.is_some());
    if driver.defects.has(Defect::ESTALE_BLOCKS_UNPUBLISH) && is_mounted().map_err(internal)? {
        mounting::measure(target, patience).map_err(|why| undone("look at", target, &why))?;
    }
    if driver.defects.has(Defect::UNPUBLISH_OK_STILL_MOUNTED) {
        unmount_once(driver, target, patience);
    } else if driver.defects.has(Defect::UMOUNT_ONCE_THEN_REMOVEALL) {
        unmount_once(driver, target, patience);
        if is_mounted().map_err(internal)? {
            file::empty_out(target);
        }
    } else {
        mounting::unmount_all(driver, target, patience)?;
    }
    if driver.defects.has(Defect::TARGET_DIR_LEFT) {
        return Ok(());
    }
    let careless = [
        Defect::UNPUBLISH_OK_STILL_MOUNTED,
        Defect::UMOUNT_ONCE_THEN_REMOVEALL,
    ];
    if careless.iter().any(|defect| driver.defects.has(*defect))
        && is_mounted().map_err(internal)?
    {
        return Ok(());
    }
    mounting::remove_mount_point(target)
}

/// As the defects do it: once, and come what may.
fn unmount_once(driver: &Driver, target: &Path, patience: &Patience) {
    if let Err(error) = mounting::unmount(driver, target, patience) {
        tracing::warn!(why = error.message(), "could not unmount");
    }
}
