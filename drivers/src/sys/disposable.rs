//! System calls that may never come back, made by a child that can be given up.
//!
//! A call on a path of a dead NFS server waits in the kernel for the server. So
//! each is made by a process forked for it alone, which is killed when there is
//! no more patience. In the child of a process with threads nothing but raw
//! system calls on memory laid out before is safe (signal-safety(7)): that is
//! why there is a closed list of chores, and no closure.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::mount::{MntFlags, MsFlags};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, pipe2};

use super::filesystem::Usage;
use super::kernel::{Pretend, call, call_from};
use crate::common::patience::{Over, Patience};
use crate::mutation::Call;

/// How long a child may take to end once it was killed.
const GRACE: Duration = Duration::from_secs(2);
/// How often the patience is looked at, in milliseconds.
const PERIOD: u8 = 20;
/// The numbers that a child can answer with.
const WORDS: usize = 6;

type Words = [u64; WORDS];

/// One thing to be done.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Chore<'a> {
    /// statfs(2).
    Measure(&'a Path),
    /// umount2(2).
    Unmount(&'a Path, MntFlags),
    /// mount(2), of what needs no type and no data: bind and remount.
    Mount {
        /// What is bound; nothing where flags are set.
        source: Option<&'a Path>,
        target: &'a Path,
        flags: MsFlags,
    },
    /// mkdirat(2) of each of these, one in another, where it is not there yet.
    /// No link is followed. The last has mode 0777.
    MakeFolders { root: &'a Path, names: &'a [String] },
}

/// Why a chore was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Undone {
    /// The kernel says why.
    #[error("{0}")]
    Refused(#[from] io::Error),
    /// It took too long, or the caller gave up. The child is gone.
    #[error("it took too long")]
    Over(Over),
    /// The same, and the kernel does not let go of the child.
    #[error("it took too long, and the kernel is still at work on it")]
    Stuck,
}

impl Undone {
    pub(crate) fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused(error) => error.raw_os_error(),
            _ => None,
        }
    }
}

/// Measures a file system.
pub(crate) fn measure(path: &Path, patience: &Patience) -> Result<Usage, Undone> {
    let [unit, blocks, free, available, files, files_free] = run(Chore::Measure(path), patience)?;
    Ok(Usage {
        bytes: blocks.saturating_mul(unit),
        available: available.saturating_mul(unit),
        used: blocks.saturating_sub(free).saturating_mul(unit),
        inodes: (files, files_free),
    })
}

/// Has a chore done.
pub(crate) fn run(chore: Chore<'_>, patience: &Patience) -> Result<Words, Undone> {
    let patience = patience.clone();
    match chore {
        Chore::Measure(path) => call(Call::Statfs, path, move |path| {
            delegate(Chore::Measure(path), &patience)
        }),
        Chore::Unmount(path, flags) => call(Call::Umount, path, move |path| {
            delegate(Chore::Unmount(path, flags), &patience)
        }),
        Chore::Mount {
            source,
            target,
            flags,
        } => {
            let mount = move |source: Option<&Path>, target: &Path| {
                delegate(
                    Chore::Mount {
                        source,
                        target,
                        flags,
                    },
                    &patience,
                )
            };
            match source {
                Some(source) => call_from(Call::Mount, source, target, move |source, target| {
                    mount(Some(source), target)
                }),
                None => call(Call::Mount, target, move |target| mount(None, target)),
            }
        }
        Chore::MakeFolders { root, names } => {
            let names = names.to_vec();
            call(Call::Mkdir, root, move |root| {
                let names = &names;
                delegate(Chore::MakeFolders { root, names }, &patience)
            })
        }
    }
}

/// A file system of 333 MiB, a third full.
impl Pretend for Words {
    fn pretend() -> io::Result<Self> {
        Ok([1 << 20, 333, 222, 222, 999, 666])
    }
}

/// Hands a chore to a child.
fn delegate(chore: Chore<'_>, patience: &Patience) -> Result<Words, Undone> {
    reap();
    let laid_out = LaidOut::of(chore)?;
    let (ours, theirs) = pipe2(OFlag::O_CLOEXEC).map_err(io::Error::from)?;
    // SAFETY: the child makes raw system calls on memory that was laid out before
    // the fork, and leaves by _exit(2).
    match unsafe { fork() }.map_err(io::Error::from)? {
        ForkResult::Child => laid_out.carry_out(theirs.as_raw_fd()),
        ForkResult::Parent { child } => {
            drop(theirs);
            attend(child, &ours, chore.path(), patience)
        }
    }
}

