//! Which mounts are there, of ours or of another process?
//!
//! `/proc/PID/mountinfo` (proc_pid_mountinfo(5)), read as bytes: a path may
//! hold anything but NUL, and one odd line must not hide the rest of the table.
//! Reading it looks at the kernel's own list and never at the paths in it, so
//! it cannot hang on a server that is away.

pub(super) mod line;
/// Whether a file system, by its device number, is mounted in the namespace of
/// any process that we can see. A process that ends meanwhile has none.
///
/// # Errors
/// As reading `/proc` fails.
pub fn is_mounted_anywhere((major, minor): (u32, u32)) -> io::Result<bool> {
    let mut seen = std::collections::HashSet::new();
    for process in super::process::all()? {
        let Ok(namespace) = process.id.mount_namespace() else {
            continue;
        };
        if seen.insert(namespace)
            && MountTable::of(process.id.pid)
                .is_ok_and(|table| !table.of_device(major, minor).is_empty())
        {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests;

use super::block::about;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// One mount, as one line of mountinfo tells it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mount {
    /// The mount's id; the kernel gives it again after an unmount.
    pub id: u64,
    /// The id of the mount that this one lies on.
    pub parent: u64,
    /// The file system's device number (`st_dev`), major part.
    pub major: u32,
    /// The file system's device number (`st_dev`), minor part.
    pub minor: u32,
    /// Which directory (or file) of the file system is shown here.
    pub root: PathBuf,
    /// `root` was removed from its file system while it was mounted.
    pub root_deleted: bool,
    /// Where it is mounted, seen from the root directory of the process.
    pub point: PathBuf,
    /// The options of this mount.
    pub options: Vec<String>,
    /// The peer group that it is shared in.
    pub shared: Option<u64>,
    /// The peer group that it is a slave to.
    pub master: Option<u64>,
    /// The nearest dominant peer group that can be seen from the process's root.
    pub propagate_from: Option<u64>,
    /// It cannot be bind mounted.
    pub unbindable: bool,
    /// Optional fields that we do not know, as they stand.
    pub other_fields: Vec<OsString>,
    /// The type of file system, with its subtype: `ext4`, `fuse.sshfs`.
    pub fs_type: String,
    /// What was mounted: a device, `server:/export`, or any word; may be empty.
    pub source: OsString,
    /// The options of the file system.
    pub super_options: Vec<String>,
}

impl Mount {
    /// The line as the kernel writes it, for evidence; bytes that are no UTF-8
    /// are replaced.
    pub fn line(&self) -> String {
        String::from_utf8_lossy(&self.to_bytes()).into_owned()
    }

    /// Whether nothing can be written through this mount: the mount or the
    /// file system beneath it is read-only.
    pub fn is_read_only(&self) -> bool {
        self.has_option("ro")
    }

    /// Whether the mount or its file system has this option, word for word.
    pub fn has_option(&self, option: &str) -> bool {
        let has = |list: &[String]| list.iter().any(|o| o == option);
        has(&self.options) || has(&self.super_options)
    }

    /// The device number of the file system: major, minor.
    pub fn dev(&self) -> (u32, u32) {
        (self.major, self.minor)
    }
}

/// What takes a mount away, or keeps hands off it: the beginning of its line,
/// and so known also where the rest of the line is odd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The mount's id; the kernel gives it again after an unmount.
    pub id: u64,
    /// Where it is mounted.
    pub point: PathBuf,
}

/// Our mounts at or below an absolute path without `.` and doubled slashes, in
/// the kernel's order: the newest last.
///
/// # Errors
/// As reading `/proc/thread-self/mountinfo` fails.
pub fn places_below(path: &Path) -> io::Result<Vec<Place>> {
    let bytes = read(OURS)?;
    let mut places: Vec<Place> = lines(&bytes).filter_map(line::place).collect();
    places.retain(|place| covers(path, &place.point));
    Ok(places)
}

/// Threads may live in different namespaces after an `unshare`, so that
/// `/proc/self` would be the wrong one.
const OURS: &str = "/proc/thread-self/mountinfo";

/// Whole at once, and closed again.
fn read(file: &str) -> io::Result<Vec<u8>> {
    std::fs::read(file).map_err(|e| about(Path::new(file), &e))
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|&b| b == b'\n').filter(|l| !l.is_empty())
}

/// All mounts of one mount namespace, as seen from one process's root.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MountTable {
    /// The mounts, in the kernel's order.
    pub mounts: Vec<Mount>,
    /// Lines that could not be understood, as they stand.
    pub odd: Vec<Vec<u8>>,
}

