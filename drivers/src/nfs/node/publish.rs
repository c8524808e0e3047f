//! `NodePublishVolume`: the volume mounted at the target path, or bound there from
//! where it is staged.

use std::path::{Path, PathBuf};
use std::time::Duration;

use csi_proto::v1 as csi;
use csi_proto::v1::volume_capability::access_mode::Mode;
use nix::mount::MsFlags;
use tonic::Status;

use super::there::is_there;
use super::{capability, misbehave};
use crate::common::args as fields;
use crate::common::capability::Capability;
use crate::common::patience::Patience;
use crate::defect::Defect;
use crate::nfs::driver::Driver;
use crate::nfs::store::{Place, internal};
use crate::nfs::{args, mounting, workplace};
use crate::sys::{file, mountinfo};

/// How long a server may take to tell whether it has a volume that is not staged.
const LOOK_WITHIN: Duration = Duration::from_secs(10);

/// Publishes a volume at one target; a repeat leaves it as it is.
pub(super) fn publish(
    driver: &Driver,
    request: &csi::NodePublishVolumeRequest,
    patience: &Patience,
) -> Result<csi::NodePublishVolumeResponse, Status> {
    let id = fields::required("volume_id", &request.volume_id)?;
    let target = fields::path("target_path", &request.target_path)?;
    let (capability, flags) = capability(driver, request.volume_capability.as_ref())?;
    let source = args::source(driver, id, &request.volume_context)?;
    let source = driver.first_published(driver.first_source(id, source));
    let staging = staging(driver, request)?;
    misbehave(driver, &request.secrets);
    let asked = request.readonly || capability.is_reader_only() || flags.is_read_only();
    let wanted = Place {
        volume_id: id.to_owned(),
        source,
        read_only: asked && !driver.defects.has(Defect::READONLY_FLAG_IGNORED),
        flags,
        staging,
    };
    let recorded = driver.store.records().targets.get(&target).cloned();
    if driver.has_failed(&target) {
        return Ok(csi::NodePublishVolumeResponse {});
    }
    let late = driver.defects.has(Defect::CRASH_MID_PUBLISH_NO_CONVERGE);
    let stacks = driver.defects.has(Defect::STACK_ON_REPEAT_PUBLISH);
    if is_there(driver, &target, &wanted, recorded.as_ref(), patience)? && !stacks {
        if recorded.is_none() {
            if late {
                let message = "something is mounted at target_path that is not recorded";
                return Err(Status::failed_precondition(message));
            }
            record(driver, &target, &wanted)?;
        }
        return Ok(csi::NodePublishVolumeResponse {});
    }
    if let Some(staging) = &wanted.staging {
        is_staged(driver, staging, &wanted, patience)?;
    }
    may_have_another(driver, &capability, id, &target)?;
    if !late {
        record(driver, &target, &wanted)?;
    }
    let published = carry_out(driver, &wanted, &target, patience)
        .and_then(|()| mounting::still_wanted(patience));
    match published {
        Err(error) if driver.defects.has(Defect::MOUNT_ERROR_SWALLOWED) => {
            tracing::warn!(why = error.message(), "the mount failed");
        }
        Err(error) => {
            driver.remember_failed(&target);
            if !driver.defects.has(Defect::PUBLISH_TIMEOUT_ABANDONS_MOUNT) {
                undo(driver, &target);
            }
            return Err(error);
        }
        Ok(()) if late => {
            // Long enough to be killed in.
            std::thread::sleep(Duration::from_millis(200));
            record(driver, &target, &wanted)?;
        }
        Ok(()) => {}
    }
    if driver.defects.has(Defect::CHMOD_ON_PUBLISH) {
        file::open_to_all(&target);
    }
    Ok(csi::NodePublishVolumeResponse {})
}

fn record(driver: &Driver, target: &Path, wanted: &Place) -> Result<(), Status> {
    driver.store.update(|records| {
        records.targets.insert(target.to_owned(), wanted.clone());
        Ok(())
    })
}

/// Where the volume is staged, if it is to be.
fn staging(
    driver: &Driver,
    request: &csi::NodePublishVolumeRequest,
) -> Result<Option<PathBuf>, Status> {
    if !driver.stages {
        return Ok(None);
    }
    let path = &request.staging_target_path;
    if path.is_empty() {
        return Err(Status::failed_precondition(
            "staging_target_path is not set",
        ));
    }
    fields::path("staging_target_path", path).map(Some)
}

