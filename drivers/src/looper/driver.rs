//! What the three services share: the volumes, and the way that every call goes.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tonic::{Code, Request, Response, Status};

use super::locks::Locks;
use super::sys::filesystem::Filesystem;
use super::volume::{Store, Volume};
use super::{Options, ServeError};
use crate::defect::{Defect, Defects};

/// A call that works on one volume at a time says which.
pub(super) type Claim<'a> = Option<&'a str>;

/// The driver behind the services.
pub(super) struct Driver {
    pub(super) store: Store,
    pub(super) defects: Defects,
    pub(super) node_id: String,
    /// The file systems that this machine can make and mount.
    pub(super) filesystems: Vec<Filesystem>,
    locks: Locks,
    call_delay: Option<Duration>,
    hung: AtomicBool,
    everything: tokio::sync::Mutex<()>,
    /// The volume that was published first, which the defect wrong-volume shows.
    pub(super) first_published: std::sync::Mutex<Option<std::path::PathBuf>>,
    /// Where a stage failed, which the defect stage-error-dir-then-ok mistakes.
    pub(super) failed_stages: std::sync::Mutex<std::collections::HashSet<std::path::PathBuf>>,
}

impl Driver {
    /// Opens the state folder.
    pub(super) fn open(options: &Options) -> Result<Self, ServeError> {
        let node_id = match &options.node_id {
            Some(node_id) => node_id.clone(),
            None => hostname()?,
        };
        if !is_label(&node_id) {
            return Err(ServeError::NodeId(format!(
                "the node's name {node_id:?} cannot be the value of a topology segment: 1 to 63 \
                 letters, digits, dashes, dots and underscores, a letter or digit at both ends"
            )));
        }
        let forgetful = options.defects.has(Defect::STATE_ON_PRIVATE_PATH);
        Ok(Self {
            store: Store::open(&options.state_dir, forgetful)?,
            defects: options.defects.clone(),
            node_id,
            filesystems: Filesystem::ALL
                .into_iter()
                .filter(|filesystem| filesystem.is_supported())
                .collect(),
            locks: Locks::default(),
            call_delay: options.call_delay,
            hung: AtomicBool::new(false),
            everything: tokio::sync::Mutex::new(()),
            first_published: std::sync::Mutex::default(),
            failed_stages: std::sync::Mutex::default(),
        })
    }

    /// One call: claims the volume, does the work where it may block, and logs a
    /// line that tells nothing of what was asked.
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
        let began = Instant::now();
        let request = request.into_inner();
        if self.defects.has(Defect::SECRET_IN_LOG) {
            tracing::info!(rpc, ?request, "request");
        }
        let answer = self.guarded(request, claim, work).await;
        let code = answer.as_ref().err().map_or(Code::Ok, Status::code);
        let took = began.elapsed().as_millis();
        match &answer {
            Ok(_) => tracing::info!(rpc, ?code, took_ms = took, "answered"),
            Err(status) => {
                tracing::warn!(
                    rpc,
                    ?code,
                    took_ms = took,
                    why = status.message(),
                    "refused"
                );
            }
        }
        answer.map(Response::new)
    }

    async fn guarded<Q, R>(
        self: &Arc<Self>,
        request: Q,
        claim: impl FnOnce(&Q) -> Claim<'_>,
        work: fn(&Driver, &Q) -> Result<R, Status>,
    ) -> Result<R, Status>
    where
        Q: Send + Sync + 'static,
        R: Send + 'static,
    {
        let _one_for_all = match self.defects.has(Defect::GLOBAL_MUTEX) {
            true => Some(self.everything.lock().await),
            false => None,
        };
        let held = match claim(&request).filter(|key| !key.is_empty()) {
            Some(key) if !self.defects.has(Defect::NO_PER_VOLUME_LOCK) => {
                Some(self.locks.hold(key)?)
            }
            _ => None,
        };
        if let Some(delay) = self.call_delay {
            tokio::time::sleep(delay).await;
        }
        let driver = Arc::clone(self);
        // The claim goes with the work, which goes on when the caller gives up.
        let work = move || {
            let answer = work(&driver, &request);
            if answer.is_err() && driver.defects.has(Defect::LOCK_NOT_RELEASED) {
                std::mem::forget(held);
            }
            answer
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| Status::internal(format!("the call ended early: {error}")))?
    }

    /// An RPC that this driver does not offer.
    pub(super) fn unimplemented<R>(&self, rpc: &'static str) -> Result<Response<R>, Status> {
        if self.defects.has(Defect::UNADVERTISED_RPC_PANICS) {
            std::process::abort();
        }
        tracing::info!(rpc, code = ?Code::Unimplemented, "refused");
        Err(Status::unimplemented(format!("{rpc} is not offered")))
    }

    /// Hangs for ever, the first time, with nothing held: the defect never-answers.
    pub(super) async fn maybe_hang(&self) {
        if self.defects.has(Defect::NEVER_ANSWERS) && !self.hung.swap(true, Ordering::SeqCst) {
            tracing::info!("the call hangs");
            std::future::pending::<()>().await;
        }
    }

    /// The disk image of a volume.
    pub(super) fn image(&self, volume: &Volume) -> std::path::PathBuf {
        self.store.image(&volume.id)
    }
}

fn hostname() -> Result<String, ServeError> {
    let name = nix::unistd::gethostname()
        .map_err(|error| ServeError::NodeId(format!("cannot read the host's name: {error}")))?;
    Ok(name.to_string_lossy().into_owned())
}

/// Whether this can be the value of a topology segment.
fn is_label(value: &str) -> bool {
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = value.as_bytes();
    bytes.len() <= 63
        && ends(bytes.first())
        && ends(bytes.last())
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}
