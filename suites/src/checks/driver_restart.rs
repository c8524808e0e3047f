//! A driver that is killed between two calls, and started again.

use csi_harness::check;
use csi_harness::check::{Act, Check, Checked, Cx, Marker, Need, Step, Stop, Subject, Want, each};
use csi_proto::rpc;
use csi_proto::v1;
use csi_proto::v1::plugin_capability::service::Type as Service;

use super::node_expand::EXPAND;
use crate::spec;

pub(super) static CHECKS: &[&Check] = &[
    &COMES_BACK,
    &EXPANSION_IS_KEPT,
    &PUBLISHED_STAY_USABLE,
    &REPEAT_MOUNTS_ONCE,
    &STAGED_CAN_BE_PUBLISHED,
    &UNPUBLISH_AND_UNSTAGE_WORK,
    &VOLUMES_ARE_KNOWN,
];

const ON_THE_NODE: Need = Need::All(&[Need::ANY_VOLUME, Need::RESTART]);
const STAGED: Need = Need::All(&[Need::STAGE, Need::ANY_VOLUME, Need::RESTART]);

/// What is to blame afterwards.
const KILLED: &str = "after the driver was killed and started again";

check! {
    /// After SIGKILL, the driver starts again at the same socket, and is the same.
    ///
    /// Nothing removes the socket's file of a driver that was killed. One that does
    /// not do so itself ends at every start, and the node has no driver.
    COMES_BACK = "driver-restart.comes-back",
    clauses: [spec::GENERAL_REBIND_AFTER_KILL, spec::IDENTITY_INFO_STABLE, spec::NODE_INFO_NODE_ID_UNIQUE_STABLE],
    needs: Need::RESTART,
    owns: [Step::ComesBack],
    phase: Alone,
    volumes: 0, calls: 4,
    seen_in: ["scylladb/local-csi-driver#21" => "`address already in use` after a crash, at every start"],
    look_at: "the socket's file: unlink it before bind(2); and locks or ports of the killed process",
    run: comes_back,
}

async fn comes_back(cx: &Cx) -> Checked {
    cx.restart_driver().await?;
    let info = v1::GetPluginInfoRequest {};
    let info = cx.ask_until_ok::<rpc::GetPluginInfo>(&info).await?;
    let facts = cx.facts();
    if !facts.name.is_empty() && info.name != facts.name {
        let (before, after) = (&facts.name, &info.name);
        return Err(Stop::fail(format!(
            "the driver's name was {before:?} before the restart, and is {after:?}"
        )));
    }
    let Some(before) = &facts.node_info else {
        return Ok(());
    };
    let request = v1::NodeGetInfoRequest {};
    let after = cx.ask_until_ok::<rpc::NodeGetInfo>(&request).await?;
    match before.node_id == after.node_id {
        true => Ok(()),
        false => Err(Stop::fail(format!(
            "node_id was {:?} before the restart, and is {:?}",
            before.node_id, after.node_id
        ))),
    }
}

check! {
    /// Volumes that were published before the driver was killed stay readable and writable.
    ///
    /// Every upgrade of a driver ends its process. Pods go on, and a mount that dies
    /// with the driver takes them all.
    PUBLISHED_STAY_USABLE = "driver-restart.published-volumes-stay-usable",
    clauses: [spec::GENERAL_RESTART_PUBLISHED_SURVIVE],
    needs: ON_THE_NODE,
    phase: Alone,
    volumes: 2, least: 1, calls: 60,
    seen_in: ["ceph/ceph-csi#792" => "`Transport endpoint is not connected` in every pod after a restart of the plugin",
              "kubernetes-sigs/blob-csi-driver#115" => "a restart of the daemon set made all mounts unavailable"],
    look_at: "which process serves the mount: one in the driver's container ends with it",
    run: published_stay_usable,
}

