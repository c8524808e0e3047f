//! The socket: how it is named, and what is left of it by a process that was killed.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

/// The longest path that a socket address holds, beside its closing zero (unix(7)).
const LONGEST: usize = 107;

/// Where to serve: a Unix socket, as `CSI_ENDPOINT` names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(PathBuf);

impl Endpoint {
    /// The socket's path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    /// `unix:///path`, `unix:/path`, or a bare absolute path.
    fn from_str(endpoint: &str) -> Result<Self, EndpointError> {
        let path = match endpoint.strip_prefix("unix:") {
            Some(rest) => rest.strip_prefix("//").unwrap_or(rest),
            None => endpoint,
        };
        Self::try_from(PathBuf::from(path))
    }
}

impl TryFrom<PathBuf> for Endpoint {
    type Error = EndpointError;

    fn try_from(path: PathBuf) -> Result<Self, EndpointError> {
        if !path.is_absolute() {
            return Err(EndpointError::NotUnix(path));
        }
        if path.as_os_str().len() > LONGEST {
            return Err(EndpointError::TooLong(path));
        }
        Ok(Self(path))
    }
}

/// This is no socket to serve on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Another scheme, or a relative path.
    #[error("{} is neither unix:///absolute/path nor an absolute path", .0.display())]
    NotUnix(PathBuf),
    /// The kernel would not take it.
    #[error("{} is longer than the {LONGEST} bytes of a socket's path", .0.display())]
    TooLong(PathBuf),
}

/// How long a socket may outlive a process that was killed: a child that it was about to
/// start has it until its exec(2).
const LETS_GO_WITHIN: Duration = Duration::from_secs(1);

/// Removes the socket of a process that is no more. A socket that somebody
/// still answers on, and whatever is no socket, is left alone.
pub(crate) fn remove_stale(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::other(
            "there is a file of this name, and it is no socket",
        ));
    }
    let until = Instant::now() + LETS_GO_WITHIN;
    while UnixStream::connect(path).is_ok() {
        if Instant::now() > until {
            return Err(io::Error::other("another process serves there"));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    fs::remove_file(path)
}

/// Which file a path names, if any.
pub(crate) fn identity(path: &Path) -> Option<(u64, u64)> {
    let found = fs::symlink_metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_an_endpoint() {
        for form in [
            "unix:///run/csi.sock",
            "unix:/run/csi.sock",
            "/run/csi.sock",
        ] {
            let endpoint: Endpoint = form.parse().expect("an endpoint");
            assert_eq!(endpoint.path(), Path::new("/run/csi.sock"));
        }
        for form in ["tcp://host:1", "csi.sock", "unix://csi.sock", ""] {
            assert!(form.parse::<Endpoint>().is_err(), "{form}");
        }
        let long = format!("/{}", "x".repeat(LONGEST));
        assert!(matches!(
            long.parse::<Endpoint>(),
            Err(EndpointError::TooLong(_))
        ));
    }

    #[test]
    fn only_a_dead_socket_is_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("csi.sock");
        let listener = std::os::unix::net::UnixListener::bind(&socket).expect("bound");
        assert!(remove_stale(&socket).is_err());
        drop(listener);
        remove_stale(&socket).expect("removed");
        assert!(!socket.exists());
        fs::write(&socket, "a file").expect("written");
        assert!(remove_stale(&socket).is_err());
    }
}
