//! Something else where the volume is to be, or elsewhere on the node.

use csi_harness::check;
use csi_harness::check::{AWAY, Check, Checked, Cx, Marker, Need, Staged, Stop, Want};
use csi_harness::config::Allow;

use crate::spec;

pub(super) static CHECKS: &[&Check] = &[
    &ALIAS,
    &AT_STAGING,
    &AT_TARGET,
    &DEAD_ELSEWHERE,
    &VOLUME_AT_STAGING,
];

/// What we mount, the driver sees.
const MOUNT: Need = Need::All(&[Need::MOUNT, Need::SameNamespace]);

/// After a stage that was answered OK: what is published of it is the volume.
async fn shows_the_volume(staged: &Staged<'_>, marker: &Marker) -> Checked {
    let target = staged.at_target("a")?;
    let request = target.request().clone();
    if !staged.send_publish(request, target.target()).await?.is_ok() {
        return Ok(());
    }
    if let Some(wrong) = staged.not_there(target.target()).await? {
        return Err(Stop::fail(format!(
            "something else was mounted at staging_target_path; both calls answered OK, and {wrong}"
        )));
    }
    let shown = target.shows(marker).await;
    shown.map_err(|stop| {
        stop.is_a_finding(
            "something else was mounted at staging_target_path, and both calls answered OK",
        )
    })?;
    target.unpublish().await
}

/// With nothing in its way, it works as ever.
async fn works_again(staged: &Staged<'_>, marker: &Marker) -> Checked {
    let again = async {
        staged.stage().await?;
        staged.publish("b").await?.shows(marker).await
    };
    again
        .await
        .map_err(|stop| stop.is_a_finding("what was mounted at staging_target_path is gone again"))
}

check! {
    /// A file system at the staging path that is not the volume does not count as staged.
    ///
    /// After a crash or a mix-up of paths, something is mounted there. Whoever takes any
    /// mount for the volume gives one workload the data of another.
    AT_STAGING = "stranger.at-staging-is-not-the-volume",
    clauses: [spec::NODE_STAGE_RIGHT_DEVICE, spec::NODE_PUBLISH_ISOLATION],
    needs: Need::All(&[MOUNT, Need::STAGE]),
    volumes: 1, calls: 40,
    seen_in: ["sergelogvinov/proxmox-csi-plugin#601" => "another volume's mount at the path counted as staged",
              "truenas/truenas-csi#55" => "whatever was mounted at the path was taken for the volume"],
    look_at: "what the test for staged already compares: the device and its file, not that there is some mount",
    run: at_staging,
}

async fn at_staging(cx: &Cx) -> Checked {
    let (volume, marker) = cx.marked_volume().await?;
    let staged = volume.to_stage().await?;
    let Some(path) = staged.path() else {
        return Err(Stop::not_offered("a staging path"));
    };
    let stranger = cx.stranger_at(path).await?;
    if staged.send_stage(staged.stage_request()).await?.is_ok() {
        shows_the_volume(&staged, &marker).await?;
    }
    let _ = staged.ask_unstage().await?;
    stranger.is_unharmed().await?;
    stranger.leaves()?;
    works_again(&staged, &marker).await
}

check! {
    /// Another volume that is mounted at the staging path does not count as this one.
    ///
    /// It is of the right kind in all but one thing: it holds somebody else's data.
    VOLUME_AT_STAGING = "stranger.other-volume-at-staging-is-not-this-one",
    clauses: [spec::NODE_STAGE_RIGHT_DEVICE, spec::NODE_PUBLISH_ISOLATION],
    needs: Need::All(&[MOUNT, Need::STAGE]),
    volumes: 2, calls: 50,
    seen_in: ["democratic-csi/democratic-csi#559" => "a mount at the staging path was not compared with the volume's device"],
    look_at: "what the test for staged already compares: this volume's own device, by its file or serial number",
    run: volume_at_staging,
}

async fn volume_at_staging(cx: &Cx) -> Checked {
    let (volume, marker) = cx.marked_volume().await?;
    let other = cx.volume(Want::any()).await?.stage().await?;
    let other = other.publish("a").await?;
    let theirs = Marker::new()?;
    other.write(&theirs).await?;
    let staged = volume.to_stage().await?;
    let Some(path) = staged.path() else {
        return Err(Stop::not_offered("a staging path"));
    };
    let there = other.is_also_at(path)?;
    if staged.send_stage(staged.stage_request()).await?.is_ok() {
        shows_the_volume(&staged, &marker).await?;
    }
    let _ = staged.ask_unstage().await?;
    drop(there);
    other
        .shows(&theirs)
        .await
        .map_err(|stop| stop.is_a_finding("the other volume"))?;
    works_again(&staged, &marker).await
}

