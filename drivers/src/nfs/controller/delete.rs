//! `DeleteVolume`.

use csi_proto::v1 as csi;
use tonic::{Code, Status};

use crate::common::args as fields;
use crate::common::patience::{Over, Patience};
use crate::defect::Defect;
use crate::nfs::args::escape;
use crate::nfs::driver::Driver;
use crate::nfs::flags::Flags;
use crate::nfs::source::Source;
use crate::nfs::store::{Records, internal};
use crate::nfs::workplace::Workplace;
use crate::sys::command::Ended;
use crate::sys::{SysError, mountinfo, nfs};

/// Deletes the folder of a volume, and nothing beside it. One that is not there
/// is deleted.
pub(super) fn delete(
    driver: &Driver,
    request: &csi::DeleteVolumeRequest,
    patience: &Patience,
) -> Result<csi::DeleteVolumeResponse, Status> {
    let id = fields::required("volume_id", &request.volume_id)?;
    if driver.defects.has(Defect::DELETE_DOES_NOTHING) {
        return Ok(csi::DeleteVolumeResponse {});
    }
    let records = driver.store.records();
    is_unused(&records, id)?;
    let found = records.volume(id).map(|(_, made)| made);
    let (source, flags) = match found {
        Some(made) => (made.source.clone(), made.flags.clone()),
        None => match Source::of_id(id, escape(driver)) {
            Ok(Some(source)) => (source, Flags::default()),
            // Nothing that was made here had this id.
            Ok(None) => return Ok(csi::DeleteVolumeResponse {}),
            Err(why) => return Err(Status::invalid_argument(format!("volume_id: {why}"))),
        },
    };
    if source.sub_dir().is_empty() {
        return Err(Status::invalid_argument(
            "volume_id names a whole share, which is not this driver's to delete",
        ));
    }
    remove(driver, &source, &flags, patience)?;
    driver.store.update(|records| {
        let name = records.volume(id).map(|(name, _)| name.clone());
        name.map(|name| records.volumes.remove(&name));
        Ok(())
    })?;
    Ok(csi::DeleteVolumeResponse {})
}

/// Whether the volume is mounted nowhere on this node; of others, nobody here knows.
fn is_unused(records: &Records, id: &str) -> Result<(), Status> {
    for (path, place) in records.targets.iter().chain(&records.stages) {
        if place.volume_id == id && mountinfo::top(path).map_err(internal)?.is_some() {
            return Err(Status::failed_precondition(format!(
                "the volume is mounted at {}",
                path.display()
            )));
        }
    }
    Ok(())
}

fn remove(
    driver: &Driver,
    source: &Source,
    flags: &Flags,
    patience: &Patience,
) -> Result<(), Status> {
    let share = source.whole_share();
    let workplace = Workplace::at(driver, &share, flags, patience).map_err(|error| {
        match error.code() {
            // A share that is away may come back, and the volume with it.
            Code::NotFound => Status::unavailable(error.message()),
            _ => error,
        }
    })?;
    let names = match source.sub_dir() {
        [parents @ .., _]
            if driver.defects.has(Defect::DELETE_REMOVES_PARENT) && !parents.is_empty() =>
        {
            parents
        }
        names => names,
    };
    match nfs::remove_folder(workplace.path(), names, patience) {
        Ok(Ended::Itself(status, _)) if status.success() => Ok(()),
        Ok(Ended::Itself(_, said)) => Err(Status::internal(format!(
            "the volume's folder cannot be removed: {said}"
        ))),
        Ok(Ended::Killed(Over::Late)) => Err(Status::deadline_exceeded(
            "removing the volume's folder took too long",
        )),
        Ok(Ended::Killed(Over::GivenUp)) => Err(Status::cancelled("the caller gave up")),
        Err(error) if is_gone(&error) => Ok(()),
        Err(error) => Err(internal(error)),
    }
}

/// Whether a folder above the volume's is gone, and the volume with it.
fn is_gone(error: &SysError) -> bool {
    error.errno() == Some(libc::ENOENT)
}
