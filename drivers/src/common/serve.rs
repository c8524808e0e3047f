//! From the socket to the signal that ends it all.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use csi_proto::v1::controller_server::Controller;
use csi_proto::v1::group_controller_server::GroupController;
use csi_proto::v1::identity_server::Identity;
use csi_proto::v1::node_server::Node;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;

use super::endpoint::{self, Endpoint};
use super::services::Services;
use crate::defect::{Defect, Defects};

/// How long calls under way may take to end after a signal.
const GRACE: Duration = Duration::from_secs(2);

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

/// Ends at SIGTERM or SIGINT.
pub(crate) fn signalled() -> Result<impl Future<Output = ()> + Send + 'static, ServeError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Signal)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Serves what `open` makes until `stop` ends. What a killed process left of the
/// socket is cleared away first.
pub(crate) async fn serve_until<I: Identity, C: Controller, N: Node, G: GroupController>(
    endpoint: &Endpoint,
    defects: &Defects,
    open: impl FnOnce() -> Result<Services<I, C, N, G>, ServeError>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let socket = endpoint.path();
    if !defects.has(Defect::STALE_SOCKET_CRASHLOOP) {
        endpoint::remove_stale(socket).map_err(|source| ServeError::socket(socket, source))?;
    }
    let services = open()?;
    let listener =
        UnixListener::bind(socket).map_err(|source| ServeError::socket(socket, source))?;
    let ours = endpoint::identity(socket);
    tracing::info!(socket = %socket.display(), %defects, "serving");

    let (stopped, stopping) = tokio::sync::oneshot::channel::<()>();
    let incoming = UnixListenerStream::new(listener);
    let stop = async move {
        stop.await;
        let _ = stopped.send(());
    };
    let server = Server::builder().serve_with_incoming_shutdown(services, incoming, stop);
    // A call that never ends must not keep the process for ever.
    let served = tokio::select! {
        served = server => served.map_err(ServeError::Transport),
        () = async { let _ = stopping.await; tokio::time::sleep(GRACE).await } => Ok(()),
    };
    if ours.is_some() && ours == endpoint::identity(socket) {
        let _ = std::fs::remove_file(socket);
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

/// The state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A record or the folder cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something cannot be made or removed there.
    #[error("{0}")]
    Change(String),
}

impl From<crate::sys::SysError> for StoreError {
    fn from(error: crate::sys::SysError) -> Self {
        Self::Change(error.to_string())
    }
}

/// What `NodeGetInfo` calls this node: what was said, or the host's name.
///
/// # Errors
///
/// Where it cannot be the value of a topology segment, which node ids often become.
pub(crate) fn node_id(given: Option<&str>) -> Result<String, ServeError> {
    let node_id = match given {
        Some(given) => given.to_owned(),
        None => hostname()?,
    };
    if !is_label(&node_id) {
        return Err(ServeError::NodeId(format!(
            "the node's name {node_id:?} cannot be the value of a topology segment: 1 to 63 \
             letters, digits, dashes, dots and underscores, a letter or digit at both ends"
        )));
    }
    Ok(node_id)
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
