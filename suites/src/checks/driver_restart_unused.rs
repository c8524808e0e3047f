//! What was taken back before the driver was killed is taken back for good.

use csi_harness::check;
use csi_harness::check::{Act, Check, Checked, Cx, Need, each};

use super::driver_killed::CREATES;
use crate::spec;

pub(super) static CHECKS: &[&Check] = &[&CAN_BE_DELETED];

check! {
    /// A volume that was used and taken back before the driver was killed can be deleted after it.
    ///
    /// A driver that did not write down that the volume is used no more believes after
    /// its restart that it is. It is never deleted then, and no other node gets it.
    CAN_BE_DELETED = "driver-restart.unused-volumes-can-be-deleted",
    clauses: [spec::GENERAL_RESTART_MID_CALL],
    needs: Need::All(&[CREATES, Need::RESTART]),
    phase: Alone,
    volumes: 4, least: 1, calls: 60,
    look_at: "which calls write their record: those that undo something too, and before they answer",
    run: can_be_deleted,
}

async fn can_be_deleted(cx: &Cx) -> Checked {
    let blame = "after all was taken back, and the driver was killed and started again";
    let subjects = cx.prepared(Act::Delete, blame).await?;
    each(subjects.clone(), |subject| async move {
        let staged = subject.volume().stage().await?;
        staged.publish("a").await?.unpublish().await?;
        subject.take_back().await?;
        subject.volume().detach().await
    })
    .await?;
    cx.restart_driver().await?;
    each(subjects, |subject| async move {
        subject.repeat().await?;
        subject.holds().await
    })
    .await
    .map(drop)
}
