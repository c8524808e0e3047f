//! The built-in driver, as a process of its own.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use csi_drivers::defect::Defects;
use csi_harness::config::{AccessMode, AccessType, Config, SecretMap};
use csi_harness::node::Host;

use crate::wrong::Wrong;

/// The file systems that it makes, where the host can.
const FILE_SYSTEMS: [&str; 3] = ["ext4", "xfs", "btrfs"];

/// Sets up a configuration for the built-in driver: `program` is the command
/// `csi-conformance`. What the user said of the run and its volumes stays.
///
/// # Errors
/// The host has no file system that the driver could make.
pub(crate) fn configure(
    config: &mut Config,
    program: &Path,
    defects: &Defects,
    arguments: &[String],
    host: &Host,
) -> Result<(), Wrong> {
    let usual = Config::default();
    // What is about where another driver listens and what it likes.
    (
        config.endpoint,
        config.controller_endpoint,
        config.node_endpoint,
    ) = (None, None, None);
    config.driver = usual.driver.clone();
    config.parameters.clear();
    config.mutable_parameters.clear();
    config.volumes.clear();
    config.topology.clear();
    config.paths = usual.paths.clone();
    config.hooks = usual.hooks.clone();
    config.driver.command = command(program, defects, arguments)?;
    config.driver.ready_timeout = Duration::from_secs(10);
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
    if config.secrets.is_empty() {
        config.secrets.all = canary();
    }
    // Nothing that the driver does outlives its answer by more than this, nor
    // takes this long, unless it has a defect.
    config
        .quiet_period
        .get_or_insert(Duration::from_millis(500));
    if config.deadline == usual.deadline {
        config.deadline = Duration::from_secs(10);
    }
    Ok(())
}

fn command(program: &Path, defects: &Defects, arguments: &[String]) -> Result<Vec<String>, Wrong> {
    let program = program.to_str().ok_or_else(|| {
        Wrong(format!(
            "the path of this program is not UTF-8: {}",
            program.display()
        ))
    })?;
    let words = [
        "driver",
        "loop",
        "--endpoint",
        "${endpoint}",
        "--state-dir",
        "${state_dir}",
    ];
    let mut command = vec![literal(program)];
    command.extend(words.map(str::to_owned));
    for defect in defects.iter() {
        command.extend(["--defect".to_owned(), defect.name.to_owned()]);
    }
    command.extend(arguments.iter().map(|argument| literal(argument)));
    Ok(command)
}

/// What the built-in driver serves: all that one node can see of.
const MODES: [AccessMode; 4] = [
    AccessMode::SingleNodeWriter,
    AccessMode::SingleNodeSingleWriter,
    AccessMode::SingleNodeMultiWriter,
    AccessMode::SingleNodeReaderOnly,
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
        configure(&mut config, program, &defects, &[], &Host::look()).expect("configured");
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
