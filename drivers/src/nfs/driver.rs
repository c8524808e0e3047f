//! What the three services share.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tonic::{Request, Response, Status};

use super::Options;
use super::source::Source;
use super::store::{self, Store};
use super::workplace;
use crate::common::calls::{self, Answers, Calls, Claim};
use crate::common::patience::Patience;
use crate::common::serve::{ServeError, StoreError, node_id};
use crate::defect::{Defect, Defects};
use crate::sys::file;

/// The driver behind the services.
pub(super) struct Driver {
    pub(super) store: Store,
    pub(super) defects: Defects,
    pub(super) node_id: String,
    /// Whether volumes are mounted at stage.
    pub(super) stages: bool,
    /// Where shares are mounted for the controller's own work.
    pub(super) workplaces: PathBuf,
    calls: Calls,
    remembered: Mutex<Remembered>,
}

/// What only defects need to remember.
#[derive(Debug, Default)]
struct Remembered {
    /// The source of each volume when it was first seen: same-handle-context-ignored.
    first_sources: HashMap<String, Source>,
    /// The source that was published first: wrong-volume.
    first_published: Option<Source>,
    /// Where a mount failed: stage-error-dir-then-ok.
    failed: HashSet<PathBuf>,
}

impl Driver {
    /// Opens the state folder, and clears away what a killed driver left in it.
    pub(super) fn open(options: &Options) -> Result<Self, ServeError> {
        file::make_dir(&options.state_dir, 0o700).map_err(StoreError::from)?;
        // The mount table has names without links.
        let read = |source| StoreError::Read {
            path: options.state_dir.clone(),
            source,
        };
        let state_dir = options.state_dir.canonicalize().map_err(read)?;
        let workplaces = state_dir.join("work");
        file::make_dir(&workplaces, 0o700).map_err(StoreError::from)?;
        workplace::clear(&workplaces).map_err(StoreError::from)?;
        let forgetful = options.defects.has(Defect::STATE_ON_PRIVATE_PATH);
        Ok(Self {
            store: store::open(&state_dir, forgetful)?,
            defects: options.defects.clone(),
            node_id: node_id(options.node_id.as_deref())?,
            stages: options.stage,
            workplaces,
            calls: Calls::new(options.defects.clone(), options.call_delay),
            remembered: Mutex::default(),
        })
    }

    /// One call, which claims its volume and may block for as long as its caller
    /// has patience.
    pub(super) async fn call<Q, R>(
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

    /// The defect nfs-bg-trusted: whether `bg` is a mount flag like others.
    pub(super) fn lets_background(&self) -> bool {
        self.defects.has(Defect::NFS_BG_TRUSTED)
    }

    /// The defect same-handle-context-ignored: the source that a volume had when
    /// it was first seen.
    pub(super) fn first_source(&self, volume_id: &str, source: Source) -> Source {
        if !self.defects.has(Defect::SAME_HANDLE_CONTEXT_IGNORED) {
            return source;
        }
        let mut remembered = self.remembered();
        let first = &mut remembered.first_sources;
        first.entry(volume_id.to_owned()).or_insert(source).clone()
    }

    /// The defect wrong-volume: the source that was published first.
    pub(super) fn first_published(&self, source: Source) -> Source {
        if !self.defects.has(Defect::WRONG_VOLUME) {
            return source;
        }
        let mut remembered = self.remembered();
        remembered.first_published.get_or_insert(source).clone()
    }

    /// The defect stage-error-dir-then-ok: whether a mount failed here before.
    pub(super) fn has_failed(&self, path: &Path) -> bool {
        self.remembered().failed.contains(path)
    }

    /// Remembers that a mount failed here, where that defect is wanted.
    pub(super) fn remember_failed(&self, path: &Path) {
        if self.defects.has(Defect::STAGE_ERROR_DIR_THEN_OK) {
            self.remembered().failed.insert(path.to_owned());
        }
    }

    fn remembered(&self) -> MutexGuard<'_, Remembered> {
        self.remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Answers for Driver {
    fn calls(&self) -> &Calls {
        &self.calls
    }
}
