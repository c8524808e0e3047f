//! `NodeStageVolume`.

use csi_harness::check;
use csi_harness::check::{Access, Check, Checked, Cx, Kind, Marker, Need, Step, Stop, Want};
use csi_harness::client::Code;
use csi_proto::v1::volume_capability::access_mode::Mode;

use crate::spec;

pub(super) static CHECKS: &[&Check] = &[
    &CAPABILITY_REQUIRED,
    &KEEPS_DATA,
    &OTHER_CAPABILITY,
    &PATH_REQUIRED,
    &REPEAT,
    &STAGES,
    &TWICE_AT_ONCE,
    &UNKNOWN_FLAG,
    &UNKNOWN_VOLUME,
    &VOLUME_ID_REQUIRED,
];

const STAGE: Need = Need::All(&[Need::STAGE, Need::ANY_VOLUME]);
const STAGE_MOUNT: Need = Need::All(&[Need::STAGE, Need::MOUNT]);

check! {
    /// `NodeStageVolume` takes the folder that the caller made, and answers OK.
    ///
    /// The folder is there and empty, for block volumes too.
    STAGES = "node-stage.stages",
    clauses: [spec::NODE_STAGE_IMPLEMENTED, spec::NODE_STAGE_USES_GIVEN_DIRECTORY],
    needs: STAGE,
    owns: [Step::Stage(Access::Mount), Step::Stage(Access::Block)],
    phase: First,
    axes: [Kind],
    volumes: 1, calls: 8,
    look_at: "what NodeStageVolume refuses: the message above; a missing mkfs or mount helper is a usual reason",
    run: stages,
}

async fn stages(cx: &Cx) -> Checked {
    cx.volume(Want::any()).await?.stage().await.map(drop)
}

check! {
    /// The same `NodeStageVolume` again is OK, and mounts nothing twice.
    ///
    /// The kubelet repeats it after every restart and every timeout. A second
    /// mount on top of the first outlives the unstage.
    REPEAT = "node-stage.repeat-mounts-once",
    clauses: [spec::NODE_STAGE_IDEMPOTENT, spec::NODE_STAGE_NO_MOUNT_STACK],
    needs: STAGE,
    axes: [Kind],
    volumes: 1, calls: 14,
    seen_in: ["kubernetes-csi/csi-driver-smb!423" => "a test for mounts that does not see bind mounts stacked one more each time"],
    look_at: "whether the path is looked up in mountinfo before mounting (st_dev does not tell bind mounts)",
    run: repeat,
}

async fn repeat(cx: &Cx) -> Checked {
    let staged = cx.volume(Want::any()).await?.stage().await?;
    let once = staged.mounts("after the first stage").await?.len();
    let target = staged.publish("a").await?;
    let marker = Marker::new()?;
    let wrote = target.try_write_if_allowed(&marker).await?;
    target.unpublish().await?;
    for _ in 0..2 {
        staged.send_stage(staged.stage_request()).await?.ok()?;
    }
    let more = staged.mounts("after the third stage").await?.len();
    if more > once {
        return Err(Stop::fail(format!(
            "{once} mount after one NodeStageVolume, {more} after three"
        )));
    }
    let target = staged.publish("b").await?;
    match wrote && staged.volume().keeps_data().is_ok() {
        true => target.shows(&marker).await,
        false => Ok(()),
    }
}

check! {
    /// Two equal `NodeStageVolume` at once leave one mount.
    ///
    /// One of them may be refused with ABORTED while the other is at work; in the
    /// end the volume is staged as if it had been asked once.
    TWICE_AT_ONCE = "node-stage.twice-at-once-mounts-once",
    clauses: [spec::NODE_STAGE_NO_MOUNT_STACK],
    needs: STAGE,
    axes: [Kind],
    volumes: 1, calls: 14,
    seen_in: ["kubernetes-sigs/aws-ebs-csi-driver!163" => "parallel calls formatted and mounted twice"],
    look_at: "a lock for each volume, or ABORTED while a call for it is at work",
    run: twice_at_once,
}

