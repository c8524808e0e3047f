//! What is told of mounts and unmounts, step by step.

use crate::{Done, Folder, bind, flags, let_go, tmpfs};
use csi_harness::node::watch::{Change, How, Namespace};
use csi_harness::node::{MountEvent, MountTable, Watch};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

/// What the two ways have to agree on: what, where, source, type. Within one
/// system call there is no order.
type Plain = (Change, Vec<u8>, String, String);

fn plain(events: &[MountEvent], folder: &Path) -> Vec<Plain> {
    let mut all: Vec<Plain> = events.iter().map(|e| one(e, folder)).collect();
    all.sort();
    all
}

fn one(event: &MountEvent, folder: &Path) -> Plain {
    let Some(mount) = &event.mount else {
        return (event.what, b"?".to_vec(), String::new(), String::new());
    };
    let point = mount.point.strip_prefix(folder).unwrap_or(&mount.point);
    let point = point.as_os_str().as_bytes().to_vec();
    let source = mount.source.to_string_lossy().into_owned();
    (event.what, point, source, mount.fs_type.clone())
}

/// `+` came, `-` went: the mount point and the source, of a tmpfs.
fn expected(list: &[(&str, &[u8], &str)]) -> Vec<Plain> {
    let one = |&(sign, point, source): &(&str, &[u8], &str)| {
        let what = match sign {
            "+" => Change::Attached,
            _ => Change::Detached,
        };
        (what, point.to_vec(), source.to_owned(), "tmpfs".to_owned())
    };
    let mut all: Vec<Plain> = list.iter().map(one).collect();
    all.sort();
    all
}

type Told<'a> = Vec<(&'a str, &'a [u8], &'a str)>;

/// One step: its name, what is done in a folder, and what is to be told of it.
type Step<'a> = (&'a str, fn(&Path) -> nix::Result<()>, Told<'a>);

fn moved(from: &Path, to: &Path) -> nix::Result<()> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_MOVE, None::<&str>)
}

fn tree(from: &Path, to: &Path) -> nix::Result<()> {
    let recursive = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(from), to, None::<&str>, recursive, None::<&str>)
}

fn unmount(at: &Path) -> nix::Result<()> {
    umount2(at, MntFlags::empty())
}

fn folder(at: &Path) -> nix::Result<()> {
    nix::unistd::mkdir(at, nix::sys::stat::Mode::S_IRWXU)
}

const NASTY: [&[u8]; 4] = [b"two words", b"new\nline", b"back\\slash\\040", b"\xff\xfe"];

