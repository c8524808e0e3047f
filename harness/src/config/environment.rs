//! What the environment says.

use super::{Config, ConfigError, ParseError, parse_duration};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;

/// The variable that names the file, as `--config` does.
pub(super) const FILE: &str = "CSI_CONFORMANCE_CONFIG";

/// Every environment variable that is read, and what it means. An empty one
/// counts as not set.
pub const ENVIRONMENT: &[(&str, &str)] = &[
    (
        "CSI_ENDPOINT",
        "endpoint: the driver's socket, in place of every endpoint of the file",
    ),
    (FILE, "the configuration file, as --config"),
    (
        "CSI_CONFORMANCE_REPORT_DIR",
        "report_dir: the folder for the reports",
    ),
    (
        "CSI_CONFORMANCE_JOBS",
        "jobs: how many checks run side by side",
    ),
    ("CSI_CONFORMANCE_REQUIRE", "require: partial or conformant"),
    (
        "CSI_CONFORMANCE_ALLOW",
        "allow: consents, separated by commas; `none` for none",
    ),
    (
        "CSI_CONFORMANCE_DEADLINE",
        "deadline: of every call that has none of its own",
    ),
    (
        "CSI_CONFORMANCE_QUIET_PERIOD",
        "quiet_period: how long to wait at the end for what comes late",
    ),
    (
        "CSI_CONFORMANCE_KUBELET_ROOT",
        "paths.kubelet_root: the kubelet's folder",
    ),
    (
        "CSI_CONFORMANCE_POD_UID",
        "paths.pod_uid: the pod that we run in, which knows it from nobody but the kubelet",
    ),
];

/// One variable; none where it is not set or empty.
pub(super) fn variable(
    environment: &dyn Fn(&str) -> Option<OsString>,
    name: &'static str,
) -> Result<Option<String>, ConfigError> {
    match environment(name).filter(|value| !value.is_empty()) {
        None => Ok(None),
        Some(value) => value
            .into_string()
            .map(Some)
            .map_err(|_| ConfigError::Environment {
                variable: name,
                message: "its value is not UTF-8".into(),
            }),
    }
}

/// Puts what the environment says over what `config` holds.
pub(super) fn overlay(
    config: &mut Config,
    environment: &dyn Fn(&str) -> Option<OsString>,
) -> Result<(), ConfigError> {
    if let Some(path) = environment("CSI_CONFORMANCE_REPORT_DIR").filter(|path| !path.is_empty()) {
        config.report_dir = Some(PathBuf::from(path));
    }
    if let Some(endpoint) = read(environment, "CSI_ENDPOINT", str::parse)? {
        config.set_endpoint(endpoint);
    }
    if let Some(jobs) = read(environment, "CSI_CONFORMANCE_JOBS", jobs)? {
        config.jobs = jobs;
    }
    if let Some(require) = read(environment, "CSI_CONFORMANCE_REQUIRE", str::parse)? {
        config.require = require;
    }
    if let Some(deadline) = read(environment, "CSI_CONFORMANCE_DEADLINE", parse_duration)? {
        config.deadline = deadline;
    }
    if let Some(quiet) = read(environment, "CSI_CONFORMANCE_QUIET_PERIOD", parse_duration)? {
        config.quiet_period = Some(quiet);
    }
    if let Some(allow) = read(environment, "CSI_CONFORMANCE_ALLOW", consents)? {
        config.allow = Some(allow);
    }
    if let Some(root) = environment("CSI_CONFORMANCE_KUBELET_ROOT").filter(|root| !root.is_empty())
    {
        config.paths.kubelet_root = Some(PathBuf::from(root));
    }
    if let Some(uid) = variable(environment, "CSI_CONFORMANCE_POD_UID")? {
        config.paths.pod_uid = Some(uid);
    }
    Ok(())
}

fn read<T>(
    environment: &dyn Fn(&str) -> Option<OsString>,
    name: &'static str,
    parse: impl Fn(&str) -> Result<T, ParseError>,
) -> Result<Option<T>, ConfigError> {
    let Some(text) = variable(environment, name)? else {
        return Ok(None);
    };
    parse(&text)
        .map(Some)
        .map_err(|error| ConfigError::Environment {
            variable: name,
            message: error.to_string(),
        })
}

fn jobs(text: &str) -> Result<usize, ParseError> {
    text.parse()
        .ok()
        .filter(|jobs| *jobs > 0)
        .ok_or_else(|| ParseError::new(format!("expected a whole number from 1, found `{text}`")))
}

/// Reads consents as the environment and the command line give them:
/// `restart,hang`, or `none`.
///
/// # Errors
/// Names the word that is no consent, and the nearest that is.
pub fn consents(text: &str) -> Result<BTreeSet<super::Allow>, ParseError> {
    if text.trim() == "none" {
        return Ok(BTreeSet::new());
    }
    text.split(',').map(|word| word.trim().parse()).collect()
}
