//! A few mutants of every kind, for every `cargo test`.

use std::collections::BTreeSet;
use std::process::ExitCode;

use csi_drivers::defect::Kind;
use csi_harness::node::Host;
use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::equivalent;
use crate::mutants::{Mutant, file_systems};
use crate::pairs;
use crate::run::{self, Came, Honest, Suite};

/// Mutants, and the checks that are known to kill them: one run is enough.
const SAMPLE: &[(Kind, &str, &[&str])] = &[
    (
        Kind::Loop,
        "NodeStageVolume:mount:1=skip",
        &["node-publish.target"],
    ),
    (Kind::Loop, "NodeStageVolume:mkfs:1=error", &["node-stage."]),
    (
        Kind::Loop,
        "NodeStageVolume:loop-configure:1=wrong-source",
        &["node-publish."],
    ),
    (
        Kind::Loop,
        "NodeUnstageVolume:loop-clear:1=lie",
        &["node-unstage."],
    ),
    (
        Kind::Loop,
        "NodePublishVolume:mount:1=skip",
        &["node-publish.target"],
    ),
    (
        Kind::Loop,
        "NodePublishVolume:mount:1=twice",
        &["node-publish.target"],
    ),
    (
        Kind::Loop,
        "NodePublishVolume:mount:2=skip",
        &["node-publish.read-only"],
    ),
    (
        Kind::Loop,
        "NodeUnpublishVolume:rmdir:1=skip",
        &["node-unpublish."],
    ),
    (
        Kind::Loop,
        "NodeGetVolumeStats:statfs:1=lie",
        &["node-stats."],
    ),
    (
        Kind::Loop,
        "ControllerUnpublishVolume:rename:1=skip",
        &["driver-restart.unused"],
    ),
    (
        Kind::Loop,
        "NodeUnpublishVolume:mountinfo:3=error",
        &["node-unpublish.", "driver.works-the-first-time"],
    ),
    (
        Kind::Loop,
        "CreateSnapshot:write:2=skip",
        &["driver-restart.snapshots"],
    ),
    (
        Kind::Loop,
        "NodeExpandVolume:write:1=twice",
        &["driver-restart.expansion"],
    ),
    (
        Kind::Fuse,
        "DeleteVolume:rename:1=skip",
        &["driver-restart.deleted"],
    ),
];

/// Runs them as trials of libtest.
pub(crate) fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Each run has jobs of its own.
    arguments.test_threads = Some(arguments.test_threads.unwrap_or(2));
    let host = Host::look();
    let lacking = ["root", "CAP_SYS_ADMIN", "loop", "ext4", "fuse"]
        .into_iter()
        .find(|name| !host.has(name));
    let mut trials = vec![
        Trial::test("every_pair_is_well_written", pairs_are_whole),
        Trial::test("every_reason_is_given_once", reasons_are_given_once),
    ];
    trials.extend(SAMPLE.iter().map(|(driver, mutation, filters)| {
        Trial::ignorable_test(format!("{}/{mutation}", driver.name()), move || {
            if let Some(lacking) = lacking {
                return Ok(Completion::ignored_with(format!(
                    "the host lacks {lacking}"
                )));
            }
            is_killed(*driver, mutation, filters)
        })
    }));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn is_killed(driver: Kind, mutation: &str, filters: &[&str]) -> Result<Completion, Failed> {
    let mutant = Mutant::of(mutation.parse()?);
    let honest = Honest::of(Suite {
        driver,
        ..Suite::default()
    });
    let file_systems = file_systems(driver, &mutant.rpc);
    match run::run(&mutant, filters, file_systems, &honest)? {
        Came::Killed(_) => Ok(Completion::Completed),
        came => Err(came.to_string().into()),
    }
}

fn pairs_are_whole() -> Result<(), Failed> {
    match pairs::all()
        .iter()
        .find(|pair| pair.mutations.len() + pair.defects.len() != 2)
    {
        None => Ok(()),
        Some(pair) => Err(format!("no pair: {}", pair.name()).into()),
    }
}

fn reasons_are_given_once() -> Result<(), Failed> {
    for driver in [Kind::Loop, Kind::Nfs, Kind::Fuse] {
        let mut seen = BTreeSet::new();
        let mut patterns = equivalent::of(driver).map(|(pattern, _)| pattern);
        if let Some(twice) = patterns.find(|pattern| !seen.insert(*pattern)) {
            return Err(format!("{twice} stands in the list twice").into());
        }
    }
    Ok(())
}
