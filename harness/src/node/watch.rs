//! Which mounts came and went, when, and who did it?
//!
//! A [`Watch`] has a thread of its own that keeps a timeline of one mount
//! namespace: every mount and every unmount is an event with a time. There are
//! two ways to learn of them, and both tell the same story:
//!
//! | | mount events (fanotify(7), Linux 6.15) | mountinfo, read again when poll(2) says so |
//! |---|---|---|
//! | who did it | pid, and what `/proc` still tells of it | not told |
//! | came and went at once | both are told; what it was may be gone | not told |
//! | went, and the same came again at once | both are told | told if anything that identifies it differs: id, device, root, mount point, type, source |
//! | options in a `Detached` | as at its coming | as at the last reading |
//! | cost of a change among 10,000 mounts | of that mount | of reading all of them, some 10 ms |
//! | our hold on another's namespace | none: the mark ends with it | until its last process ends |
//!
//! What is told, and what is not:
//!
//! - A mount that propagates is an event in each place of this namespace, a
//!   tree that is detached one for each mount of it.
//! - A mount that is moved went from the old place and came to the new one,
//!   and so did each mount below it.
//! - A change of options or propagation is none: the kernel's events do not
//!   tell it, and both shall tell the same. Nor is it one when a mount is slid
//!   in beneath another, except for that mount itself.
//! - Renaming a folder above a mount point, or the folder that is mounted, is
//!   neither; but mountinfo read again cannot tell it from a move, and the
//!   events show the old path in a later `Detached`.
//! - The mounts that are there at the start, and those that end with their
//!   namespace, are no events.
//! - Only what can be reached from the root is told, as in mountinfo.
//!
//! Nothing here looks at a path, so that no server that is away is waited for.

mod doer;
mod event;
mod group;
mod known;
mod listen;
mod namespace;
mod reread;
mod source;
mod table;
mod thread;
mod timeline;

pub use doer::Doer;
pub use event::{Change, MountEvent};
pub use namespace::Namespace;
pub use timeline::Counts;

use super::process::ProcessId;
use group::Group;
use source::{Sink, Source};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use thread::Looking;
use timeline::{Places, Timeline};

/// Which way to learn of mounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum How {
    /// Mount events where the kernel has them, mountinfo elsewhere.
    #[default]
    Auto,
    /// Mount events or none.
    Fanotify,
    /// mountinfo, on any kernel.
    Poll,
}

/// Why there is no watch, or no answer from it.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The process whose namespace was to be watched has ended.
    #[error("process {} has ended, whose mounts were to be watched", .0.pid)]
    Gone(ProcessId),
    /// Mount events were asked for, and cannot be had.
    #[error("no mount events: {0}")]
    NoEvents(String),
    /// Something went wrong at the start.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done, and to what.
        doing: String,
        /// What came of it.
        source: io::Error,
    },
    /// The watch can tell no more.
    #[error("the watch of mounts has failed: {0}")]
    Failed(Arc<str>),
    /// The watch did not answer.
    #[error("the watch of mounts did not answer within {0:?}")]
    NoAnswer(Duration),
}

impl WatchError {
    fn io(doing: impl Into<String>, source: io::Error) -> Self {
        let doing = doing.into();
        Self::Io { doing, source }
    }
}

/// Why there is nothing more to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Nobody lives in the namespace any more.
    NamespaceGone,
    /// It was stopped.
    Stopped,
    /// Reading failed, and how: what happened since is not known.
    Failed(Arc<str>),
}

/// A place in a timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Cursor(usize);

impl Cursor {
    /// Before the first event.
    pub const START: Self = Self(0);

    /// Whether the event at this place of the timeline, counted from its start, comes
    /// behind the cursor.
    pub fn is_before(self, event: usize) -> bool {
        self.0 <= event
    }
}

/// How long an answer of the watch's thread may take, and its end. It takes as
/// long as reading the table, so this is for a machine that hardly moves.
const PATIENCE: Duration = Duration::from_secs(10);

/// Watches the mounts of one namespace, from its start until it is dropped.
#[derive(Debug)]
pub struct Watch {
    timeline: Arc<Timeline>,
    how: String,
    wake: UnixStream,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Watches all mounts of a namespace. Whatever happens after this has
    /// returned is an event.
    ///
    /// # Errors
    /// [`WatchError::Gone`], [`WatchError::NoEvents`] (of [`How::Fanotify`]
    /// alone), or what failed.
    pub fn start(namespace: Namespace, how: How) -> Result<Self, WatchError> {
        Self::start_at(namespace, how, &[])
    }

    /// The same, and keeps only what happens at, below or above one of these
    /// paths; the rest is counted. A living node mounts a lot. The paths are
    /// absolute, with no symbolic link in them, as the namespace has them. What
    /// was gone before it could be looked at may have been there, and is kept.
    ///
    /// # Errors
    /// As [`Watch::start`].
    pub fn start_at(namespace: Namespace, how: How, paths: &[PathBuf]) -> Result<Self, WatchError> {
        let holder = namespace.holder()?;
        let (source, how) = open(namespace, how)?;
        let timeline = Arc::new(Timeline::default());
        let pipe = || -> io::Result<_> {
            let (ours, theirs) = UnixStream::pair()?;
            ours.set_nonblocking(true)?;
            theirs.set_nonblocking(true)?;
            Ok((ours, theirs))
        };
        let (ours, theirs) = pipe().map_err(|e| WatchError::io("a pair of sockets", e))?;
        let looking = Looking {
            source,
            holder,
            wake: theirs,
            sink: Sink::new(Places::new(paths), Arc::clone(&timeline)),
            timeline: Arc::clone(&timeline),
        };
        let thread = std::thread::Builder::new()
            .name("csi-watch".to_owned())
            .spawn(|| looking.run())
            .map_err(|e| WatchError::io("starting a thread", e))?;
        Ok(Self {
            timeline,
            how,
            wake: ours,
            thread: Some(thread),
        })
    }

