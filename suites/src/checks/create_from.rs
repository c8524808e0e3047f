//! `CreateVolume` from a snapshot or from another volume.

use csi_harness::check;
use csi_harness::check::{Check, Checked, Cx, Marker, Need, Source, Step, Stop, Volume, Want};
use csi_harness::client::Code;
use csi_harness::config::Allow;
use csi_proto::rpc;
use csi_proto::v1::controller_service_capability::rpc::Type as ControllerRpc;

use crate::spec;

pub(super) static CHECKS: &[&Check] = &[
    &RESTORES,
    &CLONES,
    &SIDE_BY_SIDE,
    &LARGER_HAS_GROWN,
    &RETRY_GROWS,
    &NAMES_ITS_SOURCE,
    &OTHER_SOURCE,
    &UNKNOWN_SOURCE,
];

pub(super) const RESTORE: Need = Need::All(&[
    Need::OwnVolumes,
    Need::ANY_VOLUME,
    Need::Controller(ControllerRpc::CreateDeleteSnapshot),
]);
pub(super) const CLONE: Need = Need::All(&[
    Need::OwnVolumes,
    Need::ANY_VOLUME,
    Need::Controller(ControllerRpc::CloneVolume),
]);
pub(super) const COPY: Need = Need::Any(&[CLONE, RESTORE]);

/// A copy of a volume as it is now: of a snapshot, where the driver has those.
pub(super) async fn copy_of<'a>(cx: &'a Cx, volume: &Volume<'a>) -> Result<Want, Stop> {
    if cx
        .facts()
        .controller_can(ControllerRpc::CreateDeleteSnapshot)
    {
        return Ok(volume.snapshot().await?.copy());
    }
    Ok(volume.copy())
}

check! {
    /// A volume that is made from a snapshot holds what the snapshot's source held then.
    ///
    /// Who restores has lost the original. A volume that comes up empty, or as the
    /// source is by now, is found out when there is nothing to go back to.
    RESTORES = "create-volume.from-snapshot-has-the-data",
    clauses: [spec::CONTROLLER_CREATE_FROM_SNAPSHOT_DATA, spec::SNAPSHOT_CREATE_CUT],
    needs: RESTORE,
    owns: [Step::Restore],
    phase: First,
    axes: [Kind],
    volumes: 2, calls: 28,
    seen_in: ["kubernetes-sigs/azurefile-csi-driver#350" => "a restored snapshot was an empty volume"],
    look_at: "whether CreateVolume looks at volume_content_source at all, and when the snapshot is cut",
    run: restores,
}

async fn restores(cx: &Cx) -> Checked {
    let source = cx.volume(Want::fresh()).await?;
    source.keeps_data()?;
    let target = source.stage().await?.publish("a").await?;
    let (before, after) = (Marker::new()?, Marker::second()?);
    target.write(&before).await?;
    let snapshot = source.snapshot().await?;
    target.write(&after).await?;
    target.unpublish().await?;
    target.staged().unstage().await?;
    let restored = cx.volume(snapshot.copy()).await?;
    let size = snapshot.told.size_bytes;
    if restored.capacity() > 0 && restored.capacity() < size {
        return Err(Stop::fail(format!(
            "the snapshot has {size} bytes, the volume made from it {}",
            restored.capacity()
        )));
    }
    let copy = restored.comes_up("a").await?;
    copy.shows(&before).await?;
    copy.lacks(&after).await
}

check! {
    /// A volume that is made from another holds what the other held.
    CLONES = "create-volume.from-volume-has-the-data",
    clauses: [spec::CONTROLLER_CREATE_FROM_VOLUME_DATA],
    needs: CLONE,
    owns: [Step::Clone],
    phase: First,
    axes: [Kind],
    volumes: 2, calls: 24,
    seen_in: ["kubernetes-sigs/azurefile-csi-driver#350" => "the content source of a new volume was ignored"],
    look_at: "whether CreateVolume looks at volume_content_source at all",
    run: clones,
}

async fn clones(cx: &Cx) -> Checked {
    let source = cx.volume(Want::fresh()).await?;
    source.keeps_data()?;
    let target = source.stage().await?.publish("a").await?;
    let marker = Marker::new()?;
    target.write(&marker).await?;
    target.unpublish().await?;
    target.staged().unstage().await?;
    let clone = cx.volume(source.copy()).await?;
    clone.comes_up("a").await?.shows(&marker).await
}

