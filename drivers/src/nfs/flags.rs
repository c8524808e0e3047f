//! Mount flags: which are handed on, which are refused, and whether a mount that
//! is there already is as they ask.

use serde::{Deserialize, Serialize};
use tonic::Status;

use crate::common::capability::Capability;
use crate::sys::mount::MountOptions;
use crate::sys::mountinfo::Mount;

/// In the background, mount.nfs answers 0 before anything is mounted, and goes on
/// trying. Nothing is mounted then that could be answered OK for, and what comes
/// later may come after the volume was unpublished. So it is not for a driver.
const BACKGROUND: &str = "bg";
/// What would make another operation of the mount, or hide that it failed.
const OTHERS: [&str; 6] = ["bind", "rbind", "move", "remount", "nofail", "noauto"];
/// What belongs to one mount, as the mount table shows it.
const PER_MOUNT: [&str; 5] = ["nosuid", "nodev", "noexec", "noatime", "nodiratime"];
/// What says how a server is reached, beside the version.
const REACHING: [&str; 13] = [
    "proto",
    "tcp",
    "udp",
    "rdma",
    "port",
    "mountport",
    "mountproto",
    "mountvers",
    "mounthost",
    "sec",
    "nolock",
    "noresvport",
    "resvport",
];
/// What the mount table shows as it was asked for.
const SHOWN: [&str; 4] = ["sec", "proto", "timeo", "retrans"];

/// How a volume is to be mounted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Flags {
    /// `nfs` or `nfs4`.
    fs_type: String,
    /// One by one; they may be sensitive, and are neither logged nor told.
    flags: Vec<String>,
}

impl Flags {
    /// Those of a capability.
    ///
    /// # Errors
    ///
    /// INVALID_ARGUMENT for flags that no mount could be made with and answered for.
    pub(super) fn of(capability: &Capability, background: bool) -> Result<Self, Status> {
        let invalid = |what: String| Err(Status::invalid_argument(format!("mount_flags: {what}")));
        let mut flags = Vec::new();
        for flag in capability
            .mount_flags()
            .iter()
            .flat_map(|flags| split(flags))
        {
            if flag.chars().any(char::is_control) || flag.matches('"').count() % 2 == 1 {
                return invalid("a control character or a lone quote in one".to_owned());
            }
            let name = flag.split('=').next().unwrap_or_default().trim();
            if name == BACKGROUND && !background {
                return invalid(format!(
                    "{BACKGROUND:?} would have OK answered before the volume is mounted"
                ));
            }
            if OTHERS.contains(&name) {
                return invalid(format!("{name:?} is not for a volume"));
            }
            if !matches!(flag, "" | "defaults") {
                flags.push(flag.to_owned());
            }
        }
        // Where nobody says, version 4: mount.nfs would try 3 where a folder is not
        // there, and wait for a statd that few nodes have.
        let (fs_type, version) = match capability.fs_type() {
            Some("nfs3") => ("nfs", Some("vers=3")),
            Some("nfs4") => ("nfs4", None),
            _ if version_of(&flags).is_none() => ("nfs4", None),
            _ => ("nfs", None),
        };
        if let Some(version) = version
            && version_of(&flags).is_none()
        {
            flags.push(version.to_owned());
        }
        Ok(Self {
            fs_type: fs_type.to_owned(),
            flags,
        })
    }

    /// What is mounted, as mount.nfs calls it.
    pub(super) fn fs_type(&self) -> &str {
        match self.fs_type.as_str() {
            "" => "nfs",
            fs_type => fs_type,
        }
    }

    /// No flags at all, of the same type: the defect mount-flags-dropped.
    pub(super) fn dropped(self) -> Self {
        Self {
            flags: Vec::new(),
            ..self
        }
    }

    /// These, and one more.
    pub(super) fn and(mut self, flag: &str) -> Self {
        self.flags.push(flag.to_owned());
        self
    }

    /// Whether the mount is tried in the background, as no honest driver lets it be.
    pub(super) fn is_background(&self) -> bool {
        self.flags.iter().any(|flag| flag == BACKGROUND)
    }

    /// Those for the driver's own work on a share: what says how its server is
    /// reached. The others are for whoever uses the volume.
    pub(super) fn for_work(&self) -> Self {
        let reaches = |flag: &String| {
            let name = flag.split('=').next().unwrap_or_default();
            REACHING.contains(&name) || version_of(std::slice::from_ref(flag)).is_some()
        };
        Self {
            fs_type: self.fs_type.clone(),
            flags: self
                .flags
                .iter()
                .filter(|flag| reaches(flag))
                .cloned()
                .collect(),
        }
    }

    /// Whether they ask for a mount that cannot be written to; the last one counts.
    pub(super) fn is_read_only(&self) -> bool {
        let says = |flag: &&String| matches!(flag.as_str(), "ro" | "rw");
        self.flags
            .iter()
            .rfind(says)
            .is_some_and(|flag| flag == "ro")
    }

    /// As `-o` takes them.
    pub(super) fn joined(&self, read_only: bool) -> String {
        let mut words: Vec<_> = self.flags.iter().map(String::as_str).collect();
        if read_only {
            words.push("ro");
        }
        words.join(",")
    }

    /// The same, sorted by who understands them.
    pub(super) fn options(&self) -> MountOptions {
        MountOptions::parse(&self.flags)
    }

