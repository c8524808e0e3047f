//! Volumes that nobody uses while the driver is killed: what was taken back is so for good,
//! and what they hold stays.

use csi_harness::check;
use csi_harness::check::{Act, Check, Checked, Cx, Need, Want, each};

use super::driver_killed::CREATES;
use crate::spec;

pub(super) static CHECKS: &[&Check] = &[&CAN_BE_DELETED, &DATA_IS_KEPT, &STAYS_DELETED];

check! {
    /// A volume can be taken back and deleted although the driver is killed after each step.
    ///
    /// A driver that did not write down what it undid believes after its restart that
    /// the volume is used still. It is never deleted then, and no other node gets it.
    CAN_BE_DELETED = "driver-restart.unused-volumes-can-be-deleted",
    clauses: [spec::GENERAL_RESTART_MID_CALL],
    needs: Need::All(&[CREATES, Need::RESTART]),
    phase: Alone,
    volumes: 4, least: 1, calls: 90,
    look_at: "which calls write their record: those that undo something too, and before they answer",
    run: can_be_deleted,
}

async fn can_be_deleted(cx: &Cx) -> Checked {
    let blame = "after the driver was killed and started again at each step of the way back";
    let subjects = cx.prepared(Act::Delete, blame).await?;
    // It comes back: what is undone from here on is to blame where it does not.
    cx.restart_driver().await?;
    each(subjects.clone(), |subject| async move {
        let staged = subject.volume().stage().await?;
        staged.publish("a").await?.unpublish().await
    })
    .await?;
    restart(cx, "after NodeUnpublishVolume").await?;
    each(subjects.clone(), |subject| async move {
        subject.take_back().await
    })
    .await?;
    restart(cx, "after NodeUnstageVolume").await?;
    each(subjects.clone(), |subject| async move {
        subject.volume().detach().await
    })
    .await?;
    restart(cx, "after ControllerUnpublishVolume").await?;
    each(subjects, |subject| async move {
        subject.repeat().await?;
        subject.holds().await
    })
    .await
    .map(drop)
}

async fn restart(cx: &Cx, when: &str) -> Checked {
    let restarted = cx.restart_driver().await;
    restarted.map_err(|stop| stop.is_a_finding(when))
}

check! {
    /// What was written to a volume is there when the driver was killed before its next use.
    ///
    /// A driver that only remembers which volumes it has formatted formats them all again
    /// after its next upgrade.
    DATA_IS_KEPT = "driver-restart.data-is-kept",
    clauses: [spec::NODE_STAGE_DATA_KEPT, spec::NODE_PUBLISH_PERSISTENCE],
    needs: Need::All(&[Need::ANY_VOLUME, Need::RESTART]),
    phase: Alone,
    axes: [Kind],
    volumes: 1, calls: 30,
    look_at: "by what a new volume is known: what is on its disk tells, and no record does",
    run: data_is_kept,
}

async fn data_is_kept(cx: &Cx) -> Checked {
    let (volume, marker) = cx.marked(Want::fresh_if_created(cx)).await?;
    cx.restart_driver().await?;
    let again = async {
        volume
            .stage()
            .await?
            .publish("b")
            .await?
            .shows(&marker)
            .await
    };
    again
        .await
        .map_err(|stop| stop.is_a_finding("after the driver was killed and started again"))
}

check! {
    /// A volume that was deleted stays so when the driver is killed and started again.
    ///
    /// A driver that deletes a volume and not its record tells of it again after its next
    /// upgrade: its name is taken, and what it names is not there.
    STAYS_DELETED = "driver-restart.deleted-volumes-stay-deleted",
    clauses: [spec::CONTROLLER_DELETE_REALLY_GONE, spec::GENERAL_RESTART_MID_CALL],
    needs: Need::All(&[Need::ANY_VOLUME, Need::OwnVolumes, Need::RESTART]),
    phase: Alone,
    volumes: 2, calls: 40,
    look_at: "whether DeleteVolume writes its record before it answers",
    run: stays_deleted,
}

async fn stays_deleted(cx: &Cx) -> Checked {
    let (volume, marker) = cx.marked(Want::fresh()).await?;
    let deleted = volume.is_deleted_for_good().await?;
    cx.restart_driver().await?;
    deleted.is_gone(&marker).await?;
    let when = "made by the name of one that was deleted before the driver was killed";
    deleted.makes_way(&marker, when).await
}
