//! Where the tests may do as they like, and what is mounted there.

use std::fs;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

/// The scratch folder: a tmpfs in a mount namespace of our own.
pub(crate) struct Scratch {
    root: tempfile::TempDir,
}

impl Scratch {
    /// Leaves the host's namespace; to be called before there is a second thread.
    /// Where this cannot be, says what is lacking.
    pub(crate) fn new() -> Result<Self, String> {
        if !nix::unistd::geteuid().is_root() {
            return Err("this user is not root; try sudo -E".to_owned());
        }
        let root = tempfile::tempdir().map_err(|error| format!("no scratch folder: {error}"))?;
        let told = |what: &str, error: nix::Error| format!("this host cannot {what}: {error}");
        unshare(CloneFlags::CLONE_NEWNS).map_err(|e| told("unshare a mount namespace", e))?;
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>)
            .map_err(|e| told("make / private", e))?;
        mount_tmpfs(root.path()).map_err(|e| told("mount a tmpfs", e))?;
        Ok(Self { root })
    }

    pub(crate) fn path(&self) -> &Path {
        self.root.path()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        clean(self.root.path());
        let _ = umount2(self.root.path(), MntFlags::MNT_DETACH);
    }
}

pub(crate) fn mount_tmpfs(path: &Path) -> nix::Result<()> {
    let none = MsFlags::empty();
    mount(Some("scratch"), path, Some("tmpfs"), none, None::<&str>)
}

/// One mount, as mountinfo has it.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) mount_point: PathBuf,
    /// Of the mount and of its file system, with commas.
    pub(crate) options: String,
    pub(crate) super_options: String,
    pub(crate) fs_type: String,
    pub(crate) source: String,
}

fn lines() -> Vec<Line> {
    let table = fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default();
    let parse = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(4);
        let mut right = right.split(' ');
        Some(Line {
            mount_point: PathBuf::from(left.next()?),
            options: left.next()?.to_owned(),
            fs_type: right.next()?.to_owned(),
            source: right.next()?.to_owned(),
            super_options: right.next()?.to_owned(),
        })
    };
    table.lines().filter_map(parse).collect()
}

/// What is mounted at exactly this path, the one on top last.
pub(crate) fn at(path: &Path) -> Vec<Line> {
    let mut lines = lines();
    lines.retain(|line| line.mount_point == path);
    lines
}

/// Takes away the mounts strictly below a folder that are no scratch tmpfs, and
/// says which there were.
pub(crate) fn clean(folder: &Path) -> Vec<String> {
    let mut left = Vec::new();
    for line in lines().into_iter().rev() {
        let path = &line.mount_point;
        if line.source == "scratch" || path == folder || !path.starts_with(folder) {
            continue;
        }
        let _ = umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW);
        left.push(format!("{} at {}", line.fs_type, path.display()));
    }
    left
}
