//! A volume or a snapshot that was deleted, and what is still to be seen of it.

use std::time::Duration;

use csi_proto::rpc;
use csi_proto::v1::controller_service_capability::rpc::Type as ControllerRpc;

use super::claims::VolumeClaim;
use super::content::Snapshot;
use super::marker::Marker;
use super::step::Step;
use super::stop::{Checked, Stop};
use super::volume::Volume;
use super::wait::Patience;

/// How long a back end may take to carry out what it has promised.
const GOES_WITHIN: Duration = Duration::from_secs(10);

/// Values of parameters by which a driver keeps what is deleted, as its user wants it.
const KEEPS: [&str; 3] = ["retain", "retained", "keep"];

/// A volume that `DeleteVolume` answered OK for.
#[derive(Debug)]
pub struct Deleted<'a> {
    volume: Volume<'a>,
    name: String,
}

impl<'a> Volume<'a> {
    /// Deletes it, and keeps what is known of it, to look whether it is gone.
    ///
    /// # Errors
    /// The step failed, or the user has what is deleted kept.
    pub async fn is_deleted_for_good(self) -> Result<Deleted<'a>, Stop> {
        let parameters = &self.cx.session.config().parameters;
        let keeps = |value: &str| KEEPS.contains(&value.to_ascii_lowercase().as_str());
        if let Some((key, value)) = parameters.iter().find(|(_, value)| keeps(value)) {
            return Err(Stop::not_given(format!(
                "parameters that have a deleted volume deleted ({key} is {value})"
            )));
        }
        let name = self.name().unwrap_or_default();
        self.delete().await?;
        Ok(Deleted { volume: self, name })
    }
}

impl<'a> Deleted<'a> {
    /// What was written to it cannot be had any more.
    ///
    /// # Errors
    /// It can: the volume is still there.
    pub async fn is_gone(&self, marker: &Marker) -> Checked {
        // Behind the answer a back end may have its work still.
        let mut patience = Patience::new(GOES_WITHIN);
        while self.still_shows(marker).await? {
            if !patience.wait().await {
                return Err(Stop::fail(format!(
                    "DeleteVolume answered OK, and {} can be published still, with what was written to it",
                    self.volume.id()
                )));
            }
        }
        Ok(())
    }

    /// Brings it onto the node as if it were there. To refuse that, anywhere on the way,
    /// is right.
    async fn still_shows(&self, marker: &Marker) -> Result<bool, Stop> {
        let volume = self.volume;
        if !self.attaches().await? {
            return Ok(false);
        }
        let attempt = volume.attempt("deleted", &[]).await?;
        let published = attempt.published();
        let shows = attempt.is_ok() && matches!(published.holds(marker).await, Ok(true));
        // What becomes of it is no finding of this.
        if attempt.is_ok() {
            let _ = published.unpublish().await;
        }
        if attempt.is_staged() {
            let _ = published.staged().unstage().await;
        }
        let _ = volume.detach().await;
        Ok(shows)
    }

    async fn attaches(&self) -> Result<bool, Stop> {
        let (volume, cx) = (self.volume, self.volume.cx);
        if !cx
            .facts()
            .controller_can(ControllerRpc::PublishUnpublishVolume)
        {
            return Ok(true);
        }
        let asked = volume.ask_attach(&volume.attach_request()).await?;
        let attached = asked.ok().ok();
        let context = attached.map(|response| response.publish_context.into_iter().collect());
        let attaches = context.is_some();
        volume.with(|claim| claim.attached = context);
        Ok(attaches)
    }

    /// Its name is free: it makes a new volume, which can be used and does not hold what
    /// was written to this one.
    ///
    /// # Errors
    /// It does not, and when that was.
    pub async fn makes_way(&self, marker: &Marker, when: &str) -> Checked {
        let again = async { self.made_again().await?.stage().await?.publish("b").await };
        let again = again.await.map_err(|stop| stop.is_a_finding(when))?;
        again.lacks(marker).await
    }

    async fn made_again(&self) -> Result<Volume<'a>, Stop> {
        let (want, kind, number) = self
            .volume
            .with(|claim| (claim.want.clone(), claim.kind.clone(), claim.number));
        let mut claim = VolumeClaim::new(want, kind, number);
        claim.name = Some(self.name.clone());
        let cx = self.volume.cx;
        let volume = Volume::claim(cx, claim);
        let request = volume.create_request()?;
        let asked = cx.ask_patiently::<rpc::CreateVolume>(&request).await?;
        volume.is_made(asked.ok_or(cx, Step::Create)?).await?;
        Ok(volume)
    }
}

impl Snapshot<'_> {
    /// It was deleted: no volume is made from it any more that holds what it held.
    ///
    /// # Errors
    /// One is: the snapshot is still there.
    pub async fn is_gone(&self, marker: &Marker) -> Checked {
        let mut patience = Patience::new(GOES_WITHIN);
        while self.still_restores(marker).await? {
            if !patience.wait().await {
                return Err(Stop::fail(format!(
                    "DeleteSnapshot answered OK, and a volume can be made from {} still, with what it held",
                    self.id()
                )));
            }
        }
        Ok(())
    }

    /// Makes a volume from it as if it were there. To refuse that is right.
    async fn still_restores(&self, marker: &Marker) -> Result<bool, Stop> {
        match self.of.cx.volume(self.copy()).await {
            Ok(volume) => {
                let up = volume.comes_up("deleted").await;
                Ok(matches!(up, Ok(up) if matches!(up.holds(marker).await, Ok(true))))
            }
            Err(ours @ (Stop::Ours(_) | Stop::Unknown(_))) => Err(ours),
            Err(_) => Ok(false),
        }
    }
}