async fn published_stay_usable(cx: &Cx) -> Checked {
    let subjects = cx.prepared(Act::Unpublish, KILLED).await?;
    cx.restart_driver().await?;
    each(subjects, |subject| async move {
        let published = subject.published()?;
        published.is_still_there("after the restart").await?;
        published.size().await?;
        let Some(marker) = subject.marker() else {
            return Ok(());
        };
        published.shows(marker).await?;
        let more = Marker::second()?;
        published.write(&more).await?;
        published.shows(&more).await
    })
    .await
    .map(drop)
    .map_err(|stop| match stop {
        // It answered before: what served it went with the driver.
        Stop::Unknown(why) => Stop::fail(format!("since the driver was killed, {why}")),
        other => other,
    })
}

check! {
    /// After a restart of the driver, the same stage and publish again are OK, and mount nothing twice.
    ///
    /// The kubelet repeats them when it is restarted too. Each mount more has to be
    /// taken away once more, and nobody does.
    REPEAT_MOUNTS_ONCE = "driver-restart.repeat-mounts-once",
    clauses: [spec::NODE_PUBLISH_IDEMPOTENT, spec::NODE_PUBLISH_NO_MOUNT_STACK, spec::NODE_STAGE_NO_MOUNT_STACK],
    needs: ON_THE_NODE,
    phase: Alone,
    volumes: 2, least: 1, calls: 60,
    seen_in: ["spiffe/spiffe-csi#331" => "each restart of the kubelet doubled the mounts, up to 49,153",
              "ceph/ceph-csi#466" => "mounts were doubled by a restart of the plugin"],
    look_at: "where the driver looks whether a volume is mounted: mountinfo outlives it, its memory does not",
    run: repeat_mounts_once,
}

async fn repeat_mounts_once(cx: &Cx) -> Checked {
    let subjects = cx.prepared(Act::Publish, KILLED).await?;
    let before = each(subjects, |subject| async move {
        subject.repeat().await?;
        let marker = Marker::new()?;
        let wrote = subject.published()?.try_write_if_allowed(&marker).await?;
        let mounts = mounts_of(&subject, "before the restart").await?;
        Ok((subject, wrote.then_some(marker), mounts))
    })
    .await?;
    cx.restart_driver().await?;
    each(before, |(subject, marker, before)| async move {
        let (staged, published) = (subject.staged()?, subject.published()?);
        if staged.path().is_some() {
            cx.ask_until_ok::<rpc::NodeStageVolume>(&staged.stage_request())
                .await?;
        }
        subject.repeat().await?;
        let after = mounts_of(&subject, "after the repeat").await?;
        if after != before {
            return Err(Stop::fail(format!(
                "mounts at the staging path and the target: {before:?} before the restart, {after:?} after the repeat"
            )));
        }
        match marker {
            Some(marker) => published.shows(&marker).await,
            None => Ok(()),
        }
    })
    .await
    .map(drop)
}

/// How many are at the staging path and at the target.
async fn mounts_of(subject: &Subject<'_>, when: &str) -> Result<(usize, usize), Stop> {
    let staged = subject.staged()?.mounts(when).await?.len();
    let published = subject.published()?.mounts(when).await?.len();
    Ok((staged, published))
}

check! {
    /// A volume that was staged before the driver was killed can be published after it.
    ///
    /// A pod that comes in the middle of an upgrade of the driver finds its volume
    /// staged by the one before.
    STAGED_CAN_BE_PUBLISHED = "driver-restart.staged-volumes-can-be-published",
    clauses: [spec::GENERAL_RESTART_MID_CALL, spec::NODE_PUBLISH_PERSISTENCE],
    needs: STAGED,
    phase: Alone,
    volumes: 2, least: 1, calls: 60,
    look_at: "what of a staged volume is kept in memory alone",
    run: staged_can_be_published,
}

