//! `CreateSnapshot`, `ListSnapshots`.

use csi_harness::check;
use csi_harness::check::{Check, Checked, Cx, Marker, Need, Snapshot, Step, Stop, Volume, Want};
use csi_harness::client::Code;
use csi_proto::v1::controller_service_capability::rpc::Type as ControllerRpc;

use super::create_from::RESTORE;
use crate::spec;

pub(super) static CHECKS: &[&Check] = &[
    &CREATES,
    &REPEAT,
    &OTHER_VOLUME,
    &NAME_REQUIRED,
    &SOURCE_REQUIRED,
    &UNKNOWN_VOLUME,
    &HOLDS_WHAT_WAS_WRITTEN,
    &HOLDS_WHAT_WAS_LEFT,
    &SURVIVES_ITS_VOLUME,
    &LISTED,
];

/// A volume that is on the node no more, a snapshot that was cut while it was in use, and
/// what was written to it by then.
pub(super) async fn cut_in_use(cx: &Cx) -> Result<(Volume<'_>, Snapshot<'_>, Marker), Stop> {
    let (target, marker) = cx.in_use(Want::fresh()).await?;
    let source = target.staged().volume();
    let snapshot = source.snapshot().await?;
    target.unpublish().await?;
    target.staged().unstage().await?;
    Ok((source, snapshot, marker))
}

check! {
    /// `CreateSnapshot` gives an id, the volume, the moment and a size.
    CREATES = "create-snapshot.creates",
    clauses: [spec::SNAPSHOT_CREATE_IMPLEMENTED, spec::SNAPSHOT_FIELDS],
    needs: RESTORE,
    owns: [Step::Snapshot],
    phase: First,
    axes: [Kind],
    volumes: 1, calls: 6,
    look_at: "what CreateSnapshot refuses: secrets may be missing in the configuration",
    run: creates,
}

async fn creates(cx: &Cx) -> Checked {
    let volume = cx.volume(Want::fresh()).await?;
    let told = volume.snapshot().await?.told;
    if told.source_volume_id != volume.id() {
        return Err(Stop::fail(format!(
            "source_volume_id is {:?}, the snapshot is of {:?}",
            told.source_volume_id,
            volume.id()
        )));
    }
    if told.creation_time.is_none() {
        return Err(Stop::fail("creation_time is not set"));
    }
    if told.size_bytes < 0 {
        return Err(Stop::fail(format!("size_bytes is {}", told.size_bytes)));
    }
    Ok(())
}

check! {
    /// The same `CreateSnapshot` again gives the same snapshot.
    ///
    /// The call is repeated until the snapshot is ready; each repeat that cuts a new
    /// one leaves one behind that nobody knows, and moves the moment on.
    REPEAT = "create-snapshot.repeat-is-the-same-snapshot",
    clauses: [spec::SNAPSHOT_CREATE_IDEMPOTENT],
    needs: RESTORE,
    volumes: 1, calls: 8,
    run: repeat,
}

async fn repeat(cx: &Cx) -> Checked {
    let volume = cx.volume(Want::fresh()).await?;
    let first = volume.snapshot().await?;
    let again = volume.ask_snapshot(first.request()).await?;
    let again = again.ok()?.snapshot.unwrap_or_default();
    if again.snapshot_id != first.id() {
        first.delete().await?;
        return Err(Stop::fail(format!(
            "first {:?}, then {:?} for the same name",
            first.id(),
            again.snapshot_id
        )));
    }
    if again.creation_time != first.told.creation_time {
        let [before, now] = [first.told.creation_time, again.creation_time]
            .map(|time| time.map_or_else(|| "not told".to_owned(), |at| at.to_string()));
        return Err(Stop::fail(format!(
            "creation_time was {before}, and is {now} when the call is repeated",
        )));
    }
    Ok(())
}

check! {
    /// A snapshot's name that exists for another volume is refused.
    ///
    /// OK would be somebody else's data.
    OTHER_VOLUME = "create-snapshot.other-volume-is-already-exists",
    clauses: [spec::SNAPSHOT_CREATE_EXISTS_OTHER_SOURCE],
    needs: RESTORE,
    volumes: 2, calls: 10,
    run: other_volume,
}

