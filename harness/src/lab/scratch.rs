//! A mount namespace and file system of our own, for our own driver.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::node::ProcessId;

/// More than a run needs; a tmpfs takes only what is in it.
const SIZE: &str = "size=4g,mode=0700";

/// A fresh file system in a mount namespace of this process, shared within it:
/// what the driver mounts below reaches us, and nothing of it reaches the host.
/// It goes away with the last process in the namespace.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

/// There is no scratch.
#[derive(Debug, thiserror::Error)]
pub enum ScratchError {
    /// Only the calling thread would get the namespace.
    #[error(
        "the process has {0} threads already: the scratch must be entered in main, before any thread is started"
    )]
    Threads(u64),
    /// Not root, or root without the capability.
    #[error(
        "this needs a mount namespace of its own, and with it root (CAP_SYS_ADMIN), which this process lacks: run it as \
         `sudo -E env \"PATH=$PATH\" {command}`"
    )]
    NotPermitted {
        /// This process's own command line.
        command: String,
    },
    /// A system call failed.
    #[error("{call} {path}: {error}")]
    Io {
        /// The call.
        call: &'static str,
        /// The path that it was for.
        path: PathBuf,
        /// What it answered.
        error: io::Error,
    },
}

impl Scratch {
    /// Moves this process into a mount namespace of its own and mounts an empty
    /// tmpfs there at `<base>/scratch`, which is made if it is missing and stays
    /// on the host as an empty folder.
    ///
    /// To be called in `main`, before any thread: a thread that is there already
    /// would stay in the old namespace.
    ///
    /// # Errors
    /// See [`ScratchError`].
    pub fn enter(base: &Path) -> Result<Self, ScratchError> {
        let failed = |call, path: &Path| {
            let path = path.to_owned();
            move |error| ScratchError::Io { call, path, error }
        };
        let threads = ProcessId::ours()
            .and_then(|us| us.threads())
            .map_err(failed("count our threads in", Path::new("/proc")))?;
        if threads != 1 {
            return Err(ScratchError::Threads(threads));
        }
        unshare(CloneFlags::CLONE_NEWNS).map_err(|errno| match errno {
            Errno::EPERM => ScratchError::NotPermitted {
                command: own_command(),
            },
            errno => failed("unshare CLONE_NEWNS for", base)(errno.into()),
        })?;
        // Private, not slave: neither shall anything of ours reach the host,
        // nor the host's later mounts us.
        let root = Path::new("/");
        change(root, MsFlags::MS_REC | MsFlags::MS_PRIVATE)
            .map_err(failed("make private", root))?;
        let path = base.join("scratch");
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .map_err(failed("mkdir", &path))?;
        let path = path.canonicalize().map_err(failed("realpath", &path))?;
        mount(
            Some("csi-conformance"),
            &path,
            Some("tmpfs"),
            MsFlags::empty(),
            Some(SIZE),
        )
        .map_err(|errno| failed("mount a tmpfs at", &path)(errno.into()))?;
        change(&path, MsFlags::MS_SHARED).map_err(failed("make shared", &path))?;
        Ok(Self { path })
    }

    /// Where it is, free of symlinks.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn change(path: &Path, propagation: MsFlags) -> io::Result<()> {
    Ok(mount(
        None::<&str>,
        path,
        None::<&str>,
        propagation,
        None::<&str>,
    )?)
}

fn own_command() -> String {
    let words: Vec<String> = std::env::args_os()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    words.join(" ")
}
