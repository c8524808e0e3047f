//! The thread that looks.

use super::Ended;
use super::namespace::Holder;
use super::source::{Life, Sink, Source};
use super::timeline::Timeline;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// All that the thread owns.
#[derive(Debug)]
pub(super) struct Looking {
    pub(super) source: Source,
    /// Somebody who lives in the namespace, where that can end before we do.
    pub(super) holder: Option<Holder>,
    /// A byte says that somebody has a question; its end, that it is over.
    pub(super) wake: UnixStream,
    pub(super) sink: Sink,
    pub(super) timeline: Arc<Timeline>,
}

/// Says how it ended, also when the thread panics.
struct LastWord {
    timeline: Arc<Timeline>,
    how: Ended,
}

impl Drop for LastWord {
    fn drop(&mut self) {
        self.timeline.end(self.how.clone());
    }
}

impl Looking {
    /// Looks until it is over.
    pub(super) fn run(mut self) {
        hurry();
        let mut last_word = LastWord {
            timeline: Arc::clone(&self.timeline),
            how: Ended::Failed("the thread of the watch has panicked".into()),
        };
        last_word.how = loop {
            match self.turn() {
                Ok(None) => {}
                Ok(Some(ended)) => break ended,
                Err(e) => break Ended::Failed(e.to_string().into()),
            }
        };
        // Said after it has let go, so that who waits for the end can be sure.
        self.source.close();
    }

    /// Waits until there is something to look at, and looks.
    fn turn(&mut self) -> io::Result<Option<Ended>> {
        let holder_ended = self.wait()?;
        let questions = self.timeline.questions();
        if self.timeline.is_stopping() {
            return Ok(Some(Ended::Stopped));
        }
        let life = self.source.look(&mut self.sink)?;
        let over = life == Life::IsOver || (holder_ended && !self.find_heir());
        self.timeline.answered(questions);
        Ok(over.then_some(Ended::NamespaceGone))
    }

    /// Waits for news, for a question, or for the end of the process that we
    /// know in the namespace, and says whether it was that.
    fn wait(&mut self) -> io::Result<bool> {
        let asked = PollFd::new(self.wake.as_fd(), PollFlags::POLLIN);
        let mut fds = vec![asked, self.source.poll_fd()];
        if let Some(holder) = &self.holder {
            fds.push(PollFd::new(holder.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(e.into()),
        }
        let is_ready = |fd: &PollFd<'_>| fd.any().unwrap_or(true);
        let asked = is_ready(&fds[0]);
        let ended = fds.get(2).is_some_and(is_ready);
        if asked {
            // However many bytes: each who asked has counted itself before.
            match self.wake.read(&mut [0; 256]) {
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(e),
            }
        }
        Ok(ended)
    }

    /// The process has ended. Whether the namespace goes on without it.
    fn find_heir(&mut self) -> bool {
        match self.source.survives() {
            Some(heir) => {
                self.holder = heir;
                true
            }
            None => false,
        }
    }
}

/// On a busy machine a mount, and who made it, may be gone before a thread like
/// all others has its turn. Without CAP_SYS_NICE it is one like all others.
fn hurry() {
    const CALLING_THREAD: libc::id_t = 0;
    const FIRST: libc::c_int = -20;
    // SAFETY: the call takes plain numbers, and is of this thread alone.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, CALLING_THREAD, FIRST) };
}
