//! `NodeGetVolumeStats`.

use std::path::Path;
use std::sync::OnceLock;

use csi_proto::v1 as csi;
use csi_proto::v1::volume_usage::Unit;
use tonic::Status;

use super::device::{self, Top};
use super::whole;
use crate::common::usage;
use crate::defect::Defect;
use crate::looper::args;
use crate::looper::driver::Driver;
use crate::looper::volume::{Volume, internal};
use crate::sys::filesystem;
use crate::sys::loopdev::LoopDevice;

/// The defect stats-of-the-first: what the first file system had.
static FIRST: OnceLock<Vec<csi::VolumeUsage>> = OnceLock::new();

/// Measures a volume where it is staged or published.
pub(super) fn stats(
    driver: &Driver,
    request: &csi::NodeGetVolumeStatsRequest,
) -> Result<csi::NodeGetVolumeStatsResponse, Status> {
    let id = args::required("volume_id", &request.volume_id)?;
    let path = args::path("volume_path", &request.volume_path)?;
    let volume = driver.store.get(id)?;
    let mut usage = match shown_at(driver, &volume, &path)? {
        Shown::Filesystem => usage::of_filesystem(filesystem::usage(&path).map_err(internal)?),
        Shown::Device(device) => vec![csi::VolumeUsage {
            total: usage::signed(device.size().map_err(internal)?),
            unit: Unit::Bytes.into(),
            ..Default::default()
        }],
        Shown::Nothing => {
            return Err(Status::not_found("the volume is not at volume_path"));
        }
    };
    if driver.defects.has(Defect::STATS_LEAVE_A_DESCRIPTOR) {
        std::mem::forget(std::fs::File::open("/dev/null"));
    }
    if driver.defects.has(Defect::STATS_OF_THE_FIRST) && usage.len() > 1 {
        usage.clone_from(FIRST.get_or_init(|| usage.clone()));
    }
    if driver.defects.has(Defect::WRONG_STATS) {
        for usage in &mut usage {
            usage.total /= 2;
            (usage.available, usage.used) = (usage.total, 0);
        }
    }
    Ok(csi::NodeGetVolumeStatsResponse {
        usage,
        volume_condition: Some(condition(driver, &volume, &path)),
    })
}

/// What of a volume is at a path.
enum Shown {
    Filesystem,
    Device(LoopDevice),
    Nothing,
}

/// Looks in the mount table first: a path at which nothing is mounted belongs to
/// the file system around it, whose numbers are not the volume's.
fn shown_at(driver: &Driver, volume: &Volume, path: &Path) -> Result<Shown, Status> {
    if driver.defects.has(Defect::STATS_OF_PARENT_FS) {
        return Ok(if path.exists() {
            Shown::Filesystem
        } else {
            Shown::Nothing
        });
    }
    if volume
        .stages
        .get(path)
        .is_some_and(|stage| stage.is_block())
    {
        return Ok(device::primary(driver, volume)?.map_or(Shown::Nothing, Shown::Device));
    }
    Ok(match device::top(driver, volume, path)? {
        Top::Own(mount) if !mount.is_node() => Shown::Filesystem,
        Top::Own(mount) => LoopDevice::behind(&mount).map_or(Shown::Nothing, Shown::Device),
        _ => Shown::Nothing,
    })
}

/// How the volume is, seen from here.
fn condition(driver: &Driver, volume: &Volume, path: &Path) -> csi::VolumeCondition {
    let trouble = whole(driver, volume)
        .err()
        .map(|error| error.message().to_owned())
        .or_else(|| device::turned_read_only(driver, volume, path))
        .filter(|_| !driver.defects.has(Defect::CONDITION_ALWAYS_WELL));
    csi::VolumeCondition {
        abnormal: trouble.is_some(),
        message: trouble.unwrap_or_else(|| "the volume is in use and well".to_owned()),
    }
}
