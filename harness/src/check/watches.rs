//! The run's watch over mounts: ours, and the driver's where it lives elsewhere.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::session::Session;
use crate::lab::OurPath;
use crate::node::watch::{Cursor, Doer, How, MountEvent, Namespace, Watch, WatchError};
use crate::node::{MountTable, ProcessId};

/// A watch for each namespace, for the whole run.
#[derive(Debug)]
pub struct Watches {
    ours: Watch,
    drivers: Option<Watch>,
}

/// A moment of the run, and what had happened by then.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) at: Instant,
    ours: Option<Cursor>,
    drivers: Option<Cursor>,
}

/// Whose mount namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// That in which a kubelet would look.
    Ours,
    /// The driver's, where it has one of its own.
    Drivers,
}

impl Moment {
    fn cursor(&self, side: Side) -> Option<Cursor> {
        match side {
            Side::Ours => self.ours,
            Side::Drivers => self.drivers,
        }
    }

    /// Whether the event at this place of a timeline is known to have come after this
    /// moment.
    pub(super) fn is_before(&self, side: Side, at: usize) -> bool {
        self.cursor(side).is_some_and(|cursor| cursor.is_before(at))
    }

    /// The same, or it is not known: the watch did not answer in time.
    pub(super) fn may_be_before(&self, side: Side, at: usize) -> bool {
        self.cursor(side).is_none_or(|cursor| cursor.is_before(at))
    }
}

/// A mount that was absent at one moment, and is or was there afterwards.
#[derive(Debug, Clone)]
pub(super) struct Came {
    pub(super) line: String,
    /// When we learned of it.
    pub(super) at: Instant,
    /// Who made it, where the kernel told.
    pub(super) by: Option<String>,
}

impl Watches {
    /// Watches what happens at these places: those of ours, and the driver's names
    /// of them in its own namespace, where it has one.
    ///
    /// # Errors
    /// Our own namespace cannot be watched.
    pub fn start(
        ours: &[PathBuf],
        driver: Option<ProcessId>,
        drivers: &[PathBuf],
    ) -> Result<Self, WatchError> {
        // That of the driver is a help, and no more.
        let there = driver.and_then(|driver| {
            Watch::start_at(Namespace::Of(driver), How::Auto, drivers)
                .inspect_err(|error| tracing::warn!(%error, "the driver's mounts are not watched"))
                .ok()
        });
        Ok(Self {
            ours: Watch::start_at(Namespace::Ours, How::Auto, ours)?,
            drivers: there,
        })
    }

    /// The watch of a namespace, where there is one.
    pub(super) fn side(&self, side: Side) -> Option<&Watch> {
        match side {
            Side::Ours => Some(&self.ours),
            Side::Drivers => self.drivers.as_ref(),
        }
    }

    /// How, in words, for the scope of a report.
    pub fn in_words(&self) -> String {
        let whose = match self.drivers {
            Some(_) => "our mount namespace and the driver's",
            None => "our mount namespace",
        };
        format!("{whose}: {}", self.ours.how())
    }
}

impl Session {
    /// Now, with all that happened before it.
    pub(super) async fn moment(&self) -> Moment {
        let (mut ours, mut drivers) = (None, None);
        if let Some(watches) = &self.watches {
            ours = watches.ours.synced().await.ok();
            if let Some(watch) = &watches.drivers {
                drivers = watch.synced().await.ok();
            }
        }
        Moment {
            at: Instant::now(),
            ours,
            drivers,
        }
    }

    /// What came to a path after a moment at which nothing was mounted there: by the
    /// timeline, or, for a look that came between the two, by what is there now.
    pub(super) fn came(&self, path: &OurPath, since: &Moment) -> Option<Came> {
        let watches = self.watches.as_ref();
        let told = |watch: Option<&Watch>, cursor: Option<Cursor>, at: &Path| {
            let events = watch?.since(cursor?);
            events.into_iter().find(|event| event.attaches_at(at))
        };
        let ours = told(watches.map(|w| &w.ours), since.ours, &path.ours);
        let theirs = || {
            let watch = watches.and_then(|w| w.drivers.as_ref());
            told(watch, since.drivers, Path::new(&path.drivers))
        };
        if let Some(event) = ours.or_else(theirs) {
            return Some(Came::told(&event));
        }
        let table = MountTable::ours().ok()?;
        let mount = table.at(&path.ours).last().map(|mount| mount.line())?;
        Some(Came {
            line: mount,
            at: Instant::now(),
            by: None,
        })
    }
}

impl Came {
    fn told(event: &MountEvent) -> Self {
        let line = event.mount.as_ref().map(|mount| mount.line());
        Self {
            line: line.unwrap_or_default(),
            at: event.at,
            by: event.by.as_deref().map(in_words),
        }
    }
}

/// `mount.nfs (pid 17), child of systemd (pid 1): mount.nfs 10.0.0.2:/share /target`
pub(super) fn in_words(doer: &Doer) -> String {
    let parent = doer.parents.first();
    let parent = parent.map(|p| format!(", child of {} (pid {})", p.comm, p.id.pid));
    let words: Vec<_> = doer
        .arguments
        .iter()
        .map(|word| word.to_string_lossy())
        .collect();
    let words = match words.is_empty() {
        true => String::new(),
        false => format!(": {}", words.join(" ")),
    };
    format!("{doer}{}{words}", parent.unwrap_or_default())
}
