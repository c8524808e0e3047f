//! The mount of a volume that is taken away behind the driver's back.

use csi_harness::check;
use csi_harness::check::{Check, Checked, Cx, Need, Published, Stop, Want};
use csi_harness::config::Allow;

use crate::spec;

pub(super) static CHECKS: &[&Check] = &[
    &HOST_IS_LEFT_ALONE,
    &REPEAT_IS_TRUE,
    &STAGING_IS_MISSED,
    &STATS_ARE_TRUE,
    &UNDONE_ALL_THE_SAME,
];

/// What we unmount, the driver sees unmounted.
const MOUNT: Need = Need::All(&[Need::MOUNT, Need::SameNamespace]);

check! {
    /// A repeated `NodePublishVolume` whose mount was lost mounts it again, or fails.
    ///
    /// A driver that believes its own records answers OK, and the workload writes to the
    /// node's own disk.
    REPEAT_IS_TRUE = "mount-lost.repeat-is-true",
    clauses: [spec::NODE_MOUNT_LOST_IS_NOT_THERE, spec::NODE_PUBLISH_NOT_ROOT_FS],
    needs: MOUNT,
    axes: [FileSystem],
    volumes: 1, calls: 30,
    look_at: "what a repeat looks at: the mount table, and not the driver's own records",
    run: repeat_is_true,
}

async fn repeat_is_true(cx: &Cx) -> Checked {
    let (volume, marker) = cx.marked_volume().await?;
    let published = volume.stage().await?.publish("a").await?;
    published.loses_its_mount()?;
    if published.publish_again().await?.is_ok() {
        // No text asks for it: a driver may hold that nobody but itself unmounts.
        is_the_volume(&published).await.map_err(to_be_told)?;
        return published.shows(&marker).await;
    }
    published
        .unpublish()
        .await
        .map_err(|stop| stop.is_a_finding("the mount at target_path was lost"))
}

/// No breach of a rule, and still to be told.
fn to_be_told(stop: Stop) -> Stop {
    match stop {
        Stop::Fail(why) => Stop::Warn(why),
        other => other,
    }
}

/// What the driver says is published, is.
async fn is_the_volume(published: &Published<'_>) -> Checked {
    match published.staged().not_there(published.target()).await? {
        None => Ok(()),
        Some(wrong) => Err(Stop::fail(format!(
            "the mount had been taken away; NodePublishVolume answered OK, and {wrong}"
        ))),
    }
}

check! {
    /// A volume whose staging mount was lost is not published from the bare folder, and can be staged again.
    ///
    /// What is bound from there is the node's own disk. The kubelet stages again, or
    /// unstages; both must work.
    STAGING_IS_MISSED = "mount-lost.staging-is-missed",
    clauses: [spec::NODE_MOUNT_LOST_IS_NOT_THERE, spec::NODE_PUBLISH_NOT_ROOT_FS],
    needs: Need::All(&[MOUNT, Need::STAGE]),
    axes: [FileSystem],
    volumes: 1, calls: 40,
    seen_in: ["ceph/ceph-csi#4762" => "the staging path was bound without a look whether it was mounted",
              "kubernetes/kubernetes#120455" => "a volume was published from a staging folder that was not mounted"],
    look_at: "whether staging_target_path is looked up in mountinfo, by each publish and by each repeated stage",
    run: staging_is_missed,
}

async fn staging_is_missed(cx: &Cx) -> Checked {
    let (volume, marker) = cx.marked_volume().await?;
    let staged = volume.stage().await?;
    staged.loses_its_mount()?;
    let target = staged.at_target("a")?;
    let request = target.request().clone();
    if staged.send_publish(request, target.target()).await?.is_ok() {
        is_the_volume(&target).await?;
        target.shows(&marker).await?;
        target.unpublish().await?;
    }
    let again = async {
        // A refusal is fine: the kubelet unstages, and begins anew.
        if !staged.send_stage(staged.stage_request()).await?.is_ok() {
            staged.unstage().await?;
            staged.stage().await?;
        }
        let published = staged.publish("b").await?;
        published.shows(&marker).await
    };
    again.await.map_err(|stop| {
        stop.is_a_finding("the staging mount was lost, and the volume staged again")
    })
}

