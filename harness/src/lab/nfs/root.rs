//! The root folder of a server: a small file system of its own, with the
//! system's programs bound into it and the state folders of NFS empty.
//!
//! A new mount namespace begins as a copy of ours, and a copy of a mount keeps
//! its disk busy. So the server leaves all of ours at once, and takes along
//! only where the programs lie.

use std::fs::{self, File};
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{chdir, pivot_root};

use super::error::{NfsError, failed};

/// Where programs, their libraries and what they read lie; a system has some of
/// them. They are bound without what is mounted below them.
const PROGRAMS: [&str; 10] = [
    "usr", "etc", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "nix", "gnu",
];

/// Settings of the host's own NFS: none of ours.
const HOSTS_OWN: [&str; 6] = [
    "etc/nfs.conf",
    "etc/nfs.conf.d",
    "etc/exports",
    "etc/exports.d",
    "etc/hosts.allow",
    "etc/hosts.deny",
];

/// Empty folders: the state of the NFS tools below /var/lib/nfs, the exports,
/// and where to mount.
const FOLDERS: [&str; 15] = [
    "empty.d",
    "proc",
    "dev",
    "tmp",
    "run",
    "run/rpcbind",
    "run/rpc_pipefs",
    "export",
    "var",
    "var/empty",
    "var/lib",
    "var/lib/nfs",
    "var/lib/nfs/sm",
    "var/lib/nfs/v4recovery",
    "var/lib/nfs/nfsdcld",
];

const FILES: [&str; 4] = [
    "empty",
    "var/lib/nfs/etab",
    "var/lib/nfs/rmtab",
    "var/lib/nfs/state",
];

/// Moves the calling thread, which is in a new mount namespace already, to a
/// new root. `folder` is an existing folder to put it together at.
pub(super) fn change(folder: &Path) -> Result<(), NfsError> {
    let root = Path::new("/");
    mount_at(None, root, None, MsFlags::MS_REC | MsFlags::MS_PRIVATE, "")?;
    let size = "mode=0755,size=16m";
    mount_at(
        Some("csi-nfs"),
        folder,
        Some("tmpfs"),
        MsFlags::empty(),
        size,
    )?;
    for name in FOLDERS {
        let made = folder.join(name);
        fs::create_dir(&made).map_err(failed("mkdir", &made))?;
    }
    for name in FILES {
        let made = folder.join(name);
        File::create(&made).map_err(failed("create", &made))?;
    }
    link("../run", &folder.join("var/run"))?;
    link("/run/rpc_pipefs", &folder.join("var/lib/nfs/rpc_pipefs"))?;
    for name in PROGRAMS {
        take_along(&root.join(name), &folder.join(name))?;
    }
    bind(Path::new("/dev"), &folder.join("dev"))?;
    for name in HOSTS_OWN {
        let hidden = folder.join(name);
        if hidden.is_dir() {
            bind(&folder.join("empty.d"), &hidden)?;
        } else if hidden.is_file() {
            bind(&folder.join("empty"), &hidden)?;
        }
    }
    chdir(folder).map_err(failed("chdir", folder))?;
    // The old root lands on top of the new one, and goes from there
    // (pivot_root(2), "pivot_root(".", ".")").
    pivot_root(".", ".").map_err(failed("pivot_root", folder))?;
    umount2(".", MntFlags::MNT_DETACH).map_err(failed("unmount the old root at", folder))?;
    chdir("/").map_err(failed("chdir", root))?;
    mount_new("proc", Path::new("/proc"), "")?;
    mount_new("rpc_pipefs", Path::new("/run/rpc_pipefs"), "")?;
    mount_new("nfsd", Path::new("/proc/fs/nfsd"), "")
}

/// Mounts a new file system of that type.
pub(super) fn mount_new(fs_type: &str, at: &Path, options: &str) -> Result<(), NfsError> {
    mount_at(Some(fs_type), at, Some(fs_type), MsFlags::empty(), options)
}

fn take_along(from: &Path, to: &Path) -> Result<(), NfsError> {
    let Ok(kind) = from.symlink_metadata().map(|of| of.file_type()) else {
        return Ok(());
    };
    if kind.is_symlink() {
        let target = fs::read_link(from).map_err(failed("readlink", from))?;
        return link(&target, to);
    }
    fs::create_dir(to).map_err(failed("mkdir", to))?;
    bind(from, to)
}

fn bind(from: &Path, to: &Path) -> Result<(), NfsError> {
    let what = from.to_string_lossy();
    mount_at(Some(&what), to, None, MsFlags::MS_BIND, "")
}

fn link(target: impl AsRef<Path>, at: &Path) -> Result<(), NfsError> {
    std::os::unix::fs::symlink(target, at).map_err(failed("symlink", at))
}

fn mount_at(
    what: Option<&str>,
    at: &Path,
    fs_type: Option<&str>,
    flags: MsFlags,
    options: &str,
) -> Result<(), NfsError> {
    let doing = match fs_type {
        Some("nfsd") => "mount the kernel's nfsd at",
        Some("rpc_pipefs") => "mount rpc_pipefs at",
        Some("tmpfs") => "mount a tmpfs at",
        Some(_) => "mount proc at",
        None => "bind at",
    };
    mount(what, at, fs_type, flags, Some(options)).map_err(failed(doing, at))
}
