//! Folders and files: what a mount point needs, and records that survive a crash.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::kernel::{Opened, call, call_from};
use super::{Doing, SysError};
use crate::mutation::Call;

/// Makes a folder, where there is none. Its parent is the caller's affair.
pub(crate) fn make_dir(path: &Path, mode: u32) -> Result<bool, SysError> {
    let made = call(Call::Mkdir, path, move |path| {
        DirBuilder::new().mode(mode).create(path)
    });
    match made {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists && is_dir(path) => Ok(false),
        Err(error) => Err(SysError::new("make the folder", path, error)),
    }
}

/// Whether this is a folder itself, and no link to one: a mount would follow it.
pub(crate) fn is_dir(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_dir())
}

fn is_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_file())
}

/// Makes an empty file, where there is none: what a device is bound onto.
pub(crate) fn make_file(path: &Path) -> Result<bool, SysError> {
    let mut how = OpenOptions::new();
    how.write(true).create_new(true).mode(0o640);
    match Opened::open(path, &how) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists && is_file(path) => Ok(false),
        Err(error) => Err(SysError::new("make the file", path, error)),
    }
}

/// Removes a mount point that nothing is mounted at: an empty folder or an empty
/// file, and nothing that holds data. One that is gone already is well.
pub(crate) fn remove_mount_point(path: &Path) -> Result<(), SysError> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(SysError::new("look at", path, error)),
    };
    if found.is_dir() {
        rmdir(path)
    } else if found.is_file() && found.len() == 0 {
        unlink(path)
    } else {
        let error = std::io::Error::other("it is neither an empty folder nor an empty file");
        Err(SysError::new("remove", path, error))
    }
}

fn rmdir(path: &Path) -> Result<(), SysError> {
    call(Call::Rmdir, path, |path| fs::remove_dir(path)).doing("remove the folder", path)
}

fn unlink(path: &Path) -> Result<(), SysError> {
    call(Call::Unlink, path, |path| fs::remove_file(path)).doing("remove the file", path)
}

/// Whether two paths name one file.
pub(crate) fn identity(path: &Path) -> Result<(u64, u64), SysError> {
    let found = fs::metadata(path).doing("look at", path)?;
    Ok((found.dev(), found.ino()))
}

/// Makes a sparse file of this many bytes, or makes one longer.
pub(crate) fn set_length(path: &Path, bytes: u64) -> Result<(), SysError> {
    let mut how = OpenOptions::new();
    how.write(true).create(true).truncate(false).mode(0o600);
    let file = Opened::open(path, &how).doing("open", path)?;
    file.call(Call::Truncate, move |file| file.set_len(bytes))
        .doing("set the length of", path)?;
    flush(&file, path)
}

fn flush(file: &Opened, path: &Path) -> Result<(), SysError> {
    file.call(Call::Fsync, |file| file.sync_all())
        .doing("flush", path)
}

/// Makes a file longer where it is shorter: what format-on-unreadable does to a
/// disk that was cut short.
pub(crate) fn set_length_at_least(path: &Path, bytes: u64) -> Result<(), SysError> {
    if length(path)? < bytes {
        return set_length(path, bytes);
    }
    Ok(())
}

/// The length of a file in bytes.
pub(crate) fn length(path: &Path) -> Result<u64, SysError> {
    Ok(fs::metadata(path).doing("look at", path)?.len())
}

/// Replaces a file by a new content, so that a crash at any moment leaves the
/// old content or the new, and neither half.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<(), SysError> {
    /// Two writers must not meet in one file beside it.
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".new-{}", WRITES.fetch_add(1, Ordering::Relaxed)));
    let aside = PathBuf::from(aside);
    let mut how = OpenOptions::new();
    how.write(true).create(true).truncate(true).mode(0o600);
    let file = Opened::open(&aside, &how).doing("open", &aside)?;
    let content = content.to_owned();
    file.call(Call::Write, move |mut file| file.write_all(&content))
        .doing("write", &aside)?;
    flush(&file, &aside)?;
    move_to(&aside, path).doing("replace", path)?;
    sync_parent(path)
}

fn move_to(from: &Path, to: &Path) -> std::io::Result<()> {
    call_from(Call::Rename, from, to, |from, to| fs::rename(from, to))
}

/// Moves a folder to another name, for good.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), SysError> {
    move_to(from, to).doing("rename", from)?;
    sync_parent(to)
}

