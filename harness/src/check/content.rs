//! Snapshots, and volumes that are made from something.

use csi_proto::rpc;
use csi_proto::v1;
use csi_proto::v1::volume_content_source::{SnapshotSource, Type, VolumeSource};

use super::claims::VolumeClaim;
use super::cx::{Asked, Cx};
use super::kind::Kind;
use super::made::{Made, TakenBack};
use super::marker::Marker;
use super::published::Published;
use super::see;
use super::step::{Access, Step};
use super::stop::{Checked, Stop};
use super::volume::{Volume, Want};
use super::wait::Patience;
use crate::lab::{Failing, Holder};
use crate::node::Look;

/// What a volume is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The snapshot of this id.
    Snapshot(String),
    /// The volume of this id.
    Volume(String),
}

impl Source {
    /// As `CreateVolume` is told it.
    pub fn told(&self) -> v1::VolumeContentSource {
        let r#type = match self.clone() {
            Self::Snapshot(snapshot_id) => Type::Snapshot(SnapshotSource { snapshot_id }),
            Self::Volume(volume_id) => Type::Volume(VolumeSource { volume_id }),
        };
        v1::VolumeContentSource {
            r#type: Some(r#type),
        }
    }

    /// The step that making a volume from it is.
    pub(super) fn step(&self) -> Step {
        match self {
            Self::Snapshot(_) => Step::Restore,
            Self::Volume(_) => Step::Clone,
        }
    }
}

/// One snapshot of a check.
#[derive(Debug, Clone)]
pub struct SnapshotClaim {
    request: v1::CreateSnapshotRequest,
    /// Its id, once it is known.
    id: Option<String>,
}

/// A snapshot that exists.
#[derive(Debug, Clone)]
pub struct Snapshot<'a> {
    pub(super) of: Volume<'a>,
    /// As the driver told of it.
    pub told: v1::Snapshot,
    request: v1::CreateSnapshotRequest,
}

impl Cx {
    /// Lets the programs fail that make a file system larger, until the answer is
    /// dropped.
    ///
    /// # Errors
    /// The driver was not started by us, or the user does not let us break things.
    pub fn growing_fails(&self) -> Result<Failing<'_>, Stop> {
        let tools = self.session.tools.as_ref();
        let tools = tools.ok_or_else(|| Stop::not_given("driver.command, with allow: [hang]"))?;
        self.fact("fault", "xfs_growfs, resize2fs and btrfs(8) resize fail");
        let failing = tools.fail();
        failing.map_err(|error| Stop::ours("let helper programs fail", error))
    }

    /// Whether `ListSnapshots` by this id shows a snapshot.
    ///
    /// # Errors
    /// The call was refused.
    pub async fn lists_snapshot(&self, snapshot_id: &str) -> Result<bool, Stop> {
        let request = v1::ListSnapshotsRequest {
            snapshot_id: snapshot_id.to_owned(),
            ..Default::default()
        };
        Ok(!self.list_snapshots(request).await?.is_empty())
    }

    async fn list_snapshots(
        &self,
        mut request: v1::ListSnapshotsRequest,
    ) -> Result<Vec<v1::Snapshot>, Stop> {
        request.secrets = self.secrets("ListSnapshots");
        let asked = self.ask_patiently::<rpc::ListSnapshots>(&request).await?;
        let entries = asked.ok()?.entries.into_iter();
        Ok(entries.filter_map(|entry| entry.snapshot).collect())
    }

    /// Asks for a volume that the driver should refuse; what it makes nevertheless
    /// is in the claims.
    ///
    /// # Errors
    /// No answer, or the user's parameters cannot be filled in.
    pub async fn ask_volume(&self, want: Want) -> Result<Asked<v1::CreateVolumeResponse>, Stop> {
        let number = self.session.number();
        let mut claim = VolumeClaim::new(want, self.kind()?, number);
        let name = self.session.volume_name(number);
        claim.name = Some(name.map_err(|e| Stop::ours("make a volume's name", e))?);
        let volume = Volume::claim(self, claim);
        let request = volume.create_request()?;
        let asked = self.ask_patiently::<rpc::CreateVolume>(&request).await?;
        volume.with(|claim| match &asked.answer {
            Ok(made) => claim.id = made.volume.as_ref().map(|made| made.volume_id.clone()),
            Err(_) => claim.name = None,
        });
        Ok(asked)
    }
}

