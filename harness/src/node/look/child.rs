//! The child's side of a look.
//!
//! After a fork in a threaded process only async-signal-safe calls are sound:
//! no allocation, no lock, no panic. Everything here is libc's thin wrappers
//! of system calls; arguments were made before the fork.

use super::seen::{DeviceSeen, FileStat, FsStat, LoopSeen};
use super::slate::{Call, Not, Reply, Slate};
use super::{Leave, Look};
use crate::node::block::{BLKGETDISKSEQ, DiskId};
use crate::node::loops::BackingId;
use linux_raw_sys::loop_device::{LOOP_GET_STATUS64, loop_info64};
use std::ffi::CStr;
use std::mem::MaybeUninit;

// From linux/fs.h; libc lacks them.
const BLKROGET: libc::Ioctl = nix::request_code_none!(0x12, 94);
const BLKGETSIZE64: libc::Ioctl = nix::request_code_read!(0x12, 114, size_of::<usize>());

/// Ends the child if anything should unwind: it must never come back into the
/// parent's code.
struct Never;

impl Drop for Never {
    fn drop(&mut self) {
        exit();
    }
}

fn exit() -> ! {
    // SAFETY: _exit ends the process without running anything of ours.
    unsafe { libc::_exit(0) }
}

/// Looks, leaves the answer on the slate, and ends.
pub(super) fn run(look: &Look, path: &CStr, slate: &Slate) -> ! {
    let never = Never;
    let reply = prepare().and_then(|()| answer(look, path, slate));
    slate.put(reply.unwrap_or_else(|reply| reply));
    drop(never);
    exit()
}

/// What a step gives: its value, or the reply that ends the look.
type Step<T> = Result<T, Reply>;

/// Lets go of everything that was inherited.
fn prepare() -> Step<()> {
    // SAFETY: calls with numbers and a constant string only. The descriptors
    // that are closed are this process's copies.
    unsafe {
        // When the one who asked dies, nobody wants the answer.
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        checked(
            Call::CloseRange,
            libc::syscall(libc::SYS_close_range, 0, u32::MAX, 0),
        )?;
        checked(Call::Chdir, libc::c_long::from(libc::chdir(c"/".as_ptr())))?;
    }
    Ok(())
}

fn errno() -> i32 {
    // SAFETY: the address of errno is valid in every thread.
    unsafe { *libc::__errno_location() }
}

fn checked(call: Call, got: libc::c_long) -> Step<usize> {
    usize::try_from(got).map_err(|_| Reply::Os(call, errno()))
}

