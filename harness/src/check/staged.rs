//! A volume that is staged, or that needs no staging.

use csi_proto::rpc;
use csi_proto::v1;
use csi_proto::v1::node_service_capability::rpc::Type as NodeRpc;

use super::cx::Asked;
use super::hooks;
use super::published::Published;
use super::see::{self, Shown};
use super::step::Step;
use super::stop::Stop;
use super::volume::Volume;
use crate::client::Code;
use crate::lab::OurPath;
use crate::node::Mount;

/// A volume with its staging folder; mounted there, if the driver stages.
#[derive(Debug, Clone)]
pub struct Staged<'a> {
    pub(super) volume: Volume<'a>,
    pub(super) path: Option<OurPath>,
}

impl<'a> Staged<'a> {
    pub(super) fn prepare(volume: Volume<'a>) -> Result<Self, Stop> {
        let cx = volume.cx;
        if !cx.facts().node_can(NodeRpc::StageUnstageVolume) {
            return Ok(Self { volume, path: None });
        }
        let number = volume.with(|claim| claim.number);
        let path = cx
            .session
            .layout
            .staging("v", &number.to_string(), volume.access())
            .map_err(|e| Stop::ours("make a staging folder", e))?;
        Ok(Self {
            volume,
            path: Some(path),
        })
    }

