//! A driver that is killed, or stands still, in the middle of a call.

use std::time::Duration;

use csi_harness::check;
use csi_harness::check::{Act, Check, Checked, Cx, How, Need, Subject, each};
use csi_proto::v1::controller_service_capability::rpc::Type as ControllerRpc;
use csi_proto::v1::node_service_capability::rpc::Type as NodeRpc;

use crate::spec;

pub(super) static CHECKS: &[&Check] = &[
    &ATTACH,
    &CREATE,
    &DELETE,
    &EXPAND,
    &PUBLISH,
    &PUBLISH_BACK,
    &STAGE,
    &STAGE_BACK,
    &UNPUBLISH,
    &UNSTAGE,
    &STOPPED_PUBLISH,
    &STOPPED_STAGE,
];

pub(super) const ATTACHES: Need = Need::All(&[
    Need::Controller(ControllerRpc::PublishUnpublishVolume),
    Need::ANY_VOLUME,
]);
pub(super) const CREATES: Need = Need::All(&[Need::OwnVolumes, Need::ANY_VOLUME]);
pub(super) const EXPANDS: Need = Need::All(&[
    Need::Node(NodeRpc::ExpandVolume),
    Need::OwnVolumes,
    Need::ANY_VOLUME,
]);
pub(super) const STAGES: Need = Need::All(&[Need::STAGE, Need::ANY_VOLUME]);

/// However the call is interrupted: the same call again ends well, all is as after
/// one call, and can be taken back.
pub(super) async fn converges(cx: &Cx, act: Act, how: How) -> Checked {
    cx.interrupted(act, how, |subject| async move {
        subject.repeat().await?;
        subject.holds().await?;
        subject.take_back().await
    })
    .await
    .map(drop)
}

/// However the call is interrupted: its negation alone leaves nothing, nothing comes
/// after it, and the volume can be used again.
pub(super) async fn can_be_taken_back(cx: &Cx, act: Act, how: How) -> Checked {
    let taken_back = cx
        .interrupted(act, how, |subject| async move {
            subject.take_back().await?;
            Ok((subject.watched().await?, subject))
        })
        .await?;
    if how == How::Cut {
        cx.let_go_on(longest(taken_back.iter().map(|(_, subject)| subject)))
            .await;
    }
    let all = taken_back.iter().map(|(watched, _)| watched.nothing_came());
    all.collect::<Checked>()?;
    each(taken_back, |(_, subject)| async move {
        subject.goes_its_way_again().await
    })
    .await
    .map(drop)
}

/// However the call is interrupted: one name is one volume.
pub(super) async fn creates_one(cx: &Cx, how: How) -> Checked {
    let before = cx.listed().await?;
    let subjects = cx
        .interrupted(Act::Create, how, |subject| async move {
            subject.repeat().await?;
            subject.holds().await?;
            Ok(subject)
        })
        .await?;
    let Some(before) = before else { return Ok(()) };
    if how == How::Cut {
        cx.let_go_on(longest(&subjects)).await;
    }
    cx.created_nothing_else_since(&before).await
}

fn longest<'s, 'a: 's>(subjects: impl IntoIterator<Item = &'s Subject<'a>>) -> Duration {
    let takes = subjects.into_iter().map(Subject::takes);
    takes.max().unwrap_or_default()
}

check! {
    /// After SIGKILL in `CreateVolume`, the same call again makes one volume for one name.
    ///
    /// A volume that only the killed process knew of is paid for, and nobody deletes it.
    CREATE = "driver-killed.create-makes-one",
    clauses: [spec::GENERAL_RESTART_MID_CALL, spec::CONTROLLER_CREATE_IDEMPOTENT],
    needs: Need::All(&[CREATES, Need::RESTART]),
    phase: Alone,
    volumes: 8, least: 1, calls: 220,
    seen_in: ["kubernetes-sigs/vsphere-csi-driver#2507" => "volumes leaked when CreateVolume was repeated"],
    look_at: "what ties a volume to its name before it is made: an id made from the name, or a record",
    run: create,
}

async fn create(cx: &Cx) -> Checked {
    creates_one(cx, How::Killed).await
}

