//! The FUSE driver: volumes are folders, each mounted by a process of its own.
//!
//! It stands for the drivers whose mounts live only as long as some process does.
//! That process (`passthrough`) is started at stage, has a session of its own, and
//! ends with its mount: the plugin may be killed, and what is mounted stays. What is
//! mounted where, and whether anybody still answers for it, the kernel says; the
//! records only tell how it was asked for.

mod controller;
mod driver;
mod files;
mod identity;
mod node;
mod passthrough;

use std::ffi::OsString;
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
pub use passthrough::serve_folder;

/// What the driver must be told.
#[derive(Debug, Clone)]
pub struct Options {
    /// The socket to serve on.
    pub endpoint: Endpoint,
    /// Where volumes and records are kept. Its folder must exist.
    pub state_dir: PathBuf,
    /// The program, and its first arguments, that calls [`serve_folder`] with two
    /// folders that are added to them: that of the socket, and that of the volume.
    pub daemon: Vec<OsString>,
    /// What the driver is to do wrong.
    pub defects: Defects,
    /// What `NodeGetInfo` calls this node; the host's name where it is not given.
    pub node_id: Option<String>,
    /// Every call takes at least this long: for tests of speed.
    pub call_delay: Option<Duration>,
}

impl Options {
    /// An honest driver on this socket, with its volumes in this folder.
    pub fn new(endpoint: Endpoint, state_dir: impl Into<PathBuf>, daemon: Vec<OsString>) -> Self {
        Self {
            endpoint,
            state_dir: state_dir.into(),
            daemon,
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
