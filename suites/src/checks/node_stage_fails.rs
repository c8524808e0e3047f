//! Stages and unstages that fail half way.

use csi_harness::check;
use csi_harness::check::{Check, Checked, Cx, Need, Stop, Want};
use csi_proto::v1;

use super::node_publish_wrong::{is_unharmed, wrong_capabilities};
use crate::spec;

pub(super) static CHECKS: &[&Check] = &[
    &HARMS_NOTHING,
    &HOLDS_NO_DEVICE,
    &STAYS_FAILED,
    &UNSTAGE_IS_REPAIRED,
];

/// A mount flag that no file system knows: the mount, the last step, fails.
const WRONG: &[&str] = &["csi_conformance_no_such_flag"];

check! {
    /// A stage that failed is not OK when it is repeated, unless the volume is there then.
    ///
    /// A folder or a record that the first try left is no mount. The workload would write
    /// to the node's own disk.
    STAYS_FAILED = "node-stage.failed-once-is-not-ok-later",
    clauses: [spec::NODE_STAGE_FAILURE_IS_NO_SUCCESS, spec::NODE_PUBLISH_NOT_ROOT_FS],
    needs: Need::MOUNT,
    axes: [FileSystem],
    volumes: 1, calls: 40,
    seen_in: ["cubefs/cubefs-csi#79" => "the folder that a failed try had made counted as mounted"],
    look_at: "what tells a repeat that the work is done: the mount, not a folder, a file or a record",
    run: stays_failed,
}

async fn stays_failed(cx: &Cx) -> Checked {
    let (volume, marker) = cx.marked_volume().await?;
    let staged = volume.stage().await?;
    let mounts_there = !staged.mounts("after a stage that works").await?.is_empty();
    staged.unstage().await?;
    let mut failed = false;
    for _ in 0..3 {
        let attempt = volume.attempt("a", WRONG).await?;
        let published = attempt.published();
        if attempt.is_ok() {
            if let Some(wrong) = published.staged().not_there(published.target()).await? {
                return Err(Stop::fail(format!(
                    "the mount cannot have worked, every call answered OK, and {wrong}"
                )));
            }
            return published.shows(&marker).await;
        }
        let mounted = published.staged().mount_left("after the call").await?;
        if failed && mounts_there && attempt.is_staged() && mounted.is_none() {
            return Err(Stop::fail(
                "NodeStageVolume failed, was repeated and answered OK, and nothing is mounted at staging_target_path",
            ));
        }
        failed = !attempt.is_staged();
    }
    Ok(())
}

check! {
    /// A stage that was refused leaves no device attached, and unstage clears what it left.
    ///
    /// The kubelet does not unstage what was never staged: a device that stays keeps the
    /// volume from being detached, and one more stays at each try.
    HOLDS_NO_DEVICE = "node-stage.failed-stage-holds-no-device",
    clauses: [spec::NODE_UNSTAGE_UNDOES, spec::NODE_STAGE_FAILURE_HOLDS_NOTHING],
    needs: Need::All(&[Need::MOUNT, Need::STAGE]),
    axes: [FileSystem],
    volumes: 1, calls: 40,
    seen_in: ["ceph/ceph-csi!494" => "a stage that failed left its device mapped",
              "openebs/mayastor-control-plane!401" => "the device stayed connected when the mount failed"],
    look_at: "what is taken back when a later step fails: first of all the device",
    run: holds_no_device,
}

async fn holds_no_device(cx: &Cx) -> Checked {
    let (volume, _) = cx.marked_volume().await?;
    let Some(image) = volume.last_image() else {
        return Err(Stop::not_offered("volumes on loop devices"));
    };
    volume.wants_flags(WRONG);
    let staged = volume.to_stage().await?;
    let before = volume.devices_of(&image);
    if staged.send_stage(staged.stage_request()).await?.is_ok() {
        return Err(Stop::not_offered(
            "a refusal of mount flags that no file system knows",
        ));
    }
    let held = volume.new_devices_of(&image, &before);
    let mounted = staged.mount_left("after the refusal").await?;
    let unstaged = staged.unstage().await;
    unstaged.map_err(|stop| stop.is_a_finding("after a stage that was refused"))?;
    if let Some(device) = volume.devices_left().await.first() {
        return Err(Stop::fail(format!(
            "NodeStageVolume was refused, NodeUnstageVolume answered OK, and {device} is still there"
        )));
    }
    let left = held.into_iter().next().or(mounted);
    left.map_or(Ok(()), |left| {
        Err(Stop::Warn(format!(
            "NodeStageVolume was refused, and until NodeUnstageVolume was asked there was {left}"
        )))
    })
}