fn answer(look: &Look, path: &CStr, slate: &Slate) -> Step<Reply> {
    match look {
        Look::Stat { .. } => stat(path, libc::AT_SYMLINK_NOFOLLOW).map(Reply::Stat),
        Look::StatFollow { .. } => stat(path, 0).map(Reply::Stat),
        Look::StatFs { .. } => statfs(path),
        Look::ReadDir { max, .. } => {
            read_dir(open(path, libc::O_RDONLY | libc::O_DIRECTORY)?, *max, slate)
        }
        Look::ListBeneath { names, max, .. } => read_dir(open_beneath(path, *names)?, *max, slate),
        Look::ReadFile { offset, max, .. } => {
            let file = open(path, libc::O_RDONLY)?;
            // SAFETY: takes numbers only; it is advice, its answer is of no use.
            unsafe { libc::posix_fadvise(file, 0, 0, libc::POSIX_FADV_DONTNEED) };
            read(file, *offset, *max, slate)
        }
        Look::ReadLink { .. } => {
            let room = slate.room();
            // SAFETY: the path is a C string, and the slate has that much room.
            let got = unsafe { libc::readlink(path.as_ptr(), slate.bytes().cast(), room) };
            checked(Call::ReadLink, got as libc::c_long).map(Reply::Bytes)
        }
        Look::ReadTag { name, .. } => {
            let (name, room) = (name.as_ptr(), slate.room());
            // SAFETY: path and name are C strings, and the slate has that much room.
            let got = unsafe { libc::lgetxattr(path.as_ptr(), name, slate.bytes().cast(), room) };
            checked(Call::GetXattr, got as libc::c_long).map(Reply::Bytes)
        }
        Look::Leave { what, .. } => leave(path, what),
        Look::WriteFile {
            offset,
            bytes,
            create,
            truncate,
            fsync,
            ..
        } => {
            // What is there already must be a file: a device is not for this.
            match stat(path, libc::AT_SYMLINK_NOFOLLOW) {
                Ok(found) if !found.is_file() && !found.is_symlink() => {
                    return Err(Reply::Not(Not::RegularFile));
                }
                Err(Reply::Os(_, libc::ENOENT)) | Ok(_) => {}
                Err(reply) => return Err(reply),
            }
            let mut flags = libc::O_WRONLY | libc::O_NOFOLLOW;
            flags |= if *create { libc::O_CREAT } else { 0 };
            flags |= if *truncate { libc::O_TRUNC } else { 0 };
            let file = open(path, flags)?;
            write(file, *offset, bytes, *fsync)
        }
        Look::ReadBeneath { names, max, .. } => {
            let file = open_beneath(path, *names)?;
            read(file, 0, *max, slate)
        }
        Look::SetMode { mode, .. } => {
            let folder = open(path, libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW)?;
            // SAFETY: takes numbers.
            let got = unsafe { libc::fchmod(folder, *mode) };
            checked(Call::Chmod, got.into()).map(|_| Reply::Done)
        }
        Look::Remove { .. } => {
            // SAFETY: the path is a C string.
            let got = unsafe { libc::unlink(path.as_ptr()) };
            checked(Call::Unlink, got.into()).map(|_| Reply::Done)
        }
        Look::OpenDevice { write, .. } => {
            let access = if *write { libc::O_RDWR } else { libc::O_RDONLY };
            device(open_block(path, access)?).map(Reply::Device)
        }
        Look::ReadDevice { offset, len, .. } => {
            let file = open_block(path, libc::O_RDONLY)?;
            // Whole pages, of whatever size: a part of one stays in the cache.
            const PAGE: libc::off_t = 64 * 1024;
            let (first, last) = (*offset as libc::off_t, offset.wrapping_add(*len as u64));
            let from = first & !(PAGE - 1);
            let count = (last as libc::off_t).wrapping_sub(from) | (PAGE - 1);
            let count = count.wrapping_add(1);
            // SAFETY: takes numbers only; it is advice, its answer is of no use.
            unsafe { libc::posix_fadvise(file, from, count, libc::POSIX_FADV_DONTNEED) };
            read(file, *offset, *len, slate)
        }
        Look::WriteDevice {
            only,
            offset,
            bytes,
            fsync,
            ..
        } => {
            // Opened for reading first: closing a writer is an event for udev,
            // and this may yet prove to be somebody else's disk.
            is_only(open_block(path, libc::O_RDONLY)?, *only)?;
            let file = open_block(path, libc::O_RDWR)?;
            is_only(file, *only)?;
            write(file, *offset, bytes, *fsync)
        }
        Look::OpenExclusive { .. } => match open_block(path, libc::O_RDONLY | libc::O_EXCL) {
            Ok(_) => Ok(Reply::Exclusive { free: true }),
            Err(Reply::Os(Call::Open, libc::EBUSY)) => Ok(Reply::Exclusive { free: false }),
            Err(reply) => Err(reply),
        },
        Look::FileSystem { dev, .. } => match ustat(*dev) {
            Ok(()) => Ok(Reply::FileSystem { there: true }),
            Err(libc::EINVAL) => Ok(Reply::FileSystem { there: false }),
            // It is there, and cannot be asked.
            Err(libc::EIO | libc::ESTALE | libc::ENOTCONN | libc::ETIMEDOUT) => {
                Ok(Reply::FileSystem { there: true })
            }
            Err(errno) => Err(Reply::Os(Call::Ustat, errno)),
        },
        Look::LoopStatus { .. } => loop_status(open_block(path, libc::O_RDONLY)?),
        #[cfg(test)]
        Look::Sleep => loop {
            // SAFETY: takes nothing; ends with a signal.
            unsafe { libc::pause() };
        },
    }
}

