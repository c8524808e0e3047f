//! What an NFS driver does to the node and to its server: mount.nfs(8), and the
//! removal of a folder on a share that was mounted for it.

use std::ffi::CString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, kill};

use super::command::{self, Ended, program, run_or_abandon, run_patiently};
use super::{Doing, SysError};
use crate::common::patience::Patience;

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
    let mut command = Command::new(helper);
    command.arg(share.source).arg(target);
    if !share.options.is_empty() {
        command.arg("-o").arg(share.options);
    }
    match abandon {
        true => run_or_abandon(&mut command, patience),
        false => run_patiently(&mut command, patience),
    }
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
            let _ = kill(stray, Signal::SIGKILL);
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
    let Some((last, way)) = names.split_last() else {
        let error = io::Error::other("it is the share itself");
        return Err(SysError::new(doing, path, error));
    };
    let rm = program("rm").ok_or_else(|| {
        let error = io::Error::new(io::ErrorKind::NotFound, "rm is not installed");
        SysError::new(doing, &path, error)
    })?;
    let text = |name: &[u8]| CString::new(name).map_err(io::Error::other);
    let root = text(root.as_os_str().as_encoded_bytes()).doing(doing, &path)?;
    let way: Vec<CString> = way
        .iter()
        .map(|name| text(name.as_bytes()))
        .collect::<io::Result<_>>()
        .doing(doing, &path)?;
    let mut command = Command::new(rm);
    // `./`, so that no name is taken for an option.
    command
        .args(["-rf", "--one-file-system"])
        .arg(format!("./{last}"));
    // SAFETY: between fork and exec, `enter` makes system calls on memory that was
    // laid out before, and neither allocates nor takes a lock.
    unsafe { command.pre_exec(move || enter(&root, &way)) };
    run_patiently(&mut command, patience).doing(doing, &path)
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