impl MountTable {
    /// The mounts of the calling thread.
    ///
    /// # Errors
    /// As reading `/proc/thread-self/mountinfo` fails.
    pub fn ours() -> io::Result<Self> {
        Ok(Self::parse(&read(OURS)?))
    }

    /// The mounts of a process. The file is closed before this returns: while
    /// it is open it holds the namespace, and with it the mounts and devices
    /// of a driver that has died.
    ///
    /// # Errors
    /// As reading `/proc/PID/mountinfo` fails: `NotFound` when there is no such
    /// process, `EINVAL` when it is a zombie.
    pub fn of(pid: u32) -> io::Result<Self> {
        Ok(Self::parse(&read(&format!("/proc/{pid}/mountinfo"))?))
    }

    /// Reads a table from the bytes of a mountinfo file.
    pub fn parse(bytes: &[u8]) -> Self {
        let mut table = Self::default();
        for line in lines(bytes) {
            match line::parse(line) {
                Some(mount) => table.mounts.push(mount),
                None => table.odd.push(line.to_vec()),
            }
        }
        table
    }

    /// The mounts exactly at a path, from the bottom of the stack to its top.
    ///
    /// Those that can no longer be reached (something was mounted over a
    /// directory above them) are there as well, beneath the others.
    pub fn at(&self, path: &Path) -> Vec<&Mount> {
        let path = plain(path);
        let above = self.covering(&path);
        let way = walk(&above);
        let mut here: Vec<&Mount> = above.iter().copied().filter(|m| m.point == path).collect();
        here.sort_by_key(|m| {
            let step = way.iter().position(|w| std::ptr::eq(*w, *m));
            (step.is_some(), step.unwrap_or_else(|| depth(m, &above)))
        });
        here
    }

    /// The mounts strictly below a path, in the kernel's order.
    pub fn under(&self, path: &Path) -> Vec<&Mount> {
        let path = plain(path);
        self.mounts
            .iter()
            .filter(|m| m.point != path && covers(&path, &m.point))
            .collect()
    }

    /// The mount that a path lies on, as the kernel would walk there: at each
    /// directory the topmost mount is entered. Nothing is looked up on disk,
    /// so symbolic links and `..` are not followed.
    pub fn holding(&self, path: &Path) -> Option<&Mount> {
        walk(&self.covering(&plain(path))).last().copied()
    }

    /// The mounts of the file system with this device number.
    pub fn of_device(&self, major: u32, minor: u32) -> Vec<&Mount> {
        self.mounts
            .iter()
            .filter(|m| m.dev() == (major, minor))
            .collect()
    }

    /// The mounts at a path and at every directory above it. The ancestors of
    /// each of them are among them too, since a parent's point is a prefix.
    fn covering(&self, path: &Path) -> Vec<&Mount> {
        self.mounts
            .iter()
            .filter(|m| covers(&m.point, path))
            .collect()
    }
}

/// A path without `.`, doubled or trailing slashes.
fn plain(path: &Path) -> PathBuf {
    path.components().collect()
}

/// Whether `path` is `point` or lies below it.
fn covers(point: &Path, path: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let (point, path) = (point.as_os_str().as_bytes(), path.as_os_str().as_bytes());
    match path.strip_prefix(point) {
        Some(rest) => rest.is_empty() || rest[0] == b'/' || point == b"/",
        None => false,
    }
}

/// The mounts that the kernel enters on its way to a path, given all mounts
/// that cover it: from the root, always the nearest child.
fn walk<'a>(covering: &[&'a Mount]) -> Vec<&'a Mount> {
    let mut way: Vec<&Mount> = Vec::new();
    // A sound table ends this by itself; the bound is for a made-up one.
    while way.len() < covering.len() {
        let next = covering
            .iter()
            .copied()
            .filter(|m| match way.last() {
                Some(last) => {
                    m.parent == last.id && m.id != last.id && covers(&last.point, &m.point)
                }
                None => is_topless(m, covering),
            })
            .min_by_key(|m| m.point.as_os_str().len());
        match next {
            Some(mount) => way.push(mount),
            None => break,
        }
    }
    way
}

/// The root of the tree: its parent is itself or out of sight (chroot).
fn is_topless(mount: &Mount, covering: &[&Mount]) -> bool {
    mount.parent == mount.id || !covering.iter().any(|m| m.id == mount.parent)
}

/// How many mounts lie between a mount and the root of the tree.
fn depth(mount: &Mount, covering: &[&Mount]) -> usize {
    let mut at = mount;
    let mut depth = 0;
    while depth < covering.len() && !is_topless(at, covering) {
        match covering.iter().find(|m| m.id == at.parent) {
            Some(parent) => at = parent,
            None => break,
        }
        depth += 1;
    }
    depth
}
