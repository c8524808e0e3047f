//! `DeleteSnapshot`: that snapshot, and nothing else.

use csi_harness::check;
use csi_harness::check::{Check, Checked, Cx, Need, Step, Stop, Want};
use csi_harness::client::Code;
use csi_proto::rpc;
use csi_proto::v1;
use csi_proto::v1::controller_service_capability::rpc::Type as ControllerRpc;

use super::create_from::RESTORE;
use super::create_snapshot::cut_in_use;
use crate::spec;

pub(super) static CHECKS: &[&Check] = &[
    &DELETES,
    &DATA_IS_GONE,
    &DELETE_REPEAT,
    &DELETE_ID_REQUIRED,
    &LEAVES_WHAT_WAS_MADE,
];

check! {
    /// `DeleteSnapshot` deletes a snapshot.
    DELETES = "delete-snapshot.deletes",
    clauses: [spec::SNAPSHOT_DELETE_IMPLEMENTED],
    needs: RESTORE,
    owns: [Step::DeleteSnapshot],
    phase: First,
    volumes: 1, calls: 8,
    run: deletes,
}

async fn deletes(cx: &Cx) -> Checked {
    let snapshot = cx.volume(Want::fresh()).await?.snapshot().await?;
    snapshot.delete().await?;
    if !cx.facts().controller_can(ControllerRpc::ListSnapshots) {
        return Ok(());
    }
    match snapshot.listed(true).await?.is_empty() {
        true => Ok(()),
        false => Err(Stop::fail(
            "DeleteSnapshot answered OK, and ListSnapshots still shows the snapshot",
        )),
    }
}

check! {
    /// From a snapshot that was deleted no volume is made with its data.
    ///
    /// A driver that answers OK and deletes nothing keeps the data that somebody wanted
    /// gone, and the space, and nobody is left who knows of it.
    DATA_IS_GONE = "delete-snapshot.data-is-gone",
    clauses: [spec::SNAPSHOT_DELETE_IMPLEMENTED],
    needs: RESTORE,
    volumes: 2, calls: 60,
    look_at: "what DeleteSnapshot does before it answers: an id that it does not find, and an error of the back end, may both have become OK",
    run: data_is_gone,
}

async fn data_is_gone(cx: &Cx) -> Checked {
    let (volume, marker) = cx.marked(Want::fresh()).await?;
    let snapshot = volume.snapshot().await?;
    snapshot.delete().await?;
    snapshot.is_gone(&marker).await
}

check! {
    /// `DeleteSnapshot` of a snapshot that is gone already is OK.
    DELETE_REPEAT = "delete-snapshot.repeat-is-ok",
    clauses: [spec::SNAPSHOT_DELETE_IDEMPOTENT],
    needs: RESTORE,
    volumes: 1, calls: 7,
    run: delete_repeat,
}

async fn delete_repeat(cx: &Cx) -> Checked {
    let snapshot = cx.volume(Want::fresh()).await?.snapshot().await?;
    snapshot.delete().await?;
    snapshot.ask_delete().await?.ok().map(drop)
}

check! {
    /// `DeleteSnapshot` without an id is refused.
    DELETE_ID_REQUIRED = "delete-snapshot.id-is-required",
    clauses: [spec::SNAPSHOT_DELETE_ID_REQUIRED],
    needs: Need::Controller(ControllerRpc::CreateDeleteSnapshot),
    volumes: 0, calls: 1,
    run: delete_id_required,
}

async fn delete_id_required(cx: &Cx) -> Checked {
    let request = v1::DeleteSnapshotRequest {
        secrets: cx.secrets("DeleteSnapshot"),
        ..Default::default()
    };
    cx.ask::<rpc::DeleteSnapshot>(&request)
        .await?
        .refused_with(&[Code::INVALID_ARGUMENT])
}

check! {
    /// Deleting a snapshot leaves the volumes that were made from it, or is refused.
    LEAVES_WHAT_WAS_MADE = "delete-snapshot.leaves-what-was-made-from-it",
    clauses: [spec::SNAPSHOT_DELETE_RESTORED_SURVIVE],
    needs: RESTORE,
    volumes: 2, calls: 26,
    look_at: "whether a volume that was restored still reads from the snapshot",
    run: leaves_what_was_made,
}

async fn leaves_what_was_made(cx: &Cx) -> Checked {
    let (_, snapshot, marker) = cut_in_use(cx).await?;
    let restored = cx.volume(snapshot.copy()).await?;
    let asked = snapshot.ask_delete().await?;
    if asked.refusal().is_some() {
        asked.refused_with(&[Code::FAILED_PRECONDITION])?;
    }
    restored.comes_up("a").await?.shows(&marker).await
}
