//! What two readings of mountinfo tell of what happened in between.
//!
//! Line by line: a line that stands in both is the same mount, whatever else
//! there is, so that reading 10,000 of which one is new costs one.

use super::super::mountinfo::{Mount, MountTable};
use super::event::Change;
use super::known::Told;
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

/// One line: where it stood, and the mount, if it could be understood.
type Line = (usize, Option<Arc<Mount>>);

/// The last reading.
#[derive(Debug, Default)]
pub(super) struct Table {
    lines: HashMap<Vec<u8>, Line>,
}

impl Table {
    pub(super) fn new(bytes: &[u8]) -> Self {
        let mut table = Self::default();
        table.next(bytes);
        table
    }

    /// Takes the next reading, and tells what came and went in between.
    ///
    /// The id of a mount is given again at once, so two lines are of one mount
    /// when all that cannot change while it stands is the same. The parent is
    /// no part of that: it changes when a mount is slid in beneath.
    pub(super) fn next(&mut self, bytes: &[u8]) -> Vec<Told> {
        let mut old = std::mem::take(&mut self.lines);
        let mut new: HashMap<Vec<u8>, Line> = HashMap::with_capacity(old.len());
        let mut fresh = Vec::new();
        let lines = bytes.split(|&b| b == b'\n').filter(|l| !l.is_empty());
        for (n, line) in lines.enumerate() {
            // A table that changes while it is read can show a mount twice.
            if new.contains_key(line) {
                continue;
            }
            if let Some((line, (_, mount))) = old.remove_entry(line) {
                new.insert(line, (n, mount));
                continue;
            }
            let mount = MountTable::parse(line).mounts.pop().map(Arc::new);
            fresh.extend(mount.clone());
            new.insert(line.to_vec(), (n, mount));
        }
        self.lines = new;
        let went = old.into_values().filter_map(|(n, m)| Some((n, m?)));
        changes(went.collect(), &fresh)
    }

    /// How many lines could not be understood.
    pub(super) fn odd(&self) -> usize {
        self.lines.values().filter(|(_, m)| m.is_none()).count()
    }
}

/// What went, the newest first, then what came, the oldest first; those of
/// which only an option, the propagation or the parent changed are neither.
fn changes(mut went: Vec<(usize, Arc<Mount>)>, came: &[Arc<Mount>]) -> Vec<Told> {
    went.sort_by_key(|(n, _)| std::cmp::Reverse(*n));
    let before: HashSet<_> = went.iter().map(|(_, m)| identity(m)).collect();
    let now: HashSet<_> = came.iter().map(|m| identity(m)).collect();
    let told = |what, mount: &Arc<Mount>| Told {
        what,
        unique_id: None,
        mount: Some(Arc::clone(mount)),
    };
    let gone = went.iter().map(|(_, m)| m);
    let gone = gone.filter(|m| !now.contains(&identity(m)));
    let new = came.iter().filter(|m| !before.contains(&identity(m)));
    gone.map(|m| told(Change::Detached, m))
        .chain(new.map(|m| told(Change::Attached, m)))
        .collect()
}

type Identity<'a> = (u64, (u32, u32), &'a Path, &'a Path, &'a str, &'a OsStr);

fn identity(mount: &Mount) -> Identity<'_> {
    (
        mount.id,
        mount.dev(),
        &mount.root,
        &mount.point,
        &mount.fs_type,
        &mount.source,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use Change::{Attached, Detached};

    const ROOT: &str = "20 1 8:1 / / rw - ext4 /dev/sda1 rw";
    const A: &str = "30 20 0:40 / /a rw - tmpfs a rw";
    const B: &str = "31 20 0:41 / /b rw - tmpfs b rw";

    fn text(lines: &[&str]) -> Vec<u8> {
        lines
            .iter()
            .flat_map(|l| format!("{l}\n").into_bytes())
            .collect()
    }

    fn next(table: &mut Table, lines: &[&str]) -> Vec<(Change, String)> {
        let told = table.next(&text(lines));
        let one = |t: Told| Some((t.what, t.mount?.line()));
        told.into_iter().filter_map(one).collect()
    }

    fn saw(list: &[(Change, &str)]) -> Vec<(Change, String)> {
        list.iter().map(|&(w, l)| (w, l.to_owned())).collect()
    }

    #[test]
    fn what_came_and_went() {
        let mut table = Table::new(&text(&[ROOT, A]));
        assert_eq!(next(&mut table, &[ROOT, A]), []);
        assert_eq!(next(&mut table, &[ROOT, A, B]), saw(&[(Attached, B)]));
        assert_eq!(
            next(&mut table, &[ROOT]),
            saw(&[(Detached, B), (Detached, A)])
        );
        assert_eq!(
            next(&mut table, &[ROOT, A, B, A]),
            saw(&[(Attached, A), (Attached, B)])
        );
    }

    #[test]
    fn an_id_that_is_given_again_is_another_mount() {
        let mut table = Table::new(&text(&[ROOT, A]));
        for other in [
            "30 20 0:49 / /a rw - tmpfs a rw",
            "30 20 0:49 /sub /a rw - tmpfs a rw",
            "30 20 0:49 /sub /a rw - ramfs a rw",
            "30 20 0:49 /sub /a rw - ramfs b rw",
            "32 20 0:49 /sub /a rw - ramfs b rw",
            "32 20 0:49 /sub /moved rw - ramfs b rw",
        ] {
            let told = next(&mut table, &[ROOT, other]);
            assert_eq!(told.len(), 2, "{told:?}");
            assert_eq!(told[1], (Attached, other.to_owned()));
            assert_eq!(told[0].0, Detached);
        }
    }

    #[test]
    fn another_option_parent_or_peer_is_the_same_mount() {
        let mut table = Table::new(&text(&[ROOT, A]));
        for altered in [
            "30 20 0:40 / /a ro - tmpfs a rw",
            "30 20 0:40 / /a ro - tmpfs a rw,size=1k",
            "30 20 0:40 / /a ro shared:7 - tmpfs a rw",
            "30 29 0:40 / /a ro shared:7 - tmpfs a rw",
        ] {
            assert_eq!(next(&mut table, &[ROOT, altered]), []);
        }
        let last = "30 29 0:40 / /a ro shared:7 - tmpfs a rw";
        assert_eq!(
            next(&mut table, &[ROOT]),
            saw(&[(Detached, last)]),
            "as it was last"
        );
    }

    #[test]
    fn odd_lines_are_counted_and_hide_nothing() {
        let mut table = Table::new(&text(&[ROOT, "odd"]));
        assert_eq!(table.odd(), 1);
        assert_eq!(
            next(&mut table, &["odder", A, "odd", ROOT]),
            saw(&[(Attached, A)])
        );
        assert_eq!(table.odd(), 2);
        assert_eq!(
            next(&mut table, &[]),
            saw(&[(Detached, ROOT), (Detached, A)])
        );
        assert_eq!(table.odd(), 0);
    }
}
