//! A volume, and what is done with it before it is published.

use std::collections::BTreeMap;

use csi_proto::rpc;
use csi_proto::v1;
use csi_proto::v1::controller_service_capability::rpc::Type as ControllerRpc;
use csi_proto::v1::volume_capability::access_mode::Mode;

use super::claims::{VolumeClaim, are_no_ones_here};
use super::content::Source;
use super::create;
use super::cx::{Asked, Cx};
use super::hooks;
use super::kind::Kind;
use super::servers::Server;
use super::staged::Staged;
use super::step::{Access, Step};
use super::stop::Stop;
use crate::config::is_ephemeral;

/// What kind of volume a check wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// Its kind; none: that of the case.
    pub kind: Option<Kind>,
    /// The access mode; none: the user's first, or SINGLE_NODE_WRITER.
    pub mode: Option<Mode>,
    /// Mount flags; none: the user's.
    pub flags: Option<Vec<String>>,
    /// Mount flags beside those, when it is staged and published.
    pub more_flags: Vec<String>,
    /// Never used before.
    pub fresh: bool,
    /// One byte more than a round size.
    pub odd_size: bool,
    /// Its size in bytes; none: the user's.
    pub bytes: Option<i64>,
    /// The most that it may have, in bytes; none: the user's.
    pub limit: Option<i64>,
    /// What it is made from.
    pub source: Option<Source>,
    /// The NFS server of the lab's that it lies on; none: the one for all.
    pub server: Option<u32>,
    /// Its share on that server; none: the first.
    pub share: Option<String>,
}

impl Want {
    /// A volume of the case's kind.
    pub fn any() -> Self {
        Self {
            kind: None,
            mode: None,
            flags: None,
            more_flags: Vec::new(),
            fresh: false,
            odd_size: false,
            bytes: None,
            limit: None,
            source: None,
            server: None,
            share: None,
        }
    }

    /// One that was never used.
    pub fn fresh() -> Self {
        Self {
            fresh: true,
            ..Self::any()
        }
    }

    /// One that was never used where the driver creates volumes, else any.
    pub fn fresh_if_created(cx: &Cx) -> Self {
        Self {
            fresh: cx.facts().creates(),
            ..Self::any()
        }
    }

    /// The same, of a size that is no round number.
    pub fn odd_size(self) -> Self {
        Self {
            odd_size: true,
            ..self
        }
    }

    /// The same, of this many bytes.
    pub fn bytes(self, bytes: i64) -> Self {
        Self {
            bytes: Some(bytes),
            ..self
        }
    }

    /// One of this kind.
    pub fn of(kind: Kind) -> Self {
        Self {
            kind: Some(kind),
            ..Self::any()
        }
    }

    /// The same, with this access mode.
    pub fn mode(self, mode: Mode) -> Self {
        Self {
            mode: Some(mode),
            ..self
        }
    }

    /// The same, on this server of the lab's.
    pub fn on(self, server: &Server<'_>) -> Self {
        Self {
            server: Some(server.number()),
            ..self
        }
    }

    /// The same, on this share of that server.
    pub fn share(self, share: &str) -> Self {
        Self {
            share: Some(share.to_owned()),
            ..self
        }
    }

    /// The same, with these mount flags.
    pub fn flags(self, flags: &[&str]) -> Self {
        Self {
            flags: Some(owned(flags)),
            ..self
        }
    }

    /// The same, with these mount flags too when it is staged and published.
    pub fn more_flags(self, flags: &[&str]) -> Self {
        Self {
            more_flags: owned(flags),
            ..self
        }
    }
}

pub(super) fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// A volume that exists.
#[derive(Debug, Clone, Copy)]
pub struct Volume<'a> {
    pub(super) cx: &'a Cx,
    pub(super) handle: usize,
}

impl<'a> Volume<'a> {
    pub(super) async fn get(cx: &'a Cx, mut want: Want) -> Result<Self, Stop> {
        want.mode = want.mode.or(cx.mode);
        let kind = match &want.kind {
            Some(kind) => kind.clone(),
            None => cx.kind()?,
        };
        if let Some(skip) = cx.facts().lacks_volume(kind.access()) {
            return Err(Stop::Lack(skip));
        }
        cx.session.tries(kind.access());
        let leased = if want.fresh {
            None
        } else {
            cx.session.lease(&want, &kind)
        };
        let claim = match leased {
            Some(claim) => claim,
            None if cx.facts().creates() => return Self::create(cx, want, kind).await,
            None => super::given::take(cx, want, kind).await?,
        };
        Ok(Self::claim(cx, claim))
    }

