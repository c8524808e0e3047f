//! What the three services share: the records, and the way that every call goes.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use csi_proto::v1::volume_capability::access_mode::Mode;
use serde::{Deserialize, Serialize};
use tonic::{Request, Response, Status};

use super::Options;
use crate::common::calls::{self, Answers, Calls, Claim};
use crate::common::capability::Capability;
use crate::common::records::Records;
use crate::common::serve::{ServeError, StoreError, node_id};
use crate::defect::{Defect, Defects};
use crate::sys::{SysError, file};

/// All that is known of one volume.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Volume {
    /// The name it was asked for by, which is how a repeated CreateVolume finds it.
    pub(super) name: String,
    /// What it was asked to have at least; nobody sees to it that it has no more.
    pub(super) capacity_bytes: u64,
    /// Where it was staged, and as what.
    pub(super) stages: BTreeMap<PathBuf, Capability>,
    /// Where it was published, and how.
    pub(super) targets: BTreeMap<PathBuf, Target>,
}

/// How a volume is published at one target path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Target {
    pub(super) capability: Capability,
    pub(super) readonly: bool,
}

/// The volumes, by their ids.
pub(super) type Volumes = BTreeMap<String, Volume>;

/// The driver behind the services.
pub(super) struct Driver {
    pub(super) volumes: Records<Volumes>,
    pub(super) node_id: String,
    /// The program that answers for a mount, and all of its arguments but the last.
    pub(super) daemon: Vec<OsString>,
    pub(super) defects: Defects,
    folder: PathBuf,
    calls: Calls,
}

impl Driver {
    /// Opens the state folder.
    pub(super) fn open(options: &Options) -> Result<Self, ServeError> {
        let folder = options.state_dir.join("volumes");
        let socket = options.endpoint.path();
        let socket_folder = socket.parent().unwrap_or(socket).into();
        for path in [&options.state_dir, &folder] {
            file::make_dir(path, 0o700).map_err(StoreError::from)?;
        }
        let records = options.state_dir.join("records.json");
        Ok(Self {
            volumes: Records::open(records, |_| ())?,
            node_id: node_id(options.node_id.as_deref())?,
            daemon: [options.daemon.as_slice(), &[socket_folder]].concat(),
            defects: options.defects.clone(),
            folder,
            calls: Calls::new(options.defects.clone(), options.call_delay),
        })
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
        let work = move |driver: &Self, request: &Q, _: &_| work(driver, request);
        calls::call(self, rpc, request, claim, work).await
    }

    /// An RPC that this driver does not offer.
    pub(super) fn unimplemented<R>(&self, rpc: &'static str) -> Result<Response<R>, Status> {
        self.calls.unimplemented(rpc)
    }

    /// The volume of this id.
    ///
    /// # Errors
    ///
    /// NOT_FOUND.
    pub(super) fn volume(&self, id: &str) -> Result<Volume, Status> {
        let found = self.volumes.records().remove(id);
        found.ok_or_else(|| Status::not_found("there is no volume of this volume_id"))
    }

    /// Changes the record of a volume.
    pub(super) fn update(&self, id: &str, change: impl FnOnce(&mut Volume)) -> Result<(), Status> {
        self.volumes.update(|volumes| {
            volumes.get_mut(id).map(change);
            Ok(())
        })
    }

    /// The folder that holds what is in a volume. Ids become its name, and are
    /// looked up before.
    pub(super) fn folder(&self, id: &str) -> PathBuf {
        self.folder.join(id)
    }

    /// Whether the processes that answer for mounts are out of reach of whoever
    /// kills this one.
    pub(super) fn daemons_are_apart(&self) -> bool {
        !self.defects.has(Defect::FUSE_DIES_WITH_PLUGIN)
    }
}

impl Answers for Driver {
    fn calls(&self) -> &Calls {
        &self.calls
    }
}

/// Why this driver can serve no volume in this way, or that it can.
pub(super) fn check(capability: &Capability) -> Result<(), String> {
    match capability.mode() {
        Mode::SingleNodeWriter
        | Mode::SingleNodeReaderOnly
        | Mode::SingleNodeSingleWriter
        | Mode::SingleNodeMultiWriter => {}
        // A folder on one machine is seen by one machine.
        mode => return Err(format!("{} is not supported", mode.as_str_name())),
    }
    if capability.is_block() {
        return Err("a folder is no block device".to_owned());
    }
    if capability.fs_type().is_some() || capability.has_mount_group() {
        return Err("fs_type and volume_mount_group are not supported".to_owned());
    }
    Ok(())
}

/// A path at which something is mounted that is not ours.
pub(super) fn occupied(path: &Path) -> Status {
    let message = format!("something else is mounted at {}", path.display());
    Status::failed_precondition(message)
}

/// An error of the node itself, told to the caller.
pub(super) fn internal(error: SysError) -> Status {
    match error.errno() {
        // What somebody still uses is the caller's to settle.
        Some(libc::EBUSY) => Status::failed_precondition(error.to_string()),
        _ => Status::internal(error.to_string()),
    }
}
