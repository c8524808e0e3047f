//! Faults of single system calls, which a reference driver can be told to have:
//! `--mutate [RPC:]CALL[:N]=HOW`.
//!
//! A [`defect`](crate::defect) is a bug that somebody had; a mutation is any that
//! one could have. Every way in which a call can go wrong unseen is tried at every
//! place where a driver makes it, so that the checks are measured by what nobody
//! thought of.

use std::fmt;
use std::io;
use std::path::Path;
use std::str::FromStr;

use csi_proto::rpc;

pub use crate::sys::rpc::START;

/// What goes wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum How {
    /// It is not made, and success is answered; of a call that answers with more
    /// than success, something plausible. Who looks sees that it was not made.
    Skip,
    /// The same, and what the driver looks up afterwards in the same RPC says that
    /// it was made: a driver that looks whether it worked is deceived as well.
    Lie,
    /// The same as a lie, and 1.5 s later it is made after all.
    Late,
    /// It is made again once it was made; the first answer counts.
    Twice,
    /// It is not made, and fails with EIO.
    Error,
    /// It is made on another volume's object, where one is known.
    WrongTarget,
    /// It is made on the right object and from another volume's: the wrong disk is
    /// mounted at the right place.
    WrongSource,
}

impl How {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Skip,
        Self::Lie,
        Self::Late,
        Self::Twice,
        Self::Error,
        Self::WrongTarget,
        Self::WrongSource,
    ];

    /// Its word on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Lie => "lie",
            Self::Late => "late",
            Self::Twice => "twice",
            Self::Error => "error",
            Self::WrongTarget => "wrong-target",
            Self::WrongSource => "wrong-source",
        }
    }

    /// What it does, in one line.
    pub fn what(self) -> &'static str {
        match self {
            Self::Skip => "not made, and success answered",
            Self::Lie => "the same, and the driver's own looks in that RPC say that it was made",
            Self::Late => "the same as lie, and made 1.5 s later",
            Self::Twice => "made, and made once more",
            Self::Error => "not made, and fails with EIO",
            Self::WrongTarget => "made on another volume's object, where one is known",
            Self::WrongSource => "made from another volume's object, where one is known",
        }
    }
}

/// The ways in which a call that answers no more than success can go wrong.
const EFFECT: &[How] = &[
    How::Skip,
    How::Late,
    How::Twice,
    How::Error,
    How::WrongTarget,
];
/// The same, of a call that also takes something from somewhere.
const TWO_OBJECTS: &[How] = &[
    How::Skip,
    How::Late,
    How::Twice,
    How::Error,
    How::WrongTarget,
    How::WrongSource,
];
/// Of a call whose effect the driver itself may look at.
const LOOKED_AT: &[How] = &[
    How::Skip,
    How::Lie,
    How::Late,
    How::Twice,
    How::Error,
    How::WrongTarget,
];
/// Of a mount.
const MOUNTED: &[How] = &How::ALL;
/// Of a call that is made for its answer.
const ANSWER: &[How] = &[How::Lie, How::Error, How::WrongTarget];
/// Of one that has no object.
const NO_OBJECT: &[How] = &[How::Lie, How::Error];

/// Of one that must be undone, by whoever made it: what is late is undone by nobody.
const NOT_UNDONE: &[How] = &[How::Skip, How::Error];

macro_rules! calls {
    ($($call:ident = $name:literal, $hows:ident: $what:literal;)*) => {
        /// The calls that a driver makes to the kernel and to helper programs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Call {
            $(#[doc = $what] $call,)*
        }

        impl Call {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$call),*];

            /// Its name on the command line.
            pub fn name(self) -> &'static str {
                match self { $(Self::$call => $name,)* }
            }

            /// What it is, in one line.
            pub fn what(self) -> &'static str {
                match self { $(Self::$call => $what,)* }
            }

            /// The ways in which it can go wrong and that differ from one another.
            pub fn hows(self) -> &'static [How] {
                match self { $(Self::$call => $hows,)* }
            }
        }
    };
}

