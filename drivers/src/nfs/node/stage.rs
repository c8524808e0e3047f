//! `NodeStageVolume`: the volume mounted at the staging path.

use std::path::Path;

use csi_proto::v1 as csi;
use tonic::Status;

use super::there::is_there;
use super::{capability, misbehave};
use crate::common::args as fields;
use crate::common::patience::Patience;
use crate::defect::Defect;
use crate::nfs::driver::Driver;
use crate::nfs::store::Place;
use crate::nfs::{args, mounting};
use crate::sys::file;

/// Stages a volume; one that is staged already in this way stays as it is.
pub(super) fn stage(
    driver: &Driver,
    request: &csi::NodeStageVolumeRequest,
    patience: &Patience,
) -> Result<csi::NodeStageVolumeResponse, Status> {
    let id = fields::required("volume_id", &request.volume_id)?;
    let path = fields::path("staging_target_path", &request.staging_target_path)?;
    let (capability, flags) = capability(driver, request.volume_capability.as_ref())?;
    let source = args::source(driver, id, &request.volume_context)?;
    let source = driver.first_published(driver.first_source(id, source));
    misbehave(driver, &request.secrets);
    let wanted = Place {
        volume_id: id.to_owned(),
        source,
        read_only: capability.is_reader_only() || flags.is_read_only(),
        flags,
        staging: None,
    };
    let recorded = driver.store.records().stages.get(&path).cloned();
    if driver.has_failed(&path) {
        return Ok(csi::NodeStageVolumeResponse {});
    }
    if is_there(driver, &path, &wanted, recorded.as_ref(), patience)? {
        if recorded.is_none() {
            record(driver, &path, &wanted)?;
        }
        return Ok(csi::NodeStageVolumeResponse {});
    }
    if !file::is_dir(&path) {
        let message = "staging_target_path must be a folder, which the caller makes";
        return Err(Status::failed_precondition(message));
    }
    record(driver, &path, &wanted)?;
    let Place {
        source,
        flags,
        read_only,
        ..
    } = &wanted;
    let mounted = mounting::mount(driver, source, flags, *read_only, &path, patience)
        .and_then(|()| mounting::still_wanted(patience));
    if let Err(error) = &mounted {
        if driver.defects.has(Defect::MOUNT_ERROR_SWALLOWED) {
            tracing::warn!(why = error.message(), "the mount failed");
            return Ok(csi::NodeStageVolumeResponse {});
        }
        driver.remember_failed(&path);
        undo(driver, &path);
    }
    mounted.map(|()| csi::NodeStageVolumeResponse {})
}

fn record(driver: &Driver, path: &Path, wanted: &Place) -> Result<(), Status> {
    driver.store.update(|records| {
        records.stages.insert(path.to_owned(), wanted.clone());
        Ok(())
    })
}

/// Takes back what a stage that failed has done.
fn undo(driver: &Driver, path: &Path) {
    let undone = mounting::undo(driver, path).and_then(|()| {
        driver.store.update(|records| {
            records.stages.remove(path);
            Ok(())
        })
    });
    if let Err(error) = undone {
        // The record stays, and so does the way to clean up: NodeUnstageVolume.
        let why = error.message();
        tracing::warn!(why, "could not take back a stage that failed");
    }
}
