//! `NodePublishVolume`, asked wrongly: it is refused, and does no harm.

use csi_harness::check;
use csi_harness::check::{Check, Checked, Cx, Marker, Need, Published, Stop, Want};
use csi_harness::client::Code;
use csi_proto::v1;
use csi_proto::v1::volume_capability::{AccessType, BlockVolume, MountVolume};

use crate::spec;

pub(super) static CHECKS: &[&Check] = &[
    &CAPABILITY_REQUIRED,
    &HARMS_NOTHING,
    &STAGING_PATH_REQUIRED,
    &TARGET_REQUIRED,
    &UNKNOWN_VOLUME,
    &VOLUME_ID_REQUIRED,
];

check! {
    /// A repeat that fails leaves the volume published as it was.
    ///
    /// The kubelet repeats the call for pods that run, and a repeat can fail as any call
    /// can. What a driver tidies up then is not what it made in this call: it takes the
    /// volume from the pod, or deletes what is in it.
    HARMS_NOTHING = "node-publish.failed-repeat-harms-nothing",
    clauses: [spec::NODE_PUBLISH_PERSISTENCE, spec::NODE_PUBLISH_SAME_TARGET_OTHER_ARGS],
    needs: Need::MOUNT,
    volumes: 1, calls: 24,
    look_at: "what is undone on the way out of a call that fails: only what this call has made",
    run: harms_nothing,
}

async fn harms_nothing(cx: &Cx) -> Checked {
    let staged = cx.volume(Want::any()).await?.stage().await?;
    let target = staged.publish("a").await?;
    let marker = Marker::new()?;
    let writes = target.try_write_if_allowed(&marker).await?;
    let marker = writes.then_some(marker);
    let before = target.mounts("before").await?.len();
    for (how, request) in asked_wrongly(target.request()) {
        let asked = staged.send_publish(request, target.target()).await?;
        let said = asked.code();
        let when = format!("NodePublishVolume was repeated {how}, and answered {said}");
        let now = target.mounts("now").await?.len();
        let there = is_unharmed(&target, marker.as_ref(), (before, now)).await;
        there.map_err(|stop| stop.is_a_finding(&when))?;
        if asked.is_ok() {
            // Who took note of what was asked last is to take back what is there.
            let _ = staged
                .send_publish(target.request().clone(), target.target())
                .await?;
        }
    }
    Ok(())
}

/// The volume is there still, and there are as many mounts as there were.
pub(super) async fn is_unharmed(
    target: &Published<'_>,
    marker: Option<&Marker>,
    (before, now): (usize, usize),
) -> Checked {
    if let Some(marker) = marker {
        target.shows(marker).await?;
    }
    match now == before {
        true => Ok(()),
        false => Err(Stop::fail(format!(
            "{now} mounts are at its path, where {before} were"
        ))),
    }
}

/// The same request with one thing wrong, in words.
fn asked_wrongly(
    right: &v1::NodePublishVolumeRequest,
) -> Vec<(&'static str, v1::NodePublishVolumeRequest)> {
    let wrong = wrong_capabilities(right.volume_capability.as_ref()).into_iter();
    let mut asked: Vec<_> = wrong
        .map(|(how, volume_capability)| {
            let wrong = v1::NodePublishVolumeRequest {
                volume_capability,
                ..right.clone()
            };
            (how, wrong)
        })
        .collect();
    if !right.staging_target_path.is_empty() {
        let mut wrong = right.clone();
        wrong.staging_target_path.push_str("-not-there");
        asked.push(("from a staging path that is not there", wrong));
    }
    asked
}

/// What a volume that was asked for with one capability cannot be asked for with, in words.
pub(super) fn wrong_capabilities(
    right: Option<&v1::VolumeCapability>,
) -> Vec<(&'static str, Option<v1::VolumeCapability>)> {
    let of_type = |access_type| {
        right.map(|right| v1::VolumeCapability {
            access_type: Some(access_type),
            ..right.clone()
        })
    };
    let mount = |fs_type: &str, flags: &[&str]| {
        AccessType::Mount(MountVolume {
            fs_type: fs_type.to_owned(),
            mount_flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            ..Default::default()
        })
    };
    vec![
        (
            "as a block volume",
            of_type(AccessType::Block(BlockVolume {})),
        ),
        (
            "with a file system that there is not",
            of_type(mount("csi-none", &[])),
        ),
        (
            "with a mount flag that there is not",
            of_type(mount("", &["csi-none"])),
        ),
        ("without a capability", None),
    ]
}

