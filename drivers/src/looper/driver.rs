//! What the three services share: the volumes, and the way that every call goes.

use std::fmt::Debug;
use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::group::Groups;
use super::snapshot::Snapshots;
use super::volume::{Store, Volume};
use super::{Options, still};
use crate::common::calls::{self, Answers, Calls, Claim};
use crate::common::patience::Patience;
use crate::common::serve::{ServeError, node_id};
use crate::defect::{Defect, Defects};
use crate::sys::file;
use crate::sys::filesystem::Filesystem;

/// The driver behind the services.
pub(super) struct Driver {
    pub(super) store: Store,
    pub(super) snapshots: Snapshots,
    pub(super) groups: Groups,
    pub(super) defects: Defects,
    pub(super) node_id: String,
    /// Volumes are used through device-mapper devices.
    pub(super) device_mapper: bool,
    /// The file systems that this machine can make and mount.
    pub(super) filesystems: Vec<Filesystem>,
    calls: Calls,
    /// The volume that was published first, which the defect wrong-volume shows.
    pub(super) first_published: std::sync::Mutex<Option<std::path::PathBuf>>,
    /// Where an unstage failed, which the defect unstage-error-after-umount lets it once.
    pub(super) failed_unstages: std::sync::Mutex<std::collections::HashSet<std::path::PathBuf>>,
    /// Where a stage failed, which the defect stage-error-dir-then-ok mistakes.
    pub(super) failed_stages: std::sync::Mutex<std::collections::HashSet<std::path::PathBuf>>,
}

impl Driver {
    /// Opens the state folder.
    pub(super) fn open(options: &Options) -> Result<Self, ServeError> {
        let forgetful = options.defects.has(Defect::STATE_ON_PRIVATE_PATH);
        // The first of them makes the state folder.
        let store = Store::open(&options.state_dir, forgetful)?;
        let snapshots = Snapshots::open(&options.state_dir)?;
        let driver = Self {
            store,
            groups: Groups::open(&options.state_dir, &snapshots)?,
            snapshots,
            defects: options.defects.clone(),
            node_id: node_id(options.node_id.as_deref())?,
            device_mapper: options.device_mapper,
            filesystems: Filesystem::ALL
                .into_iter()
                .filter(|filesystem| filesystem.is_supported())
                .collect(),
            calls: Calls::new(options.defects.clone(), options.call_delay),
            first_published: std::sync::Mutex::default(),
            failed_unstages: std::sync::Mutex::default(),
            failed_stages: std::sync::Mutex::default(),
        };
        still::thaw_all(&driver);
        Ok(driver)
    }

    /// One call, which claims its volume and may block.
    pub(super) async fn call<Q, R>(
        self: &Arc<Self>,
        rpc: &'static str,
        request: Request<Q>,
        claim: impl FnOnce(&Q) -> Claim<'_>,
        work: fn(&Driver, &Q) -> Result<R, Status>,
    ) -> Result<Response<R>, Status>
    where
        Q: Debug + Send + Sync + 'static,
        R: Send + 'static,
    {
        // Nothing that this driver waits for can keep it for long.
        let work = move |driver: &Self, request: &Q, _: &_| work(driver, request);
        calls::call(self, rpc, request, claim, work).await
    }

    /// The same, for work that looks whether its caller is still there.
    pub(super) async fn patient_call<Q, R>(
        self: &Arc<Self>,
        rpc: &'static str,
        request: Request<Q>,
        claim: impl FnOnce(&Q) -> Claim<'_>,
        work: fn(&Driver, &Q, &Patience) -> Result<R, Status>,
    ) -> Result<Response<R>, Status>
    where
        Q: Debug + Send + Sync + 'static,
        R: Send + 'static,
    {
        calls::call(self, rpc, request, claim, work).await
    }

    /// An RPC that this driver does not offer.
    pub(super) fn unimplemented<R>(&self, rpc: &'static str) -> Result<Response<R>, Status> {
        self.calls.unimplemented(rpc)
    }

    /// The disk image of a volume.
    pub(super) fn image(&self, volume: &Volume) -> std::path::PathBuf {
        let image = self.store.image(&volume.id);
        match self.defects.has(Defect::DEVICE_ALIAS_TRUSTED) {
            true => file::led_to(&self.store.alias(&volume.id)).unwrap_or(image),
            false => image,
        }
    }
}

impl Answers for Driver {
    fn calls(&self) -> &Calls {
        &self.calls
    }
}