fn script() -> Vec<Step<'static>> {
    vec![
        (
            "a tmpfs",
            |f| tmpfs(&f.join("a"), "one"),
            vec![("+", b"a", "one")],
        ),
        (
            "another over it",
            |f| tmpfs(&f.join("a"), "two"),
            vec![("+", b"a", "two")],
        ),
        (
            "and another",
            |f| tmpfs(&f.join("a"), "three"),
            vec![("+", b"a", "three")],
        ),
        (
            "one of the stack away",
            |f| unmount(&f.join("a")),
            vec![("-", b"a", "three")],
        ),
        (
            "a bind mount",
            |f| bind(&f.join("a"), &f.join("b")),
            vec![("+", b"b", "two")],
        ),
        (
            "it goes",
            |f| unmount(&f.join("b")),
            vec![("-", b"b", "two")],
        ),
        (
            "a mount below",
            |f| folder(&f.join("a/k")).and_then(|()| tmpfs(&f.join("a/k"), "kid")),
            vec![("+", b"a/k", "kid")],
        ),
        (
            "both of them bound",
            |f| tree(&f.join("a"), &f.join("b")),
            vec![("+", b"b", "two"), ("+", b"b/k", "kid")],
        ),
        (
            "a tree moved",
            |f| moved(&f.join("b"), &f.join("c")),
            vec![
                ("-", b"b", "two"),
                ("-", b"b/k", "kid"),
                ("+", b"c", "two"),
                ("+", b"c/k", "kid"),
            ],
        ),
        (
            "a tree let go lazily",
            |f| let_go(&f.join("c")),
            vec![("-", b"c", "two"), ("-", b"c/k", "kid")],
        ),
        (
            "a mount that goes and another that comes",
            |f| unmount(&f.join("a/k")).and_then(|()| tmpfs(&f.join("a/k"), "other")),
            vec![("-", b"a/k", "kid"), ("+", b"a/k", "other")],
        ),
        (
            "the top of the stack, and what is below it",
            |f| let_go(&f.join("a")),
            vec![("-", b"a", "two"), ("-", b"a/k", "other")],
        ),
        (
            "a shared mount and its peer",
            |f| {
                flags(&f.join("a"), MsFlags::MS_SHARED)?;
                bind(&f.join("a"), &f.join("b"))?;
                folder(&f.join("a/s"))
            },
            vec![("+", b"b", "one")],
        ),
        (
            "one mount that shows twice",
            |f| tmpfs(&f.join("a/s"), "seen twice"),
            vec![("+", b"a/s", "seen twice"), ("+", b"b/s", "seen twice")],
        ),
        (
            "one unmount that shows twice",
            |f| unmount(&f.join("b/s")),
            vec![("-", b"a/s", "seen twice"), ("-", b"b/s", "seen twice")],
        ),
        (
            "the rest of the stack",
            |f| let_go(&f.join("b")).and_then(|()| let_go(&f.join("a"))),
            vec![("-", b"a", "one"), ("-", b"b", "one")],
        ),
        (
            "nasty names",
            |f| {
                NASTY.iter().try_for_each(|name| {
                    let at = f.join(OsStr::from_bytes(name));
                    folder(&at).and_then(|()| tmpfs(&at, " odd #\\source\n"))
                })
            },
            NASTY
                .iter()
                .map(|&n| ("+", n, " odd #\\source\n"))
                .collect(),
        ),
        (
            "the folder that holds them all covered",
            |f| tmpfs(f, "cover"),
            vec![("+", b"", "cover")],
        ),
        (
            "a mount on the cover",
            |f| folder(&f.join("a")).and_then(|()| tmpfs(&f.join("a"), "on the cover")),
            vec![("+", b"a", "on the cover")],
        ),
        (
            "the cover away with it",
            let_go,
            vec![("-", b"a", "on the cover"), ("-", b"", "cover")],
        ),
        (
            "the nasty ones away",
            |f| {
                NASTY
                    .iter()
                    .try_for_each(|n| unmount(&f.join(OsStr::from_bytes(n))))
            },
            NASTY
                .iter()
                .map(|&n| ("-", n, " odd #\\source\n"))
                .collect(),
        ),
    ]
}

fn play(how: &[How]) -> Result<Vec<Vec<MountEvent>>, Box<dyn Error>> {
    let folder = Folder::new()?;
    for name in ["a", "b", "c"] {
        folder.sub(name)?;
    }
    let watches = how.iter().map(|&how| folder.watch(how));
    let watches: Vec<Watch> = watches.collect::<Result<_, _>>()?;
    for (name, act, told) in script() {
        let before: Vec<_> = watches.iter().map(Watch::cursor).collect();
        act(folder.path()).map_err(|e| format!("{name}: {e}"))?;
        for (watch, before) in watches.iter().zip(before) {
            watch.sync()?;
            let seen = plain(&watch.since(before), folder.path());
            assert_eq!(seen, expected(&told), "{name}, by {}", watch.how());
        }
    }
    for watch in &watches {
        assert_eq!(watch.counts().losses, 0);
        assert_eq!(watch.ended(), None);
    }
    Ok(watches.iter().map(Watch::events).collect())
}

pub(crate) fn told_by(how: How) -> Done {
    let events = play(&[how])?.concat();
    let times: Vec<_> = events.iter().map(|e| e.at).collect();
    assert!(times.is_sorted(), "one after another");
    let has_id = events.iter().all(|e| e.unique_id.is_some());
    assert_eq!(has_id, how == How::Fanotify);
    Ok(())
}

pub(crate) fn told_by_both() -> Done {
    let both = play(&[How::Fanotify, How::Poll])?;
    let [events, table] = &both[..] else {
        return Err("two watches".into());
    };
    assert!(!events.is_empty());
    // The ids that mountinfo has are told by both.
    let ids = |events: &[MountEvent]| {
        let mut ids: Vec<_> = events
            .iter()
            .filter_map(|e| Some((e.what, e.mount.as_ref()?.id, e.mount.as_ref()?.dev())))
            .collect();
        ids.sort_unstable();
        ids
    };
    assert_eq!(ids(events), ids(table));
    Ok(())
}

