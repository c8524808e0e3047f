//! The mount point that outlived its disk: the disk of a published volume fails.

use csi_harness::check;
use csi_harness::check::{AWAY, Breakable, Check, Checked, Cx, Need, Published, Stop};
use csi_harness::config::Allow;
use csi_proto::v1::node_service_capability::rpc::Type as NodeRpc;

use crate::spec;

pub(super) static CHECKS: &[&Check] =
    &[&CONDITION, &REPEAT_IS_NOT_OK, &STATS_END, &UNPUBLISH_WORKS];

const DISK: Need = Need::All(&[Need::MOUNT, Need::Consent(Allow::Hang)]);

/// A volume that is published, and whose disk is gone.
async fn gone(cx: &Cx) -> Result<(Breakable<'_>, Published<'_>), Stop> {
    let disk = cx.breakable().await?;
    let published = disk.volume().stage().await?.publish("a").await?;
    disk.fails_under(&published).await?;
    Ok((disk, published))
}

check! {
    /// A volume whose disk is gone can be unpublished and unstaged, and comes back with its disk.
    ///
    /// The mount outlives its disk, and every look at it fails; umount(2) works. A driver
    /// that looks before it unmounts never comes to that: the pod stays for ever, and the
    /// kernel logs errors of a disk that nobody has any more.
    UNPUBLISH_WORKS = "disk-gone.unpublish-works",
    clauses: [spec::NODE_UNPUBLISH_STALE_MOUNT, spec::NODE_UNSTAGE_STALE_MOUNT, spec::NODE_PUBLISH_PERSISTENCE],
    needs: DISK,
    axes: [FileSystem],
    volumes: 1, calls: 40,
    seen_in: ["openebs/zfs-localpv#615" => "a target that could not be read was never unmounted",
              "IBM/ibm-spectrum-scale-csi#823" => "a stale target ended every unpublish; umount -l by hand worked"],
    look_at: "what is asked of the target before umount(2): mountinfo tells whether it is mounted, and cannot fail",
    run: unpublish_works,
}

async fn unpublish_works(cx: &Cx) -> Checked {
    let (disk, published) = gone(cx).await?;
    let stuck = is_stuck(&published).await?;
    disk.heals().await?;
    let well = "after the disk came back";
    published
        .unpublish()
        .await
        .map_err(|stop| stop.is_a_finding(well))?;
    published
        .staged()
        .unstage()
        .await
        .map_err(|stop| stop.is_a_finding(well))?;
    let left = disk.volume().devices_left().await;
    if let Some(device) = left.first() {
        return Err(Stop::fail(format!(
            "the volume is unstaged, and {device} of the disk that failed is still there"
        )));
    }
    let again = async { disk.volume().stage().await?.publish("b").await };
    let again = again.await.map_err(|stop| stop.is_a_finding(well))?;
    again
        .shows(disk.marker())
        .await
        .map_err(|stop| stop.is_a_finding(well))?;
    stuck.map_or(Ok(()), |why| Err(Stop::Warn(why)))
}

/// Takes the volume back while its disk is gone; why that did not work, in words.
async fn is_stuck(published: &Published<'_>) -> Result<Option<String>, Stop> {
    let no_answer = |rpc: &str| {
        Some(format!(
            "{rpc} had no answer within {AWAY:?}, the disk being gone"
        ))
    };
    let Some(asked) = published.insist_unpublish_into_fault().await? else {
        return Ok(no_answer("NodeUnpublishVolume"));
    };
    if let Some(refusal) = asked.refusal() {
        let code = refusal.code;
        return Ok(Some(format!(
            "NodeUnpublishVolume answered {code}, the disk being gone: {}",
            refusal.message
        )));
    }
    if let Some(left) = published.mount_left("after unpublish").await? {
        return Err(Stop::fail(format!(
            "NodeUnpublishVolume answered OK, and {left}"
        )));
    }
    let Some(asked) = published.staged().unstage_into_fault().await? else {
        return Ok(no_answer("NodeUnstageVolume"));
    };
    if let Some(refusal) = asked.refusal() {
        let code = refusal.code;
        return Ok(Some(format!(
            "NodeUnstageVolume answered {code}, the disk being gone: {}",
            refusal.message
        )));
    }
    if let Some(left) = published.staged().mount_left("after unstage").await? {
        return Err(Stop::fail(format!(
            "NodeUnstageVolume answered OK, and {left}"
        )));
    }
    Ok(None)
}

