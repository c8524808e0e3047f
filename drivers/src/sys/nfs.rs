//! What an NFS driver does to the node and to its server: mount.nfs(8), and the
//! removal of a folder on a share that was mounted for it.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, kill};

use super::command::{self, Ended, program, run_or_abandon, run_patiently};
use super::kernel::{call, call_from};
use super::{Doing, SysError};
use crate::common::patience::Patience;
use crate::mutation::Call;

/// The helper, `mount.nfs4` for the type of that name.
const HELPER: &str = "mount.nfs";

/// What is to be mounted.
#[derive(Debug)]
pub(crate) struct Share<'a> {
    /// `nfs` or `nfs4`.
    pub(crate) fs_type: &'a str,
    /// `server:/path`.
    pub(crate) source: &'a str,
    /// With commas between them.
    pub(crate) options: &'a str,
    /// A port of this node, through which the server is reached; none: as it is named.
    /// Only defects do this, and for NFS 4.
    pub(crate) through: Option<u16>,
}

/// Mounts, as mount(8) does with `-t nfs`. The helper is our own child, without
/// mount(8) between: killing that would leave the helper at work.
pub(crate) fn mount(
    share: &Share<'_>,
    target: &Path,
    patience: &Patience,
    abandon: bool,
) -> Result<Ended, SysError> {
    let helper = program(&format!("mount.{}", share.fs_type)).ok_or_else(|| {
        let message = "this node has no mount.nfs (nfs-common or nfs-utils is not installed)";
        SysError::new(
            DOING,
            target,
            io::Error::new(io::ErrorKind::NotFound, message),
        )
    })?;
    let (through, fs_type) = (share.through, share.fs_type.to_owned());
    let (options, patience) = (share.options.to_owned(), patience.clone());
    let source = Path::new(share.source);
    call_from(Call::MountNfs, source, target, move |source, target| {
        let mut command = Command::new(&helper);
        if let Some(port) = through {
            // mount.nfs would look up the server's address by itself.
            command = Command::new("mount");
            let port = format!("{options},addr=127.0.0.1,port={port}");
            command.args(["-i", "-t", &fs_type, "-o", port.trim_start_matches(',')]);
        }
        command.arg(source).arg(target);
        if !options.is_empty() && through.is_none() {
            command.arg("-o").arg(&options);
        }
        match abandon {
            true => run_or_abandon(&mut command, &patience),
            false => run_patiently(&mut command, &patience),
        }
    })
    .doing(DOING, target)
}

const DOING: &str = "mount the share at";

/// Ends every helper that is still about to mount something at this path: one
/// that put itself into the background, or that a killed driver left.
///
/// # Errors
///
/// Where one is still there when the patience is over.
pub(crate) fn end_helpers(target: &Path, patience: &Patience) -> Result<(), SysError> {
    loop {
        let strays = command::strays(HELPER, target.as_os_str());
        if strays.is_empty() {
            return Ok(());
        }
        for stray in strays {
            let _ = call(Call::Kill, target, move |_| {
                kill(stray, Signal::SIGKILL).map_err(io::Error::from)
            });
        }
        if patience.over().is_some() {
            let error = io::Error::other("mount.nfs does not end");
            return Err(SysError::new("stop the mount at", target, error));
        }
        std::thread::sleep(command::PERIOD);
    }
}

/// Removes a folder and what is in it. No link is followed on the way to it or
/// in it, and no mount is crossed. One that is gone already is well.
pub(crate) fn remove_folder(
    root: &Path,
    names: &[String],
    patience: &Patience,
) -> Result<Ended, SysError> {
    let path = names
        .iter()
        .fold(root.to_owned(), |path, name| path.join(name));
    let doing = "remove the folder";
    if names.is_empty() {
        let error = io::Error::other("it is the share itself");
        return Err(SysError::new(doing, path, error));
    }
    let rm = program("rm").ok_or_else(|| {
        let error = io::Error::new(io::ErrorKind::NotFound, "rm is not installed");
        SysError::new(doing, &path, error)
    })?;
    let (root, patience) = (root.to_owned(), patience.clone());
    call(Call::Remove, &path, move |path| {
        let mut command = removal(&rm, &root, path)?;
        run_patiently(&mut command, &patience)
    })
    .doing(doing, &path)
}

/// `rm` of the folder at this path, which it comes to from the root step by step.
fn removal(rm: &Path, root: &Path, path: &Path) -> io::Result<Command> {
    let text = |name: &OsStr| CString::new(name.as_bytes()).map_err(io::Error::other);
    let names = path.strip_prefix(root).map_err(io::Error::other)?;
    let mut way: Vec<CString> = names.iter().map(text).collect::<io::Result<_>>()?;
    way.pop();
    let root = text(root.as_os_str())?;
    let mut command = Command::new(rm);
    // `./`, so that no name is taken for an option.
    command
        .args(["-rf", "--one-file-system"])
        .arg(Path::new(".").join(names.file_name().unwrap_or_default()));
    // SAFETY: between fork and exec, `enter` makes system calls on memory that was
    // laid out before, and neither allocates nor takes a lock.
    unsafe { command.pre_exec(move || enter(&root, &way)) };
    Ok(command)
}

/// Makes the folder at the end of the way the working folder.
fn enter(root: &CString, way: &[CString]) -> io::Result<()> {
    let folder = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    let result = |answer: libc::c_int| nix::errno::Errno::result(answer).map_err(io::Error::from);
    // SAFETY: the path ends in a zero.
    let mut at = result(unsafe { libc::open(root.as_ptr(), folder) })?;
    for name in way {
        // SAFETY: the name ends in a zero, and `at` is open.
        at = result(unsafe { libc::openat(at, name.as_ptr(), folder) })?;
    }
    // SAFETY: `at` is open; all of them close at exec.
    result(unsafe { libc::fchdir(at) }).map(drop)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;

    fn remove(root: &Path, names: &[&str]) -> Result<Ended, SysError> {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        remove_folder(root, &names, &Patience::lasting(Duration::from_secs(60)))
    }

    #[test]
    fn one_folder_is_removed_and_no_link_followed() {
        let scratch = tempfile::tempdir().expect("a folder");
        let root = scratch.path();
        fs::create_dir_all(root.join("a/x/deep")).expect("made");
        fs::create_dir_all(root.join("a/y")).expect("made");
        fs::write(root.join("a/x/deep/file"), "x").expect("written");
        std::os::unix::fs::symlink(root.join("a/y"), root.join("a/x/link")).expect("linked");
        std::os::unix::fs::symlink("a", root.join("b")).expect("linked");
        let ended = remove(root, &["b", "y"]);
        assert!(ended.is_err(), "a link on the way: {ended:?}");
        for _ in 0..2 {
            let ended = remove(root, &["a", "x"]).expect("rm was run");
            assert!(
                matches!(ended, Ended::Itself(status, _) if status.success()),
                "{ended:?}"
            );
        }
        assert!(!root.join("a/x").exists() && root.join("a/y").is_dir());
        assert!(remove(root, &[]).is_err());
        let gone = remove(root, &["nowhere", "x"]).expect_err("no way there");
        assert_eq!(gone.errno(), Some(libc::ENOENT));
    }
}