check! {
    /// After an unstage that failed half way, nothing is published from the bare staging folder.
    ///
    /// The mount is gone and the device still busy: an error is right. What follows must
    /// see that nothing is mounted any more, and the same call again must end well.
    UNSTAGE_IS_REPAIRED = "node-unstage.failed-once-is-repaired",
    clauses: [spec::NODE_UNSTAGE_FAILURE_IS_REPAIRED, spec::NODE_PUBLISH_NOT_ROOT_FS],
    needs: Need::All(&[Need::MOUNT, Need::STAGE]),
    volumes: 1, calls: 40,
    seen_in: ["kubernetes/kubernetes#106729" => "after an unstage that had failed, the volume was published from a folder that was not mounted",
              "kubernetes/kubernetes#100182" => "the workload wrote to the node's own disk after an unstage that timed out"],
    look_at: "what publish looks at, the record or the mount; and whether a repeated unstage does the steps that are lacking",
    run: unstage_is_repaired,
}

async fn unstage_is_repaired(cx: &Cx) -> Checked {
    let (volume, marker) = cx.marked_volume().await?;
    let staged = volume.stage().await?;
    let held = staged.hold_device()?;
    let failed = !staged.ask_unstage().await?.is_ok();
    if failed {
        let target = staged.at_target("a")?;
        let request = target.request().clone();
        if staged.send_publish(request, target.target()).await?.is_ok() {
            if let Some(wrong) = staged.not_there(target.target()).await? {
                return Err(Stop::fail(format!(
                    "NodeUnstageVolume had failed half way, NodePublishVolume answered OK, and {wrong}"
                )));
            }
            target.shows(&marker).await?;
            target.unpublish().await?;
        }
    }
    drop(held);
    let again = async {
        staged.unstage().await?;
        staged.stage().await?;
        staged.publish("b").await?.shows(&marker).await
    };
    again
        .await
        .map_err(|stop| stop.is_a_finding("after an unstage that had failed half way"))
}

check! {
    /// A repeated stage that fails leaves the volume staged and published as it was.
    ///
    /// What a driver tidies up on its way out is not what it made in this call: it takes
    /// the volume from pods that run.
    HARMS_NOTHING = "node-stage.failed-repeat-harms-nothing",
    clauses: [spec::NODE_STAGE_INCOMPATIBLE, spec::NODE_PUBLISH_PERSISTENCE],
    needs: Need::All(&[Need::MOUNT, Need::STAGE]),
    volumes: 1, calls: 24,
    look_at: "what is undone on the way out of a call that fails: only what this call has made",
    run: harms_nothing,
}

async fn harms_nothing(cx: &Cx) -> Checked {
    let (target, marker) = cx.in_use(Want::any()).await?;
    let staged = target.staged();
    let right = staged.stage_request();
    let before = staged.mounts("before").await?.len();
    for (how, volume_capability) in wrong_capabilities(right.volume_capability.as_ref()) {
        let wrong = v1::NodeStageVolumeRequest {
            volume_capability,
            ..right.clone()
        };
        let asked = staged.send_stage(wrong).await?;
        let said = asked.code();
        let when = format!("NodeStageVolume was repeated {how}, and answered {said}");
        let now = staged.mounts("now").await?.len();
        let there = is_unharmed(&target, Some(&marker), (before, now)).await;
        there.map_err(|stop| stop.is_a_finding(&when))?;
        if asked.is_ok() {
            // Who took note of what was asked last is to take back what is there.
            let _ = staged.send_stage(right.clone()).await?;
        }
    }
    Ok(())
}
