//! The few facts about the node that this room needs to act safely.
//!
//! Nothing else in `lab` reads `/proc` or `/sys`.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use linux_raw_sys::general;
use nix::sys::stat::fstat;
use serde::{Deserialize, Serialize};

/// Which process: a number is given again, a number with its start time is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// Its number.
    pub pid: i32,
    /// Clock ticks from boot to its start: proc_pid_stat(5), field 22.
    pub start_ticks: u64,
}

impl ProcessIdentity {
    /// The process that has this number now.
    ///
    /// # Errors
    /// There is no such process, or `/proc` cannot be read.
    pub fn of(pid: i32) -> io::Result<Self> {
        stat(pid).map(|stat| Self {
            pid,
            start_ticks: stat.start_ticks,
        })
    }

    /// Whether it still runs: a zombie does not.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        stat(self.pid)
            .is_ok_and(|s| s.start_ticks == self.start_ticks && !matches!(s.state, b'Z' | b'X'))
    }
}

/// Which file or folder: the device and inode that a path led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileIdentity {
    /// `st_dev`.
    pub dev: u64,
    /// `st_ino`.
    pub ino: u64,
}

impl FileIdentity {
    /// The identity of an open file.
    ///
    /// # Errors
    /// fstat(2) failed.
    pub fn of(file: impl AsFd) -> io::Result<Self> {
        let stat = fstat(file)?;
        Ok(Self {
            dev: stat.st_dev,
            ino: stat.st_ino,
        })
    }
}

struct Stat {
    state: u8,
    parent: i32,
    group: i32,
    start_ticks: u64,
}

fn stat(pid: i32) -> io::Result<Stat> {
    let bytes = fs::read(format!("/proc/{pid}/stat"))?;
    // The name stands in brackets and may hold anything, brackets included.
    let fields = bytes
        .iter()
        .rposition(|&b| b == b')')
        .and_then(|at| bytes.get(at + 2..))
        .unwrap_or_default();
    let fields: Vec<&str> = std::str::from_utf8(fields)
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let parsed = || {
        Some(Stat {
            state: *fields.first()?.as_bytes().first()?,
            parent: fields.get(1)?.parse().ok()?,
            group: fields.get(2)?.parse().ok()?,
            start_ticks: fields.get(19)?.parse().ok()?,
        })
    };
    parsed().ok_or_else(|| {
        io::Error::other(format!(
            "/proc/{pid}/stat cannot be read as proc_pid_stat(5) has it"
        ))
    })
}

/// All processes that live in the group, or descend from the process.
pub(super) fn family(leader: i32) -> Vec<ProcessIdentity> {
    let all: Vec<(i32, Stat)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, stat(pid).ok()?)))
        .collect();
    let mut family = vec![leader];
    let mut at = 0;
    while let Some(&parent) = family.get(at) {
        let found = all.iter().filter(|(pid, stat)| {
            (stat.parent == parent || stat.group == leader) && !family.contains(pid)
        });
        let found: Vec<i32> = found.map(|(pid, _)| *pid).collect();
        family.extend(found);
        at += 1;
    }
    all.iter()
        .filter(|(pid, stat)| *pid != leader && family.contains(pid) && stat.state != b'Z')
        .map(|(pid, stat)| ProcessIdentity {
            pid: *pid,
            start_ticks: stat.start_ticks,
        })
        .collect()
}

/// One line of mountinfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    /// The mount's number, which is given again after its end.
    pub(super) id: u64,
    /// Where it is mounted.
    pub(super) path: PathBuf,
}

/// The mounts at or below an absolute path free of symlinks, oldest first.
pub(super) fn mounts_at_or_below(path: &Path) -> io::Result<Vec<Mount>> {
    // A thread may have a namespace of its own: /proc/self would be the leader's.
    let table = fs::read("/proc/thread-self/mountinfo")?;
    Ok(table
        .split(|&b| b == b'\n')
        .filter_map(mount)
        .filter(|mount| mount.path.starts_with(path))
        .collect())
}

fn mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&b| b == b' ');
    let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    Some(Mount {
        id,
        path: PathBuf::from(OsString::from_vec(unescape(fields.nth(3)?))),
    })
}