check! {
    /// `NodePublishVolume` without a staging path, where the driver stages, is refused.
    STAGING_PATH_REQUIRED = "node-publish.staging-path-is-required",
    clauses: [spec::NODE_PUBLISH_STAGING_PATH_NOT_SET],
    needs: Need::All(&[Need::STAGE, Need::ANY_VOLUME]),
    volumes: 1, calls: 10,
    run: staging_path_required,
}

async fn staging_path_required(cx: &Cx) -> Checked {
    let staged = cx.volume(Want::any()).await?.stage().await?;
    let (mut request, target) = staged.publish_request("a")?;
    request.staging_target_path.clear();
    let asked = staged.send_publish(request, &target).await?;
    match asked.refusal().map(|refusal| refusal.code) {
        // As for every other required field; the table asks for another code.
        Some(Code::INVALID_ARGUMENT) => Err(Stop::Warn(
            "INVALID_ARGUMENT; FAILED_PRECONDITION was due".into(),
        )),
        _ => asked.refused_with(&[Code::FAILED_PRECONDITION]),
    }
}

check! {
    /// `NodePublishVolume` of a volume that does not exist is NOT_FOUND.
    UNKNOWN_VOLUME = "node-publish.unknown-volume-is-not-found",
    clauses: [spec::NODE_PUBLISH_NOT_FOUND],
    needs: Need::All(&[Need::ANY_VOLUME, Need::OwnVolumes]),
    volumes: 1, calls: 10,
    run: unknown_volume,
}

async fn unknown_volume(cx: &Cx) -> Checked {
    let volume = cx.volume(Want::fresh()).await?;
    let staged = volume.to_stage().await?;
    // With the publish_context of the time when it was there.
    let (request, target) = staged.publish_request("a")?;
    volume.detach().await?;
    volume.delete().await?;
    let asked = staged.send_publish(request, &target).await?;
    // It is not staged either, which a driver without a record of volumes can see.
    asked.refused_best_with(&[Code::NOT_FOUND, Code::FAILED_PRECONDITION])
}

check! {
    /// `NodePublishVolume` without a volume id is refused.
    VOLUME_ID_REQUIRED = "node-publish.volume-id-is-required",
    clauses: [spec::NODE_PUBLISH_VOLUME_ID_REQUIRED],
    needs: Need::ANY_VOLUME,
    volumes: 1, calls: 10,
    run: volume_id_required,
}

async fn volume_id_required(cx: &Cx) -> Checked {
    let staged = cx.volume(Want::any()).await?.stage().await?;
    let (mut request, target) = staged.publish_request("a")?;
    request.volume_id.clear();
    staged
        .send_publish(request, &target)
        .await?
        .refused_with(&[Code::INVALID_ARGUMENT])
}

check! {
    /// `NodePublishVolume` without a target path is refused.
    TARGET_REQUIRED = "node-publish.target-path-is-required",
    clauses: [spec::NODE_PUBLISH_TARGET_REQUIRED],
    needs: Need::ANY_VOLUME,
    volumes: 1, calls: 10,
    run: target_required,
}

async fn target_required(cx: &Cx) -> Checked {
    let staged = cx.volume(Want::any()).await?.stage().await?;
    let (mut request, target) = staged.publish_request("a")?;
    request.target_path.clear();
    staged
        .send_publish(request, &target)
        .await?
        .refused_with(&[Code::INVALID_ARGUMENT])
}

check! {
    /// `NodePublishVolume` without a capability is refused.
    CAPABILITY_REQUIRED = "node-publish.capability-is-required",
    clauses: [spec::NODE_PUBLISH_CAPABILITY_REQUIRED],
    needs: Need::ANY_VOLUME,
    volumes: 1, calls: 10,
    seen_in: ["piraeusdatastore/linstor-csi#96" => "a request without a capability made the plugin panic"],
    run: capability_required,
}

async fn capability_required(cx: &Cx) -> Checked {
    let staged = cx.volume(Want::any()).await?.stage().await?;
    let (mut request, target) = staged.publish_request("a")?;
    request.volume_capability = None;
    staged
        .send_publish(request, &target)
        .await?
        .refused_with(&[Code::INVALID_ARGUMENT])
}
