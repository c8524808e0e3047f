//! Expansions at other moments: of a volume that nobody uses, and at a path where
//! it is not.

use csi_harness::check;
use csi_harness::check::{Check, Checked, Cx, Marker, Need, Stop, Want};
use csi_proto::rpc;
use csi_proto::v1::controller_service_capability::rpc::Type as ControllerRpc;
use csi_proto::v1::node_service_capability::rpc::Type as NodeRpc;

use crate::spec;

pub(super) static CHECKS: &[&Check] = &[&OFFLINE, &UNPUBLISHED, &LIMIT];

check! {
    /// A volume that was expanded while nobody used it is larger when it is used again.
    ///
    /// The claim shows the new size already; the pod that comes next finds the old one.
    OFFLINE = "controller-expand.shows-when-it-is-used-again",
    clauses: [spec::CONTROLLER_EXPAND_WORKS, spec::NODE_EXPAND_WORKS],
    needs: Need::All(&[Need::OwnVolumes, Need::ANY_VOLUME, Need::Controller(ControllerRpc::ExpandVolume)]),
    axes: [Kind],
    volumes: 1, calls: 22,
    seen_in: ["kubernetes/cloud-provider-openstack#1436" => "the claim grew, the file system did not, and nobody was told"],
    look_at: "what node_expansion_required says, and whether the device takes the new size when it is attached again",
    run: offline,
}

async fn offline(cx: &Cx) -> Checked {
    let volume = cx.volume(Want::fresh()).await?;
    volume.keeps_data()?;
    let target = volume.stage().await?.publish("a").await?;
    let marker = Marker::new()?;
    target.write(&marker).await?;
    let before = target.own_size().await?;
    target.unpublish().await?;
    target.staged().unstage().await?;
    volume.detach().await?;
    let size = volume.twice();
    let on_node = volume.grow_controllers_part(size).await?;
    let target = volume.comes_up_larger("b").await?;
    if on_node {
        volume.grow_nodes_part(&target, size).await?;
    }
    let after = target.size().await?;
    if after <= before {
        return Err(Stop::fail(format!(
            "{size} bytes were asked for while the volume was used by nobody, every call answered OK, and the \
             size is still {after}"
        )));
    }
    target.shows(&marker).await
}

check! {
    /// A volume is not expanded at a path where it is not.
    ///
    /// A path where nothing is mounted belongs to the node: what is grown there is
    /// the node's own, or nothing, and OK says that the volume has grown.
    UNPUBLISHED = "node-expand.unpublished-path-is-refused",
    clauses: [spec::NODE_EXPAND_NOT_PUBLISHED],
    needs: Need::All(&[Need::OwnVolumes, Need::ANY_VOLUME, Need::Node(NodeRpc::ExpandVolume)]),
    axes: [Kind],
    volumes: 1, calls: 8,
    run: unpublished,
}

async fn unpublished(cx: &Cx) -> Checked {
    let volume = cx.volume(Want::fresh()).await?;
    let staged = volume.to_stage().await?;
    let (_, nowhere) = staged.publish_request("nowhere")?;
    let request = volume.node_expand_request(&staged, &nowhere.drivers, volume.capacity());
    let asked = cx.ask_patiently::<rpc::NodeExpandVolume>(&request).await?;
    match asked.is_ok() {
        false => Ok(()),
        true => Err(Stop::fail(format!(
            "NodeExpandVolume answered OK for {}, where there is nothing",
            nowhere.drivers
        ))),
    }
}

check! {
    /// A new volume is not larger than `limit_bytes`.
    ///
    /// The limit is a quota, or what its owner is willing to pay for.
    LIMIT = "create-volume.limit-is-kept",
    clauses: [spec::CONTROLLER_CREATE_LIMIT_KEPT],
    needs: Need::All(&[Need::OwnVolumes, Need::ANY_VOLUME]),
    volumes: 2, calls: 5,
    look_at: "whether a size that was rounded up is compared with limit_bytes again",
    run: limit,
}

async fn limit(cx: &Cx) -> Checked {
    let usual = cx.volume(Want::any()).await?.create_request()?;
    let usual = usual.capacity_range.map_or(0, |range| range.required_bytes);
    let (required, limit) = (usual + 1, usual + 2);
    let want = Want {
        limit: Some(limit),
        ..Want::fresh().bytes(required)
    };
    let asked = cx.ask_volume(want).await?;
    match asked.refusal() {
        // No size of the driver's lies between the two.
        Some(_) => Ok(()),
        None => match asked.ok()?.volume.map_or(0, |made| made.capacity_bytes) {
            got if got > limit => Err(Stop::fail(format!(
                "limit_bytes is {limit}, capacity_bytes is {got}"
            ))),
            _ => Ok(()),
        },
    }
}