/// Whether the volume is staged there, in a way that it can be published from.
///
/// # Errors
///
/// FAILED_PRECONDITION where it is not; NOT_FOUND where there is no such volume.
fn is_staged(
    driver: &Driver,
    staging: &Path,
    wanted: &Place,
    patience: &Patience,
) -> Result<(), Status> {
    let believes = [
        Defect::PUBLISH_BINDS_UNMOUNTED_STAGING,
        Defect::MOUNT_ERROR_SWALLOWED,
        Defect::STAGE_ERROR_DIR_THEN_OK,
        Defect::NFS_BG_TRUSTED,
    ];
    if believes.iter().any(|defect| driver.defects.has(*defect)) {
        return Ok(());
    }
    let recorded = driver.store.records().stages.get(staging).cloned();
    // A read-only staging can be published read-only alone; a writable one both ways.
    let read_only = recorded.as_ref().is_some_and(|place| place.read_only);
    if read_only && !wanted.read_only {
        let message = "the volume is staged read-only";
        return Err(Status::failed_precondition(message));
    }
    let staged = Place {
        read_only,
        staging: None,
        ..wanted.clone()
    };
    match is_there(driver, staging, &staged, recorded.as_ref(), patience) {
        Ok(true) => Ok(()),
        Err(error) if error.code() != tonic::Code::AlreadyExists => Err(error),
        Err(error) => Err(Status::failed_precondition(error.message())),
        Ok(false) => {
            let patience = patience.at_most(LOOK_WITHIN);
            let missing = workplace::is_there(driver, &wanted.source, &wanted.flags, &patience);
            match missing {
                Err(error) if error.code() == tonic::Code::NotFound => Err(error),
                _ => Err(Status::failed_precondition(
                    "the volume is not staged at staging_target_path",
                )),
            }
        }
    }
}

/// Whether the access mode lets the volume have one more target. A record counts
/// where something is mounted, as the mount table says.
fn may_have_another(
    driver: &Driver,
    capability: &Capability,
    id: &str,
    target: &Path,
) -> Result<(), Status> {
    if capability.mode() != Mode::SingleNodeSingleWriter
        || driver.defects.has(Defect::SNSW_NOT_ENFORCED)
    {
        return Ok(());
    }
    for (other, place) in driver.store.records().targets {
        let is_other = place.volume_id == id && other != target;
        if is_other && mountinfo::top(&other).map_err(internal)?.is_some() {
            return Err(Status::failed_precondition(format!(
                "the access mode allows one target, and the volume is published at {}",
                other.display()
            )));
        }
    }
    Ok(())
}

fn carry_out(
    driver: &Driver,
    wanted: &Place,
    target: &Path,
    patience: &Patience,
) -> Result<(), Status> {
    // A dead mount there cannot be looked at, and would only be stacked upon.
    if mountinfo::top(target).map_err(internal)?.is_none() {
        file::make_dir(target, 0o750).map_err(internal)?;
    }
    if driver.defects.has(Defect::PUBLISHED_NOTHING) {
        return Ok(());
    }
    let Some(staging) = &wanted.staging else {
        let flags = match driver.defects.has(Defect::STACK_ON_REPEAT_PUBLISH) {
            // The kernel refuses to mount one superblock twice at one path.
            true => wanted.flags.clone().and("nosharecache"),
            false => wanted.flags.clone(),
        };
        return mounting::mount(
            driver,
            &wanted.source,
            &flags,
            wanted.read_only,
            target,
            patience,
        );
    };
    // The new mount is to have the flags of the staged one, which asked for the same.
    let mut flags = MsFlags::empty();
    if wanted.read_only {
        flags = wanted.flags.options().mount | MsFlags::MS_RDONLY;
    }
    mounting::bind(driver, staging, target, flags, patience)
}

/// Takes back what a publish that failed has done.
fn undo(driver: &Driver, target: &Path) {
    let undone = mounting::undo(driver, target)
        .and_then(|()| mounting::remove_mount_point(target))
        .and_then(|()| {
            driver.store.update(|records| {
                records.targets.remove(target);
                Ok(())
            })
        });
    if let Err(error) = undone {
        // The record stays, and so does the way to clean up: NodeUnpublishVolume.
        let why = error.message();
        tracing::warn!(why, "could not take back a publish that failed");
    }
}
