//! What the controller tells of its volumes: `ListVolumes`, `ControllerGetVolume`.

use std::collections::BTreeSet;
use std::time::Duration;

use csi_harness::check;
use csi_harness::check::{Asked, Check, Checked, Cx, Need, Patience, Stop, Volume, Want};
use csi_harness::client::Code;
use csi_proto::rpc;
use csi_proto::v1;
use csi_proto::v1::controller_service_capability::rpc::Type as ControllerRpc;
use csi_proto::v1::list_volumes_response::Entry;

use crate::spec;

pub(super) static CHECKS: &[&Check] = &[
    &GET_TELLS,
    &GET_UNKNOWN,
    &NODES_ARE_TRUE,
    &SHOWS_WHAT_THERE_IS,
    &UNKNOWN_TOKEN,
];

const LISTS: Need = Need::All(&[
    Need::ANY_VOLUME,
    Need::OwnVolumes,
    Need::Controller(ControllerRpc::ListVolumes),
]);
const GETS: Need = Need::All(&[
    Need::ANY_VOLUME,
    Need::OwnVolumes,
    Need::Controller(ControllerRpc::GetVolume),
]);
const TELLS_NODES: Need = Need::All(&[
    Need::Controller(ControllerRpc::PublishUnpublishVolume),
    Need::Controller(ControllerRpc::ListVolumesPublishedNodes),
]);

/// How long a deleted volume may still be in the list of a storage that is slow to tell.
const SETTLES: Duration = Duration::from_secs(10);

check! {
    /// `ListVolumes` shows each volume that there is once, on whatever page, and none that
    /// was deleted.
    ///
    /// The volume health monitor and cleaners of lost volumes go by the list. What is not in
    /// it counts as lost, and what is in it for ever counts as there.
    SHOWS_WHAT_THERE_IS = "list-volumes.shows-what-there-is",
    clauses: [spec::CONTROLLER_LISTVOLUMES_ALL, spec::CONTROLLER_LISTVOLUMES_PAGES],
    needs: LISTS,
    phase: Alone,
    volumes: 2, calls: 40,
    look_at: "what next_token is when a page is full, and when the volumes are forgotten",
    run: shows_what_there_is,
}

async fn shows_what_there_is(cx: &Cx) -> Checked {
    let (first, second) = (
        cx.volume(Want::fresh()).await?,
        cx.volume(Want::fresh()).await?,
    );
    let whole = cx.list_all().await?;
    let half = whole.len().div_ceil(2).max(1);
    let entries = cx.list_in_pages(half).await?;
    none_comes_twice(&entries)?;
    if entries.len() == half && whole.len() > half {
        return Err(Stop::fail(format!(
            "there are {} volumes, and a page of {half} has no next_token",
            whole.len()
        )));
    }
    is_listed(&entries, &first)?;
    is_listed(&entries, &second)?;
    let gone = second.id();
    second.delete().await?;
    let mut patience = Patience::new(SETTLES);
    while of(&cx.list_all().await?, &gone).next().is_some() {
        if !patience.wait().await {
            return Err(Stop::fail(format!(
                "{gone} is deleted, and ListVolumes still shows it {SETTLES:?} later"
            )));
        }
    }
    Ok(())
}

/// The entries of this id.
fn of<'a>(entries: &'a [Entry], id: &'a str) -> impl Iterator<Item = &'a Entry> {
    let is_it = move |volume: &v1::Volume| volume.volume_id == id;
    entries
        .iter()
        .filter(move |entry| entry.volume.as_ref().is_some_and(is_it))
}

fn none_comes_twice(entries: &[Entry]) -> Checked {
    let mut seen = BTreeSet::new();
    let volumes = entries.iter().filter_map(|entry| entry.volume.as_ref());
    let twice = volumes
        .map(|volume| volume.volume_id.as_str())
        .find(|id| !seen.insert(*id));
    match twice {
        None => Ok(()),
        Some(id) => Err(Stop::fail(format!(
            "the pages of ListVolumes show {id} more than once"
        ))),
    }
}

fn is_listed(entries: &[Entry], volume: &Volume<'_>) -> Checked {
    let id = volume.id();
    match of(entries, &id).next() {
        Some(entry) => has_its_size(entry.volume.as_ref(), volume, "ListVolumes"),
        None => Err(Stop::fail(format!(
            "{id} exists, and is not among the {} entries of ListVolumes",
            entries.len()
        ))),
    }
}

/// A size of 0 is one that is not told. Whether the size that was given or that is taken
/// is meant, nobody says.
fn has_its_size(told: Option<&v1::Volume>, volume: &Volume<'_>, rpc: &str) -> Checked {
    let told = told.map_or(0, |told| told.capacity_bytes);
    let made = volume.capacity();
    match told > 0 && made > 0 && told != made {
        true => Err(Stop::Warn(format!(
            "CreateVolume told {made} bytes, and {rpc} tells {told}"
        ))),
        false => Ok(()),
    }
}

