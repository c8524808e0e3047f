//! Real NFS servers: the kernel's own nfsd, each in namespaces of its own.
//!
//! nfsd belongs to a network namespace, so several stand side by side, each with
//! its rpcbind, mountd and state, and none is the host's. A veth pair joins each
//! to us. A server's files are file systems in its own mount namespace; we see
//! them through `/proc/PID/root` of its holder, so that no mount of it is in our
//! namespace, to be leaked or to be found by a driver. When the harness dies,
//! however it dies, the holder ends and the kernel takes all of it away.
//!
//! NFS 4 clients need no options for these servers. NFS 3 clients want `nolock`:
//! without it mount.nfs looks for rpc.statd on the client's side.
//!
//! A new mount namespace begins as a copy of ours, for some milliseconds: start
//! a server before a disk is mounted that must come free at once.

mod clean;
mod daemons;
mod error;
mod exports;
mod holder;
mod link;
mod nfsd;
mod root;
mod tool;
mod trouble;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::journal::{Entry, Journal};
use super::random::random_hex;
use crate::node::host;

use self::exports::Export;
use self::holder::Holder;
use self::link::Link;

pub(super) use self::clean::let_go;

pub use self::error::NfsError;
pub use self::nfsd::Serve;

/// Where the shares lie, for client and server.
const EXPORTS: &str = "/export";

/// The share that every server has.
const FIRST: &str = "share";

/// Why no NFS server can be made here, or none: it can, as far as looking tells.
/// Nothing is started and nothing loaded.
#[must_use]
pub fn missing() -> Option<String> {
    let lacks = host::nfs_client().and_then(|()| host::nfs_server());
    lacks.err()
}

/// An NFS server that runs. Its clients are in our network namespace.
#[derive(Debug)]
pub struct NfsServer {
    state: Mutex<State>,
    link: Link,
    holder: Holder,
    serve: Serve,
    address: String,
    share: String,
    journal: Arc<Journal>,
    gone: bool,
}

/// What has befallen a server.
#[derive(Debug, Default)]
struct State {
    exports: Vec<Export>,
    serving: bool,
    frozen: bool,
    cut: bool,
    mute: bool,
}

impl NfsServer {
    /// Starts a server for every version of NFS, with one share. `folder` is an
    /// existing folder of the run, `number` tells its servers apart.
    ///
    /// # Errors
    /// See [`NfsError`]; nothing is left behind then.
    pub fn start(folder: &Path, number: u32, journal: &Arc<Journal>) -> Result<Self, NfsError> {
        Self::start_with(Serve::ALL, folder, number, journal)
    }

    /// The same for some versions of NFS only.
    ///
    /// # Errors
    /// See [`NfsError`]; nothing is left behind then.
    pub fn start_with(
        serve: Serve,
        folder: &Path,
        number: u32,
        journal: &Arc<Journal>,
    ) -> Result<Self, NfsError> {
        if serve == Serve::NONE {
            return Err(NfsError::NoVersion);
        }
        if let Some(lacks) = missing() {
            return Err(NfsError::Missing(lacks));
        }
        let random = random_hex(3).map_err(error::failed("name a server in", folder))?;
        let wish = u32::from_str_radix(&random, 16).unwrap_or_default();
        // Its host name, and the name of the link to it: 15 bytes at most.
        let name = format!("nfs-{random}-{}", number % 1000);
        let holder = Holder::start(&name, folder)?;
        let link = Link::make(&name, wish.wrapping_add(number), &holder)?;
        journal.write(&entry(&holder, &link))?;
        let mut server = Self {
            state: Mutex::default(),
            serve,
            address: link.theirs().to_string(),
            share: String::new(),
            link,
            holder,
            journal: Arc::clone(journal),
            gone: false,
        };
        let client = server.link.ours();
        server.holder.inside(|| {
            daemons::remember_clients()?;
            nfsd::prepare(serve)?;
            exports::know(client)
        })?;
        server.share = server.export(FIRST)?;
        server.heal()?;
        Ok(server)
    }

    /// Its address, as a client of our network namespace names it.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The share that it has from the start: a path, the same for every version.
    #[must_use]
    pub fn share(&self) -> &str {
        &self.share
    }

    /// Exports one more file system, empty, and tells its share.
    ///
    /// # Errors
    /// The name is no folder's name or taken; else see [`NfsError`].
    pub fn export(&self, name: &str) -> Result<String, NfsError> {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > 64 || !name.chars().all(fits) {
            return Err(NfsError::Name(name.to_owned()));
        }
        let share = format!("{EXPORTS}/{name}");
        let mut state = self.state();
        if state.exports.iter().any(|export| export.share == share) {
            return Err(NfsError::Twice(share));
        }
        // Not 0, which is the root of all exports.
        let fsid = state.exports.len() as u32 + 1;
        let client = self.link.ours();
        let made = self.holder.inside(|| Export::make(&share, fsid, client))?;
        state.exports.push(made);
        Ok(share)
    }

    /// Where we see a share's files from the server's side, also while nothing
    /// is exported or answered. Good as long as the server is.
    #[must_use]
    pub fn content(&self, share: &str) -> PathBuf {
        self.holder.root().join(share.trim_start_matches('/'))
    }

    /// Takes the server down, healed before, so that what a client still waits
    /// for ends; and waits until all of it is gone.
    ///
    /// # Errors
    /// Something of it stays; the journal knows.
    pub fn take_down(mut self) -> Result<(), NfsError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), NfsError> {
        if std::mem::replace(&mut self.gone, true) {
            return Ok(());
        }
        // As good as it goes: the namespaces end whatever came of it.
        let _ = self.heal();
        self.holder.end()?;
        self.link.wait_gone()?;
        Ok(self.journal.gone(&entry(&self.holder, &self.link))?)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for NfsServer {
    fn drop(&mut self) {
        // What stays is in the journal, and told by who cleans.
        let _ = self.end();
    }
}

/// The server's line in the journal. A server without a link ends with us.
fn entry(holder: &Holder, link: &Link) -> Entry {
    let (name, index) = link.name();
    Entry::NfsServer {
        holder: holder.id(),
        link: name.to_owned(),
        index,
    }
}
