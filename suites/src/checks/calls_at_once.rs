//! Calls for one volume that come at once.

use csi_harness::check;
use csi_harness::check::{Act, Check, Checked, Cx, Need, each};

use super::driver_killed::{ATTACHES, CREATES, STAGES};
use crate::spec;

pub(super) static CHECKS: &[&Check] = &[
    &ATTACH,
    &CREATE,
    &DELETE,
    &PUBLISH,
    &PUBLISH_BESIDE,
    &STAGE,
    &STAGE_BESIDE,
    &UNPUBLISH,
    &UNSTAGE,
];

/// So many that a lock which is taken too late is seen to be.
const MANY: usize = 8;

/// Eight equal calls at once. Some may be refused while one is at work; one more call
/// then finds it done, or does it, and all is as after one call.
async fn is_done_once(cx: &Cx, act: Act) -> Checked {
    let story = format!("after eight equal calls of {act} at once");
    let subjects = cx.prepared(act, &story).await?;
    each(subjects, |subject| async move {
        subject.at_once(MANY).await?;
        subject.repeat().await?;
        subject.holds().await?;
        subject.take_back().await
    })
    .await
    .map(drop)
}

/// A call and its negation at once, a few times: whichever wins, the volume can be
/// taken back, and used again.
async fn comes_to_one_end(cx: &Cx, act: Act) -> Checked {
    const TIMES: usize = 3;
    let story = format!("after {act} and its negation at once");
    let subjects = cx.prepared(act, &story).await?;
    each(subjects, |subject| async move {
        for _ in 0..TIMES {
            subject.beside_its_negation().await?;
        }
        subject.repeat().await?;
        subject.holds().await?;
        subject.beside_its_negation().await?;
        subject.take_back().await?;
        subject.goes_its_way_again().await
    })
    .await
    .map(drop)
}

check! {
    /// Eight equal `CreateVolume` at once make one volume.
    CREATE = "at-once.create-makes-one",
    clauses: [spec::GENERAL_CONCURRENCY_GRACEFUL, spec::CONTROLLER_CREATE_IDEMPOTENT],
    needs: CREATES,
    volumes: 4, least: 1, calls: 140,
    look_at: "what keeps two calls of one name apart: a lock by name, or a name that the back end takes once",
    run: create,
}

async fn create(cx: &Cx) -> Checked {
    is_done_once(cx, Act::Create).await
}

check! {
    /// Eight equal `ControllerPublishVolume` at once attach once.
    ATTACH = "at-once.attach-is-done-once",
    clauses: [spec::GENERAL_CONCURRENCY_GRACEFUL, spec::CONTROLLER_PUBLISH_IDEMPOTENT],
    needs: ATTACHES,
    volumes: 4, least: 1, calls: 140,
    look_at: "a lock for each volume",
    run: attach,
}

async fn attach(cx: &Cx) -> Checked {
    is_done_once(cx, Act::Attach).await
}

check! {
    /// Eight equal `NodeStageVolume` at once make one file system, and mount it once.
    ///
    /// Two mkfs of one device at once leave neither whole.
    STAGE = "at-once.stage-mounts-once",
    clauses: [spec::GENERAL_CONCURRENCY_GRACEFUL, spec::NODE_STAGE_NO_MOUNT_STACK],
    needs: STAGES,
    volumes: 4, least: 1, calls: 140,
    seen_in: ["kubernetes-sigs/aws-ebs-csi-driver!163" => "parallel calls formatted and mounted twice",
              "ceph/ceph-csi!29" => "fsck, mkfs and mount ran at once on one volume"],
    look_at: "a lock for each volume, or ABORTED while a call for it is at work",
    run: stage,
}

async fn stage(cx: &Cx) -> Checked {
    is_done_once(cx, Act::Stage).await
}

