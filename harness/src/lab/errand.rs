//! Errands: what a child process does for us because it may hang, or because
//! it must hold something that we must not.
//!
//! After fork(2) in a process with threads only raw system calls are safe, so
//! the errands are a closed list and not a closure. The child closes all that
//! it inherited but one socket. Over it, it tells the errno of what it did; and
//! when the socket closes, because we let go of it or died, the child ends. So
//! no holder outlives the harness, and no `PR_SET_PDEATHSIG` is needed, which
//! would be tied to the thread that forked.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

/// What the child shall do.
pub(super) enum Errand<'a> {
    /// umount2(2) of `name` in the folder `parent`, which is resolved without
    /// following a symlink. The mount itself is never walked into.
    Unmount {
        parent: &'a CStr,
        name: &'a CStr,
        flags: i32,
    },
    /// `FITHAW` (linux/fs.h) of the file system that is mounted at the folder.
    Thaw { path: &'a CStr },
    /// The same of the file system on a device, mounted for it where nobody else sees it.
    ThawDevice { device: &'a CStr },
    /// Open the file or folder for reading, and keep it open.
    HoldOpen { path: &'a CStr },
    /// Make the folder the working directory, and stay.
    HoldDirectory { path: &'a CStr },
    /// Map the file into memory, close it, and stay.
    HoldMapped { path: &'a CStr },
    /// Take a copy of the mount namespace, in which later unmounts are not seen, and
    /// stay in it.
    HoldNamespace,
}

/// A child on its errand.
#[derive(Debug)]
pub(super) struct Child {
    pid: Pid,
    pidfd: OwnedFd,
    line: OwnedFd,
}

/// Children that could not be killed: they hang in the kernel, and are reaped
/// when a later errand finds them gone.
static ABANDONED: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// How long a killed child may take to be gone.
const DYING: Duration = Duration::from_secs(2);

impl Child {
    /// Forks a child and sends it off.
    pub(super) fn send(errand: &Errand<'_>) -> io::Result<Self> {
        reap_abandoned();
        let (line, theirs) = socketpair(
            AddressFamily::Unix,
            SockType::Stream,
            None,
            SockFlag::SOCK_CLOEXEC,
        )?;
        // SAFETY: the child calls nothing but raw system calls, and ends in _exit.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => run(errand, theirs.as_raw_fd()),
            pid => {
                // The child is ours and unreaped, so the number is its own.
                let pidfd = pidfd_open(pid).inspect_err(|_| {
                    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                    abandon(Pid::from_raw(pid));
                })?;
                Ok(Self {
                    pid: Pid::from_raw(pid),
                    pidfd,
                    line,
                })
            }
        }
    }

    /// The child's number.
    pub(super) fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Waits for the child to say how it went: none if it did not in time.
    pub(super) fn answer(&self, patience: Duration) -> Option<io::Result<()>> {
        if !readable(self.line.as_fd(), patience) {
            return None;
        }
        let mut errno = [0_u8; 4];
        match nix::unistd::read(&self.line, &mut errno) {
            Ok(4) => Some(match i32::from_ne_bytes(errno) {
                0 => Ok(()),
                errno => Err(io::Error::from_raw_os_error(errno)),
            }),
            _ => Some(Err(io::Error::other("the child died on its errand"))),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Unreaped, so the number cannot be another's.
        let _ = kill(self.pid, Signal::SIGKILL);
        if !readable(self.pidfd.as_fd(), DYING) || waitpid(self.pid, None).is_err() {
            abandon(self.pid);
        }
    }
}

fn abandon(pid: Pid) {
    ABANDONED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(pid);
}

fn reap_abandoned() {
    let mut abandoned = ABANDONED.lock().unwrap_or_else(PoisonError::into_inner);
    abandoned.retain(|&pid| {
        matches!(
            waitpid(pid, Some(WaitPidFlag::WNOHANG)),
            Ok(nix::sys::wait::WaitStatus::StillAlive)
        )
    });
}

/// Waits until a descriptor can be read, or the patience is at its end.
pub(super) fn readable(fd: std::os::fd::BorrowedFd<'_>, patience: Duration) -> bool {
    let until = Instant::now() + patience;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], timeout) {
            Err(Errno::EINTR) => {}
            Ok(0) if left.is_zero() => return false,
            Ok(0) => {}
            Ok(_) => return true,
            Err(_) => return false,
        }
    }
}

/// pidfd_open(2): a handle on a process that no other can take over.
pub(super) fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: a system call with plain numbers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    match RawFd::try_from(fd) {
        // SAFETY: the kernel just made this descriptor, and nobody else has it.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// pidfd_send_signal(2).
pub(super) fn pidfd_signal(pidfd: &OwnedFd, signal: Signal) -> io::Result<()> {
    let none = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo asks for what kill(2) would send.
    match unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal as i32,
            none,
            0,
        )
    } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The child's life. Nothing here allocates or takes a lock.
fn run(errand: &Errand<'_>, line: RawFd) -> ! {
    close_others(line);
    let (done, stays) = match errand {
        Errand::Unmount {
            parent,
            name,
            flags,
        } => (unmount(parent, name, *flags), false),
        Errand::Thaw { path } => (thaw(path), false),
        Errand::ThawDevice { device } => (mount_here(device) && thaw(HERE), false),
        Errand::HoldOpen { path } => {
            // SAFETY: the path is a C string.
            (
                unsafe {
                    libc::open(
                        path.as_ptr(),
                        libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY,
                    )
                } >= 0,
                true,
            )
        }
        // SAFETY: the path is a C string.
        Errand::HoldDirectory { path } => (unsafe { libc::chdir(path.as_ptr()) } == 0, true),
        Errand::HoldMapped { path } => (map(path), true),
        Errand::HoldNamespace => (leave_namespace(), true),
    };
    let errno = if done { 0 } else { Errno::last_raw() };
    let said = errno.to_ne_bytes();
    // SAFETY: the buffer is ours and as long as told; _exit does not return.
    unsafe {
        libc::write(line, said.as_ptr().cast(), said.len());
        if stays && done {
            let mut byte = 0_u8;
            // Ends when the harness closes its end, or dies.
            while libc::read(line, (&raw mut byte).cast(), 1) == -1
                && Errno::last_raw() == libc::EINTR
            {}
        }
        libc::_exit(0)
    }
}

fn close_others(line: RawFd) {
    let line = line.cast_unsigned();
    // SAFETY: only numbers; what is closed was inherited, and nobody uses it here.
    unsafe {
        if line > 0 {
            libc::syscall(libc::SYS_close_range, 0_u32, line - 1, 0_u32);
        }
        libc::syscall(libc::SYS_close_range, line + 1, u32::MAX, 0_u32);
    }
}

/// A mapping keeps the file's mount busy with no descriptor open.
fn map(path: &CStr) -> bool {
    let flags = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY;
    // SAFETY: the path is a C string; what is mapped is never looked at.
    unsafe {
        let file = libc::open(path.as_ptr(), flags);
        if file < 0 {
            return false;
        }
        let at = libc::mmap(
            std::ptr::null_mut(),
            512,
            libc::PROT_READ,
            libc::MAP_SHARED,
            file,
            0,
        );
        at != libc::MAP_FAILED && libc::close(file) == 0
    }
}

fn thaw(path: &CStr) -> bool {
    /// `FITHAW`, which is `_IOWR('X', 120, int)`.
    const FITHAW: libc::c_ulong = nix::request_code_readwrite!(b'X', 120, size_of::<libc::c_int>());
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW;
    let mut nothing: libc::c_int = 0;
    // SAFETY: the path is a C string, and the number, which is not used, is ours.
    unsafe {
        let root = libc::open(path.as_ptr(), flags);
        root >= 0 && libc::ioctl(root, FITHAW, &raw mut nothing) == 0
    }
}

/// A folder that every machine has.
const HERE: &CStr = c"/proc";

/// Mounts a device in a namespace that ends with the child. A file system that is
/// still alive is the same one again.
fn mount_here(device: &CStr) -> bool {
    let mount = |fs_type: &CStr| {
        let none = std::ptr::null();
        // SAFETY: all are C strings but for the options, of which there are none.
        unsafe { libc::mount(device.as_ptr(), HERE.as_ptr(), fs_type.as_ptr(), 0, none) == 0 }
    };
    leave_namespace() && [c"ext4", c"xfs", c"btrfs"].into_iter().any(mount)
}

fn leave_namespace() -> bool {
    let none = std::ptr::null();
    let private = libc::MS_REC | libc::MS_PRIVATE;
    // SAFETY: plain system calls; the path is a C string, and null means no source,
    // type or data.
    unsafe {
        libc::unshare(libc::CLONE_NEWNS) == 0
            && libc::mount(none, c"/".as_ptr(), none, private, none.cast()) == 0
    }
}

fn unmount(parent: &CStr, name: &CStr, flags: i32) -> bool {
    // SAFETY: open_how is plain data, for which all zeroes is a valid value.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC)
        .cast_unsigned()
        .into();
    how.resolve = libc::RESOLVE_NO_SYMLINKS | libc::RESOLVE_NO_MAGICLINKS;
    // SAFETY: C strings, a structure of the size told, and a descriptor that
    // openat2 gave. Standing in the parent holds no handle on the mount itself,
    // which would make a plain umount busy.
    unsafe {
        let size = size_of::<libc::open_how>();
        let folder = libc::syscall(
            libc::SYS_openat2,
            libc::AT_FDCWD,
            parent.as_ptr(),
            &raw const how,
            size,
        );
        let Ok(folder) = RawFd::try_from(folder) else {
            return false;
        };
        folder >= 0
            && libc::fchdir(folder) == 0
            && libc::umount2(name.as_ptr(), flags | libc::UMOUNT_NOFOLLOW) == 0
    }
}
