//! The NFS servers of a run: one for all volumes, and one for each check that
//! does harm to its own.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::cx::Cx;
use super::stop::Stop;
use crate::lab::{Journal, NfsError, NfsServer, Serve};

/// The servers, by number. The first is the one for all volumes; nobody does harm
/// to it.
#[derive(Debug)]
pub struct Servers {
    folder: PathBuf,
    journal: Arc<Journal>,
    made: Mutex<Vec<Arc<NfsServer>>>,
}

impl Servers {
    /// Starts the first. Blocks.
    ///
    /// # Errors
    /// It cannot be started: what was done, and why not.
    pub fn start(folder: PathBuf, journal: Arc<Journal>) -> Result<Self, NfsError> {
        let servers = Self {
            folder,
            journal,
            made: Mutex::default(),
        };
        servers.one_more(Serve::ALL)?;
        Ok(servers)
    }

    fn made(&self) -> MutexGuard<'_, Vec<Arc<NfsServer>>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts another. Blocks, one at a time.
    fn one_more(&self, serve: Serve) -> Result<u32, NfsError> {
        let mut made = self.made();
        let number = u32::try_from(made.len()).unwrap_or(u32::MAX);
        let server = NfsServer::start_with(serve, &self.folder, number, &self.journal)?;
        made.push(Arc::new(server));
        Ok(number)
    }

    /// The server of this number.
    pub(super) fn get(&self, number: u32) -> Result<Arc<NfsServer>, Stop> {
        let made = self.made();
        let server = usize::try_from(number).ok().and_then(|n| made.get(n));
        server
            .cloned()
            .ok_or_else(|| Stop::Ours(format!("there is no NFS server {number}")))
    }

    /// A folder for one volume alone below what a server exports, as a client names
    /// it; made where it is missing.
    pub(super) fn folder(&self, number: u32, name: &str) -> Result<String, Stop> {
        let server = self.get(number)?;
        let folder = server.content(server.share()).join(name);
        let wrong = |error| Stop::ours(format!("make {}", folder.display()), error);
        std::fs::create_dir_all(&folder).map_err(wrong)?;
        // Whoever the workload is, it may write.
        std::fs::set_permissions(&folder, Permissions::from_mode(0o777)).map_err(wrong)?;
        Ok(format!("{}/{name}", server.share()))
    }
}

/// A server that one check has for itself. It is healed when the check ends, and
/// stands until the end of the run, so that what comes late can come.
#[derive(Debug)]
pub struct Server<'a> {
    cx: &'a Cx,
    number: u32,
    server: Arc<NfsServer>,
}

impl Cx {
    /// An NFS server of this check's own.
    ///
    /// # Errors
    /// None can be started here.
    pub async fn server(&self) -> Result<Server<'_>, Stop> {
        self.server_for(Serve::ALL).await
    }

    /// The same for some versions of NFS only.
    ///
    /// # Errors
    /// None can be started here.
    pub async fn server_for(&self, serve: Serve) -> Result<Server<'_>, Stop> {
        let Some(servers) = self.session.servers.clone() else {
            return Err(Stop::no_host("an NFS server of the lab"));
        };
        let starting = tokio::task::spawn_blocking(move || {
            let number = servers.one_more(serve)?;
            Ok((number, servers.get(number)))
        });
        let started: Result<_, NfsError> = starting
            .await
            .map_err(|error| Stop::ours("start an NFS server", error))?;
        let (number, server) =
            started.map_err(|error| Stop::no_host(format!("an NFS server: {error}")))?;
        let server = server?;
        self.claims().servers.push(number);
        self.fact(
            "NFS server",
            format!("{}:{}", server.address(), server.share()),
        );
        Ok(Server {
            cx: self,
            number,
            server,
        })
    }
}

