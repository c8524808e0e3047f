//! The mount that returned 0.
//!
//! With the NFS option `bg` and a server that is away, mount(8) answers 0 at once
//! and goes on trying in the background. What a driver makes of that answer, and
//! what becomes of the mount.

use csi_harness::check;
use csi_harness::check::{Attempt, Check, Checked, Cx, Need, Server, Stop, Want};

use crate::spec;

pub(super) static CHECKS: &[&Check] = &[
    &NO_HELPER_STAYS,
    &NOTHING_COMES_AFTER_THE_ANSWER,
    &NOTHING_COMES_AFTER_UNPUBLISH,
    &OK_MEANS_MOUNTED,
];

/// A volume that is asked onto the node in the background, with its server stopped.
async fn in_the_background(cx: &Cx) -> Result<(Server<'_>, Attempt<'_>), Stop> {
    let server = cx.server().await?;
    let volume = cx.volume(Want::any().on(&server)).await?;
    server.stop().await?;
    let attempt = volume.attempt("a", &["bg"]).await?;
    Ok((server, attempt))
}

check! {
    /// With `bg` among the mount flags and the server away, `NodePublishVolume` does not answer OK.
    ///
    /// mount(8) exits 0 at once and goes on trying in the background. A driver that
    /// believes it lets the pod start on the bare directory: what the pod writes goes
    /// to the node's own disk, and is hidden when the mount comes at last.
    OK_MEANS_MOUNTED = "nfs-bg.ok-means-mounted",
    clauses: [spec::NODE_PUBLISH_MOUNT_AT_TARGET, spec::NODE_PUBLISH_NOT_ROOT_FS],
    needs: Need::All(&[Need::MOUNT, Need::NfsLab]),
    phase: Alone,
    volumes: 1, calls: 14,
    seen_in: ["kubernetes-csi/csi-driver-nfs#762" => "writes of the pod went to the node's own file system (the same symptom; the cause was not found there)",
              "systemd/systemd!3169" => "with bg, mount exits 0 before the mount exists"],
    look_at: "what your driver does after mount(8) exits 0: read mountinfo again before answering, and refuse bg in mount_flags",
    run: ok_means_mounted,
}

async fn ok_means_mounted(cx: &Cx) -> Checked {
    let (server, attempt) = in_the_background(cx).await?;
    attempt.ok_means_mounted(&server).await
}

check! {
    /// What is not mounted when the call is answered is not mounted later by that call.
    ///
    /// The caller acts on the answer: it starts the pod, or gives the volume up. A
    /// mount that comes afterwards hides what was written, or is nobody's.
    NOTHING_COMES_AFTER_THE_ANSWER = "nfs-bg.nothing-comes-after-the-answer",
    clauses: [spec::NODE_PUBLISH_NO_LATE_MOUNT, spec::NODE_PUBLISH_FAILURE_CLEANS_UP],
    needs: Need::All(&[Need::MOUNT, Need::NfsLab]),
    phase: Alone,
    volumes: 1, calls: 14,
    seen_in: ["systemd/systemd!3169" => "with bg, the mount comes some time after mount exited 0"],
    look_at: "whether a mount helper can outlive the call: refuse bg, and end the helper before an error is answered",
    run: nothing_comes_after_the_answer,
}

async fn nothing_comes_after_the_answer(cx: &Cx) -> Checked {
    let (server, attempt) = in_the_background(cx).await?;
    server.heal().await?;
    attempt.nothing_comes_after_the_answer().await
}

check! {
    /// After `NodeUnpublishVolume` answers OK, a mount that was under way does not come any more.
    ///
    /// Nobody will ever unmount it: the folder of the pod cannot be removed, and a
    /// recursive removal deletes what is in the volume.
    NOTHING_COMES_AFTER_UNPUBLISH = "nfs-bg.nothing-comes-after-unpublish",
    clauses: [spec::GENERAL_TIMEOUT_CANCEL_BY_NEGATION, spec::NODE_UNPUBLISH_UNDOES],
    needs: Need::All(&[Need::MOUNT, Need::NfsLab]),
    phase: Alone,
    volumes: 1, calls: 14,
    seen_in: ["kubernetes-csi/csi-driver-nfs#1271" => "one hung mount made every later publish to that server fail for hours",
              "systemd/systemd!3169" => "with bg, mount goes on trying after it exited 0"],
    look_at: "whether NodeUnpublishVolume ends what NodePublishVolume has left running; it is best not to leave anything",
    run: nothing_comes_after_unpublish,
}

async fn nothing_comes_after_unpublish(cx: &Cx) -> Checked {
    let (server, attempt) = in_the_background(cx).await?;
    attempt.take_back(&server).await?;
    attempt.nothing_may_come().await?;
    server.heal().await
}

check! {
    /// When a call is answered, no helper of the driver goes on trying to mount the volume.
    ///
    /// A mount.nfs that is left behind tries for a week (nfs(5), `retry`), and mounts
    /// the volume wherever its path leads to by then.
    NO_HELPER_STAYS = "nfs-bg.no-helper-stays",
    clauses: [spec::GENERAL_TIMEOUT_CANCEL_BY_NEGATION],
    needs: Need::All(&[Need::MOUNT, Need::NfsLab]),
    phase: Alone,
    volumes: 1, calls: 14,
    seen_in: ["kubernetes-csi/csi-driver-nfs#1271" => "one hung mount made every later publish to that server fail for hours"],
    look_at: "mount.nfs with bg forks, and its child belongs to init: it has to be refused, or found and ended",
    run: no_helper_stays,
}

async fn no_helper_stays(cx: &Cx) -> Checked {
    let (server, attempt) = in_the_background(cx).await?;
    attempt.no_helper_outlives_the_answer().await?;
    attempt.take_back(&server).await?;
    attempt
        .no_helper_stays("NodeUnpublishVolume answered OK")
        .await?;
    server.heal().await
}
