//! The defects that a reference driver can be told to have.
//!
//! Each stands for real bugs of real drivers, and is one small, deliberate lie.
//! A driver asks `defects.has(Defect::…)` at the one place where it bites.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// One deliberate fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Defect {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What the driver does wrong, in one line.
    pub what: &'static str,
    /// The drivers that know how.
    known_to: &'static [Kind],
}

/// A reference driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// [`looper`](crate::looper): volumes are files behind loop devices.
    Loop,
    /// [`nfs`](crate::nfs): volumes are folders of an NFS share.
    Nfs,
    /// [`fuse`](crate::fuse): volumes are folders, mounted by a process of their own.
    Fuse,
}

impl Kind {
    /// The driver's name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Loop => "loop",
            Self::Nfs => "nfs",
            Self::Fuse => "fuse",
        }
    }
}

impl Defect {
    /// Whether this driver can be told to have it.
    pub fn is_known_to(self, driver: Kind) -> bool {
        self.known_to.contains(&driver)
    }
}

const LOOP: &[Kind] = &[Kind::Loop];
const NFS: &[Kind] = &[Kind::Nfs];
const FUSE: &[Kind] = &[Kind::Fuse];
const ALL_OF_THEM: &[Kind] = &[Kind::Loop, Kind::Nfs, Kind::Fuse];
const BOTH: &[Kind] = &[Kind::Loop, Kind::Nfs];

macro_rules! defects {
    ($($constant:ident = $name:literal, $known_to:ident: $what:literal;)*) => {
        impl Defect {
            $(#[doc = $what] pub const $constant: Self =
                Self { name: $name, what: $what, known_to: $known_to };)*
        }

        static ALL: &[Defect] = &[$(Defect::$constant),*];
    };
}