async fn staged_can_be_published(cx: &Cx) -> Checked {
    let subjects = cx.prepared(Act::Publish, KILLED).await?;
    cx.restart_driver().await?;
    each(subjects, |subject| async move {
        subject.repeat().await?;
        subject.holds().await?;
        subject.take_back().await
    })
    .await
    .map(drop)
}

check! {
    /// After a restart of the driver, volumes are unpublished and unstaged, and nothing of them stays.
    ///
    /// A driver that forgot what it mounted has nothing to undo, says OK, and the mount
    /// and its device stay for ever.
    UNPUBLISH_AND_UNSTAGE_WORK = "driver-restart.unpublish-and-unstage-work",
    clauses: [spec::NODE_UNPUBLISH_UNDOES, spec::NODE_UNSTAGE_UNDOES],
    needs: ON_THE_NODE,
    phase: Alone,
    volumes: 2, least: 1, calls: 60,
    seen_in: ["truenas/truenas-csi#55" => "after a restart unstage found no record, did nothing, and answered OK",
              "hashicorp/nomad-driver-podman#192" => "a driver did not see its mounts any more, and had nothing to undo"],
    look_at: "where the record of what is staged and published is kept; no record does not mean no mount",
    run: unpublish_and_unstage_work,
}

async fn unpublish_and_unstage_work(cx: &Cx) -> Checked {
    let subjects = cx.prepared(Act::Unpublish, KILLED).await?;
    cx.restart_driver().await?;
    each(subjects, |subject| async move {
        subject.repeat().await?;
        subject.take_back().await
    })
    .await
    .map(drop)
}

check! {
    /// Volumes that were created and attached before the driver was killed can be used after it.
    VOLUMES_ARE_KNOWN = "driver-restart.volumes-are-known",
    clauses: [spec::GENERAL_RESTART_MID_CALL, spec::CONTROLLER_CREATE_IDEMPOTENT],
    needs: ON_THE_NODE,
    phase: Alone,
    volumes: 4, least: 1, calls: 60,
    look_at: "where the driver keeps its volumes and their names: memory ends with it",
    run: volumes_are_known,
}

async fn volumes_are_known(cx: &Cx) -> Checked {
    let first = Act::first_of(cx.facts());
    let subjects = cx.prepared(first, KILLED).await?;
    each(subjects.clone(), |subject| async move {
        subject.volume().attach().await
    })
    .await?;
    cx.restart_driver().await?;
    let controller = cx.facts().has_service(Service::ControllerService);
    each(subjects, |subject| async move {
        if controller {
            subject.is_known_by_its_name().await?;
        }
        subject.goes_its_way_again().await?;
        subject.take_back().await
    })
    .await
    .map(drop)
}

check! {
    /// A volume that was expanded before the driver was killed is as large after it.
    ///
    /// The new size is in the driver's records too. One that is kept in memory alone, or
    /// written so that it cannot be read, shows itself at the next start.
    EXPANSION_IS_KEPT = "driver-restart.expansion-is-kept",
    clauses: [spec::GENERAL_RESTART_MID_CALL, spec::NODE_EXPAND_WORKS, spec::NODE_EXPAND_DATA_KEPT],
    needs: Need::All(&[EXPAND, Need::ANY_VOLUME, Need::OwnVolumes, Need::RESTART]),
    phase: Alone,
    axes: [Kind],
    volumes: 1, calls: 26,
    look_at: "whether the record of a volume is written when it is expanded, and whole",
    run: expansion_is_kept,
}

async fn expansion_is_kept(cx: &Cx) -> Checked {
    let (target, marker) = cx.in_use(Want::fresh()).await?;
    let volume = target.staged().volume();
    let before = target.own_size().await?;
    let asked_for = volume.grow(&target).await?;
    cx.restart_driver().await?;
    target.unpublish().await?;
    target.staged().unstage().await?;
    let target = volume.comes_up("b").await?;
    target.has_grown(before, asked_for).await?;
    target.shows(&marker).await
}