/// Leaves what is no content.
fn leave(path: &CStr, what: &Leave) -> Step<Reply> {
    match what {
        Leave::Folder => {
            // SAFETY: the path is a C string.
            let got = unsafe { libc::mkdir(path.as_ptr(), 0o755) };
            checked(Call::Mkdir, got.into())?;
        }
        Leave::Link(to) => {
            // SAFETY: both are C strings.
            let got = unsafe { libc::symlink(to.as_ptr(), path.as_ptr()) };
            checked(Call::Symlink, got.into())?;
        }
        Leave::Owner { uid, gid, mode } => {
            let file = open(path, libc::O_RDONLY | libc::O_NOFOLLOW)?;
            // SAFETY: takes numbers.
            let got = unsafe { libc::fchown(file, *uid, *gid) };
            checked(Call::Chown, got.into())?;
            // Last: a change of the owner takes bits away.
            // SAFETY: takes numbers.
            let got = unsafe { libc::fchmod(file, *mode) };
            checked(Call::Chmod, got.into())?;
        }
        Leave::Tag { name, value } => {
            let (name, bytes, len) = (name.as_ptr(), value.as_ptr().cast(), value.len());
            // SAFETY: path and name are C strings, and so many bytes are ours.
            let got = unsafe { libc::lsetxattr(path.as_ptr(), name, bytes, len, 0) };
            checked(Call::SetXattr, got.into())?;
        }
    }
    Ok(Reply::Done)
}

/// ustat(2) of the file system with this device number; the error number.
#[cfg(target_arch = "x86_64")]
fn ustat((major, minor): (u32, u32)) -> Result<(), i32> {
    // struct ustat has 32 bytes there, and nobody reads them.
    let mut told = [0_u64; 8];
    let dev = libc::makedev(major, minor) as libc::c_uint;
    // SAFETY: the kernel writes one struct ustat, for which there is room.
    match unsafe { libc::syscall(libc::SYS_ustat, dev, told.as_mut_ptr()) } {
        0 => Ok(()),
        _ => Err(nix::errno::Errno::last_raw()),
    }
}

/// There is no such call.
#[cfg(not(target_arch = "x86_64"))]
fn ustat(_: (u32, u32)) -> Result<(), i32> {
    Err(libc::ENOSYS)
}

/// Opens without ever waiting for somebody. All descriptors end with the child.
fn open(path: &CStr, flags: i32) -> Step<i32> {
    let flags = flags | libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY;
    // SAFETY: the path is a C string; the mode is there for O_CREAT.
    let fd = unsafe { libc::open(path.as_ptr(), flags, 0o600 as libc::c_uint) };
    checked(Call::Open, fd.into()).map(|_| fd)
}

/// Opens a file below a copy of the mount that holds its folder, so that nothing
/// that is mounted there is in the way. The last `names` names are below the copy.
fn open_beneath(path: &CStr, names: usize) -> Step<i32> {
    let bytes = path.to_bytes();
    let mut at = bytes.len();
    let mut left = names;
    while left > 0 && at > 0 {
        at = at.wrapping_sub(1);
        if bytes.get(at) == Some(&b'/') {
            left = left.wrapping_sub(1);
        }
    }
    let mut folder = [0_u8; libc::PATH_MAX as usize];
    let (Some(head), Some(room), Some(file)) = (
        bytes.get(..at.max(1)),
        folder.get_mut(..at.max(1)),
        path.to_bytes_with_nul().get(at.wrapping_add(1)..),
    ) else {
        return Err(Reply::Os(Call::OpenTree, libc::ENAMETOOLONG));
    };
    room.copy_from_slice(head);
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
    // SAFETY: the folder is the head of the path, and zeros follow it.
    let tree =
        unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, folder.as_ptr(), flags) };
    let tree = checked(Call::OpenTree, tree)? as i32;
    let flags = libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK;
    // SAFETY: the tail of a C string is one.
    let fd = unsafe { libc::openat(tree, file.as_ptr().cast(), flags) };
    checked(Call::Open, fd.into()).map(|_| fd)
}