defects! {
    ALREADY_MOUNTED_NO_HEALTH_CHECK = "already-mounted-no-health-check", BOTH: "a volume that has failed, or whose server is gone, is reported as published";
    ALREADY_MOUNTED_NO_IDENTITY_CHECK = "already-mounted-no-identity-check", BOTH: "any mount at the path counts as the volume being there already";
    ATTACH_READONLY_IGNORED = "attach-readonly-ignored", LOOP: "the readonly field of ControllerPublishVolume is not used";
    BLOCK_FORMATTED_AS_MOUNT = "block-formatted-as-mount", LOOP: "a raw block volume is given a file system when it is staged";
    CANCELLED_WORK_CONTINUES = "cancelled-work-continues", LOOP: "what a call has begun goes on when its caller gives up, and the volume is free for other calls meanwhile";
    CAPACITY_OVERSTATED = "capacity-overstated", LOOP: "CreateVolume tells twice the size that the volume has";
    CHMOD_ON_PUBLISH = "chmod-on-publish", BOTH: "the mode of the volume's root folder is forced to 0777 at every publish";
    CHOWN_ON_PUBLISH = "chown-on-publish", LOOP: "every file in the volume is given to root at every publish";
    CLONE_SAME_XFS_UUID = "clone-same-xfs-uuid", LOOP: "a copy of an xfs volume is mounted under the UUID of its source";
    CONDITION_ALWAYS_WELL = "condition-always-well", LOOP: "volume_condition tells of a volume that is well, whatever became of it";
    CONTEXT_LOST_ON_REPEAT = "context-lost-on-repeat", LOOP: "a repeated CreateVolume answers without volume_context";
    COPY_CUT_SHORT = "copy-cut-short", LOOP: "of a raw block volume the first half is copied, and the rest of the copy is empty";
    CRASH_MID_PUBLISH_NO_CONVERGE = "crash-mid-publish-no-converge", BOTH: "a publication is recorded after its mount; a mount without a record is neither accepted nor taken away";
    CREATE_LEAKS_ON_CANCEL = "create-leaks-on-cancel", LOOP: "a volume gets its name when it is made; where the caller gives up before, it never gets one";
    DELETE_DOES_NOTHING = "delete-does-nothing", ALL_OF_THEM: "DeleteVolume and DeleteSnapshot answer OK, and nothing is deleted";
    DELETE_EMPTIES_COPIES = "delete-empties-copies", LOOP: "DeleteVolume empties the volumes that were made from the one it deletes";
    DELETE_EMPTIES_DISK_IN_USE = "delete-empties-disk-in-use", LOOP: "DeleteVolume cuts the disk to nothing and answers OK while the volume is mounted";
    DELETE_EMPTIES_SOURCE = "delete-empties-source", LOOP: "DeleteVolume of a copy empties the volume that it was made from";
    DELETE_IN_USE_OK = "delete-in-use-ok", LOOP: "DeleteVolume answers OK and removes the disk while the volume is staged";
    DELETE_REMOVES_PARENT = "delete-removes-parent", NFS: "DeleteVolume removes the folder around the volume's, and all the volumes in it";
    DELETE_TAKES_ALL_SNAPSHOTS = "delete-takes-all-snapshots", LOOP: "DeleteSnapshot deletes every snapshot of the volume";
    DELETED_NAMES_STAY_KNOWN = "deleted-names-stay-known", FUSE: "CreateVolume answers for the name of a volume that was deleted what it answered before";
    DELETED_STAY_LISTED = "deleted-stay-listed", LOOP: "ListVolumes and ControllerGetVolume go on telling of volumes that were deleted";
    DETACH_FROM_ANY_NODE = "detach-from-any-node", LOOP: "ControllerUnpublishVolume takes the volume from whichever node has it";
    DEVICE_ALIAS_TRUSTED = "device-alias-trusted", LOOP: "the disk is taken from a link by name, wherever that leads by now";
    DIES = "dies", LOOP: "NodeStageVolume of an xfs volume kills the process";
    EDGE_REQUEST_PANICS = "edge-request-panics", BOTH: "a request without its volume capability kills the process";
    ESTALE_BLOCKS_UNPUBLISH = "estale-blocks-unpublish", BOTH: "NodeUnpublishVolume reads the target first, and gives up where that fails";
    EXPAND_NOOP_OK = "expand-noop-ok", LOOP: "NodeExpandVolume answers OK and grows nothing";
    EXPAND_ONLY_ONCE = "expand-only-once", LOOP: "the second ControllerExpandVolume of a volume answers OK and grows nothing";
    EXPAND_TELLS_OLD_SIZE = "expand-tells-old-size", LOOP: "ControllerExpandVolume tells the size that the volume had before";
    EXPAND_XFS_WRONG_PATH = "expand-xfs-wrong-path", LOOP: "NodeExpandVolume calls xfs_growfs with the disk image in place of the mount point";
    FAILED_REPEAT_UNMOUNTS = "failed-repeat-unmounts", LOOP: "a stage or publish that fails unmounts what is at its path, also what was there before";
    FORMAT_ON_UNREADABLE = "format-on-unreadable", LOOP: "a volume that cannot be read, or holds what the driver does not know, counts as blank and is formatted";
    FORMAT_WHEN_MOUNT_FAILS = "format-when-mount-fails", LOOP: "a volume that cannot be mounted is formatted, and mounted then";
    FORMATTED_IN_MEMORY = "formatted-in-memory", LOOP: "which volumes have a file system is remembered in memory alone, and all others are formatted";
    FUSE_DIES_WITH_PLUGIN = "fuse-dies-with-plugin", FUSE: "the process that a volume is mounted by belongs to the plugin's process group, and is killed with it";
    GLOBAL_MUTEX = "global-mutex", BOTH: "one lock for all volumes is held through every call";
    GROUP_CUT_ONE_BY_ONE = "group-cut-one-by-one", LOOP: "the volumes of a group snapshot are cut one after the other, and not at one moment";
    GROUP_DELETE_KEEPS_MEMBERS = "group-delete-keeps-members", LOOP: "DeleteVolumeGroupSnapshot forgets the group and leaves its snapshots";
    GROUP_MEMBERS_SWAPPED = "group-members-swapped", LOOP: "the snapshots of a group hold one another's volumes";
    HOST_FS_OP_AFTER_MOUNT_LOST = "host-fs-op-after-mount-lost", LOOP: "CreateSnapshot changes the mode of the staging path for a while, whether the volume is mounted there or not";
    LABEL_AT_THE_END = "label-at-the-end", LOOP: "NodeUnstageVolume writes a label of the driver's own to the end of a raw block volume";
    LAZY_UMOUNT_HIDES_BUSY = "lazy-umount-hides-busy", BOTH: "every unmount is lazy, so that a busy volume seems to be gone";
    LIMIT_IGNORED = "limit-ignored", LOOP: "limit_bytes is not looked at";
    LIST_SKIPS_AT_PAGE = "list-skips-at-page", LOOP: "a page of ListVolumes or ListSnapshots that begins at a token leaves out its first entry";
    LIST_TOKEN_IGNORED = "list-token-ignored", LOOP: "ListVolumes begins with the first volume, whatever the starting_token";
    LOCK_NOT_RELEASED = "lock-not-released", BOTH: "a call that fails leaves its volume locked for ever";
    LOOP_LEFT_AFTER_UNSTAGE = "loop-left-after-unstage", LOOP: "the loop device stays attached after NodeUnstageVolume";
    MOUNT_ERROR_SWALLOWED = "mount-error-swallowed", BOTH: "an error of the mount is logged, and OK answered";
    MOUNT_FLAGS_DROPPED = "mount-flags-dropped", BOTH: "mount_flags are neither used at stage nor at publish";
    MOUNT_IN_PRIVATE_NAMESPACE = "mount-in-private-namespace", BOTH: "the driver mounts in a mount namespace of its own, which nobody else sees";
    NAMES_CUT_SHORT = "names-cut-short", LOOP: "the names of volumes and snapshots are cut to 63 bytes";
    NEVER_ANSWERS = "never-answers", BOTH: "the first NodePublishVolume that the process sees is never answered";
    NFS_BG_TRUSTED = "nfs-bg-trusted", NFS: "the mount flag bg is passed on, and an exit code of 0 counts as mounted";
    NFS_IN_PLUGIN_NETNS = "nfs-in-plugin-netns", NFS: "shares are mounted through a network that is the plugin's own, and ends with it";
    NO_PER_VOLUME_LOCK = "no-per-volume-lock", LOOP: "calls for one volume run at once; each stage attaches a loop device of its own";
    PUBLISH_BINDS_UNMOUNTED_STAGING = "publish-binds-unmounted-staging", BOTH: "NodePublishVolume binds the staging folder whether the volume is mounted there or not";
    PUBLISH_TIMEOUT_ABANDONS_MOUNT = "publish-timeout-abandons-mount", NFS: "a mount that takes too long is answered with an error, and its helper goes on";
    PUBLISHED_NODES_FORGOTTEN = "published-nodes-forgotten", LOOP: "ListVolumes names no node, wherever a volume is attached";
    PUBLISHED_NOTHING = "published-nothing", BOTH: "NodePublishVolume makes an empty folder at the target and mounts nothing";
    READ_ONLY_FOR_A_MOMENT = "read-only-for-a-moment", LOOP: "a read-only target becomes writable again a moment after the answer";
    READONLY_FLAG_IGNORED = "readonly-flag-ignored", BOTH: "the readonly field of NodePublishVolume is not used";
    REPEAT_UNPUBLISH_FAILS = "repeat-unpublish-fails", BOTH: "NodeUnpublishVolume and NodeUnstageVolume answer NOT_FOUND when there is nothing to undo";
    RESTORE_IGNORES_SOURCE = "restore-ignores-source", LOOP: "CreateVolume from a snapshot or another volume makes an empty volume";
    RESTORE_WRITES_INTO_SNAPSHOT = "restore-writes-into-snapshot", LOOP: "what is written to a restored volume is in its snapshot as soon as it is unstaged";
    RO_BIND_SINGLE_CALL = "ro-bind-single-call", BOTH: "a read-only bind mount is asked for in one call of mount(2), which ignores it";
    RO_BLOCK_BIND_ONLY = "ro-block-bind-only", LOOP: "a read-only block volume is the writable device behind a read-only bind mount";
    SAME_HANDLE_CONTEXT_IGNORED = "same-handle-context-ignored", BOTH: "a volume_context other than the first one seen for the volume is accepted, and ignored";
    SECRET_IN_ARGV = "secret-in-argv", BOTH: "the secrets of a publish stand on a helper's command line";
    SECRET_IN_LOG = "secret-in-log", BOTH: "every request is logged whole, secrets included";
    SIZE_ROUNDED_DOWN = "size-rounded-down", LOOP: "required_bytes is rounded down to whole MiB";
    SNAPSHOT_WITHOUT_SYNC = "snapshot-without-sync", LOOP: "a snapshot is copied from the disk while writes are still held back in memory";
    SNAPSHOTS_OF_ONE_MOMENT = "snapshots-of-one-moment", LOOP: "every later snapshot of a volume holds what the first one holds";
    SNSW_NOT_ENFORCED = "snsw-not-enforced", BOTH: "a second target is accepted for SINGLE_NODE_SINGLE_WRITER";
    STACK_ON_REPEAT_PUBLISH = "stack-on-repeat-publish", BOTH: "a repeated NodePublishVolume mounts once more over the first";
    STAGE_ERROR_DIR_THEN_OK = "stage-error-dir-then-ok", BOTH: "a stage (or publish, where there is none) that failed counts as done when it is repeated";
    STAGE_ERROR_LEAVES_DEVICE = "stage-error-leaves-device", LOOP: "a stage that fails leaves its loop device attached";
    STAGE_RETRY_SKIPS_GROW = "stage-retry-skips-grow", LOOP: "a stage that mounted and could not grow the file system counts as done when it is repeated";
    STALE_SOCKET_CRASHLOOP = "stale-socket-crashloop", BOTH: "a socket file left by a killed process makes every later start fail";
    STATE_ON_PRIVATE_PATH = "state-on-private-path", BOTH: "what is staged and published is remembered in memory alone; nothing remembered means nothing to undo";
    STATS_BLOCK_FOREVER = "stats-block-forever", NFS: "NodeGetVolumeStats waits for the server for ever, under a lock that all calls share";
    STATS_LEAVE_A_DESCRIPTOR = "stats-leave-a-descriptor", LOOP: "every NodeGetVolumeStats leaves a descriptor open";
    STATS_OF_PARENT_FS = "stats-of-parent-fs", BOTH: "NodeGetVolumeStats gives the numbers of whatever file system holds the path";
    STATS_OF_THE_FIRST = "stats-of-the-first", LOOP: "NodeGetVolumeStats gives the numbers of the volume that was measured first, as they were then";
    TARGET_DIR_LEFT = "target-dir-left", BOTH: "NodeUnpublishVolume leaves the mount point that NodePublishVolume made";
    UMOUNT_ONCE_THEN_REMOVEALL = "umount-once-then-removeall", BOTH: "NodeUnpublishVolume unmounts once and then removes what is at the target, files of the volume included";
    UNADVERTISED_RPC_PANICS = "unadvertised-rpc-panics", BOTH: "an RPC that is not offered kills the process";
    UNPUBLISH_OK_STILL_MOUNTED = "unpublish-ok-still-mounted", BOTH: "an error of umount(2) at NodeUnpublishVolume is logged, and OK answered";
    UNSTAGE_ERROR_AFTER_UMOUNT = "unstage-error-after-umount", LOOP: "the last step of an unstage fails once, and what is unmounted by then still counts as staged";
    UNSTAGE_OK_STILL_MOUNTED = "unstage-ok-still-mounted", BOTH: "an error of umount(2) at NodeUnstageVolume is logged, and OK answered";
    UNSYNCED_LOST_ON_UNSTAGE = "unsynced-lost-on-unstage", LOOP: "NodeUnstageVolume loses what was written and is not on the disk yet";
    VOLUME_ID_TRAVERSAL = "volume-id-traversal", NFS: "steps back (..) in a volume_id or subDir are followed out of the volume";
    WIPES_ON_STAGE = "wipes-on-stage", LOOP: "a new file system is made at every NodeStageVolume";
    WRONG_STATS = "wrong-stats", BOTH: "NodeGetVolumeStats always says that the volume is empty and half its size";
    WRONG_VOLUME = "wrong-volume", BOTH: "every target shows the volume that was published first";
    ZOMBIE_CHILDREN = "zombie-children", BOTH: "each stage (or publish, where there is none) starts a helper that is never waited for";
}

