//! Loop devices: a file shown as a disk (loop(4)).
//!
//! A device is known by the file behind it (device and inode number), never by
//! its own number, which the kernel gives to the next one at once.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use linux_raw_sys::loop_device::{
    LOOP_CLR_FD, LOOP_CONFIGURE, LOOP_CTL_GET_FREE, LOOP_GET_STATUS64, LOOP_SET_CAPACITY,
    LOOP_SET_STATUS64, loop_config, loop_info64,
};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use super::kernel::{Opened, Pretend, call};
use super::mountinfo::Mount;
use super::{Doing, SysError, mapped, rpc};
use crate::mutation::Call;

const CONTROL: &str = "/dev/loop-control";
const READ_ONLY: u32 = 1;
const AUTOCLEAR: u32 = 4;
/// `linux/fs.h`.
const BLKROSET: u32 = 0x125d;
/// The major device number of loop devices.
const MAJOR: u32 = 7;
/// How often a free device is asked for before the race with others counts as lost.
const ATTEMPTS: u32 = 64;
/// How long a device may take to go after it was told to.
const GONE_WITHIN: Duration = Duration::from_secs(2);

/// A loop device, by number: `/dev/loopN`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LoopDevice(u32);

impl LoopDevice {
    /// The device node.
    pub(crate) fn path(self) -> PathBuf {
        PathBuf::from(format!("/dev/loop{}", self.0))
    }

    /// Its number, the N of its name.
    pub(super) fn number(self) -> u32 {
        self.0
    }

    /// The device node that its volume is used through: that of the device-mapper device
    /// over it, where there is one.
    pub(crate) fn node(self) -> PathBuf {
        match mapped::over(self) {
            Some(name) => Path::new("/dev").join(name),
            None => self.path(),
        }
    }

    /// The device behind a mount, or beneath the device-mapper device behind it: of a file system on it, or of its node bound onto a file.
    pub(crate) fn behind(mount: &Mount) -> Option<Self> {
        let named = |path: &Path| {
            let name = path.file_name()?.to_str()?;
            let number = match name.strip_prefix("loop") {
                Some(number) => number.parse().ok(),
                None => mapped::beneath(&Path::new("/sys/block").join(name)),
            };
            number.map(LoopDevice)
        };
        match mount.device {
            // The minor number of a device without partitions is its own number.
            (MAJOR, minor) => Some(LoopDevice(minor)),
            _ if mount.is_node() => named(&mount.root),
            (major, minor) if major != 0 => {
                let sysfs = format!("/sys/dev/block/{major}:{minor}");
                mapped::beneath(Path::new(&sysfs)).map(LoopDevice)
            }
            // btrfs shows a device number that is not the disk's.
            _ if mount.source.starts_with("/dev") => named(&mount.source),
            _ => None,
        }
    }

    /// Whether this device shows this file.
    pub(crate) fn shows(self, image: &Path) -> bool {
        let Ok(wanted) = fs::metadata(image) else {
            return self.backing_is(image);
        };
        self.backing_is(image)
            && self
                .open(false)
                .and_then(|device| status(&device))
                .is_ok_and(|info| info.lo_inode == wanted.ino() && info.lo_device == wanted.dev())
    }

    /// Whether sysfs names this file, or where it was, as the file behind the
    /// device. The names of volumes are random, so the end of the path will do:
    /// seen from another mount namespace its beginning may differ.
    fn backing_is(self, image: &Path) -> bool {
        if rpc::is_told_cleared(&self.path()) {
            return false;
        }
        let backing = format!("/sys/block/loop{}/loop/backing_file", self.0);
        let Ok(backing) = fs::read_to_string(backing) else {
            return false;
        };
        let backing = backing.trim_end().trim_end_matches(" (deleted)");
        tail(Path::new(backing)) == tail(image)
    }

    /// Whether the device itself refuses writes.
    pub(crate) fn is_read_only(self) -> bool {
        let path = format!("/sys/block/loop{}/ro", self.0);
        fs::read_to_string(path).is_ok_and(|ro| ro.trim() == "1")
    }

