//! What a driver with a defect loses, or spoils, when a volume is unstaged.

use std::path::PathBuf;

use tonic::Status;

use crate::defect::Defect;
use crate::looper::driver::Driver;
use crate::looper::volume::{Source, Volume, internal};
use crate::sys::{copy, file};

/// A label's length, in bytes.
const LABEL: u64 = 4096;

/// The defect unsynced-lost-on-unstage: the disk as it is before the unmount.
pub(super) fn remember(driver: &Driver, volume: &Volume) -> Result<PathBuf, Status> {
    let kept = beside(driver, volume, "before");
    let _ = file::remove_link(&kept);
    copy::file(&driver.image(volume), &kept).map_err(internal)?;
    Ok(kept)
}

fn beside(driver: &Driver, volume: &Volume, what: &str) -> PathBuf {
    driver.image(volume).with_extension(what)
}

/// What becomes of a disk that nobody uses any more: nothing, without a defect.
pub(super) fn spoil(
    driver: &Driver,
    volume: &Volume,
    before: Option<PathBuf>,
) -> Result<(), Status> {
    let image = driver.image(volume);
    if let Some(before) = before {
        file::rename(&before, &image).map_err(internal)?;
    }
    if volume.block && driver.defects.has(Defect::LABEL_AT_THE_END) {
        let length = file::length(&image).map_err(internal)?;
        file::set_length(&image, length.saturating_sub(LABEL)).map_err(internal)?;
        file::set_length(&image, length).map_err(internal)?;
    }
    if let Some(Source::Snapshot(id)) = &volume.source
        && driver.defects.has(Defect::RESTORE_WRITES_INTO_SNAPSHOT)
        && driver.snapshots.find(id).is_some()
    {
        let written = beside(driver, volume, "written");
        copy::file(&image, &written).map_err(internal)?;
        file::rename(&written, &driver.snapshots.image(id)).map_err(internal)?;
    }
    Ok(())
}
