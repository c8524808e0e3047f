//! An NFS server that dies under volumes that are published.

use std::time::Instant;

use csi_harness::check;
use csi_harness::check::{
    AWAY, Check, Checked, Cx, Marker, Need, Published, Server, Stop, Volume, Want,
};
use csi_harness::config::Allow;

use crate::spec;

pub(super) static CHECKS: &[&Check] = &[
    &COMES_BACK,
    &NEIGHBOURS_GO_ON,
    &OTHERS_GO_ON,
    &REPEAT_IS_NOT_OK,
    &STALE_UNPUBLISH,
    &STATS_END,
    &UNPUBLISH_ENDS,
];

/// What the kernel remembers of files it asks the server for, each time.
const FORGETFUL: &[&str] = &["actimeo=0"];

/// A volume that is published, on a server of its own.
async fn published(cx: &Cx) -> Result<(Server<'_>, Published<'_>), Stop> {
    let server = cx.server().await?;
    let want = Want::any().on(&server).more_flags(FORGETFUL);
    let published = cx.volume(want).await?.stage().await?.publish("a").await?;
    Ok((server, published))
}

/// The same, with its export taken away, as the kernel sees it too.
async fn stale(cx: &Cx) -> Result<(Server<'_>, Published<'_>), Stop> {
    let (server, published) = published(cx).await?;
    server.remove_export().await?;
    match published.is_dead().await? {
        Some(_) => Ok((server, published)),
        None => Err(Stop::Unknown(
            "the export is gone, and the kernel does not notice".to_owned(),
        )),
    }
}

/// A volume that hangs is measured, and another like it published; until when these
/// calls lasted.
async fn hangs(dead: &Published<'_>, next: &Volume<'_>) -> Result<Instant, Stop> {
    let (stats, attempt) = tokio::join!(dead.stats_into_fault(), next.attempt("b", &[]));
    let _ = (stats?, attempt?);
    Ok(Instant::now())
}

check! {
    /// While one volume's server answers nothing, volumes on other servers are published, unpublished and measured.
    ///
    /// The kubelet asks for many volumes at once. A lock for all of them, held while
    /// one waits for a dead server, brings the whole node to a standstill.
    OTHERS_GO_ON = "nfs-frozen.others-go-on",
    clauses: [spec::GENERAL_HANG_OTHERS_GO_ON, spec::NODE_STATS_BOUNDED_TIME],
    needs: Need::All(&[Need::MOUNT, Need::NfsLab, Need::Consent(Allow::Hang)]),
    phase: Alone,
    volumes: 3, calls: 34,
    seen_in: ["ceph/ceph-csi!4200" => "looks at a dead volume piled up, and the plugin starved",
              "kubernetes-csi/csi-driver-nfs#1271" => "one hung mount made every later publish of that server fail for hours"],
    look_at: "what is locked while a mount, a statfs or an unmount is waited for: one volume is enough",
    run: others_go_on,
}

async fn others_go_on(cx: &Cx) -> Checked {
    let (server, dead) = published(cx).await?;
    let next = cx.volume(Want::any().on(&server)).await?;
    let alive = cx
        .volume(Want::any())
        .await?
        .stage()
        .await?
        .publish("a")
        .await?;
    let usual = alive.goes_on().await?;
    server.freeze().await?;
    let (hung_until, others) = tokio::join!(hangs(&dead, &next), alive.goes_on());
    others?.did_not_wait(hung_until?, usual)
}

check! {
    /// While one share of a server hangs, volumes on its other shares are measured.
    ///
    /// A driver that keeps one lock or one helper for each server makes a single
    /// volume everybody's trouble.
    NEIGHBOURS_GO_ON = "nfs-frozen.neighbours-go-on",
    clauses: [spec::GENERAL_HANG_OTHERS_GO_ON, spec::NODE_STATS_BOUNDED_TIME],
    needs: Need::All(&[Need::MOUNT, Need::NfsLab, Need::Consent(Allow::Hang)]),
    phase: Alone,
    volumes: 3, calls: 34,
    seen_in: ["kubernetes-csi/csi-driver-nfs#1271" => "one hung mount made every later publish of that server fail for hours"],
    look_at: "what is locked, and by which name: the volume's, not the server's",
    run: neighbours_go_on,
}

async fn neighbours_go_on(cx: &Cx) -> Checked {
    let server = cx.server().await?;
    let share = server.another_share().await?;
    let on = || Want::any().on(&server).more_flags(FORGETFUL);
    let alive = cx.volume(on()).await?.stage().await?.publish("a").await?;
    let dead = cx
        .volume(on().share(&share))
        .await?
        .stage()
        .await?
        .publish("a")
        .await?;
    let next = cx.volume(on().share(&share)).await?;
    let usual = alive.goes_on_where_it_is().await?;
    server.hang(&share).await?;
    let (hung_until, others) = tokio::join!(hangs(&dead, &next), alive.goes_on_where_it_is());
    others?.did_not_wait(hung_until?, usual)
}

check! {
    /// `NodeGetVolumeStats` of a volume whose server answers nothing comes to an end.
    ///
    /// The kubelet asks each minute. A statfs that never returns takes a thread with
    /// it each time, and cannot be killed.
    STATS_END = "nfs-frozen.stats-come-to-an-end",
    clauses: [spec::NODE_STATS_BOUNDED_TIME],
    needs: Need::All(&[Need::MOUNT, Need::STATS, Need::NfsLab, Need::Consent(Allow::Hang)]),
    phase: Alone,
    volumes: 1, calls: 14,
    seen_in: ["ceph/ceph-csi!4200" => "a look at a dead volume hung, and threads piled up"],
    look_at: "who calls statfs: let a child or a thread of its own do it, with a limit, and no more than one for each volume",
    run: stats_end,
}

