//! Snapshots and copies: each of its own moment, and apart in life and death.

use csi_harness::check;
use csi_harness::check::{Check, Checked, Cx, Marker, Stop, Want};
use csi_harness::client::Code;

use super::create_from::{CLONE, COPY, RESTORE, copy_of};
use super::create_snapshot::cut_in_use;
use crate::spec;

pub(super) static CHECKS: &[&Check] = &[
    &COPIES_ARE_APART,
    &COPY_IS_WHOLE,
    &OWN_MOMENT,
    &LEAVES_COPIES_AND_SOURCES,
];

check! {
    /// A copy has all that was left in its source, down to hidden files, owners and the last sector.
    ///
    /// Copies are made by programs that leave out what they were not told of. What is
    /// missing is missed when the original is gone.
    COPY_IS_WHOLE = "create-volume.copy-is-whole",
    clauses: [spec::CONTROLLER_CREATE_FROM_SNAPSHOT_DATA, spec::CONTROLLER_CREATE_FROM_VOLUME_DATA],
    needs: COPY,
    axes: [Kind],
    volumes: 2, calls: 28,
    look_at: "what copies the data: `cp -r DIR/*` leaves out hidden files, and owners, modes and attributes without `-a`; a copy of a disk has its whole length",
    run: copy_is_whole,
}

async fn copy_is_whole(cx: &Cx) -> Checked {
    let (target, traces) = cx.left_in(Want::fresh()).await?;
    target.unpublish().await?;
    target.staged().unstage().await?;
    let source = target.staged().volume();
    let copy = cx.volume(copy_of(cx, &source).await?).await?;
    copy.comes_up("a").await?.shows_traces(&traces).await
}

check! {
    /// Of two volumes that are made from one snapshot, neither has what was written to the other.
    ///
    /// A snapshot is restored again when the first try went wrong. A volume that writes
    /// into its snapshot has spoilt it by then.
    COPIES_ARE_APART = "create-volume.copies-of-one-snapshot-are-apart",
    clauses: [spec::CONTROLLER_CREATE_FROM_SNAPSHOT_DATA, spec::SNAPSHOT_CREATE_IMMUTABLE],
    needs: RESTORE,
    axes: [Kind],
    volumes: 3, calls: 52,
    look_at: "whether a restored volume is a copy of the snapshot, or a name for it",
    run: copies_are_apart,
}

async fn copies_are_apart(cx: &Cx) -> Checked {
    let (_, snapshot, common) = cut_in_use(cx).await?;
    let (ours, theirs) = (Marker::second()?, Marker::second()?);
    let first = cx.volume(snapshot.copy()).await?;
    let target = first.comes_up("a").await?;
    target.write(&ours).await?;
    target.unpublish().await?;
    target.staged().unstage().await?;
    let when = "made from a snapshot that was restored before";
    let second = cx.volume(snapshot.copy()).await;
    let second = second.map_err(|stop| stop.is_a_finding(when))?;
    let target = second.comes_up("a").await?;
    target.shows(&common).await?;
    target.lacks(&ours).await?;
    target.write(&theirs).await?;
    target.unpublish().await?;
    target.staged().unstage().await?;
    let target = first.comes_up("b").await?;
    target.shows(&ours).await?;
    target.lacks(&theirs).await
}

check! {
    /// Each snapshot of a volume holds its own moment, also when others of it are deleted.
    ///
    /// A schedule cuts one after the other and deletes the oldest. Who takes one for the
    /// other has as many copies of one moment as there are snapshots.
    OWN_MOMENT = "create-snapshot.each-holds-its-own-moment",
    clauses: [spec::SNAPSHOT_CREATE_CUT, spec::SNAPSHOT_CREATE_IMMUTABLE, spec::SNAPSHOT_DELETE_ONLY_THAT],
    needs: RESTORE,
    axes: [Kind],
    volumes: 3, calls: 50,
    look_at: "by what a snapshot is found, and what is deleted: by its own id, and not by its volume's",
    run: own_moment,
}

async fn own_moment(cx: &Cx) -> Checked {
    let (target, first) = cx.in_use(Want::fresh()).await?;
    let source = target.staged().volume();
    let early = source.snapshot().await?;
    let second = Marker::second()?;
    target.write(&second).await?;
    let late = source.snapshot().await?;
    target.unpublish().await?;
    target.staged().unstage().await?;
    if early.id() == late.id() {
        return Err(Stop::fail(format!(
            "two CreateSnapshot by two names gave one snapshot: {}",
            late.id()
        )));
    }
    let restored = cx.volume(late.copy()).await?;
    let target = restored.comes_up("a").await?;
    target.shows(&first).await?;
    target.shows(&second).await?;
    target.unpublish().await?;
    target.staged().unstage().await?;
    // To refuse it, since a volume was made from it, is fair.
    let when = match late.ask_delete().await?.is_ok() {
        true => "made from a snapshot, when a later one of the volume was deleted",
        false => "made from the first of two snapshots of the volume",
    };
    let restored = cx.volume(early.copy()).await;
    let restored = restored.map_err(|stop| stop.is_a_finding(when))?;
    let target = restored.comes_up("a").await?;
    target.shows(&first).await?;
    target.lacks(&second).await
}

check! {
    /// Deleting a copy leaves its source; deleting the source leaves its copies, or is refused.
    ///
    /// Copies often share blocks with what they are made from. Who deletes the one and
    /// frees what both use destroys the other.
    LEAVES_COPIES_AND_SOURCES = "delete-volume.leaves-copies-and-sources",
    clauses: [spec::CONTROLLER_DELETE_ONLY_THAT_VOLUME, spec::CONTROLLER_DELETE_IN_USE],
    needs: CLONE,
    volumes: 3, calls: 44,
    look_at: "what a copy and its source share on the back end, and who counts its users",
    run: leaves_copies_and_sources,
}

async fn leaves_copies_and_sources(cx: &Cx) -> Checked {
    let (target, marker) = cx.in_use(Want::fresh()).await?;
    let source = target.staged().volume();
    target.unpublish().await?;
    target.staged().unstage().await?;
    let (gone, stays) = (
        cx.volume(source.copy()).await?,
        cx.volume(source.copy()).await?,
    );
    gone.delete().await?;
    let up = source.comes_up("b").await;
    let target = up.map_err(|stop| stop.is_a_finding("after a copy of the volume was deleted"))?;
    target.shows(&marker).await?;
    target.unpublish().await?;
    target.staged().unstage().await?;
    source.detach().await?;
    let asked = source.ask_delete().await?;
    let copy = stays.comes_up("a").await?;
    copy.shows(&marker).await?;
    match asked.refusal() {
        None => Ok(()),
        Some(_) => asked.refused_best_with(&[Code::FAILED_PRECONDITION]),
    }
}
