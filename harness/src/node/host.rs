//! What can this host do?
//!
//! For `doctor`, and for the checks' needs. Nothing is run and nothing is
//! loaded: a feature that a module would bring is said to be perhaps there.

mod kernel;
mod nfs;

pub use self::nfs::{nfs_client, nfs_server};

use super::block::about;
use super::mountinfo::MountTable;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Whether the host has something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It does.
    Have,
    /// It does not, and why.
    Lack(String),
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Have => f.write_str("yes"),
            Self::Lack(why) => f.write_str(why),
        }
    }
}

/// One thing that a host may or may not be able to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feature {
    /// Its name, e.g. `ext4` or `CAP_SYS_ADMIN`; stable.
    pub name: &'static str,
    /// Whether it is there.
    pub state: State,
    /// What is lost without it.
    pub used_for: &'static str,
}

/// How mounts at `/` travel between mount namespaces (mount_namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// They do not.
    Private,
    /// Both ways.
    Shared,
    /// From its master to it.
    Slave,
    /// From its master to it, and on to its peers.
    SlaveAndShared,
    /// `/` is no mount point (chroot).
    Unknown,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// `uname -r`.
    pub kernel: String,
    /// `uname -m`.
    pub arch: String,
    /// Of `/`, as we see it.
    pub root_propagation: Propagation,
    /// All that we know to look for, lacking or not.
    pub features: Vec<Feature>,
}

impl Host {
    /// Looks at this host.
    pub fn look() -> Self {
        let (kernel, arch) = kernel::uname();
        let mut features = vec![feature("root", kernel::is_root(), "everything that mounts")];
        features.extend(kernel::capabilities());
        features.push(feature(
            "loop",
            kernel::opens(Path::new("/dev/loop-control"), true),
            "disks to give to drivers",
        ));
        let known = kernel::file_systems();
        for (name, tool, used_for) in [
            ("ext4", "mkfs.ext4", "volumes with ext4"),
            ("xfs", "mkfs.xfs", "volumes with xfs"),
            ("btrfs", "mkfs.btrfs", "volumes with btrfs"),
        ] {
            features.push(feature(name, file_system(&known, name, tool), used_for));
        }
        features.push(feature("nfs", nfs_client(), "volumes from an NFS server"));
        features.push(feature(
            "nfsd",
            nfs_server(),
            "NFS servers of our own, which stop, freeze and come back when they are told to",
        ));
        features.push(feature(
            "fuse",
            fuse(&known),
            "disks that fail when they are told to",
        ));
        features.push(feature(
            "device-mapper",
            device_mapper(),
            "logical volumes whose disks fail when they are told to",
        ));
        features.push(feature(
            "mount-events",
            super::watch::has_mount_events(),
            "mounts that come and go between two looks, and who made them",
        ));
        features.push(feature(
            "statmount",
            kernel::statmount(),
            "looks at one mount among many at the same cost",
        ));
        features.push(feature(
            "ustat",
            kernel::ustat(),
            "file systems that are in use, and mounted nowhere",
        ));
        features.push(feature(
            "kernel-log",
            kernel::opens(Path::new("/dev/kmsg"), false),
            "errors of file systems and disks",
        ));
        Self {
            kernel,
            arch,
            root_propagation: root_propagation(),
            features,
        }
    }

    /// A feature by its name.
    pub fn feature(&self, name: &str) -> Option<&Feature> {
        self.features.iter().find(|f| f.name == name)
    }

    /// Whether the host has the feature; false for a name that we do not know.
    pub fn has(&self, name: &str) -> bool {
        self.feature(name).is_some_and(|f| f.state == State::Have)
    }
}

fn feature(name: &'static str, found: Result<(), String>, used_for: &'static str) -> Feature {
    let state = found.map_or_else(State::Lack, |()| State::Have);
    Feature {
        name,
        state,
        used_for,
    }
}