async fn stats_end(cx: &Cx) -> Checked {
    let (server, published) = published(cx).await?;
    server.freeze().await?;
    match published.stats_into_fault().await? {
        Some(_) => Ok(()),
        None => Err(Stop::fail(format!(
            "NodeGetVolumeStats had no answer within {AWAY:?} while the server was frozen"
        ))),
    }
}

check! {
    /// `NodeUnpublishVolume` comes to an end while the server answers nothing, and succeeds when it is back.
    ///
    /// An error is fine: the caller comes back. An OK with the mount still there is not.
    UNPUBLISH_ENDS = "nfs-frozen.unpublish-comes-to-an-end",
    clauses: [spec::NODE_UNPUBLISH_STALE_MOUNT],
    needs: Need::All(&[Need::MOUNT, Need::NfsLab, Need::Consent(Allow::Hang)]),
    phase: Alone,
    volumes: 1, calls: 16,
    look_at: "what is asked of the path before umount(2), and how long that may take",
    run: unpublish_ends,
}

async fn unpublish_ends(cx: &Cx) -> Checked {
    let (server, published) = published(cx).await?;
    server.freeze().await?;
    let asked = published.unpublish_into_fault().await?;
    let Some(asked) = asked else {
        return Err(Stop::fail(format!(
            "NodeUnpublishVolume had no answer within {AWAY:?} while the server was frozen"
        )));
    };
    if asked.is_ok()
        && let Some(left) = published.mount_left("after unpublish").await?
    {
        return Err(Stop::fail(format!(
            "NodeUnpublishVolume answered OK, and {left}"
        )));
    }
    server.heal().await?;
    published.unpublish().await
}

check! {
    /// A volume that is stale, since its export is gone, can be unpublished.
    ///
    /// stat(2) of the target fails with ESTALE, and umount(2) works. A driver that
    /// looks before it unmounts never comes to that, and the pod stays for ever.
    STALE_UNPUBLISH = "nfs-stale.unpublish-works",
    clauses: [spec::NODE_UNPUBLISH_STALE_MOUNT, spec::NODE_UNSTAGE_STALE_MOUNT],
    needs: Need::All(&[Need::MOUNT, Need::NfsLab, Need::Consent(Allow::Hang)]),
    phase: Alone,
    volumes: 1, calls: 16,
    seen_in: ["IBM/ibm-spectrum-scale-csi#823" => "a stale file handle at the target ended every unpublish",
              "kubernetes-csi/csi-driver-smb!268" => "a target that cannot be read could not be unmounted"],
    look_at: "what NodeUnpublishVolume asks of the target before umount(2): mountinfo tells whether it is mounted, and cannot fail",
    run: stale_unpublish,
}

async fn stale_unpublish(cx: &Cx) -> Checked {
    let (_server, published) = stale(cx).await?;
    match published.unpublish_into_fault().await? {
        Some(asked) => asked.ok().map(drop)?,
        None => {
            return Err(Stop::fail(format!(
                "NodeUnpublishVolume had no answer within {AWAY:?} while the export was gone"
            )));
        }
    }
    if let Some(left) = published.mount_left("after unpublish").await? {
        return Err(Stop::fail(format!(
            "NodeUnpublishVolume answered OK, and {left}"
        )));
    }
    published.staged().unstage().await
}

check! {
    /// While a volume is stale, a repeated `NodePublishVolume` does not answer OK.
    ///
    /// The kubelet repeats the call before each start of a container. OK for a dead
    /// mount starts it on a folder where every call fails.
    REPEAT_IS_NOT_OK = "nfs-stale.repeat-is-not-ok",
    clauses: [spec::NODE_PUBLISH_DEAD_MOUNT],
    needs: Need::All(&[Need::MOUNT, Need::NfsLab, Need::Consent(Allow::Hang)]),
    phase: Alone,
    volumes: 1, calls: 16,
    seen_in: ["longhorn/longhorn#2629" => "a mount point that was broken counted as mounted",
              "awslabs/mountpoint-s3-csi-driver!473" => "a corrupted mount was not noticed when the volume was published again"],
    look_at: "what a repeat looks at: that something is mounted there does not say that it answers",
    run: repeat_is_not_ok,
}

async fn repeat_is_not_ok(cx: &Cx) -> Checked {
    let (_server, published) = stale(cx).await?;
    let asked = published.publish_again_into_fault().await?;
    if asked.is_some_and(|asked| asked.is_ok())
        && let Some(why) = published.is_dead().await?
    {
        return Err(Stop::fail(format!(
            "NodePublishVolume was repeated and answered OK, and what is mounted at target_path is dead: {why}"
        )));
    }
    Ok(())
}

check! {
    /// A volume whose export was gone for a while shows its data when it is published again.
    ///
    /// What was seen of the outage must not stay: neither in a record of the driver's
    /// nor in a mount that is dead.
    COMES_BACK = "nfs-stale.comes-back",
    clauses: [spec::NODE_PUBLISH_PERSISTENCE],
    needs: Need::All(&[Need::MOUNT, Need::NfsLab, Need::Consent(Allow::Hang)]),
    phase: Alone,
    volumes: 1, calls: 20,
    look_at: "what is remembered of a volume that failed once",
    run: comes_back,
}

async fn comes_back(cx: &Cx) -> Checked {
    let (server, published) = published(cx).await?;
    let marker = Marker::new()?;
    published.write(&marker).await?;
    server.remove_export().await?;
    let _ = published.publish_again_into_fault().await?;
    server.restore_export().await?;
    published.unpublish().await?;
    published.staged().unstage().await?;
    // As the next pod finds it, once the first is gone.
    let again = published
        .staged()
        .volume()
        .stage()
        .await?
        .publish("b")
        .await?;
    again.shows(&marker).await
}
