//! The sections of the file.

use super::template::{expand, names};
use super::{AccessMode, AccessType, ParseError, Quantity, SecretMap, duration};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Names and values as CSI's maps hold them. In the file, numbers and booleans
/// may stand without quotes: they are taken as they are written.
pub type StringMap = BTreeMap<String, String>;

/// `driver:`, the driver's process and the names that it likes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping")]
pub struct Driver {
    /// The program and its arguments, when we start it; empty: it runs already.
    /// Templates over [`DRIVER_VARIABLES`](super::DRIVER_VARIABLES): `${endpoint}`
    /// is the endpoint as a URL (`unix:///…`), `${socket}` its bare path,
    /// `${state_dir}` a folder that outlives a restart of the driver.
    pub command: Vec<String>,
    /// Added to the environment of a driver that we start; the values are
    /// templates as in `command`, and are shown nowhere.
    pub env: SecretMap,
    /// The process id of a driver that runs already.
    pub pid: Option<i32>,
    /// A file that holds the driver's process id, read again after a restart.
    pub pid_file: Option<PathBuf>,
    /// How long the driver may take from its start until Probe answers.
    #[serde(with = "duration::one")]
    pub ready_timeout: Duration,
    /// Whether its CSIDriver object asks for service account tokens (`tokenRequests`), so
    /// that a kubelet would send them.
    pub token_requests: bool,
    /// Names of volumes: a template over [`NAME_VARIABLES`](super::NAME_VARIABLES).
    pub name_template: String,
    /// Ids of the driver's own form that name no volume: a template likewise.
    pub unknown_volume_id: String,
    /// Ids of the driver's own form that name no node: a template likewise.
    pub unknown_node_id: String,
}

impl Default for Driver {
    fn default() -> Self {
        Self {
            command: Vec::new(),
            env: SecretMap::default(),
            pid: None,
            pid_file: None,
            ready_timeout: Duration::from_secs(30),
            token_requests: false,
            name_template: "csi-conf-${run}-${n}".into(),
            unknown_volume_id: "csi-conf-no-such-volume-${n}".into(),
            unknown_node_id: "csi-conf-no-such-node-${n}".into(),
        }
    }
}

/// `volume:`, what the volumes that we have made are like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping")]
pub struct VolumeSettings {
    /// `CapacityRange.required_bytes`.
    pub size: Quantity,
    /// `CapacityRange.limit_bytes`; none: not sent.
    pub limit: Option<Quantity>,
    /// `MountVolume.fs_type`, each of them; none: the driver's own choice (`""`).
    pub file_systems: Vec<String>,
    /// Mounted, raw, or both; none: both are tried, and a refusal only means that
    /// the driver does not offer it.
    pub access_types: Vec<AccessType>,
    /// The access modes to ask for; the first is the usual one.
    pub access_modes: Vec<AccessMode>,
    /// `MountVolume.mount_flags`.
    pub mount_flags: Vec<String>,
    /// `MountVolume.volume_mount_group`, a group id as Kubernetes sends it.
    pub mount_group: Option<String>,
    /// What data a volume holds is said by its `volume_context`, and not by its id
    /// alone: two volumes with one id and two contexts are two volumes. So it is of
    /// volumes of the user's whose context is a template (`${n}`), without being said.
    pub context_decides: bool,
}

impl Default for VolumeSettings {
    fn default() -> Self {
        Self {
            size: Quantity::mebibytes(64),
            limit: None,
            file_systems: Vec::new(),
            access_types: Vec::new(),
            access_modes: vec![AccessMode::SingleNodeWriter],
            mount_flags: Vec::new(),
            mount_group: None,
            context_decides: false,
        }
    }
}

/// One of `volumes:`, a volume that is there already, for a driver that creates
/// none. It is only read, unless it is marked as `scratch`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub struct StaticVolume {
    /// Its volume id. A template over [`VOLUME_VARIABLES`](super::VOLUME_VARIABLES):
    /// with `${n}` or `${run}` in it, it stands for as many volumes as are needed.
    pub id: String,
    /// `volume_context`; the values are templates as `id` is.
    #[serde(default)]
    pub context: StringMap,
    /// `publish_context`; the values are templates as `id` is.
    #[serde(default)]
    pub publish_context: StringMap,
    /// What it can be used as.
    #[serde(default = "mounted")]
    pub access_types: Vec<AccessType>,
    /// The access modes that it takes.
    #[serde(default = "one_writer")]
    pub access_modes: Vec<AccessMode>,
    /// `MountVolume.fs_type`; empty: the driver's own choice.
    #[serde(default)]
    pub fs_type: String,
    /// It cannot be written to, and is asked for with `readonly`.
    #[serde(default)]
    pub read_only: bool,
    /// Its content may be destroyed.
    #[serde(default)]
    pub scratch: bool,
}

fn mounted() -> Vec<AccessType> {
    vec![AccessType::Mount]
}

fn one_writer() -> Vec<AccessMode> {
    vec![AccessMode::SingleNodeWriter]
}

