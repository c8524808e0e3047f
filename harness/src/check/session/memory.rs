//! What a run remembers: volumes to be used again, steps that worked, what it made,
//! and what stayed.

use std::sync::PoisonError;

use super::Session;
use crate::check::accounts::Stray;
use crate::check::claims::VolumeClaim;
use crate::check::kind::Kind;
use crate::check::marker::Marker;
use crate::check::step::{Access, Step};
use crate::check::volume::Want;
use crate::lab::Entry;
use crate::node::{DiskId, LoopDevice};

impl Session {
    /// Whether a loop device carries this volume, and no other that claimed it
    /// before: a driver may show one volume's device for another's.
    pub(in crate::check) fn carries(&self, device: DiskId, volume: u64) -> bool {
        let mut carries = self.carries.lock().unwrap_or_else(PoisonError::into_inner);
        *carries.entry(device).or_insert(volume) == volume
    }

    /// Writes down a loop device of a driver of our own.
    pub(in crate::check) fn write_down(&self, device: &LoopDevice) {
        let (Some(scratch), Some(journal)) = (&self.scratch, &self.journal) else {
            return;
        };
        let mut known = self
            .journalled
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !device.backing.starts_with(scratch) || !known.insert(device.id) {
            return;
        }
        if let Err(error) = Entry::loop_device(device.number, &device.backing)
            .map_err(|e| e.to_string())
            .and_then(|entry| journal.write(&entry).map_err(|e| e.to_string()))
        {
            tracing::warn!(%error, "a loop device is not in the journal");
        }
    }

    /// A volume of this access type went through a step.
    pub(in crate::check) fn works(&self, step: Step, access: Access) {
        self.worked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert((step, access));
    }

    pub(in crate::check) fn has_worked(&self, step: Step, access: Access) -> bool {
        self.worked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&(step, access))
    }

    pub(in crate::check) fn tries(&self, access: Access) {
        self.tried
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(access);
    }

    /// Whether a refusal of this step means that volumes of this access type are
    /// not offered: none ever came through, and those of the other type do.
    pub fn is_not_offered(&self, step: Step, access: Access) -> bool {
        let other = match access {
            Access::Mount => Access::Block,
            Access::Block => Access::Mount,
        };
        let tried = self
            .tried
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&other);
        let same = match step {
            Step::Stage(_) => Step::Stage(other),
            Step::Publish(_) => Step::Publish(other),
            step => step,
        };
        !self.has_worked(step, access) && (!tried || self.has_worked(same, other))
    }

    /// Remembers a check whose step failed beside others, and worked alone.
    pub fn doubt(&self, what: String) {
        let mut doubts = self.doubts.lock().unwrap_or_else(PoisonError::into_inner);
        if !doubts.contains(&what) {
            doubts.push(what);
        }
    }

    /// The checks whose steps failed beside others, and worked alone.
    pub fn doubts(&self) -> Vec<String> {
        self.doubts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Writes down a volume that was created, so that a killed run can tell of it.
    pub(in crate::check) fn write_down_volume(&self, id: &str, name: &str) {
        let Some(journal) = &self.journal else { return };
        if let Err(error) = journal.write(&self.volume_entry(id, name)) {
            tracing::warn!(%error, "a volume is not in the journal");
        }
    }

    /// Strikes out a volume that was deleted.
    pub(in crate::check) fn strike_out_volume(&self, id: &str, name: &str) {
        if let Some(journal) = &self.journal
            && let Err(error) = journal.gone(&self.volume_entry(id, name))
        {
            tracing::warn!(%error, "a volume stays in the journal");
        }
    }

    fn volume_entry(&self, id: &str, name: &str) -> Entry {
        let endpoint = self.client.endpoint("Controller").map(ToString::to_string);
        Entry::Volume {
            endpoint: endpoint.unwrap_or_default(),
            id: Some(id.to_owned()),
            name: name.to_owned(),
        }
    }

    /// Remembers what stayed or came late, for the judgement of the run.
    pub fn remember_left(&self, what: String) {
        self.left
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(what);
    }

    /// Looks for mounts that came and went without being asked for, before anything is
    /// taken away by force; they are for the judgement of the run.
    pub async fn settle_accounts(&self) {
        let strays = self.find_strays().await;
        *self.strays.lock().unwrap_or_else(PoisonError::into_inner) = strays;
    }

    /// Mounts that came and went at our places, and no call accounts for them.
    pub fn strays(&self) -> Vec<Stray> {
        self.strays
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Remembers what a marker was written to.
    pub(in crate::check) fn marks(&self, marker: &Marker, volume: String, check: &str) {
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        marks.insert(marker.file(), (volume, check.to_owned()));
    }

    /// Whose marker has this file, in words.
    pub(in crate::check) fn marked(&self, file: &str) -> Option<String> {
        let marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        let (volume, check) = marks.get(file)?;
        Some(format!(
            "the marker of volume {volume}, of {check}, is there"
        ))
    }

    /// What stayed at the end of the run, or came late, in words.
    pub fn left(&self) -> Vec<String> {
        self.left
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Takes a clean volume of this kind from the pool.
    pub(in crate::check) fn lease(&self, want: &Want, kind: &Kind) -> Option<VolumeClaim> {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        let place = pool
            .iter()
            .position(|v| v.want == *want && v.kind == *kind)?;
        Some(pool.swap_remove(place))
    }

    /// Gives a clean volume back.
    pub(in crate::check) fn give_back(&self, volume: VolumeClaim) {
        self.pool
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(volume);
    }

    /// Empties the pool: what is in it is to be deleted.
    pub fn drain_pool(&self) -> Vec<VolumeClaim> {
        std::mem::take(&mut *self.pool.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes a static volume that fits, and is free.
    pub(in crate::check) fn take_static(&self, fits: impl Fn(usize) -> bool) -> Option<usize> {
        let mut free = self.statics.lock().unwrap_or_else(PoisonError::into_inner);
        let place = free.iter().position(|index| fits(*index))?;
        Some(free.remove(place))
    }

    /// Gives a static volume back.
    pub(in crate::check) fn give_static(&self, index: usize) {
        self.statics
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(index);
    }
}