/// Where a link leads.
pub(crate) fn led_to(link: &Path) -> Result<PathBuf, SysError> {
    fs::read_link(link).doing("read the link", link)
}

/// Makes a link lead there, in one step.
pub(crate) fn lead(link: &Path, to: &Path) -> Result<(), SysError> {
    let mut aside = link.as_os_str().to_owned();
    aside.push(".new");
    let aside = PathBuf::from(aside);
    // What a crash left there.
    let _ = call(Call::Unlink, &aside, |aside| fs::remove_file(aside));
    call_from(Call::Symlink, to, &aside, |to, aside| {
        std::os::unix::fs::symlink(to, aside)
    })
    .doing("make the link", &aside)?;
    rename(&aside, link)
}

/// Removes a link. One that is gone already is well.
pub(crate) fn remove_link(link: &Path) -> Result<(), SysError> {
    match call(Call::Unlink, link, |link| fs::remove_file(link)) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(SysError::new("remove the link", link, error))
        }
        _ => Ok(()),
    }
}

/// Removes a folder of plain files and nothing deeper.
pub(crate) fn remove_flat_dir(path: &Path) -> Result<(), SysError> {
    for entry in fs::read_dir(path).doing("list", path)? {
        let entry = entry.doing("list", path)?.path();
        unlink(&entry)?;
    }
    rmdir(path)?;
    sync_parent(path)
}

/// Bytes of randomness as lower-case hexadecimal digits.
pub(crate) fn random_hex(bytes: usize) -> Result<String, SysError> {
    let path = Path::new("/dev/urandom");
    let mut random = vec![0; bytes];
    let file = Opened::read(path).doing("open", path)?;
    file.file().read_exact(&mut random).doing("read", path)?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn sync_parent(path: &Path) -> Result<(), SysError> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    // Opened to be flushed alone, so this is one call.
    call(Call::Fsync, parent, |parent| File::open(parent)?.sync_all()).doing("flush", parent)
}

/// Reads a folder through: what estale-blocks-unpublish does first, and what
/// fails where the disk is gone.
pub(crate) fn list(path: &Path) -> Result<(), SysError> {
    if !is_dir(path) {
        return identity(path).map(drop);
    }
    let mut entries = fs::read_dir(path).doing("list", path)?;
    match entries.find(Result::is_err) {
        Some(Err(error)) => Err(SysError::new("list", path, error)),
        _ => Ok(()),
    }
}

/// Lets everybody write to a folder: the defect chmod-on-publish.
pub(crate) fn open_to_all(path: &Path) {
    set_mode(path, 0o777);
}

/// Changes the mode of whatever is at a path, which only defects do.
pub(crate) fn set_mode(path: &Path, mode: u32) {
    let _ = call(Call::Chmod, path, move |path| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
    });
}

/// Gives all that is in a folder to root: the defect chown-on-publish. It stays on the
/// one file system, as [`empty_out`] does.
pub(crate) fn give_to_root(root: &Path) {
    let Ok((device, _)) = identity(root) else {
        return;
    };
    let Ok(entries) = fs::read_dir(root) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        let Ok(found) = fs::symlink_metadata(&path) else {
            continue;
        };
        if found.dev() == device && !found.file_type().is_symlink() {
            let _ = std::os::unix::fs::lchown(&path, Some(0), Some(0));
            if found.is_dir() {
                give_to_root(&path);
            }
        }
    }
}

/// Removes what is in a folder: the defect umount-once-then-removeall. It stays
/// on the one file system that the folder is the root of, and follows no link,
/// so that it can harm nothing but the volume that is mounted there.
pub(crate) fn empty_out(root: &Path) {
    let Ok((device, _)) = identity(root) else {
        return;
    };
    let Ok(entries) = fs::read_dir(root) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        match fs::symlink_metadata(&path) {
            Ok(found) if found.dev() != device => {}
            Ok(found) if found.is_dir() => {
                empty_out(&path);
                let _ = rmdir(&path);
            }
            Ok(_) => drop(unlink(&path)),
            Err(_) => {}
        }
    }
}

/// Removes the empty folders in a folder; what is none of these stays.
pub(crate) fn remove_empty_dirs(path: &Path) -> Result<(), SysError> {
    for entry in fs::read_dir(path).doing("list", path)? {
        let entry = entry.doing("list", path)?.path();
        let _ = rmdir(&entry);
    }
    Ok(())
}
