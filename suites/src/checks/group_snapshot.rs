//! `CreateVolumeGroupSnapshot`, `GetVolumeGroupSnapshot`, `DeleteVolumeGroupSnapshot`.

use csi_harness::check;
use csi_harness::check::{Check, Checked, Cx, Marker, Need, Published, Step, Stop, Volume, Want};
use csi_harness::client::Code;
use csi_proto::rpc;
use csi_proto::v1;
use csi_proto::v1::controller_service_capability::rpc::Type as ControllerRpc;
use csi_proto::v1::group_controller_service_capability::rpc::Type as GroupRpc;
use csi_proto::v1::plugin_capability::service::Type as Service;

use super::create_snapshot::is_cut_on_the_node;
use crate::spec;

pub(super) static CHECKS: &[&Check] = &[
    &IS_SERVED,
    &CREATES,
    &REPEAT,
    &OTHER_VOLUMES,
    &NAME_REQUIRED,
    &SOURCES_REQUIRED,
    &MEMBERS_HOLD_THEIR_DATA,
    &HOLDS_WHAT_WAS_WRITTEN,
    &ONE_MOMENT,
    &TELLS_WHAT_THERE_IS,
    &DELETES,
    &DELETE_REPEAT,
    &DELETE_ID_REQUIRED,
];

const OFFERED: Need = Need::Groups(GroupRpc::CreateDeleteGetVolumeGroupSnapshot);
pub(super) const GROUPS: Need = Need::All(&[OFFERED, Need::OwnVolumes, Need::ANY_VOLUME]);
pub(super) const MOUNTED_GROUPS: Need = Need::All(&[OFFERED, Need::OwnVolumes, Need::MOUNT]);

/// Two volumes that nobody used.
async fn two(cx: &Cx) -> Result<[Volume<'_>; 2], Stop> {
    let one = cx.volume(Want::fresh()).await?;
    Ok([one, cx.volume(Want::fresh()).await?])
}

check! {
    /// A plugin that says it has a group controller service serves it.
    IS_SERVED = "get-plugin-capabilities.group-controller-is-served",
    clauses: [spec::IDENTITY_CAPS_GROUP_SERVICE_TRUE],
    needs: Need::Service(Service::GroupControllerService),
    volumes: 0, calls: 1,
    look_at: "whether the group controller service is registered on the controller's socket",
    run: is_served,
}

async fn is_served(cx: &Cx) -> Checked {
    if !cx.facts().has_controller {
        return Err(Stop::not_given("controller_endpoint"));
    }
    let request = v1::GroupControllerGetCapabilitiesRequest {};
    let asked = cx.ask::<rpc::GroupControllerGetCapabilities>(&request);
    asked.await?.ok().map(drop)
}

check! {
    /// `CreateVolumeGroupSnapshot` gives an id, the moment, and one snapshot for each volume.
    CREATES = "group-snapshot.creates",
    clauses: [spec::GROUP_CREATE_IMPLEMENTED, spec::GROUP_FIELDS_SNAPSHOTS, spec::GROUP_FIELDS_MEMBER_GROUP_ID, spec::GROUP_FIELDS_CREATION_TIME],
    needs: GROUPS,
    owns: [Step::Group],
    phase: First,
    axes: [Kind],
    volumes: 2, calls: 10,
    look_at: "what CreateVolumeGroupSnapshot refuses: secrets may be missing in the configuration",
    run: creates,
}

async fn creates(cx: &Cx) -> Checked {
    let volumes = two(cx).await?;
    let group = cx.group(&volumes).await?;
    if group.told.creation_time.is_none() {
        return Err(Stop::fail("creation_time of the group is not set"));
    }
    for volume in &volumes {
        let member = group.member(volume)?;
        if member.snapshot_id.is_empty() || member.creation_time.is_none() {
            return Err(Stop::fail(format!(
                "the member of {} lacks snapshot_id or creation_time",
                volume.id()
            )));
        }
        if member.group_snapshot_id != group.id() {
            return Err(Stop::fail(format!(
                "group_snapshot_id of a member is {:?}, its group is {:?}",
                member.group_snapshot_id,
                group.id()
            )));
        }
    }
    match group.told.snapshots.len() {
        2 => Ok(()),
        n => Err(Stop::fail(format!("{n} snapshots are told of 2 volumes"))),
    }
}

