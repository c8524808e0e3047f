//! `NodeUnstageVolume`.

use csi_harness::check;
use csi_harness::check::{Access, Check, Checked, Cx, Need, Step, Stop, Want};
use csi_harness::client::Code;
use csi_proto::rpc;

use crate::spec;

pub(super) static CHECKS: &[&Check] = &[
    &BUSY,
    &DEVICE_IS_RELEASED,
    &MOUNT_IS_GONE,
    &NEVER_STAGED,
    &PATH_REQUIRED,
    &REPEAT,
    &VOLUME_ID_REQUIRED,
];

const STAGE: Need = Need::All(&[Need::STAGE, Need::ANY_VOLUME]);

check! {
    /// After `NodeUnstageVolume` answers OK, no mount is left at the staging path.
    ///
    /// The volume is detached next: a mount that is left writes to a disk that is
    /// on another node by then.
    MOUNT_IS_GONE = "node-unstage.mount-is-gone",
    clauses: [spec::NODE_UNSTAGE_UNDOES],
    needs: STAGE,
    owns: [Step::Unstage(Access::Mount), Step::Unstage(Access::Block)],
    phase: First,
    axes: [Kind],
    volumes: 1, calls: 10,
    seen_in: ["sergelogvinov/proxmox-csi-plugin#601" => "an unstage that could not find its device answered OK, and left the mount",
              "truenas/truenas-csi#55" => "after a restart the unstage did nothing, and answered OK"],
    look_at: "the error of the unmount, and mountinfo after it, whatever the driver's own records say",
    run: mount_is_gone,
}

async fn mount_is_gone(cx: &Cx) -> Checked {
    cx.volume(Want::any()).await?.stage().await?.unstage().await
}

check! {
    /// After `NodeUnstageVolume` answers OK, the device that stage made is released.
    ///
    /// A loop device that stays keeps its file, and one more is left at each cycle
    /// until the node has none to give.
    DEVICE_IS_RELEASED = "node-unstage.device-is-released",
    clauses: [spec::NODE_UNSTAGE_UNDOES],
    needs: STAGE,
    owns: [Step::DeviceGone],
    phase: First,
    axes: [Kind],
    volumes: 1, calls: 12,
    seen_in: ["sodafoundation/nbp#332" => "the unstage unmounted, and left the device attached",
              "fenio/tns-csi#209" => "every unstage left its session, and answered OK"],
    look_at: "the release of the device after the unmount; LOOP_CLR_FD answers 0 for a device that is still in use",
    run: device_is_released,
}

async fn device_is_released(cx: &Cx) -> Checked {
    let staged = cx.volume(Want::fresh()).await?.stage().await?;
    // Publishing shows which device is the volume's, for block volumes too.
    staged.publish("a").await?.unpublish().await?;
    staged.unstage().await?;
    match staged.volume().devices_left().await.first() {
        Some(device) => Err(Stop::fail(format!(
            "NodeUnstageVolume answered OK, and {device} is still there"
        ))),
        None => Ok(()),
    }
}

check! {
    /// The same `NodeUnstageVolume` again is OK.
    REPEAT = "node-unstage.repeat-is-ok",
    clauses: [spec::NODE_UNSTAGE_IDEMPOTENT],
    needs: STAGE,
    axes: [Kind],
    volumes: 1, calls: 10,
    seen_in: ["libopenstorage/openstorage#1221" => "what was unmounted already was an error"],
    look_at: "the case that there is no mount, and no record of the volume any more",
    run: repeat,
}

async fn repeat(cx: &Cx) -> Checked {
    let staged = cx.volume(Want::any()).await?.stage().await?;
    staged.unstage().await?;
    let again = staged.ask_unstage().await?;
    match again.refusal() {
        // The text allows it of a volume that went away with it.
        Some(refusal) if refusal.code == Code::NOT_FOUND && !cx.facts().creates() => {
            Err(Stop::Warn("the second NodeUnstageVolume answered NOT_FOUND: the text allows it, and the kubelet repeats it for ever".into()))
        }
        _ => again.ok().map(drop),
    }
}

check! {
    /// `NodeUnstageVolume` of what was never staged is OK.
    ///
    /// The kubelet asks after a stage that failed, and after a reboot.
    NEVER_STAGED = "node-unstage.never-staged-is-ok",
    clauses: [spec::NODE_UNSTAGE_IDEMPOTENT],
    needs: STAGE,
    volumes: 1, calls: 8,
    run: never_staged,
}

async fn never_staged(cx: &Cx) -> Checked {
    let staged = cx.volume(Want::any()).await?.to_stage().await?;
    let asked = staged.ask_unstage().await?;
    match asked.refusal() {
        Some(refusal) if refusal.code == Code::NOT_FOUND => Ok(()),
        _ => asked.ok().map(drop),
    }
}

check! {
    /// While the staging mount is busy, OK is only answered if it is gone.
    ///
    /// The volume is detached as soon as OK is answered, busy or not.
    BUSY = "node-unstage.busy-is-not-ok",
    clauses: [spec::NODE_UNSTAGE_UNDOES],
    needs: Need::All(&[Need::STAGE, Need::MOUNT]),
    axes: [FileSystem],
    volumes: 1, calls: 14,
    seen_in: ["sergelogvinov/proxmox-csi-plugin#601" => "the error was ignored, and success answered"],
    look_at: "EBUSY of the unmount: it is an error to answer with, so that the caller comes back",
    run: busy,
}

async fn busy(cx: &Cx) -> Checked {
    let staged = cx.volume(Want::any()).await?.stage().await?;
    let target = staged.publish("a").await?;
    target.unpublish().await?;
    let Some(holder) = staged.hold_folder().await? else {
        return Err(Stop::not_offered("a mount at the staging path"));
    };
    let asked = staged.ask_unstage().await?;
    let left = staged.mount_left("after unstage, in use").await?;
    drop(holder);
    if let (true, Some(left)) = (asked.is_ok(), left) {
        return Err(Stop::fail(format!(
            "the staging mount was in use, NodeUnstageVolume answered OK, and {left}"
        )));
    }
    // The process ended: now it has to work.
    staged.unstage().await
}

check! {
    /// `NodeUnstageVolume` without a volume id is refused.
    VOLUME_ID_REQUIRED = "node-unstage.volume-id-is-required",
    clauses: [spec::NODE_UNSTAGE_VOLUME_ID_REQUIRED],
    needs: STAGE,
    volumes: 1, calls: 8,
    run: volume_id_required,
}

async fn volume_id_required(cx: &Cx) -> Checked {
    let staged = cx.volume(Want::any()).await?.to_stage().await?;
    let mut request = staged.unstage_request();
    request.volume_id.clear();
    cx.ask::<rpc::NodeUnstageVolume>(&request)
        .await?
        .refused_with(&[Code::INVALID_ARGUMENT])
}

check! {
    /// `NodeUnstageVolume` without a staging path is refused.
    PATH_REQUIRED = "node-unstage.path-is-required",
    clauses: [spec::NODE_UNSTAGE_PATH_REQUIRED],
    needs: STAGE,
    volumes: 1, calls: 8,
    run: path_required,
}

async fn path_required(cx: &Cx) -> Checked {
    let staged = cx.volume(Want::any()).await?.to_stage().await?;
    let mut request = staged.unstage_request();
    request.staging_target_path.clear();
    cx.ask::<rpc::NodeUnstageVolume>(&request)
        .await?
        .refused_with(&[Code::INVALID_ARGUMENT])
}