check! {
    /// While its file system is dead, a volume is not reported as published.
    ///
    /// The kubelet repeats the call before each start of a container. OK for a dead
    /// mount starts it on a folder where every call fails.
    REPEAT_IS_NOT_OK = "disk-gone.repeat-is-not-ok",
    clauses: [spec::NODE_PUBLISH_DEAD_MOUNT],
    needs: DISK,
    axes: [FileSystem],
    volumes: 1, calls: 30,
    seen_in: ["longhorn/longhorn#2629" => "a mount that was broken counted as mounted",
              "ydb-platform/nbs#2936" => "a file system that had turned read-only was published again"],
    look_at: "what a repeat looks at: that something is mounted there does not say that it works",
    run: repeat_is_not_ok,
}

async fn repeat_is_not_ok(cx: &Cx) -> Checked {
    let (disk, published) = gone(cx).await?;
    is_not_taken_for_whole(&disk, &published, "while its disk was gone").await?;
    // The file system has stopped, or turned read-only, and stays so until it is mounted anew.
    disk.heals().await?;
    is_not_taken_for_whole(&disk, &published, "when its disk was back").await
}

async fn is_not_taken_for_whole(
    disk: &Breakable<'_>,
    published: &Published<'_>,
    when: &str,
) -> Checked {
    let asked = published.publish_again_into_fault().await?;
    if asked.is_some_and(|asked| asked.is_ok())
        && let Some(why) = published.trouble(disk.marker()).await?
    {
        return Err(Stop::fail(format!(
            "NodePublishVolume was repeated {when} and answered OK, and a workload there is told: {why}"
        )));
    }
    Ok(())
}

check! {
    /// `NodeGetVolumeStats` of a volume whose disk is gone comes to an end.
    ///
    /// The kubelet asks each minute: a call that never ends takes a thread with it each
    /// time.
    STATS_END = "disk-gone.stats-come-to-an-end",
    clauses: [spec::NODE_STATS_BOUNDED_TIME],
    needs: Need::All(&[DISK, Need::STATS]),
    volumes: 1, calls: 30,
    run: stats_end,
}

async fn stats_end(cx: &Cx) -> Checked {
    let (_disk, published) = gone(cx).await?;
    match published.stats_into_fault().await? {
        Some(_) => Ok(()),
        None => Err(Stop::fail(format!(
            "NodeGetVolumeStats had no answer within {AWAY:?}, the disk being gone"
        ))),
    }
}

check! {
    /// A volume whose file system was stopped by its disk is not told to be well.
    ///
    /// Who tells of a volume's condition is believed: an alert that says nothing while the
    /// application gets errors is worse than none.
    CONDITION = "disk-gone.condition-is-told",
    clauses: [spec::NODE_STATS_CONDITION_TRUE],
    needs: Need::All(&[DISK, Need::STATS, Need::Node(NodeRpc::VolumeCondition)]),
    axes: [FileSystem],
    volumes: 1, calls: 30,
    seen_in: ["ydb-platform/nbs#2936" => "a file system that had turned read-only went unnoticed"],
    look_at: "whether the flags of the mount are looked at, and whether anything is read",
    run: condition_is_told,
}

async fn condition_is_told(cx: &Cx) -> Checked {
    let (disk, published) = gone(cx).await?;
    // Whether a disk answers, a driver need not try. What its failure did to the file system
    // stays, and shows in the mount table: once somebody has come upon it.
    disk.heals().await?;
    let Some(why) = published.trouble(disk.marker()).await? else {
        return Ok(());
    };
    let Some(answer) = published.stats_into_fault().await? else {
        return Ok(());
    };
    let told = answer.ok().ok().and_then(|stats| stats.volume_condition);
    if let Some(condition) = told.filter(|condition| !condition.abnormal) {
        // Many kernels do not say that ext4 has stopped (6.14 does again, as `emergency_ro`).
        const STOPPED: [&str; 3] = ["ro", "emergency_ro", "shutdown"];
        let mounts = published.mounts("when its disk was back").await?;
        let says = |option: &String| STOPPED.contains(&option.as_str());
        let shows = mounts
            .last()
            .is_none_or(|mount| mount.super_options.iter().any(says));
        if !shows {
            let need = "a kernel that shows in the mount table that a file system has stopped";
            return Err(Stop::no_host(need));
        }
        return Err(Stop::fail(format!(
            "NodeGetVolumeStats told of a volume in normal condition ({}), and a workload there is told: {why}",
            condition.message
        )));
    }
    Ok(())
}