/// Every defect there is, by name.
pub fn all() -> &'static [Defect] {
    ALL
}

/// The defects that this driver can be told to have, by name.
pub fn of(driver: Kind) -> impl Iterator<Item = Defect> {
    ALL.iter()
        .copied()
        .filter(move |defect| defect.is_known_to(driver))
}

/// The defects that one driver has; none by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Defects(BTreeSet<Defect>);

impl Defects {
    /// The set of these names.
    ///
    /// # Errors
    ///
    /// A name that is none, with the nearest that is one.
    pub fn parse<I>(names: I) -> Result<Self, UnknownDefect>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        names
            .into_iter()
            .map(|name| find(name.as_ref()))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The set of these names, for this driver.
    ///
    /// # Errors
    ///
    /// A name that is none, or that of a defect which this driver does not know.
    pub fn parse_for<I>(driver: Kind, names: I) -> Result<Self, UnknownDefect>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let defects = Self::parse(names)?;
        let stranger = defects.iter().find(|defect| !defect.is_known_to(driver));
        match stranger {
            Some(other) => Err(UnknownDefect::Elsewhere {
                name: other.name,
                driver: driver.name(),
            }),
            None => Ok(defects),
        }
    }

    /// Whether this defect is wanted.
    pub fn has(&self, defect: Defect) -> bool {
        self.0.contains(&defect)
    }

    /// Whether the driver is honest.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The defects in the set, by name.
    pub fn iter(&self) -> impl Iterator<Item = Defect> {
        self.0.iter().copied()
    }
}