    pub(super) fn claim(cx: &'a Cx, claim: VolumeClaim) -> Self {
        let mut claims = cx.claims();
        claims.volumes.push(claim);
        Self {
            cx,
            handle: claims.volumes.len() - 1,
        }
    }

    async fn create(cx: &'a Cx, want: Want, kind: Kind) -> Result<Self, Stop> {
        let access = kind.access();
        let volume = Self::unborn(cx, want, kind)?;
        let request = volume.create_request()?;
        let asked = cx.ask_patiently::<rpc::CreateVolume>(&request).await?;
        if asked.refusal().is_some() {
            volume.with(|claim| claim.name = None);
        }
        let response = match volume.creation() {
            Step::Create => asked.ok_or_declined(cx, Step::Create, access)?,
            step => asked.ok_or(cx, step)?,
        };
        volume.is_made(response).await?;
        Ok(volume)
    }

    /// A volume that has a name, and is not asked for yet.
    pub(super) fn unborn(cx: &'a Cx, want: Want, kind: Kind) -> Result<Self, Stop> {
        // What is not asked any more makes no claim.
        cx.session.may_ask("CreateVolume", cx.kind.as_ref())?;
        let number = cx.session.number();
        let name = cx
            .session
            .volume_name(number)
            .map_err(|e| Stop::ours("make a volume's name", e))?;
        let mut claim = VolumeClaim::new(want, kind, number);
        claim.name = Some(name);
        Ok(Self::claim(cx, claim))
    }

    /// The step that its creation is: from nothing, or from a source.
    fn creation(&self) -> Step {
        let source = self.with(|claim| claim.want.source.clone());
        source.as_ref().map_or(Step::Create, Source::step)
    }

    /// `CreateVolume` answered OK.
    pub(super) async fn is_made(&self, response: v1::CreateVolumeResponse) -> Result<(), Stop> {
        let cx = self.cx;
        let step = self.creation();
        let Some(made) = response.volume.filter(|made| !made.volume_id.is_empty()) else {
            return Err(cx.blame(step, "CreateVolume answered OK without a volume id"));
        };
        self.with(|claim| {
            claim.id = Some(made.volume_id.clone());
            claim.capacity = made.capacity_bytes;
            claim.context = made.volume_context.clone().into_iter().collect();
        });
        cx.session.works(step, self.access());
        cx.session.write_down_volume(
            &made.volume_id,
            &self.with(|claim| claim.name.clone()).unwrap_or_default(),
        );
        hooks::after_create(cx, &made.volume_id).await
    }

    /// The request that creates it: the same each time.
    ///
    /// # Errors
    /// The user's parameters cannot be filled in.
    pub fn create_request(&self) -> Result<v1::CreateVolumeRequest, Stop> {
        let claim = self.with(|claim| claim.clone());
        create::request(self.cx, &claim)
    }

    pub(super) fn with<T>(&self, f: impl FnOnce(&mut VolumeClaim) -> T) -> T {
        f(self.cx.claims().of(self.handle))
    }

    /// What is written to it is there when it is published again: so of every
    /// volume but those that live and die with their pod (inline, ephemeral).
    ///
    /// # Errors
    /// This one is ephemeral.
    pub fn keeps_data(&self) -> Result<(), Stop> {
        self.not_ephemeral("data that outlives its pod (the volume is ephemeral)")
    }

    /// It is a disk that was attached, and neither made from a file of this node nor mapped
    /// from one of its disks: of a cloud, or of a storage in the network. So far as it was
    /// seen, which it is once it is published.
    pub fn is_a_disk_from_elsewhere(&self) -> bool {
        let attaches = ControllerRpc::PublishUnpublishVolume;
        self.cx.facts().controller_can(attaches)
            && self.with(|claim| are_no_ones_here(&claim.disks))
    }