check! {
    /// The same `CreateVolumeGroupSnapshot` again gives the same group.
    REPEAT = "group-snapshot.repeat-is-the-same-group",
    clauses: [spec::GROUP_CREATE_IDEMPOTENT, spec::GROUP_FIELDS_CREATION_TIME],
    needs: GROUPS,
    volumes: 2, calls: 12,
    run: repeat,
}

async fn repeat(cx: &Cx) -> Checked {
    let first = cx.group(&two(cx).await?).await?;
    let again = cx.ask_group(first.request()).await?.ok()?.group_snapshot;
    let again = again.unwrap_or_default();
    if again.group_snapshot_id != first.id() {
        first.delete().await?;
        return Err(Stop::fail(format!(
            "first {:?}, then {:?} for the same name",
            first.id(),
            again.group_snapshot_id
        )));
    }
    match again.creation_time == first.told.creation_time {
        true => Ok(()),
        false => Err(Stop::fail(
            "creation_time is another one when the call is repeated",
        )),
    }
}

check! {
    /// A group snapshot's name that exists for other volumes is refused.
    ///
    /// OK would be somebody else's data, or a group that lacks a volume.
    OTHER_VOLUMES = "group-snapshot.other-volumes-is-already-exists",
    clauses: [spec::GROUP_CREATE_EXISTS_INCOMPATIBLE],
    needs: GROUPS,
    volumes: 2, calls: 12,
    run: other_volumes,
}

async fn other_volumes(cx: &Cx) -> Checked {
    let volumes = two(cx).await?;
    let mut request = cx.group(&volumes).await?.request().clone();
    request.source_volume_ids.pop();
    let asked = cx.ask_group(&request).await?;
    asked.refused_with(&[Code::ALREADY_EXISTS])
}

check! {
    /// `CreateVolumeGroupSnapshot` without a name is refused.
    NAME_REQUIRED = "group-snapshot.name-is-required",
    clauses: [spec::GROUP_CREATE_NAME_REQUIRED],
    needs: GROUPS,
    volumes: 1, calls: 5,
    run: name_required,
}

async fn name_required(cx: &Cx) -> Checked {
    let volume = cx.volume(Want::any()).await?;
    let mut request = cx.group_request(&[volume])?;
    request.name.clear();
    let asked = cx.ask_group(&request).await?;
    asked.refused_with(&[Code::INVALID_ARGUMENT])
}

check! {
    /// `CreateVolumeGroupSnapshot` without volumes is refused.
    SOURCES_REQUIRED = "group-snapshot.sources-are-required",
    clauses: [spec::GROUP_CREATE_SOURCES_REQUIRED],
    needs: GROUPS,
    volumes: 0, calls: 2,
    run: sources_required,
}

async fn sources_required(cx: &Cx) -> Checked {
    let asked = cx.ask_group(&cx.group_request(&[])?).await?;
    asked.refused_with(&[Code::INVALID_ARGUMENT])
}

check! {
    /// A volume that is made from a member of a group holds what that member's volume held.
    ///
    /// Who restores a database gets its log and its tables from one group; exchanged,
    /// both are there and neither works.
    MEMBERS_HOLD_THEIR_DATA = "group-snapshot.members-hold-their-volumes-data",
    clauses: [spec::GROUP_MEMBER_DATA],
    needs: GROUPS,
    axes: [Kind],
    volumes: 4, calls: 44,
    run: members_hold_their_data,
}