/// The id of this boot (random(4)): what the kernel numbers from the start
/// again at each boot belongs to it.
///
/// # Errors
/// As reading `/proc/sys/kernel/random/boot_id` fails.
pub fn boot_id() -> io::Result<String> {
    let file = Path::new("/proc/sys/kernel/random/boot_id");
    let text = std::fs::read_to_string(file).map_err(|e| about(file, &e))?;
    Ok(text.trim().to_owned())
}

/// Where a tool is, by the search path and the usual places for system tools
/// (a plain user's PATH often lacks them). It is not run.
pub fn find_tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    find_in(name, &path).or_else(|| find_in(name, OsStr::new("/usr/sbin:/sbin:/usr/bin:/bin")))
}

fn find_in(name: &str, path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(path)
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(name))
        .find(|tool| {
            let is_program =
                |m: std::fs::Metadata| m.is_file() && m.permissions().mode() & 0o111 != 0;
            std::fs::metadata(tool).is_ok_and(is_program)
        })
}

fn file_system(known: &BTreeSet<String>, name: &str, tool: &str) -> Result<(), String> {
    match (
        known.contains(name) || kernel::has_module(name),
        find_tool(tool),
    ) {
        (true, Some(_)) => Ok(()),
        (true, None) => Err(format!("{tool} is not installed")),
        (false, Some(_)) => Err(format!("the kernel has no {name}")),
        (false, None) => Err(format!(
            "the kernel has no {name}, and {tool} is not installed"
        )),
    }
}

fn fuse(known: &BTreeSet<String>) -> Result<(), String> {
    if !known.contains("fuse") && !kernel::has_module("fuse") {
        return Err("the kernel has no FUSE".to_owned());
    }
    kernel::opens(Path::new("/dev/fuse"), true)
}

fn device_mapper() -> Result<(), String> {
    // It is not opened: that would load the module.
    let control = Path::new("/dev/mapper/control");
    if !control.exists() {
        return Err(format!("there is no {}", control.display()));
    }
    match find_tool("dmsetup") {
        Some(_) => Ok(()),
        None => Err("dmsetup is not installed".to_owned()),
    }
}

fn root_propagation() -> Propagation {
    let Ok(table) = MountTable::ours() else {
        return Propagation::Unknown;
    };
    match table.at(Path::new("/")).last() {
        None => Propagation::Unknown,
        Some(root) => match (root.shared, root.master) {
            (None, None) => Propagation::Private,
            (Some(_), None) => Propagation::Shared,
            (None, Some(_)) => Propagation::Slave,
            (Some(_), Some(_)) => Propagation::SlaveAndShared,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feature_is_named_once_and_says_what_it_is_for() {
        let host = Host::look();
        let names: BTreeSet<_> = host.features.iter().map(|f| f.name).collect();
        assert_eq!(names.len(), host.features.len());
        for feature in &host.features {
            assert!(!feature.used_for.is_empty());
            assert!(
                feature.state != State::Lack(String::new()),
                "{}",
                feature.name
            );
        }
        assert!(!host.kernel.is_empty() && !host.arch.is_empty());
        assert!(host.feature("ext4").is_some() && !host.has("no such thing"));
    }

    #[test]
    fn a_tool_is_a_program_and_nothing_else() -> std::io::Result<()> {
        let dir = tempfile::tempdir()?;
        let tool = dir.path().join("mkfs.none");
        let find = || find_in("mkfs.none", dir.path().as_os_str());
        assert_eq!(find(), None);
        std::fs::write(&tool, "")?;
        assert_eq!(find(), None, "a file that is no program");
        std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755))?;
        assert_eq!(find(), Some(tool));
        assert_eq!(find_in("mkfs.none", OsStr::new("::relative")), None);
        assert!(find_tool("sh").is_some());
        Ok(())
    }

    #[test]
    fn what_is_lacking_of_a_file_system_is_said() {
        let known = BTreeSet::from(["nonefs".to_owned()]);
        let lacks = |name, tool| file_system(&known, name, tool).err().unwrap_or_default();
        assert_eq!(lacks("nonefs", "sh"), "");
        assert_eq!(lacks("nonefs", "mkfs.none"), "mkfs.none is not installed");
        assert_eq!(lacks("otherfs", "sh"), "the kernel has no otherfs");
    }
}
