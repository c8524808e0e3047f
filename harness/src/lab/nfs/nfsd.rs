//! The kernel's nfsd, by its files in /proc/fs/nfsd (nfsd(7)). All of this is
//! called inside of a server's namespaces, and is about that server alone.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsRawFd;
use std::path::Path;

use super::error::{NfsError, failed};
use super::tool::run;

/// Where NFS is served; the same for every version.
const PORT: u16 = 2049;

/// Enough that one that waits does not hold up the rest.
const THREADS: &str = "8";

/// The shortest times that the kernel takes, in seconds.
const SHORTEST: &str = "10";

/// Which versions of NFS a server offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Serve {
    /// NFS 3, with the MOUNT protocol.
    pub v3: bool,
    /// NFS 4.0.
    pub v4_0: bool,
    /// NFS 4.1.
    pub v4_1: bool,
    /// NFS 4.2.
    pub v4_2: bool,
}

impl Serve {
    /// Nothing; to be filled in.
    pub const NONE: Self = Self {
        v3: false,
        v4_0: false,
        v4_1: false,
        v4_2: false,
    };
    /// All that the kernel knows but NFS 2.
    pub const ALL: Self = Self {
        v3: true,
        v4_0: true,
        v4_1: true,
        v4_2: true,
    };
    /// Only NFS 3.
    pub const V3: Self = Self {
        v3: true,
        ..Self::NONE
    };
    /// Only NFS 4.2.
    pub const V4_2: Self = Self {
        v4_2: true,
        ..Self::NONE
    };

    pub(super) fn v4(self) -> bool {
        self.v4_0 || self.v4_1 || self.v4_2
    }

    /// As /proc/fs/nfsd/versions takes them: the minor versions after their major.
    fn words(self) -> String {
        let versions = [
            (self.v3, "3"),
            (self.v4(), "4"),
            (self.v4_0, "4.0"),
            (self.v4_1, "4.1"),
            (self.v4_2, "4.2"),
        ];
        versions
            .map(|(on, version)| format!("{}{version}", if on { '+' } else { '-' }))
            .join(" ")
    }
}

impl Default for Serve {
    fn default() -> Self {
        Self::ALL
    }
}

/// What can only be told while no thread runs.
pub(super) fn prepare(serve: Serve) -> Result<(), NfsError> {
    tell("versions", &serve.words())?;
    tell("nfsv4leasetime", SHORTEST)?;
    tell("nfsv4gracetime", SHORTEST)
}

/// Starts to serve.
pub(super) fn start() -> Result<(), NfsError> {
    let address = (Ipv4Addr::UNSPECIFIED, PORT);
    let socket =
        TcpListener::bind(address).map_err(failed("listen at", Path::new("0.0.0.0:2049")))?;
    // The kernel takes the socket over, and tells rpcbind of it.
    tell("portlist", &socket.as_raw_fd().to_string())?;
    tell("threads", THREADS)?;
    end_grace();
    Ok(())
}

/// Ends all threads: connections are cut, and new ones refused.
pub(super) fn stop() -> Result<(), NfsError> {
    tell("threads", "0")
}

/// Ends the time in which only locks of before are given again. Without
/// nfsdcld the kernel refuses, and it ends by itself after ten seconds.
fn end_grace() {
    let _ = tell("v4_end_grace", "Y");
    let _ = fs::write("/proc/fs/lockd/nlm_end_grace", "Y\n");
}

/// Cuts the connections, so that clients connect anew and ask again. A request
/// that the kernel has put aside for too long is never answered, and a client
/// waits for a minute before it repeats one over TCP. As good as it goes: not
/// every kernel can be told to (`CONFIG_INET_DIAG_DESTROY`).
pub(super) fn cut_connections() {
    let _ = run("ss", &["-t", "-K", "sport", "=", ":2049"], "");
}

fn tell(file: &str, text: &str) -> Result<(), NfsError> {
    let path = Path::new("/proc/fs/nfsd").join(file);
    write_line(&path, text)
}

/// One line to a file of the kernel's, in one write(2).
pub(super) fn write_line(path: &Path, text: &str) -> Result<(), NfsError> {
    OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut file| file.write_all(format!("{text}\n").as_bytes()))
        .map_err(failed("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_told_as_the_kernel_takes_them() {
        assert_eq!(Serve::ALL.words(), "+3 +4 +4.0 +4.1 +4.2");
        assert_eq!(Serve::V3.words(), "+3 -4 -4.0 -4.1 -4.2");
        assert_eq!(Serve::V4_2.words(), "-3 +4 -4.0 -4.1 +4.2");
    }
}
