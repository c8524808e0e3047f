//! Calls that the caller gives up, and makes again or takes back.

use csi_harness::check;
use csi_harness::check::{Act, Check, Checked, Cx, How, Need};

use super::driver_killed::{
    ATTACHES, CREATES, EXPANDS, STAGES, can_be_taken_back, converges, creates_one,
};
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
];

check! {
    /// A `CreateVolume` that is given up and made again makes one volume for one name.
    ///
    /// The provisioner gives up after its timeout, and repeats. Each volume more is paid for,
    /// and nobody deletes it.
    CREATE = "call-cut.create-makes-one",
    clauses: [spec::GENERAL_TIMEOUT_RETRY_CONTINUES, spec::CONTROLLER_CREATE_IDEMPOTENT],
    needs: CREATES,
    phase: Alone,
    volumes: 8, least: 1, calls: 220,
    seen_in: ["kubernetes-sigs/vsphere-csi-driver#2507" => "volumes leaked when CreateVolume timed out"],
    look_at: "what ties a volume to its name before it is made, and what becomes of it when the caller goes away",
    run: create,
}

async fn create(cx: &Cx) -> Checked {
    creates_one(cx, How::Cut).await
}

check! {
    /// A `ControllerPublishVolume` that is given up and made again is OK, and the volume can be used.
    ATTACH = "call-cut.attach-converges",
    clauses: [spec::GENERAL_TIMEOUT_RETRY_CONTINUES, spec::CONTROLLER_PUBLISH_IDEMPOTENT],
    needs: ATTACHES,
    volumes: 8, least: 1, calls: 220,
    look_at: "what goes on when the caller goes away, and what the next call makes of it",
    run: attach,
}

async fn attach(cx: &Cx) -> Checked {
    converges(cx, Act::Attach, How::Cut).await
}

check! {
    /// A `NodeStageVolume` that is given up and made again is OK, and mounts once.
    ///
    /// The kubelet gives up after two minutes, and repeats at once. What the first call has begun
    /// must neither be done twice nor be in the way.
    STAGE = "call-cut.stage-converges",
    clauses: [spec::GENERAL_TIMEOUT_RETRY_CONTINUES, spec::NODE_STAGE_NO_MOUNT_STACK],
    needs: STAGES,
    volumes: 8, least: 1, calls: 220,
    seen_in: ["kubernetes-sigs/aws-ebs-csi-driver!163" => "a timeout shorter than mkfs let several run on one volume"],
    look_at: "a lock for each volume that is kept for as long as the work goes on, not for as long as the caller waits",
    run: stage,
}

async fn stage(cx: &Cx) -> Checked {
    converges(cx, Act::Stage, How::Cut).await
}

check! {
    /// A `NodeStageVolume` that is given up and unstaged leaves nothing, then or later.
    ///
    /// Work that goes on when its call is over mounts a volume that nobody will unmount.
    STAGE_BACK = "call-cut.stage-can-be-taken-back",
    clauses: [spec::GENERAL_TIMEOUT_CANCEL_BY_NEGATION, spec::NODE_UNSTAGE_UNDOES],
    needs: STAGES,
    volumes: 8, least: 1, calls: 220,
    seen_in: ["kubernetes/kubernetes#82190" => "a stage timed out, the driver finished mounting later, and nobody unstaged",
              "kubernetes-sigs/aws-ebs-csi-driver#167" => "the node service went on although the call was cancelled"],
    look_at: "what goes on when the caller goes away: either it ends, or the volume stays locked until it did",
    run: stage_back,
}

async fn stage_back(cx: &Cx) -> Checked {
    can_be_taken_back(cx, Act::Stage, How::Cut).await
}

check! {
    /// A `NodePublishVolume` that is given up and made again is OK, and mounts once.
    PUBLISH = "call-cut.publish-converges",
    clauses: [spec::GENERAL_TIMEOUT_RETRY_CONTINUES, spec::NODE_PUBLISH_NO_MOUNT_STACK],
    needs: Need::ANY_VOLUME,
    volumes: 8, least: 1, calls: 220,
    seen_in: ["kubernetes-sigs/azurefile-csi-driver!918" => "a publish that was repeated after a timeout mounted once more"],
    look_at: "a lock for each volume that is kept for as long as the work goes on",
    run: publish,
}

