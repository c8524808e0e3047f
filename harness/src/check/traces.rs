//! What a workload leaves all over a volume, beyond one file at one place.

use std::ffi::CString;
use std::path::{Path, PathBuf};

use super::cx::Cx;
use super::marker::Marker;
use super::published::Published;
use super::see;
use super::step::{Access, Step};
use super::stop::{Checked, Stop};
use super::volume::Want;
use crate::node::look::Leave;
use crate::node::{Look, LookError, Seen};

/// Where the last of a block volume begins, counted from its end, in bytes.
const LAST: u64 = 4096;
/// How much lies at each place of the large file, and how far apart, in bytes.
const PIECE: usize = 4096;
const APART: u64 = 1 << 20;
/// The attribute of a file that has one.
const TAG: &str = "user.csi-conformance";

/// What was left, and how it was seen at once afterwards. What a file system does not
/// take, or shows otherwise from the first, is not among it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traces(Vec<Trace>);

/// One thing that was left.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Trace {
    what: String,
    at: At,
    seen: Saw,
}

/// Where it is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum At {
    /// In a file, from this byte on.
    File(PathBuf, u64),
    /// At this byte of a device.
    Device(u64),
    Link(PathBuf),
    Tag(PathBuf),
    /// Whether it is there, whose it is, and who may do what with it.
    Owner(PathBuf),
}

/// How it looks.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Saw {
    Bytes(Vec<u8>),
    Owner { mode: u32, uid: u32, gid: u32 },
    Nothing(String),
}

impl At {
    fn look(&self, target: &Path) -> Look {
        match self {
            Self::File(name, offset) => Look::ReadFile {
                path: target.join(name),
                offset: *offset,
                max: PIECE,
            },
            Self::Device(offset) => Look::ReadDevice {
                path: target.to_owned(),
                offset: *offset,
                len: 512,
            },
            Self::Link(name) => Look::ReadLink {
                path: target.join(name),
            },
            Self::Tag(name) => Look::ReadTag {
                path: target.join(name),
                name: c_string(TAG),
            },
            Self::Owner(name) => Look::Stat {
                path: target.join(name),
            },
        }
    }
}

/// Of a text of ours, which has no NUL.
fn c_string(text: &str) -> CString {
    CString::new(text).unwrap_or_default()
}

fn saw(answer: Result<Seen, LookError>) -> Saw {
    match answer {
        Ok(Seen::Bytes(bytes)) => Saw::Bytes(bytes),
        Ok(Seen::Stat(stat)) => Saw::Owner {
            mode: stat.mode,
            uid: stat.uid,
            gid: stat.gid,
        },
        Ok(other) => Saw::Nothing(format!("{other:?}")),
        Err(error) => Saw::Nothing(error.to_string()),
    }
}

impl std::fmt::Display for Saw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bytes(bytes) if bytes.iter().all(|byte| *byte == 0) => {
                write!(f, "{} zeros", bytes.len())
            }
            Self::Bytes(bytes) => write!(f, "{} other bytes", bytes.len()),
            Self::Owner { mode, uid, gid } => write!(f, "{uid}:{gid}, mode {mode:o}"),
            Self::Nothing(why) => f.write_str(why),
        }
    }
}