/// Opens a block device, and nothing else: opening a tape or a watchdog alone
/// may do something.
fn open_block(path: &CStr, flags: i32) -> Step<i32> {
    if !stat(path, 0)?.is_block_device() {
        return Err(Reply::Not(Not::BlockDevice));
    }
    let fd = open(path, flags)?;
    if !fstat(fd)?.is_block_device() {
        return Err(Reply::Not(Not::BlockDevice));
    }
    Ok(fd)
}

fn stat(path: &CStr, flags: i32) -> Step<FileStat> {
    stat_at(libc::AT_FDCWD, path, flags | libc::AT_NO_AUTOMOUNT)
}

fn fstat(fd: i32) -> Step<FileStat> {
    stat_at(fd, c"", libc::AT_EMPTY_PATH)
}

fn stat_at(dir: i32, path: &CStr, flags: i32) -> Step<FileStat> {
    let mut stat = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: the path is a C string, and there is room for a stat.
    let got = unsafe { libc::fstatat(dir, path.as_ptr(), stat.as_mut_ptr(), flags) };
    checked(Call::Stat, got.into())?;
    // SAFETY: zeroed, and then filled by the kernel.
    let stat = unsafe { stat.assume_init() };
    Ok(FileStat {
        mode: stat.st_mode,
        dev: (libc::major(stat.st_dev), libc::minor(stat.st_dev)),
        rdev: (libc::major(stat.st_rdev), libc::minor(stat.st_rdev)),
        ino: stat.st_ino,
        size: stat.st_size as u64,
        allocated: (stat.st_blocks as u64).wrapping_mul(512),
        uid: stat.st_uid,
        gid: stat.st_gid,
        nlink: wide(stat.st_nlink),
    })
}

/// For a type whose width is the architecture's.
fn wide(number: impl Into<u64>) -> u64 {
    number.into()
}

fn statfs(path: &CStr) -> Step<Reply> {
    let mut stat = MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: the path is a C string, and there is room for a statfs.
    let got = unsafe { libc::statfs(path.as_ptr(), stat.as_mut_ptr()) };
    checked(Call::StatFs, got.into())?;
    // SAFETY: zeroed, and then filled by the kernel. libc keeps the two words
    // of `fsid_t` private; it is nothing but them.
    let (stat, fsid) = unsafe {
        let stat = stat.assume_init();
        (
            stat,
            std::mem::transmute::<libc::fsid_t, [i32; 2]>(stat.f_fsid),
        )
    };
    Ok(Reply::StatFs(FsStat {
        magic: stat.f_type as u64,
        block_size: stat.f_bsize as u64,
        blocks: stat.f_blocks,
        blocks_free: stat.f_bfree,
        blocks_available: stat.f_bavail,
        files: stat.f_files,
        files_free: stat.f_ffree,
        fsid,
    }))
}

fn read(fd: i32, offset: u64, max: usize, slate: &Slate) -> Step<Reply> {
    let max = max.min(slate.room());
    let mut len = 0;
    while len < max {
        let at = offset.wrapping_add(len as u64) as libc::off_t;
        // SAFETY: the slate has room for `max` bytes, of which `len` are used.
        let got = unsafe { libc::pread(fd, slate.bytes().add(len).cast(), max - len, at) };
        match checked(Call::Read, got as libc::c_long)? {
            0 => break,
            got => len = len.wrapping_add(got),
        }
    }
    Ok(Reply::Bytes(len))
}

fn write(fd: i32, offset: u64, bytes: &[u8], fsync: bool) -> Step<Reply> {
    let mut rest = bytes;
    let mut at = offset;
    while !rest.is_empty() {
        // SAFETY: `rest` is that many bytes of ours.
        let got = unsafe { libc::pwrite(fd, rest.as_ptr().cast(), rest.len(), at as libc::off_t) };
        let got = checked(Call::Write, got as libc::c_long)?;
        if got == 0 {
            return Err(Reply::Os(Call::Write, libc::ENOSPC));
        }
        rest = rest.get(got..).unwrap_or_default();
        at = at.wrapping_add(got as u64);
    }
    if fsync {
        // SAFETY: takes a number.
        let got = unsafe { libc::fsync(fd) };
        checked(Call::Fsync, got.into())?;
    }
    Ok(Reply::Done)
}

