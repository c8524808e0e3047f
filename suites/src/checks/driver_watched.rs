//! The run as a whole: what was watched beside the calls, on the node and in the
//! driver's processes.

use csi_harness::check;
use csi_harness::check::{Check, Checked, Cx, Need, Sighting, Stop, Want};
use csi_proto::rpc;
use csi_proto::v1;
use csi_proto::v1::controller_service_capability::rpc::Type as ControllerRpc;

use super::create_from::RESTORE;
use super::group_snapshot::GROUPS;
use crate::spec;

pub(super) static CHECKS: &[&Check] = &[
    &KEEPS_CANARIES,
    &KERNEL_IS_SILENT,
    &MOUNTS_WHEN_ASKED,
    &NO_HELPER_STAYS,
    &WORKS_AT_FIRST,
];

check! {
    /// Mounts of a volume come and go only while a call for it is at work.
    ///
    /// A mount that comes after the answer comes over what the workload has written to
    /// the bare folder, or after unpublish, where nobody will ever take it away. One
    /// that goes under a running pod takes its volume from it. Every mount and unmount
    /// at the paths of this run is held against the calls, until the quiet period is
    /// over.
    MOUNTS_WHEN_ASKED = "driver.mounts-only-when-asked",
    clauses: [spec::GENERAL_MOUNTS_ONLY_IN_CALLS],
    needs: Need::ANY_VOLUME,
    phase: Last,
    volumes: 0, calls: 0,
    seen_in: ["kubernetes-csi/csi-driver-nfs#1271" => "the call gave up, the mount helper went on, and its mount came later",
              "kubernetes/kubernetes#82190" => "a call that timed out went on, and mounted a volume that was given up"],
    look_at: "what goes on behind an answer: helpers that are not waited for, retries, work that a time-out leaves behind, unmounts that are put off",
    run: mounts_when_asked,
}

async fn mounts_when_asked(cx: &Cx) -> Checked {
    let strays = cx.session().strays();
    let Some(first) = strays.first() else {
        return Ok(());
    };
    for stray in strays.iter().take(MOST_SHOWN) {
        cx.show(&stray.seen);
    }
    let more = match strays.len() {
        1 => String::new(),
        n => format!("; {} more like it", n - 1),
    };
    Err(Stop::fail(format!(
        "{} (of {}){more}",
        first.what, first.check
    )))
}

/// Of many of a kind, a few tell as much.
const MOST_SHOWN: usize = 5;

check! {
    /// What takes a volume back works the first time that it is asked for.
    ///
    /// A driver that refuses every first call, and finds the work done at the second,
    /// looks well to whoever repeats: the kubelet does, and each pod goes later.
    WORKS_AT_FIRST = "driver.works-the-first-time",
    clauses: [spec::GENERAL_WORKS_AT_FIRST],
    needs: Need::ANY_VOLUME,
    phase: Last,
    volumes: 0, calls: 0,
    look_at: "what the call does after the volume is taken away: a look or a clean-up that fails there fails the call",
    run: works_at_first,
}

async fn works_at_first(cx: &Cx) -> Checked {
    let tried = cx.session().second_tries();
    for tried in &tried {
        cx.fact("first refusal", tried.refusal.clone());
    }
    match tried.first() {
        None => Ok(()),
        Some(tried) => Err(Stop::Warn(format!(
            "{} of {} {} calls were refused, and OK when they were made again: {}",
            tried.refused_first, tried.ok, tried.rpc, tried.refusal
        ))),
    }
}

check! {
    /// The kernel has no complaint about the disks of the volumes.
    ///
    /// The story of the mount point that outlived its disk: the device is taken away,
    /// its mount is still there, and long after every call was answered the kernel
    /// tells of a file system that cannot be read. What a check broke itself is left
    /// out.
    KERNEL_IS_SILENT = "disk-gone.kernel-log-is-silent",
    clauses: [spec::GENERAL_DISKS_TAKEN_LAST],
    needs: Need::ANY_VOLUME,
    phase: Last,
    volumes: 0, calls: 0,
    look_at: "the order in which a volume is taken away: unmount, see in mountinfo that it is gone, then the device",
    run: kernel_is_silent,
}

async fn kernel_is_silent(cx: &Cx) -> Checked {
    let Some(trouble) = cx.session().kernel_trouble() else {
        return Err(Stop::no_host("the kernel's log (/dev/kmsg)"));
    };
    let Some(first) = trouble.first() else {
        return Ok(());
    };
    for trouble in trouble.iter().take(MOST_SHOWN) {
        cx.fact("kernel log", trouble.text.clone());
    }
    let when = match first.afterwards {
        true => "after its device was given back",
        false => "while it was in use",
    };
    Err(Stop::fail(format!(
        "the kernel complains about the disk of a volume of {}, {when}: {}",
        first.check, first.text
    )))
}

