//! `ControllerExpandVolume`.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use csi_proto::v1 as csi;
use tonic::Status;

use crate::common::capability::Capability;
use crate::defect::Defect;
use crate::looper::args::{self, bounds, lies_in};
use crate::looper::driver::Driver;
use crate::looper::volume::internal;
use crate::sys::file;

/// Makes the disk image longer, at any time of the volume's life. The loop
/// device and the file system are the node's to grow.
pub(super) fn expand(
    driver: &Driver,
    request: &csi::ControllerExpandVolumeRequest,
) -> Result<csi::ControllerExpandVolumeResponse, Status> {
    let id = args::required("volume_id", &request.volume_id)?;
    let range = request.capacity_range.as_ref();
    let missing = || Status::invalid_argument("capacity_range is missing");
    let wanted = bounds(Some(range.ok_or_else(missing)?))?;
    let capability = match &request.volume_capability {
        Some(capability) => Some(Capability::parse(Some(capability))?),
        None => None,
    };
    let volume = driver.store.get(id)?;
    if let Some(capability) = capability {
        capability
            .check(&driver.filesystems)
            .and_then(|()| volume.check(&capability))
            .map_err(Status::invalid_argument)?;
    }
    let mut bytes = volume.capacity_bytes;
    if bytes < wanted.0 {
        bytes = args::size(range, bytes, false)?;
        if !is_too_often(driver, id) {
            file::set_length(&driver.image(&volume), bytes).map_err(internal)?;
        }
        driver
            .store
            .update(id, |volume| volume.capacity_bytes = bytes)?;
    } else if !lies_in(bytes, wanted) {
        return Err(Status::out_of_range(
            "the volume is larger than limit_bytes, and never shrinks",
        ));
    }
    if driver.defects.has(Defect::EXPAND_TELLS_OLD_SIZE) {
        bytes = volume.capacity_bytes;
    }
    Ok(csi::ControllerExpandVolumeResponse {
        capacity_bytes: i64::try_from(bytes).unwrap_or(i64::MAX),
        node_expansion_required: true,
    })
}

/// The defect expand-only-once: whether this volume was expanded before.
fn is_too_often(driver: &Driver, id: &str) -> bool {
    static EXPANDED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut expanded = EXPANDED.lock().unwrap_or_else(PoisonError::into_inner);
    driver.defects.has(Defect::EXPAND_ONLY_ONCE) && !expanded.insert(id.to_owned())
}