    /// The size of the device in bytes.
    pub(crate) fn size(self) -> Result<u64, SysError> {
        let path = PathBuf::from(format!("/sys/block/loop{}/size", self.0));
        let sectors = fs::read_to_string(&path).doing("read", &path)?;
        let sectors: u64 = sectors
            .trim()
            .parse()
            .map_err(io::Error::other)
            .doing("read", &path)?;
        Ok(sectors * 512)
    }

    /// Whether the disk can be read: it is asked, and no cache.
    pub(crate) fn answers(self) -> Result<(), SysError> {
        /// As direct reads want it, whatever the size of a sector.
        #[repr(align(4096))]
        struct Block([u8; 4096]);
        let read = |path: &Path| {
            let mut block = Block([0; 4096]);
            let mut how = OpenOptions::new();
            how.read(true).custom_flags(libc::O_DIRECT);
            how.open(path)?.read_exact_at(&mut block.0, 0)
        };
        call(Call::Read, &self.node(), read).doing("read", &self.node())
    }

    /// Lets the device take the present length of its file.
    pub(crate) fn grow(self) -> Result<(), SysError> {
        let device = self.open(false).doing("open", &self.path())?;
        device
            .call(Call::LoopCapacity, |device| {
                ioctl_int(device, LOOP_SET_CAPACITY, 0).map(drop)
            })
            .doing("set the capacity of", &self.path())?;
        mapped::grow_over(self)
    }

    /// Takes the device away, and looks whether it is gone: LOOP_CLR_FD answers 0
    /// also when somebody has the device open, and the kernel then clears it later.
    pub(crate) fn detach(self, image: &Path) -> Result<(), SysError> {
        mapped::remove_over(self)?;
        let device = self.open(false).doing("open", &self.path())?;
        let cleared = device.call(Call::LoopClear, |device| {
            ioctl_int(device, LOOP_CLR_FD, 0).map(drop)
        });
        match cleared {
            Err(error) if error.raw_os_error() != Some(libc::ENXIO) => {
                return Err(SysError::new("detach", self.path(), error));
            }
            _ => drop(device),
        }
        let until = Instant::now() + GONE_WITHIN;
        while self.backing_is(image) {
            if Instant::now() > until {
                let error = io::Error::from_raw_os_error(libc::EBUSY);
                return Err(SysError::new("detach", self.path(), error));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    fn open(self, write: bool) -> io::Result<Opened> {
        let path = self.path();
        let mut how = OpenOptions::new();
        how.read(true).write(write).custom_flags(libc::O_CLOEXEC);
        match Opened::open(&path, &how) {
            // A container's own /dev does not get the nodes of new devices.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mode = Mode::from_bits_truncate(0o660);
                let device = makedev(u64::from(MAJOR), u64::from(self.0));
                call(Call::Mknod, &path, move |path| {
                    mknod(path, SFlag::S_IFBLK, mode, device).map_err(io::Error::from)
                })?;
                Opened::open(&path, &how)
            }
            opened => opened,
        }
    }

    /// Claims a device that shows this file already, so that it stays: one that
    /// was told to go while somebody had it open goes at the last close.
    fn adopt(self) -> io::Result<()> {
        let device = self.open(false)?;
        let mut info = status(&device)?;
        if info.lo_flags & AUTOCLEAR != 0 {
            info.lo_flags &= !AUTOCLEAR;
            device.call(Call::LoopSetStatus, move |device| {
                ioctl_ptr(device, LOOP_SET_STATUS64, &mut info.clone())
            })?;
        }
        Ok(())
    }
}

/// Every device that shows this file.
pub(crate) fn find(image: &Path) -> Result<Vec<LoopDevice>, SysError> {
    let folder = Path::new("/sys/block");
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).doing("list", folder)? {
        let name = entry.doing("list", folder)?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("loop"));
        if let Some(number) = number.and_then(|number| number.parse().ok()) {
            let device = LoopDevice(number);
            if device.shows(image) {
                found.push(device);
            }
        }
    }
    found.sort_by_key(|device| device.0);
    Ok(found)
}

/// The device that shows this file, read-only or not; a new one where there is none.
pub(crate) fn attach(image: &Path, read_only: bool) -> Result<LoopDevice, SysError> {
    for device in find(image)? {
        if device.is_read_only() == read_only && device.adopt().is_ok() {
            return Ok(device);
        }
    }
    attach_new(image, read_only)
}

