//! Mounts that come and go, beside the calls that account for them.
//!
//! A mount at a place of ours comes or goes because somebody asked for it: while a
//! call for that volume is at work, or by our own hand. Whatever else happens there
//! is nobody's doing that we know of: a helper that is late, a retry, an unmount
//! that was put off. It is looked for once, when the run ends, over all of its
//! timeline.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::claims::VolumeClaim;
use super::late::seconds;
use super::outcome::Evidence;
use super::ran;
use super::session::Session;
use super::watches::{Moment, Side, Watches, in_words};
use crate::client::CallRecord;
use crate::lab::OurPath;
use crate::node::MountEvent;
use crate::node::watch::Change;

/// What was asked for, and where.
#[derive(Debug, Default)]
pub(super) struct Accounts(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    places: Vec<Place>,
    stretches: Vec<Stretch>,
    /// Where we mounted or unmounted ourselves, and since when.
    touched: Vec<(PathBuf, Instant)>,
}

/// A path that a driver was given for a volume.
#[derive(Debug)]
struct Place {
    path: OurPath,
    volume: String,
    check: String,
    /// From here on anything may happen: the driver was killed or stopped by us.
    open_from: Option<Moment>,
}

/// The part of the timeline in which a call for a volume was at work.
#[derive(Debug)]
struct Stretch {
    volume: String,
    call: CallRecord,
    from: Moment,
    /// None: it was not answered, and may be at work still.
    to: Option<Moment>,
    ended: Instant,
}

/// A change that no call accounts for.
#[derive(Debug, Clone)]
pub struct Stray {
    /// The check whose volume it is.
    pub check: String,
    /// What happened, and how long after which answer.
    pub what: String,
    /// For the report.
    pub seen: Vec<Evidence>,
}

/// Whether a call ended with a word of the driver's: `OK`, `NOT_FOUND`. What happened
/// instead of one is in lower case.
fn is_answer(code: &str) -> bool {
    code.chars().all(|c| !c.is_ascii_lowercase())
}

impl Accounts {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A path that is given to the driver for this volume.
    pub(super) fn opened(&self, path: &OurPath, volume: &VolumeClaim, check: &str) {
        let mut inner = self.lock();
        let volume = volume.id.clone().unwrap_or_default();
        let known =
            |place: &Place| place.path == *path && place.volume == volume && place.check == check;
        if !inner.places.iter().any(known) {
            inner.places.push(Place {
                path: path.clone(),
                volume,
                check: check.to_owned(),
                open_from: None,
            });
        }
    }

    /// We mount or unmount at this path ourselves. Where nobody can tell who did what,
    /// nothing is said of what happens there from now on.
    pub(super) fn touched(&self, path: &Path) {
        let mut inner = self.lock();
        if !inner.touched.iter().any(|(known, _)| known == path) {
            inner.touched.push((path.to_owned(), Instant::now()));
        }
    }

    /// From this moment on anything may happen at the places of these checks (all, if
    /// none is named): the driver was killed or stopped, and comes back.
    pub(super) fn open(&self, check: Option<&str>, from: Moment) {
        let mut inner = self.lock();
        let meant = |place: &&mut Place| check.is_none_or(|check| place.check == check);
        for place in inner.places.iter_mut().filter(meant) {
            place.open_from.get_or_insert(from);
        }
    }

    /// A call for a volume was at work between these moments.
    pub(super) fn call(&self, record: &CallRecord, from: Moment, to: Moment) {
        let Some(volume) = record.request.get("volume_id").and_then(|id| id.as_str()) else {
            return;
        };
        let answered = is_answer(&record.code);
        let mut inner = self.lock();
        if record.code == "OK" {
            // Whatever was not answered before is settled by this.
            let open = |stretch: &&mut Stretch| stretch.volume == volume && stretch.to.is_none();
            inner
                .stretches
                .iter_mut()
                .filter(open)
                .for_each(|stretch| stretch.to = Some(to));
        }
        inner.stretches.push(Stretch {
            volume: volume.to_owned(),
            call: record.clone(),
            from,
            to: answered.then_some(to),
            ended: to.at,
        });
    }
}

impl Place {
    /// Whether the event is about this place or what lies below it.
    fn holds(&self, event: &MountEvent, side: Side) -> bool {
        let path = match side {
            Side::Ours => self.path.ours.as_path(),
            Side::Drivers => Path::new(&self.path.drivers),
        };
        event
            .mount
            .as_ref()
            .is_some_and(|mount| mount.point.starts_with(path))
    }
}

impl Session {
    /// Opens the account of a path that is given to the driver.
    pub(super) fn opened(&self, path: &OurPath, volume: &VolumeClaim, check: &str) {
        self.accounts.opened(path, volume, check);
    }

