//! `NodeGetVolumeStats`.

use std::path::Path;

use csi_proto::v1 as csi;
use tonic::Status;

use crate::common::args as fields;
use crate::common::patience::Patience;
use crate::common::usage;
use crate::defect::Defect;
use crate::nfs::driver::Driver;
use crate::nfs::mounting::{self, undone};
use crate::nfs::source::{Escape, Source, is_nfs};
use crate::nfs::store::internal;
use crate::sys::filesystem;
use crate::sys::mountinfo;

/// Measures a volume where it is staged or published. The numbers are those of
/// the file system that the share is on, which knows of no smaller ones.
pub(super) fn stats(
    driver: &Driver,
    request: &csi::NodeGetVolumeStatsRequest,
    patience: &Patience,
) -> Result<csi::NodeGetVolumeStatsResponse, Status> {
    let id = fields::required("volume_id", &request.volume_id)?;
    let path = fields::path("volume_path", &request.volume_path)?;
    let counts = driver.defects.has(Defect::STATS_OF_PARENT_FS) && path.exists();
    if !counts && !is_at(driver, id, &path)? {
        return Err(Status::not_found("the volume is not at volume_path"));
    }
    let measured = match driver.defects.has(Defect::STATS_BLOCK_FOREVER) {
        true => filesystem::usage(&path).map_err(internal)?,
        false => mounting::measure(&path, patience)
            .map_err(|why| undone("ask for the usage of", &path, &why))?,
    };
    let mut usage = usage::of_filesystem(measured);
    if driver.defects.has(Defect::WRONG_STATS) {
        for usage in &mut usage {
            usage.total /= 2;
            (usage.available, usage.used) = (usage.total, 0);
        }
    }
    Ok(csi::NodeGetVolumeStatsResponse {
        usage,
        volume_condition: None,
    })
}

/// Whether this volume is mounted at a path, as the mount table says: a path at
/// which nothing is mounted belongs to the node's own file system.
fn is_at(driver: &Driver, id: &str, path: &Path) -> Result<bool, Status> {
    let Some(mount) = mountinfo::top(path).map_err(internal)?.filter(is_nfs) else {
        return Ok(false);
    };
    let records = driver.store.records();
    let recorded = records
        .targets
        .get(path)
        .or_else(|| records.stages.get(path));
    if let Some(place) = recorded {
        return Ok(place.volume_id == id);
    }
    Ok(match Source::of_id(id, Escape::Refused) {
        Ok(Some(source)) => source.is_at(&mount),
        // An id that was not made here says nothing; nor does a lost record.
        _ => true,
    })
}