    /// The volume.
    pub fn volume(&self) -> Volume<'a> {
        self.volume
    }

    /// The staging folder; none: the driver does not stage.
    pub fn path(&self) -> Option<&OurPath> {
        self.path.as_ref()
    }

    /// The request that stages it: the same each time.
    pub fn stage_request(&self) -> v1::NodeStageVolumeRequest {
        let cx = self.volume.cx;
        let (context, attached) = self.volume.with(|claim| {
            (
                claim.context.clone(),
                claim.attached.clone().unwrap_or_default(),
            )
        });
        v1::NodeStageVolumeRequest {
            volume_id: self.volume.id(),
            publish_context: attached.into_iter().collect(),
            staging_target_path: self
                .path
                .as_ref()
                .map(|p| p.drivers.clone())
                .unwrap_or_default(),
            volume_capability: Some(self.volume.capability()),
            secrets: cx.secrets("NodeStageVolume"),
            volume_context: context.into_iter().collect(),
        }
    }

    /// Stages it (again: a repeat of the same request).
    ///
    /// # Errors
    /// The step failed.
    pub async fn stage(&self) -> Result<(), Stop> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        let cx = self.volume.cx;
        hooks::before_stage(cx, &self.volume.id()).await?;
        let asked = self.send_stage(self.stage_request()).await?;
        let access = self.volume.access();
        if asked.refusal().is_some() {
            see::note_what_the_driver_lacks(cx, path).await?;
        }
        asked.ok_or_declined(cx, Step::Stage(access), access)?;
        cx.session.works(Step::Stage(access), access);
        see::claim_disk(&self.volume, path);
        Ok(())
    }

    /// Sends a request to stage, with this volume's staging folder in the
    /// claim, whatever the request says.
    ///
    /// # Errors
    /// No answer.
    pub async fn send_stage(
        &self,
        request: v1::NodeStageVolumeRequest,
    ) -> Result<Asked<v1::NodeStageVolumeResponse>, Stop> {
        self.claims_stage();
        self.volume
            .cx
            .ask_patiently::<rpc::NodeStageVolume>(&request)
            .await
    }

    /// From now on it may be staged.
    pub(super) fn claims_stage(&self) {
        let Some(path) = &self.path else { return };
        self.volume.with(|claim| {
            claim.loops_before.get_or_insert_with(see::disks);
            self.volume
                .cx
                .session
                .opened(path, claim, &self.volume.cx.id);
            if !claim.staged.contains(path) {
                claim.staged.push(path.clone());
            }
        });
    }

    /// From now on it may be published at this target; whether it was not before.
    pub(super) fn claims_target(&self, target: &OurPath) -> bool {
        self.volume.with(|claim| {
            let is_new = !claim.targets.contains(target);
            claim.loops_before.get_or_insert_with(see::disks);
            self.volume
                .cx
                .session
                .opened(target, claim, &self.volume.cx.id);
            for list in [&mut claim.published, &mut claim.targets] {
                if !list.contains(target) {
                    list.push(target.clone());
                }
            }
            is_new
        })
    }

    /// The request that takes the staging back.
    pub fn unstage_request(&self) -> v1::NodeUnstageVolumeRequest {
        v1::NodeUnstageVolumeRequest {
            volume_id: self.volume.id(),
            staging_target_path: self
                .path
                .as_ref()
                .map(|p| p.drivers.clone())
                .unwrap_or_default(),
        }
    }

    /// Takes the staging back, and sees that no mount is left of it.
    ///
    /// # Errors
    /// The step failed, or a mount is left.
    pub async fn unstage(&self) -> Result<(), Stop> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        let cx = self.volume.cx;
        let step = Step::Unstage(self.volume.access());
        let asked = cx
            .ask_insisting::<rpc::NodeUnstageVolume>(&self.unstage_request())
            .await?;
        asked.ok_or(cx, step)?;
        if let Some(left) = see::mount_left(cx, path, "after unstage").await? {
            return Err(cx.blame(step, format!("NodeUnstageVolume answered OK, and {left}")));
        }
        self.volume.with(|claim| claim.staged.retain(|p| p != path));
        Ok(())
    }

    /// Asks to take the staging back, and looks at nothing.
    ///
    /// # Errors
    /// No answer.
    pub async fn ask_unstage(&self) -> Result<Asked<v1::NodeUnstageVolumeResponse>, Stop> {
        self.volume
            .cx
            .ask_patiently::<rpc::NodeUnstageVolume>(&self.unstage_request())
            .await
    }

    /// The mounts at the staging path, bottom first; none without staging.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn mounts(&self, when: &str) -> Result<Vec<Mount>, Stop> {
        match &self.path {
            Some(path) => see::mounts_at(self.volume.cx, path, when).await,
            None => Ok(Vec::new()),
        }
    }

    /// The mounts at a target, bottom first.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn mounts_at(&self, target: &OurPath, when: &str) -> Result<Vec<Mount>, Stop> {
        see::mounts_at(self.volume.cx, target, when).await
    }

    /// A mount that is left at the staging path, in words.
    ///
    /// # Errors
    /// The mounts cannot be read.
    pub async fn mount_left(&self, when: &str) -> Result<Option<String>, Stop> {
        match &self.path {
            Some(path) => see::mount_left(self.volume.cx, path, when).await,
            None => Ok(None),
        }
    }

    /// What is at a target in place of the volume, in words; none: the volume.
    ///
    /// # Errors
    /// It cannot be told.
    pub async fn not_there(&self, target: &OurPath) -> Result<Option<String>, Stop> {
        match see::shown_at(self.volume.cx, target, self.volume.access(), "at OK").await? {
            Shown::Volume => Ok(None),
            shown @ Shown::OnlyToTheDriver(_) => {
                Err(self.volume.cx.blame(Step::Propagates, shown.to_string()))
            }
            shown => Ok(Some(shown.to_string())),
        }
    }

    /// Publishes it at one more target, which a driver may refuse.
    ///
    /// # Errors
    /// The step failed, or the driver does not offer it.
    pub async fn publish_second(&self, name: &str) -> Result<Published<'a>, Stop> {
        self.second(name, false).await
    }

    /// The same, read-only.
    ///
    /// # Errors
    /// The step failed, or the driver does not offer it.
    pub async fn publish_second_read_only(&self, name: &str) -> Result<Published<'a>, Stop> {
        self.second(name, true).await
    }

    async fn second(&self, name: &str, readonly: bool) -> Result<Published<'a>, Stop> {
        self.volume.has_many_targets()?;
        let (mut request, target) = self.publish_request(name)?;
        request.readonly |= readonly;
        let asked = self.send_publish(request.clone(), &target).await?;
        // The text asks for this refusal with a single writer, Kubernetes for OK.
        let refused = asked.refusal().map(|refusal| refusal.code);
        if refused == Some(Code::FAILED_PRECONDITION) {
            return Err(Stop::not_offered(
                "a second target on one node in this access mode",
            ));
        }
        // A file system that is mounted from its device at each target is read-only at all
        // of them or at none: such a driver can but refuse.
        if readonly && refused.is_some() {
            let codes = [Code::FAILED_PRECONDITION];
            return asked.refused_best_with(&codes).and(Err(Stop::not_offered(
                "a read-only target beside a writable one",
            )));
        }
        asked.ok()?;
        let published = Published {
            staged: self.clone(),
            target,
            request,
        };
        published.is_there().await?;
        Ok(published)
    }

    /// The request that publishes it at the target of this name.
    ///
    /// # Errors
    /// The parent of the target cannot be made.
    pub fn publish_request(
        &self,
        name: &str,
    ) -> Result<(v1::NodePublishVolumeRequest, OurPath), Stop> {
        let cx = self.volume.cx;
        let (number, context, attached) = self.volume.with(|claim| {
            (
                claim.number,
                claim.context.clone(),
                claim.attached.clone().unwrap_or_default(),
            )
        });
        let target = cx
            .session
            .layout
            .target("v", &number.to_string(), name, self.volume.access())
            .map_err(|e| Stop::ours("make the parent of a target path", e))?;
        let mut volume_context = context.into_iter().collect();
        cx.with_token(&mut volume_context);
        let request = v1::NodePublishVolumeRequest {
            volume_id: self.volume.id(),
            publish_context: attached.into_iter().collect(),
            staging_target_path: self
                .path
                .as_ref()
                .map(|p| p.drivers.clone())
                .unwrap_or_default(),
            target_path: target.drivers.clone(),
            volume_capability: Some(self.volume.capability()),
            readonly: self.volume.with(|claim| claim.readonly),
            secrets: cx.secrets("NodePublishVolume"),
            volume_context,
        };
        Ok((request, target))
    }

    /// Sends a request to publish at a target, which is in the claim from now
    /// on, whatever the request says.
    ///
    /// # Errors
    /// No answer.
    pub async fn send_publish(
        &self,
        request: v1::NodePublishVolumeRequest,
        target: &OurPath,
    ) -> Result<Asked<v1::NodePublishVolumeResponse>, Stop> {
        see::mounts_at(self.volume.cx, target, "before").await?;
        let is_new = self.claims_target(target);
        let asked = self
            .volume
            .cx
            .ask_patiently::<rpc::NodePublishVolume>(&request)
            .await;
        let refused = matches!(&asked, Ok(asked) if asked.refusal().is_some());
        self.is_owed(target, is_new, refused);
        asked
    }

    /// What was answered for a target: whose first publish is refused, and nothing else
    /// was answered since, its folder is owed to nobody.
    pub(super) fn is_owed(&self, target: &OurPath, is_new: bool, refused: bool) {
        self.volume.with(|claim| match refused {
            true if is_new => claim.not_owed.push(target.clone()),
            true => {}
            false => claim.not_owed.retain(|path| path != target),
        });
    }

    /// Publishes it at the target of this name, and sees that it is there.
    ///
    /// # Errors
    /// The step failed, or the volume is not there.
    pub async fn publish(&self, name: &str) -> Result<Published<'a>, Stop> {
        self.publish_as(name, |_| {}).await
    }

    /// The same, read-only.
    ///
    /// # Errors
    /// The step failed, or the volume is not there.
    pub async fn publish_read_only(&self, name: &str) -> Result<Published<'a>, Stop> {
        self.has_been_up().await?;
        self.publish_as(name, |request| request.readonly = true)
            .await
    }

    /// A driver that stages nothing makes the file system where it publishes, and cannot
    /// make one where that is read-only: a pod that writes comes first.
    async fn has_been_up(&self) -> Result<(), Stop> {
        let makes_it_now = self.path.is_none() && self.volume.is_a_new_file_system();
        match makes_it_now {
            true => self.publish("first").await?.unpublish().await,
            false => Ok(()),
        }
    }

    /// The same, with a change to the request.
    ///
    /// # Errors
    /// The step failed, or the volume is not there.
    pub async fn publish_as(
        &self,
        name: &str,
        change: impl FnOnce(&mut v1::NodePublishVolumeRequest),
    ) -> Result<Published<'a>, Stop> {
        let (mut request, target) = self.publish_request(name)?;
        change(&mut request);
        let asked = self.send_publish(request.clone(), &target).await?;
        let access = self.volume.access();
        let cx = self.volume.cx;
        asked.ok_or_declined(cx, Step::Publish(access), access)?;
        let published = Published {
            staged: self.clone(),
            target,
            request,
        };
        published.is_there().await?;
        cx.session.works(Step::Publish(access), access);
        see::claim_disk(&self.volume, &published.target);
        self.volume.with(|claim| claim.was_up = true);
        Ok(published)
    }
}
