//! Copies of disk images, and the stillness that a copy needs.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Whence, lseek64};

use super::filesystem::run_btrfs;
use super::kernel::{call, call_from};
use super::{Doing, SysError};
use crate::mutation::Call;

/// `FICLONE` (ioctl_ficlone(2)): `_IOW(0x94, 9, int)`.
const CLONE: u64 = nix::request_code_write!(0x94, 9, size_of::<libc::c_int>());
/// `FIFREEZE` and `FITHAW` of linux/fs.h: `_IOWR('X', 119, int)` and one more.
const FREEZE: u64 = nix::request_code_readwrite!(b'X', 119, size_of::<libc::c_int>());
const THAW: u64 = nix::request_code_readwrite!(b'X', 120, size_of::<libc::c_int>());

/// Copies a file: its blocks are shared where the file system can do that, and
/// holes stay holes elsewhere.
pub(crate) fn file(from: &Path, to: &Path) -> Result<(), SysError> {
    call_from(Call::Copy, from, to, |from, to| {
        let mut source = File::open(from)?;
        let mut how = OpenOptions::new();
        let mut copy = how.write(true).create_new(true).mode(0o600).open(to)?;
        if ioctl(copy.as_raw_fd(), CLONE, source.as_raw_fd().into()).is_err() {
            data(&mut source, &mut copy)?;
        }
        copy.sync_all()
    })
    .doing("copy to", to)
}

/// Copies what was ever written, and the length.
fn data(source: &mut File, copy: &mut File) -> io::Result<()> {
    let length = source.metadata()?.len();
    copy.set_len(length)?;
    let mut position = 0;
    while position < length {
        let from = i64::try_from(position).map_err(io::Error::other)?;
        let begin = match lseek64(&*source, from, Whence::SeekData) {
            Ok(begin) => begin,
            Err(nix::errno::Errno::ENXIO) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let end = lseek64(&*source, begin, Whence::SeekHole)?;
        let (begin, end) = (begin.unsigned_abs(), end.unsigned_abs());
        source.seek(SeekFrom::Start(begin))?;
        copy.seek(SeekFrom::Start(begin))?;
        io::copy(&mut source.take(end - begin), copy)?;
        position = end;
    }
    copy.flush()
}

/// A file system that takes no writes, with all that was written to it on its
/// device. It takes them again when this is dropped.
#[derive(Debug)]
pub(crate) struct Frozen(File, PathBuf);

/// Freezes the file system that is mounted at this path.
pub(crate) fn freeze(at: &Path) -> Result<Frozen, SysError> {
    let freeze = |at: &Path| {
        let root = File::open(at)?;
        ioctl(root.as_raw_fd(), FREEZE, 0)?;
        Ok::<_, io::Error>(root)
    };
    let root = call(Call::Freeze, at, freeze).doing("freeze", at)?;
    Ok(Frozen(root, at.to_owned()))
}

/// No mutation bends this: what stays frozen cannot be taken away, and would outlive
/// the driver and its run.
impl Drop for Frozen {
    fn drop(&mut self) {
        if let Err(error) = ioctl(self.0.as_raw_fd(), THAW, 0) {
            tracing::error!(%error, at = %self.1.display(), "could not thaw");
        }
    }
}

/// Thaws what a killed process left frozen; what is not frozen stays as it is.
pub(crate) fn thaw(at: &Path) -> Result<(), SysError> {
    let root = File::open(at).doing("open", at)?;
    match ioctl(root.as_raw_fd(), THAW, 0) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        thawed => thawed.doing("thaw", at),
    }
}

/// Writes out what a device still holds back.
pub(crate) fn flush(device: &Path) -> Result<(), SysError> {
    call(Call::Fsync, device, |device| File::open(device)?.sync_all()).doing("flush", device)
}

/// Gives the btrfs in a disk image an id of its own: the kernel takes two devices
/// with the same one for parts of one file system.
pub(crate) fn new_btrfs_id(image: &Path) -> Result<(), SysError> {
    run_btrfs("btrfstune", &["-m"], image).doing("give a new id to the btrfs in", image)
}

fn ioctl(fd: RawFd, request: u64, argument: libc::c_long) -> io::Result<()> {
    // SAFETY: the requests used here take an integer; no memory is handed over.
    let answer = unsafe { libc::ioctl(fd, request as libc::Ioctl, argument) };
    nix::errno::Errno::result(answer)
        .map(drop)
        .map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileExt, MetadataExt};

    use super::*;

    #[test]
    fn a_copy_has_the_bytes_and_the_holes() {
        let place = tempfile::tempdir().expect("a scratch folder");
        let (from, to) = (place.path().join("from"), place.path().join("to"));
        let source = File::create(&from).expect("made");
        source.set_len(64 << 20).expect("sparse");
        source.write_all_at(b"far in", 40 << 20).expect("written");
        file(&from, &to).expect("copied");
        let copy = File::open(&to).expect("there");
        let mut bytes = [0; 6];
        copy.read_exact_at(&mut bytes, 40 << 20).expect("read");
        assert_eq!(&bytes, b"far in");
        let seen = copy.metadata().expect("its length");
        assert_eq!(seen.len(), 64 << 20);
        assert!(seen.blocks() * 512 < 1 << 20, "{} blocks", seen.blocks());
    }
}