/// Whether a child that could not be killed is still at work on this path.
pub(crate) fn is_pending(path: &Path) -> bool {
    reap();
    abandoned().iter().any(|(_, at)| at == path)
}

/// The children that were given up, each with the path that it works on. They
/// are waited for whenever the next child is made.
static ABANDONED: Mutex<Vec<(Pid, PathBuf)>> = Mutex::new(Vec::new());

fn abandoned() -> MutexGuard<'static, Vec<(Pid, PathBuf)>> {
    ABANDONED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn reap() {
    let alive = |pid: Pid| {
        let waited = waitpid(pid, Some(WaitPidFlag::WNOHANG));
        matches!(waited, Ok(WaitStatus::StillAlive))
    };
    abandoned().retain(|(pid, _)| alive(*pid));
}

/// Waits for the child. Its end of the pipe closes when it ends.
fn attend(child: Pid, answer: &OwnedFd, path: &Path, patience: &Patience) -> Result<Words, Undone> {
    if let Some(status) = wait(child, answer, patience)? {
        return match status {
            WaitStatus::Exited(_, 0) => read_words(answer),
            WaitStatus::Exited(_, errno) => Err(io::Error::from_raw_os_error(errno).into()),
            _ => Err(io::Error::other("the child was killed by somebody").into()),
        };
    }
    let over = patience.over().unwrap_or(Over::Late);
    let _ = kill(child, Signal::SIGKILL);
    if wait(child, answer, &Patience::lasting(GRACE))?.is_some() {
        return Err(Undone::Over(over));
    }
    abandoned().push((child, path.to_owned()));
    Err(Undone::Stuck)
}

/// How the child ended, if it did before there was no more patience.
fn wait(child: Pid, answer: &OwnedFd, patience: &Patience) -> io::Result<Option<WaitStatus>> {
    loop {
        match waitpid(child, Some(WaitPidFlag::WNOHANG))? {
            WaitStatus::StillAlive => {}
            ended => return Ok(Some(ended)),
        }
        if patience.over().is_some() {
            return Ok(None);
        }
        let mut closes = [PollFd::new(answer.as_fd(), PollFlags::empty())];
        match poll(&mut closes, PollTimeout::from(PERIOD)) {
            // It has closed its end, and is about to be gone.
            Ok(1..) => std::thread::sleep(Duration::from_micros(100)),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn read_words(answer: &OwnedFd) -> Result<Words, Undone> {
    let mut bytes = [0; WORDS * 8];
    let read = nix::unistd::read(answer, &mut bytes).map_err(io::Error::from)?;
    let mut words = [0; WORDS];
    if read == bytes.len() {
        for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = u64::from_ne_bytes(bytes.try_into().unwrap_or_default());
        }
    }
    Ok(words)
}

impl<'a> Chore<'a> {
    fn path(self) -> &'a Path {
        match self {
            Self::Measure(path) | Self::Unmount(path, _) => path,
            Self::Mount { target, .. } => target,
            Self::MakeFolders { root, .. } => root,
        }
    }
}

/// A chore with all memory that it needs.
enum LaidOut {
    Measure(CString),
    Unmount(CString, libc::c_int),
    Mount(Option<CString>, CString, libc::c_ulong),
    MakeFolders(CString, Vec<CString>),
}

impl LaidOut {
    fn of(chore: Chore<'_>) -> io::Result<Self> {
        let text = |path: &OsStr| CString::new(path.as_bytes()).map_err(io::Error::other);
        Ok(match chore {
            Chore::Measure(path) => Self::Measure(text(path.as_os_str())?),
            Chore::Unmount(path, flags) => Self::Unmount(text(path.as_os_str())?, flags.bits()),
            Chore::Mount {
                source,
                target,
                flags,
            } => Self::Mount(
                source.map(|path| text(path.as_os_str())).transpose()?,
                text(target.as_os_str())?,
                flags.bits(),
            ),
            Chore::MakeFolders { root, names } => Self::MakeFolders(
                text(root.as_os_str())?,
                names
                    .iter()
                    .map(|name| text(OsStr::new(name)))
                    .collect::<io::Result<_>>()?,
            ),
        })
    }

    /// What the child does. Its exit code is the error number; there is none above 133.
    fn carry_out(&self, answer: RawFd) -> ! {
        // SAFETY: system calls on numbers. The pipe becomes descriptor 0, and all
        // others are closed: they are the driver's.
        unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            libc::dup2(answer, 0);
            libc::syscall(libc::SYS_close_range, 1, libc::c_uint::MAX, 0);
        }
        let errno = match self.system_call() {
            Ok(()) => 0,
            Err(errno) => errno as libc::c_int,
        };
        // SAFETY: it ends this process, and runs nothing that was registered.
        unsafe { libc::_exit(errno) }
    }

    fn system_call(&self) -> nix::Result<()> {
        match self {
            Self::Measure(path) => {
                // SAFETY: a structure of integers, for which zero is a value.
                let mut found: libc::statfs64 = unsafe { std::mem::zeroed() };
                // SAFETY: the path ends in a zero, and the structure lives throughout the call.
                Errno::result(unsafe { libc::statfs64(path.as_ptr(), &raw mut found) })?;
                let unit = match found.f_frsize {
                    0 => found.f_bsize,
                    unit => unit,
                };
                let words: Words = [
                    unit.unsigned_abs(),
                    found.f_blocks,
                    found.f_bfree,
                    found.f_bavail,
                    found.f_files,
                    found.f_ffree,
                ];
                // SAFETY: it reads the array, which lives throughout the call.
                Errno::result(unsafe {
                    libc::write(0, words.as_ptr().cast(), std::mem::size_of::<Words>())
                })
                .map(drop)
            }
            Self::Unmount(path, flags) => {
                // SAFETY: the path ends in a zero.
                Errno::result(unsafe { libc::umount2(path.as_ptr(), *flags) }).map(drop)
            }
            Self::Mount(source, target, flags) => {
                let none = std::ptr::null();
                let source = source.as_ref().map_or(none, |source| source.as_ptr());
                // SAFETY: the paths end in a zero; bind and remount take no type and no data.
                Errno::result(unsafe {
                    libc::mount(source, target.as_ptr(), none, *flags, none.cast())
                })
                .map(drop)
            }
            Self::MakeFolders(root, names) => make_folders(root, names),
        }
    }
}