impl Server<'_> {
    /// Its number in the run.
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    async fn suffers(
        &self,
        what: &str,
        fault: impl FnOnce(&NfsServer) -> Result<(), NfsError> + Send + 'static,
    ) -> Result<(), Stop> {
        let server = self.server.clone();
        let done = tokio::task::spawn_blocking(move || fault(&server));
        let wrong =
            |error: &dyn std::fmt::Display| Stop::ours(format!("the NFS server: {what}"), error);
        done.await.map_err(|e| wrong(&e))?.map_err(|e| wrong(&e))?;
        self.cx.fact("NFS server", format!("from now on, {what}"));
        Ok(())
    }

    /// Ends its service: connections are refused.
    ///
    /// # Errors
    /// Our own.
    pub async fn stop(&self) -> Result<(), Stop> {
        self.suffers("it is stopped: connections are refused", NfsServer::stop)
            .await
    }

    /// Lets it answer nothing any more, with its connections open.
    ///
    /// # Errors
    /// Our own.
    pub async fn freeze(&self) -> Result<(), Stop> {
        self.suffers("it is frozen: nothing is answered", NfsServer::freeze)
            .await
    }

    /// Takes its network away.
    ///
    /// # Errors
    /// Our own.
    pub async fn cut_off(&self) -> Result<(), Stop> {
        self.suffers("its network is down", NfsServer::cut_off)
            .await
    }

    /// One more share of it, a file system of its own.
    ///
    /// # Errors
    /// Our own.
    pub async fn another_share(&self) -> Result<String, Stop> {
        let server = self.server.clone();
        let made = tokio::task::spawn_blocking(move || server.export("another"));
        let wrong = |error: &dyn std::fmt::Display| Stop::ours("export one more share", error);
        made.await.map_err(|e| wrong(&e))?.map_err(|e| wrong(&e))
    }

    /// Lets one share of it hang, and serve what is mounted of the others.
    ///
    /// # Errors
    /// Our own.
    pub async fn hang(&self, share: &str) -> Result<(), Stop> {
        let hangs = share.to_owned();
        let what = format!("{share} hangs, and its other share does not");
        self.suffers(&what, move |server| server.hang(&hangs)).await
    }

    /// Lets it refuse us.
    ///
    /// # Errors
    /// Our own.
    pub async fn refuse(&self) -> Result<(), Stop> {
        self.suffers("it denies us access", |server| {
            server.refuse(server.share())
        })
        .await
    }

    /// Takes its export away: what is mounted of it is stale.
    ///
    /// # Errors
    /// Our own.
    pub async fn remove_export(&self) -> Result<(), Stop> {
        self.suffers("its export is gone", |server| {
            server.remove_export(server.share())
        })
        .await
    }

    /// Gives its export back.
    ///
    /// # Errors
    /// Our own.
    pub async fn restore_export(&self) -> Result<(), Stop> {
        self.suffers("its export is there again", |server| {
            server.restore_export(server.share())
        })
        .await
    }

    /// Undoes all harm.
    ///
    /// # Errors
    /// Our own.
    pub async fn heal(&self) -> Result<(), Stop> {
        self.suffers("it is well", NfsServer::heal).await
    }
}

/// A file in a folder that lies beside the volumes, and is nobody's to delete.
#[derive(Debug)]
pub struct Canary {
    folder: PathBuf,
}

impl Server<'_> {
    /// Leaves one beside the folder of this name, wherever that is on the share.
    ///
    /// # Errors
    /// There is no such folder, or our own.
    pub fn leave_canary(&self, beside: &str) -> Result<Canary, Stop> {
        let share = self.server.content(self.server.share());
        let above = folder_with(&share, beside, 3)
            .ok_or_else(|| Stop::not_offered("volumes that are folders by their names"))?;
        let folder = above.join("csi-canary");
        let wrong = |error| Stop::ours(format!("leave a file in {}", folder.display()), error);
        std::fs::create_dir_all(&folder).map_err(wrong)?;
        std::fs::write(folder.join("canary"), "not yours").map_err(wrong)?;
        Ok(Canary { folder })
    }
}

impl Canary {
    /// The name of its folder.
    pub fn name(&self) -> String {
        name(&self.folder)
    }

    /// The name of the folder above, which holds the volume too.
    pub fn parent(&self) -> String {
        self.folder.parent().map(name).unwrap_or_default()
    }

    /// Whether it is still there.
    pub fn is_there(&self) -> bool {
        self.folder.join("canary").exists()
    }
}

/// The folder that holds one of this name, a few levels down.
fn folder_with(folder: &Path, name: &str, levels: u32) -> Option<PathBuf> {
    if folder.join(name).is_dir() {
        return Some(folder.to_owned());
    }
    let below = std::fs::read_dir(folder).ok().filter(|_| levels > 0)?;
    below
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .find_map(|entry| folder_with(&entry.path(), name, levels - 1))
}

fn name(folder: &Path) -> String {
    let name = folder.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Heals the servers that a check had, before what it made is taken back.
pub(super) async fn heal(cx: &Cx) {
    let numbers = std::mem::take(&mut cx.claims().servers);
    let Some(servers) = cx.session.servers.clone() else {
        return;
    };
    let told = tokio::task::spawn_blocking(move || {
        let heal = |number: u32| servers.get(number).ok()?.heal().err();
        numbers.into_iter().filter_map(heal).collect::<Vec<_>>()
    });
    for error in told.await.unwrap_or_default() {
        tracing::warn!(%error, "an NFS server was not healed");
    }
}
