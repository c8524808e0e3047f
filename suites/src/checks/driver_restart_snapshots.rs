//! Snapshots, and a driver that is killed and started again.

use csi_harness::check;
use csi_harness::check::{Check, Checked, Cx, Need, Stop, Want};

use super::create_from::RESTORE;
use super::group_snapshot::MOUNTED_GROUPS;
use crate::spec;

pub(super) static CHECKS: &[&Check] = &[&SNAPSHOTS_ARE_KNOWN, &GROUPS_ARE_KNOWN];

check! {
    /// A snapshot that was cut before the driver was killed is there after it, with its data.
    ///
    /// The sidecar that was told its id asks by its name again. A driver that forgot it
    /// cuts another one, of another moment, and the first is nobody's.
    SNAPSHOTS_ARE_KNOWN = "driver-restart.snapshots-are-known",
    clauses: [spec::GENERAL_RESTART_MID_CALL, spec::SNAPSHOT_CREATE_IDEMPOTENT, spec::CONTROLLER_CREATE_FROM_SNAPSHOT_DATA],
    needs: Need::All(&[RESTORE, Need::RESTART]),
    phase: Alone,
    axes: [Kind],
    volumes: 2, calls: 30,
    look_at: "where the driver keeps its snapshots and their names: memory ends with it",
    run: snapshots_are_known,
}

async fn snapshots_are_known(cx: &Cx) -> Checked {
    let (target, marker) = cx.in_use(Want::fresh()).await?;
    let source = target.staged().volume();
    let snapshot = source.snapshot().await?;
    cx.restart_driver().await?;
    let again = source.ask_snapshot(snapshot.request()).await?.ok()?;
    let again = again.snapshot.unwrap_or_default().snapshot_id;
    is_the_same(&snapshot.id(), &again)?;
    target.unpublish().await?;
    target.staged().unstage().await?;
    let restored = cx.volume(snapshot.copy()).await?;
    restored.comes_up("b").await?.shows(&marker).await
}

check! {
    /// A group snapshot that was cut before the driver was killed is there after it.
    GROUPS_ARE_KNOWN = "driver-restart.group-snapshots-are-known",
    clauses: [spec::GENERAL_RESTART_MID_CALL, spec::GROUP_CREATE_IDEMPOTENT, spec::GROUP_MEMBER_DATA],
    needs: Need::All(&[MOUNTED_GROUPS, Need::RESTART]),
    phase: Alone,
    volumes: 4, calls: 50,
    look_at: "where the driver keeps its groups, their names and their members: memory ends with it",
    run: groups_are_known,
}

async fn groups_are_known(cx: &Cx) -> Checked {
    let used = [
        cx.in_use(Want::fresh()).await?,
        cx.in_use(Want::fresh()).await?,
    ];
    let volumes = used.each_ref().map(|(target, _)| target.staged().volume());
    let group = cx.group(&volumes).await?;
    cx.restart_driver().await?;
    let again = cx.ask_group(group.request()).await?.ok()?;
    let again = again.group_snapshot.unwrap_or_default().group_snapshot_id;
    is_the_same(&group.id(), &again)?;
    for (target, marker) in &used {
        target.unpublish().await?;
        target.staged().unstage().await?;
        let copy = group.copy_of(&target.staged().volume())?;
        let restored = cx.volume(copy).await?;
        restored.comes_up("b").await?.shows(marker).await?;
    }
    Ok(())
}

fn is_the_same(before: &str, after: &str) -> Checked {
    match before == after {
        true => Ok(()),
        false => Err(Stop::fail(format!(
            "before the restart the call gave {before:?}, and then {after:?} for the same name"
        ))),
    }
}
