//! What a volume is made from: a snapshot, or another volume.

use std::path::Path;

use csi_proto::v1 as csi;
use csi_proto::v1::volume_content_source::{SnapshotSource, Type, VolumeSource};
use tonic::Status;

use crate::common::calls::Answers;
use crate::common::locks::Held;
use crate::defect::Defect;
use crate::looper::args;
use crate::looper::driver::Driver;
use crate::looper::snapshot::Origin;
use crate::looper::still;
use crate::looper::volume::{Source, Volume, internal};
use crate::sys::filesystem::Filesystem;
use crate::sys::{copy, file};

/// The source that a request names.
///
/// # Errors
///
/// INVALID_ARGUMENT where it names none, or has no id.
pub(super) fn asked(request: &csi::CreateVolumeRequest) -> Result<Option<Source>, Status> {
    let Some(source) = &request.volume_content_source else {
        return Ok(None);
    };
    let missing = || Status::invalid_argument("volume_content_source names no source");
    Ok(Some(match source.r#type.as_ref().ok_or_else(missing)? {
        Type::Snapshot(of) => {
            Source::Snapshot(args::required("snapshot_id", &of.snapshot_id)?.to_owned())
        }
        Type::Volume(of) => Source::Volume(args::required("volume_id", &of.volume_id)?.to_owned()),
    }))
}

/// The source as an answer tells of it.
pub(super) fn told(source: &Source) -> csi::VolumeContentSource {
    let r#type = match source.clone() {
        Source::Snapshot(snapshot_id) => Type::Snapshot(SnapshotSource { snapshot_id }),
        Source::Volume(volume_id) => Type::Volume(VolumeSource { volume_id }),
    };
    csi::VolumeContentSource {
        r#type: Some(r#type),
    }
}

/// A source that is there, and stays as long as this does.
pub(super) struct Found {
    pub(super) origin: Origin,
    from: From,
    _held: Held,
}

/// Where its content is.
enum From {
    Snapshot(String),
    Volume(Box<Volume>),
}

/// Looks for a source, and claims it.
///
/// # Errors
///
/// NOT_FOUND; ABORTED while another call is at work on it.
pub(super) fn find(driver: &Driver, source: &Source) -> Result<Found, Status> {
    let (Source::Snapshot(id) | Source::Volume(id)) = source;
    let held = driver.calls().hold(id)?;
    let (origin, from) = match source {
        Source::Snapshot(id) => {
            let missing = || Status::not_found("there is no snapshot of this snapshot_id");
            let snapshot = driver.snapshots.find(id).ok_or_else(missing)?;
            (snapshot.origin, From::Snapshot(snapshot.id))
        }
        Source::Volume(id) => {
            let volume = driver.store.get(id)?;
            (Origin::of(&volume), From::Volume(Box::new(volume)))
        }
    };
    Ok(Found {
        origin,
        from,
        _held: held,
    })
}

impl Found {
    /// Whether a volume for this use can hold what is in the source.
    pub(super) fn suits(&self, block: bool, wanted: Option<Filesystem>) -> Result<(), String> {
        if self.origin.filesystem == wanted && (self.origin.block || !block) {
            return Ok(());
        }
        Err("the source has another file system, or another access type".to_owned())
    }

    /// Puts the content of the source into a new disk image.
    pub(super) fn copy(&self, driver: &Driver, to: &Path) -> Result<(), Status> {
        match &self.from {
            From::Volume(volume) => still::copy_image(driver, volume, to)?,
            From::Snapshot(id) => {
                copy::file(&driver.snapshots.image(id), to).map_err(internal)?;
            }
        }
        if self.origin.filesystem.is_none() && driver.defects.has(Defect::COPY_CUT_SHORT) {
            // It is given its whole length when it is filled.
            file::set_length(to, self.origin.size_bytes / 2).map_err(internal)?;
        }
        // One that was never staged has no file system yet.
        if self.origin.filesystem == Some(Filesystem::Btrfs) && self.origin.filled > 0 {
            copy::new_btrfs_id(to).map_err(internal)?;
        }
        Ok(())
    }
}