check! {
    /// Secrets that were made to be known again turn up nowhere.
    ///
    /// Each request of the lives of a volume, a snapshot and a group snapshot has one in its secrets, and a
    /// token where a kubelet would put one (`driver.token_requests`). They are looked for in the answers, in the driver's
    /// output, among the arguments of all that it started, and in new files.
    KEEPS_CANARIES = "driver.keeps-canaries",
    clauses: [spec::GENERAL_LOGGING_NO_SECRETS, spec::GENERAL_LOGGING_NO_SENSITIVE, spec::GENERAL_LOGGING_STDIO_ONLY],
    needs: Need::ANY_VOLUME,
    volumes: 4, calls: 40,
    seen_in: ["kubernetes-sigs/azurefile-csi-driver#1828" => "the account's key stood on the command line of mount",
              "CVE-2023-2878" => "service account tokens stood in the log"],
    look_at: "what is logged of a request, and how a helper is given a secret: by a file or its standard input, never as an argument",
    run: keeps_canaries,
}

async fn keeps_canaries(cx: &Cx) -> Checked {
    cx.sends_canaries();
    for came in [life(cx).await, copies(cx).await, groups(cx).await] {
        if let Err(Stop::Fail(why) | Stop::Blocked { why, .. }) = came {
            // A driver need not take what it does not know.
            cx.fact("with unknown secrets", why);
        }
    }
    let mut kept = None;
    for sighting in cx.canary_sightings().await {
        match sighting {
            Sighting::Shown(place) => {
                return Err(Stop::fail(format!("a secret stands {place}")));
            }
            Sighting::Kept(place) => kept = kept.or(Some(place)),
        }
    }
    match kept {
        Some(place) => Err(Stop::Warn(format!(
            "a secret stands in a file of the node: {place}"
        ))),
        None => Ok(()),
    }
}

/// All that is asked of a volume, from its creation to its end.
async fn life(cx: &Cx) -> Checked {
    let volume = cx.volume(Want::fresh_if_created(cx)).await?;
    if cx.facts().creates() {
        let request = volume.validate_request()?;
        // Any answer will do: it is what it tells of that counts.
        let _ = cx.ask::<rpc::ValidateVolumeCapabilities>(&request).await?;
    }
    if cx.facts().controller_can(ControllerRpc::ModifyVolume) {
        let request = v1::ControllerModifyVolumeRequest {
            volume_id: volume.id(),
            secrets: cx.secrets("ControllerModifyVolume"),
            ..Default::default()
        };
        let _ = cx.ask::<rpc::ControllerModifyVolume>(&request).await?;
    }
    let staged = volume.stage().await?;
    let target = staged.publish("a").await?;
    volume.try_grow(&target).await?;
    target.unpublish().await?;
    staged.unstage().await?;
    volume.detach().await
}

/// What is asked of a snapshot, where the driver has them, to the volume that is made
/// from it.
async fn copies(cx: &Cx) -> Checked {
    if RESTORE.lacks(cx.facts()).is_some() {
        return Ok(());
    }
    let snapshot = cx.volume(Want::fresh()).await?.snapshot().await?;
    if cx.facts().controller_can(ControllerRpc::ListSnapshots) {
        snapshot.listed(true).await?;
    }
    if cx.facts().controller_can(ControllerRpc::GetSnapshot) {
        let request = v1::GetSnapshotRequest {
            snapshot_id: snapshot.id(),
            secrets: cx.secrets("GetSnapshot"),
        };
        let _ = cx.ask::<rpc::GetSnapshot>(&request).await?;
    }
    cx.volume(snapshot.copy()).await?;
    snapshot.delete().await
}

check! {
    /// When a volume is taken back, no process is left that works for it.
    ///
    /// A helper that still tries to mount what was given up comes through when nobody
    /// expects it; others gather until the node has no more processes to give.
    NO_HELPER_STAYS = "driver.no-helper-stays",
    clauses: [spec::GENERAL_NO_HELPERS_LEFT],
    needs: Need::ANY_VOLUME,
    phase: Last,
    volumes: 0, calls: 0,
    seen_in: ["kubernetes-csi/csi-driver-nfs#1271" => "mount.nfs went on after its call had failed"],
    look_at: "whether every helper is waited for, and is ended where its call ends without it",
    run: no_helper_stays,
}

async fn no_helper_stays(cx: &Cx) -> Checked {
    let left = cx.session().processes_left();
    for process in &left {
        cx.fact("still running", process.clone());
    }
    match left.first() {
        None => Ok(()),
        Some(process) => Err(Stop::Warn(format!(
            "all volumes are taken back, and a process still works for one: {process}"
        ))),
    }
}

/// What is asked of a group snapshot, where the driver has them.
async fn groups(cx: &Cx) -> Checked {
    if GROUPS.lacks(cx.facts()).is_some() {
        return Ok(());
    }
    let volume = cx.volume(Want::fresh()).await?;
    let group = cx.group(&[volume]).await?;
    // Any answer will do.
    let _ = group.ask().await?;
    group.delete().await
}
