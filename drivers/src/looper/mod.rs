//! The loop driver: volumes are sparse files, shown as disks by loop devices.
//!
//! Controller and node service run in one process on one machine, which is the
//! only node that the volumes can be used on. Every call is checked for its
//! arguments first (`args`), claims its volume (`locks`), compares what was
//! asked with the record (`volume`) and with what the kernel says (`sys`),
//! and does what is lacking.

mod args;
mod capability;
mod controller;
mod driver;
mod endpoint;
mod identity;
mod locks;
mod node;
mod services;
mod sys;
mod volume;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;

use crate::defect::{Defect, Defects};
use driver::Driver;
use services::Services;

pub use endpoint::{Endpoint, EndpointError};
pub use volume::StoreError;

/// How long calls under way may take to end after a signal.
const GRACE: Duration = Duration::from_secs(2);

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
        }
    }
}

/// Does what a defect needs before the process has a second thread; to be called
/// first of all in `main`.
///
/// # Errors
///
/// Those of unshare(2) and mount(2), which need CAP_SYS_ADMIN.
pub fn prepare(defects: &Defects) -> io::Result<()> {
    if defects.has(Defect::MOUNT_IN_PRIVATE_NAMESPACE) {
        unshare(CloneFlags::CLONE_NEWNS)?;
        let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)?;
    }
    Ok(())
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
///
/// Where the state folder or the socket cannot be used.
pub async fn serve(options: Options) -> Result<(), ServeError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Signal)?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
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
    let socket = options.endpoint.path().to_owned();
    if !options.defects.has(Defect::STALE_SOCKET_CRASHLOOP) {
        endpoint::remove_stale(&socket).map_err(|source| ServeError::socket(&socket, source))?;
    }
    let driver = Arc::new(Driver::open(&options)?);
    let listener =
        UnixListener::bind(&socket).map_err(|source| ServeError::socket(&socket, source))?;
    let ours = endpoint::identity(&socket);
    tracing::info!(socket = %socket.display(), defects = %options.defects, "serving");

    let (stopped, stopping) = tokio::sync::oneshot::channel::<()>();
    let incoming = UnixListenerStream::new(listener);
    let stop = async move {
        stop.await;
        let _ = stopped.send(());
    };
    let server =
        Server::builder().serve_with_incoming_shutdown(Services::new(&driver), incoming, stop);
    // A call that never ends must not keep the process for ever.
    let served = tokio::select! {
        served = server => served.map_err(ServeError::Transport),
        () = async { let _ = stopping.await; tokio::time::sleep(GRACE).await } => Ok(()),
    };
    if ours.is_some() && ours == endpoint::identity(&socket) {
        let _ = std::fs::remove_file(&socket);
    }
    served
}

/// Why the driver cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The state folder.
    #[error("the state folder: {0}")]
    State(#[from] StoreError),
    /// The node's name.
    #[error("{0}")]
    NodeId(String),
    /// The socket.
    #[error("cannot listen on {}: {source}", path.display())]
    Socket {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The handlers of SIGTERM and SIGINT.
    #[error("cannot wait for signals: {0}")]
    Signal(io::Error),
    /// The server itself.
    #[error("the server: {0}")]
    Transport(tonic::transport::Error),
}

impl ServeError {
    fn socket(path: &Path, source: io::Error) -> Self {
        Self::Socket {
            path: path.to_owned(),
            source,
        }
    }
}
