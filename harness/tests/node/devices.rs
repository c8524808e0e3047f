//! Loop devices, and looks through them.

use crate::{Done, Folder, SOON, wait};
use csi_harness::node::look::{self, LookError};
use csi_harness::node::{
    BackingId, BlockDevice, DiskId, KernelLog, LoopDevice, MountTable, block_device, loops,
};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::error::Error;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A loop device that we attached, and detach.
struct Attached {
    device: LoopDevice,
}

impl Attached {
    fn new(image: &Path, options: &[&str]) -> Result<Self, Box<dyn Error>> {
        let out = Command::new("losetup")
            .args(["--find", "--show"])
            .args(options)
            .arg(image)
            .output()?;
        if !out.status.success() {
            return Err(String::from_utf8_lossy(&out.stderr).into());
        }
        let path = String::from_utf8(out.stdout)?;
        let find = |l: &LoopDevice| l.path() == Path::new(path.trim());
        let device = loops()?
            .into_iter()
            .find(find)
            .ok_or("attached, and not in sysfs")?;
        Ok(Self { device })
    }

    fn is_there(&self) -> std::io::Result<bool> {
        Ok(loops()?.iter().any(|l| l.id == self.device.id))
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        if self.is_there().unwrap_or(true) {
            let _ = Command::new("losetup")
                .arg("-d")
                .arg(self.device.path())
                .status();
        }
    }
}

const MIB: u64 = 1024 * 1024;

fn image(folder: &Folder, name: &str, size: u64) -> std::io::Result<PathBuf> {
    let path = folder.0.path().join(name);
    fs::File::create_new(&path)?.set_len(size)?;
    Ok(path)
}

pub(crate) fn loop_identity() -> Done {
    let folder = Folder::new()?;
    let file = image(&folder, "disk image", 8 * MIB)?;
    let stat = fs::metadata(&file)?;
    let backing = BackingId {
        dev: (libc::major(stat.dev()), libc::minor(stat.dev())),
        ino: stat.ino(),
    };
    let first = Attached::new(&file, &["--read-only"])?;
    let device = &first.device;
    assert_eq!((&device.backing, device.backing_deleted), (&file, false));
    assert_eq!(
        (device.size, device.read_only, device.offset),
        (8 * MIB, true, 0)
    );
    assert!(
        device.id.diskseq.is_some(),
        "a kernel without disk sequence numbers"
    );
    assert_eq!(wait(device.backing_id(SOON))?, Some(backing));

    let BlockDevice {
        id,
        size,
        read_only,
        on_loop,
        part_of,
        ..
    } = block_device(device.id.number.0, device.id.number.1)?;
    assert_eq!(
        (id, size, read_only, part_of),
        (device.id, 8 * MIB, true, None)
    );
    assert_eq!(on_loop.as_ref(), Some(device));

    fs::remove_file(&file)?;
    let of = |id: DiskId| loops().map(|all| all.into_iter().find(|l| l.id == id));
    let now = of(device.id)?.ok_or("gone")?;
    assert_eq!((&now.backing, now.backing_deleted), (&file, true));
    // Another file of the same name is not the one behind the device.
    image(&folder, "disk image", 8 * MIB)?;
    assert_eq!(wait(device.backing_id(SOON))?, Some(backing));

    let id = device.id;
    drop(first);
    let until = Instant::now() + SOON;
    while of(id)?.is_some() && Instant::now() < until {
        std::thread::yield_now();
    }
    assert_eq!(of(id)?, None);
    Ok(())
}

pub(crate) fn device_markers() -> Done {
    let folder = Folder::new()?;
    let attached = Attached::new(&image(&folder, "disk", 8 * MIB)?, &[])?;
    let (path, id) = (attached.device.path(), attached.device.id);
    let seen = wait(look::open_device(&path, true, SOON))?;
    assert_eq!((seen.disk, seen.size, seen.read_only), (id, 8 * MIB, false));

    wait(look::write_device(&path, id, MIB, b"marker".to_vec(), SOON))?;
    assert_eq!(wait(look::read_device(&path, MIB, 6, SOON))?, b"marker");
    let behind = fs::read(&attached.device.backing)?;
    assert_eq!(&behind[MIB as usize..][..6], b"marker");
    assert_eq!(
        wait(look::read_device(&path, 8 * MIB - 3, 9, SOON))?,
        b"\0\0\0"
    );

    let older = DiskId {
        diskseq: id.diskseq.map(|n| n - 1),
        ..id
    };
    let other = DiskId {
        number: (id.number.0, id.number.1 + 1),
        ..id
    };
    for not in [older, other] {
        let refused = wait(look::write_device(&path, not, 0, b"wrong".to_vec(), SOON));
        assert!(
            matches!(refused, Err(LookError::NotThat { .. })),
            "{refused:?}"
        );
    }
    assert_eq!(&fs::read(&attached.device.backing)?[..5], b"\0\0\0\0\0");
    Ok(())
}