check! {
    /// A copy is used on the node beside its source, and neither sees what the other writes.
    ///
    /// A copy of a file system has the identity of the original as well: XFS is not
    /// mounted a second time under the same UUID, and btrfs takes two devices with
    /// one id for one file system.
    SIDE_BY_SIDE = "create-volume.copy-and-source-side-by-side",
    clauses: [spec::CONTROLLER_CREATE_FROM_VOLUME_DATA],
    needs: COPY,
    axes: [Kind],
    volumes: 2, calls: 28,
    seen_in: ["kubernetes-sigs/alibaba-cloud-csi-driver#566" => "an XFS clone could not be mounted beside its source: duplicate UUID"],
    look_at: "the UUID of the file system: a new one for the copy, or the mount option nouuid for XFS",
    run: side_by_side,
}

async fn side_by_side(cx: &Cx) -> Checked {
    let source = cx.volume(Want::fresh()).await?;
    source.keeps_data()?;
    let original = source.stage().await?.publish("a").await?;
    let common = Marker::new()?;
    original.write(&common).await?;
    let copy = cx.volume(copy_of(cx, &source).await?).await?;
    let copy = copy.comes_up("a").await?;
    let (theirs, ours) = (Marker::second()?, Marker::second()?);
    original.write(&theirs).await?;
    copy.write(&ours).await?;
    for (target, own, other) in [(&original, &theirs, &ours), (&copy, &ours, &theirs)] {
        target.lacks(other).await?;
        target.shows(own).await?;
        target.shows(&common).await?;
    }
    Ok(())
}

check! {
    /// A copy that is larger than its source is as large on the node as it was asked to be.
    ///
    /// Kubernetes does not call `NodeExpandVolume` for a new volume: whatever has to
    /// grow grows when it is staged or published.
    LARGER_HAS_GROWN = "create-volume.larger-copy-has-grown",
    clauses: [spec::CONTROLLER_CREATE_SOURCE_LARGER],
    needs: COPY,
    axes: [Kind],
    volumes: 2, calls: 26,
    seen_in: ["home-operations/miroir!62" => "a clone stayed at the smaller size of its snapshot"],
    look_at: "whether NodeStageVolume compares the size of the file system with that of its device",
    run: larger_has_grown,
}

async fn larger_has_grown(cx: &Cx) -> Checked {
    let source = cx.volume(Want::fresh()).await?;
    source.keeps_data()?;
    let target = source.stage().await?.publish("a").await?;
    let marker = Marker::new()?;
    target.write(&marker).await?;
    let (copy, before) = larger(cx, &source, target.size().await?).await?;
    target.unpublish().await?;
    target.staged().unstage().await?;
    let after = match copy.comes_up("a").await {
        Ok(copy) => {
            copy.shows(&marker).await?;
            copy.size().await?
        }
        Err(stop) => {
            copy.grows_without_help()?;
            return Err(stop);
        }
    };
    if after <= before + before / 2 {
        copy.grows_without_help()?;
        return Err(Stop::fail(format!(
            "the source shows {before} bytes, twice as many were asked for, and the copy shows {after}"
        )));
    }
    Ok(())
}

/// A copy that is twice as large as its source, which shows `before` bytes.
pub(super) async fn larger<'a>(
    cx: &'a Cx,
    source: &Volume<'a>,
    before: u64,
) -> Result<(Volume<'a>, u64), Stop> {
    let capacity = source.capacity();
    if capacity <= 0 || before > 3 * capacity.unsigned_abs() {
        // A folder of a larger file system: its size says nothing of the volume.
        return Err(Stop::not_offered("volumes with a size of their own"));
    }
    let want = copy_of(cx, source).await?.bytes(capacity * 2);
    // A driver may have copies of the same size alone, if it says so.
    let made = cx
        .volume(Want {
            limit: Some(0),
            ..want
        })
        .await;
    let made = made.map_err(|stop| stop.if_refused("copies that are larger than their source"))?;
    Ok((made, before))
}

check! {
    /// A stage that could not grow the file system is not done when it is repeated.
    ///
    /// The volume is mounted by then. Who takes that for the whole of a stage leaves
    /// the file system small for ever, and answers OK.
    RETRY_GROWS = "node-stage.repeat-grows-what-the-first-did-not",
    clauses: [spec::CONTROLLER_CREATE_SOURCE_LARGER],
    needs: Need::All(&[COPY, Need::MOUNT, Need::STAGE, Need::Consent(Allow::Hang)]),
    phase: Alone,
    axes: [FileSystem],
    volumes: 2, calls: 28,
    seen_in: ["home-operations/miroir!62" => "the step that grows was skipped when the stage was repeated on a path that was mounted already"],
    look_at: "what NodeStageVolume leaves out when the volume is mounted at staging_target_path already",
    run: retry_grows,
}

