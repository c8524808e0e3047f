//! Snapshots of several volumes at one moment.

use csi_proto::rpc;
use csi_proto::v1;

use super::content::Source;
use super::cx::{Asked, Cx};
use super::made::{Made, TakenBack};
use super::marker::Marker;
use super::published::Published;
use super::see;
use super::step::Step;
use super::stop::{Checked, Stop};
use super::volume::{Volume, Want};
use super::wait::Patience;
use crate::client::Code;

/// How many turns a writer takes at most while a group is cut: so many files have room
/// in any file system.
const TURNS: usize = 200;

/// One group snapshot of a check.
#[derive(Debug, Clone)]
pub struct GroupClaim {
    request: v1::CreateVolumeGroupSnapshotRequest,
    /// Its id and its members, once they are known.
    made: Option<(String, Vec<String>)>,
}

/// A group snapshot that exists.
#[derive(Debug, Clone)]
pub struct Group<'a> {
    cx: &'a Cx,
    /// As the driver told of it.
    pub told: v1::VolumeGroupSnapshot,
    request: v1::CreateVolumeGroupSnapshotRequest,
}

impl Cx {
    /// The request for a group snapshot of these volumes, under a name that nothing else
    /// has.
    ///
    /// # Errors
    /// The user's template of names cannot be filled in.
    pub fn group_request(
        &self,
        volumes: &[Volume<'_>],
    ) -> Result<v1::CreateVolumeGroupSnapshotRequest, Stop> {
        let name = self.session.volume_name(self.session.number());
        Ok(v1::CreateVolumeGroupSnapshotRequest {
            name: name.map_err(|e| Stop::ours("make a group snapshot's name", e))?,
            source_volume_ids: volumes.iter().map(Volume::id).collect(),
            secrets: self.secrets("CreateVolumeGroupSnapshot"),
            ..Default::default()
        })
    }

    /// Takes a group snapshot of these volumes, and waits until volumes can be made from
    /// it.
    ///
    /// # Errors
    /// The step failed; the volumes are none that can be cut together; it is not ready
    /// by the deadline of the call.
    pub async fn group(&self, volumes: &[Volume<'_>]) -> Result<Group<'_>, Stop> {
        let request = self.group_request(volumes)?;
        let asked = self.ask_group(&request).await?;
        if let Some(refusal) = asked.refusal()
            && refusal.code == Code::FAILED_PRECONDITION
        {
            return Err(Stop::not_offered(format!(
                "volumes that can be cut together ({})",
                refusal.message
            )));
        }
        let told = asked.ok_or(self, Step::Group)?.group_snapshot;
        let told = told.filter(|group| !group.group_snapshot_id.is_empty());
        let told = told.ok_or_else(|| {
            let why = "CreateVolumeGroupSnapshot answered OK without a group_snapshot_id";
            self.blame(Step::Group, why)
        })?;
        let mut group = Group {
            cx: self,
            told,
            request,
        };
        group.is_ready().await?;
        Ok(group)
    }

    /// Sends a request for a group snapshot; what comes of it is in the claims.
    ///
    /// # Errors
    /// No answer.
    pub async fn ask_group(
        &self,
        request: &v1::CreateVolumeGroupSnapshotRequest,
    ) -> Result<Asked<v1::CreateVolumeGroupSnapshotResponse>, Stop> {
        let is_it = |claim: &GroupClaim| claim.request == *request;
        if !self.claims().groups.iter().any(is_it) {
            self.claims().groups.push(GroupClaim {
                request: request.clone(),
                made: None,
            });
        }
        let asked = self
            .ask_patiently::<rpc::CreateVolumeGroupSnapshot>(request)
            .await?;
        let mut claims = self.claims();
        match &asked.answer {
            Err(_) => claims
                .groups
                .retain(|claim| claim.made.is_some() || !is_it(claim)),
            Ok(answer) => {
                let told = answer.group_snapshot.clone().unwrap_or_default();
                for claim in claims.groups.iter_mut().filter(|claim| is_it(claim)) {
                    let id = &told.group_snapshot_id;
                    if claim.made.is_none() && !id.is_empty() {
                        self.session.write_down_volume(id, &label(request));
                    }
                    claim.made = Some((id.clone(), member_ids(&told)));
                }
            }
        }
        Ok(asked)
    }

    /// Takes a group snapshot of two volumes while a writer writes a marker to the one,
    /// and when that is on its disk to the other, turn by turn: the group, and the
    /// markers in their order.
    ///
    /// # Errors
    /// As [`Cx::group`]; nothing was written beside it.
    pub async fn group_beside_writes(
        &self,
        one: &Published<'_>,
        other: &Published<'_>,
    ) -> Result<(Group<'_>, Vec<Marker>), Stop> {
        let volumes = [one, other].map(|target| target.staged().volume);
        for target in [one, other] {
            target.is_for_writing()?;
            target.may_write()?;
            // Never onto the bare folder, which is the node's own disk.
            target.is_still_there("before the writes").await?;
        }
        let is_cut = std::sync::atomic::AtomicBool::new(false);
        let cut = async {
            let group = self.group(&volumes).await;
            is_cut.store(true, std::sync::atomic::Ordering::Relaxed);
            group
        };
        let write = async {
            let mut turns = Vec::new();
            while turns.len() < TURNS && !is_cut.load(std::sync::atomic::Ordering::Relaxed) {
                let turn = Marker::new()?;
                // Who holds the writer up for longer than it waits has cut by then.
                let write = |target: &Published<'_>| turn.write_file(&target.target.ours);
                let Ok(Ok(_)) = see::look(self, write(one)).await else {
                    break;
                };
                let Ok(Ok(_)) = see::look(self, write(other)).await else {
                    break;
                };
                turns.push(turn);
            }
            Ok::<_, Stop>(turns)
        };
        let (group, turns) = tokio::join!(cut, write);
        let (group, turns) = (group?, turns?);
        self.fact(
            "turns",
            format!("{} markers written beside it", turns.len()),
        );
        Ok((group, turns))
    }
}

impl<'a> Group<'a> {
    /// Its id, as the driver gave it.
    pub fn id(&self) -> String {
        self.told.group_snapshot_id.clone()
    }

    /// The request that made it: the same each time.
    pub fn request(&self) -> &v1::CreateVolumeGroupSnapshotRequest {
        &self.request
    }

    /// The snapshot of one of its volumes.
    ///
    /// # Errors
    /// It has none: the failure of the step.
    pub fn member(&self, volume: &Volume<'_>) -> Result<&v1::Snapshot, Stop> {
        let id = volume.id();
        let mut members = self.told.snapshots.iter();
        let found = members.find(|member| member.source_volume_id == id);
        found.ok_or_else(|| {
            let why = format!("the group has no snapshot of the volume {id}");
            self.cx.blame(Step::Group, why)
        })
    }

    /// What a volume that is made from the snapshot of one of its volumes has to be.
    ///
    /// # Errors
    /// As [`Group::member`].
    pub fn copy_of(&self, volume: &Volume<'_>) -> Result<Want, Stop> {
        let member = self.member(volume)?;
        let want = volume.want_from(Source::Snapshot(member.snapshot_id.clone()));
        let size = Some(member.size_bytes).filter(|bytes| *bytes > 0);
        Ok(Want {
            bytes: size.max(want.bytes),
            ..want
        })
    }

    /// Asks what it is now, whatever the answer.
    ///
    /// # Errors
    /// No answer.
    pub async fn ask(&self) -> Result<Asked<v1::GetVolumeGroupSnapshotResponse>, Stop> {
        let request = v1::GetVolumeGroupSnapshotRequest {
            group_snapshot_id: self.id(),
            snapshot_ids: member_ids(&self.told),
            secrets: self.cx.secrets("GetVolumeGroupSnapshot"),
        };
        self.cx
            .ask_patiently::<rpc::GetVolumeGroupSnapshot>(&request)
            .await
    }

    /// Asks to delete it, whatever the answer. It stays in the claims.
    ///
    /// # Errors
    /// No answer.
    pub async fn ask_delete(&self) -> Result<Asked<v1::DeleteVolumeGroupSnapshotResponse>, Stop> {
        let request = delete_request(self.cx, self.id(), member_ids(&self.told));
        self.cx
            .ask_patiently::<rpc::DeleteVolumeGroupSnapshot>(&request)
            .await
    }

    /// Deletes it.
    ///
    /// # Errors
    /// The step failed.
    pub async fn delete(&self) -> Checked {
        self.ask_delete()
            .await?
            .ok_or(self.cx, Step::DeleteGroup)
            .map(drop)
    }

    async fn is_ready(&mut self) -> Checked {
        let limit = self.cx.session.client.deadline("CreateVolumeGroupSnapshot");
        let mut patience = Patience::new(limit);
        while !self.told.ready_to_use {
            if self.cx.session.is_interrupted() {
                return Err(Stop::not_given("a run that is not interrupted"));
            }
            if !patience.wait().await {
                return Err(Stop::Unknown(format!(
                    "the group snapshot {} is not ready_to_use after {limit:?} (deadlines: CreateVolumeGroupSnapshot)",
                    self.id()
                )));
            }
            let now = self.ask().await?.ok_or(self.cx, Step::Group)?;
            self.told = now.group_snapshot.unwrap_or_else(|| self.told.clone());
        }
        Ok(())
    }
}

/// Takes back the last group snapshot of a check that is claimed. None: there are no more.
pub(super) async fn delete_last(cx: &Cx, last: bool) -> Option<TakenBack> {
    let claim = cx.claims().groups.pop()?;
    let (id, mut members) = claim.made.clone().unwrap_or_default();
    let mut made = Made {
        what: "group snapshot",
        id,
        label: label(&claim.request),
    };
    let mut taken = TakenBack::Gone;
    if claim.made.is_none() {
        // An answer that was lost: asked again, the call tells the id.
        let asked = cx.ask_patiently::<rpc::CreateVolumeGroupSnapshot>(&claim.request);
        match asked.await {
            Ok(asked) => {
                let told = asked.answer.ok().and_then(|told| told.group_snapshot);
                let told = told.unwrap_or_default();
                (made.id, members) = (told.group_snapshot_id.clone(), member_ids(&told));
            }
            Err(stop) => taken = made.is_not_asked(cx, &stop),
        }
    }
    if !made.id.is_empty() {
        let request = delete_request(cx, made.id.clone(), members);
        let step = Step::DeleteGroup;
        let deleted = made.delete::<rpc::DeleteVolumeGroupSnapshot>(cx, &request, step);
        taken = deleted.await;
    }
    if taken.is_interrupted() && !last {
        cx.claims().groups.push(claim);
    }
    Some(taken)
}

fn delete_request(
    cx: &Cx,
    group_snapshot_id: String,
    snapshot_ids: Vec<String>,
) -> v1::DeleteVolumeGroupSnapshotRequest {
    v1::DeleteVolumeGroupSnapshotRequest {
        group_snapshot_id,
        snapshot_ids,
        secrets: cx.secrets("DeleteVolumeGroupSnapshot"),
    }
}

fn member_ids(told: &v1::VolumeGroupSnapshot) -> Vec<String> {
    let members = told.snapshots.iter();
    members.map(|member| member.snapshot_id.clone()).collect()
}

/// How it stands in the journal, beside the volumes.
fn label(request: &v1::CreateVolumeGroupSnapshotRequest) -> String {
    format!("group snapshot {}", request.name)
}
