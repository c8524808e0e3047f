//! The daemons beside nfsd, inside of a server's namespaces.

use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::error::{NfsError, failed};
use super::holder::Holder;
use super::nfsd::Serve;
use super::tool::run;
use crate::node::host::find_tool;

/// How long a killed daemon may take to be gone.
const DYING: Duration = Duration::from_secs(5);

const MOUNTD: &str = "rpc.mountd";
const RPCBIND: &str = "rpcbind";

/// Remembers NFS 4 clients, so that the kernel need not wait for those that were
/// never there. To be called inside; a host without it has servers that give no
/// NFS 4 locks and opens in their first ten seconds.
pub(super) fn remember_clients() -> Result<(), NfsError> {
    if find_tool("nfsdcld").is_none() {
        return Ok(());
    }
    let folders = ["-p", "/run/rpc_pipefs", "-s", "/var/lib/nfs/nfsdcld"];
    run("nfsdcld", &folders, "")
}

/// Starts what answers mount requests, where it does not run. To be called inside.
pub(super) fn start(holder: &Holder, serve: Serve) -> Result<(), NfsError> {
    let runs = |name| {
        let running = holder.daemons(name).map(|daemons| !daemons.is_empty());
        running.map_err(failed("look for", Path::new(name)))
    };
    if !runs(RPCBIND)? {
        run(RPCBIND, &["-w"], "")?;
    }
    if !runs(MOUNTD)? {
        let mut arguments = vec!["--port", "20048"];
        if !serve.v3 {
            arguments.extend(["--no-nfs-version", "3"]);
        }
        if !serve.v4() {
            arguments.extend(["--no-nfs-version", "4"]);
        }
        run(MOUNTD, &arguments, "")?;
    }
    Ok(())
}

/// Kills what answers mount requests, and waits until it is gone.
pub(super) fn kill(holder: &Holder) -> Result<(), NfsError> {
    for name in [MOUNTD, RPCBIND] {
        holder.signal(name, Signal::SIGKILL)?;
        let until = Instant::now() + DYING;
        loop {
            let left = holder
                .daemons(name)
                .map_err(failed("look for", Path::new(name)))?;
            match left.first() {
                None => break,
                Some(_) if Instant::now() > until => {
                    let error = io::Error::other("it did not die of SIGKILL");
                    return Err(failed("kill", Path::new(name))(error));
                }
                Some(_) => thread::sleep(Duration::from_millis(2)),
            }
        }
    }
    Ok(())
}

/// Stops the one that answers mount requests and the kernel's questions, or lets
/// it go on.
pub(super) fn freeze_mountd(holder: &Holder, freeze: bool) -> Result<(), NfsError> {
    let signal = if freeze {
        Signal::SIGSTOP
    } else {
        Signal::SIGCONT
    };
    holder.signal(MOUNTD, signal)
}