fn device(fd: i32) -> Step<DeviceSeen> {
    let (mut size, mut diskseq, mut read_only) = (0_u64, 0_u64, 0_i32);
    // SAFETY: each of these ioctls writes one number of that size.
    let known = unsafe {
        checked(
            Call::Ioctl,
            libc::ioctl(fd, BLKGETSIZE64, &raw mut size).into(),
        )?;
        checked(
            Call::Ioctl,
            libc::ioctl(fd, BLKROGET, &raw mut read_only).into(),
        )?;
        libc::ioctl(fd, BLKGETDISKSEQ, &raw mut diskseq) == 0
    };
    Ok(DeviceSeen {
        disk: DiskId {
            number: fstat(fd)?.rdev,
            diskseq: if known { Some(diskseq) } else { None },
        },
        size,
        read_only: read_only != 0,
    })
}

fn is_only(fd: i32, only: DiskId) -> Step<()> {
    let found = device(fd)?.disk;
    let same_disk = only.diskseq.is_none() || only.diskseq == found.diskseq;
    if found.number == only.number && same_disk {
        Ok(())
    } else {
        Err(Reply::Not(Not::ThatDevice))
    }
}

fn loop_status(fd: i32) -> Step<Reply> {
    let mut info = MaybeUninit::<loop_info64>::zeroed();
    // SAFETY: there is room for what this ioctl writes.
    let got = unsafe { libc::ioctl(fd, LOOP_GET_STATUS64 as libc::Ioctl, info.as_mut_ptr()) };
    checked(Call::Ioctl, got.into())?;
    // SAFETY: zeroed, and then filled by the kernel; it is numbers alone.
    let info = unsafe { info.assume_init() };
    Ok(Reply::Loop(LoopSeen {
        disk: device(fd)?.disk,
        backing: BackingId {
            dev: (libc::major(info.lo_device), libc::minor(info.lo_device)),
            ino: info.lo_inode,
        },
        offset: info.lo_offset,
        flags: info.lo_flags,
    }))
}

/// Offsets in `struct linux_dirent64`.
const RECLEN: usize = 16;
const TYPE: usize = 18;
const NAME: usize = 19;

fn read_dir(fd: i32, max: usize, slate: &Slate) -> Step<Reply> {
    let mut buffer = [0_u8; 32 * 1024];
    let (mut len, mut names) = (0_usize, 0_usize);
    loop {
        // SAFETY: the buffer has that many bytes.
        let got =
            unsafe { libc::syscall(libc::SYS_getdents64, fd, buffer.as_mut_ptr(), buffer.len()) };
        let got = checked(Call::Getdents, got)?;
        let mut rest = buffer.get(..got).unwrap_or_default();
        if rest.is_empty() {
            return Ok(Reply::Names {
                len,
                truncated: false,
            });
        }
        while let Some((kind, name, after)) = entry(rest) {
            rest = after;
            if name == b"." || name == b".." {
                continue;
            }
            let end = len.wrapping_add(2).wrapping_add(name.len());
            if names >= max || end > slate.room() {
                return Ok(Reply::Names {
                    len,
                    truncated: true,
                });
            }
            // SAFETY: the slate has room up to `end`; a name has at most 255 bytes.
            unsafe {
                let at = slate.bytes().add(len);
                at.write(kind);
                at.add(1).write(name.len() as u8);
                at.add(2)
                    .copy_from_nonoverlapping(name.as_ptr(), name.len());
            }
            (len, names) = (end, names.wrapping_add(1));
        }
    }
}

/// The first entry of what getdents64 gave: kind, name, the rest.
fn entry(records: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let low = *records.get(RECLEN)?;
    let high = *records.get(RECLEN.wrapping_add(1))?;
    let (record, rest) = records.split_at_checked(u16::from_ne_bytes([low, high]).into())?;
    let name = record.get(NAME..)?;
    let end = name.iter().position(|&b| b == 0)?;
    Some((*record.get(TYPE)?, name.get(..end.min(255))?, rest))
}