impl FromIterator<Defect> for Defects {
    fn from_iter<I: IntoIterator<Item = Defect>>(defects: I) -> Self {
        Self(defects.into_iter().collect())
    }
}

impl FromStr for Defects {
    type Err = UnknownDefect;

    /// Names with commas between them.
    fn from_str(names: &str) -> Result<Self, UnknownDefect> {
        Self::parse(
            names
                .split(',')
                .map(str::trim)
                .filter(|name| !name.is_empty()),
        )
    }
}

impl fmt::Display for Defects {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.iter().map(|defect| defect.name).collect();
        out.write_str(&names.join(","))
    }
}

/// This is no defect, or none of this driver.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownDefect {
    /// There is none of this name.
    #[error("there is no defect {name:?}; the nearest name is {nearest}")]
    Nowhere {
        /// What was asked for.
        name: String,
        /// The name nearest to it.
        nearest: &'static str,
    },
    /// Another driver has it.
    #[error("the driver `{driver}` cannot have the defect {name}")]
    Elsewhere {
        /// What was asked for.
        name: &'static str,
        /// Who was asked to have it.
        driver: &'static str,
    },
}

fn find(name: &str) -> Result<Defect, UnknownDefect> {
    if let Some(defect) = ALL.iter().find(|defect| defect.name == name) {
        return Ok(*defect);
    }
    let nearest = ALL.iter().min_by_key(|defect| distance(name, defect.name));
    Err(UnknownDefect::Nowhere {
        name: name.to_owned(),
        nearest: nearest.map_or("", |defect| defect.name),
    })
}