    /// Which way it learns of mounts: `fanotify mount events`, or
    /// `poll on mountinfo: ` and why that is.
    pub fn how(&self) -> &str {
        &self.how
    }

    /// All events so far.
    pub fn events(&self) -> Vec<MountEvent> {
        self.since(Cursor::START)
    }

    /// The events so far behind a place in the timeline.
    pub fn since(&self, cursor: Cursor) -> Vec<MountEvent> {
        self.timeline.since(cursor).0
    }

    /// The place behind all events so far. What has happened and has not been
    /// read yet comes behind it: see [`Watch::sync`].
    pub fn cursor(&self) -> Cursor {
        self.timeline.cursor()
    }

    /// What was counted beside the events.
    pub fn counts(&self) -> Counts {
        self.timeline.counts()
    }

    /// Why there is nothing more to come; `None` while there may be.
    pub fn ended(&self) -> Option<Ended> {
        self.timeline.ended()
    }

    /// Makes sure that all that happened before this call is in the timeline,
    /// and gives the place behind it. Of a namespace that is gone all is.
    ///
    /// It waits for one look of the thread, some 10 ms at worst among 10,000
    /// mounts, and never longer than 10 s. In async code take
    /// [`Watch::synced`].
    ///
    /// # Errors
    /// [`WatchError::Failed`], [`WatchError::NoAnswer`].
    pub fn sync(&self) -> Result<Cursor, WatchError> {
        let question = self.ask();
        let answer = self.timeline.wait(PATIENCE, |t| t.answer(question));
        answer.unwrap_or(Err(WatchError::NoAnswer(PATIENCE)))
    }

    /// As [`Watch::sync`], for async code.
    ///
    /// # Errors
    /// [`WatchError::Failed`], [`WatchError::NoAnswer`].
    pub async fn synced(&self) -> Result<Cursor, WatchError> {
        let mut turns = self.timeline.subscribe();
        let question = self.ask();
        let answer = async {
            loop {
                turns.mark_unchanged();
                if let Some(answer) = self.timeline.answer(question) {
                    return answer;
                }
                // The sender lives as long as the timeline does.
                let _ = turns.changed().await;
            }
        };
        let answer = tokio::time::timeout(PATIENCE, answer).await;
        answer.unwrap_or(Err(WatchError::NoAnswer(PATIENCE)))
    }

    fn ask(&self) -> u64 {
        let question = self.timeline.ask();
        // Full: the thread is about to wake up anyway. Closed: it has ended,
        // and has said so.
        let _ = (&self.wake).write(&[1]);
        question
    }

    /// The first event behind a place in the timeline that is wanted, as soon
    /// as it comes; `None` when the time is up, or the namespace is gone, and
    /// it has not come. What has happened within the time is looked at before
    /// `None` is said.
    ///
    /// # Errors
    /// [`WatchError::Failed`], [`WatchError::NoAnswer`]: whether it came is not
    /// known.
    pub async fn wait_for(
        &self,
        from: Cursor,
        wanted: impl Fn(&MountEvent) -> bool,
        limit: Duration,
    ) -> Result<Option<MountEvent>, WatchError> {
        let mut at = from;
        let mut find = || {
            let (events, behind) = self.timeline.since(at);
            at = behind;
            events.into_iter().find(|event| wanted(event))
        };
        let mut turns = self.timeline.subscribe();
        let coming = async {
            loop {
                turns.mark_unchanged();
                // Asked before the look: what came before the end is found.
                let ended = self.timeline.ended().is_some();
                let found = find();
                if found.is_some() || ended {
                    return found;
                }
                let _ = turns.changed().await;
            }
        };
        if let Ok(Some(found)) = tokio::time::timeout(limit, coming).await {
            return Ok(Some(found));
        }
        self.synced().await?;
        Ok(find())
    }

    /// Ends it. Dropping it does the same.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.timeline.stop();
        // Its end wakes the thread.
        let _ = self.wake.shutdown(std::net::Shutdown::Both);
        let ended = self.timeline.wait(PATIENCE, Timeline::ended);
        match self.thread.take() {
            // Its last word is said: it is on its way out.
            Some(thread) if ended.is_some() => drop(thread.join()),
            Some(_) => tracing::warn!("the thread that watches mounts does not end; it is left"),
            None => {}
        }
    }
}

/// Tries to be told of the mounts in our namespace, and lets go at once.
///
/// # Errors
/// Why that cannot be, in words.
pub(super) fn has_mount_events() -> Result<(), String> {
    let namespace = Namespace::Ours.open("ns/mnt").map_err(|e| e.to_string())?;
    Group::on(namespace.as_fd()).map(drop)
}

/// The way that was asked for, or the best that there is.
fn open(namespace: Namespace, how: How) -> Result<(Source, String), WatchError> {
    let why = match how {
        How::Poll => "it was asked for".to_owned(),
        How::Auto | How::Fanotify => match Source::events(namespace)? {
            Ok(source) => return Ok((source, "fanotify mount events".to_owned())),
            Err(why) if how == How::Fanotify => return Err(WatchError::NoEvents(why)),
            Err(why) => why,
        },
    };
    let how = format!("poll on mountinfo: {why}");
    Ok((Source::table(namespace)?, how))
}