/// One thing to leave: what it is called, how it is left, and where it is seen.
type Thing = (&'static str, Vec<Look>, At);

/// What is left on a file system, one after the other; the folder is made first.
fn things(target: &Path, marker: &Marker, is_owned: bool) -> Vec<Thing> {
    let at = |name: &Path| target.join(name);
    let folder = PathBuf::from(format!("{}.d", marker.file()));
    let inner = |name: &str| folder.join(name);
    let write = |name: &Path, offset: u64| Look::WriteFile {
        path: at(name),
        offset,
        bytes: marker.bytes().into_iter().cycle().take(PIECE).collect(),
        create: true,
        truncate: offset == 0,
        fsync: true,
    };
    let leave = |name: &Path, what: Leave| Look::Leave {
        path: at(name),
        what,
    };
    let hidden = PathBuf::from(format!(".{}", marker.file()));
    let long = inner(&format!(
        "{}-\u{e9}\u{20ac} of a long name",
        "x".repeat(180)
    ));
    let (empty, link, owned) = (inner("empty"), inner("link"), inner("owned"));
    let (tagged, large) = (inner("tagged"), inner("large"));
    let mut things = vec![
        (
            "a file in a folder",
            vec![leave(&folder, Leave::Folder), write(&inner("file"), 0)],
            At::File(inner("file"), 0),
        ),
        (
            "a file whose name begins with a dot",
            vec![write(&hidden, 0)],
            At::File(hidden, 0),
        ),
        (
            "a file of a long name",
            vec![write(&long, 0)],
            At::File(long, 0),
        ),
        (
            "an empty folder",
            vec![leave(&empty, Leave::Folder)],
            At::Owner(empty),
        ),
        (
            "a symbolic link",
            vec![leave(&link, Leave::Link(c_string("file")))],
            At::Link(link),
        ),
        (
            "an extended attribute",
            vec![
                write(&tagged, 0),
                leave(
                    &tagged,
                    Leave::Tag {
                        name: c_string(TAG),
                        value: marker.bytes(),
                    },
                ),
            ],
            At::Tag(tagged),
        ),
    ];
    for (what, offset) in [
        ("the beginning of a large file", 0),
        ("the middle of a large file", APART),
        ("the end of a large file", 3 * APART),
    ] {
        things.push((
            what,
            vec![write(&large, offset)],
            At::File(large.clone(), offset),
        ));
    }
    if is_owned {
        let owner = |mode| Leave::Owner {
            uid: 1234,
            gid: 2345,
            mode,
        };
        let (theirs, root) = (owner(0o640), PathBuf::new());
        things.push((
            "the owner and the mode of the root folder",
            vec![leave(&root, owner(0o2775))],
            At::Owner(root),
        ));
        things.push((
            "the owner and the mode of a file",
            vec![write(&owned, 0), leave(&owned, theirs)],
            At::Owner(owned),
        ));
    }
    things
}

impl Cx {
    /// A volume in use, of which the data is kept, and all that was left in it.
    ///
    /// # Errors
    /// A step failed; its data is not kept; or nothing can be left in it.
    pub async fn left_in(&self, want: Want) -> Result<(Published<'_>, Traces), Stop> {
        let volume = self.volume(want).await?;
        volume.keeps_data()?;
        let target = volume.stage().await?.publish("a").await?;
        let traces = target.leave_traces().await?;
        Ok((target, traces))
    }
}

impl Published<'_> {
    /// Leaves one thing of each kind in the volume: in a file system what it takes of
    /// files, folders, links, attributes and owners; on a device a marker near its
    /// beginning, in the middle and at its very end.
    ///
    /// # Errors
    /// Nothing at all can be written: the failure of the write step; or we are not
    /// allowed to write to this volume.
    pub async fn leave_traces(&self) -> Result<Traces, Stop> {
        self.is_for_writing()?;
        self.may_write()?;
        self.is_still_there("before a write").await?;
        let marker = Marker::new()?;
        let mut left = Vec::new();
        match self.staged.volume.access() {
            Access::Mount => {
                let config = &self.cx().session.config().volume;
                // Who is told of a group gives what is there to it, as is asked.
                let is_owned = config.mount_group.is_none();
                for (what, looks, at) in things(&self.target.ours, &marker, is_owned) {
                    if self.leaves(looks).await? {
                        left.push((what, at));
                    }
                }
            }
            Access::Block => {
                let size = self.size().await?;
                for (what, offset) in [
                    ("near the beginning", APART),
                    ("in the middle", (size / 2).next_multiple_of(LAST)),
                    ("at the end", size.saturating_sub(LAST)),
                ] {
                    if offset + LAST <= size && self.leaves_on_device(&marker, offset).await? {
                        left.push((what, At::Device(offset)));
                    }
                }
            }
        }
        let mut traces = Vec::new();
        for (what, at) in left {
            let seen = saw(see::look(self.cx(), at.look(&self.target.ours)).await?);
            if !matches!(seen, Saw::Nothing(_)) {
                let what = what.to_owned();
                traces.push(Trace { what, at, seen });
            }
        }
        if traces.is_empty() {
            let step = Step::Write(self.staged.volume.access());
            let why = "a writer published the volume, and can leave nothing in it";
            return Err(self.cx().blame(step, why));
        }
        let told: Vec<_> = traces.iter().map(|trace| trace.what.as_str()).collect();
        self.cx().fact("left", told.join(", "));
        Ok(Traces(traces))
    }

    async fn leaves(&self, looks: Vec<Look>) -> Result<bool, Stop> {
        for look in looks {
            if see::look(self.cx(), look).await?.is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn leaves_on_device(&self, marker: &Marker, offset: u64) -> Result<bool, Stop> {
        let Ok(only) = see::own_disk(self.cx(), &self.target).await? else {
            return Ok(false);
        };
        let look = Look::WriteDevice {
            path: self.target.ours.clone(),
            only,
            offset,
            // What lies at another place is another thing.
            bytes: marker.bytes_at(offset),
            fsync: true,
        };
        Ok(see::look(self.cx(), look).await?.is_ok())
    }

    /// All that was left is there, as it was.
    ///
    /// # Errors
    /// Something is not. Where it is all there, and only belongs to others or may be used
    /// by others, that is a warning.
    pub async fn shows_traces(&self, traces: &Traces) -> Checked {
        let (mut lost, mut given_away) = (Vec::new(), Vec::new());
        for trace in &traces.0 {
            let seen = saw(see::look(self.cx(), trace.at.look(&self.target.ours)).await?);
            match (&trace.seen, &seen) {
                (was, is) if was == is => {}
                (was @ Saw::Owner { .. }, is @ Saw::Owner { .. }) => {
                    given_away.push(format!("{} (was {was}; is {is})", trace.what));
                }
                _ => lost.push(format!("{} ({seen})", trace.what)),
            }
        }
        let all: Vec<_> = lost.iter().chain(&given_away).cloned().collect();
        let told = format!(
            "of what was left in the volume, this is not there as it was: {}",
            all.join("; ")
        );
        match (lost.is_empty(), given_away.is_empty()) {
            (true, true) => Ok(()),
            (true, false) => Err(Stop::Warn(told)),
            (false, _) => Err(Stop::fail(told)),
        }
    }
}
