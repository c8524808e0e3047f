//! What a volume is called, and what else can be said in its name.

use std::collections::BTreeMap;

use csi_proto::rpc;
use csi_proto::v1;

use super::claims::VolumeClaim;
use super::cx::Cx;
use super::published::Published;
use super::stop::{Checked, Stop};
use super::volume::{Volume, Want};

/// A volume_context.
#[derive(Debug)]
#[must_use = "the volume's own is to be given back"]
pub struct Context(BTreeMap<String, String>);

impl Cx {
    /// A name that nothing has yet.
    ///
    /// # Errors
    /// The user's template of names cannot be filled in.
    pub fn new_name(&self) -> Result<String, Stop> {
        let name = self.session.volume_name(self.session.number());
        name.map_err(|e| Stop::ours("make a volume's name", e))
    }

    /// A new volume by this name, of the case's kind. None: it was refused.
    ///
    /// # Errors
    /// No answer, or one without an id.
    pub async fn volume_named(&self, name: &str) -> Result<Option<Volume<'_>>, Stop> {
        let number = self.session.number();
        let mut claim = VolumeClaim::new(Want::fresh(), self.kind()?, number);
        claim.name = Some(name.to_owned());
        let volume = Volume::claim(self, claim);
        let request = volume.create_request()?;
        let asked = self.ask_patiently::<rpc::CreateVolume>(&request).await?;
        if asked.refusal().is_some() {
            volume.with(|claim| claim.name = None);
            return Ok(None);
        }
        volume.is_made(asked.ok()?).await?;
        Ok(Some(volume))
    }
}

impl<'a> Volume<'a> {
    /// The name that it was created by; none for one of the user's.
    pub fn name(&self) -> Option<String> {
        self.with(|claim| claim.name.clone())
    }

    /// Asks to delete a volume of this id, whatever the answer.
    ///
    /// # Errors
    /// No answer.
    pub async fn delete_by(&self, volume_id: String) -> Checked {
        let request = v1::DeleteVolumeRequest {
            volume_id,
            secrets: self.cx.secrets("DeleteVolume"),
        };
        let _ = self.cx.ask_patiently::<rpc::DeleteVolume>(&request).await?;
        Ok(())
    }

    /// Uses it with the context of another volume from now on, under its own id: as
    /// a second PersistentVolume with the same volumeHandle does.
    /// Gives what it had.
    pub fn takes_context_of(&self, other: &Volume<'_>) -> Context {
        let context = other.with(|claim| claim.context.clone());
        self.cx.fact(
            "one volumeHandle",
            format!(
                "{} is used with the volume_context of {}",
                self.id(),
                other.id()
            ),
        );
        Context(self.with(|claim| std::mem::replace(&mut claim.context, context)))
    }

    /// Uses it with this context again.
    pub fn has_context(&self, context: Context) {
        self.with(|claim| claim.context = context.0);
    }

    /// Whether the volume_context says that these are two volumes.
    pub fn differs_in_context(&self, other: &Volume<'_>) -> bool {
        let context = |volume: &Volume<'_>| volume.with(|claim| claim.context.clone());
        context(self) != context(other)
    }

    /// Stages and publishes it. None: the driver refused one of the calls.
    ///
    /// # Errors
    /// No answer, or an OK without the volume being there.
    pub async fn published_or_refused(&self, name: &str) -> Result<Option<Published<'a>>, Stop> {
        let staged = self.to_stage().await?;
        if staged.path.is_some() {
            let asked = staged.send_stage(staged.stage_request()).await?;
            if asked.refusal().is_some() {
                return Ok(None);
            }
        }
        let (request, target) = staged.publish_request(name)?;
        let asked = staged.send_publish(request.clone(), &target).await?;
        if asked.refusal().is_some() {
            return Ok(None);
        }
        let published = Published {
            staged,
            target,
            request,
        };
        published.is_there().await?;
        Ok(Some(published))
    }
}