async fn other_volume(cx: &Cx) -> Checked {
    let (one, other) = (
        cx.volume(Want::fresh()).await?,
        cx.volume(Want::fresh()).await?,
    );
    let mut request = one.snapshot().await?.request().clone();
    request.source_volume_id = other.id();
    let asked = other.ask_snapshot(&request).await?;
    asked.refused_with(&[Code::ALREADY_EXISTS])
}

check! {
    /// `CreateSnapshot` without a name is refused.
    NAME_REQUIRED = "create-snapshot.name-is-required",
    clauses: [spec::SNAPSHOT_CREATE_NAME_REQUIRED],
    needs: RESTORE,
    volumes: 1, calls: 5,
    run: name_required,
}

async fn name_required(cx: &Cx) -> Checked {
    let volume = cx.volume(Want::any()).await?;
    let mut request = volume.snapshot_request()?;
    request.name.clear();
    let asked = volume.ask_snapshot(&request).await?;
    asked.refused_with(&[Code::INVALID_ARGUMENT])
}

check! {
    /// `CreateSnapshot` without a volume is refused.
    SOURCE_REQUIRED = "create-snapshot.source-is-required",
    clauses: [spec::SNAPSHOT_CREATE_SOURCE_REQUIRED],
    needs: RESTORE,
    volumes: 1, calls: 5,
    run: source_required,
}

async fn source_required(cx: &Cx) -> Checked {
    let volume = cx.volume(Want::any()).await?;
    let mut request = volume.snapshot_request()?;
    request.source_volume_id.clear();
    let asked = volume.ask_snapshot(&request).await?;
    asked.refused_with(&[Code::INVALID_ARGUMENT])
}

check! {
    /// A snapshot of a volume that does not exist is refused.
    UNKNOWN_VOLUME = "create-snapshot.unknown-volume-is-refused",
    clauses: [spec::SNAPSHOT_CREATE_SOURCE_MISSING],
    needs: RESTORE,
    volumes: 1, calls: 5,
    run: unknown_volume,
}

async fn unknown_volume(cx: &Cx) -> Checked {
    let volume = cx.volume(Want::fresh()).await?;
    volume.delete().await?;
    let asked = volume.ask_snapshot(&volume.snapshot_request()?).await?;
    asked.refused_with(&[Code::NOT_FOUND, Code::INVALID_ARGUMENT])
}

check! {
    /// A snapshot of a volume in use holds what its workload had written.
    ///
    /// What was written and not yet synced is in the memory of the node alone. A
    /// driver that copies the disk beside the kernel gets a file system without it,
    /// perhaps in the middle of a change.
    HOLDS_WHAT_WAS_WRITTEN = "create-snapshot.holds-what-was-written",
    clauses: [spec::SNAPSHOT_CREATE_WRITTEN_OUT],
    needs: RESTORE,
    axes: [Kind],
    volumes: 2, calls: 24,
    seen_in: ["home-operations/miroir#291" => "a file that had just been written was absent in the restored volume"],
    look_at: "whether the file system is frozen (fsfreeze(8)), or at least synced, before the disk is copied",
    run: holds_what_was_written,
}

async fn holds_what_was_written(cx: &Cx) -> Checked {
    let source = cx.volume(Want::fresh()).await?;
    source.keeps_data()?;
    let target = source.stage().await?.publish("a").await?;
    is_cut_on_the_node(cx, &source)?;
    let marker = Marker::new()?;
    let open = target.keeps_device_open()?;
    target.write_unsynced(&marker).await?;
    let snapshot = source.snapshot().await?;
    drop(open);
    target.unpublish().await?;
    target.staged().unstage().await?;
    let restored = cx.volume(snapshot.copy()).await?;
    restored.comes_up("a").await?.shows(&marker).await
}