    /// A path at which we are about to mount or unmount ourselves.
    pub(super) fn touches<'p>(&self, path: &'p Path) -> &'p Path {
        self.accounts.touched(path);
        path
    }

    /// We killed or stopped the driver: what happens at the places of this check (of
    /// all, if none is named) from now on is the consequence.
    pub async fn driver_disturbed(&self, check: Option<&str>) {
        let now = self.moment().await;
        self.accounts.open(check, now);
    }

    /// The processes that name a path of ours among their arguments, when all of them
    /// were taken back; in words.
    pub fn processes_left(&self) -> Vec<String> {
        // Looking through all processes takes its time, and others want the accounts.
        let paths: Vec<_> = {
            let inner = self.accounts.lock();
            inner
                .places
                .iter()
                .map(|place| place.path.clone())
                .collect()
        };
        ran::processes_at(&paths.iter().collect::<Vec<_>>())
    }

    /// The mounts and unmounts at our places until now that no call accounts for.
    pub(super) async fn find_strays(&self) -> Vec<Stray> {
        let Some(watches) = &self.watches else {
            return Vec::new();
        };
        let _ = self.moment().await;
        let driver = self.driver_pid().await;
        let inner = self.accounts.lock();
        let mut strays = Vec::new();
        for side in [Side::Ours, Side::Drivers] {
            for (at, event) in watches.timeline(side) {
                strays.extend(inner.stray(side, at, &event, driver));
            }
            if !strays.is_empty() {
                // What propagates is seen twice.
                break;
            }
        }
        strays
    }
}

impl Inner {
    /// Whether it is where our own hand was by then.
    fn is_touched(&self, event: &MountEvent) -> bool {
        let Some(mount) = &event.mount else {
            return false;
        };
        let mut touched = self.touched.iter();
        touched.any(|(path, since)| mount.point.starts_with(path) && *since <= event.at)
    }

    /// What is to be said of one event, the `at`th of its timeline.
    fn stray(
        &self,
        side: Side,
        at: usize,
        event: &MountEvent,
        driver: Option<u32>,
    ) -> Option<Stray> {
        let mine: Vec<_> = self
            .places
            .iter()
            .filter(|place| place.holds(event, side))
            .collect();
        let last = mine.last()?;
        let by_us = match &event.by {
            Some(doer) if doer.process.is_some() => doer.is_ours(driver),
            // An older kernel does not tell, and none tells of one that had ended, as the
            // children that unmount for us may have.
            _ => self.is_touched(event),
        };
        let opened = |place: &&Place| {
            place
                .open_from
                .is_some_and(|from| from.may_be_before(side, at))
        };
        let asked = |stretch: &Stretch| {
            mine.iter().any(|place| place.volume == stretch.volume)
                && stretch.from.may_be_before(side, at)
                && stretch.to.is_none_or(|to| !to.is_before(side, at))
        };
        if by_us || mine.iter().any(opened) || self.stretches.iter().any(asked) {
            return None;
        }
        let before = self.stretches.iter().rfind(|stretch| {
            mine.iter().any(|place| place.volume == stretch.volume)
                && stretch.to.is_some_and(|to| to.is_before(side, at))
        });
        let since = |stretch: &Stretch| {
            let after = seconds(event.at.saturating_duration_since(stretch.ended));
            let (rpc, n, code) = (&stretch.call.rpc, stretch.call.n, &stretch.call.code);
            match code.as_str() {
                "no answer" | "broken" => {
                    format!("{after} after {rpc}, call {n}, which had no answer")
                }
                code => format!("{after} after {rpc}, call {n}, was answered with {code}"),
            }
        };
        let since = before.map_or_else(|| "before any call for the volume".to_owned(), since);
        let what = match event.what {
            Change::Attached => "a mount came",
            Change::Detached => "a mount went",
        };
        let point = last.path.ours.display();
        let mut seen: Vec<_> = self
            .calls_around(&mine, before)
            .map(Evidence::Call)
            .collect();
        seen.push(Evidence::Mounts {
            path: point.to_string(),
            when: format!("{} {since}", event.what),
            lines: event.mount.iter().map(|mount| mount.line()).collect(),
            expected: None,
        });
        seen.extend(event.by.as_deref().map(|doer| Evidence::Fact {
            label: "done by".to_owned(),
            text: in_words(doer),
        }));
        // A path may be given for the volumes of several checks, one after the other.
        let check = before.map_or(&last.check, |stretch| &stretch.call.check);
        Some(Stray {
            check: check.clone(),
            what: format!("{what} at {point} {since}, while no call for it was at work"),
            seen,
        })
    }
}

impl Inner {
    /// The last calls for the volume of these places until this one.
    fn calls_around(
        &self,
        mine: &[&Place],
        until: Option<&Stretch>,
    ) -> impl Iterator<Item = CallRecord> {
        const SHOWN: usize = 4;
        let until = until.map_or(0, |stretch| stretch.call.n);
        let of = |stretch: &&Stretch| mine.iter().any(|place| place.volume == stretch.volume);
        let calls = self
            .stretches
            .iter()
            .filter(of)
            .filter(|s| s.call.n <= until);
        let calls: Vec<_> = calls.map(|stretch| stretch.call.clone()).collect();
        let first = calls.len().saturating_sub(SHOWN);
        calls.into_iter().skip(first)
    }
}

impl Watches {
    /// All that happened, each with its place in the timeline.
    fn timeline(&self, side: Side) -> impl Iterator<Item = (usize, MountEvent)> + use<> {
        let events = self.side(side).map(|watch| watch.events());
        events.unwrap_or_default().into_iter().enumerate()
    }
}