impl<'a> Volume<'a> {
    /// Asks to delete it, whatever the answer.
    ///
    /// # Errors
    /// No answer.
    pub async fn ask_delete(&self) -> Result<Asked<v1::DeleteVolumeResponse>, Stop> {
        let request = v1::DeleteVolumeRequest {
            volume_id: self.id(),
            secrets: self.cx.secrets("DeleteVolume"),
        };
        let asked = self.cx.ask_patiently::<rpc::DeleteVolume>(&request).await?;
        if asked.is_ok() {
            let name = self.with(|claim| claim.name.take()).unwrap_or_default();
            self.cx.session.strike_out_volume(&self.id(), &name);
        }
        Ok(asked)
    }

    /// The request for a snapshot of it, under a name that nothing else has.
    ///
    /// # Errors
    /// The user's template of names cannot be filled in.
    pub fn snapshot_request(&self) -> Result<v1::CreateSnapshotRequest, Stop> {
        let session = &self.cx.session;
        let name = session
            .volume_name(session.number())
            .map_err(|e| Stop::ours("make a snapshot's name", e))?;
        Ok(v1::CreateSnapshotRequest {
            source_volume_id: self.id(),
            name,
            secrets: self.cx.secrets("CreateSnapshot"),
            ..Default::default()
        })
    }

