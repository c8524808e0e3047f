//! `ControllerPublishVolume` and `ControllerUnpublishVolume`.

use csi_harness::check;
use csi_harness::check::{Check, Checked, Cx, Marker, Need, Step, Stop, Want};
use csi_harness::client::Code;
use csi_proto::rpc;
use csi_proto::v1;
use csi_proto::v1::controller_service_capability::rpc::Type as ControllerRpc;

use crate::spec;

pub(super) static CHECKS: &[&Check] = &[
    &ATTACHES,
    &ATTACH_REPEAT,
    &READ_ONLY,
    &UNKNOWN_NODE,
    &DETACHES,
    &LEAVES_THIS_NODE,
];

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
    /// A volume that is attached with `readonly` takes no write on the node.
    ///
    /// The attacher sets it where the PersistentVolume is read-only, and nobody says it
    /// again to the node.
    READ_ONLY = "controller-publish.read-only-takes-no-write",
    clauses: [spec::CONTROLLER_PUBLISH_READONLY],
    needs: Need::All(&[ATTACH, Need::Controller(ControllerRpc::PublishReadonly)]),
    axes: [Kind],
    volumes: 1, calls: 24,
    look_at: "how the node learns of it: NodeStageVolume has no readonly, the publish_context can carry it",
    run: read_only,
}

async fn read_only(cx: &Cx) -> Checked {
    let (volume, marker) = cx.marked_volume().await?;
    volume.attach_read_only().await?;
    let used = async { volume.stage().await?.publish("a").await };
    let target = used.await.map_err(|stop| {
        stop.if_refused("volumes to read alone, with an access mode for writing")
    })?;
    target.shows(&marker).await?;
    match target.try_write(&Marker::new()?).await? {
        Err(_) => Ok(()),
        Ok(()) => Err(Stop::fail(
            "the volume was attached with readonly=true, and a write through the target works",
        )),
    }
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

check! {
    /// `ControllerUnpublishVolume` from another node leaves the volume to this one.
    ///
    /// A volume moves: it is attached to the new node, and then the last word comes from
    /// the node that it left. Who looks at the volume alone takes it from both.
    LEAVES_THIS_NODE = "controller-unpublish.leaves-other-nodes",
    clauses: [spec::CONTROLLER_UNPUBLISH_NODE_SET],
    needs: ATTACH,
    axes: [Kind],
    volumes: 1, calls: 20,
    look_at: "whether node_id is compared with the node that the volume is attached to",
    run: leaves_this_node,
}

async fn leaves_this_node(cx: &Cx) -> Checked {
    let volume = cx.volume(Want::any()).await?;
    let target = volume.stage().await?.publish("a").await?;
    target.unpublish().await?;
    target.staged().unstage().await?;
    let request = v1::ControllerUnpublishVolumeRequest {
        volume_id: volume.id(),
        node_id: cx.session().unknown_node_id()?,
        secrets: cx.session().secrets("ControllerUnpublishVolume"),
    };
    // OK, since it is not there; or refused, since nobody knows the node.
    let _ = cx
        .ask_patiently::<rpc::ControllerUnpublishVolume>(&request)
        .await?;
    let up = async { volume.stage().await?.publish("b").await };
    let when = "after the volume was detached from another node";
    up.await.map_err(|stop| stop.is_a_finding(when)).map(drop)
}
