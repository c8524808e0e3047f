//! What a workload leaves in its volume, all of it, is there for the next.

use csi_harness::check;
use csi_harness::check::{Check, Checked, Cx, Marker, Need, Stop, Want};
use csi_proto::v1::controller_service_capability::rpc::Type as ControllerRpc;

use super::node_expand::EXPAND;
use crate::spec;

pub(super) static CHECKS: &[&Check] = &[
    &PUBLISH_KEEPS_ALL,
    &STAGE_KEEPS_ALL,
    &WRITTEN_OUT,
    &EXPAND_KEEPS_ALL,
    &EXPAND_TELLS,
];

check! {
    /// All that one pod left in a volume is there for the next, as it was.
    ///
    /// What a driver sets right at every publish, it takes away from those who set it
    /// otherwise: a database does not start on files that everybody may read.
    PUBLISH_KEEPS_ALL = "node-publish.keeps-all-that-was-left",
    clauses: [spec::NODE_PUBLISH_PERSISTENCE, spec::NODE_PUBLISH_MODE_KEPT],
    needs: Need::ANY_VOLUME,
    axes: [Kind],
    volumes: 1, calls: 12,
    seen_in: ["kubernetes-sigs/azurefile-csi-driver#2607" => "chmod at every publish dropped the setgid bit"],
    look_at: "what is done to the files of a volume when it is published: nothing is enough",
    run: publish_keeps_all,
}

async fn publish_keeps_all(cx: &Cx) -> Checked {
    let (target, traces) = cx.left_in(Want::fresh_if_created(cx)).await?;
    target.unpublish().await?;
    let target = target.staged().publish("b").await?;
    target.shows_traces(&traces).await
}

check! {
    /// All that was left in a volume is there after unstage and stage, as it was.
    ///
    /// A marker in one place says nothing of the rest: of a device that ends early, of
    /// files that are cut, of what a copy to and fro leaves out.
    STAGE_KEEPS_ALL = "node-stage.keeps-all-that-was-left",
    clauses: [spec::NODE_STAGE_DATA_KEPT, spec::NODE_UNSTAGE_DATA_FLUSHED],
    needs: Need::All(&[Need::STAGE, Need::ANY_VOLUME]),
    axes: [Kind],
    volumes: 1, calls: 14,
    look_at: "what is done to the volume between unstage and stage: it is nobody's to change",
    run: stage_keeps_all,
}

async fn stage_keeps_all(cx: &Cx) -> Checked {
    let (target, traces) = cx.left_in(Want::fresh_if_created(cx)).await?;
    target.unpublish().await?;
    target.staged().unstage().await?;
    let volume = target.staged().volume();
    let target = volume.stage().await?.publish("b").await?;
    target.shows_traces(&traces).await
}

check! {
    /// What was written without fsync(2) is there when the volume is staged again.
    ///
    /// Few programs sync what they write: an unmount does it for them. A lazy unmount, or
    /// a device that is taken away before, loses what the kernel still held back, and the
    /// pod that comes next, perhaps on another node, finds files that end early.
    WRITTEN_OUT = "node-unstage.what-was-not-synced-is-there",
    clauses: [spec::NODE_UNSTAGE_DATA_FLUSHED, spec::NODE_PUBLISH_PERSISTENCE],
    needs: Need::ANY_VOLUME,
    axes: [Kind],
    volumes: 1, calls: 20,
    look_at: "whether the unmount has come to its end before the device is taken away; a block device is flushed (BLKFLSBUF, fsync) by its last close alone",
    run: written_out,
}

async fn written_out(cx: &Cx) -> Checked {
    let volume = cx.volume(Want::fresh_if_created(cx)).await?;
    volume.keeps_data()?;
    let staged = volume.stage().await?;
    let target = staged.publish("a").await?;
    let marker = Marker::new()?;
    target.write_unsynced(&marker).await?;
    target.unpublish().await?;
    staged.unstage().await?;
    volume.detach().await?;
    volume.comes_up("b").await?.shows(&marker).await
}

check! {
    /// An expansion keeps all that was left in the volume, and stays when it is staged again.
    ///
    /// The end of the old device is where the new part begins: what is laid out anew
    /// there, or cut off again at the next stage, is data.
    EXPAND_KEEPS_ALL = "node-expand.keeps-all-and-stays",
    clauses: [spec::NODE_EXPAND_DATA_KEPT, spec::NODE_EXPAND_WORKS],
    needs: Need::All(&[EXPAND, Need::ANY_VOLUME, Need::OwnVolumes]),
    axes: [Kind],
    volumes: 1, calls: 32,
    look_at: "where the new size is kept, and what a second expansion is compared with",
    run: expand_keeps_all,
}

async fn expand_keeps_all(cx: &Cx) -> Checked {
    let (target, traces) = cx.left_in(Want::fresh()).await?;
    let volume = target.staged().volume();
    let before = target.own_size().await?;
    let size = volume.grow(&target).await?;
    target.has_grown(before, size).await?;
    target.shows_traces(&traces).await?;
    let after = target.size().await?;
    target.unpublish().await?;
    target.staged().unstage().await?;
    volume.detach().await?;
    let up = volume.comes_up("b").await;
    let target = up.map_err(|stop| stop.is_a_finding("after an expansion"))?;
    let again = target.size().await?;
    if again < after {
        return Err(Stop::fail(format!(
            "the volume had {after} bytes when it was expanded, and has {again} since it was staged again"
        )));
    }
    target.shows_traces(&traces).await?;
    // There are back ends that grow a volume only so often: to refuse is fair.
    let twice = size.saturating_mul(2);
    let on_node = match volume.grow_controllers_part(twice).await {
        Err(Stop::Fail(_)) => return Ok(()),
        grown => grown?,
    };
    if on_node {
        volume.grow_nodes_part(&target, twice).await?;
    }
    target.has_grown(again, twice).await?;
    target.shows_traces(&traces).await
}

check! {
    /// The size that `ControllerExpandVolume` tells is not less than what was asked for.
    ///
    /// The PersistentVolume gets that size. The claim is larger then, and is expanded again
    /// and again.
    EXPAND_TELLS = "controller-expand.tells-the-new-size",
    clauses: [spec::CONTROLLER_EXPAND_WORKS],
    needs: Need::All(&[Need::OwnVolumes, Need::ANY_VOLUME, Need::Controller(ControllerRpc::ExpandVolume)]),
    volumes: 1, calls: 6,
    look_at: "whether capacity_bytes is the size before the expansion, or is left out",
    run: expand_tells,
}

async fn expand_tells(cx: &Cx) -> Checked {
    let volume = cx.volume(Want::fresh()).await?;
    let size = volume.twice();
    // Asked twice: there is nothing more to do, and it is told all the same.
    for _ in 0..2 {
        let asked = volume.ask_controller_to_grow(size).await?;
        let Ok(told) = asked.ok() else {
            return Err(Stop::not_offered("expansion of a volume that nobody uses"));
        };
        if told.capacity_bytes < size {
            return Err(Stop::fail(format!(
                "{size} bytes were asked for, ControllerExpandVolume answered OK, and tells of {}",
                told.capacity_bytes
            )));
        }
    }
    Ok(())
}
