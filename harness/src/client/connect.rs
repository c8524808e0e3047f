//! One connection for one call, as the kubelet makes them.

use std::error::Error;
use std::path::PathBuf;

use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};
use tonic::transport::Channel;

use crate::config::Endpoint;

/// A connection that was accepted.
#[derive(Debug)]
pub struct Connection {
    pub(super) channel: Channel,
    /// Who bound the socket (`SO_PEERCRED`, unix(7)): perhaps a parent that is
    /// long dead; none over TCP or across pid namespaces.
    pub peer: Option<i32>,
}

/// Nobody accepts connections there.
#[derive(Debug, thiserror::Error)]
pub enum NoConnection {
    /// The Unix socket.
    #[error("connect to {}: {source}", path.display())]
    Unix {
        /// Its path.
        path: PathBuf,
        /// `ENOENT`: no file; `ECONNREFUSED`: a file that nobody listens on.
        source: std::io::Error,
    },
    /// The TCP address.
    #[error("connect to {address}: {source}")]
    Tcp {
        /// `host:port`.
        address: String,
        /// Why not.
        source: std::io::Error,
    },
    /// It was accepted, and then no HTTP/2 could be spoken.
    #[error("no HTTP/2 at {endpoint}: {why}")]
    Http2 {
        /// Where.
        endpoint: String,
        /// Why not.
        why: String,
    },
}

impl Connection {
    /// Opens one. The `:authority` is `localhost`, as from the kubelet: some
    /// servers reset a stream whose authority is a path.
    ///
    /// # Errors
    /// Nobody listens, or what listens closes at once.
    pub async fn open(endpoint: &Endpoint) -> Result<Self, NoConnection> {
        match endpoint {
            Endpoint::Unix(path) => {
                let stream =
                    UnixStream::connect(path)
                        .await
                        .map_err(|source| NoConnection::Unix {
                            path: path.clone(),
                            source,
                        })?;
                let peer = stream
                    .peer_cred()
                    .ok()
                    .and_then(|c| c.pid())
                    .filter(|pid| *pid > 0);
                Ok(Self {
                    channel: speak(endpoint, "localhost", stream).await?,
                    peer,
                })
            }
            Endpoint::Tcp { host, port } => {
                let address = format!("{host}:{port}");
                let stream =
                    TcpStream::connect((host.as_str(), *port))
                        .await
                        .map_err(|source| NoConnection::Tcp {
                            address: address.clone(),
                            source,
                        })?;
                Ok(Self {
                    channel: speak(endpoint, &address, stream).await?,
                    peer: None,
                })
            }
        }
    }
}

/// Puts HTTP/2 on a stream that is already connected.
async fn speak<S>(endpoint: &Endpoint, authority: &str, stream: S) -> Result<Channel, NoConnection>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let wrong = |why: String| NoConnection::Http2 {
        endpoint: endpoint.to_string(),
        why,
    };
    let origin = tonic::transport::Endpoint::from_shared(format!("http://{authority}"))
        .map_err(|e| wrong(chain(&e)))?;
    let mut stream = Some(TokioIo::new(stream));
    let once = tower::service_fn(move |_: http::Uri| {
        let stream = stream.take();
        async move { stream.ok_or_else(|| std::io::Error::other("the connection was lost")) }
    });
    origin
        .connect_with_connector(once)
        .await
        .map_err(|e| wrong(chain(&e)))
}

/// An error with all its causes, in one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        let more = deeper.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = deeper.source();
    }
    text
}