async fn members_hold_their_data(cx: &Cx) -> Checked {
    let marked = [
        cx.marked(Want::fresh()).await?,
        cx.marked(Want::fresh()).await?,
    ];
    let group = cx.group(&[marked[0].0, marked[1].0]).await?;
    for (volume, marker) in &marked {
        let restored = cx.volume(group.copy_of(volume)?).await?;
        restored.comes_up("a").await?.shows(marker).await?;
    }
    Ok(())
}

check! {
    /// A group snapshot of volumes in use holds what their workloads had written.
    ///
    /// What was written and not yet synced is in the memory of the node alone, of each of
    /// them.
    HOLDS_WHAT_WAS_WRITTEN = "group-snapshot.holds-what-was-written",
    clauses: [spec::SNAPSHOT_CREATE_WRITTEN_OUT],
    needs: MOUNTED_GROUPS,
    axes: [FileSystem],
    volumes: 4, calls: 44,
    look_at: "whether each file system is frozen (fsfreeze(8)), or at least synced, before its disk is copied",
    run: holds_what_was_written,
}

async fn holds_what_was_written(cx: &Cx) -> Checked {
    let volumes = two(cx).await?;
    let mut used = Vec::new();
    for volume in volumes {
        volume.keeps_data()?;
        let target = volume.stage().await?.publish("a").await?;
        is_cut_on_the_node(cx, &volume)?;
        let marker = Marker::new()?;
        target.write_unsynced(&marker).await?;
        used.push((target, marker));
    }
    let group = cx.group(&volumes).await?;
    for (target, _) in &used {
        target.unpublish().await?;
        target.staged().unstage().await?;
    }
    for (target, marker) in &used {
        let copy = group.copy_of(&target.staged().volume())?;
        let restored = cx.volume(copy).await?;
        restored.comes_up("b").await?.shows(marker).await?;
    }
    Ok(())
}

check! {
    /// The volumes of a group snapshot are as they were at one moment.
    ///
    /// A writer writes to the one volume and, when that is on its disk, to the other,
    /// while the group is cut. What came later may not be there without what came
    /// before.
    ONE_MOMENT = "group-snapshot.is-of-one-moment",
    clauses: [spec::GROUP_CREATE_WRITE_ORDER],
    needs: MOUNTED_GROUPS,
    volumes: 4, calls: 44,
    look_at: "whether all volumes are held still (fsfreeze(8), or by the storage) before the first is cut",
    run: one_moment,
}

async fn one_moment(cx: &Cx) -> Checked {
    let [one, other] = two(cx).await?;
    one.keeps_data()?;
    let targets = [
        one.stage().await?.publish("a").await?,
        other.stage().await?.publish("b").await?,
    ];
    let (group, turns) = cx.group_beside_writes(&targets[0], &targets[1]).await?;
    for target in &targets {
        target.unpublish().await?;
        target.staged().unstage().await?;
    }
    let one = cx.volume(group.copy_of(&one)?).await?;
    let other = cx.volume(group.copy_of(&other)?).await?;
    let (one, other) = (one.comes_up("c").await?, other.comes_up("d").await?);
    let told = |later: usize, before: usize, volume: &str| {
        let [later, before] = [later, before].map(|turn| &turns[turn]);
        Stop::fail(format!(
            "CreateVolumeGroupSnapshot answered OK, and in the group one volume holds {later}, while {volume} lacks {before}, which was on its disk before that was written"
        ))
    };
    if let Some(last) = last_in(&other, &turns).await?
        && !one.holds(&turns[last]).await?
    {
        return Err(told(last, last, "the first one"));
    }
    match last_in(&one, &turns).await? {
        Some(last) if last > 0 && !other.holds(&turns[last - 1]).await? => {
            Err(told(last, last - 1, "the second one"))
        }
        _ => Ok(()),
    }
}

