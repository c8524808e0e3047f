//! The kernel's mount events: fanotify(7) on a mount namespace (Linux 6.15).
//!
//! One descriptor, told of every mount and unmount in a namespace at the moment
//! of it: the unique id of the mount, and the process that did it. The mark
//! does not hold the namespace: that ends with its last process, and with it
//! the mark (seen on 6.18, and tested).

use nix::errno::Errno;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

// From linux/fanotify.h; libc has none of these yet.
const FAN_REPORT_MNT: libc::c_uint = 0x4000;
const FAN_MARK_MNTNS: libc::c_uint = 0x0110;
const FAN_MNT_ATTACH: u64 = 0x0100_0000;
const FAN_MNT_DETACH: u64 = 0x0200_0000;
const FAN_EVENT_INFO_TYPE_MNT: u8 = 7;

/// What the kernel said.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) what: News,
    /// Who did it; not told of a process in a pid namespace that we do not see.
    pub(super) by: Option<Actor>,
}

/// What happened, to the mount with this unique id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// It came.
    Attached(u64),
    /// It went.
    Detached(u64),
    /// Some mount was moved, with all that lies on it.
    Moved,
    /// More happened than the kernel kept.
    Overflow,
}

/// Who did it.
#[derive(Debug)]
pub(super) struct Actor {
    pub(super) pid: u32,
    /// It had not been reaped when the event was read. Otherwise the pid may be
    /// another's.
    pub(super) is_there: bool,
}

/// A fanotify group that watches one mount namespace.
#[derive(Debug)]
pub(super) struct Group {
    file: File,
    room: Vec<u8>,
}

/// Room for 85 events at a time: for each one the kernel opens a handle on the
/// process that did it, and there are others here who need descriptors.
const ROOM: usize = 4096;

