//! Mounting, and what must be true when it is over: the mount is there and is the
//! right one, or nothing of the attempt is left.

use std::path::Path;
use std::time::Duration;

use nix::mount::{MntFlags, MsFlags};
use tonic::Status;

use super::driver::Driver;
use super::flags::Flags;
use super::relay;
use super::source::{Source, is_nfs};
use super::store::internal;
use crate::common::patience::{Over, Patience};
use crate::defect::Defect;
use crate::sys::command::Ended;
use crate::sys::disposable::{self, Chore, Undone};
use crate::sys::filesystem::Usage;
use crate::sys::mountinfo::{self, Mount};
use crate::sys::{file, nfs};

/// How long a server may take to say how full a share is.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How long the kernel may take for an unmount.
const UNMOUNT_WITHIN: Duration = Duration::from_secs(10);
/// How long what failed may take to be taken back.
const UNDO_WITHIN: Duration = Duration::from_secs(20);
/// More mounts at one path than anybody stacks.
const MOST_LAYERS: usize = 64;

/// Drivers with these defects mount what is no share, and can take it away again
/// only because they take any mount at a path of theirs for their own.
const CARELESS: [Defect; 5] = [
    Defect::ALREADY_MOUNTED_NO_IDENTITY_CHECK,
    Defect::MOUNT_ERROR_SWALLOWED,
    Defect::NFS_BG_TRUSTED,
    Defect::PUBLISH_BINDS_UNMOUNTED_STAGING,
    Defect::STAGE_ERROR_DIR_THEN_OK,
];

/// Mounts a folder of a server, and makes sure that it is mounted then.
///
/// # Errors
///
/// Whatever mount.nfs says, as a status. What it left is for [`undo`].
pub(super) fn mount(
    driver: &Driver,
    source: &Source,
    flags: &Flags,
    read_only: bool,
    target: &Path,
    patience: &Patience,
) -> Result<(), Status> {
    let abandon = driver.defects.has(Defect::PUBLISH_TIMEOUT_ABANDONS_MOUNT);
    let share = nfs::Share {
        fs_type: flags.fs_type(),
        source: &source.to_string(),
        options: &flags.joined(read_only),
        through: match driver.defects.has(Defect::NFS_IN_PLUGIN_NETNS) {
            true => Some(relay::to(source.server()).map_err(|e| Status::internal(e.to_string()))?),
            false => None,
        },
    };
    match nfs::mount(&share, target, patience, abandon).map_err(unable)? {
        Ended::Itself(status, _) if status.success() => {}
        Ended::Itself(_, said) => return Err(refusal(&said)),
        Ended::Killed(over) => return Err(too_late(over)),
    }
    if flags.is_background() {
        // The defect nfs-bg-trusted: all others refuse the flag.
        return Ok(());
    }
    // An exit code is only what the helper believes.
    let mounts = mountinfo::at(target).map_err(internal)?;
    match mounts.last() {
        Some(mount) if source.was_mounted_as(mount) => Ok(()),
        Some(_) => Err(Status::internal(
            "mount.nfs ended with 0, and something else is mounted",
        )),
        None => Err(Status::internal(
            "mount.nfs ended with 0, and nothing is mounted",
        )),
    }
}

/// Shows a staged volume at a target, and makes sure of it.
pub(super) fn bind(
    driver: &Driver,
    staging: &Path,
    target: &Path,
    flags: MsFlags,
    patience: &Patience,
) -> Result<(), Status> {
    let mut ignored = MsFlags::empty();
    let mut flags = flags;
    if driver.defects.has(Defect::RO_BIND_SINGLE_CALL) {
        ignored = flags & MsFlags::MS_RDONLY;
        flags -= ignored;
    }
    let made = Chore::Mount {
        source: Some(staging),
        target,
        flags: MsFlags::MS_BIND | ignored,
    };
    disposable::run(made, patience).map_err(|why| undone("bind-mount", target, &why))?;
    if flags.is_empty() {
        return Ok(());
    }
    // The kernel takes the flags of a bind mount in a second call alone.
    let set = Chore::Mount {
        source: None,
        target,
        flags: MsFlags::MS_BIND | MsFlags::MS_REMOUNT | flags,
    };
    disposable::run(set, patience).map_err(|why| undone("set the mount flags", target, &why))?;
    Ok(())
}

