//! What did the user say?
//!
//! One YAML file, then the environment, then the command line, in that order of
//! growing weight. This room reads the file and the environment; the command
//! line sets the public fields of [`Config`] and calls [`Config::validate`].
//!
//! Nobody is left to wonder about a key that does nothing: an unknown one is
//! refused with its place and the nearest right name.

mod duration;
mod endpoint;
mod environment;
mod error;
mod load;
mod mistake;
mod nearest;
mod quantity;
mod rpcs;
mod secrets;
mod sections;
mod template;
mod text;
mod validate;
mod words;
mod yaml;

pub use duration::{format_duration, parse_duration};
pub use endpoint::Endpoint;
pub use environment::{ENVIRONMENT, consents};
pub use error::{ConfigError, Mistake, ParseError, Place};
pub use load::FILE_NAME;
pub use nearest::nearest;
pub use quantity::Quantity;
pub use rpcs::RPCS;
pub use secrets::{MASK, SecretMap, Secrets};
pub use sections::{
    Checks, Driver, Expected, Hooks, InDriver, Paths, StaticVolume, StringMap, VolumeSettings,
    expand_map, is_ephemeral,
};
pub use template::{
    DRIVER_VARIABLES, HOOK_VARIABLES, NAME_VARIABLES, NFS_SERVER, NFS_SHARE, VOLUME_VARIABLES,
    check_template, expand,
};
pub use words::{AccessMode, AccessType, Allow, Require, Rpc};

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

/// All that the user said, and sensible answers where nothing was said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping")]
pub struct Config {
    /// Where the driver listens with all of its services.
    pub endpoint: Option<Endpoint>,
    /// Where its controller listens, if apart.
    pub controller_endpoint: Option<Endpoint>,
    /// Where its node service listens, if apart.
    pub node_endpoint: Option<Endpoint>,
    /// Its process, and the names that it likes.
    pub driver: Driver,
    /// `CreateVolumeRequest.parameters`; the values are templates over
    /// [`VOLUME_VARIABLES`].
    pub parameters: StringMap,
    /// `mutable_parameters` of CreateVolume and ControllerModifyVolume; templates
    /// likewise.
    pub mutable_parameters: StringMap,
    /// What is sent in `secrets` fields.
    pub secrets: Secrets,
    /// What the volumes that we have made are like.
    pub volume: VolumeSettings,
    /// Volumes that are there already, for a driver that creates none.
    pub volumes: Vec<StaticVolume>,
    /// `Topology.segments` for CreateVolume; empty: those of NodeGetInfo.
    pub topology: StringMap,
    /// Where volumes are staged and published.
    pub paths: Paths,
    /// What can hurt and may be asked nevertheless; none: not said (see
    /// [`Config::allowed`]).
    pub allow: Option<BTreeSet<Allow>>,
    /// How long a call may take that has no deadline of its own.
    #[serde(with = "duration::one")]
    pub deadline: Duration,
    /// How long the calls of one method may take.
    #[serde(with = "duration::by_rpc")]
    pub deadlines: BTreeMap<Rpc, Duration>,
    /// How long to wait for what comes late, after the driver answered; none: not
    /// said (see [`Config::quiet`]).
    #[serde(with = "duration::maybe")]
    pub quiet_period: Option<Duration>,
    /// How many checks run side by side.
    pub jobs: usize,
    /// How many volumes there may be at a time; none: as the driver says.
    pub max_volumes: Option<usize>,
    /// Commands to run at a step.
    pub hooks: Hooks,
    /// Which checks to run.
    pub checks: Checks,
    /// Failures that are known.
    pub expected: Vec<Expected>,
    /// Where the reports are written; none: nowhere.
    pub report_dir: Option<PathBuf>,
    /// The verdict that exit code 0 asks for.
    pub require: Require,
    /// The full product of every matrix in place of pairs.
    pub thorough: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            endpoint: None,
            controller_endpoint: None,
            node_endpoint: None,
            driver: Driver::default(),
            parameters: StringMap::new(),
            mutable_parameters: StringMap::new(),
            secrets: Secrets::default(),
            volume: VolumeSettings::default(),
            volumes: Vec::new(),
            topology: StringMap::new(),
            paths: Paths::default(),
            allow: None,
            // The kubelet's own.
            deadline: Duration::from_secs(120),
            deadlines: BTreeMap::new(),
            quiet_period: None,
            jobs: 8,
            max_volumes: None,
            hooks: Hooks::default(),
            checks: Checks::default(),
            expected: Vec::new(),
            report_dir: None,
            require: Require::Partial,
            thorough: false,
        }
    }
}

impl Config {
    /// One endpoint for everything, in place of those that were given apart:
    /// what the environment and the command line do.
    pub fn set_endpoint(&mut self, endpoint: Endpoint) {
        self.endpoint = Some(endpoint);
        self.controller_endpoint = None;
        self.node_endpoint = None;
    }

    /// Where to ask the controller service.
    pub fn controller(&self) -> Option<&Endpoint> {
        self.controller_endpoint.as_ref().or(self.endpoint.as_ref())
    }

    /// Where to ask the node service.
    pub fn node(&self) -> Option<&Endpoint> {
        self.node_endpoint.as_ref().or(self.endpoint.as_ref())
    }

    /// What may be asked although it can hurt. Where the user said nothing, that
    /// is everything for a driver of our own and nothing for a stranger.
    pub fn allowed(&self, our_own_driver: bool) -> BTreeSet<Allow> {
        match &self.allow {
            Some(allow) => allow.clone(),
            None if our_own_driver => Allow::ALL.iter().copied().collect(),
            None => BTreeSet::new(),
        }
    }

    /// How long to wait, once for all checks, for what comes late. Where the user
    /// said nothing: half a minute, which is what the kubelet is given to notice, and
    /// in which an NFS client asks again after 1, 2, 4, 8 … s (mount.nfs, `bg`).
    pub fn quiet(&self) -> Duration {
        self.quiet_period.unwrap_or(Duration::from_secs(30))
    }

    /// Whether volumes lie on NFS servers that we are to make.
    pub fn uses_nfs_lab(&self) -> bool {
        [NFS_SERVER, NFS_SHARE].iter().any(|variable| {
            sections::map_names(&self.parameters, variable)
                || sections::map_names(&self.mutable_parameters, variable)
                || self.volumes.iter().any(|volume| volume.names(variable))
        })
    }

    /// Whether it is the `volume_context` that says what data a volume holds: the user
    /// says so, or has volumes with a context of their own each.
    pub fn context_decides(&self) -> bool {
        let mut values = self
            .volumes
            .iter()
            .flat_map(|volume| volume.context.values());
        self.volume.context_decides || values.any(|value| sections::is_template(value))
    }

    /// How long a call of one method (`NodePublishVolume`) may take.
    pub fn deadline_of(&self, rpc: &str) -> Duration {
        self.deadlines.get(rpc).copied().unwrap_or(self.deadline)
    }

    /// All of it for a report, in the shape of the file, with every secret and
    /// every value of the driver's environment masked. Command lines are not
    /// masked: who writes reports scrubs the values of [`Secrets::values`].
    pub fn to_public_json(&self) -> serde_json::Value {
        // Every key is a string, so that nothing can go wrong.
        serde_json::to_value(self).unwrap_or_default()
    }
}
