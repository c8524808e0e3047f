//! A built-in driver, as a process of its own.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use clap::ValueEnum;
use csi_drivers::defect::{Defects, Kind};
use csi_harness::config::{
    AccessMode, AccessType, Config, NFS_SERVER, NFS_SHARE, SecretMap, StringMap,
};
use csi_harness::node::Host;

use crate::wrong::Wrong;

/// The drivers that are built in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BuiltIn {
    /// Volumes are files behind loop devices
    Loop,
    /// Volumes are folders on NFS servers, which are made for the run
    Nfs,
    /// Volumes are folders, each mounted by a process of its own
    Fuse,
}

impl fmt::Display for BuiltIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Kind::from(*self).name())
    }
}

impl From<BuiltIn> for Kind {
    fn from(driver: BuiltIn) -> Self {
        match driver {
            BuiltIn::Loop => Self::Loop,
            BuiltIn::Nfs => Self::Nfs,
            BuiltIn::Fuse => Self::Fuse,
        }
    }
}

/// One of them, and how it is to be started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chosen<'a> {
    pub(crate) driver: BuiltIn,
    /// The command `csi-conformance`.
    pub(crate) program: &'a Path,
    pub(crate) defects: &'a Defects,
    /// More arguments for it.
    pub(crate) arguments: &'a [String],
}

/// The file systems that the loop driver makes, where the host can.
const FILE_SYSTEMS: [&str; 3] = ["ext4", "xfs", "btrfs"];

/// Sets up a configuration for a built-in driver. What the user said of the run
/// and its volumes stays.
///
/// # Errors
/// The host has no file system that the driver could make.
pub(crate) fn configure(config: &mut Config, chosen: Chosen<'_>, host: &Host) -> Result<(), Wrong> {
    let usual = Config::default();
    // What is about where another driver listens and what it likes.
    (
        config.endpoint,
        config.controller_endpoint,
        config.node_endpoint,
    ) = (None, None, None);
    config.driver = usual.driver.clone();
    // Volumes on servers of the lab are none of another driver's.
    let on_our_servers = chosen.driver == BuiltIn::Nfs && config.uses_nfs_lab();
    if !on_our_servers {
        config.parameters.clear();
        config.volumes.clear();
    }
    config.mutable_parameters.clear();
    config.topology.clear();
    config.paths = usual.paths.clone();
    config.hooks = usual.hooks.clone();
    config.driver.command = command(chosen)?;
    config.driver.ready_timeout = Duration::from_secs(10);
    config.driver.token_requests = true;
    if config.secrets.is_empty() {
        config.secrets.all = canary();
    }
    match chosen.driver {
        BuiltIn::Loop => of_loop(config, &usual, host),
        BuiltIn::Nfs => {
            of_nfs(config, &usual, on_our_servers);
            Ok(())
        }
        BuiltIn::Fuse => {
            of_fuse(config, &usual);
            Ok(())
        }
    }
}

fn of_loop(config: &mut Config, usual: &Config, host: &Host) -> Result<(), Wrong> {
    if config.volume.file_systems.is_empty() {
        let can = FILE_SYSTEMS.into_iter().filter(|fs| host.has(fs));
        config.volume.file_systems = can.map(str::to_owned).collect();
        if config.volume.file_systems.is_empty() {
            let lacks = FILE_SYSTEMS.iter().filter_map(|fs| host.feature(fs));
            let lacks: Vec<_> = lacks.map(|f| format!("{}: {}", f.name, f.state)).collect();
            return Err(Wrong(format!(
                "the built-in driver makes file systems: {}",
                lacks.join("; ")
            )));
        }
    }
    if config.volume.access_types.is_empty() {
        // Named, so that a refusal is a finding.
        config.volume.access_types = vec![AccessType::Mount, AccessType::Block];
    }
    if config.volume.access_modes == usual.volume.access_modes {
        config.volume.access_modes = MODES.to_vec();
    }
    // It tells each volume's disk in its context, and refuses another's.
    config.volume.context_decides = true;
    // Nothing that the driver does outlives its answer by more than this, nor takes
    // twice as long, unless it has a defect.
    config.quiet_period.get_or_insert(Duration::from_secs(5));
    if config.deadline == usual.deadline {
        config.deadline = Duration::from_secs(10);
    }
    Ok(())
}

