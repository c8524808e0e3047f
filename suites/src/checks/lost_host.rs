//! What calls do to the node where the mount of a volume is gone.

use csi_harness::check;
use csi_harness::check::{Check, Checked, Cx, Need, Want};
use csi_harness::config::Allow;

use crate::spec;

pub(super) static CHECKS: &[&Check] = &[&HOST_IS_LEFT_ALONE];

check! {
    /// No call changes the node's own folder where a volume's mount was lost.
    ///
    /// A path that was a volume a moment ago is the node's own disk when the mount has
    /// gone: what is frozen, grown, emptied or given other permissions there is the
    /// node's.
    HOST_IS_LEFT_ALONE = "driver.leaves-the-node-alone-where-a-mount-is-lost",
    clauses: [spec::NODE_MOUNT_LOST_HOST_UNTOUCHED],
    needs: Need::All(&[Need::MOUNT, Need::OwnVolumes, Need::SameNamespace, Need::Consent(Allow::Hang)]),
    volumes: 1, calls: 22,
    seen_in: ["longhorn/longhorn-engine!662" => "the mount had gone before the freeze, and the node's root file system was frozen"],
    look_at: "paths that are used some time after they were seen to be mounted: look at the descriptor, not at the path",
    run: host_is_left_alone,
}

async fn host_is_left_alone(cx: &Cx) -> Checked {
    let volume = cx.volume(Want::fresh()).await?;
    let target = volume.stage().await?.publish("a").await?;
    let bare = target.loses_its_mounts().await?;
    // Each may be refused; none may do what it does to the folder in its place.
    for call in ["CreateSnapshot", "NodeExpandVolume", "NodeGetVolumeStats"] {
        if target.asked_without_mount(call).await? {
            bare.is_as_it_was(call).await?;
        }
    }
    Ok(())
}