async fn twice_at_once(cx: &Cx) -> Checked {
    let staged = cx.volume(Want::any()).await?.to_stage().await?;
    let stage = || staged.send_stage(staged.stage_request());
    let (a, b) = tokio::join!(stage(), stage());
    let (a, b) = (a?, b?);
    // Whatever the two were told, one more call finds it staged, or stages it.
    if !a.is_ok() || !b.is_ok() {
        staged.stage().await?;
    }
    let mounts = staged.mounts("after both").await?.len();
    if mounts > 1 {
        return Err(Stop::fail(format!(
            "{mounts} mounts are at the staging path after two calls at once"
        )));
    }
    staged.publish("a").await.map(drop)
}

check! {
    /// What was written is still there after unstage and stage.
    ///
    /// A driver that takes an unread device for an empty one formats it, and the
    /// data is gone.
    KEEPS_DATA = "node-stage.keeps-the-data",
    clauses: [spec::NODE_STAGE_DATA_KEPT, spec::NODE_UNSTAGE_DATA_FLUSHED],
    needs: STAGE,
    axes: [Kind],
    volumes: 1, calls: 14,
    seen_in: ["longhorn/longhorn#14042" => "an I/O error while probing counted as an empty disk, and mkfs was run",
              "hetznercloud/csi-driver#1346" => "a device that could not be read yet was formatted; the data was lost"],
    look_at: "when mkfs is run: only on a device that was read, and found empty",
    run: keeps_data,
}

async fn keeps_data(cx: &Cx) -> Checked {
    let volume = cx.volume(Want::any()).await?;
    volume.keeps_data()?;
    let staged = volume.stage().await?;
    let target = staged.publish("a").await?;
    let marker = Marker::new()?;
    target.write(&marker).await?;
    target.unpublish().await?;
    staged.unstage().await?;
    let staged = volume.stage().await?;
    staged.publish("b").await?.shows(&marker).await
}

check! {
    /// A second stage with another access type does no harm.
    ///
    /// ALREADY_EXISTS is due. What must never happen is that the volume, which
    /// holds data and is in use, is formatted or mounted over.
    OTHER_CAPABILITY = "node-stage.other-capability-does-no-harm",
    clauses: [spec::NODE_STAGE_INCOMPATIBLE],
    needs: STAGE_MOUNT,
    volumes: 1, calls: 12,
    look_at: "how the repeat of a stage compares the capability with the one before",
    run: other_capability,
}

async fn other_capability(cx: &Cx) -> Checked {
    let staged = cx.volume(Want::any()).await?.stage().await?;
    let target = staged.publish("a").await?;
    let marker = Marker::new()?;
    target.write(&marker).await?;
    let mut request = staged.stage_request();
    request.volume_capability = Some(Kind::Block.capability(Mode::SingleNodeWriter, &[]));
    let asked = staged.send_stage(request).await?;
    target.shows(&marker).await?;
    target.is_mounted_once().await?;
    match asked.refusal() {
        None => Err(Stop::Warn(
            "a staged file system was staged again as a block volume: OK; ALREADY_EXISTS was due"
                .into(),
        )),
        Some(_) => Ok(()),
    }
}

check! {
    /// A mount flag that no file system knows is an error.
    ///
    /// OK says that the volume is as it was asked for. A driver that does not see
    /// its mount fail lets the workload write to the node's own disk.
    UNKNOWN_FLAG = "node-stage.failed-mount-is-an-error",
    clauses: [spec::NODE_PUBLISH_NOT_ROOT_FS, spec::NODE_PUBLISH_MOUNT_FLAGS_APPLIED],
    needs: Need::MOUNT,
    axes: [FileSystem],
    volumes: 1, calls: 10,
    seen_in: ["kubernetes-csi/csi-driver-host-path!146" => "the errors were collected and never returned: the pod started without its volume",
              "longhorn/longhorn#12006" => "a mount error was not handled while publishing"],
    look_at: "the exit code of mount(8) or the error of mount(2), and mountinfo after it",
    run: unknown_flag,
}