    /// In what a mount is not as these ask for it, if in anything. What the mount
    /// table does not show is not held against it.
    pub(super) fn contradicted_by(&self, mount: &Mount, read_only: bool) -> Option<&'static str> {
        let has = |flag: &str| mount.options.iter().any(|option| option == flag);
        let asked = |flag: &str| self.flags.iter().any(|asked| asked == flag);
        let value = |options: &[String], key: &str| {
            options.iter().rev().find_map(|option| {
                let (name, value) = option.split_once('=')?;
                (name == key).then(|| value.to_owned())
            })
        };
        if mount.is_read_only() != read_only {
            return Some("it is read-only in the one case and not in the other");
        }
        if PER_MOUNT.iter().any(|flag| has(flag) != asked(flag)) {
            return Some("its mount flags are others");
        }
        let differs = |key: &&str| {
            let shown = value(&mount.super_options, key);
            shown.is_some() && value(&self.flags, key).is_some_and(|asked| Some(asked) != shown)
        };
        if SHOWN.iter().any(differs) {
            return Some("its mount flags are others");
        }
        let version = value(&mount.super_options, "vers").unwrap_or_default();
        match self.version() {
            // 4 is any minor version.
            Some(asked) if asked != version && !version.starts_with(&format!("{asked}.")) => {
                Some("its NFS version is another")
            }
            _ => None,
        }
    }

    fn version(&self) -> Option<String> {
        version_of(&self.flags).or_else(|| (self.fs_type == "nfs4").then(|| "4".to_owned()))
    }
}

/// The NFS version that flags ask for.
fn version_of(flags: &[String]) -> Option<String> {
    flags.iter().rev().find_map(|flag| {
        let given = flag
            .strip_prefix("vers=")
            .or_else(|| flag.strip_prefix("nfsvers="));
        let short = || {
            flag.strip_prefix('v')
                .filter(|rest| rest.starts_with(['3', '4']))
        };
        given.or_else(short).map(str::to_owned)
    })
}

/// One flag may be several, with commas between them; a comma in quotes is none.
fn split(flags: &str) -> Vec<&str> {
    let mut quoted = false;
    flags
        .split(move |letter| {
            quoted ^= letter == '"';
            letter == ',' && !quoted
        })
        .map(str::trim)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use csi_proto::v1 as csi;
    use csi_proto::v1::volume_capability::access_mode::Mode;
    use csi_proto::v1::volume_capability::{AccessMode, AccessType, MountVolume};

    use super::*;

    fn flags(fs_type: &str, flags: &[&str]) -> Result<Flags, Status> {
        let capability = csi::VolumeCapability {
            access_mode: Some(AccessMode {
                mode: Mode::MultiNodeMultiWriter.into(),
            }),
            access_type: Some(AccessType::Mount(MountVolume {
                fs_type: fs_type.to_owned(),
                mount_flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
                volume_mount_group: String::new(),
            })),
        };
        let capability = Capability::parse(Some(&capability)).expect("well-formed");
        Flags::of(&capability, false)
    }

    fn mount(options: &str, super_options: &str) -> Mount {
        let list = |text: &str| text.split(',').map(str::to_owned).collect();
        Mount {
            device: (0, 50),
            root: PathBuf::from("/"),
            mount_point: PathBuf::from("/t"),
            options: list(options),
            fs_type: "nfs".to_owned(),
            source: PathBuf::from("h:/e"),
            super_options: list(super_options),
        }
    }

    #[test]
    fn what_no_driver_can_answer_for_is_refused() {
        for bad in [
            "bg", "soft,bg", " bg", "bg=1", "remount", "bind", "nofail", "a\nb", "c=\"d",
        ] {
            let refused = flags("", &["vers=3", bad]).expect_err(bad);
            assert_eq!(refused.code(), tonic::Code::InvalidArgument);
        }
    }

    #[test]
    fn flags_are_handed_on() {
        let given =
            flags("nfs", &["vers=4.1,soft", "context=\"a:b,c\"", "defaults"]).expect("good");
        assert_eq!(given.joined(true), "vers=4.1,soft,context=\"a:b,c\",ro");
        assert!(!given.is_read_only());
        let three = flags("nfs3", &["ro", "rw", "ro"]).expect("good");
        assert_eq!(three.joined(false), "ro,rw,ro,vers=3");
        assert!(three.is_read_only());
        assert_eq!(flags("nfs4", &[]).expect("good").fs_type(), "nfs4");
        let work = flags("", &["ro", "vers=3", "nolock", "no-such-flag"]).expect("good");
        assert_eq!(work.for_work().joined(false), "vers=3,nolock");
    }

    #[test]
    fn a_mount_is_compared_with_what_it_shows() {
        let asked = flags("", &["vers=4", "timeo=50", "nosuid", "hard"]).expect("good");
        let shown = mount("rw,nosuid,relatime", "rw,vers=4.2,hard,timeo=50");
        assert_eq!(asked.contradicted_by(&shown, false), None);
        assert!(asked.contradicted_by(&shown, true).is_some());
        for (options, super_options) in [
            ("rw,relatime", "rw,vers=4.2,timeo=50"),
            ("rw,nosuid,nodev", "rw,vers=4.2,timeo=50"),
            ("rw,nosuid", "rw,vers=3,timeo=50"),
            ("rw,nosuid", "rw,vers=4.1,timeo=60"),
        ] {
            let shown = mount(options, super_options);
            assert!(
                asked.contradicted_by(&shown, false).is_some(),
                "{options} {super_options}"
            );
        }
    }
}
