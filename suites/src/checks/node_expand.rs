//! `ControllerExpandVolume` and `NodeExpandVolume`.

use csi_harness::check;
use csi_harness::check::{Check, Checked, Cx, Marker, Need, Want};
use csi_proto::v1::controller_service_capability::rpc::Type as ControllerRpc;
use csi_proto::v1::node_service_capability::rpc::Type as NodeRpc;

use crate::spec;

pub(super) static CHECKS: &[&Check] = &[&GROWS, &STAGED];

pub(super) const EXPAND: Need = Need::Any(&[
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
    let before = target.own_size().await?;
    let asked_for = volume.grow(&target).await?;
    target.has_grown(before, asked_for).await?;
    target.shows(&marker).await
}

check! {
    /// A volume that was expanded where it is staged, and published nowhere, is larger when
    /// a pod gets it.
    ///
    /// The node is asked to expand after NodeStageVolume, before or after NodePublishVolume:
    /// what is at the staging path is the volume as well.
    STAGED = "node-expand.staged-volume-grows",
    clauses: [spec::NODE_EXPAND_AFTER_STAGE, spec::NODE_EXPAND_WORKS, spec::NODE_EXPAND_DATA_KEPT],
    needs: Need::All(&[Need::Node(NodeRpc::ExpandVolume), Need::Node(NodeRpc::StageUnstageVolume), Need::OwnVolumes]),
    axes: [FileSystem],
    volumes: 1, calls: 14,
    seen_in: ["kubernetes/cloud-provider-openstack#1434" => "only one of the two paths was looked at, and nothing grew"],
    look_at: "whether volume_path is taken for a target path",
    run: staged,
}

async fn staged(cx: &Cx) -> Checked {
    let (target, marker) = cx.in_use(Want::fresh()).await?;
    let before = target.own_size().await?;
    target.unpublish().await?;
    let asked_for = target.staged().grow().await?;
    let target = target.staged().publish("b").await?;
    target.has_grown(before, asked_for).await?;
    target.shows(&marker).await
}