impl Group {
    /// Watches the namespace of which `/proc/PID/ns/mnt` was opened. The error
    /// says in words why that cannot be.
    pub(super) fn on(namespace: BorrowedFd<'_>) -> Result<Self, String> {
        let said = |call: &'static str| {
            move |e: Errno| match e {
                Errno::EINVAL | Errno::ENOSYS => {
                    "the kernel has no mount events (Linux 6.15)".to_owned()
                }
                e => format!("{call}: {e}"),
            }
        };
        let flags = libc::FAN_CLASS_NOTIF
            | libc::FAN_CLOEXEC
            | libc::FAN_NONBLOCK
            | libc::FAN_UNLIMITED_QUEUE
            | libc::FAN_REPORT_PIDFD
            | FAN_REPORT_MNT;
        // SAFETY: fanotify_init takes two numbers.
        let group = Errno::result(unsafe { libc::fanotify_init(flags, 0) });
        let group = group.map_err(said("fanotify_init"))?;
        // SAFETY: a new descriptor that nobody else owns.
        let group = unsafe { OwnedFd::from_raw_fd(group) };
        // SAFETY: both descriptors are open, and no path is given.
        let marked = unsafe {
            libc::fanotify_mark(
                group.as_raw_fd(),
                libc::FAN_MARK_ADD | FAN_MARK_MNTNS,
                FAN_MNT_ATTACH | FAN_MNT_DETACH,
                namespace.as_raw_fd(),
                std::ptr::null(),
            )
        };
        Errno::result(marked).map_err(said("fanotify_mark"))?;
        Ok(Self {
            file: group.into(),
            room: vec![0; ROOM],
        })
    }

    /// The next events, in order; none when there are none now.
    pub(super) fn read(&mut self) -> io::Result<Vec<Said>> {
        loop {
            match self.file.read(&mut self.room) {
                Ok(len) => return Ok(parse(&self.room[..len])),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(Vec::new()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}

impl AsFd for Group {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Bytes as `fanotify_event_metadata` lays them out: the length of the event
/// at 0, of this head at 6, the mask at 8, a descriptor at 16, the pid at 20.
const HEAD: usize = 24;

/// Reads events as the kernel wrote them, and closes what it opened for them.
fn parse(mut bytes: &[u8]) -> Vec<Said> {
    let mut all = Vec::new();
    while let Some(len) = number::<4>(bytes, 0).map(u32::from_ne_bytes) {
        let Some((event, rest)) = bytes
            .split_at_checked(len as usize)
            .filter(|_| len as usize >= HEAD)
        else {
            break;
        };
        bytes = rest;
        all.extend(parse_one(event));
    }
    all
}

fn parse_one(event: &[u8]) -> Option<Said> {
    let head = u16::from_ne_bytes(number(event, 6)?).into();
    let mask = u64::from_ne_bytes(number(event, 8)?);
    // Mount events come without one, but one that came would be ours to close.
    drop(own(i32::from_ne_bytes(number(event, 16)?)));
    let pid = i32::from_ne_bytes(number(event, 20)?);
    let (mut id, mut is_there) = (None, false);
    let mut records = event.get(head..)?;
    // Each record: its type, a byte of padding, its length, and what it says.
    while let [kind, _, ..] = *records {
        let len = u16::from_ne_bytes(number(records, 2)?).into();
        let record = records.get(..len)?;
        match kind {
            FAN_EVENT_INFO_TYPE_MNT => id = number(record, 8).map(u64::from_ne_bytes),
            libc::FAN_EVENT_INFO_TYPE_PIDFD => {
                let fd = number(record, 4).and_then(|fd| own(i32::from_ne_bytes(fd)));
                is_there = fd.is_some();
            }
            _ => {}
        }
        // A record without any length would be read for ever.
        records = records.get(len..).filter(|_| len > 0)?;
    }
    // 0: a process that we do not see, or none.
    let pid = u32::try_from(pid).ok().filter(|&pid| pid != 0);
    let by = pid.map(|pid| Actor { pid, is_there });
    let attached = mask & FAN_MNT_ATTACH != 0;
    let detached = mask & FAN_MNT_DETACH != 0;
    let what = match (attached, detached, id) {
        _ if mask & libc::FAN_Q_OVERFLOW != 0 => News::Overflow,
        (true, true, _) => News::Moved,
        (true, false, Some(id)) => News::Attached(id),
        (false, true, Some(id)) => News::Detached(id),
        _ => return None,
    };
    Some(Said { what, by })
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// Negative numbers say why there is none.
fn own(fd: i32) -> Option<OwnedFd> {
    // SAFETY: the kernel made this descriptor for who reads the event, and it
    // is read once.
    (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(mask: u64, pid: i32, records: &[&[u8]]) -> Vec<u8> {
        let len = HEAD + records.iter().map(|r| r.len()).sum::<usize>();
        let mut bytes = u32::try_from(len).expect("short").to_ne_bytes().to_vec();
        bytes.extend([3, 0]);
        bytes.extend((HEAD as u16).to_ne_bytes());
        bytes.extend(mask.to_ne_bytes());
        bytes.extend((-1_i32).to_ne_bytes());
        bytes.extend(pid.to_ne_bytes());
        bytes.extend(records.concat());
        bytes
    }

    fn record(kind: u8, said: &[u8]) -> Vec<u8> {
        let len = u16::try_from(4 + said.len()).expect("short");
        [&[kind, 0][..], &len.to_ne_bytes(), said].concat()
    }

    fn mount(id: u64) -> Vec<u8> {
        record(7, &[&[0; 4][..], &id.to_ne_bytes()].concat())
    }

    #[test]
    fn attached_detached_moved_and_overflowed() {
        let nobody = record(4, &(-1_i32).to_ne_bytes());
        let bytes = [
            event(FAN_MNT_ATTACH, 17, &[&nobody, &mount(900)]),
            event(FAN_MNT_DETACH, 0, &[&mount(901)]),
            event(FAN_MNT_ATTACH | FAN_MNT_DETACH, 18, &[&mount(902)]),
            event(libc::FAN_Q_OVERFLOW, 0, &[]),
            event(
                FAN_MNT_ATTACH,
                19,
                &[&record(99, b"what is to come"), &mount(903)],
            ),
        ];
        let one = |said: Said| (said.what, said.by.map(|by| by.pid));
        let said: Vec<_> = parse(&bytes.concat()).into_iter().map(one).collect();
        assert_eq!(
            said,
            [
                (News::Attached(900), Some(17)),
                (News::Detached(901), None),
                (News::Moved, Some(18)),
                (News::Overflow, None),
                (News::Attached(903), Some(19)),
            ]
        );
    }

    #[test]
    fn odd_bytes_end_it() {
        let whole = event(FAN_MNT_ATTACH, 17, &[&mount(900)]);
        for len in 0..whole.len() {
            assert!(parse(&whole[..len]).is_empty(), "cut to {len} bytes");
        }
        assert!(parse(&[0; 64]).is_empty(), "events without any length");
        let empty = [7, 0, 0, 0];
        assert!(parse(&event(FAN_MNT_ATTACH, 17, &[&empty])).is_empty());
        assert!(parse(&event(FAN_MNT_ATTACH, 17, &[])).is_empty(), "no id");
    }
}
