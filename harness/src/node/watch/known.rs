//! What one event makes of the mounts that are known by their unique ids.
//!
//! The kernel's event names an id and no more: what it was is asked at once
//! when it comes, and remembered for when it goes.

use super::super::mountinfo::Mount;
use super::super::statmount::UniqueMount;
use super::event::Change;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// A change that is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) what: Change,
    pub(super) unique_id: Option<u64>,
    pub(super) mount: Option<Arc<Mount>>,
}

/// The mounts of one namespace.
#[derive(Debug, Default)]
pub(super) struct Known {
    mounts: HashMap<u64, Arc<Mount>>,
    /// Came, and was gone before it could be asked for; its going is awaited.
    ghosts: HashSet<u64>,
}

impl Known {
    pub(super) fn new(all: Vec<UniqueMount>) -> Self {
        let mounts = all.into_iter().map(|u| (u.unique_id, Arc::new(u.mount)));
        Self {
            mounts: mounts.collect(),
            ghosts: HashSet::new(),
        }
    }

    /// A mount came, and this is what was found of it: nothing where it is gone
    /// again. One that is known was found in the table before its event was
    /// read; one with no way to it from the root is no line of mountinfo.
    pub(super) fn attached(&mut self, id: u64, found: Option<UniqueMount>) -> Option<Told> {
        if self.mounts.contains_key(&id) {
            return None;
        }
        let mount = found.map(|u| Arc::new(u.mount));
        match &mount {
            Some(mount) if mount.point.as_os_str().is_empty() => return None,
            Some(mount) => drop(self.mounts.insert(id, Arc::clone(mount))),
            None => drop(self.ghosts.insert(id)),
        }
        Some(told(Change::Attached, id, mount))
    }

    /// A mount went. One that is not known had gone before the table was read,
    /// or was out of sight.
    pub(super) fn detached(&mut self, id: u64) -> Option<Told> {
        let mount = self.mounts.remove(&id);
        (mount.is_some() || self.ghosts.remove(&id)).then(|| told(Change::Detached, id, mount))
    }

    /// Something was moved, and with it all that is mounted below: each mount
    /// that is elsewhere now went from where it was, and came where it is.
    /// What is new or gone in this table has an event of its own to come, with
    /// the name of who did it.
    pub(super) fn moved(&mut self, all: Vec<UniqueMount>) -> Vec<Told> {
        let mut told = Vec::new();
        for UniqueMount {
            unique_id, mount, ..
        } in all
        {
            if let Some(known) = self.mounts.get_mut(&unique_id) {
                told.extend(place(known, unique_id, mount));
            }
        }
        in_order(told)
    }

    /// Events were lost: what the table shows is all that can be told.
    pub(super) fn reread(&mut self, all: Vec<UniqueMount>) -> Vec<Told> {
        let mut told_now = Vec::new();
        let mut all: BTreeMap<u64, Mount> =
            all.into_iter().map(|u| (u.unique_id, u.mount)).collect();
        let gone = |id: &u64| !all.contains_key(id);
        let mut gone: Vec<u64> = self.mounts.keys().copied().filter(gone).collect();
        gone.extend(&self.ghosts);
        gone.sort_unstable_by(|a, b| b.cmp(a));
        told_now.extend(gone.into_iter().filter_map(|id| self.detached(id)));
        for (id, known) in &mut self.mounts {
            if let Some(mount) = all.remove(id) {
                told_now.extend(place(known, *id, mount));
            }
        }
        let mut told_now = in_order(told_now);
        for (id, mount) in all {
            let mount = Arc::new(mount);
            self.mounts.insert(id, Arc::clone(&mount));
            told_now.push(told(Change::Attached, id, Some(mount)));
        }
        told_now
    }
}

fn told(what: Change, id: u64, mount: Option<Arc<Mount>>) -> Told {
    Told {
        what,
        unique_id: Some(id),
        mount,
    }
}

/// Takes note of where a mount is now, and tells it if that is elsewhere.
fn place(known: &mut Arc<Mount>, id: u64, now: Mount) -> Vec<Told> {
    let now = Arc::new(now);
    let was = std::mem::replace(known, Arc::clone(&now));
    if was.point == now.point {
        return Vec::new();
    }
    vec![
        told(Change::Detached, id, Some(was)),
        told(Change::Attached, id, Some(now)),
    ]
}