check! {
    /// `ListVolumes` names the node of a volume that is attached.
    ///
    /// The attacher compares what it knows with the list. Where a node is missing, it takes
    /// the volume for detached, and attaches it again beneath the pod that uses it.
    NODES_ARE_TRUE = "list-volumes.published-nodes-are-true",
    clauses: [spec::CONTROLLER_LISTVOLUMES_NODES],
    needs: Need::All(&[LISTS, TELLS_NODES]),
    volumes: 1, calls: 20,
    run: nodes_are_true,
}

async fn nodes_are_true(cx: &Cx) -> Checked {
    let volume = cx.volume(Want::any()).await?;
    volume.attach().await?;
    let node = volume.attach_request().node_id;
    let (id, mut patience) = (volume.id(), Patience::new(SETTLES));
    loop {
        let entries = cx.list_all().await?;
        // Others come and go while the pages are read, and what has moved is not at fault.
        let status = of(&entries, &id).find_map(|entry| entry.status.as_ref());
        if status.is_some_and(|status| status.published_node_ids.contains(&node)) {
            return Ok(());
        }
        if !patience.wait().await {
            return Err(Stop::fail(format!(
                "the volume is attached to {node}, and ListVolumes names {:?} {SETTLES:?} later",
                status.map_or(&[][..], |status| &status.published_node_ids)
            )));
        }
    }
}

check! {
    /// A token that `ListVolumes` never gave out is refused with ABORTED.
    ///
    /// The caller begins anew then. OK gives it a list that begins somewhere.
    UNKNOWN_TOKEN = "list-volumes.unknown-token-is-aborted",
    clauses: [spec::CONTROLLER_LISTVOLUMES_TOKEN],
    needs: LISTS,
    volumes: 1, calls: 4,
    run: unknown_token,
}

async fn unknown_token(cx: &Cx) -> Checked {
    let request = v1::ListVolumesRequest {
        max_entries: 1,
        starting_token: "csi-conformance: no such token".to_owned(),
    };
    // Once: the code that is due is the one of a driver that is busy.
    let asked = cx.ask::<rpc::ListVolumes>(&request).await?;
    asked.refused_best_with(&[Code::ABORTED])
}

check! {
    /// `ControllerGetVolume` tells of a volume as it is.
    GET_TELLS = "controller-get-volume.tells-what-there-is",
    clauses: [spec::CONTROLLER_GETVOLUME_VOLUME],
    needs: GETS,
    volumes: 1, calls: 8,
    run: get_tells,
}

async fn get_tells(cx: &Cx) -> Checked {
    let volume = cx.volume(Want::any()).await?;
    volume.attach().await?;
    let answer = get(cx, volume.id()).await?.ok()?;
    let told = answer.volume.as_ref();
    if told.map(|told| told.volume_id.as_str()) != Some(&volume.id()) {
        return Err(Stop::fail(format!(
            "asked for {}, ControllerGetVolume tells of {:?}",
            volume.id(),
            told.map_or("nothing", |told| &told.volume_id)
        )));
    }
    has_its_size(told, &volume, "ControllerGetVolume")?;
    match answer.status {
        Some(_) => Ok(()),
        None => Err(Stop::fail(
            "ControllerGetVolume answered OK without a status",
        )),
    }
}

async fn get(cx: &Cx, volume_id: String) -> Result<Asked<v1::ControllerGetVolumeResponse>, Stop> {
    let request = v1::ControllerGetVolumeRequest { volume_id };
    cx.ask_patiently::<rpc::ControllerGetVolume>(&request).await
}

check! {
    /// `ControllerGetVolume` of a volume that was deleted is refused with NOT_FOUND.
    ///
    /// The volume health monitor learns in this way that a volume is lost.
    GET_UNKNOWN = "controller-get-volume.deleted-is-not-found",
    clauses: [spec::CONTROLLER_GETVOLUME_NOT_FOUND],
    needs: GETS,
    volumes: 1, calls: 12,
    run: get_unknown,
}

async fn get_unknown(cx: &Cx) -> Checked {
    let volume = cx.volume(Want::fresh()).await?;
    let id = volume.id();
    get(cx, id.clone()).await?.ok()?;
    volume.delete().await?;
    let mut patience = Patience::new(SETTLES);
    loop {
        let asked = get(cx, id.clone()).await?;
        if asked.is_ok() && patience.wait().await {
            continue;
        }
        let code = asked.refusal().map(|refusal| refusal.code);
        return match asked.ok() {
            // It tells of the loss, only in another way.
            Ok(answer) if is_abnormal(&answer) => Err(Stop::Warn(
                "OK with an abnormal volume_condition; NOT_FOUND was due".to_owned(),
            )),
            Ok(_) => Err(Stop::fail(
                "the volume is deleted, and told of as if it were there",
            )),
            Err(_) if code == Some(Code::NOT_FOUND) => Ok(()),
            Err(stop) => Err(stop),
        };
    }
}

fn is_abnormal(answer: &v1::ControllerGetVolumeResponse) -> bool {
    let status = answer.status.as_ref();
    let condition = status.and_then(|status| status.volume_condition.as_ref());
    condition.is_some_and(|condition| condition.abnormal)
}
