//! Where the news comes from, and what is made of it.

use super::super::mountinfo::Mount;
use super::WatchError;
use super::doer::Doer;
use super::event::MountEvent;
use super::known::Told;
use super::listen::Listen;
use super::namespace::{Holder, Namespace};
use super::reread::Reread;
use super::timeline::{Batch, Places, Timeline};
use nix::poll::{PollFd, PollFlags};
use std::io;
use std::sync::Arc;
use std::time::Instant;

/// The kernel's mount events, or its table read again and again.
#[derive(Debug)]
pub(super) enum Source {
    Events(Box<Listen>),
    Table(Reread),
}

/// Whether there is more to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    GoesOn,
    /// The namespace is gone.
    IsOver,
}

impl Source {
    /// What poll(2) is to wait for.
    pub(super) fn poll_fd(&self) -> PollFd<'_> {
        match self {
            Self::Events(it) => PollFd::new(it.fd(), PollFlags::POLLIN),
            // A change is told as an error and as urgent (proc_pid_mountinfo(5)).
            Self::Table(it) => PollFd::new(it.fd(), PollFlags::POLLPRI | PollFlags::POLLERR),
        }
    }

    /// Takes in all that has happened by now.
    pub(super) fn look(&mut self, sink: &mut Sink) -> io::Result<Life> {
        match self {
            Self::Events(it) => it.look(sink),
            Self::Table(it) => it.look(sink),
        }
    }

    /// Whether the namespace is still there after the process that we knew to
    /// live in it has ended, and who lives in it now, where that has to be known.
    pub(super) fn survives(&self) -> Option<Option<Holder>> {
        match self {
            Self::Events(it) => it.namespace_is_there().then_some(None),
            Self::Table(it) => it.heir().map(Some),
        }
    }

    /// Lets go of everything. Whoever lets go of a namespace last unmounts what
    /// is in it, and that can wait for a server that is away: where the source
    /// holds one, a thread of its own lets go.
    pub(super) fn close(self) {
        match self {
            Self::Table(it) if it.holds_a_namespace() => {
                let closing = std::thread::Builder::new().name("csi-watch-close".to_owned());
                // Without a thread to be had, the closure is dropped here.
                let _ = closing.spawn(move || drop(it));
            }
            _ => {}
        }
    }
}

/// Takes what is told, and hands on what matters.
#[derive(Debug)]
pub(super) struct Sink {
    places: Places,
    timeline: Arc<Timeline>,
    batch: Batch,
}

impl Sink {
    pub(super) fn new(places: Places, timeline: Arc<Timeline>) -> Self {
        Self {
            places,
            timeline,
            batch: Batch::default(),
        }
    }

    /// What cannot be placed is kept.
    pub(super) fn take(&mut self, told: Told, by: Option<Arc<Doer>>) {
        let matters = |mount: &Arc<Mount>| self.places.matter(&mount.point);
        if !told.mount.as_ref().is_none_or(matters) {
            self.batch.elsewhere += 1;
            return;
        }
        self.batch.events.push(MountEvent {
            at: Instant::now(),
            what: told.what,
            mount: told.mount,
            unique_id: told.unique_id,
            by,
        });
    }

    /// Events were lost.
    pub(super) fn lost(&mut self) {
        self.batch.losses += 1;
    }

    /// How many lines could not be read.
    pub(super) fn odd(&mut self, lines: usize) {
        self.batch.odd = lines;
    }

    pub(super) fn hand_on(&mut self) {
        self.timeline.add(&mut self.batch);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.timeline.is_stopping()
    }
}

impl Source {
    /// Listens to mount events. The outer error is for what is wrong with the
    /// namespace, the inner one says why the kernel cannot tell.
    pub(super) fn events(namespace: Namespace) -> Result<Result<Self, String>, WatchError> {
        Listen::start(namespace).map(|it| it.map(|it| Self::Events(Box::new(it))))
    }

    pub(super) fn table(namespace: Namespace) -> Result<Self, WatchError> {
        Reread::start(namespace).map(Self::Table)
    }
}
