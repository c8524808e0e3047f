//! Listening to the kernel's mount events.

use super::super::mountinfo::{Mount, MountTable};
use super::super::statmount::{self, UniqueMount};
use super::WatchError;
use super::doer::{Doer, Register};
use super::group::{Actor, Group, News, Said};
use super::known::Known;
use super::namespace::Namespace;
use super::source::{Life, Sink};
use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;

/// The events of one namespace. Nothing here holds it.
#[derive(Debug)]
pub(super) struct Listen {
    group: Group,
    /// The id that the kernel gives to the namespace.
    namespace: u64,
    /// The mount that all others lie on. It goes only when the namespace does,
    /// and then it is the first. 0, which no mount has, where it is not known.
    base: u64,
    known: Known,
    register: Register,
}

impl Listen {
    /// The inner error says in words why the kernel cannot tell.
    pub(super) fn start(namespace: Namespace) -> Result<Result<Self, String>, WatchError> {
        let file = namespace.open("ns/mnt")?;
        // The mark first, then the table: what happens in between stands in
        // the table and is told as well, and is known by its id.
        let group = match Group::on(file.as_fd()) {
            Ok(group) => group,
            Err(why) => return Ok(Err(why)),
        };
        let id = match statmount::namespace_id(file.as_fd()) {
            Ok(id) => id,
            Err(e) => return Ok(Err(e.to_string())),
        };
        // While it is open it holds the namespace.
        drop(file);
        let all = match statmount::all(id) {
            Ok(all) => all,
            Err(e) => return Ok(Err(e.to_string())),
        };
        if let Namespace::Of(process) = namespace
            && !has_root(process.pid, &all)
        {
            namespace.confirm()?;
            let why = format!("process {} has a root directory of its own", process.pid);
            return Ok(Err(why));
        }
        let register = Register::open().map_err(|e| WatchError::io("starting a thread", e))?;
        Ok(Ok(Self {
            group,
            namespace: id,
            base: base(&all).unwrap_or_default(),
            known: Known::new(all),
            register,
        }))
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.group.as_fd()
    }

    /// Takes in what the kernel has told by now.
    pub(super) fn look(&mut self, sink: &mut Sink) -> io::Result<Life> {
        let mut last = None;
        loop {
            let said = self.group.read()?;
            if said.is_empty() || sink.is_stopping() {
                return Ok(Life::GoesOn);
            }
            for said in said {
                if self.one(said, &mut last, sink)? == Life::IsOver {
                    sink.hand_on();
                    return Ok(Life::IsOver);
                }
            }
            sink.hand_on();
        }
    }

    fn one(&mut self, said: Said, last: &mut Last, sink: &mut Sink) -> io::Result<Life> {
        let Said { what, by } = said;
        if what == News::Detached(self.base) {
            return Ok(Life::IsOver);
        }
        // Before all else: who mounts may end at once, and the mount stays.
        let by = by.map(|by| who(&by, last, &mut self.register));
        let told = match what {
            News::Attached(id) => {
                let found = statmount::in_namespace(self.namespace, id)?;
                Vec::from_iter(self.known.attached(id, found))
            }
            News::Detached(id) => Vec::from_iter(self.known.detached(id)),
            News::Moved | News::Overflow => {
                let Some(all) = self.all()? else {
                    return Ok(Life::IsOver);
                };
                if what == News::Moved {
                    self.known.moved(all)
                } else {
                    sink.lost();
                    self.known.reread(all)
                }
            }
        };
        for told in told {
            sink.take(told, by.clone());
        }
        Ok(Life::GoesOn)
    }

    /// The whole table; none when the namespace is gone.
    fn all(&self) -> io::Result<Option<Vec<UniqueMount>>> {
        match statmount::all(self.namespace) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            all => all.map(Some),
        }
    }

    pub(super) fn namespace_is_there(&self) -> bool {
        matches!(self.all(), Ok(Some(_)))
    }
}

/// Whom the last event was of: one process often does many things at once.
type Last = Option<(u32, Arc<Doer>)>;

fn who(actor: &Actor, last: &mut Last, register: &mut Register) -> Arc<Doer> {
    if let Some((pid, doer)) = last
        && *pid == actor.pid
    {
        return Arc::clone(doer);
    }
    let doer = Arc::new(if actor.is_there {
        register.look_up(actor.pid)
    } else {
        Doer::gone(actor.pid)
    });
    *last = Some((actor.pid, Arc::clone(&doer)));
    doer
}

/// The mounts at `/`: where the process is at home.
fn roots<'a>(mounts: impl Iterator<Item = &'a Mount>) -> BTreeSet<u64> {
    let roots = mounts.filter(|m| m.point == Path::new("/"));
    roots.map(|m| m.id).collect()
}

/// Whether a process sees a namespace from the root that the kernel tells it
/// from; after a chroot(2) it would know each mount by another path.
fn has_root(pid: u32, all: &[UniqueMount]) -> bool {
    MountTable::of(pid)
        .is_ok_and(|table| roots(table.mounts.iter()) == roots(all.iter().map(|u| &u.mount)))
}

/// The mount that the root lies on; it is in no table.
fn base(all: &[UniqueMount]) -> Option<u64> {
    let ids: BTreeSet<u64> = all.iter().map(|u| u.unique_id).collect();
    let root = |u: &&UniqueMount| {
        u.mount.point == Path::new("/")
            && (u.unique_parent == u.unique_id || !ids.contains(&u.unique_parent))
    };
    all.iter().find(root).map(|u| u.unique_parent)
}
