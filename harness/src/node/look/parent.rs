//! Our side of a look: fork, wait, kill, abandon, reap.

use super::child;
use super::seen::{Listing, Name, Seen};
use super::slate::{Reply, Slate};
use super::{Look, LookError, MAX_BYTES};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::ffi::{CString, OsString};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a killed child may take to go before it is abandoned.
const GRACE: Duration = Duration::from_millis(500);

/// Room for the names of a directory: a few thousand of the longest.
const ROOM_FOR_NAMES: usize = 1024 * 1024;

/// Children that could not be killed.
static ABANDONED: Mutex<Vec<libc::pid_t>> = Mutex::new(Vec::new());

fn abandoned_list() -> MutexGuard<'static, Vec<libc::pid_t>> {
    ABANDONED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many children were abandoned and have not been reaped. As long as it is
/// not 0, something that was looked at hangs, and is held busy by the look.
pub fn abandoned() -> usize {
    abandoned_list().len()
}

/// Reaps the abandoned children that have ended since, and says how many are
/// left. Every look does this first.
pub fn reap() -> usize {
    let mut list = abandoned_list();
    list.retain(|&pid| !reaped(pid, libc::WNOHANG));
    list.len()
}

/// Waits for a child of ours with these options; whether it is gone.
fn reaped(pid: libc::pid_t, options: i32) -> bool {
    loop {
        // SAFETY: waitpid may be given no place for the status.
        let got = unsafe { libc::waitpid(pid, std::ptr::null_mut(), options) };
        match got {
            0 => return false,
            -1 if Errno::last() == Errno::EINTR => {}
            // ECHILD: somebody else reaped it; gone all the same.
            _ => return true,
        }
    }
}

/// Looks, and waits for the answer in the calling thread, no longer than
/// `deadline` (and the moment that killing the child takes).
///
/// # Errors
/// See [`LookError`].
pub fn look_now(look: &Look, deadline: Duration) -> Result<Seen, LookError> {
    reap();
    let ours = |why: String| LookError::Ours {
        path: look.path().to_path_buf(),
        why,
    };
    let path = fit(look).map_err(|why| ours(why.to_owned()))?;
    let room = match look {
        Look::ReadDir { .. } | Look::ListBeneath { .. } => ROOM_FOR_NAMES,
        _ => MAX_BYTES,
    };
    let slate = Slate::new(room).map_err(|e| ours(format!("mmap: {e}")))?;
    let child = Child::fork(look, &path, &slate).map_err(|e| ours(format!("fork: {e}")))?;
    let started = Instant::now();
    if !child.wait(deadline) {
        child.kill();
        if !child.wait(GRACE) {
            child.abandon();
        }
        return Err(LookError::NoAnswer {
            path: look.path().to_path_buf(),
            after: started.elapsed(),
        });
    }
    read(look, &slate)
}

/// The path for the kernel, if the look can be made at all.
fn fit(look: &Look) -> Result<CString, &'static str> {
    if !look.path().is_absolute() {
        return Err("the path is not absolute");
    }
    match look {
        Look::ReadFile { max: len, .. }
        | Look::ReadBeneath { max: len, .. }
        | Look::ReadDevice { len, .. }
            if *len > MAX_BYTES =>
        {
            return Err("more than 64 KiB were asked for");
        }
        Look::WriteFile { bytes, .. } | Look::WriteDevice { bytes, .. }
            if bytes.len() > MAX_BYTES =>
        {
            return Err("more than 64 KiB were to be written");
        }
        _ => {}
    }
    let path = look.path().as_os_str().as_bytes();
    CString::new(path).map_err(|_| "the path has a NUL byte in it")
}