fn make_folders(root: &CString, names: &[CString]) -> nix::Result<()> {
    let folder = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    // SAFETY: the path ends in a zero. No descriptor is closed: the child ends soon.
    let mut at = Errno::result(unsafe {
        libc::umask(0);
        libc::open(root.as_ptr(), folder)
    })?;
    for (number, name) in names.iter().enumerate() {
        let mode = if number + 1 == names.len() {
            0o777
        } else {
            0o755
        };
        // SAFETY: the name ends in a zero, and `at` is open.
        match Errno::result(unsafe { libc::mkdirat(at, name.as_ptr(), mode) }) {
            Ok(_) | Err(Errno::EEXIST) => {}
            Err(error) => return Err(error),
        }
        // SAFETY: the same.
        at = Errno::result(unsafe { libc::openat(at, name.as_ptr(), folder) })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_is_measured_by_a_child() {
        let patience = Patience::lasting(Duration::from_secs(60));
        let here = super::super::filesystem::usage(Path::new("/proc")).expect("measured");
        let there = measure(Path::new("/proc"), &patience).expect("measured");
        assert_eq!(there.bytes, here.bytes);
        let gone = measure(Path::new("/nonexistent"), &patience).expect_err("not there");
        assert_eq!(gone.errno(), Some(libc::ENOENT));
    }

    #[test]
    fn folders_are_made_and_no_link_is_followed() {
        use std::os::unix::fs::PermissionsExt;
        let patience = Patience::lasting(Duration::from_secs(60));
        let scratch = tempfile::tempdir().expect("a folder");
        let names = ["a", "x"].map(str::to_owned);
        let chore = Chore::MakeFolders {
            root: scratch.path(),
            names: &names,
        };
        run(chore, &patience).expect("made");
        run(chore, &patience).expect("there already");
        let mode = |path: &str| {
            let found = std::fs::metadata(scratch.path().join(path)).expect("there");
            found.permissions().mode() & 0o7777
        };
        assert_eq!((mode("a"), mode("a/x")), (0o755, 0o777));
        std::os::unix::fs::symlink("a", scratch.path().join("link")).expect("linked");
        let chore = Chore::MakeFolders {
            root: scratch.path(),
            names: &["link", "y"].map(str::to_owned),
        };
        assert!(run(chore, &patience).is_err());
        assert!(!scratch.path().join("a/y").exists());
    }

    #[test]
    fn what_takes_too_long_is_over() {
        let none = Patience::lasting(Duration::ZERO);
        // A child that is quicker than the first look has done its work.
        match measure(Path::new("/proc"), &none) {
            Ok(_) | Err(Undone::Over(Over::Late)) => {}
            other => panic!("{other:?}"),
        }
    }
}
