//! `NodeUnstageVolume`.

use std::path::Path;

use csi_proto::v1 as csi;
use tonic::Status;

use crate::common::args as fields;
use crate::common::patience::Patience;
use crate::defect::Defect;
use crate::nfs::driver::Driver;
use crate::nfs::mounting;
use crate::nfs::store::internal;
use crate::sys::mountinfo;

/// Undoes a stage; the folder stays, since the caller made it.
pub(super) fn unstage(
    driver: &Driver,
    request: &csi::NodeUnstageVolumeRequest,
    patience: &Patience,
) -> Result<csi::NodeUnstageVolumeResponse, Status> {
    let id = fields::required("volume_id", &request.volume_id)?;
    let path = fields::path("staging_target_path", &request.staging_target_path)?;
    let recorded = driver.store.records().stages.get(&path).cloned();
    if recorded.as_ref().is_some_and(|place| place.volume_id != id) {
        // Another volume is there, so this one is not.
        return Ok(csi::NodeUnstageVolumeResponse {});
    }
    if recorded.is_none() {
        let forgetful = [
            Defect::STATE_ON_PRIVATE_PATH,
            Defect::UNSTAGE_OK_STILL_MOUNTED,
        ];
        if forgetful.iter().any(|defect| driver.defects.has(*defect)) {
            return Ok(csi::NodeUnstageVolumeResponse {});
        }
        if driver.defects.has(Defect::REPEAT_UNPUBLISH_FAILS) {
            return Err(Status::not_found("the volume is not staged there"));
        }
    }
    mounting::end_helpers(driver, &path, patience)?;
    let mounted = mountinfo::top(&path).map_err(internal)?;
    if recorded.is_none() && mounted.is_some_and(|mount| !mounting::is_ours(driver, &mount)) {
        return Ok(csi::NodeUnstageVolumeResponse {});
    }
    match is_unused(driver, &path).and_then(|()| mounting::unmount_all(driver, &path, patience)) {
        Err(error) if driver.defects.has(Defect::UNSTAGE_OK_STILL_MOUNTED) => {
            tracing::warn!(why = error.message(), "could not unstage");
        }
        unstaged => unstaged?,
    }
    driver.store.update(|records| {
        records.stages.remove(&path);
        Ok(())
    })?;
    Ok(csi::NodeUnstageVolumeResponse {})
}

/// Whether nothing is published from there any more.
fn is_unused(driver: &Driver, path: &Path) -> Result<(), Status> {
    for (target, place) in driver.store.records().targets {
        let bound = place.staging.as_deref() == Some(path);
        if bound && mountinfo::top(&target).map_err(internal)?.is_some() {
            return Err(Status::failed_precondition(format!(
                "the volume is still published at {}",
                target.display()
            )));
        }
    }
    Ok(())
}
