//! `NodeUnpublishVolume`.

use csi_harness::check;
use csi_harness::check::{Access, Check, Checked, Cx, Marker, Need, Step, Stop, Want};
use csi_harness::client::Code;
use csi_proto::rpc;
use csi_proto::v1;

use crate::spec;

pub(super) static CHECKS: &[&Check] = &[
    &BUSY,
    &DATA_SURVIVES,
    &MOUNT_IS_GONE,
    &NEVER_PUBLISHED,
    &REPEAT,
    &TARGET_REQUIRED,
    &TARGET_IS_REMOVED,
    &VOLUME_ID_REQUIRED,
];

check! {
    /// After `NodeUnpublishVolume` answers OK, no mount is left at the target.
    ///
    /// What is left is never taken away: the volume cannot be detached, or is
    /// written to from two nodes.
    MOUNT_IS_GONE = "node-unpublish.mount-is-gone",
    clauses: [spec::NODE_UNPUBLISH_UNDOES],
    needs: Need::ANY_VOLUME,
    owns: [Step::Unpublish(Access::Mount), Step::Unpublish(Access::Block)],
    phase: First,
    axes: [Kind],
    volumes: 1, calls: 10,
    seen_in: ["topolvm/topolvm#877" => "a device that was renamed counted as not mounted, and stayed mounted",
              "openebs/lvm-localpv#461" => "the unmount failed as busy, and success was answered"],
    look_at: "the error of the unmount, and mountinfo after it",
    run: mount_is_gone,
}

async fn mount_is_gone(cx: &Cx) -> Checked {
    let staged = cx.volume(Want::any()).await?.stage().await?;
    staged.publish("a").await?.unpublish().await
}

check! {
    /// After `NodeUnpublishVolume` answers OK, the target path is removed.
    ///
    /// The driver made it, and so removes it, the folder as well as the file of a
    /// block volume.
    TARGET_IS_REMOVED = "node-unpublish.target-is-removed",
    clauses: [spec::NODE_UNPUBLISH_REMOVES_TARGET],
    needs: Need::ANY_VOLUME,
    owns: [Step::TargetGone(Access::Mount), Step::TargetGone(Access::Block)],
    phase: First,
    axes: [Kind],
    volumes: 1, calls: 10,
    seen_in: ["yunify/qingcloud-csi#148" => "the target folder was left to the kubelet to remove"],
    look_at: "rmdir (or unlink, for block) of target_path after the unmount; never a recursive removal",
    run: target_is_removed,
}

async fn target_is_removed(cx: &Cx) -> Checked {
    let staged = cx.volume(Want::any()).await?.stage().await?;
    let target = staged.publish("a").await?;
    target.unpublish().await?;
    match target.left_at_target().await? {
        Some(left) => Err(Stop::fail(format!(
            "NodeUnpublishVolume answered OK, and {left} is left at target_path"
        ))),
        None => Ok(()),
    }
}

check! {
    /// The same `NodeUnpublishVolume` again is OK.
    ///
    /// The kubelet repeats it when the answer was lost. With an error it does so
    /// for ever, and the pod never goes away.
    REPEAT = "node-unpublish.repeat-is-ok",
    clauses: [spec::NODE_UNPUBLISH_IDEMPOTENT],
    needs: Need::ANY_VOLUME,
    axes: [Kind],
    volumes: 1, calls: 12,
    seen_in: ["libopenstorage/openstorage#1221" => "an unpublish of what was unmounted already failed",
              "intel/pmem-csi#625" => "the second answer was NOT_FOUND, and the pod was never deleted"],
    look_at: "the case that there is no mount, and no target path any more",
    run: repeat,
}

async fn repeat(cx: &Cx) -> Checked {
    let staged = cx.volume(Want::any()).await?.stage().await?;
    let target = staged.publish("a").await?;
    target.unpublish().await?;
    let again = target.ask_unpublish().await?;
    match again.refusal() {
        // The text allows it of a volume that went away with it.
        Some(refusal) if refusal.code == Code::NOT_FOUND && !cx.facts().creates() => {
            Err(Stop::Warn("the second NodeUnpublishVolume answered NOT_FOUND: the text allows it, and the kubelet repeats it for ever".into()))
        }
        _ => again.ok().map(drop),
    }
}

check! {
    /// `NodeUnpublishVolume` of what was never published is OK.
    ///
    /// The kubelet asks after a publish that failed, and after a reboot.
    NEVER_PUBLISHED = "node-unpublish.never-published-is-ok",
    clauses: [spec::NODE_UNPUBLISH_IDEMPOTENT],
    needs: Need::ANY_VOLUME,
    volumes: 1, calls: 10,
    run: never_published,
}

async fn never_published(cx: &Cx) -> Checked {
    let staged = cx.volume(Want::any()).await?.stage().await?;
    let (_, target) = staged.publish_request("a")?;
    let request = v1::NodeUnpublishVolumeRequest {
        volume_id: staged.volume().id(),
        target_path: target.drivers,
    };
    let asked = cx
        .ask_patiently::<rpc::NodeUnpublishVolume>(&request)
        .await?;
    match asked.refusal() {
        Some(refusal) if refusal.code == Code::NOT_FOUND => Ok(()),
        _ => asked.ok().map(drop),
    }
}

