//! `ControllerPublishVolume` and `ControllerUnpublishVolume`.

use csi_harness::check;
use csi_harness::check::{Check, Checked, Cx, Need, Step, Stop, Want};
use csi_harness::client::Code;
use csi_proto::rpc;
use csi_proto::v1;
use csi_proto::v1::controller_service_capability::rpc::Type as ControllerRpc;

use crate::spec;

pub(super) static CHECKS: &[&Check] = &[&ATTACHES, &ATTACH_REPEAT, &UNKNOWN_NODE, &DETACHES];

const ATTACH: Need = Need::All(&[
    Need::ANY_VOLUME,
    Need::OwnVolumes,
    Need::Controller(ControllerRpc::PublishUnpublishVolume),
]);

check! {
    /// `ControllerPublishVolume` makes the volume available on this node.
    ATTACHES = "controller-publish.attaches",
    clauses: [spec::CONTROLLER_PUBLISH_IMPLEMENTED],
    needs: ATTACH,
    owns: [Step::Attach],
    phase: First,
    axes: [Kind],
    volumes: 1, calls: 4,
    look_at: "whether the controller takes the node id that NodeGetInfo of this node returns",
    run: attaches,
}

async fn attaches(cx: &Cx) -> Checked {
    cx.volume(Want::any()).await?.attach().await
}

check! {
    /// The same `ControllerPublishVolume` again is OK, with the same context.
    ///
    /// The attacher repeats it; a context that changes or comes back empty makes
    /// the next stage fail, or stage another device.
    ATTACH_REPEAT = "controller-publish.repeat-is-ok",
    clauses: [spec::CONTROLLER_PUBLISH_IDEMPOTENT],
    needs: ATTACH,
    volumes: 1, calls: 5,
    run: attach_repeat,
}

async fn attach_repeat(cx: &Cx) -> Checked {
    let volume = cx.volume(Want::any()).await?;
    volume.attach().await?;
    let first = volume.publish_context();
    let again = cx
        .ask_patiently::<rpc::ControllerPublishVolume>(&volume.attach_request())
        .await?
        .ok()?;
    let again = again.publish_context.into_iter().collect();
    if first == again {
        return Ok(());
    }
    Err(Stop::fail(
        "the second answer carries another publish_context than the first",
    ))
}

check! {
    /// `ControllerPublishVolume` to a node that does not exist is refused.
    UNKNOWN_NODE = "controller-publish.unknown-node-is-not-found",
    clauses: [spec::CONTROLLER_PUBLISH_NODE_NOT_FOUND],
    needs: ATTACH,
    volumes: 1, calls: 4,
    run: unknown_node,
}

async fn unknown_node(cx: &Cx) -> Checked {
    let volume = cx.volume(Want::any()).await?;
    let mut request = volume.attach_request();
    request.node_id = cx.session().unknown_node_id()?;
    let asked = cx
        .ask_patiently::<rpc::ControllerPublishVolume>(&request)
        .await?;
    if asked.is_ok() {
        let undo = v1::ControllerUnpublishVolumeRequest {
            volume_id: volume.id(),
            node_id: request.node_id,
            secrets: cx.session().secrets("ControllerUnpublishVolume"),
        };
        let _ = cx.ask::<rpc::ControllerUnpublishVolume>(&undo).await?;
    }
    // An id that is not of the driver's own form is rightly an invalid one.
    asked.refused_with(&[Code::NOT_FOUND, Code::INVALID_ARGUMENT])
}

check! {
    /// `ControllerUnpublishVolume` takes the volume from the node, also when
    /// asked twice.
    DETACHES = "controller-unpublish.detaches",
    clauses: [spec::CONTROLLER_UNPUBLISH_IMPLEMENTED, spec::CONTROLLER_UNPUBLISH_IDEMPOTENT],
    needs: ATTACH,
    owns: [Step::Detach],
    phase: First,
    axes: [Kind],
    volumes: 1, calls: 6,
    run: detaches,
}

async fn detaches(cx: &Cx) -> Checked {
    let volume = cx.volume(Want::any()).await?;
    volume.attach().await?;
    volume.detach().await?;
    volume.detach().await
}
