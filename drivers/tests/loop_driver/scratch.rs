//! Where the tests may do as they like: a mount namespace of their own, with a
//! tmpfs under a shared and under a private mount.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

/// Whether mounts under a folder go on to other namespaces. The driver meets both.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Propagation {
    Shared,
    Private,
}

/// The scratch folder.
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
        if !Path::new("/dev/loop-control").exists() {
            return Err("this host has no /dev/loop-control".to_owned());
        }
        let root = tempfile::tempdir().map_err(|error| format!("no scratch folder: {error}"))?;
        let told = |what: &str, error: nix::Error| format!("this host cannot {what}: {error}");
        unshare(CloneFlags::CLONE_NEWNS).map_err(|e| told("unshare a mount namespace", e))?;
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>)
            .map_err(|e| told("make / private", e))?;
        for (name, propagation) in [
            ("shared", MsFlags::MS_SHARED),
            ("private", MsFlags::MS_PRIVATE),
        ] {
            let path = root.path().join(name);
            fs::create_dir(&path).map_err(|error| error.to_string())?;
            mount(
                Some("scratch"),
                &path,
                Some("tmpfs"),
                MsFlags::empty(),
                None::<&str>,
            )
            .map_err(|e| told("mount a tmpfs", e))?;
            mount(None::<&str>, &path, None::<&str>, propagation, None::<&str>)
                .map_err(|e| told("set the propagation of a mount", e))?;
        }
        Ok(Self { root })
    }

    /// A folder for one test.
    pub(crate) fn folder(&self, propagation: Propagation, name: &str) -> PathBuf {
        let side = format!("{propagation:?}").to_lowercase();
        self.root.path().join(side).join(name)
    }

    /// Leaves nothing behind, and tells what would have stayed.
    pub(crate) fn close(self) -> Vec<String> {
        let left = clean(self.root.path());
        for name in ["shared", "private"] {
            let path = self.root.path().join(name);
            let _ = umount2(&path, MntFlags::MNT_DETACH);
            let _ = fs::remove_dir(&path);
        }
        left
    }
}

/// Takes away the mounts strictly below the tests' tmpfs, and the loop devices
/// of files there; says which there were.
pub(crate) fn clean(folder: &Path) -> Vec<String> {
    let mut left = Vec::new();
    for path in mounts_below(folder).into_iter().rev() {
        if umount2(&path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW).is_ok() {
            left.push(format!("a mount at {}", path.display()));
        }
    }
    for (device, file) in loops_below(folder) {
        left.push(format!("{device} of {file}"));
        let _ = Command::new("losetup").args(["-d", &device]).status();
    }
    left
}

/// The mount points below a folder that are no scratch tmpfs.
pub(crate) fn mounts_below(folder: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default();
    table
        .lines()
        .filter(|line| !line.contains(" scratch "))
        .filter_map(|line| line.split(' ').nth(4))
        .map(PathBuf::from)
        .filter(|path| path.starts_with(folder))
        .collect()
}

/// How often something is mounted at exactly this path, and the options of the last.
pub(crate) fn mounts_at(path: &Path) -> Vec<String> {
    let table = fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default();
    let fields = table
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>());
    fields
        .filter(|fields| fields.get(4).is_some_and(|at| Path::new(at) == path))
        .filter_map(|fields| fields.get(5).map(|options| (*options).to_owned()))
        .collect()
}

/// The loop devices of files below a folder.
pub(crate) fn loops_below(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/sys/block").into_iter().flatten().flatten() {
        let file = fs::read_to_string(entry.path().join("loop/backing_file"));
        if let Ok(file) = file
            && Path::new(file.trim()).starts_with(folder)
        {
            let device = format!("/dev/{}", entry.file_name().to_string_lossy());
            found.push((device, file.trim().to_owned()));
        }
    }
    found
}

/// Whether a file system can be made and mounted here.
pub(crate) fn has(filesystem: &str) -> bool {
    let known = fs::read_to_string("/proc/filesystems")
        .is_ok_and(|list| list.lines().any(|line| line.trim_start() == filesystem));
    let tool = ["/usr/sbin", "/sbin"].iter().any(|folder| {
        Path::new(folder)
            .join(format!("mkfs.{filesystem}"))
            .exists()
    });
    known && tool
}