async fn retry_grows(cx: &Cx) -> Checked {
    let source = cx.volume(Want::fresh()).await?;
    source.keeps_data()?;
    let target = source.stage().await?.publish("a").await?;
    let (copy, before) = larger(cx, &source, target.size().await?).await?;
    target.unpublish().await?;
    target.staged().unstage().await?;
    let staged = copy.to_stage().await?;
    let (first, called) = {
        let failing = cx.growing_fails()?;
        let first = staged.send_stage(staged.stage_request()).await?;
        (first, failing.called())
    };
    if called.is_empty() {
        return Err(Stop::not_offered(
            "a stage that calls a program to grow a file system",
        ));
    }
    cx.fact("failed", called.clone());
    let first = first.code();
    let after = copy.comes_up_larger("a").await?.size().await?;
    if after <= before + before / 2 {
        return Err(Stop::fail(format!(
            "{called} failed once, and NodeStageVolume answered {first}; repeated, it answered OK, and the file \
             system still has {after} bytes, as its source has"
        )));
    }
    Ok(())
}

check! {
    /// The same `CreateVolume` from a source again gives the same volume, and names its source.
    ///
    /// The provisioner of Kubernetes takes a volume without `content_source` for one
    /// that its driver could not fill, and deletes it.
    NAMES_ITS_SOURCE = "create-volume.repeat-names-its-source",
    clauses: [spec::CONTROLLER_CREATE_CONTENT_SOURCE_REPORTED, spec::CONTROLLER_CREATE_IDEMPOTENT],
    needs: COPY,
    volumes: 2, calls: 12,
    run: names_its_source,
}

async fn names_its_source(cx: &Cx) -> Checked {
    let source = cx.volume(Want::fresh()).await?;
    let copy = cx.volume(copy_of(cx, &source).await?).await?;
    let request = copy.create_request()?;
    let again = cx.ask_patiently::<rpc::CreateVolume>(&request).await?;
    let again = again.ok()?.volume.unwrap_or_default();
    if again.volume_id != copy.id() {
        copy.delete_by(again.volume_id.clone()).await?;
        return Err(Stop::fail(format!(
            "first {:?}, then {:?} for the same name",
            copy.id(),
            again.volume_id
        )));
    }
    match again.content_source == request.volume_content_source {
        true => Ok(()),
        false => Err(Stop::Warn(format!(
            "content_source of the answer is {:?}; {:?} was asked for",
            again.content_source, request.volume_content_source
        ))),
    }
}

check! {
    /// A name that exists with another source is refused.
    ///
    /// OK would hand out a volume with other data than was asked for.
    OTHER_SOURCE = "create-volume.other-source-is-already-exists",
    clauses: [spec::CONTROLLER_CREATE_EXISTS_OTHER_SOURCE],
    needs: COPY,
    volumes: 3, calls: 14,
    run: other_source,
}

async fn other_source(cx: &Cx) -> Checked {
    let (one, other) = (
        cx.volume(Want::fresh()).await?,
        cx.volume(Want::fresh()).await?,
    );
    let copy = cx.volume(copy_of(cx, &one).await?).await?;
    let mut request = copy.create_request()?;
    request.volume_content_source = copy_of(cx, &other).await?.source.map(|of| of.told());
    let asked = cx.ask_patiently::<rpc::CreateVolume>(&request).await?;
    asked.refused_with(&[Code::ALREADY_EXISTS])
}

check! {
    /// A source that does not exist is refused.
    ///
    /// OK would be an empty volume in place of the data that somebody wants back.
    UNKNOWN_SOURCE = "create-volume.unknown-source-is-not-found",
    clauses: [spec::CONTROLLER_CREATE_SOURCE_NOT_FOUND],
    needs: COPY,
    volumes: 2, calls: 12,
    seen_in: ["kubernetes-sigs/azurefile-csi-driver#350" => "the content source of a new volume was ignored"],
    run: unknown_source,
}

async fn unknown_source(cx: &Cx) -> Checked {
    let volume = cx.volume(Want::fresh()).await?;
    let facts = cx.facts();
    let source = if facts.controller_can(ControllerRpc::CreateDeleteSnapshot) {
        let snapshot = volume.snapshot().await?;
        snapshot.delete().await?;
        Source::Snapshot(snapshot.id())
    } else {
        volume.delete().await?;
        Source::Volume(volume.id())
    };
    let want = Want {
        source: Some(source),
        ..Want::fresh()
    };
    cx.ask_volume(want).await?.refused_with(&[Code::NOT_FOUND])
}