check! {
    /// A file system at the target path that is not the volume does not count as published.
    AT_TARGET = "stranger.at-target-is-not-the-volume",
    clauses: [spec::NODE_PUBLISH_ISOLATION, spec::NODE_UNPUBLISH_NEVER_REMOVES_DATA],
    needs: MOUNT,
    volumes: 1, calls: 40,
    seen_in: ["democratic-csi/democratic-csi#559" => "a mount at the path was not compared with the volume's device"],
    look_at: "what the test for published already compares, and what is deleted at the target when it is taken back",
    run: at_target,
}

async fn at_target(cx: &Cx) -> Checked {
    let (volume, marker) = cx.marked_volume().await?;
    let staged = volume.stage().await?;
    let target = staged.at_target("a")?;
    target.makes_target()?;
    let stranger = cx.stranger_at(target.target()).await?;
    if target.publish_again().await?.is_ok() {
        stranger.is_not_at(&target).await?;
        let shown = target.shows(&marker).await;
        shown.map_err(|stop| {
            stop.is_a_finding(
                "something else was mounted at target_path, and NodePublishVolume answered OK",
            )
        })?;
    }
    let _ = target.ask_unpublish().await?;
    stranger.is_unharmed().await?;
    stranger.leaves()?;
    let again = async {
        let published = staged.publish("a").await?;
        published.shows(&marker).await
    };
    again
        .await
        .map_err(|stop| stop.is_a_finding("what was mounted at target_path is gone again"))
}

check! {
    /// A mount elsewhere on the node that answers nothing stops no volume.
    ///
    /// A node has many mounts, and some of them are dead: a driver that asks each of
    /// them for something waits for ever.
    DEAD_ELSEWHERE = "stranger.dead-mount-elsewhere-stops-nobody",
    clauses: [spec::GENERAL_HANG_OTHERS_GO_ON],
    needs: Need::All(&[MOUNT, Need::Consent(Allow::Hang)]),
    phase: Alone,
    volumes: 1, calls: 40,
    seen_in: ["kubernetes/kubernetes#101622" => "one dead mount kept the looks at all the others waiting"],
    look_at: "whether stat(2) or statfs(2) is called on each mount of the node: mountinfo alone tells what is needed",
    run: dead_elsewhere,
}

async fn dead_elsewhere(cx: &Cx) -> Checked {
    let (volume, marker) = cx.marked_volume().await?;
    let dead = cx.dead_mount()?;
    let attempt = volume.attempt("a", &[]).await?;
    let works = async {
        if let Some(why) = attempt.failure() {
            return Err(Stop::fail(why));
        }
        attempt.published().shows(&marker).await?;
        attempt.published().goes_on().await?;
        for asked in [
            attempt
                .published()
                .insist_unpublish_into_fault()
                .await?
                .map(|asked| asked.ok().map(drop)),
            attempt
                .published()
                .staged()
                .unstage_into_fault()
                .await?
                .map(|asked| asked.ok().map(drop)),
        ] {
            asked.unwrap_or_else(|| {
                Err(Stop::fail(format!("a call had no answer within {AWAY:?}")))
            })?;
        }
        Ok(())
    };
    let worked = works.await;
    drop(dead);
    worked.map_err(|stop| stop.is_a_finding("a mount elsewhere on the node answers nothing"))
}

check! {
    /// A name of the volume's device that leads to another volume's by now is not trusted.
    ///
    /// Names below /dev/disk are given anew after each scan. Whoever does not ask the
    /// device who it is mounts another volume's data.
    ALIAS = "stranger.device-alias-is-not-trusted",
    clauses: [spec::NODE_STAGE_RIGHT_DEVICE, spec::NODE_PUBLISH_ISOLATION],
    needs: Need::All(&[MOUNT, Need::Consent(Allow::Hang)]),
    volumes: 2, calls: 50,
    seen_in: ["hetznercloud/csi-driver#1455" => "the link of a device led to another volume's",
              "UpCloudLtd/upcloud-csi#40" => "a device was found by a name that another had by then"],
    look_at: "whether the device is asked for its serial number, or its file, after the name was followed",
    run: alias,
}

async fn alias(cx: &Cx) -> Checked {
    let (other, theirs) = cx.marked_volume().await?;
    let (volume, marker) = cx.marked_volume().await?;
    other.attach().await?;
    volume.attach().await?;
    let misled = volume.alias_leads_to(&other)?;
    let attempt = volume.attempt("a", &[]).await?;
    if attempt.is_ok() {
        let shown = async {
            attempt.published().lacks(&theirs).await?;
            attempt.published().shows(&marker).await
        };
        let shown = shown.await;
        shown.map_err(|stop| {
            stop.is_a_finding("the link to the volume's device led to another volume's, and every call answered OK")
        })?;
    }
    drop(misled);
    let again = async {
        let published = volume.stage().await?.publish("a").await?;
        published.shows(&marker).await
    };
    again
        .await
        .map_err(|stop| stop.is_a_finding("the link leads to the volume's own device again"))
}
