//! A disk that cannot be read, hangs or has shrunk while its volume is staged.

use std::time::Duration;

use csi_harness::check;
use csi_harness::check::{Attempt, Breakable, Check, Checked, Cx, Need, Stop, Want};
use csi_harness::config::Allow;

use crate::spec;

pub(super) static CHECKS: &[&Check] = &[&COMES_BACK, &NOT_FORMATTED, &OTHERS_GO_ON, &SHRUNK];

/// The disk is ours to break where its image is on a path that the driver and we see, and
/// where it is a device-mapper device.
const DISK: Need = Need::All(&[
    Need::MOUNT,
    Need::Any(&[Need::SameNamespace, Need::DeviceMapper]),
    Need::Consent(Allow::Hang),
]);

check! {
    /// A disk with data on it that cannot be read while it is staged is not formatted.
    ///
    /// A tool that finds nothing on a disk says the same of one that it cannot read.
    /// mkfs then does what it is told, and the data is gone for good.
    NOT_FORMATTED = "disk-unreadable.is-not-formatted",
    clauses: [spec::NODE_STAGE_NO_FORMAT_ON_PROBE_FAILURE, spec::NODE_STAGE_DATA_KEPT],
    needs: DISK,
    axes: [FileSystem],
    volumes: 1, calls: 40,
    seen_in: ["longhorn/longhorn#14042" => "an I/O error while probing counted as an empty disk, and mkfs was run",
              "hetznercloud/csi-driver#1346" => "a device that could not be read yet was formatted; the data was lost"],
    look_at: "blkid's exit code 2: it means that nothing was found, also where nothing could be read",
    run: not_formatted,
}

async fn not_formatted(cx: &Cx) -> Checked {
    let disk = cx.breakable_disk().await?;
    disk.is_unreadable().await?;
    let attempt = disk.volume().attempt("a", &[]).await?;
    disk.was_asked()?;
    if disk.was_written() {
        cx.fact(
            "disk",
            "it was written to, or a file system was to be made on it, while it could not be read",
        );
    }
    disk.heals().await?;
    let when = "the disk could not be read while it was staged, and is well again";
    let kept = keeps_its_data(&disk, &attempt).await;
    kept.map_err(|stop| stop.is_a_finding(when))?;
    if disk.was_written_in_vain() {
        return Err(Stop::fail(
            "a file system was to be made on the disk while it could not be read: only that nothing could be written either has kept the data",
        ));
    }
    Ok(())
}

/// Whatever came of an attempt while the disk was ill: its data is there when it is well.
async fn keeps_its_data(disk: &Breakable<'_>, attempt: &Attempt<'_>) -> Checked {
    if attempt.is_ok() {
        attempt.published().shows(disk.marker()).await?;
    }
    attempt.published().unpublish().await?;
    attempt.published().staged().unstage().await?;
    let again = disk.volume().stage().await?.publish("b").await?;
    again.shows(disk.marker()).await
}

check! {
    /// A disk with data on it that is shorter than its file system is not formatted.
    ///
    /// It cannot be mounted as it is. A disk that was cut short, or is not all there yet,
    /// comes back, and its data with it; after mkfs nothing does.
    SHRUNK = "disk-shrunk.is-not-formatted",
    clauses: [spec::NODE_STAGE_DATA_KEPT],
    needs: DISK,
    axes: [FileSystem],
    volumes: 1, calls: 40,
    look_at: "what is done where mount(8) fails: that a file system cannot be mounted does not mean that there is none",
    run: shrunk,
}

async fn shrunk(cx: &Cx) -> Checked {
    let disk = cx.breakable_disk().await?;
    disk.is_cut_short().await?;
    let attempt = disk.volume().attempt("a", &[]).await?;
    if disk.was_written() {
        cx.fact("disk", "it was written to while it was too short");
    }
    disk.heals().await?;
    let when = "the disk was shorter while it was staged, and is well again";
    let kept = keeps_its_data(&disk, &attempt).await;
    kept.map_err(|stop| stop.is_a_finding(when))
}

check! {
    /// While one volume's disk hangs, other volumes are published, unpublished and measured.
    ///
    /// The kubelet asks for many volumes at once. A lock for all of them, held while one
    /// disk is waited for, brings the whole node to a standstill.
    OTHERS_GO_ON = "disk-hangs.others-go-on",
    clauses: [spec::GENERAL_HANG_OTHERS_GO_ON],
    needs: DISK,
    phase: Alone,
    volumes: 2, calls: 60,
    seen_in: ["ceph/ceph-csi!4200" => "looks at a dead volume piled up, and the plugin starved",
              "fluid-cloudnative/fluid!3284" => "one lock for all volumes was held through every call"],
    look_at: "what is locked while a disk is waited for: one volume is enough",
    run: others_go_on,
}

async fn others_go_on(cx: &Cx) -> Checked {
    let disk = cx.breakable_disk().await?;
    let alive = cx.volume(Want::any()).await?.stage().await?;
    let alive = alive.publish("a").await?;
    let usual = alive.goes_on().await?;
    disk.hangs().await?;
    let others = async {
        disk.is_waited_for().await?;
        let company = alive.goes_on().await;
        disk.heals().await?;
        company
    };
    let volume = disk.volume();
    let (attempt, others) = tokio::join!(volume.attempt("b", &[]), others);
    others?.did_not_wait(disk.healed(), usual)?;
    let well = "the disk hung for a while, and is well again";
    let back = async {
        let again = disk.volume().stage().await?.publish("b").await?;
        again.shows(disk.marker()).await
    };
    drop(attempt?);
    back.await.map_err(|stop| stop.is_a_finding(well))
}

check! {
    /// A volume whose disk hung through a call that was given up is usable when the disk is back.
    ///
    /// What the call held must go with it. A lock that stays answers ABORTED until
    /// somebody restarts the driver.
    COMES_BACK = "disk-hangs.comes-back-after-a-cut-call",
    clauses: [spec::NODE_HANG_LEAVES_NO_LOCK, spec::NODE_PUBLISH_PERSISTENCE],
    needs: DISK,
    phase: Alone,
    volumes: 1, calls: 60,
    seen_in: ["ceph/ceph-csi#2289" => "an operation with the given volume already exists, until the plugin was restarted",
              "kubernetes-csi/csi-driver-smb#312" => "the lock of a call that had timed out was never given back"],
    look_at: "who gives the volume's lock back when the caller is gone",
    run: comes_back,
}

async fn comes_back(cx: &Cx) -> Checked {
    /// Long enough for a call to come as far as the disk.
    const CUT: Duration = Duration::from_secs(1);
    let disk = cx.breakable_disk().await?;
    disk.hangs().await?;
    let attempt = disk.volume().attempt_for("a", &[], CUT).await?;
    // The driver may come to it after its caller is gone.
    disk.is_waited_for().await?;
    disk.heals().await?;
    if attempt.is_ok() {
        return Err(Stop::not_offered("a stage that reads the disk"));
    }
    let back = async {
        let again = disk.volume().stage().await?.publish("a").await?;
        again.shows(disk.marker()).await
    };
    back.await
        .map_err(|stop| stop.is_a_finding("the disk hung for a while, and is well again"))
}