check! {
    /// Eight equal `NodePublishVolume` at once mount once.
    PUBLISH = "at-once.publish-mounts-once",
    clauses: [spec::GENERAL_CONCURRENCY_GRACEFUL, spec::NODE_PUBLISH_NO_MOUNT_STACK],
    needs: Need::ANY_VOLUME,
    volumes: 4, least: 1, calls: 140,
    seen_in: ["deckhouse/deckhouse!20714" => "a look and a mount were two steps, and two calls came between them"],
    look_at: "a lock for each volume or target, or ABORTED while a call for it is at work",
    run: publish,
}

async fn publish(cx: &Cx) -> Checked {
    is_done_once(cx, Act::Publish).await
}

check! {
    /// Eight equal `NodeUnpublishVolume` at once take one publication away, and no data.
    UNPUBLISH = "at-once.unpublish-is-done-once",
    clauses: [spec::GENERAL_CONCURRENCY_GRACEFUL, spec::NODE_UNPUBLISH_UNDOES],
    needs: Need::ANY_VOLUME,
    volumes: 4, least: 1, calls: 140,
    look_at: "what a call makes of a target that another one takes away beneath it",
    run: unpublish,
}

async fn unpublish(cx: &Cx) -> Checked {
    is_done_once(cx, Act::Unpublish).await
}

check! {
    /// Eight equal `NodeUnstageVolume` at once leave nothing of the volume.
    UNSTAGE = "at-once.unstage-is-done-once",
    clauses: [spec::GENERAL_CONCURRENCY_GRACEFUL, spec::NODE_UNSTAGE_UNDOES],
    needs: STAGES,
    volumes: 4, least: 1, calls: 140,
    look_at: "what a call makes of a mount or a device that another one takes away beneath it",
    run: unstage,
}

async fn unstage(cx: &Cx) -> Checked {
    is_done_once(cx, Act::Unstage).await
}

check! {
    /// Eight equal `DeleteVolume` at once are one.
    DELETE = "at-once.delete-is-done-once",
    clauses: [spec::GENERAL_CONCURRENCY_GRACEFUL, spec::CONTROLLER_DELETE_IDEMPOTENT],
    needs: CREATES,
    volumes: 4, least: 1, calls: 140,
    look_at: "what a call makes of a volume that another one deletes beneath it",
    run: delete,
}

async fn delete(cx: &Cx) -> Checked {
    is_done_once(cx, Act::Delete).await
}

check! {
    /// `NodeStageVolume` and `NodeUnstageVolume` at once come to one end or the other.
    ///
    /// A pod that ends while it starts makes the kubelet do this.
    STAGE_BESIDE = "at-once.stage-beside-unstage",
    clauses: [spec::GENERAL_CONCURRENCY_GRACEFUL, spec::NODE_UNSTAGE_UNDOES],
    needs: STAGES,
    volumes: 4, least: 1, calls: 140,
    seen_in: ["kubernetes/kubernetes#102486" => "an unstage that overlapped a stage removed what that had made"],
    look_at: "one lock for both calls of a volume",
    run: stage_beside,
}

async fn stage_beside(cx: &Cx) -> Checked {
    comes_to_one_end(cx, Act::Stage).await
}

check! {
    /// `NodePublishVolume` and `NodeUnpublishVolume` at once come to one end or the other.
    ///
    /// A pod that ends while it starts makes the kubelet do this.
    PUBLISH_BESIDE = "at-once.publish-beside-unpublish",
    clauses: [spec::GENERAL_CONCURRENCY_GRACEFUL, spec::NODE_UNPUBLISH_UNDOES],
    needs: Need::ANY_VOLUME,
    volumes: 4, least: 1, calls: 140,
    seen_in: ["kubernetes-csi/csi-driver-nfs#209" => "without a lock, a publish beside an unpublish left a mount that nobody knew"],
    look_at: "one lock for both calls of a target",
    run: publish_beside,
}

async fn publish_beside(cx: &Cx) -> Checked {
    comes_to_one_end(cx, Act::Publish).await
}
