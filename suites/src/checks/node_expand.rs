//! `ControllerExpandVolume` and `NodeExpandVolume`.

use csi_harness::check;
use csi_harness::check::{Check, Checked, Cx, Marker, Need, Stop, Want};
use csi_proto::v1::controller_service_capability::rpc::Type as ControllerRpc;
use csi_proto::v1::node_service_capability::rpc::Type as NodeRpc;

use crate::spec;

pub(super) static CHECKS: &[&Check] = &[&GROWS];

const EXPAND: Need = Need::Any(&[
    Need::Controller(ControllerRpc::ExpandVolume),
    Need::Node(NodeRpc::ExpandVolume),
]);

check! {
    /// After an expansion answers OK, the volume is larger on the node, and holds what it held.
    ///
    /// The claim shows the new size as soon as OK is answered; the application
    /// finds out later.
    GROWS = "node-expand.grows-and-keeps-the-data",
    clauses: [spec::NODE_EXPAND_WORKS, spec::NODE_EXPAND_DATA_KEPT, spec::NODE_EXPAND_IDEMPOTENT],
    needs: Need::All(&[EXPAND, Need::ANY_VOLUME, Need::OwnVolumes]),
    axes: [Kind],
    volumes: 1, calls: 16,
    seen_in: ["kubernetes-sigs/aws-ebs-csi-driver#432" => "the node answered OK, and the file system had not grown",
              "hammer-space/csi-plugin#72" => "xfs_growfs was called with the wrong path"],
    look_at: "which tool grows the file system, and with which path: xfs_growfs takes the mount point, resize2fs the device",
    run: grows,
}

async fn grows(cx: &Cx) -> Checked {
    let volume = cx.volume(Want::fresh()).await?;
    let target = volume.stage().await?.publish("a").await?;
    let marker = Marker::new()?;
    target.write(&marker).await?;
    let before = target.size().await?;
    if before > 3 * u64::try_from(volume.capacity()).unwrap_or_default() {
        // A folder of a larger file system: its size says nothing of the volume.
        return Err(Stop::not_offered("volumes with a size of their own"));
    }
    let asked_for = volume.grow(&target).await?;
    let after = target.size().await?;
    if after <= before {
        return Err(Stop::fail(format!(
            "{asked_for} bytes were asked for, every call answered OK, and the size is still {after}"
        )));
    }
    target.shows(&marker).await
}
