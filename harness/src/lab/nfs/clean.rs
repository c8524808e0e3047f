//! The end of a server whose run is dead.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::{holder, link, nfsd};
use crate::lab::Then;
use crate::lab::errand::{pidfd_open, pidfd_signal, readable};
use crate::node::ProcessId;

/// How long a server may take to end by itself.
const ENDING: Duration = Duration::from_secs(5);

/// How long it may take if it must be killed: the kernel may wait for the dead
/// rpcbind, ten seconds each time.
const DYING: Duration = Duration::from_secs(60);

/// Takes a server of a dead run away; none where it is gone already. Its link
/// goes last, so where that is gone all is.
pub(in crate::lab) fn let_go(holder: ProcessId, name: &str, index: u32) -> Option<Then> {
    let then = match link::index_of(name) {
        Ok(Some(now)) if now == index => end(holder, name, index),
        Ok(_) => return None,
        Err(error) => Err(error.to_string()),
    };
    Some(then.err().map_or(Then::Removed, Then::Stuck))
}

fn end(holder: ProcessId, name: &str, index: u32) -> Result<(), String> {
    let gone = |patience| link::wait_gone(name, index, patience).map_err(|e| e.to_string());
    // Who has just lost its run is about to end.
    if gone(ENDING)? {
        return Ok(());
    }
    if holder.alive() {
        // In this order: the end of nfsd asks rpcbind, with a lock held that
        // every NFS server of the machine needs. Where it cannot be told to end,
        // the kernel ends it with the holder.
        let _ = holder::inside(holder, nfsd::stop);
        kill(holder).map_err(|error| format!("kill process {}: {error}", holder.pid))?;
    }
    if gone(ENDING)? {
        return Ok(());
    }
    link::delete(name).map_err(|error| error.to_string())
}

fn kill(holder: ProcessId) -> io::Result<()> {
    let handle = pidfd_open(holder.pid.cast_signed())?;
    // Read after the handle is held: it is that one.
    if !holder.alive() {
        return Ok(());
    }
    pidfd_signal(&handle, Signal::SIGKILL)?;
    if readable(handle.as_fd(), DYING) {
        return Ok(());
    }
    Err(io::Error::other(format!("it did not end within {DYING:?}")))
}
