//! What contradicts itself, or cannot be.

use super::template::{
    DRIVER_VARIABLES, HOOK_VARIABLES, NAME_VARIABLES, VOLUME_VARIABLES, check_template,
};
use super::yaml::Step;
use super::{AccessType, Config, StaticVolume, StringMap};
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Component, Path};
use std::time::Duration;

/// Something wrong at a key.
pub(super) struct Problem {
    /// The key.
    pub(super) path: Vec<Step>,
    /// What is wrong there.
    message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`")?;
        for (i, step) in self.path.iter().enumerate() {
            match step {
                Step::Key(key) if i == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        write!(f, "`: {}", self.message)
    }
}

/// All that is wrong with the whole.
pub(super) fn problems(config: &Config) -> Vec<Problem> {
    let mut found = Problems(Vec::new());
    endpoints(config, &mut found);
    driver(config, &mut found);
    parameters(config, &mut found);
    volume(config, &mut found);
    volumes(&config.volumes, &mut found);
    paths(config, &mut found);
    run(config, &mut found);
    expected(config, &mut found);
    found.0
}

struct Problems(Vec<Problem>);

/// A path from keys and indices.
macro_rules! at {
    ($($step:expr),+) => { vec![$(Step::from($step)),+] };
}

impl Problems {
    fn add(&mut self, path: Vec<Step>, message: impl Into<String>) {
        self.0.push(Problem {
            path,
            message: message.into(),
        });
    }

    fn unless(&mut self, right: bool, path: Vec<Step>, message: impl Into<String>) {
        if !right {
            self.add(path, message);
        }
    }

    fn template(&mut self, path: Vec<Step>, template: &str, known: &[&str]) {
        if let Err(error) = check_template(template, known) {
            self.add(path, error.to_string());
        }
    }

    fn templates(&mut self, path: Vec<Step>, map: &StringMap) {
        for (name, value) in map {
            let mut path = path.clone();
            path.push(Step::from(name.as_str()));
            self.template(path, value, VOLUME_VARIABLES);
        }
    }

    fn absolute(&mut self, path: Vec<Step>, value: &Path) {
        let up = value.components().any(|part| part == Component::ParentDir);
        self.unless(
            value.is_absolute() && !up,
            path,
            format!(
                "`{}` must be an absolute path without `..`",
                value.display()
            ),
        );
    }

    /// A program and its arguments, where there are any.
    fn command(&mut self, path: Vec<Step>, command: &[String], known: &[&str]) {
        for (i, word) in command.iter().enumerate() {
            let here = [path.as_slice(), &[Step::Index(i)]].concat();
            match i {
                0 if word.is_empty() => self.add(here, "the program is missing"),
                _ => self.template(here, word, known),
            }
        }
    }
}

fn endpoints(config: &Config, found: &mut Problems) {
    if config.endpoint.is_none() {
        return;
    }
    for (key, given) in [
        ("controller_endpoint", &config.controller_endpoint),
        ("node_endpoint", &config.node_endpoint),
    ] {
        found.unless(
            given.is_none(),
            at![key],
            "given beside `endpoint`; give that one alone, or the two apart",
        );
    }
}

fn driver(config: &Config, found: &mut Problems) {
    let driver = &config.driver;
    found.command(at!["driver", "command"], &driver.command, DRIVER_VARIABLES);
    for (name, value) in driver.env.expose() {
        let path = at!["driver", "env", name.as_str()];
        found.template(path.clone(), value, DRIVER_VARIABLES);
        let right = !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0');
        found.unless(
            right,
            path,
            "no environment variable can be called or hold that",
        );
    }
    if let Some(pid) = driver.pid {
        let path = || at!["driver", "pid"];
        found.unless(pid > 0, path(), "a process id is larger than 0");
        found.unless(
            driver.pid_file.is_none(),
            path(),
            "given beside `pid_file`; one is enough",
        );
        let message = "given beside `command`: a process that we start has the id that it gets";
        found.unless(driver.command.is_empty(), path(), message);
    }
    let timeout = driver.ready_timeout;
    found.unless(
        timeout > Duration::ZERO,
        at!["driver", "ready_timeout"],
        "must be longer than 0",
    );
    for (key, template) in [
        ("name_template", &driver.name_template),
        ("unknown_volume_id", &driver.unknown_volume_id),
        ("unknown_node_id", &driver.unknown_node_id),
    ] {
        found.unless(
            !template.is_empty(),
            at!["driver", key],
            "must not be empty",
        );
        found.template(at!["driver", key], template, NAME_VARIABLES);
    }
    // Without a number all volumes of a run would have one name.
    let name = &driver.name_template;
    let with_number = name.is_empty() || name.contains("${n}");
    let message = "must hold `${n}`, or all volumes would have one name";
    found.unless(with_number, at!["driver", "name_template"], message);

    for (key, command) in [
        ("after_create_volume", &config.hooks.after_create_volume),
        ("before_node_stage", &config.hooks.before_node_stage),
    ] {
        found.command(at!["hooks", key], command, HOOK_VARIABLES);
    }
}

fn parameters(config: &Config, found: &mut Problems) {
    found.templates(at!["parameters"], &config.parameters);
    found.templates(at!["mutable_parameters"], &config.mutable_parameters);
}