/// Whether the caller went away meanwhile: what was done for it is to be undone.
pub(super) fn still_wanted(patience: &Patience) -> Result<(), Status> {
    match patience.over() {
        Some(Over::GivenUp) => Err(too_late(Over::GivenUp)),
        _ => Ok(()),
    }
}

/// Takes back what a mount that failed may have left: the helper, the mount.
pub(super) fn undo(driver: &Driver, path: &Path) -> Result<(), Status> {
    let patience = Patience::lasting(UNDO_WITHIN);
    end_helpers(driver, path, &patience)?;
    unmount_all(driver, path, &patience)
}

/// Makes sure that nothing is about to be mounted at this path any more.
pub(super) fn end_helpers(driver: &Driver, path: &Path, patience: &Patience) -> Result<(), Status> {
    let leaving = [
        Defect::NFS_BG_TRUSTED,
        Defect::PUBLISH_TIMEOUT_ABANDONS_MOUNT,
    ];
    if leaving.iter().any(|defect| driver.defects.has(*defect)) {
        return Ok(());
    }
    nfs::end_helpers(path, patience).map_err(internal)
}

/// Asks the server behind a path how full the share is.
///
/// # Errors
///
/// Where it says nothing within a few seconds, or that there is no such folder.
pub(super) fn measure(path: &Path, patience: &Patience) -> Result<Usage, Undone> {
    disposable::measure(path, &patience.at_most(ANSWER_WITHIN))
}

/// Takes away every mount of a share at a path. What is none is left, and is an
/// error, because what is beneath it cannot be taken away either.
pub(super) fn unmount_all(driver: &Driver, path: &Path, patience: &Patience) -> Result<(), Status> {
    if disposable::is_pending(path) {
        return Err(Status::unavailable(
            "the kernel is still at work on the last unmount there",
        ));
    }
    for _ in 0..MOST_LAYERS {
        let Some(mount) = mountinfo::top(path).map_err(internal)? else {
            return Ok(());
        };
        if !is_ours(driver, &mount) {
            return Err(occupied(path));
        }
        unmount(driver, path, patience)?;
    }
    Err(Status::internal("there is always one more mount there"))
}

/// Whether a mount at a path of ours can be one that we made.
pub(super) fn is_ours(driver: &Driver, mount: &Mount) -> bool {
    is_nfs(mount) || CARELESS.iter().any(|defect| driver.defects.has(*defect))
}

/// Takes away the mount on top at a path. The path is looked at by nobody on the
/// way: a look at a dead server's share does not come back, an unmount does.
///
/// A mount that is in use stays, and is an error; also where its server is gone.
/// Those who use it are then at least woken (MNT_FORCE), so that they can end.
/// Taken away lazily, it would only be out of sight.
pub(super) fn unmount(driver: &Driver, path: &Path, patience: &Patience) -> Result<(), Status> {
    let once = |flags| {
        let chore = Chore::Unmount(path, MntFlags::UMOUNT_NOFOLLOW | flags);
        disposable::run(chore, &patience.at_most(UNMOUNT_WITHIN)).map(drop)
    };
    if driver.defects.has(Defect::LAZY_UMOUNT_HIDES_BUSY) {
        return once(MntFlags::MNT_DETACH).map_err(|why| undone("unmount", path, &why));
    }
    match once(MntFlags::empty()) {
        Ok(()) => Ok(()),
        Err(why) if why.errno() == Some(libc::EBUSY) && !is_dead(path, patience) => Err(
            Status::failed_precondition(format!("cannot unmount {}: it is in use", path.display())),
        ),
        Err(Undone::Over(_)) if mountinfo::top(path).map_err(internal)?.is_none() => {
            // It was out of the table at once; the goodbye to the server was not heard.
            Ok(())
        }
        Err(why) if why.errno() == Some(libc::EBUSY) || matches!(why, Undone::Over(_)) => {
            match once(MntFlags::MNT_FORCE) {
                Err(why) if why.errno() == Some(libc::EBUSY) => Err(Status::unavailable(format!(
                    "cannot unmount {}: it is in use, and its server does not answer",
                    path.display()
                ))),
                forced => forced.map_err(|why| undone("unmount", path, &why)),
            }
        }
        // Somebody else was quicker.
        Err(why) if why.errno() == Some(libc::EINVAL) => Ok(()),
        Err(why) => Err(undone("unmount", path, &why)),
    }
}