/// Undoes the octal escapes of mountinfo (`\040` for a space).
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let digits = after
            .get(..3)
            .filter(|d| first == b'\\' && d.iter().all(|b| (b'0'..=b'7').contains(b)));
        if let Some([a, b, c]) = digits {
            out.push((a - b'0').wrapping_mul(64) | (b - b'0') << 3 | (c - b'0'));
            rest = &after[3..];
        } else {
            out.push(first);
            rest = after;
        }
    }
    out
}

/// The number of the mount that a path leads to, which no later mount is given
/// until the next boot; none where the kernel (before 6.8) has no such number.
pub(super) fn unique_mount_id(path: &Path) -> Option<u64> {
    let path = std::ffi::CString::new(path.as_os_str().as_bytes()).ok()?;
    // SAFETY: statx is plain data, for which all zeroes is a valid value.
    let mut found: libc::statx = unsafe { std::mem::zeroed() };
    let flags = libc::AT_SYMLINK_NOFOLLOW | libc::AT_NO_AUTOMOUNT | libc::AT_STATX_DONT_SYNC;
    // SAFETY: the path is a C string and `found` is as large as the kernel writes.
    let answer = unsafe {
        libc::statx(
            libc::AT_FDCWD,
            path.as_ptr(),
            flags,
            libc::STATX_MNT_ID_UNIQUE,
            &raw mut found,
        )
    };
    (answer == 0 && found.stx_mask & libc::STATX_MNT_ID_UNIQUE != 0).then_some(found.stx_mnt_id)
}

/// The mount with this unique number, in our namespace. It is asked for by
/// number (statmount(2)), so that no path is walked and no dead server is met.
pub(super) fn mount_by_unique_id(unique_id: u64) -> Option<Mount> {
    let wanted = general::STATMOUNT_MNT_BASIC | general::STATMOUNT_MNT_POINT;
    // The first version of the structure, which every kernel with the call knows.
    let request: [u64; 3] = [24, unique_id, wanted.into()];
    let mut answer = [0_u64; 1024];
    let room = size_of_val(&answer);
    let call = general::__NR_statmount.into();
    // SAFETY: the request has the size that it tells, and the answer is as long as told.
    if unsafe { libc::syscall(call, request.as_ptr(), answer.as_mut_ptr(), room, 0_u32) } != 0 {
        return None;
    }
    // SAFETY: the answer is longer than a statmount, aligned for it, and any bytes are a valid one.
    let (found, text) = unsafe {
        let head = answer.as_ptr().cast::<general::statmount>();
        let text = head.add(1).cast::<u8>();
        (
            head.read(),
            std::slice::from_raw_parts(text, room - size_of::<general::statmount>()),
        )
    };
    if found.mask & u64::from(wanted) != u64::from(wanted) {
        return None;
    }
    let path = text
        .get(usize::try_from(found.mnt_point).ok()?..)?
        .split(|&b| b == 0)
        .next()?;
    Some(Mount {
        id: found.mnt_id_old.into(),
        path: PathBuf::from(OsString::from_vec(path.to_vec())),
    })
}

/// The number of this boot.
pub(super) fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?
        .trim()
        .to_owned())
}

/// How many threads this process has.
pub(super) fn threads() -> io::Result<usize> {
    Ok(fs::read_dir("/proc/self/task")?.count())
}

/// The disk sequence number of `loopN`, which no other disk of this boot has;
/// none where there is no such disk.
pub(super) fn loop_diskseq(number: u32) -> Option<u64> {
    fs::read_to_string(format!("/sys/block/loop{number}/diskseq"))
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// Whether `loopN` has a backing file.
pub(super) fn loop_is_bound(number: u32) -> bool {
    Path::new(&format!("/sys/block/loop{number}/loop")).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_mountinfo_is_read_from_bytes() {
        let found = mount(b"36 35 98:0 /mnt1 /a\\040b\\134\xff rw master:1 - ext4 /dev/root rw")
            .expect("a line");
        assert_eq!(found.id, 36);
        assert_eq!(found.path.as_os_str().as_bytes(), b"/a b\\\xff");
    }

    #[test]
    fn a_process_is_itself_and_no_other() {
        let me = ProcessIdentity::of(std::process::id().cast_signed()).expect("our own process");
        assert!(me.is_alive());
        assert!(
            !ProcessIdentity {
                start_ticks: me.start_ticks + 1,
                ..me
            }
            .is_alive()
        );
    }
}