/// A remount, another propagation, a mount namespace that is copied.
pub(crate) fn alterations(how: How) -> Done {
    let folder = Folder::new()?;
    let (a, b) = (folder.sub("a")?, folder.sub("b")?);
    tmpfs(&a, "one")?;
    bind(&a, &b)?;
    let watch = folder.watch(how)?;
    flags(
        &b,
        MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY,
    )?;
    flags(&a, MsFlags::MS_REMOUNT | MsFlags::MS_NOSUID)?;
    flags(&a, MsFlags::MS_SHARED)?;
    flags(&a, MsFlags::MS_UNBINDABLE)?;
    let copied = Command::new("unshare").args(["--mount", "true"]).status()?;
    assert!(copied.success());
    watch.sync()?;
    assert_eq!(watch.events(), []);
    unmount(&b)?;
    watch.sync()?;
    let [gone] = &watch.events()[..] else {
        return Err(format!("{:?}", watch.events()).into());
    };
    assert!(gone.detaches_at(&b) && !gone.attaches_at(&b));
    Ok(())
}

/// What was there at the start is no event, and is known when it goes.
pub(crate) fn baseline(how: How) -> Done {
    let folder = Folder::new()?;
    let a = folder.sub("a")?;
    tmpfs(&a, "early")?;
    let line = MountTable::ours()?.at(&a).pop().cloned().ok_or("there")?;
    let watch = folder.watch(how)?;
    watch.sync()?;
    assert_eq!(watch.events(), []);
    unmount(&a)?;
    watch.sync()?;
    let events = watch.events();
    let [gone] = &events[..] else {
        return Err(format!("{events:?}").into());
    };
    assert_eq!(gone.what, Change::Detached);
    assert_eq!(
        gone.mount.as_deref(),
        Some(&line),
        "all that was known of it"
    );
    assert!(
        gone.to_string()
            .starts_with(&format!("detached: {}", line.line()))
    );
    Ok(())
}

/// Elsewhere is counted; a mount above what is looked at is no elsewhere.
pub(crate) fn places(how: How) -> Done {
    let folder = Folder::new()?;
    let (near, far) = (folder.sub("near")?, folder.sub("far")?);
    fs::create_dir(near.join("below"))?;
    let paths = [near.join("below")];
    let watch = Watch::start_at(Namespace::Ours, how, &paths)?;
    tmpfs(&far, "far")?;
    let moved_to = folder.sub("moved")?;
    moved(&far, &moved_to)?;
    tmpfs(&near, "above")?;
    let end = watch.sync()?;
    let seen = plain(&watch.events(), folder.path());
    assert_eq!(seen, expected(&[("+", b"near", "above")]));
    assert!(watch.counts().elsewhere >= 1, "{:?}", watch.counts());
    assert_eq!(watch.since(end), []);
    assert_eq!(watch.cursor(), end);
    Ok(())
}

/// Each of many mounts that come and go faster than one can look at them.
pub(crate) fn hurry() -> Done {
    const MANY: usize = 2_000;
    let folder = Folder::new()?;
    let a = folder.sub("a")?;
    let watch = folder.watch(How::Fanotify)?;
    let mut stands = false;
    for _ in 0..MANY {
        tmpfs(&a, "short")?;
        stands |= !MountTable::ours()?.at(&a).is_empty();
        unmount(&a)?;
    }
    watch.sync()?;
    assert!(stands);
    // What was gone before it was looked at has no place.
    let mut by_id: BTreeMap<u64, Vec<Change>> = BTreeMap::new();
    for event in watch.events() {
        let id = event.unique_id.ok_or("no id")?;
        by_id.entry(id).or_default().push(event.what);
        let placed = event.mount.is_none_or(|m| m.point == a);
        assert!(placed);
    }
    assert_eq!(by_id.len(), MANY);
    for (id, whats) in by_id {
        assert_eq!(whats, [Change::Attached, Change::Detached], "mount {id}");
    }
    Ok(())
}

/// All fields, with all options.
pub(crate) fn same_mounts() -> Done {
    let folder = Folder::new()?;
    let watch = folder.watch(How::Fanotify)?;
    let all = [
        MsFlags::empty(),
        MsFlags::MS_RDONLY | MsFlags::MS_SYNCHRONOUS,
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_NOATIME,
        MsFlags::MS_NODIRATIME | MsFlags::MS_DIRSYNC | MsFlags::MS_LAZYTIME,
        MsFlags::MS_STRICTATIME,
    ];
    for (n, flags) in all.into_iter().enumerate() {
        let at = folder.sub(n.to_string())?;
        let data = Some("size=1m,mode=700");
        mount(Some("source"), &at, Some("tmpfs"), flags, data)?;
    }
    watch.sync()?;
    let table = MountTable::ours()?;
    let below = table.under(folder.path());
    let events = watch.events();
    assert_eq!(events.len(), all.len());
    for (event, mount) in events.iter().zip(below) {
        assert_eq!(event.mount.as_deref(), Some(mount));
    }
    Ok(())
}