/// Whether the volume of this context lives and dies with its pod, as a kubelet tells
/// a driver (KEP 596, ephemeral inline volumes).
pub fn is_ephemeral(context: &StringMap) -> bool {
    let said = context.get("csi.storage.k8s.io/ephemeral");
    said.is_some_and(|said| said == "true")
}

impl StaticVolume {
    /// It lives and dies with its pod: its context says so.
    pub fn is_inline(&self) -> bool {
        is_ephemeral(&self.context)
    }

    /// Whether it stands for as many volumes as are needed.
    pub fn is_template(&self) -> bool {
        names(&self.id, "n") || names(&self.id, "run")
    }

    /// One volume of the run: id and contexts with these values in their holes.
    ///
    /// # Errors
    /// As [`expand`]; never for a configuration that was validated.
    pub fn instance(&self, values: &[(&str, &str)]) -> Result<Self, ParseError> {
        Ok(Self {
            id: expand(&self.id, values)?,
            context: expand_map(&self.context, values)?,
            publish_context: expand_map(&self.publish_context, values)?,
            ..self.clone()
        })
    }

    /// Whether an id or a context names this variable.
    pub(super) fn names(&self, variable: &str) -> bool {
        names(&self.id, variable)
            || map_names(&self.context, variable)
            || map_names(&self.publish_context, variable)
    }
}

/// A map with these values in the holes of its values.
///
/// # Errors
/// As [`expand`]; never for a configuration that was validated.
pub fn expand_map(map: &StringMap, values: &[(&str, &str)]) -> Result<StringMap, ParseError> {
    map.iter()
        .map(|(name, value)| Ok((name.clone(), expand(value, values)?)))
        .collect()
}

/// Whether a value of the map names this variable.
pub(super) fn map_names(map: &StringMap, variable: &str) -> bool {
    map.values().any(|value| names(value, variable))
}

/// Whether a value differs from volume to volume.
pub(super) fn is_template(value: &str) -> bool {
    super::VOLUME_VARIABLES
        .iter()
        .any(|variable| *variable != super::NFS_SERVER && names(value, variable))
}

/// `paths:`, where the volumes are staged and published. All are absolute.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping")]
pub struct Paths {
    /// The kubelet's root (`/var/lib/kubelet`): paths below it get the form that
    /// the kubelet gives them.
    pub kubelet_root: Option<PathBuf>,
    /// Where staging paths are made; wins over `kubelet_root`.
    pub staging_root: Option<PathBuf>,
    /// Where target paths are made; wins over `kubelet_root`.
    pub target_root: Option<PathBuf>,
    /// Where the driver sees our folders under other names.
    pub in_driver: Vec<InDriver>,
    /// The pod whose folder below the kubelet's root is ours; the kubelet clears
    /// away those of pods that it does not know.
    pub pod_uid: Option<String>,
}

impl Paths {
    /// The path that we have to send for the driver to find `path`: the longest
    /// of the folders in `in_driver` decides.
    pub fn as_driver_sees(&self, path: &Path) -> PathBuf {
        let longest = self
            .in_driver
            .iter()
            .filter_map(|map| Some((map, path.strip_prefix(&map.ours).ok()?)))
            .max_by_key(|(map, _)| map.ours.components().count());
        match longest {
            // `join("")` would add a slash at the end.
            Some((map, rest)) if rest.as_os_str().is_empty() => map.drivers.clone(),
            Some((map, rest)) => map.drivers.join(rest),
            None => path.to_owned(),
        }
    }
}

/// One folder by its two names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub struct InDriver {
    /// Its path as we see it.
    pub ours: PathBuf,
    /// Its path as the driver sees it.
    pub drivers: PathBuf,
}

/// `hooks:`, commands (a program and its arguments) to run at a step, for
/// drivers that need an object from elsewhere. Templates over
/// [`HOOK_VARIABLES`](super::HOOK_VARIABLES); empty: none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping")]
pub struct Hooks {
    /// After CreateVolume answered OK.
    pub after_create_volume: Vec<String>,
    /// Before NodeStageVolume (before NodePublishVolume, where nothing is staged).
    pub before_node_stage: Vec<String>,
}

/// `checks:`, which to run, by id.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping")]
pub struct Checks {
    /// These and no others; empty: all.
    pub only: Vec<String>,
    /// Not these.
    pub skip: Vec<String>,
}

/// One of `expected:`, a failure that is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub struct Expected {
    /// The check's id, with or without its case.
    pub check: String,
    /// Why it may fail for now.
    pub reason: String,
    /// Where that is discussed.
    #[serde(default)]
    pub issue: Option<String>,
    /// The line of the file that names the check.
    #[serde(skip)]
    pub line: Option<usize>,
}

impl Expected {
    /// Whether it speaks of the case with this id, or of its whole check.
    pub fn is_of(&self, id: &str) -> bool {
        self.check == id || id.split('[').next() == Some(self.check.as_str())
    }
}
