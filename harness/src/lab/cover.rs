//! A second mount on top of a first, as a stranger or a lost race leaves it.

use std::io;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// Binds the mount at `path` over itself. It is made private before: else the
/// second mount would propagate to every other place where the volume is
/// mounted.
///
/// # Errors
/// mount(2) refuses.
pub fn cover(path: &Path) -> io::Result<()> {
    let none = None::<&str>;
    mount(none, path, none, MsFlags::MS_PRIVATE, none)?;
    mount(Some(path), path, none, MsFlags::MS_BIND, none)?;
    Ok(())
}

/// Takes the topmost mount at `path` away. The caller made sure that it is the
/// one that [`cover`] put there.
///
/// # Errors
/// umount2(2) refuses.
pub fn uncover(path: &Path) -> io::Result<()> {
    Ok(umount2(path, MntFlags::UMOUNT_NOFOLLOW)?)
}