    /// It is to have a file system, was created for us, and never published.
    pub(super) fn is_a_new_file_system(&self) -> bool {
        self.access() == Access::Mount && self.with(|claim| claim.is_ours() && !claim.was_up)
    }

    /// What a refusal to bring it up for a reader is: a file system is made by whoever
    /// may write, so that a new volume can well be refused.
    #[must_use]
    pub fn unless_new(&self, stop: Stop) -> Stop {
        let refused = matches!(stop, Stop::Fail(_) | Stop::Blocked { refused: true, .. });
        match refused && self.is_a_new_file_system() {
            true => Stop::not_offered("new volumes for readers alone"),
            false => stop,
        }
    }

    /// It may come with mount flags. They are a PV's: with a volume that stands in the
    /// pod itself the kubelet sends none (KEP 596).
    ///
    /// # Errors
    /// This one is ephemeral.
    pub fn takes_flags(&self) -> Result<(), Stop> {
        self.not_ephemeral("mount flags (the volume is ephemeral)")
    }

    /// More than one pod may use it at once: one that stands in a pod itself has an id of
    /// its own for each pod, is there for that one alone, and goes with its target.
    ///
    /// # Errors
    /// This one is ephemeral.
    pub fn has_many_targets(&self) -> Result<(), Stop> {
        self.not_ephemeral("a second target (the volume is ephemeral)")
    }

    fn not_ephemeral(&self, what: &str) -> Result<(), Stop> {
        match self.with(|claim| is_ephemeral(&claim.context)) {
            true => Err(Stop::not_offered(what)),
            false => Ok(()),
        }
    }

    /// Its id, as the driver gave it.
    pub fn id(&self) -> String {
        self.with(|claim| claim.id.clone()).unwrap_or_default()
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        self.with(|claim| claim.kind.clone())
    }

    /// How it is seen.
    pub fn access(&self) -> Access {
        self.with(|claim| claim.kind.access())
    }

    /// Its size in bytes as the driver told it; 0: not told.
    pub fn capacity(&self) -> i64 {
        self.with(|claim| claim.capacity)
    }

    /// The capability that it is used with.
    pub fn capability(&self) -> v1::VolumeCapability {
        let claim = self.with(|claim| claim.clone());
        create::capability(self.cx, &claim, &claim.want.more_flags)
    }

    /// Makes it available on this node: `ControllerPublishVolume`, where the
    /// driver has that.
    ///
    /// # Errors
    /// The step failed.
    pub async fn attach(&self) -> Result<(), Stop> {
        let facts = self.cx.facts();
        if !facts.controller_can(ControllerRpc::PublishUnpublishVolume) {
            return Ok(());
        }
        if self.with(|claim| claim.attached.is_some()) {
            return Ok(());
        }
        self.send_attach(self.attach_request()).await
    }

    /// Makes it available on this node for reading alone.
    ///
    /// # Errors
    /// The step failed.
    pub async fn attach_read_only(&self) -> Result<(), Stop> {
        let request = v1::ControllerPublishVolumeRequest {
            readonly: true,
            ..self.attach_request()
        };
        self.send_attach(request).await
    }

    /// Sends this request, whatever the answer: from now on it may be attached.
    pub(super) async fn ask_attach(
        &self,
        request: &v1::ControllerPublishVolumeRequest,
    ) -> Result<Asked<v1::ControllerPublishVolumeResponse>, Stop> {
        self.with(|claim| claim.may_be_attached = true);
        self.cx
            .ask_patiently::<rpc::ControllerPublishVolume>(request)
            .await
    }

    async fn send_attach(&self, request: v1::ControllerPublishVolumeRequest) -> Result<(), Stop> {
        let asked = self.ask_attach(&request).await?;
        let response = asked.ok_or(self.cx, Step::Attach)?;
        self.with(|claim| claim.attached = Some(response.publish_context.into_iter().collect()));
        Ok(())
    }

    /// The request that attaches it.
    pub fn attach_request(&self) -> v1::ControllerPublishVolumeRequest {
        let node = self
            .cx
            .facts()
            .node_info
            .as_ref()
            .map(|info| info.node_id.clone());
        v1::ControllerPublishVolumeRequest {
            volume_id: self.id(),
            node_id: node.unwrap_or_default(),
            volume_capability: Some(self.capability()),
            readonly: self.with(|claim| claim.readonly)
                && self
                    .cx
                    .facts()
                    .controller_can(ControllerRpc::PublishReadonly),
            secrets: self.cx.secrets("ControllerPublishVolume"),
            volume_context: self
                .with(|claim| claim.context.clone())
                .into_iter()
                .collect(),
        }
    }

