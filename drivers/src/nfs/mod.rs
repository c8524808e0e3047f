//! The NFS driver: volumes are folders of a share that some server exports.
//!
//! Where a volume is, its `volume_context` says (`source`): `server`, `share` and
//! `subDir`; so it also serves volumes that it never made. It mounts at publish,
//! or, told to, at stage, and binds from there. What is mounted, the mount table
//! says and nobody else: the records (`store`) only tell whose it should be.
//!
//! A server may be away, frozen or gone at any moment. So nothing here looks at a
//! path on a share but through a process that can be given up, every wait ends
//! when the caller's patience does, and what was begun is then taken back
//! (`mounting`).

mod args;
mod capability;
mod controller;
mod driver;
mod flags;
mod identity;
mod mounting;
mod node;
mod relay;
mod source;
mod store;
mod workplace;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::common::serve;
use crate::common::services::Services;
use crate::defect::Defects;
use controller::Controller;
use driver::Driver;
use identity::Identity;
use node::Node;

pub use crate::common::endpoint::{Endpoint, EndpointError};
pub use crate::common::serve::{ServeError, StoreError, prepare};

/// What the driver must be told.
#[derive(Debug, Clone)]
pub struct Options {
    /// The socket to serve on.
    pub endpoint: Endpoint,
    /// Where records are kept, and where shares are mounted to make and delete
    /// volumes on them. Its folder must exist.
    pub state_dir: PathBuf,
    /// Whether a volume is mounted at stage, and bound from there at publish.
    pub stage: bool,
    /// What the driver is to do wrong.
    pub defects: Defects,
    /// What `NodeGetInfo` calls this node; the host's name where it is not given.
    pub node_id: Option<String>,
    /// Every call takes at least this long: for tests of speed.
    pub call_delay: Option<Duration>,
}

impl Options {
    /// An honest driver on this socket that mounts at publish.
    pub fn new(endpoint: Endpoint, state_dir: impl Into<PathBuf>) -> Self {
        Self {
            endpoint,
            state_dir: state_dir.into(),
            stage: false,
            defects: Defects::default(),
            node_id: None,
            call_delay: None,
        }
    }
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
///
/// Where the state folder or the socket cannot be used.
pub async fn serve(options: Options) -> Result<(), ServeError> {
    let stop = serve::signalled()?;
    serve_until(options, stop).await
}

/// Serves until `stop` ends.
///
/// # Errors
///
/// Where the state folder or the socket cannot be used.
pub async fn serve_until(
    options: Options,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let open = || {
        let driver = Arc::new(Driver::open(&options)?);
        Ok(Services::new(
            Identity(Arc::clone(&driver)),
            Controller(Arc::clone(&driver)),
            Node(driver),
        ))
    };
    serve::serve_until(&options.endpoint, &options.defects, open, stop).await
}