calls! {
    Mount = "mount", MOUNTED: "mount(2): of a device, of a bind, of new flags";
    Umount = "umount", LOOKED_AT: "umount2(2)";
    MountTable = "mountinfo", NO_OBJECT: "a look at /proc/thread-self/mountinfo; the lie is an empty table";
    Open = "open", ANSWER: "open(2), also where it makes the file; the lie is an empty file elsewhere";
    Mkdir = "mkdir", EFFECT: "mkdir(2)";
    Mknod = "mknod", EFFECT: "mknod(2)";
    Rmdir = "rmdir", EFFECT: "rmdir(2)";
    Unlink = "unlink", EFFECT: "unlink(2)";
    Symlink = "symlink", EFFECT: "symlink(2)";
    Rename = "rename", TWO_OBJECTS: "rename(2)";
    Truncate = "truncate", EFFECT: "ftruncate(2)";
    Write = "write", EFFECT: "write(2) of a whole file";
    Fsync = "fsync", EFFECT: "fsync(2), of files, folders and devices";
    Chmod = "chmod", EFFECT: "chmod(2)";
    Read = "read", ANSWER: "a direct read of the disk, to see whether it answers";
    Copy = "copy", TWO_OBJECTS: "a copy of a whole file, flushed";
    Freeze = "freeze", NOT_UNDONE: "FIFREEZE; the thaw is always made";
    Statfs = "statfs", ANSWER: "statfs(2)";
    LoopFree = "loop-free", NO_OBJECT: "LOOP_CTL_GET_FREE; the lie is 0";
    LoopConfigure = "loop-configure", TWO_OBJECTS: "LOOP_CONFIGURE";
    LoopClear = "loop-clear", LOOKED_AT: "LOOP_CLR_FD";
    LoopCapacity = "loop-capacity", EFFECT: "LOOP_SET_CAPACITY";
    LoopStatus = "loop-status", ANSWER: "LOOP_GET_STATUS64; the lie is all zeros";
    LoopSetStatus = "loop-set-status", EFFECT: "LOOP_SET_STATUS64";
    DmCreate = "dm-create", EFFECT: "dmsetup create";
    DmReload = "dm-reload", EFFECT: "dmsetup load and resume";
    DmRemove = "dm-remove", EFFECT: "dmsetup remove";
    BlockReadOnly = "block-read-only", EFFECT: "BLKROSET";
    Mkfs = "mkfs", EFFECT: "mkfs.ext4, mkfs.xfs, mkfs.btrfs";
    Fsck = "fsck", EFFECT: "e2fsck";
    Grow = "growfs", EFFECT: "resize2fs, EXT4_IOC_RESIZE_FS, xfs_growfs, btrfs filesystem resize";
    MountNfs = "mount.nfs", MOUNTED: "mount.nfs(8)";
    Remove = "rm", EFFECT: "the removal of a whole folder";
    Kill = "kill", EFFECT: "kill(2) of a helper that was left";
    Command = "command", EFFECT: "any other program";
}

impl Call {
    /// The call that running this program is.
    pub fn of_program(name: &str) -> Self {
        match name {
            "e2fsck" => Self::Fsck,
            "resize2fs" | "xfs_growfs" | "btrfs" => Self::Grow,
            "rm" => Self::Remove,
            name if name.starts_with("mkfs.") => Self::Mkfs,
            name if name.starts_with("mount.nfs") => Self::MountNfs,
            _ => Self::Command,
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One fault of one call.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mutation {
    /// In which RPC, or [`START`]; in every RPC where none is named.
    pub rpc: Option<String>,
    /// Of which call.
    pub call: Call,
    /// The how-manieth such call of an RPC, from 1 on; every one where there is none.
    pub number: Option<u32>,
    /// What goes wrong.
    pub how: How,
}

impl Mutation {
    /// Whether it is the N-th call of this kind in this RPC that goes wrong.
    pub(crate) fn bends(&self, rpc: &str, call: Call, number: u32) -> bool {
        let in_rpc = match &self.rpc {
            Some(named) => named == rpc,
            None => rpc != START,
        };
        in_rpc && self.call == call && self.number.is_none_or(|wanted| wanted == number)
    }
}

impl fmt::Display for Mutation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(rpc) = &self.rpc {
            write!(f, "{rpc}:")?;
        }
        write!(f, "{}", self.call)?;
        if let Some(number) = self.number {
            write!(f, ":{number}")?;
        }
        write!(f, "={}", self.how)
    }
}

/// A mutation that is none.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} is no mutation ([RPC:]CALL[:N]=HOW): {why}; see --list-mutations")]
pub struct NoMutation {
    text: String,
    why: String,
}

impl FromStr for Mutation {
    type Err = NoMutation;