/// How many letters must be changed to make one word of the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (line, letter) in one.chars().enumerate() {
        let mut diagonal = line;
        let mut left = line + 1;
        for (cell, wanted) in row.iter_mut().skip(1).zip(other.chars()) {
            let best = (diagonal + usize::from(letter != wanted))
                .min(left + 1)
                .min(*cell + 1);
            diagonal = *cell;
            *cell = best;
            left = best;
        }
        if let Some(first) = row.first_mut() {
            *first = line + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_each_is_there_once() {
        assert!(ALL.windows(2).all(|pair| pair[0].name < pair[1].name));
    }

    #[test]
    fn a_set_is_read_and_written() {
        let defects: Defects = "target-dir-left, dies".parse().expect("known");
        assert!(defects.has(Defect::DIES) && defects.has(Defect::TARGET_DIR_LEFT));
        assert_eq!(defects.to_string(), "dies,target-dir-left");
    }

    #[test]
    fn a_driver_has_only_defects_that_it_knows() {
        let defects = Defects::parse_for(Kind::Nfs, ["nfs-bg-trusted", "chmod-on-publish"]);
        assert_eq!(defects.expect("known").iter().count(), 2);
        let refused = Defects::parse_for(Kind::Loop, ["nfs-bg-trusted"]).expect_err("not known");
        assert!(refused.to_string().contains("`loop`"), "{refused}");
        assert!(of(Kind::Nfs).all(|defect| defect != Defect::BLOCK_FORMATTED_AS_MOUNT));
        assert!(ALL.iter().all(|defect| !defect.known_to.is_empty()));
    }

    #[test]
    fn an_unknown_name_gets_the_nearest() {
        let error = Defects::parse(["target-dir-lost"]).expect_err("unknown");
        assert!(error.to_string().ends_with("target-dir-left"), "{error}");
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