/// The last of these markers that is in the volume.
async fn last_in(volume: &Published<'_>, turns: &[Marker]) -> Result<Option<usize>, Stop> {
    for (number, turn) in turns.iter().enumerate().rev() {
        if volume.holds(turn).await? {
            return Ok(Some(number));
        }
    }
    Ok(None)
}

check! {
    /// `GetVolumeGroupSnapshot` tells of a group as it is.
    TELLS_WHAT_THERE_IS = "group-snapshot.get-tells-what-there-is",
    clauses: [spec::GROUP_GET_CURRENT],
    needs: GROUPS,
    volumes: 2, calls: 12,
    run: tells_what_there_is,
}

async fn tells_what_there_is(cx: &Cx) -> Checked {
    let group = cx.group(&two(cx).await?).await?;
    let now = group.ask().await?.ok()?.group_snapshot.unwrap_or_default();
    let members = |group: &v1::VolumeGroupSnapshot| {
        let ids = group
            .snapshots
            .iter()
            .map(|member| member.snapshot_id.clone());
        ids.collect::<std::collections::BTreeSet<_>>()
    };
    if now.group_snapshot_id != group.id() || members(&now) != members(&group.told) {
        return Err(Stop::fail(format!(
            "it was made as {:?} with {:?}, and is told of as {:?} with {:?}",
            group.id(),
            members(&group.told),
            now.group_snapshot_id,
            members(&now)
        )));
    }
    Ok(())
}

check! {
    /// `DeleteVolumeGroupSnapshot` deletes a group and all its snapshots.
    ///
    /// A member that stays is known to nobody, and takes room for ever.
    DELETES = "group-snapshot.deletes",
    clauses: [spec::GROUP_DELETE_IMPLEMENTED, spec::GROUP_DELETE_MEMBERS, spec::GROUP_GET_NOT_FOUND],
    needs: GROUPS,
    owns: [Step::DeleteGroup],
    phase: First,
    volumes: 2, calls: 14,
    run: deletes,
}

async fn deletes(cx: &Cx) -> Checked {
    let volumes = two(cx).await?;
    let group = cx.group(&volumes).await?;
    group.delete().await?;
    if cx.facts().controller_can(ControllerRpc::ListSnapshots) {
        for volume in &volumes {
            let member = &group.member(volume)?.snapshot_id;
            if cx.lists_snapshot(member).await? {
                return Err(Stop::fail(format!(
                    "DeleteVolumeGroupSnapshot answered OK, and ListSnapshots still shows its member {member:?}"
                )));
            }
        }
    }
    group.ask().await?.refused_with(&[Code::NOT_FOUND])
}

check! {
    /// `DeleteVolumeGroupSnapshot` of a group that is gone already is OK.
    DELETE_REPEAT = "group-snapshot.delete-repeat-is-ok",
    clauses: [spec::GROUP_DELETE_IDEMPOTENT],
    needs: GROUPS,
    volumes: 1, calls: 9,
    run: delete_repeat,
}

async fn delete_repeat(cx: &Cx) -> Checked {
    let volume = cx.volume(Want::fresh()).await?;
    let group = cx.group(&[volume]).await?;
    group.delete().await?;
    group.ask_delete().await?.ok().map(drop)
}

check! {
    /// `DeleteVolumeGroupSnapshot` without an id is refused.
    DELETE_ID_REQUIRED = "group-snapshot.delete-id-is-required",
    clauses: [spec::GROUP_DELETE_ID_REQUIRED],
    needs: OFFERED,
    volumes: 0, calls: 1,
    run: delete_id_required,
}

async fn delete_id_required(cx: &Cx) -> Checked {
    let request = v1::DeleteVolumeGroupSnapshotRequest {
        secrets: cx.secrets("DeleteVolumeGroupSnapshot"),
        snapshot_ids: vec!["csi-conformance-none".to_owned()],
        ..Default::default()
    };
    cx.ask::<rpc::DeleteVolumeGroupSnapshot>(&request)
        .await?
        .refused_with(&[Code::INVALID_ARGUMENT])
}
