//! Whether what a call asks for is there already.

use std::path::Path;

use tonic::Status;

use crate::common::patience::Patience;
use crate::defect::Defect;
use crate::nfs::driver::Driver;
use crate::nfs::mounting::{self, occupied, undone};
use crate::nfs::source::is_nfs;
use crate::nfs::store::{Place, internal};
use crate::sys::mountinfo;

/// Whether a volume is mounted at a path as it is wanted, and can be used. One
/// whose folder is gone from the server is unmounted here, to be mounted anew.
///
/// # Errors
///
/// ALREADY_EXISTS where it is mounted in another way, FAILED_PRECONDITION where
/// something else is, UNAVAILABLE where its server does not answer.
pub(super) fn is_there(
    driver: &Driver,
    path: &Path,
    wanted: &Place,
    recorded: Option<&Place>,
    patience: &Patience,
) -> Result<bool, Status> {
    let Some(mount) = mountinfo::top(path).map_err(internal)? else {
        return Ok(false);
    };
    if driver
        .defects
        .has(Defect::ALREADY_MOUNTED_NO_IDENTITY_CHECK)
    {
        return Ok(true);
    }
    let other = |what: &str| {
        let message = format!("a volume is mounted at {}, and {what}", path.display());
        Err(Status::already_exists(message))
    };
    if !is_nfs(&mount) {
        return Err(occupied(path));
    }
    // The record is of what was mounted there, if that is what is there still.
    let recorded = recorded.filter(|place| place.source.was_mounted_as(&mount));
    let same_source = match recorded {
        Some(place) => place.source == wanted.source,
        None => wanted.source.is_at(&mount),
    };
    if !same_source {
        return other("it is another");
    }
    if recorded.is_some_and(|place| place.volume_id != wanted.volume_id) {
        return other("it has another volume_id");
    }
    if recorded.is_some_and(|place| place.flags != wanted.flags) {
        return other("it was mounted with other mount flags");
    }
    let lax = [
        Defect::READONLY_FLAG_IGNORED,
        Defect::MOUNT_FLAGS_DROPPED,
        Defect::RO_BIND_SINGLE_CALL,
    ];
    let careful = !lax.iter().any(|defect| driver.defects.has(*defect));
    if let Some(how) = wanted.flags.contradicted_by(&mount, wanted.read_only)
        && careful
    {
        return other(how);
    }
    is_usable(driver, path, patience)
}

/// Whether a mounted volume can be used.
fn is_usable(driver: &Driver, path: &Path, patience: &Patience) -> Result<bool, Status> {
    if driver.defects.has(Defect::ALREADY_MOUNTED_NO_HEALTH_CHECK) {
        return Ok(true);
    }
    match mounting::measure(path, patience) {
        Ok(_) => Ok(true),
        Err(why) if why.errno() == Some(libc::ESTALE) => {
            mounting::unmount_stale(path)?;
            Ok(false)
        }
        Err(why) => {
            let status = undone("use what is mounted at", path, &why);
            Err(Status::unavailable(status.message()))
        }
    }
}
