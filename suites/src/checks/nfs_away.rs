//! An NFS server that is away in other ways: each is an error, and nothing of the
//! attempt is left.

use csi_harness::check;
use csi_harness::check::{Check, Checked, Cx, Need, Server, Stop, Volume, Want};

use csi_harness::lab::Serve;

use crate::spec;

pub(super) static CHECKS: &[&Check] = &[
    &DENIED,
    &EXPORT_GONE,
    &FROZEN,
    &STOPPED,
    &UNREACHABLE,
    &VERSION,
];

/// A volume on a server of its own.
async fn volume(cx: &Cx) -> Result<(Server<'_>, Volume<'_>), Stop> {
    let server = cx.server().await?;
    let volume = cx.volume(Want::any().on(&server)).await?;
    Ok((server, volume))
}

/// The volume cannot be had now: an OK is a lie, and nothing stays of the attempt,
/// neither a process nor a mount that comes when the server is back.
async fn is_an_error(server: &Server<'_>, volume: Volume<'_>, flags: &[&str]) -> Checked {
    let attempt = volume.attempt("a", flags).await?;
    attempt.ok_means_mounted(server).await?;
    attempt.take_back(server).await?;
    attempt
        .no_helper_stays("NodeUnpublishVolume answered OK")
        .await?;
    attempt.nothing_may_come().await?;
    server.heal().await
}

check! {
    /// A volume whose server refuses connections is not published.
    ///
    /// The error of the mount has to reach the caller, who tries again; whoever
    /// swallows it lets the pod write to the node's own disk.
    STOPPED = "nfs-publish.stopped-server-is-an-error",
    clauses: [spec::NODE_PUBLISH_MOUNT_AT_TARGET, spec::NODE_PUBLISH_FAILURE_CLEANS_UP, spec::GENERAL_TIMEOUT_CANCEL_BY_NEGATION],
    needs: Need::All(&[Need::MOUNT, Need::NfsLab]),
    phase: Alone,
    volumes: 1, calls: 14,
    seen_in: ["longhorn/longhorn#12006" => "an error of the mount was not handled"],
    look_at: "whether every error of the mount ends the call, and ends what was started",
    run: stopped,
}

async fn stopped(cx: &Cx) -> Checked {
    let (server, volume) = volume(cx).await?;
    server.stop().await?;
    is_an_error(&server, volume, &[]).await
}

check! {
    /// A volume whose server answers nothing is not published, and the attempt ends with the call.
    ///
    /// The mount helper waits for minutes. A driver that gives up before it does has
    /// to end it, or the mount comes when nobody wants it any more.
    FROZEN = "nfs-publish.frozen-server-is-an-error",
    clauses: [spec::NODE_PUBLISH_MOUNT_AT_TARGET, spec::NODE_PUBLISH_FAILURE_CLEANS_UP, spec::GENERAL_TIMEOUT_CANCEL_BY_NEGATION],
    needs: Need::All(&[Need::MOUNT, Need::NfsLab]),
    phase: Alone,
    volumes: 1, calls: 14,
    seen_in: ["kubernetes-csi/csi-driver-nfs#1271" => "one hung mount made every later publish to that server fail for hours",
              "kubernetes/kubernetes#82190" => "a stage timed out, the driver finished mounting later, and nobody unstaged"],
    look_at: "whether a mount helper is ended, with its children, when the call is cancelled or runs out of time",
    run: frozen,
}

async fn frozen(cx: &Cx) -> Checked {
    let (server, volume) = volume(cx).await?;
    server.freeze().await?;
    is_an_error(&server, volume, &[]).await
}

check! {
    /// A volume whose server cannot be reached is not published.
    ///
    /// A cable, a firewall or a route is a matter of time: the caller tries again.
    UNREACHABLE = "nfs-publish.unreachable-server-is-an-error",
    clauses: [spec::NODE_PUBLISH_MOUNT_AT_TARGET, spec::NODE_PUBLISH_FAILURE_CLEANS_UP, spec::GENERAL_TIMEOUT_CANCEL_BY_NEGATION],
    needs: Need::All(&[Need::MOUNT, Need::NfsLab]),
    phase: Alone,
    volumes: 1, calls: 14,
    look_at: "whether every error of the mount ends the call, and ends what was started",
    run: unreachable,
}

async fn unreachable(cx: &Cx) -> Checked {
    let (server, volume) = volume(cx).await?;
    server.cut_off().await?;
    is_an_error(&server, volume, &[]).await
}

check! {
    /// A volume whose server denies access is not published.
    ///
    /// The node may be missing from the export list: only the error tells.
    DENIED = "nfs-publish.denied-access-is-an-error",
    clauses: [spec::NODE_PUBLISH_MOUNT_AT_TARGET, spec::NODE_PUBLISH_FAILURE_CLEANS_UP],
    needs: Need::All(&[Need::MOUNT, Need::NfsLab]),
    phase: Alone,
    volumes: 1, calls: 14,
    seen_in: ["IBM/ibm-spectrum-scale-csi#1070" => "the pod got a plain folder of the node"],
    look_at: "whether the exit code of mount(8) is looked at, and mountinfo after it",
    run: denied,
}

async fn denied(cx: &Cx) -> Checked {
    let (server, volume) = volume(cx).await?;
    server.refuse().await?;
    is_an_error(&server, volume, &[]).await
}

check! {
    /// A volume whose export is not there is not published.
    ///
    /// An export that was removed may come back; until then there is nothing to mount.
    EXPORT_GONE = "nfs-publish.missing-export-is-an-error",
    clauses: [spec::NODE_PUBLISH_MOUNT_AT_TARGET, spec::NODE_PUBLISH_FAILURE_CLEANS_UP],
    needs: Need::All(&[Need::MOUNT, Need::NfsLab]),
    phase: Alone,
    volumes: 1, calls: 14,
    look_at: "whether the exit code of mount(8) is looked at, and mountinfo after it",
    run: export_gone,
}

async fn export_gone(cx: &Cx) -> Checked {
    let (server, volume) = volume(cx).await?;
    server.remove_export().await?;
    is_an_error(&server, volume, &[]).await
}

check! {
    /// With an NFS version among the mount flags that the server does not serve, the volume is not published.
    ///
    /// Another version is not what was asked for, and nothing mounted is none at all.
    VERSION = "nfs-publish.version-not-served-is-an-error",
    clauses: [spec::NODE_PUBLISH_MOUNT_AT_TARGET, spec::NODE_PUBLISH_MOUNT_FLAGS_APPLIED],
    needs: Need::All(&[Need::MOUNT, Need::NfsLab]),
    phase: Alone,
    volumes: 1, calls: 14,
    look_at: "whether mount_flags reach mount(8), and its error the caller",
    run: version,
}

async fn version(cx: &Cx) -> Checked {
    let server = cx.server_for(Serve::V4_2).await?;
    let volume = cx.volume(Want::any().on(&server)).await?;
    is_an_error(&server, volume, &["nfsvers=3", "nolock"]).await
}