    /// Takes a snapshot of it as it is now, and waits until a volume can be made
    /// from that.
    ///
    /// # Errors
    /// The step failed, or it is not ready by the deadline of the call.
    pub async fn snapshot(&self) -> Result<Snapshot<'a>, Stop> {
        let request = self.snapshot_request()?;
        let mut told = self.cut(&request).await?;
        let limit = self.cx.session.client.deadline("CreateSnapshot");
        let mut patience = Patience::new(limit);
        // The call itself does not wait; asked again, it tells how far it is.
        while !told.ready_to_use {
            if self.cx.session.is_interrupted() {
                return Err(Stop::not_given("a run that is not interrupted"));
            }
            if !patience.wait().await {
                return Err(Stop::Unknown(format!(
                    "the snapshot {} is not ready_to_use after {limit:?} (deadlines: CreateSnapshot)",
                    told.snapshot_id
                )));
            }
            told = self.cut(&request).await?;
        }
        Ok(Snapshot {
            of: *self,
            told,
            request,
        })
    }

    /// One `CreateSnapshot`, with the snapshot in the claims from then on.
    async fn cut(&self, request: &v1::CreateSnapshotRequest) -> Result<v1::Snapshot, Stop> {
        let asked = self.ask_snapshot(request).await?;
        let response = asked.ok_or(self.cx, Step::Snapshot)?;
        response
            .snapshot
            .filter(|snapshot| !snapshot.snapshot_id.is_empty())
            .ok_or_else(|| {
                let why = "CreateSnapshot answered OK without a snapshot id";
                self.cx.blame(Step::Snapshot, why)
            })
    }

    /// Sends a request for a snapshot; what comes of it is in the claims.
    ///
    /// # Errors
    /// No answer.
    pub async fn ask_snapshot(
        &self,
        request: &v1::CreateSnapshotRequest,
    ) -> Result<Asked<v1::CreateSnapshotResponse>, Stop> {
        let cx = self.cx;
        let is_it = |claim: &SnapshotClaim| claim.request == *request;
        if !cx.claims().snapshots.iter().any(is_it) {
            cx.claims().snapshots.push(SnapshotClaim {
                request: request.clone(),
                id: None,
            });
        }
        let asked = cx.ask_patiently::<rpc::CreateSnapshot>(request).await?;
        let made = asked.answer.as_ref().ok().map(|ok| ok.snapshot.clone());
        let mut claims = cx.claims();
        match made {
            None => claims
                .snapshots
                .retain(|claim| claim.id.is_some() || !is_it(claim)),
            Some(made) => {
                let id = made.map(|made| made.snapshot_id).unwrap_or_default();
                let known = claims.snapshots.iter().any(|c| c.id.as_ref() == Some(&id));
                if !known && !id.is_empty() {
                    cx.session.write_down_volume(&id, &label(request));
                }
                for claim in claims.snapshots.iter_mut().filter(|claim| is_it(claim)) {
                    claim.id = Some(id.clone());
                }
            }
        }
        Ok(asked)
    }

    /// What a copy of it has to be: of its kind, and not smaller.
    pub fn copy(&self) -> Want {
        self.want_from(Source::Volume(self.id()))
    }

    pub(super) fn want_from(&self, source: Source) -> Want {
        let want = self.with(|claim| claim.want.clone());
        Want {
            kind: Some(self.kind()),
            fresh: true,
            source: Some(source),
            bytes: Some(self.capacity()).filter(|bytes| *bytes > 0),
            ..want
        }
    }

    /// Attaches, stages and publishes it, where the driver has just said that it
    /// exists: a refusal is this check's finding.
    ///
    /// # Errors
    /// A step failed.
    pub async fn comes_up(&self, name: &str) -> Result<Published<'a>, Stop> {
        let up = async { self.stage().await?.publish(name).await };
        up.await.map_err(|stop| match stop {
            Stop::Blocked {
                refused: true, why, ..
            } => Stop::fail(format!("the volume exists, and cannot be used: {why}")),
            other => other,
        })
    }

    /// The same, of a volume that is larger than its file system: there are drivers that
    /// let it grow where they mount it.
    ///
    /// # Errors
    /// A step failed; the host cannot grow this file system.
    pub async fn comes_up_larger(&self, name: &str) -> Result<Published<'a>, Stop> {
        match self.comes_up(name).await {
            Err(refused @ Stop::Fail(_)) => self.grows_without_help().and(Err(refused)),
            other => other,
        }
    }

    /// ext4 grows while it is mounted only for a process with `CAP_SYS_RESOURCE`:
    /// where the host gives none, a driver that grows it so cannot be judged.
    pub fn grows_without_help(&self) -> Checked {
        let ext = matches!(self.kind(), Kind::Mount(fs) if fs.is_empty() || fs.starts_with("ext"));
        match ext && !self.cx.facts().has_cap_sys_resource {
            true => Err(Stop::no_host(
                "CAP_SYS_RESOURCE, without which ext4 cannot grow while it is mounted",
            )),
            false => Ok(()),
        }
    }
}

impl<'a> Snapshot<'a> {
    /// Its id, as the driver gave it.
    pub fn id(&self) -> String {
        self.told.snapshot_id.clone()
    }

    /// The request that made it: the same each time.
    pub fn request(&self) -> &v1::CreateSnapshotRequest {
        &self.request
    }

    /// What a volume that is made from it has to be.
    pub fn copy(&self) -> Want {
        let want = self.of.want_from(Source::Snapshot(self.id()));
        Want {
            bytes: Some(self.told.size_bytes)
                .filter(|bytes| *bytes > 0)
                .max(want.bytes),
            ..want
        }
    }

    /// Asks to delete it, whatever the answer. It stays in the claims.
    ///
    /// # Errors
    /// No answer.
    pub async fn ask_delete(&self) -> Result<Asked<v1::DeleteSnapshotResponse>, Stop> {
        let request = delete_request(self.of.cx, self.id());
        self.of
            .cx
            .ask_patiently::<rpc::DeleteSnapshot>(&request)
            .await
    }