    /// Takes it from this node: `ControllerUnpublishVolume`, where the driver has
    /// that.
    ///
    /// # Errors
    /// The step failed.
    pub async fn detach(&self) -> Result<(), Stop> {
        let facts = self.cx.facts();
        if !facts.controller_can(ControllerRpc::PublishUnpublishVolume)
            || !self.with(|claim| claim.may_be_attached)
        {
            return Ok(());
        }
        let request = self.detach_request();
        let asked = self
            .cx
            .ask_patiently::<rpc::ControllerUnpublishVolume>(&request)
            .await?;
        asked.ok_or(self.cx, Step::Detach)?;
        self.with(VolumeClaim::was_detached);
        Ok(())
    }

    /// The request that detaches it.
    pub fn detach_request(&self) -> v1::ControllerUnpublishVolumeRequest {
        let node = self.cx.facts().node_info.as_ref();
        v1::ControllerUnpublishVolumeRequest {
            volume_id: self.id(),
            node_id: node.map(|info| info.node_id.clone()).unwrap_or_default(),
            secrets: self.cx.secrets("ControllerUnpublishVolume"),
        }
    }

    /// The context from attach; empty where there was none.
    pub fn publish_context(&self) -> BTreeMap<String, String> {
        self.with(|claim| claim.attached.clone())
            .unwrap_or_default()
    }

    /// The request that validates what it was created with.
    ///
    /// # Errors
    /// The user's parameters cannot be filled in.
    pub fn validate_request(&self) -> Result<v1::ValidateVolumeCapabilitiesRequest, Stop> {
        let config = self.cx.session.config();
        let claim = self.with(|claim| claim.clone());
        Ok(v1::ValidateVolumeCapabilitiesRequest {
            volume_id: self.id(),
            volume_context: self
                .with(|claim| claim.context.clone())
                .into_iter()
                .collect(),
            volume_capabilities: vec![self.capability()],
            parameters: create::filled(self.cx, &claim, &config.parameters)?,
            secrets: self.cx.secrets("ValidateVolumeCapabilities"),
            ..Default::default()
        })
    }

    /// The loop devices that first appeared when it was staged or published, and
    /// are there still; in words.
    pub async fn devices_left(&self) -> Vec<String> {
        let mut devices = self.with(|claim| claim.devices.clone());
        super::negate::still_there(&mut devices).await;
        devices.iter().map(super::negate::device_words).collect()
    }

    /// Attaches and stages it, as far as the driver has these.
    ///
    /// # Errors
    /// A step failed.
    pub async fn stage(&self) -> Result<Staged<'a>, Stop> {
        let staged = self.to_stage().await?;
        staged.stage().await?;
        Ok(staged)
    }

    /// Attaches it and makes its staging folder, and stops before
    /// `NodeStageVolume`.
    ///
    /// # Errors
    /// A step failed.
    pub async fn to_stage(&self) -> Result<Staged<'a>, Stop> {
        self.attach().await?;
        Staged::prepare(*self)
    }

    /// Deletes it, after everything else of it was taken back.
    ///
    /// # Errors
    /// The step failed.
    pub async fn delete(&self) -> Result<(), Stop> {
        let request = self.delete_request();
        let asked: Asked<_> = self.cx.ask_patiently::<rpc::DeleteVolume>(&request).await?;
        asked.ok_or(self.cx, Step::Delete)?;
        self.is_deleted();
        Ok(())
    }

    /// The request that deletes it.
    pub fn delete_request(&self) -> v1::DeleteVolumeRequest {
        v1::DeleteVolumeRequest {
            volume_id: self.id(),
            secrets: self.cx.secrets("DeleteVolume"),
        }
    }

    /// `DeleteVolume` answered OK.
    pub(super) fn is_deleted(&self) {
        let name = self.with(|claim| claim.name.take()).unwrap_or_default();
        self.cx.session.strike_out_volume(&self.id(), &name);
    }
}