check! {
    /// A volume whose mount was lost is not measured by the disk that holds the folder.
    ///
    /// The numbers of the node's own disk look like those of a volume that is well.
    STATS_ARE_TRUE = "mount-lost.stats-are-not-the-nodes",
    clauses: [spec::NODE_STATS_PATH_NOT_FOUND],
    needs: Need::All(&[MOUNT, Need::STATS]),
    volumes: 1, calls: 30,
    seen_in: ["kubernetes-sigs/gcp-compute-persistent-disk-csi-driver!406" => "the numbers were those of the file system that holds the path"],
    look_at: "whether the path is a mount of the volume before statfs is asked of it",
    run: stats_are_true,
}

async fn stats_are_true(cx: &Cx) -> Checked {
    let (volume, _) = cx.marked_volume().await?;
    let published = volume.stage().await?.publish("a").await?;
    published.loses_its_mount()?;
    let asked = published.ask_stats().await?;
    let mounted = published.mount_left("after the answer").await?.is_some();
    match asked.ok() {
        Ok(told) if !mounted && !told.usage.is_empty() => Err(Stop::Warn(
            "OK, with numbers, for a path from which the volume's mount was taken away".into(),
        )),
        _ => Ok(()),
    }
}

check! {
    /// A volume whose mounts were lost can be unpublished and unstaged, and nothing stays.
    ///
    /// What is to be undone is undone already; an error there keeps the pod for ever,
    /// and the device stays attached.
    UNDONE_ALL_THE_SAME = "mount-lost.is-undone-all-the-same",
    clauses: [spec::NODE_UNPUBLISH_IDEMPOTENT, spec::NODE_UNPUBLISH_REMOVES_TARGET, spec::NODE_UNSTAGE_UNDOES],
    needs: MOUNT,
    axes: [FileSystem],
    volumes: 1, calls: 30,
    look_at: "the error of umount(2) where nothing is mounted, and the release of the device after it",
    run: undone_all_the_same,
}

async fn undone_all_the_same(cx: &Cx) -> Checked {
    let (volume, _) = cx.marked_volume().await?;
    let staged = volume.stage().await?;
    let published = staged.publish("a").await?;
    published.loses_its_mount()?;
    if !staged.mounts("before").await?.is_empty() {
        staged.loses_its_mount()?;
    }
    let when = "the mounts of the volume were lost";
    let undone = async {
        published.unpublish().await?;
        staged.unstage().await
    };
    undone.await.map_err(|stop| stop.is_a_finding(when))?;
    if let Some(left) = published.left_at_target().await? {
        return Err(Stop::fail(format!(
            "{when}; NodeUnpublishVolume answered OK, and {left} is left at target_path"
        )));
    }
    match staged.volume().devices_left().await.first() {
        Some(device) => Err(Stop::Warn(format!(
            "{when}; NodeUnstageVolume answered OK, and {device} is still there"
        ))),
        None => Ok(()),
    }
}

check! {
    /// No call changes the node's own folder where a volume's mount was lost.
    ///
    /// A path that was a volume a moment ago is the node's own disk when the mount has
    /// gone: what is frozen, grown, emptied or given other permissions there is the
    /// node's.
    HOST_IS_LEFT_ALONE = "driver.leaves-the-node-alone-where-a-mount-is-lost",
    clauses: [spec::NODE_MOUNT_LOST_HOST_UNTOUCHED],
    needs: Need::All(&[Need::MOUNT, Need::OwnVolumes, Need::SameNamespace, Need::Consent(Allow::Hang)]),
    volumes: 1, calls: 22,
    seen_in: ["longhorn/longhorn-engine!662" => "the mount had gone before the freeze, and the node's root file system was frozen"],
    look_at: "paths that are used some time after they were seen to be mounted: look at the descriptor, not at the path",
    run: host_is_left_alone,
}

async fn host_is_left_alone(cx: &Cx) -> Checked {
    let volume = cx.volume(Want::fresh()).await?;
    let target = volume.stage().await?.publish("a").await?;
    let bare = target.loses_its_mounts().await?;
    // Each may be refused; none may do what it does to the folder in its place.
    for call in ["CreateSnapshot", "NodeExpandVolume", "NodeGetVolumeStats"] {
        if target.asked_without_mount(call).await? {
            bare.is_as_it_was(call).await?;
        }
    }
    Ok(())
}