fn ext4(folder: &Folder) -> Result<(Attached, PathBuf), Box<dyn Error>> {
    let file = image(folder, "ext4", 32 * MIB)?;
    let made = Command::new("mkfs.ext4").arg("-q").arg(&file).status()?;
    assert!(made.success());
    let attached = Attached::new(&file, &[])?;
    let target = folder.sub("target")?;
    let device = attached.device.path();
    mount(
        Some(&device),
        &target,
        Some("ext4"),
        MsFlags::empty(),
        None::<&str>,
    )?;
    Ok((attached, target))
}

pub(crate) fn used_device() -> Done {
    let folder = Folder::new()?;
    let (attached, target) = ext4(&folder)?;
    let device = attached.device.path();
    assert!(!wait(look::is_free(&device, SOON))?);
    let table = MountTable::ours()?;
    assert_eq!(table.at(&target)[0].dev(), attached.device.id.number);
    let fs = wait(look::statfs(&target, SOON))?;
    assert_eq!(fs.magic, 0xEF53);
    assert!(fs.blocks * fs.block_size <= 32 * MIB && fs.files > 0);
    umount2(&target, MntFlags::empty())?;
    assert!(wait(look::is_free(&device, SOON))?);
    Ok(())
}

nix::ioctl_readwrite! {
    /// FIFREEZE of linux/fs.h.
    freeze, b'X', 119, libc::c_int
}
nix::ioctl_readwrite! {
    /// FITHAW of linux/fs.h.
    thaw, b'X', 120, libc::c_int
}

/// A file system in which every write waits in the kernel.
struct Frozen(fs::File);

impl Frozen {
    fn new(target: &Path) -> Result<Self, Box<dyn Error>> {
        let root = fs::File::open(target)?;
        let mut nothing = 0;
        // SAFETY: FIFREEZE takes an open descriptor; the number is not used.
        unsafe { freeze(root.as_raw_fd(), &raw mut nothing)? };
        Ok(Self(root))
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let mut nothing = 0;
        // SAFETY: as above. A failure shows in the test, which waits for it.
        let _ = unsafe { thaw(self.0.as_raw_fd(), &raw mut nothing) };
    }
}

pub(crate) fn frozen() -> Done {
    let folder = Folder::new()?;
    let (_attached, target) = ext4(&folder)?;
    let marker = target.join("marker");
    let frozen = Frozen::new(&target)?;
    let write = look::write_file(&marker, b"late".to_vec(), Duration::from_millis(100));
    let seen = wait(write);
    assert!(matches!(seen, Err(LookError::NoAnswer { .. })), "{seen:?}");
    assert!(
        look::abandoned() > 0,
        "it was killed, so this tests nothing"
    );
    assert!(look::reap() > 0);
    // Others are not held up by it.
    assert!(wait(look::stat(&target, SOON))?.is_dir());

    drop(frozen);
    let until = Instant::now() + SOON;
    while look::reap() > 0 && Instant::now() < until {
        std::thread::yield_now();
    }
    assert_eq!(look::abandoned(), 0);
    assert!(wait(look::stat(&target, SOON))?.is_dir());
    Ok(())
}

pub(crate) fn kernel_log() -> Done {
    let said = |n| {
        format!(
            "csi-harness: a line for a test, {} of {n}",
            std::process::id()
        )
    };
    // Without its newline, the kernel would wait for the rest of the line.
    fs::write("/dev/kmsg", format!("<7>{}\n", said(1)))?;
    let mut log = KernelLog::at_end()?;
    fs::write("/dev/kmsg", format!("<7>{}\n", said(2)))?;
    let news = log.news()?;
    let heard = |text: String| news.records.iter().filter(|r| r.text == text).count();
    assert_eq!((heard(said(1)), heard(said(2))), (0, 1));
    Ok(())
}
