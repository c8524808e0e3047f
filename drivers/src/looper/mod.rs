//! The loop driver: volumes are sparse files, shown as disks by loop devices.
//!
//! Controller and node service run in one process on one machine, which is the
//! only node that the volumes can be used on. Every call is checked for its
//! arguments first (`args`), claims its volume, compares what was
//! asked with the record (`volume`) and with what the kernel says (`sys`),
//! and does what is lacking.

mod args;
mod capability;
mod controller;
mod driver;
mod group;
mod identity;
mod node;
mod snapshot;
mod still;
mod volume;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::common::serve;
use crate::common::services::Services;
use crate::defect::Defects;
use controller::{Controller, GroupController};
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
    /// Where volumes and their records are kept. Its folder must exist.
    pub state_dir: PathBuf,
    /// What the driver is to do wrong.
    pub defects: Defects,
    /// What `NodeGetInfo` calls this node; the host's name where it is not given.
    pub node_id: Option<String>,
    /// Every call takes at least this long: for tests of speed.
    pub call_delay: Option<Duration>,
    /// Over each loop device lies a device-mapper device, which is what is mounted and
    /// shown: a logical volume, as LVM has them. It is made by the first stage, and stays
    /// until the volume is deleted. See [`has_device_mapper`].
    pub device_mapper: bool,
}

impl Options {
    /// An honest driver on this socket, with its volumes in this folder.
    pub fn new(endpoint: Endpoint, state_dir: impl Into<PathBuf>) -> Self {
        Self {
            endpoint,
            state_dir: state_dir.into(),
            defects: Defects::default(),
            node_id: None,
            call_delay: None,
            device_mapper: false,
        }
    }
}

/// Whether this machine has what [`Options::device_mapper`] takes.
pub fn has_device_mapper() -> bool {
    crate::sys::mapped::is_supported()
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
            Node(Arc::clone(&driver)),
        )
        .with_groups(GroupController(driver)))
    };
    serve::serve_until(&options.endpoint, &options.defects, open, stop).await
}
