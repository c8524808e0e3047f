//! `DeleteVolume`: that volume, and nothing else.

use csi_harness::check;
use csi_harness::check::{Check, Checked, Cx, Marker, Need, Stop, Want};
use csi_harness::config::Allow;

use crate::spec;

pub(super) static CHECKS: &[&Check] = &[
    &DATA_IS_GONE,
    &NAME_IS_FREE,
    &LEAVES_THE_OTHERS,
    &STAYS_IN_ITS_PLACE,
];

const MADE_AND_USED: Need = Need::All(&[Need::ANY_VOLUME, Need::OwnVolumes]);

check! {
    /// A volume that was deleted cannot be used any more.
    ///
    /// Who deletes a volume wants its data gone, and its space free. A driver that
    /// answers OK and deletes nothing keeps both, and nobody is left who knows of it.
    DATA_IS_GONE = "delete-volume.data-is-gone",
    clauses: [spec::CONTROLLER_DELETE_REALLY_GONE],
    needs: MADE_AND_USED,
    axes: [Kind],
    volumes: 1, calls: 30,
    look_at: "what DeleteVolume does before it answers: an id that it does not find, and an error of the back end, may both have become OK",
    run: data_is_gone,
}

async fn data_is_gone(cx: &Cx) -> Checked {
    let (volume, marker) = cx.marked(Want::fresh()).await?;
    volume.is_deleted_for_good().await?.is_gone(&marker).await
}

check! {
    /// The name of a volume that was deleted makes a new volume.
    ///
    /// What a driver remembers by name, so that a repeat finds it again, has to go with
    /// the volume: else the next one of this name is told to be there, and is not.
    NAME_IS_FREE = "delete-volume.name-is-free-again",
    clauses: [spec::CONTROLLER_DELETE_REALLY_GONE],
    needs: MADE_AND_USED,
    volumes: 2, calls: 30,
    look_at: "what answers a repeated CreateVolume: what there is on the back end, or a memory that DeleteVolume does not clear",
    run: name_is_free,
}

async fn name_is_free(cx: &Cx) -> Checked {
    let (volume, marker) = cx.marked(Want::fresh()).await?;
    let deleted = volume.is_deleted_for_good().await?;
    let when = "made again by the name of one that was deleted";
    deleted.makes_way(&marker, when).await
}

check! {
    /// Deleting a volume leaves the others as they are.
    ///
    /// Volumes often lie side by side in one folder or pool. Who tidies up too much
    /// deletes what belongs to others.
    LEAVES_THE_OTHERS = "delete-volume.leaves-the-others",
    clauses: [spec::CONTROLLER_DELETE_ONLY_THAT_VOLUME],
    needs: Need::All(&[Need::ANY_VOLUME, Need::OwnVolumes]),
    axes: [Kind],
    volumes: 2, calls: 16,
    seen_in: ["kubernetes-csi/csi-driver-nfs!878" => "the folders above the volume were removed with it"],
    look_at: "what DeleteVolume removes beside the volume's own folder: the folder above may hold other volumes",
    run: leaves_the_others,
}

async fn leaves_the_others(cx: &Cx) -> Checked {
    let (one, other) = (
        cx.volume(Want::fresh()).await?,
        cx.volume(Want::fresh()).await?,
    );
    other.keeps_data()?;
    let staged = other.stage().await?;
    let marker = Marker::new()?;
    let before = staged.publish("a").await?;
    before.write(&marker).await?;
    one.delete().await?;
    before.shows(&marker).await?;
    before.unpublish().await?;
    staged.publish("b").await?.shows(&marker).await
}

check! {
    /// An id that leads out of the volume's place deletes nothing there.
    ///
    /// Ids come from whoever may make a PersistentVolume. `..` in one of them must
    /// not reach what belongs to others on the same server.
    STAYS_IN_ITS_PLACE = "delete-volume.stays-in-its-place",
    clauses: [spec::CONTROLLER_DELETE_ONLY_THAT_VOLUME],
    needs: Need::All(&[Need::MOUNT, Need::OwnVolumes, Need::NfsLab, Need::Consent(Allow::PathEscape)]),
    volumes: 1, calls: 8,
    seen_in: ["CVE-2026-3864" => "`../` in the volume id could delete other folders of the server",
              "CVE-2026-3865" => "the same for SMB"],
    look_at: "whether every part of an id is checked before it becomes a path, and the path before it is removed",
    run: stays_in_its_place,
}

async fn stays_in_its_place(cx: &Cx) -> Checked {
    let server = cx.server().await?;
    let volume = cx.volume(Want::fresh().on(&server)).await?;
    let Some(name) = volume.name().filter(|name| volume.id().contains(name)) else {
        return Err(Stop::not_offered("ids with the name of the volume in them"));
    };
    let canary = server.leave_canary(&name)?;
    for way in [
        format!("{name}/../{}", canary.name()),
        format!("../{}/{}", canary.parent(), canary.name()),
        format!("{name}/.."),
        "..".to_owned(),
        "/".to_owned(),
    ] {
        let id = volume.id().replace(&name, &way);
        volume.delete_by(id.clone()).await?;
        if !canary.is_there() {
            return Err(Stop::fail(format!(
                "DeleteVolume with the id {id:?} deleted what lay beside the volume"
            )));
        }
    }
    Ok(())
}