    /// Deletes it.
    ///
    /// # Errors
    /// The step failed.
    pub async fn delete(&self) -> Checked {
        self.ask_delete()
            .await?
            .ok_or(self.of.cx, Step::DeleteSnapshot)
            .map(drop)
    }

    /// The snapshots that `ListSnapshots` tells of with this filter: by their id, or
    /// by their source.
    ///
    /// # Errors
    /// The call was refused.
    pub async fn listed(&self, by_id: bool) -> Result<Vec<v1::Snapshot>, Stop> {
        let mut request = v1::ListSnapshotsRequest::default();
        match by_id {
            true => request.snapshot_id = self.id(),
            false => request.source_volume_id = self.of.id(),
        }
        self.of.cx.list_snapshots(request).await
    }
}

impl Published<'_> {
    /// A process that has the device of a block volume open until it is dropped, as a
    /// workload has: the last close would write out what the kernel holds back. None for
    /// a volume that is mounted.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn keeps_device_open(&self) -> Result<Option<Holder>, Stop> {
        match self.staged.volume.access() {
            Access::Mount => Ok(None),
            Access::Block => self.hold_path_open(&self.target.ours).map(Some),
        }
    }

    /// Writes a marker, and does not wait until it is on the disk: as a workload's
    /// write(2) that was answered.
    ///
    /// # Errors
    /// It cannot be written, or we are not allowed to write to this volume.
    pub async fn write_unsynced(&self, marker: &Marker) -> Checked {
        self.is_for_writing()?;
        self.may_write()?;
        self.is_still_there("before a write").await?;
        let path = &self.target.ours;
        let access = self.staged.volume.access();
        let mut look = match access {
            Access::Mount => marker.write_file(path),
            Access::Block => match see::own_disk(self.cx(), &self.target).await? {
                Ok(disk) => marker.write_device(path, disk),
                Err(error) => return Err(self.cx().blame(Step::Write(access), error.to_string())),
            },
        };
        if let Look::WriteFile { fsync, .. } | Look::WriteDevice { fsync, .. } = &mut look {
            *fsync = false;
        }
        let written = see::look(self.cx(), look).await?;
        self.cx()
            .fact("marker", format!("{marker} written, without fsync(2)"));
        written
            .map(drop)
            .map_err(|error| self.cx().blame(Step::Write(access), error.to_string()))
    }
}

/// Takes back the last snapshot of a check that is claimed. None: there are no more.
pub(super) async fn delete_last(cx: &Cx, last: bool) -> Option<TakenBack> {
    let claim = cx.claims().snapshots.pop()?;
    let mut made = Made {
        what: "snapshot",
        id: claim.id.clone().unwrap_or_default(),
        label: label(&claim.request),
    };
    let mut taken = TakenBack::Gone;
    if claim.id.is_none() {
        // An answer that was lost: asked again, the call tells the id.
        match cx
            .ask_patiently::<rpc::CreateSnapshot>(&claim.request)
            .await
        {
            Ok(asked) => {
                let told = asked.answer.ok().and_then(|told| told.snapshot);
                made.id = told.map(|told| told.snapshot_id).unwrap_or_default();
            }
            Err(stop) => taken = made.is_not_asked(cx, &stop),
        }
    }
    if !made.id.is_empty() {
        let request = delete_request(cx, made.id.clone());
        let step = Step::DeleteSnapshot;
        taken = made.delete::<rpc::DeleteSnapshot>(cx, &request, step).await;
    }
    if taken.is_interrupted() && !last {
        cx.claims().snapshots.push(claim);
    }
    Some(taken)
}

fn delete_request(cx: &Cx, snapshot_id: String) -> v1::DeleteSnapshotRequest {
    v1::DeleteSnapshotRequest {
        snapshot_id,
        secrets: cx.secrets("DeleteSnapshot"),
    }
}

/// How it stands in the journal, beside the volumes.
fn label(request: &v1::CreateSnapshotRequest) -> String {
    format!("snapshot {}", request.name)
}
