//! What a server exports, and what its kernel remembers of it. All of this is
//! called inside of the server's namespaces.
//!
//! nfsd asks mountd over files in /proc/net/rpc which client an address is
//! (auth.unix.ip), which export a file handle belongs to (nfsd.fh), and what
//! that client may do with it (nfsd.export); the answer is good for half an
//! hour. exportfs makes it forget everything. While mountd is stopped, what is
//! remembered goes on, and what is not waits without end; and like mountd we
//! can write answers there ourselves (the kernel's rpc-cache.rst).

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::error::{NfsError, failed};
use super::nfsd::write_line;
use super::root::mount_new;
use super::tool::run;

/// How a share is exported to us. A tmpfs has no number of its own to make file
/// handles from, so each gets one.
const OPTIONS: &str = "async,insecure,no_root_squash,no_subtree_check";

/// The same for the kernel (linux/nfsd/export.h): insecure, async, gathered
/// writes, no subtree check, a number of its own.
const FLAGS: u32 = 0x0002 | 0x0010 | 0x0020 | 0x0400 | 0x2000;

/// TEST-NET-1 (RFC 5737): an address that nobody has.
const NOBODY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// An empty folder, and the number that its handle is made from.
const ALWAYS: (&str, u32) = ("/var/empty", 0xffff);

/// For how many seconds our own answers are good.
const GOOD_FOR: u64 = 24 * 60 * 60;

/// Who is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    /// We are.
    Open,
    /// Others are.
    Refused,
    /// It is not exported at all.
    Removed,
}

/// A file system that a server exports.
#[derive(Debug, Clone)]
pub(super) struct Export {
    /// Its path, for client and server.
    pub(super) share: String,
    /// The number that its file handles are made from.
    pub(super) fsid: u32,
    /// Who is let in.
    pub(super) gate: Gate,
}

impl Export {
    /// Makes a file system and exports it.
    pub(super) fn make(share: &str, fsid: u32, client: Ipv4Addr) -> Result<Self, NfsError> {
        let path = Path::new(share);
        fs::create_dir(path).map_err(failed("mkdir", path))?;
        mount_new("tmpfs", path, "mode=0755,size=1g")?;
        let export = Self {
            share: share.to_owned(),
            fsid,
            gate: Gate::Open,
        };
        export.open_to(client)?;
        Ok(export)
    }

    /// Lets that client in, or nobody.
    pub(super) fn set(&mut self, gate: Gate, client: Ipv4Addr) -> Result<(), NfsError> {
        if self.gate == gate {
            return Ok(());
        }
        match self.gate {
            Gate::Open => self.close_to(client)?,
            Gate::Refused => self.close_to(NOBODY)?,
            Gate::Removed => {}
        }
        self.gate = Gate::Removed;
        match gate {
            Gate::Open => self.open_to(client)?,
            Gate::Refused => self.open_to(NOBODY)?,
            Gate::Removed => {}
        }
        self.gate = gate;
        Ok(())
    }

    fn open_to(&self, client: Ipv4Addr) -> Result<(), NfsError> {
        open(client, &self.share, "rw", self.fsid)
    }

    fn close_to(&self, client: Ipv4Addr) -> Result<(), NfsError> {
        run("exportfs", &["-u", &format!("{client}:{}", self.share)], "")
    }

    /// Has the kernel remember all that it needs to serve this share.
    pub(super) fn remember(&self, client: Ipv4Addr) -> Result<(), NfsError> {
        let until = now() + GOOD_FOR;
        let Self { share, fsid, .. } = self;
        let handle: String = fsid.to_ne_bytes().map(|b| format!("{b:02x}")).concat();
        let nobody = 65534;
        answer("auth.unix.ip", &format!("nfsd {client} {until} {client}"))?;
        answer(
            "nfsd.export",
            &format!("{client} {share} {until} {FLAGS} {nobody} {nobody} {fsid}"),
        )?;
        // Handles made from a number of ours are of type 1.
        answer(
            "nfsd.fh",
            &format!("{client} 1 \\x{handle} {until} {share}"),
        )
    }
}

/// Exports one folder for good. A client to which nothing at all is exported is
/// unknown, and gets "permission denied" for a handle that is stale.
pub(super) fn know(client: Ipv4Addr) -> Result<(), NfsError> {
    let (folder, fsid) = ALWAYS;
    open(client, folder, "ro", fsid)
}

fn open(client: Ipv4Addr, path: &str, access: &str, fsid: u32) -> Result<(), NfsError> {
    let options = format!("{access},{OPTIONS},fsid={fsid}");
    run(
        "exportfs",
        &["-i", "-o", &options, &format!("{client}:{path}")],
        "",
    )
}

/// Has the kernel forget what the client may do at that path: an answer that was
/// good until 1970.
pub(super) fn forget(path: &str, client: Ipv4Addr) -> Result<(), NfsError> {
    answer("nfsd.export", &format!("{client} {path} 1"))
}

/// Has the kernel forget all, and ask mountd again.
pub(super) fn forget_all() -> Result<(), NfsError> {
    run("exportfs", &["-f"], "")
}

fn answer(cache: &str, line: &str) -> Result<(), NfsError> {
    // Not /proc/net: that is the network of the process, and not of the thread.
    let caches = Path::new("/proc/thread-self/net/rpc");
    let channel = caches.join(cache).join("channel");
    write_line(&channel, line)
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
