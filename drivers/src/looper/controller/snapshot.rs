//! `CreateSnapshot`, `DeleteSnapshot`, `ListSnapshots`, `GetSnapshot`.

use std::time::{SystemTime, UNIX_EPOCH};

use csi_proto::v1 as csi;
use csi_proto::v1::list_snapshots_response::Entry;
use tonic::Status;

use crate::common::calls::Answers;
use crate::defect::Defect;
use crate::looper::args;
use crate::looper::driver::Driver;
use crate::looper::snapshot::{self, Origin, Snapshot};
use crate::looper::still;
use crate::looper::volume::internal;
use crate::sys::copy;

/// Copies a volume as it is at this moment. One name is one snapshot.
pub(super) fn create(
    driver: &Driver,
    request: &csi::CreateSnapshotRequest,
) -> Result<csi::CreateSnapshotResponse, Status> {
    let name = args::known_by(driver, args::name(&request.name)?);
    let source = args::required("source_volume_id", &request.source_volume_id)?;
    if !request.parameters.is_empty() {
        return Err(Status::invalid_argument("there are no parameters"));
    }
    // The call claims the source; the name is claimed beside it.
    let _name = driver.calls().hold(&format!("snapshot {name}"))?;
    if let Some(existing) = driver.snapshots.named(name) {
        if existing.source_volume_id != source {
            let message = "a snapshot of this name exists, and is of another volume";
            return Err(Status::already_exists(message));
        }
        return Ok(csi::CreateSnapshotResponse {
            snapshot: Some(told(&existing)),
        });
    }
    let volume = driver.store.get(source)?;
    let snapshot = Snapshot {
        id: snapshot::new_id()?,
        name: name.to_owned(),
        source_volume_id: source.to_owned(),
        created: now(),
        origin: Origin::of(&volume),
        group: None,
    };
    let first = first_of(driver, source);
    driver.snapshots.create(&snapshot, |image| match &first {
        Some(first) => copy::file(&driver.snapshots.image(first), image).map_err(internal),
        None => still::copy_image(driver, &volume, image),
    })?;
    Ok(csi::CreateSnapshotResponse {
        snapshot: Some(told(&snapshot)),
    })
}

/// The defect snapshots-of-one-moment: the snapshot that the others of this volume are
/// copies of, if there is one.
fn first_of(driver: &Driver, source: &str) -> Option<String> {
    if !driver.defects.has(Defect::SNAPSHOTS_OF_ONE_MOMENT) {
        return None;
    }
    let of_it = |snapshot: &Snapshot| snapshot.source_volume_id == source;
    let first = driver.snapshots.all().into_iter().filter(of_it);
    first
        .min_by_key(|first| first.created)
        .map(|first| first.id)
}

/// Deletes a snapshot. One that is not there is deleted.
pub(super) fn delete(
    driver: &Driver,
    request: &csi::DeleteSnapshotRequest,
) -> Result<csi::DeleteSnapshotResponse, Status> {
    let id = args::required("snapshot_id", &request.snapshot_id)?;
    match driver.snapshots.find(id) {
        Some(member) if member.group.is_some() => Err(Status::invalid_argument(
            "this snapshot is deleted with its group",
        )),
        Some(_) if driver.defects.has(Defect::DELETE_DOES_NOTHING) => {
            Ok(csi::DeleteSnapshotResponse {})
        }
        Some(found) => {
            driver.snapshots.delete(id)?;
            if driver.defects.has(Defect::DELETE_TAKES_ALL_SNAPSHOTS) {
                let mut others = driver.snapshots.all();
                others.retain(|other| other.source_volume_id == found.source_volume_id);
                for other in others {
                    driver.snapshots.delete(&other.id)?;
                }
            }
            Ok(csi::DeleteSnapshotResponse {})
        }
        None => Ok(csi::DeleteSnapshotResponse {}),
    }
}

/// The snapshots by id, page by page; a page's token is the last id before it.
pub(super) fn list(
    driver: &Driver,
    request: &csi::ListSnapshotsRequest,
) -> Result<csi::ListSnapshotsResponse, Status> {
    let page = usize::try_from(request.max_entries)
        .map_err(|_| Status::invalid_argument("max_entries is negative"))?;
    let after = request.starting_token.as_str();
    if !after.is_empty() && !snapshot::is_id(after) {
        return Err(Status::aborted(
            "starting_token is none that was given out here",
        ));
    }
    let page = if page == 0 { usize::MAX } else { page };
    let is_asked = |asked: &str, it: &str| asked.is_empty() || asked == it;
    let mut found = driver.snapshots.all();
    found.retain(|snapshot| {
        snapshot.id.as_str() > after
            && is_asked(&request.snapshot_id, &snapshot.id)
            && is_asked(&request.source_volume_id, &snapshot.source_volume_id)
    });
    if driver.defects.has(Defect::LIST_SKIPS_AT_PAGE) && !after.is_empty() {
        found.drain(..found.len().min(1));
    }
    let more = found.len() > page;
    found.truncate(page);
    let last = found.last().map(|snapshot| snapshot.id.clone());
    Ok(csi::ListSnapshotsResponse {
        entries: found
            .iter()
            .map(|snapshot| Entry {
                snapshot: Some(told(snapshot)),
            })
            .collect(),
        next_token: last.filter(|_| more).unwrap_or_default(),
    })
}

/// One snapshot.
pub(super) fn get(
    driver: &Driver,
    request: &csi::GetSnapshotRequest,
) -> Result<csi::GetSnapshotResponse, Status> {
    let id = args::required("snapshot_id", &request.snapshot_id)?;
    let found = driver.snapshots.find(id);
    let found = found.ok_or_else(|| Status::not_found("there is no snapshot of this id"))?;
    Ok(csi::GetSnapshotResponse {
        snapshot: Some(told(&found)),
    })
}

/// A snapshot as answers tell of it: what is there is whole.
pub(super) fn told(snapshot: &Snapshot) -> csi::Snapshot {
    let (seconds, nanos) = snapshot.created;
    csi::Snapshot {
        size_bytes: i64::try_from(snapshot.origin.size_bytes).unwrap_or(i64::MAX),
        snapshot_id: snapshot.id.clone(),
        source_volume_id: snapshot.source_volume_id.clone(),
        creation_time: Some(prost_types::Timestamp { seconds, nanos }),
        ready_to_use: true,
        group_snapshot_id: snapshot.group.clone().unwrap_or_default(),
        ..Default::default()
    }
}

/// The moment, in seconds and nanoseconds since 1970.
pub(super) fn now() -> (i64, i32) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let since = since.unwrap_or_default();
    (
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        i32::try_from(since.subsec_nanos()).unwrap_or(0),
    )
}