/// Who cuts it elsewhere cannot know what this node holds back: a controller of another
/// process, or a storage whose disks are attached. Of a volume that is published.
pub(super) fn is_cut_on_the_node(cx: &Cx, volume: &Volume<'_>) -> Checked {
    let client = &cx.session().client;
    let is_here = client.endpoint("Controller") == client.endpoint("Node");
    match is_here && !volume.is_a_disk_from_elsewhere() {
        true => Ok(()),
        false => Err(Stop::not_offered(
            "snapshots that are cut on the node itself",
        )),
    }
}

check! {
    /// A snapshot of a volume that is only staged holds what its last workload had written.
    ///
    /// What was not synced when the pod ended is in the memory of the node still: the
    /// staging mount keeps the file system.
    HOLDS_WHAT_WAS_LEFT = "create-snapshot.holds-what-the-last-pod-wrote",
    clauses: [spec::SNAPSHOT_CREATE_WRITTEN_OUT],
    needs: Need::All(&[RESTORE, Need::STAGE, Need::MOUNT]),
    volumes: 2, calls: 24,
    look_at: "whether the staging mount is frozen (fsfreeze(8)), or at least synced, and not only targets",
    run: holds_what_was_left,
}

async fn holds_what_was_left(cx: &Cx) -> Checked {
    let source = cx.volume(Want::fresh()).await?;
    source.keeps_data()?;
    let staged = source.stage().await?;
    let target = staged.publish("a").await?;
    is_cut_on_the_node(cx, &source)?;
    let marker = Marker::new()?;
    target.write_unsynced(&marker).await?;
    target.unpublish().await?;
    let snapshot = source.snapshot().await?;
    staged.unstage().await?;
    let restored = cx.volume(snapshot.copy()).await?;
    restored.comes_up("a").await?.shows(&marker).await
}

check! {
    /// A snapshot outlives its volume, or the volume is not deleted.
    ///
    /// Snapshots are kept for the day on which the volume is gone.
    SURVIVES_ITS_VOLUME = "delete-volume.keeps-its-snapshots",
    clauses: [spec::CONTROLLER_DELETE_SNAPSHOTS_SURVIVE, spec::CONTROLLER_DELETE_SNAPSHOTS_DEPENDENT],
    needs: RESTORE,
    volumes: 2, calls: 28,
    look_at: "where the snapshot's data lies: with the volume, or apart from it",
    run: survives_its_volume,
}

async fn survives_its_volume(cx: &Cx) -> Checked {
    let (source, snapshot, marker) = cut_in_use(cx).await?;
    source.detach().await?;
    let asked = source.ask_delete().await?;
    if asked.is_ok() {
        let restored = cx.volume(snapshot.copy()).await?;
        return restored.comes_up("a").await?.shows(&marker).await;
    }
    asked.refused_with(&[Code::FAILED_PRECONDITION])?;
    source.comes_up("a").await?.shows(&marker).await
}

check! {
    /// `ListSnapshots` shows a snapshot by its id and by its volume, and no other.
    LISTED = "list-snapshots.shows-what-there-is",
    clauses: [spec::LIST_SNAPSHOTS_ALL, spec::LIST_SNAPSHOTS_BY_ID],
    needs: Need::All(&[RESTORE, Need::Controller(ControllerRpc::ListSnapshots)]),
    volumes: 2, calls: 14,
    run: listed,
}

async fn listed(cx: &Cx) -> Checked {
    let (one, other) = (
        cx.volume(Want::fresh()).await?,
        cx.volume(Want::fresh()).await?,
    );
    let (snapshot, second) = (one.snapshot().await?, other.snapshot().await?);
    for by_id in [true, false] {
        let filter = if by_id {
            "snapshot_id"
        } else {
            "source_volume_id"
        };
        let found = snapshot.listed(by_id).await?.into_iter();
        let ids: Vec<_> = found.map(|found| found.snapshot_id).collect();
        if ids != [snapshot.id()] {
            return Err(Stop::fail(format!(
                "by {filter} the snapshot {:?} was due alone; listed: {ids:?}",
                snapshot.id()
            )));
        }
    }
    second.delete().await?;
    match second.listed(true).await?.first() {
        None => Ok(()),
        Some(found) => Err(Stop::fail(format!(
            "ListSnapshots by the id of a snapshot that was deleted shows {:?}",
            found.snapshot_id
        ))),
    }
}