    fn from_str(text: &str) -> Result<Self, NoMutation> {
        parse(text).map_err(|why| NoMutation {
            text: text.to_owned(),
            why,
        })
    }
}

fn parse(text: &str) -> Result<Mutation, String> {
    let (place, how) = text.split_once('=').ok_or("it says not how")?;
    let how = How::ALL
        .into_iter()
        .find(|known| known.name() == how)
        .ok_or_else(|| format!("{how:?} is no way to go wrong"))?;
    let mut parts: Vec<_> = place.split(':').collect();
    let number = match parts.last().map(|last| last.parse::<u32>()) {
        Some(Ok(0)) => return Err("the first call is number 1".to_owned()),
        Some(Ok(number)) => {
            parts.pop();
            Some(number)
        }
        _ => None,
    };
    let (rpc, call) = match parts.as_slice() {
        [call] => (None, *call),
        [rpc, call] => (Some((*rpc).to_owned()), *call),
        _ => return Err("there are too many colons".to_owned()),
    };
    if let Some(rpc) = &rpc
        && rpc != START
        && !rpc::unary().iter().any(|(_, name, _)| name == rpc)
    {
        return Err(format!("{rpc:?} is no RPC"));
    }
    let call = Call::ALL
        .iter()
        .copied()
        .find(|known| known.name() == call)
        .ok_or_else(|| format!("{call:?} is no call"))?;
    // Where nobody looks whether a call was made, a lie is a skip.
    if !call.hows().contains(&how) && !matches!(how, How::Skip | How::Lie) {
        return Err(format!("{call} does not go wrong in this way"));
    }
    Ok(Mutation {
        rpc,
        call,
        number,
        how,
    })
}

/// Lets this process go wrong in these ways from now on, and write a line for each
/// call to the kernel to the end of a file: RPC, volume, call, number of such calls
/// in that RPC so far, object, what went wrong (`-`: nothing), what came of it, and,
/// where nothing is to go wrong, whether another volume's object was known that it could
/// have been made on (`wrong-target`, `wrong-source`, `both`, `-`); with tabs between
/// them. To be called once, before a driver is served.
///
/// # Errors
///
/// The file cannot be opened, or this was called before.
pub fn arm(mutations: Vec<Mutation>, trace: Option<&Path>) -> io::Result<()> {
    crate::sys::mutant::arm(mutations, trace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_a_mutation() {
        for text in [
            "mount=skip",
            "mount:2=twice",
            "NodePublishVolume:mount:1=wrong-source",
            "start:unlink=error",
        ] {
            let mutation: Mutation = text.parse().expect("good");
            assert_eq!(mutation.to_string(), text);
        }
        for bad in [
            "",
            "mount",
            "mount=",
            "mount=well",
            "mount:0=skip",
            "unmount=skip",
            "NodeMount:mount=skip",
            "a:b:mount=skip",
            "freeze=late",
        ] {
            assert!(bad.parse::<Mutation>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_number_counts_within_an_rpc_and_no_rpc_means_every() {
        let second: Mutation = "mount:2=skip".parse().expect("good");
        assert!(second.bends("NodePublishVolume", Call::Mount, 2));
        assert!(!second.bends("NodePublishVolume", Call::Mount, 1));
        assert!(!second.bends(START, Call::Mount, 2));
        let publish: Mutation = "NodePublishVolume:mount=skip".parse().expect("good");
        assert!(publish.bends("NodePublishVolume", Call::Mount, 7));
        assert!(!publish.bends("NodeStageVolume", Call::Mount, 7));
    }
}
