//! Where a driver listens.

use super::ParseError;
use super::text::as_text;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// `sun_path` holds 108 bytes, of which the last is the NUL (unix(7)).
const LONGEST_SOCKET_PATH: usize = 107;

/// Where a driver listens. Written as a bare path, `unix:path`,
/// `unix:///path`, `tcp://host:port` or `dns:///host:port`; [`fmt::Display`]
/// gives the one form that every gRPC stack takes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A Unix socket.
    Unix(PathBuf),
    /// A host and port, for a controller that runs elsewhere.
    Tcp {
        /// A name or an address; an IPv6 address without its brackets.
        host: String,
        /// The port, not 0.
        port: u16,
    },
}

impl Endpoint {
    /// A Unix socket at `path`.
    ///
    /// # Errors
    /// When the kernel could not take the path: too long, empty, or a NUL in it.
    pub fn unix(path: impl Into<PathBuf>) -> Result<Self, ParseError> {
        let path = path.into();
        let bytes = path.as_os_str().as_bytes();
        if bytes.is_empty() {
            return Err(ParseError::new("an endpoint needs the path of a socket"));
        }
        if bytes.contains(&0) {
            return Err(ParseError::new(
                "the path of a socket cannot hold a NUL byte",
            ));
        }
        if bytes.len() > LONGEST_SOCKET_PATH {
            return Err(ParseError::new(format!(
                "`{}` has {} bytes; the path of a Unix socket may have at most {LONGEST_SOCKET_PATH}",
                path.display(),
                bytes.len(),
            )));
        }
        Ok(Self::Unix(path))
    }

    /// The path of the socket, for a Unix socket.
    pub fn socket(&self) -> Option<&Path> {
        match self {
            Self::Unix(path) => Some(path),
            Self::Tcp { .. } => None,
        }
    }
}

impl FromStr for Endpoint {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text.trim() != text {
            return Err(ParseError::new(format!(
                "`{text}`: an endpoint has no spaces around it"
            )));
        }
        // A path may hold colons; a scheme holds no slash before its colon.
        let scheme_end = text.find(':').filter(|end| !text[..*end].contains('/'));
        let Some(end) = scheme_end else {
            return bare_path(text);
        };
        let (scheme, rest) = (&text[..end], &text[end + 1..]);
        match scheme {
            "unix" => unix_url(text, rest),
            "tcp" => match rest.strip_prefix("//") {
                Some(rest) => host_and_port(text, rest.trim_start_matches('/')),
                None => Err(ParseError::new(format!(
                    "`{text}`: write it as tcp://host:port"
                ))),
            },
            "dns" => dns_url(text, rest),
            _ if rest.parse::<u16>().is_ok() || text.starts_with('[') => Err(ParseError::new(
                format!("`{text}` looks like a host and port; did you mean `tcp://{text}`?"),
            )),
            _ => Err(ParseError::new(format!(
                "`{text}`: endpoints of scheme `{scheme}` are not known; write /path, unix:///path, \
                 tcp://host:port or dns:///host:port"
            ))),
        }
    }
}

fn bare_path(text: &str) -> Result<Endpoint, ParseError> {
    if text.starts_with('@') {
        return Err(ParseError::new(format!(
            "`{text}`: abstract sockets are not supported"
        )));
    }
    Endpoint::unix(text)
}

fn unix_url(text: &str, rest: &str) -> Result<Endpoint, ParseError> {
    match rest.strip_prefix("//") {
        None => bare_path(rest),
        Some("") => Err(ParseError::new(format!(
            "`{text}` names no socket; write unix:///path"
        ))),
        Some(path) if path.starts_with('/') => Endpoint::unix(path),
        // What stands between `//` and `/` is a host; gRPC refuses it, other
        // tools take it for a folder of the working directory.
        Some(path) => Err(ParseError::new(format!(
            "`{text}` has two slashes where three are needed; did you mean `unix:///{path}`?"
        ))),
    }
}

fn dns_url(text: &str, rest: &str) -> Result<Endpoint, ParseError> {
    match rest.strip_prefix("//") {
        None => host_and_port(text, rest),
        Some(rest) => match rest.strip_prefix('/') {
            Some(target) => host_and_port(text, target),
            None => Err(ParseError::new(format!(
                "`{text}`: a name server of its own is not supported; write dns:///host:port"
            ))),
        },
    }
}

fn host_and_port(text: &str, target: &str) -> Result<Endpoint, ParseError> {
    let wrong = |what: &str| ParseError::new(format!("`{text}`: {what}; write tcp://host:port"));
    let (host, port) = target
        .rsplit_once(':')
        .ok_or_else(|| wrong("the port is missing"))?;
    let port = match port.parse() {
        // `parse` takes a sign, a port does not.
        Ok(port) if port > 0 && !target.ends_with(&format!("+{port}")) => port,
        _ => return Err(wrong("the port must be a number from 1 to 65535")),
    };
    let host = match host.strip_prefix('[').map(|inner| inner.strip_suffix(']')) {
        Some(Some(inner)) if inner.parse::<std::net::Ipv6Addr>().is_ok() => inner,
        Some(_) => return Err(wrong("what stands in brackets must be an IPv6 address")),
        None if host.contains(':') => return Err(wrong("an IPv6 address needs brackets")),
        None => host,
    };
    if host.is_empty() {
        return Err(wrong("the host is missing"));
    }
    if host.contains(|c: char| c.is_whitespace() || c.is_control() || "/@?#\\".contains(c)) {
        return Err(wrong("the host holds a character that no host name has"));
    }
    Ok(Endpoint::Tcp {
        host: host.to_owned(),
        port,
    })
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) if path.is_absolute() => write!(f, "unix://{}", path.display()),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
        }
    }
}

as_text!(Endpoint, "an endpoint such as unix:///run/csi.sock");
