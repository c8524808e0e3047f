//! What can befall a server, and how it comes back.

use super::daemons;
use super::error::NfsError;
use super::exports::{self, Gate};
use super::{EXPORTS, NfsServer, nfsd};

impl NfsServer {
    /// Stops it: no nfsd, no mountd, no rpcbind. The machine is there, and
    /// refuses every connection.
    ///
    /// # Errors
    /// See [`NfsError`].
    pub fn stop(&self) -> Result<(), NfsError> {
        let mut state = self.state();
        state.serving = false;
        self.holder.inside(nfsd::stop)?;
        daemons::kill(&self.holder)?;
        state.mute = false;
        Ok(())
    }

    /// Freezes it: it takes what comes and answers nothing, connections stay.
    /// For a client that is the same as a network that swallows all packets.
    ///
    /// # Errors
    /// See [`NfsError`].
    pub fn freeze(&self) -> Result<(), NfsError> {
        self.state().frozen = true;
        self.holder.inside(|| self.link.swallow(true))
    }

    /// Pulls its cable: after some seconds a client is told that there is no
    /// route to the host.
    ///
    /// # Errors
    /// See [`NfsError`].
    pub fn cut_off(&self) -> Result<(), NfsError> {
        self.state().cut = true;
        self.holder.inside(|| self.link.set_up(false))
    }

    /// Requests to mount are not answered any more, by any version, while what
    /// is mounted goes on. Until it is healed the server can learn nothing new:
    /// after an export or a refusal, all of it would hang.
    ///
    /// # Errors
    /// See [`NfsError`].
    pub fn hang_mounts(&self) -> Result<(), NfsError> {
        self.hang_but(|_| true)
    }

    /// One share hangs, also where it is mounted, and so do requests to mount
    /// any; the other shares that are mounted go on. See [`Self::hang_mounts`].
    ///
    /// # Errors
    /// There is no such share; else see [`NfsError`].
    pub fn hang(&self, share: &str) -> Result<(), NfsError> {
        if !self.state().exports.iter().any(|e| e.share == share) {
            return Err(NfsError::NoShare(share.to_owned()));
        }
        self.hang_but(|other| other != share)
    }

    fn hang_but(&self, goes_on: impl Fn(&str) -> bool + Sync) -> Result<(), NfsError> {
        let mut state = self.state();
        state.mute = true;
        daemons::freeze_mountd(&self.holder, true)?;
        let client = self.link.ours();
        let open = state.exports.iter().filter(|e| e.gate == Gate::Open);
        self.holder.inside(|| {
            for export in open {
                if goes_on(&export.share) {
                    export.remember(client)?;
                } else {
                    exports::forget(&export.share, client)?;
                }
            }
            // The way of an NFS 4 mount: from the root down to the share.
            exports::forget("/", client)?;
            exports::forget(EXPORTS, client)
        })
    }

    /// We are not let in any more, others would be. To mount(8), NFS 3 says
    /// "access denied by server", NFS 4 "No such file or directory": what we may
    /// not have is not shown. The handles of who has it mounted are stale.
    ///
    /// # Errors
    /// There is no such share; else see [`NfsError`].
    pub fn refuse(&self, share: &str) -> Result<(), NfsError> {
        self.set_gate(share, Gate::Refused)
    }

    /// The share is not exported any more: the handles of who has it mounted are
    /// stale (ESTALE). What is in it stays.
    ///
    /// # Errors
    /// There is no such share; else see [`NfsError`].
    pub fn remove_export(&self, share: &str) -> Result<(), NfsError> {
        self.set_gate(share, Gate::Removed)
    }

    /// The share is back as it was, with all in it: old handles are good again.
    ///
    /// # Errors
    /// There is no such share; else see [`NfsError`].
    pub fn restore_export(&self, share: &str) -> Result<(), NfsError> {
        self.set_gate(share, Gate::Open)
    }

    fn set_gate(&self, share: &str, gate: Gate) -> Result<(), NfsError> {
        let mut state = self.state();
        let export = state.exports.iter_mut().find(|e| e.share == share);
        let export = export.ok_or_else(|| NfsError::NoShare(share.to_owned()))?;
        let client = self.link.ours();
        self.holder.inside(|| export.set(gate, client))
    }

    /// Undoes everything above: when this returns, the server answers. A client
    /// may take some seconds more to notice.
    ///
    /// # Errors
    /// See [`NfsError`]; it can be tried again.
    pub fn heal(&self) -> Result<(), NfsError> {
        let state = &mut *self.state();
        let client = self.link.ours();
        if state.mute {
            daemons::freeze_mountd(&self.holder, false)?;
        }
        let serve = self.serve;
        self.holder.inside(|| {
            if state.cut {
                self.link.set_up(true)?;
                state.cut = false;
            }
            let waited = state.frozen || state.mute;
            if state.frozen {
                self.link.swallow(false)?;
                state.frozen = false;
            }
            for export in &mut state.exports {
                export.set(Gate::Open, client)?;
            }
            daemons::start(&self.holder, serve)?;
            if !state.serving {
                nfsd::start()?;
                state.serving = true;
            }
            if state.mute {
                exports::forget_all()?;
                state.mute = false;
            }
            if waited {
                nfsd::cut_connections();
            }
            Ok(())
        })
    }
}