/// Takes a mount out of the table that nothing can be read through any more: its
/// folder is gone from the server for good.
pub(super) fn unmount_stale(path: &Path) -> Result<(), Status> {
    let patience = Patience::lasting(UNMOUNT_WITHIN);
    let flags = MntFlags::UMOUNT_NOFOLLOW | MntFlags::MNT_DETACH;
    disposable::run(Chore::Unmount(path, flags), &patience)
        .map(drop)
        .map_err(|why| undone("unmount", path, &why))
}

/// Whether the server behind a path says nothing.
fn is_dead(path: &Path, patience: &Patience) -> bool {
    matches!(
        measure(path, patience),
        Err(Undone::Over(_) | Undone::Stuck)
    )
}

/// Removes a mount point that nothing is mounted at.
pub(super) fn remove_mount_point(path: &Path) -> Result<(), Status> {
    file::remove_mount_point(path).map_err(internal)
}

/// A path at which something is mounted that is not ours.
pub(super) fn occupied(path: &Path) -> Status {
    let message = format!("something else is mounted at {}", path.display());
    Status::failed_precondition(message)
}

/// What to answer where a chore was not done.
pub(super) fn undone(doing: &str, path: &Path, why: &Undone) -> Status {
    let message = format!("cannot {doing} {}: {why}", path.display());
    match why {
        Undone::Over(Over::GivenUp) => Status::cancelled(message),
        Undone::Over(Over::Late) | Undone::Stuck => Status::unavailable(message),
        Undone::Refused(_) if why.errno() == Some(libc::ESTALE) => Status::unavailable(message),
        Undone::Refused(_) => Status::internal(message),
    }
}

/// The helper could not be run, or not be ended.
fn unable(error: crate::sys::SysError) -> Status {
    match error.kind() {
        std::io::ErrorKind::NotFound => Status::failed_precondition(error.to_string()),
        _ => internal(error),
    }
}

fn too_late(over: Over) -> Status {
    match over {
        Over::Late => {
            Status::deadline_exceeded("the server took too long, and the mount was given up")
        }
        Over::GivenUp => Status::cancelled("the caller gave up, and so was the mount"),
    }
}

/// What mount.nfs says, as a status. Its words are those of its messages, which
/// are English where LC_ALL is C.
fn refusal(said: &str) -> Status {
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    let message = match said.is_empty() {
        true => "mount.nfs failed, and said nothing".to_owned(),
        false => said.to_owned(),
    };
    if has(&["No such device", "unknown filesystem type"]) {
        Status::failed_precondition(format!("this node's kernel has no NFS client: {message}"))
    } else if has(&["No such file or directory", "Stale file handle"]) {
        Status::not_found(message)
    } else if has(&[
        "access denied",
        "Permission denied",
        "Operation not permitted",
    ]) {
        Status::permission_denied(message)
    } else if has(&[
        "incorrect mount option",
        "Invalid argument",
        "bad option",
        "parsing error",
    ]) {
        Status::invalid_argument(message)
    } else if has(&[
        // This is also said of a server that is stopped: its portmapper then
        // knows of no version.
        "not supported",
        "refused",
        "timed out",
        "unreachable",
        "No route",
        "Failed to resolve",
        "Name or service",
        "Connection reset",
    ]) {
        Status::unavailable(message)
    } else {
        Status::internal(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Code;

    #[test]
    fn what_mount_nfs_says_becomes_a_status() {
        for (said, code) in [
            (
                "mount.nfs: access denied by server while mounting h:/e",
                Code::PermissionDenied,
            ),
            (
                "mount.nfs: mounting h:/e failed, reason given by server: No such file or directory",
                Code::NotFound,
            ),
            ("mount.nfs: Connection refused", Code::Unavailable),
            (
                "mount.nfs: an incorrect mount option was specified",
                Code::InvalidArgument,
            ),
            (
                "mount.nfs: requested NFS version or transport protocol is not supported",
                Code::Unavailable,
            ),
            ("mount.nfs: No such device", Code::FailedPrecondition),
            ("", Code::Internal),
        ] {
            assert_eq!(refusal(said).code(), code, "{said}");
        }
    }
}