fn read(look: &Look, slate: &Slate) -> Result<Seen, LookError> {
    let path = || look.path().to_path_buf();
    Ok(match slate.reply() {
        Reply::Nothing => {
            let why = "the child ended without an answer".to_owned();
            return Err(LookError::Ours { path: path(), why });
        }
        Reply::Os(call, errno) => {
            return Err(LookError::Os {
                errno,
                what: call.name(),
                path: path(),
            });
        }
        Reply::Not(what) => {
            return Err(LookError::NotThat {
                path: path(),
                what: what.name(),
            });
        }
        Reply::Done => match look {
            Look::Remove { .. } => Seen::Removed,
            _ => Seen::Written,
        },
        Reply::Stat(stat) => Seen::Stat(stat),
        Reply::StatFs(stat) => Seen::StatFs(stat),
        Reply::Device(device) => Seen::Device(device),
        Reply::Loop(seen) => Seen::Loop(seen),
        Reply::FileSystem { there } => Seen::FileSystem { there },
        Reply::Exclusive { free } => Seen::Exclusive { free },
        Reply::Bytes(len) => Seen::Bytes(slate.copy(len)),
        Reply::Names { len, truncated } => Seen::Names(Listing {
            names: unpack(&slate.copy(len)),
            truncated,
        }),
    })
}

/// Names as the child packed them: kind, length, name.
fn unpack(mut packed: &[u8]) -> Vec<Name> {
    let mut names = Vec::new();
    while let [kind, len, rest @ ..] = packed {
        let Some((name, rest)) = rest.split_at_checked(usize::from(*len)) else {
            break;
        };
        names.push(Name {
            name: OsString::from_vec(name.to_vec()),
            kind: *kind,
        });
        packed = rest;
    }
    names
}

/// A child that looks.
struct Child {
    pid: libc::pid_t,
    /// Readable when the child has ended; it is not another's by then, since
    /// only we reap it.
    ended: Option<OwnedFd>,
}

impl Child {
    fn fork(look: &Look, path: &CString, slate: &Slate) -> Result<Self, Errno> {
        let quiet = NoSignals::now();
        // SAFETY: the child runs `child::run` alone, which makes raw system
        // calls, allocates nothing, takes no lock and never returns.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            child::run(look, path, slate);
        }
        let forked = Errno::result(pid);
        drop(quiet);
        let pid = forked?;
        // SAFETY: pidfd_open takes two numbers and gives a new descriptor (close
        // on exec), which nobody else owns. The pid is ours until it is reaped.
        let ended = unsafe {
            let fd = libc::syscall(libc::SYS_pidfd_open, pid, 0);
            i32::try_from(fd)
                .ok()
                .filter(|&fd| fd >= 0)
                .map(|fd| OwnedFd::from_raw_fd(fd))
        };
        let child = Self { pid, ended };
        if child.ended.is_none() {
            let error = Errno::last();
            child.kill();
            child.abandon();
            return Err(error);
        }
        Ok(child)
    }

    /// Waits until the child has ended and reaps it; false if it has not.
    fn wait(&self, timeout: Duration) -> bool {
        let Some(ended) = &self.ended else {
            return false;
        };
        let until = Instant::now() + timeout;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            // Rounded up, so that the last part of a millisecond is no busy loop.
            let left = left + Duration::from_micros(999);
            let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            let mut fds = [PollFd::new(ended.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, left) {
                Ok(0) if Instant::now() < until => {}
                Ok(0) => return false,
                Ok(_) => return reaped(self.pid, 0),
                Err(Errno::EINTR) => {}
                Err(_) => return false,
            }
        }
    }

    fn kill(&self) {
        // SAFETY: kill takes two numbers; the pid is our child's, which has not
        // been reaped, so it cannot be another's.
        unsafe { libc::kill(self.pid, libc::SIGKILL) };
    }

    fn abandon(self) {
        abandoned_list().push(self.pid);
    }
}

/// Keeps signals from this thread while it forks.
///
/// A child is born with the mask of its thread and keeps it: a signal for the
/// whole group (Ctrl-C) must not run a handler of ours there, which would
/// write to a descriptor whose number means another file by then.
struct NoSignals(nix::sys::signal::SigSet);

impl NoSignals {
    fn now() -> Self {
        let all = nix::sys::signal::SigSet::all();
        let before = all.thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_SETMASK);
        Self(before.unwrap_or_else(|_| nix::sys::signal::SigSet::empty()))
    }
}

impl Drop for NoSignals {
    fn drop(&mut self) {
        // Setting a mask that was in force cannot fail.
        let _ = self.0.thread_set_mask();
    }
}