fn of_fuse(config: &mut Config, usual: &Config) {
    config.volume.access_types = vec![AccessType::Mount];
    if config.volume.access_modes == usual.volume.access_modes {
        config.volume.access_modes = MODES.to_vec();
    }
    // As with the loop driver: nothing takes long, unless it has a defect.
    config.quiet_period.get_or_insert(Duration::from_secs(5));
    if config.deadline == usual.deadline {
        config.deadline = Duration::from_secs(10);
    }
}

fn of_nfs(config: &mut Config, usual: &Config, on_our_servers: bool) {
    if !on_our_servers {
        let hole = |name: &str| format!("${{{name}}}");
        config.parameters = StringMap::from([
            ("server".to_owned(), hole(NFS_SERVER)),
            ("share".to_owned(), hole(NFS_SHARE)),
            // In a folder of their own, as on a share that serves others too.
            ("subDir".to_owned(), "volumes/{name}".to_owned()),
        ]);
    }
    config.volume.access_types = vec![AccessType::Mount];
    if config.volume.access_modes == usual.volume.access_modes {
        config.volume.access_modes = [&MODES[..], &MODES_OF_MANY].concat();
    }
    // Longer than the driver gives a mount, whose server is away.
    if config.deadline == usual.deadline {
        config.deadline = Duration::from_secs(30);
    }
}

fn command(chosen: Chosen<'_>) -> Result<Vec<String>, Wrong> {
    let program = chosen.program;
    let program = program.to_str().ok_or_else(|| {
        Wrong(format!(
            "the path of this program is not UTF-8: {}",
            program.display()
        ))
    })?;
    let driver = chosen.driver.to_string();
    let words = [
        "driver",
        &driver,
        "--endpoint",
        "${endpoint}",
        "--state-dir",
        "${state_dir}",
    ];
    let mut command = vec![literal(program)];
    command.extend(words.map(str::to_owned));
    for defect in chosen.defects.iter() {
        command.extend(["--defect".to_owned(), defect.name.to_owned()]);
    }
    command.extend(chosen.arguments.iter().map(|argument| literal(argument)));
    Ok(command)
}

/// What the built-in drivers serve: all that one node can see of.
const MODES: [AccessMode; 4] = [
    AccessMode::SingleNodeWriter,
    AccessMode::SingleNodeSingleWriter,
    AccessMode::SingleNodeMultiWriter,
    AccessMode::SingleNodeReaderOnly,
];

/// What a file server offers beyond those.
const MODES_OF_MANY: [AccessMode; 2] = [
    AccessMode::MultiNodeMultiWriter,
    AccessMode::MultiNodeReaderOnly,
];

/// A text that stands for itself in a template.
fn literal(text: &str) -> String {
    text.replace("${", "$${")
}

/// Secrets that would be known again wherever they turn up.
fn canary() -> SecretMap {
    let secrets = [
        ("username", "canary-user-5d1f8e"),
        ("password", "canary-password-90b3c2"),
    ];
    BTreeMap::from(secrets.map(|(name, value)| (name.to_owned(), value.to_owned()))).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_user_said_stays() {
        let mut config = Config::default();
        config.volume.file_systems = vec!["ext4".into()];
        config.quiet_period = Some(Duration::from_secs(30));
        config.jobs = 3;
        let program = Path::new("/odd ${name}/csi-conformance");
        let defects = Defects::parse(["wrong-volume"]).expect("a defect");
        let chosen = Chosen {
            driver: BuiltIn::Loop,
            program,
            defects: &defects,
            arguments: &[],
        };
        configure(&mut config, chosen, &Host::look()).expect("configured");
        assert_eq!(config.volume.file_systems, ["ext4"]);
        assert_eq!(
            (config.quiet_period, config.jobs),
            (Some(Duration::from_secs(30)), 3)
        );
        assert_eq!(config.driver.command[0], "/odd $${name}/csi-conformance");
        assert_eq!(config.driver.command[7..], ["--defect", "wrong-volume"]);
        config.validate().expect("sound");
    }
}