async fn unknown_flag(cx: &Cx) -> Checked {
    let want = Want::fresh().flags(&["csi_conformance_no_such_flag"]);
    let volume = match cx.volume(want).await {
        // As early as that: nothing was promised.
        Err(Stop::Declined { .. } | Stop::Blocked { refused: true, .. }) => return Ok(()),
        volume => volume?,
    };
    volume.takes_flags()?;
    let staged = volume.to_stage().await?;
    if staged.path().is_some() && !staged.send_stage(staged.stage_request()).await?.is_ok() {
        return Ok(());
    }
    let (request, target) = staged.publish_request("a")?;
    let asked = staged.send_publish(request, &target).await?;
    if !asked.is_ok() {
        return Ok(());
    }
    if let Some(wrong) = staged.not_there(&target).await? {
        return Err(Stop::fail(format!(
            "the mount cannot have worked, every call answered OK, and {wrong}"
        )));
    }
    Err(Stop::Warn(
        "a mount flag that no file system knows was accepted in silence".into(),
    ))
}

check! {
    /// `NodeStageVolume` of a volume that does not exist is NOT_FOUND.
    UNKNOWN_VOLUME = "node-stage.unknown-volume-is-not-found",
    clauses: [spec::NODE_STAGE_NOT_FOUND],
    needs: Need::All(&[STAGE, Need::OwnVolumes]),
    volumes: 1, calls: 8,
    run: unknown_volume,
}

async fn unknown_volume(cx: &Cx) -> Checked {
    let volume = cx.volume(Want::fresh()).await?;
    let staged = volume.to_stage().await?;
    // With the publish_context of the time when it was there.
    let request = staged.stage_request();
    volume.detach().await?;
    volume.delete().await?;
    staged
        .send_stage(request)
        .await?
        .refused_best_with(&[Code::NOT_FOUND])
}

check! {
    /// `NodeStageVolume` without a volume id is refused.
    VOLUME_ID_REQUIRED = "node-stage.volume-id-is-required",
    clauses: [spec::NODE_STAGE_VOLUME_ID_REQUIRED],
    needs: STAGE,
    volumes: 1, calls: 8,
    run: volume_id_required,
}

async fn volume_id_required(cx: &Cx) -> Checked {
    let staged = cx.volume(Want::any()).await?.to_stage().await?;
    let mut request = staged.stage_request();
    request.volume_id.clear();
    staged
        .send_stage(request)
        .await?
        .refused_with(&[Code::INVALID_ARGUMENT])
}

check! {
    /// `NodeStageVolume` without a staging path is refused.
    PATH_REQUIRED = "node-stage.path-is-required",
    clauses: [spec::NODE_STAGE_PATH_REQUIRED],
    needs: STAGE,
    volumes: 1, calls: 8,
    run: path_required,
}

async fn path_required(cx: &Cx) -> Checked {
    let staged = cx.volume(Want::any()).await?.to_stage().await?;
    let mut request = staged.stage_request();
    request.staging_target_path.clear();
    staged
        .send_stage(request)
        .await?
        .refused_with(&[Code::INVALID_ARGUMENT])
}

check! {
    /// `NodeStageVolume` without a capability is refused.
    CAPABILITY_REQUIRED = "node-stage.capability-is-required",
    clauses: [spec::NODE_STAGE_CAPABILITY_REQUIRED],
    needs: STAGE,
    volumes: 1, calls: 8,
    seen_in: ["piraeusdatastore/linstor-csi#96" => "a request without a capability made the plugin panic"],
    run: capability_required,
}

async fn capability_required(cx: &Cx) -> Checked {
    let staged = cx.volume(Want::any()).await?.to_stage().await?;
    let mut request = staged.stage_request();
    request.volume_capability = None;
    staged
        .send_stage(request)
        .await?
        .refused_with(&[Code::INVALID_ARGUMENT])
}