fn volume(config: &Config, found: &mut Problems) {
    let volume = &config.volume;
    found.unless(
        volume.size.bytes() > 0,
        at!["volume", "size"],
        "must be more than 0",
    );
    if let Some(limit) = volume.limit {
        let message = format!("{limit} is less than the size, {}", volume.size);
        found.unless(limit >= volume.size, at!["volume", "limit"], message);
    }
    let path = at!["volume", "access_modes"];
    found.unless(
        !volume.access_modes.is_empty(),
        path,
        "must name one at least",
    );
    for (i, flag) in volume.mount_flags.iter().enumerate() {
        found.unless(
            !flag.is_empty(),
            at!["volume", "mount_flags", i],
            "must not be empty",
        );
    }
    if let Some(group) = &volume.mount_group {
        found.unless(
            !group.is_empty(),
            at!["volume", "mount_group"],
            "must not be empty",
        );
    }
}

fn volumes(volumes: &[StaticVolume], found: &mut Problems) {
    let mut ids = BTreeSet::new();
    for (i, volume) in volumes.iter().enumerate() {
        let id = || at!["volumes", i, "id"];
        found.unless(!volume.id.is_empty(), id(), "must not be empty");
        found.template(id(), &volume.id, VOLUME_VARIABLES);
        let message = "given twice; two checks could not have the volume at once";
        found.unless(ids.insert(&volume.id), id(), message);
        for (key, map) in [
            ("context", &volume.context),
            ("publish_context", &volume.publish_context),
        ] {
            found.templates(at!["volumes", i, key], map);
        }
        let mounted = volume.access_types.contains(&AccessType::Mount);
        let path = at!["volumes", i, "access_types"];
        found.unless(
            !volume.access_types.is_empty(),
            path,
            "must name one at least",
        );
        let path = at!["volumes", i, "access_modes"];
        found.unless(
            !volume.access_modes.is_empty(),
            path,
            "must name one at least",
        );
        if !volume.fs_type.is_empty() && !volume.access_types.is_empty() {
            let message = "given for a volume that is never mounted (`access_types`)";
            found.unless(mounted, at!["volumes", i, "fs_type"], message);
        }
        let message = "given beside `read_only`: what cannot be written to cannot be destroyed";
        found.unless(
            !(volume.scratch && volume.read_only),
            at!["volumes", i, "scratch"],
            message,
        );
    }
}

fn paths(config: &Config, found: &mut Problems) {
    let paths = &config.paths;
    for (key, path) in [
        ("kubelet_root", &paths.kubelet_root),
        ("staging_root", &paths.staging_root),
        ("target_root", &paths.target_root),
    ] {
        if let Some(path) = path {
            found.absolute(at!["paths", key], path);
        }
    }
    for (i, map) in paths.in_driver.iter().enumerate() {
        found.absolute(at!["paths", "in_driver", i, "ours"], &map.ours);
        found.absolute(at!["paths", "in_driver", i, "drivers"], &map.drivers);
    }
    if let Some(uid) = &paths.pod_uid {
        let right = !uid.is_empty() && !uid.contains('/') && uid != "." && uid != "..";
        found.unless(
            right,
            at!["paths", "pod_uid"],
            "must be the name of one folder",
        );
    }
}

fn run(config: &Config, found: &mut Problems) {
    found.unless(
        config.deadline > Duration::ZERO,
        at!["deadline"],
        "must be longer than 0",
    );
    for (rpc, deadline) in &config.deadlines {
        let path = at!["deadlines", rpc.as_str()];
        found.unless(*deadline > Duration::ZERO, path, "must be longer than 0");
    }
    found.unless(config.jobs > 0, at!["jobs"], "must be at least 1");
    found.unless(
        config.max_volumes != Some(0),
        at!["max_volumes"],
        "must be at least 1",
    );
    if let Some(folder) = &config.report_dir {
        found.unless(
            !folder.as_os_str().is_empty(),
            at!["report_dir"],
            "must not be empty",
        );
    }
}

fn expected(config: &Config, found: &mut Problems) {
    for (i, id) in config.checks.skip.iter().enumerate() {
        let both = config.checks.only.contains(id);
        found.unless(
            !both,
            at!["checks", "skip", i],
            format!("`{id}` is in `only` too"),
        );
    }
    for (key, ids) in [("only", &config.checks.only), ("skip", &config.checks.skip)] {
        for (i, id) in ids.iter().enumerate() {
            found.unless(
                !id.trim().is_empty(),
                at!["checks", key, i],
                "must name a check",
            );
        }
    }
    let mut checks = BTreeSet::new();
    for (i, expected) in config.expected.iter().enumerate() {
        let check = || at!["expected", i, "check"];
        found.unless(
            !expected.check.trim().is_empty(),
            check(),
            "must name a check",
        );
        let message = format!("`{}` is expected twice", expected.check);
        found.unless(checks.insert(&expected.check), check(), message);
        let reason = !expected.reason.trim().is_empty();
        found.unless(
            reason,
            at!["expected", i, "reason"],
            "must say why the failure is accepted",
        );
    }
}