check! {
    /// While a process holds a file open, OK is only answered if the mount is gone.
    ///
    /// An unmount that fails as busy, with OK answered, leaves the volume mounted
    /// with nobody to take it away. Once the process ended, unpublish works.
    BUSY = "node-unpublish.busy-is-not-ok",
    clauses: [spec::NODE_UNPUBLISH_BUSY_IS_ERROR, spec::NODE_UNPUBLISH_UNDOES],
    needs: Need::MOUNT,
    axes: [FileSystem],
    volumes: 1, calls: 14,
    seen_in: ["openebs/lvm-localpv#461" => "the unmount failed as busy, and success was answered"],
    look_at: "EBUSY of the unmount: it is an error to answer with, so that the caller comes back",
    run: busy,
}

async fn busy(cx: &Cx) -> Checked {
    let volume = cx.volume(Want::any()).await?;
    volume.keeps_data()?;
    let staged = volume.stage().await?;
    let target = staged.publish("a").await?;
    let marker = Marker::new()?;
    target.write(&marker).await?;
    let holder = target.hold_open(&marker)?;
    let asked = target.ask_unpublish().await?;
    let left = target.mount_left("after unpublish, held open").await?;
    drop(holder);
    if let (true, Some(left)) = (asked.is_ok(), left) {
        return Err(Stop::fail(format!(
            "a file was held open, NodeUnpublishVolume answered OK, and {left}"
        )));
    }
    // The process ended: now it has to work, and the data is as it was.
    target.unpublish().await?;
    staged.publish("b").await?.shows(&marker).await
}

check! {
    /// What is in the volume survives an unpublish that finds a second mount.
    ///
    /// A driver that unmounts once and then removes the target with all in it
    /// deletes the volume's files through the mount that is left.
    DATA_SURVIVES = "node-unpublish.data-survives-a-second-mount",
    clauses: [spec::NODE_UNPUBLISH_NEVER_REMOVES_DATA],
    needs: Need::All(&[Need::MOUNT, Need::SameNamespace]),
    axes: [FileSystem],
    volumes: 1, calls: 14,
    seen_in: ["ceph/ceph-csi#4966" => "one unmount of a stacked target, then a recursive removal: several volumes were lost",
              "openebs/zfs-localpv!89" => "the path was deleted while it was still mounted"],
    look_at: "every recursive removal of a path that a volume was mounted on: rmdir is enough, and cannot delete data",
    run: data_survives,
}

async fn data_survives(cx: &Cx) -> Checked {
    let volume = cx.volume(Want::any()).await?;
    volume.keeps_data()?;
    let staged = volume.stage().await?;
    let target = staged.publish("a").await?;
    let marker = Marker::new()?;
    target.write(&marker).await?;
    let cover = target.cover()?;
    // An error is fair: the target is not as the driver left it.
    let _ = target.ask_unpublish().await?;
    cover.lift()?;
    let again = target.ask_unpublish().await?;
    if let Some(left) = target.mount_left("after the second unpublish").await? {
        let told = again.code();
        return Err(Stop::fail(format!(
            "the second mount is gone, NodeUnpublishVolume answered {told}, and {left}"
        )));
    }
    staged.publish("b").await?.shows(&marker).await
}

check! {
    /// `NodeUnpublishVolume` without a volume id is refused.
    VOLUME_ID_REQUIRED = "node-unpublish.volume-id-is-required",
    clauses: [spec::NODE_UNPUBLISH_VOLUME_ID_REQUIRED],
    needs: Need::ANY_VOLUME,
    volumes: 1, calls: 10,
    run: volume_id_required,
}

async fn volume_id_required(cx: &Cx) -> Checked {
    let staged = cx.volume(Want::any()).await?.stage().await?;
    let (_, target) = staged.publish_request("a")?;
    let request = v1::NodeUnpublishVolumeRequest {
        volume_id: String::new(),
        target_path: target.drivers,
    };
    cx.ask::<rpc::NodeUnpublishVolume>(&request)
        .await?
        .refused_with(&[Code::INVALID_ARGUMENT])
}

check! {
    /// `NodeUnpublishVolume` without a target path is refused.
    TARGET_REQUIRED = "node-unpublish.target-path-is-required",
    clauses: [spec::NODE_UNPUBLISH_TARGET_REQUIRED],
    needs: Need::ANY_VOLUME,
    volumes: 1, calls: 10,
    run: target_required,
}

async fn target_required(cx: &Cx) -> Checked {
    let volume = cx.volume(Want::any()).await?;
    let request = v1::NodeUnpublishVolumeRequest {
        volume_id: volume.id(),
        target_path: String::new(),
    };
    cx.ask::<rpc::NodeUnpublishVolume>(&request)
        .await?
        .refused_with(&[Code::INVALID_ARGUMENT])
}