/// What went, the newest first; then what came, the oldest first.
fn in_order(told: Vec<Told>) -> Vec<Told> {
    let (mut went, mut came): (Vec<_>, Vec<_>) =
        told.into_iter().partition(|t| t.what == Change::Detached);
    went.sort_by_key(|t| std::cmp::Reverse(t.unique_id));
    came.sort_by_key(|t| t.unique_id);
    went.append(&mut came);
    went
}

#[cfg(test)]
mod tests {
    use super::*;
    use Change::{Attached, Detached};

    fn mount(unique_id: u64, point: &str) -> UniqueMount {
        UniqueMount {
            unique_id,
            unique_parent: 1,
            mount: Mount {
                point: point.into(),
                ..Mount::default()
            },
        }
    }

    fn points(told: impl IntoIterator<Item = Told>) -> Vec<(Change, u64, String)> {
        let one = |t: Told| {
            let point = t.mount.map(|m| m.point.display().to_string());
            let point = point.unwrap_or_else(|| "?".to_owned());
            (t.what, t.unique_id.expect("an id"), point)
        };
        told.into_iter().map(one).collect()
    }

    fn saw(list: &[(Change, u64, &str)]) -> Vec<(Change, u64, String)> {
        list.iter()
            .map(|&(w, id, p)| (w, id, p.to_owned()))
            .collect()
    }

    #[test]
    fn each_is_told_once() {
        let mut known = Known::new(vec![mount(1, "/"), mount(2, "/a")]);
        assert_eq!(
            known.attached(2, Some(mount(2, "/a"))),
            None,
            "in the table"
        );
        assert_eq!(
            points(known.attached(3, Some(mount(3, "/b")))),
            saw(&[(Attached, 3, "/b")])
        );
        assert_eq!(points(known.detached(3)), saw(&[(Detached, 3, "/b")]));
        assert_eq!(known.detached(3), None, "gone");
        assert_eq!(points(known.detached(2)), saw(&[(Detached, 2, "/a")]));
        assert_eq!(known.attached(4, Some(mount(4, ""))), None, "out of sight");
        assert_eq!(known.detached(4), None, "out of sight");
    }

    #[test]
    fn what_was_gone_before_it_could_be_asked_for_came_and_went() {
        let mut known = Known::default();
        assert_eq!(points(known.attached(9, None)), saw(&[(Attached, 9, "?")]));
        assert_eq!(points(known.detached(9)), saw(&[(Detached, 9, "?")]));
        assert_eq!(known.detached(9), None);
    }

    #[test]
    fn a_move_takes_what_is_below_along_and_leaves_the_rest_to_its_own_events() {
        let mut known = Known::new(vec![
            mount(1, "/"),
            mount(2, "/a"),
            mount(3, "/a/k"),
            mount(4, "/c"),
        ]);
        let now = vec![
            mount(1, "/"),
            mount(2, "/b"),
            mount(3, "/b/k"),
            mount(5, "/new"),
        ];
        assert_eq!(
            points(known.moved(now)),
            saw(&[
                (Detached, 3, "/a/k"),
                (Detached, 2, "/a"),
                (Attached, 2, "/b"),
                (Attached, 3, "/b/k")
            ])
        );
        assert_eq!(points(known.detached(4)), saw(&[(Detached, 4, "/c")]));
        assert_eq!(
            points(known.attached(5, Some(mount(5, "/new")))),
            saw(&[(Attached, 5, "/new")])
        );
    }

    #[test]
    fn after_a_loss_the_table_is_told() {
        let mut known = Known::new(vec![mount(1, "/"), mount(2, "/a"), mount(3, "/c")]);
        known.attached(8, None);
        let now = vec![
            mount(1, "/"),
            mount(3, "/d"),
            mount(10, "/x"),
            mount(11, "/y"),
        ];
        assert_eq!(
            points(known.reread(now.clone())),
            saw(&[
                (Detached, 8, "?"),
                (Detached, 3, "/c"),
                (Detached, 2, "/a"),
                (Attached, 3, "/d"),
                (Attached, 10, "/x"),
                (Attached, 11, "/y"),
            ])
        );
        assert_eq!(known.reread(now), [], "nothing has changed since");
        // Events that were already in the queue when the table was read.
        assert_eq!(known.detached(2), None);
        assert_eq!(known.attached(10, Some(mount(10, "/x"))), None);
    }
}
