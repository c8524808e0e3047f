//! Letting loop devices go, by identity.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use linux_raw_sys::loop_device::{LOOP_CLR_FD, LOOP_GET_STATUS64, loop_info64};
use nix::errno::Errno;

use super::cleaned::Then;
use super::identity::FileIdentity;
use super::journal::Entry;
use super::{mapped, thaw};
use crate::node::block::BLKGETDISKSEQ;
use crate::node::{self, LoopDevice};

/// How long a loop device that was let go may take to be gone.
const PATIENCE: Duration = Duration::from_secs(5);

const ANOTHER: &str = "another disk has this number now";

/// Lets a loop device go if it is the disk that was made, with its backing file.
/// None where it is gone already.
pub(super) fn let_go(number: u32, diskseq: u64, file: FileIdentity) -> Option<Then> {
    // Looked at before it is opened: a stranger's device is not touched at all.
    match is_that(number, diskseq) {
        // Also where another disk has this number now: ours is gone.
        Ok(None | Some(false)) => return None,
        Ok(Some(true)) => {}
        Err(error) => return Some(Then::Stuck(error.to_string())),
    }
    match clear(number, diskseq, file) {
        Ok(Some(why)) => return Some(Then::LeftAlone(why.into())),
        Ok(None) => {}
        Err(Errno::ENXIO) => return None,
        Err(errno) => return Some(Then::Stuck(errno.desc().into())),
    }
    let until = Instant::now() + PATIENCE;
    if matches!(is_that(number, diskseq), Ok(Some(true))) {
        // Whoever froze it did not live to thaw it.
        thaw::thaw_device(Path::new(&format!("/dev/loop{number}")));
    }
    loop {
        match is_that(number, diskseq) {
            Ok(Some(true)) if Instant::now() > until => {
                let why = "somebody uses it; it goes with its last user";
                return Some(Then::Stuck(why.into()));
            }
            Ok(Some(true)) => std::thread::sleep(Duration::from_millis(10)),
            Ok(_) => return Some(Then::Removed),
            Err(error) => return Some(Then::Stuck(error.to_string())),
        }
    }
}

/// Whether the device with this number is the disk with that sequence number;
/// none where it has no file behind it.
fn is_that(number: u32, diskseq: u64) -> io::Result<Option<bool>> {
    let device = LoopDevice::numbered(number)?;
    Ok(device.map(|device| device.id.diskseq == Some(diskseq)))
}

/// Lets a loop device go that was seen before, if it still is the one; in
/// words, what became of it.
pub fn release_loop(seen: &Entry) -> String {
    let Entry::Loop {
        number,
        diskseq,
        file,
        ..
    } = seen
    else {
        return "left: no loop device".into();
    };
    match let_go(*number, *diskseq, *file) {
        None => "gone meanwhile".into(),
        Some(then) => then.to_string(),
    }
}

/// The same for the scratch that is mounted at a path.
pub fn release_all_on_scratch(scratch: &Path) -> Vec<(String, Then)> {
    let dev = std::fs::metadata(scratch).map(|scratch| scratch.dev());
    dev.and_then(release_all_on).unwrap_or_default()
}

/// Lets every loop device go whose file lies on the file system with this device
/// number: the scratch of a run that is over. Each is named, with what became of
/// it.
///
/// # Errors
/// The loop devices cannot be listed.
pub(super) fn release_all_on(dev: u64) -> io::Result<Vec<(String, Then)>> {
    let mut told = Vec::new();
    for device in node::loops()? {
        let Some(diskseq) = device.id.diskseq else {
            continue;
        };
        // One that goes away meanwhile, or cannot be asked, is not let go.
        let Ok(file) = file_behind(device.number) else {
            continue;
        };
        if file.dev == dev {
            // Its file is ours, and so is what a driver laid over it.
            if let Err(error) = mapped::remove_over(&device) {
                tracing::warn!(%error, "a device lies on {}", device.path().display());
            }
            let then = let_go(device.number, diskseq, file);
            told.extend(then.map(|then| (format!("/dev/loop{}", device.number), then)));
        }
    }
    Ok(told)
}

fn open(number: u32) -> Result<File, Errno> {
    let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW;
    let device = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(format!("/dev/loop{number}"));
    device.map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
}

fn status(device: &File) -> Result<loop_info64, Errno> {
    // SAFETY: loop_info64 is plain data, for which all zeroes is a valid value.
    let mut info: loop_info64 = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one loop_info64.
    Errno::result(unsafe {
        libc::ioctl(device.as_raw_fd(), LOOP_GET_STATUS64.into(), &raw mut info)
    })?;
    Ok(info)
}

fn file_behind(number: u32) -> Result<FileIdentity, Errno> {
    let info = status(&open(number)?)?;
    Ok(FileIdentity {
        dev: info.lo_device,
        ino: info.lo_inode,
    })
}

/// Some reason not to, or none: it is let go.
fn clear(number: u32, diskseq: u64, file: FileIdentity) -> Result<Option<&'static str>, Errno> {
    let device = open(number)?;
    let fd = device.as_raw_fd();
    let mut seen = 0_u64;
    // SAFETY: the kernel writes one 64-bit number.
    Errno::result(unsafe { libc::ioctl(fd, BLKGETDISKSEQ, &raw mut seen) })?;
    if seen != diskseq {
        return Ok(Some(ANOTHER));
    }
    match status(&device) {
        Ok(info) if (info.lo_device, info.lo_inode) != (file.dev, file.ino) => {
            return Ok(Some("another file is behind it now"));
        }
        // Its file is on a FUSE file system that is served no more: that of a disk of
        // ours. The sequence number alone tells whose it is.
        Ok(_) | Err(Errno::ENOTCONN) => {}
        Err(error) => return Err(error),
    }
    // SAFETY: takes no argument.
    Errno::result(unsafe { libc::ioctl(fd, LOOP_CLR_FD.into(), 0) })?;
    Ok(None)
}