check! {
    /// After SIGKILL in `ControllerPublishVolume`, the same call again is OK, and the volume can be used.
    ATTACH = "driver-killed.attach-converges",
    clauses: [spec::GENERAL_RESTART_MID_CALL, spec::CONTROLLER_PUBLISH_IDEMPOTENT],
    needs: Need::All(&[ATTACHES, Need::RESTART]),
    phase: Alone,
    volumes: 8, least: 1, calls: 220,
    look_at: "what is recorded before the back end is asked, and what is asked of the back end after a start",
    run: attach,
}

async fn attach(cx: &Cx) -> Checked {
    converges(cx, Act::Attach, How::Killed).await
}

check! {
    /// After SIGKILL in `NodeStageVolume`, the same call again is OK, and mounts once.
    ///
    /// A file system that was half made, or a device that was attached and not recorded, is in
    /// the way of every later call.
    STAGE = "driver-killed.stage-converges",
    clauses: [spec::GENERAL_RESTART_MID_CALL, spec::NODE_STAGE_NO_MOUNT_STACK],
    needs: Need::All(&[STAGES, Need::RESTART]),
    phase: Alone,
    volumes: 8, least: 1, calls: 220,
    look_at: "each step of the stage: is it seen, after a start, that it was done already, or half done?",
    run: stage,
}

async fn stage(cx: &Cx) -> Checked {
    converges(cx, Act::Stage, How::Killed).await
}

check! {
    /// After SIGKILL in `NodeStageVolume`, `NodeUnstageVolume` alone leaves nothing behind.
    ///
    /// The pod may be gone by the time that the driver is back.
    STAGE_BACK = "driver-killed.stage-can-be-taken-back",
    clauses: [spec::GENERAL_RESTART_NEGATE_AFTER_KILL, spec::NODE_UNSTAGE_UNDOES],
    needs: Need::All(&[STAGES, Need::RESTART]),
    phase: Alone,
    volumes: 8, least: 1, calls: 220,
    seen_in: ["truenas/truenas-csi#55" => "a record that was lost meant that there was nothing to undo"],
    look_at: "whether the record is written before what it tells of is done; and that a missing record is no proof",
    run: stage_back,
}

async fn stage_back(cx: &Cx) -> Checked {
    can_be_taken_back(cx, Act::Stage, How::Killed).await
}

check! {
    /// After SIGKILL in `NodePublishVolume`, the same call again is OK, and mounts once.
    ///
    /// A node that is out of memory kills drivers in the middle of a mount. A driver that does
    /// not look what is mounted can neither go on nor back.
    PUBLISH = "driver-killed.publish-converges",
    clauses: [spec::GENERAL_RESTART_MID_CALL, spec::NODE_PUBLISH_NO_MOUNT_STACK],
    needs: Need::All(&[Need::ANY_VOLUME, Need::RESTART]),
    phase: Alone,
    volumes: 8, least: 1, calls: 220,
    seen_in: ["kubernetes-sigs/aws-efs-csi-driver#1940" => "a kill in the middle of a publish left a mount that nothing recovered from"],
    look_at: "what the driver makes of a mount at the target that it has no record of",
    run: publish,
}

async fn publish(cx: &Cx) -> Checked {
    converges(cx, Act::Publish, How::Killed).await
}

check! {
    /// After SIGKILL in `NodePublishVolume`, `NodeUnpublishVolume` alone leaves nothing behind.
    ///
    /// The pod may be gone by the time that the driver is back; its folder cannot be removed
    /// while something is mounted in it.
    PUBLISH_BACK = "driver-killed.publish-can-be-taken-back",
    clauses: [spec::GENERAL_RESTART_NEGATE_AFTER_KILL, spec::NODE_UNPUBLISH_UNDOES],
    needs: Need::All(&[Need::ANY_VOLUME, Need::RESTART]),
    phase: Alone,
    volumes: 8, least: 1, calls: 220,
    seen_in: ["kubernetes-sigs/aws-efs-csi-driver#1940" => "a kill in the middle of a publish left a mount that nothing recovered from"],
    look_at: "whether NodeUnpublishVolume looks into mountinfo, or only into its records",
    run: publish_back,
}

async fn publish_back(cx: &Cx) -> Checked {
    can_be_taken_back(cx, Act::Publish, How::Killed).await
}