async fn publish(cx: &Cx) -> Checked {
    converges(cx, Act::Publish, How::Cut).await
}

check! {
    /// A `NodePublishVolume` that is given up and unpublished leaves nothing, then or later.
    ///
    /// A mount that comes when the pod is gone keeps its folder, and its volume, for ever.
    PUBLISH_BACK = "call-cut.publish-can-be-taken-back",
    clauses: [spec::GENERAL_TIMEOUT_CANCEL_BY_NEGATION, spec::NODE_UNPUBLISH_UNDOES],
    needs: Need::ANY_VOLUME,
    volumes: 8, least: 1, calls: 220,
    seen_in: ["kubernetes-csi/csi-driver-nfs#1271" => "a mount was abandoned by its call, and went on"],
    look_at: "what goes on when the caller goes away: either it ends, or the volume stays locked until it did",
    run: publish_back,
}

async fn publish_back(cx: &Cx) -> Checked {
    can_be_taken_back(cx, Act::Publish, How::Cut).await
}

check! {
    /// A `NodeExpandVolume` that is given up and made again grows the volume, and keeps what it holds.
    EXPAND = "call-cut.expand-converges",
    clauses: [spec::GENERAL_TIMEOUT_RETRY_CONTINUES, spec::NODE_EXPAND_IDEMPOTENT],
    needs: EXPANDS,
    volumes: 8, least: 1, calls: 220,
    look_at: "whether a repeat grows what is not grown yet",
    run: expand,
}

async fn expand(cx: &Cx) -> Checked {
    converges(cx, Act::Expand, How::Cut).await
}

check! {
    /// A `NodeUnpublishVolume` that is given up and made again is OK, and the volume keeps its data.
    ///
    /// Work of the first call that goes on may take away what came after it.
    UNPUBLISH = "call-cut.unpublish-converges",
    clauses: [spec::GENERAL_TIMEOUT_RETRY_CONTINUES, spec::NODE_UNPUBLISH_UNDOES],
    needs: Need::ANY_VOLUME,
    volumes: 8, least: 1, calls: 220,
    seen_in: ["kubernetes/kubernetes#102486" => "the end of an old unmount removed what a newer call had made"],
    look_at: "what goes on when the caller goes away",
    run: unpublish,
}

async fn unpublish(cx: &Cx) -> Checked {
    converges(cx, Act::Unpublish, How::Cut).await
}

check! {
    /// A `NodeUnstageVolume` that is given up and made again is OK, and nothing of the volume stays.
    UNSTAGE = "call-cut.unstage-converges",
    clauses: [spec::GENERAL_TIMEOUT_RETRY_CONTINUES, spec::NODE_UNSTAGE_UNDOES],
    needs: STAGES,
    volumes: 8, least: 1, calls: 220,
    seen_in: ["kubernetes/kubernetes#102486" => "the end of an old unmount removed what a newer call had made"],
    look_at: "what goes on when the caller goes away",
    run: unstage,
}

async fn unstage(cx: &Cx) -> Checked {
    converges(cx, Act::Unstage, How::Cut).await
}

check! {
    /// A `DeleteVolume` that is given up and made again is OK.
    DELETE = "call-cut.delete-converges",
    clauses: [spec::GENERAL_TIMEOUT_RETRY_CONTINUES, spec::CONTROLLER_DELETE_PARTIAL],
    needs: CREATES,
    volumes: 8, least: 1, calls: 220,
    seen_in: ["ceph/ceph-csi!84" => "a second DeleteVolume after a timeout failed"],
    look_at: "what a repeat makes of a volume that is half deleted",
    run: delete,
}

async fn delete(cx: &Cx) -> Checked {
    converges(cx, Act::Delete, How::Cut).await
}