/// A new device that shows this file.
pub(crate) fn attach_new(image: &Path, read_only: bool) -> Result<LoopDevice, SysError> {
    let mut how = OpenOptions::new();
    how.read(true).write(!read_only);
    let file = Opened::open(image, &how).doing("open", image)?;
    let path = Path::new(CONTROL);
    how.write(true);
    let control = Opened::open(path, &how).doing("open", path)?;
    let begin = rpc::mark();
    for _ in 0..ATTEMPTS {
        rpc::again(&begin);
        let number = control
            .call(Call::LoopFree, |control| {
                ioctl_int(control, LOOP_CTL_GET_FREE, 0)
            })
            .doing("ask for a free loop device at", path)?;
        let device = LoopDevice(number.unsigned_abs());
        match configure(device, &file, image, read_only) {
            Ok(()) => return Ok(device),
            // Somebody else was given the same free device.
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
            Err(error) => return Err(SysError::new("attach", device.path(), error)),
        }
    }
    let error = io::Error::from_raw_os_error(libc::EBUSY);
    Err(SysError::new("attach a loop device to", image, error))
}

fn configure(device: LoopDevice, file: &Opened, image: &Path, read_only: bool) -> io::Result<()> {
    let node = device.open(!read_only)?;
    // SAFETY: a structure of integers and arrays of integers, for which zero is a value.
    let mut config: loop_config = unsafe { std::mem::zeroed() };
    config.info.lo_flags = if read_only { READ_ONLY } else { 0 };
    let name = image.as_os_str().as_encoded_bytes();
    let room = config.info.lo_file_name.len() - 1;
    for (to, from) in config
        .info
        .lo_file_name
        .iter_mut()
        .zip(name.iter().take(room))
    {
        *to = *from;
    }
    node.call_from(Call::LoopConfigure, file, move |file, node| {
        let mut config = config;
        config.fd = file.as_raw_fd().unsigned_abs();
        ioctl_ptr(node, LOOP_CONFIGURE, &mut config)
    })?;
    // Whoever had this number before may have made it read-only (BLKROSET), and that
    // stays with the number.
    if !read_only && device.is_read_only() {
        node.call(Call::BlockReadOnly, |node| {
            ioctl_ptr(node, BLKROSET, &mut 0_i32)
        })?;
    }
    Ok(())
}

fn status(device: &Opened) -> io::Result<loop_info64> {
    device.call(Call::LoopStatus, |device| {
        let mut info = loop_info64::pretend()?;
        ioctl_ptr(device, LOOP_GET_STATUS64, &mut info)?;
        Ok(info)
    })
}

/// All zeros: that of no file.
impl Pretend for loop_info64 {
    fn pretend() -> io::Result<Self> {
        // SAFETY: a structure of integers and arrays of integers, for which zero is a value.
        Ok(unsafe { std::mem::zeroed() })
    }
}

/// The last two components: the folder named by the volume's id, and the file in it.
fn tail(path: &Path) -> Option<(&std::ffi::OsStr, &std::ffi::OsStr)> {
    Some((path.parent()?.file_name()?, path.file_name()?))
}

fn ioctl_int(file: &File, request: u32, argument: libc::c_ulong) -> io::Result<i32> {
    // SAFETY: the loop requests used here take an integer or nothing; no memory is handed over.
    let answer = unsafe { libc::ioctl(file.as_raw_fd(), libc::Ioctl::from(request), argument) };
    nix::errno::Errno::result(answer).map_err(io::Error::from)
}

fn ioctl_ptr<T>(file: &File, request: u32, argument: &mut T) -> io::Result<()> {
    // SAFETY: every request used here reads or fills the one structure that it is
    // called with (loop_config, loop_info64), which lives throughout the call.
    let answer = unsafe {
        libc::ioctl(
            file.as_raw_fd(),
            libc::Ioctl::from(request),
            std::ptr::from_mut(argument),
        )
    };
    nix::errno::Errno::result(answer)
        .map(drop)
        .map_err(io::Error::from)
}