check! {
    /// After SIGKILL in `NodeExpandVolume`, the same call again grows the volume, and keeps what it holds.
    EXPAND = "driver-killed.expand-converges",
    clauses: [spec::GENERAL_RESTART_MID_CALL, spec::NODE_EXPAND_IDEMPOTENT],
    needs: Need::All(&[EXPANDS, Need::RESTART]),
    phase: Alone,
    volumes: 8, least: 1, calls: 220,
    look_at: "whether a repeat grows what is not grown yet: the device and the file system are two things",
    run: expand,
}

async fn expand(cx: &Cx) -> Checked {
    converges(cx, Act::Expand, How::Killed).await
}

check! {
    /// After SIGKILL in `NodeUnpublishVolume`, the same call again is OK, and the volume keeps its data.
    UNPUBLISH = "driver-killed.unpublish-converges",
    clauses: [spec::GENERAL_RESTART_MID_CALL, spec::NODE_UNPUBLISH_UNDOES],
    needs: Need::All(&[Need::ANY_VOLUME, Need::RESTART]),
    phase: Alone,
    volumes: 8, least: 1, calls: 220,
    look_at: "what a repeat makes of a target that is half gone: unmounted, or removed already",
    run: unpublish,
}

async fn unpublish(cx: &Cx) -> Checked {
    converges(cx, Act::Unpublish, How::Killed).await
}

check! {
    /// After SIGKILL in `NodeUnstageVolume`, the same call again is OK, and nothing of the volume stays.
    UNSTAGE = "driver-killed.unstage-converges",
    clauses: [spec::GENERAL_RESTART_MID_CALL, spec::NODE_UNSTAGE_UNDOES],
    needs: Need::All(&[STAGES, Need::RESTART]),
    phase: Alone,
    volumes: 8, least: 1, calls: 220,
    look_at: "the order of unmount, release of the device, and removal of the record: the record goes last",
    run: unstage,
}

async fn unstage(cx: &Cx) -> Checked {
    converges(cx, Act::Unstage, How::Killed).await
}

check! {
    /// After SIGKILL in `DeleteVolume`, the same call again is OK.
    DELETE = "driver-killed.delete-converges",
    clauses: [spec::GENERAL_RESTART_MID_CALL, spec::CONTROLLER_DELETE_PARTIAL],
    needs: Need::All(&[CREATES, Need::RESTART]),
    phase: Alone,
    volumes: 8, least: 1, calls: 220,
    seen_in: ["ceph/ceph-csi!84" => "a second DeleteVolume failed, for what it looked for was deleted already"],
    look_at: "what a repeat makes of a volume that is half deleted",
    run: delete,
}

async fn delete(cx: &Cx) -> Checked {
    converges(cx, Act::Delete, How::Killed).await
}

check! {
    /// A driver that stood still in `NodeStageVolume` comes to the same end when it goes on.
    ///
    /// The caller has given up meanwhile, and asks again; what stood still is still at work.
    STOPPED_STAGE = "driver-stopped.stage-converges",
    clauses: [spec::GENERAL_TIMEOUT_RETRY_CONTINUES, spec::NODE_STAGE_NO_MOUNT_STACK],
    needs: Need::All(&[STAGES, Need::RESTART]),
    phase: Alone,
    volumes: 8, least: 1, calls: 220,
    seen_in: ["kubernetes-sigs/aws-ebs-csi-driver!163" => "a call that was repeated too early formatted a second time"],
    look_at: "what keeps a repeated call from working beside the one that it repeats",
    run: stopped_stage,
}

async fn stopped_stage(cx: &Cx) -> Checked {
    converges(cx, Act::Stage, How::Frozen).await
}

check! {
    /// A driver that stood still in `NodePublishVolume` comes to the same end when it goes on.
    ///
    /// The caller has given up meanwhile, and asks again; what stood still is still at work.
    STOPPED_PUBLISH = "driver-stopped.publish-converges",
    clauses: [spec::GENERAL_TIMEOUT_RETRY_CONTINUES, spec::NODE_PUBLISH_NO_MOUNT_STACK],
    needs: Need::All(&[Need::ANY_VOLUME, Need::RESTART]),
    phase: Alone,
    volumes: 8, least: 1, calls: 220,
    seen_in: ["kubernetes-sigs/azurefile-csi-driver!918" => "a publish that was repeated after a timeout mounted once more"],
    look_at: "what keeps a repeated call from working beside the one that it repeats",
    run: stopped_publish,
}

async fn stopped_publish(cx: &Cx) -> Checked {
    converges(cx, Act::Publish, How::Frozen).await
}
