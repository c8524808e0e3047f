//! Mutants of the reference drivers: every call to the kernel that a driver makes
//! in an RPC, gone wrong in every way, one at a time. A mutant that no check tells
//! from the honest driver survives; the score is how few of them do.
//!
//! `cargo test` runs a small sample. All of them take their time, and run on demand:
//!
//! ```sh
//! cargo test -p csi-conformance --test mutants -- --all
//! cargo test -p csi-conformance --test mutants -- --all --rpc NodePublishVolume --budget 10m
//! cargo test -p csi-conformance --test mutants -- --all --only NodePublishVolume:mount:1=skip
//! cargo test -p csi-conformance --test mutants -- --all --driver fuse
//! ```
//!
//! First the honest driver runs with all checks and writes down its calls
//! (`--trace-calls`): from these the mutants are made. Against each runs what looks at
//! its RPC, and where that finds nothing, everything. A survivor is equivalent, and
//! stands in [`equivalent`] with the reason why nobody can tell it from outside, or it
//! is a gap, and ends this with code 1.

mod equivalent;
mod follow;
mod mutants;
mod pairs;
mod place;
mod run;
mod sample;
mod score;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use csi_drivers::defect::Kind;
use csi_drivers::mutation::NoMutation;
use csi_harness::config::parse_duration;

use mutants::{Mutant, concerned};
use run::{Came, Honest, Suite};

/// All mutants, on demand.
#[derive(Debug, Parser)]
struct Args {
    /// Run all mutants, not the sample
    #[arg(long)]
    all: bool,
    /// Only mutants of these RPCs
    #[arg(long, value_name = "RPC")]
    rpc: Vec<String>,
    /// Only these, without a run against the honest driver first
    #[arg(long, value_name = "MUTATION")]
    only: Vec<String>,
    /// Begin no more mutants after so long
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    budget: Option<Duration>,
    /// Run no checks with this in their id, such as what others on this machine disturb
    #[arg(long, value_name = "FILTER")]
    skip: Vec<String>,
    /// Only the checks that concern the RPC, with one file system: what survives these is
    /// no survivor yet
    #[arg(long)]
    own_only: bool,
    /// Run those that are listed as equivalent together, so many in one driver
    #[arg(long, value_name = "N", default_value_t = 8)]
    together: usize,
    /// The driver that is mutated; that of NFS where the kernel has it (ci/vm/run)
    #[arg(long, value_name = "DRIVER", default_value = "loop", value_parser = kind)]
    driver: Kind,
    /// One more argument for the driver, such as --stage for that of NFS
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    driver_arg: Vec<String>,
    /// Another build of the command
    #[arg(long, value_name = "FILE", default_value = env!("CARGO_BIN_EXE_csi-conformance"))]
    program: PathBuf,
    /// How many at once
    #[arg(long, value_name = "N", default_value_t = 2)]
    jobs: usize,
    /// Only tell which there are
    #[arg(long)]
    list: bool,
}

/// A driver by its name.
fn kind(name: &str) -> Result<Kind, String> {
    [Kind::Loop, Kind::Nfs, Kind::Fuse]
        .into_iter()
        .find(|kind| kind.name() == name)
        .ok_or_else(|| "loop, nfs or fuse".to_owned())
}

fn main() -> ExitCode {
    // All others are libtest's arguments.
    if !std::env::args().any(|word| word == "--all") {
        return sample::main();
    }
    match all(&Args::parse()) {
        Ok(code) => code,
        Err(why) => {
            eprintln!("mutants: {why}");
            ExitCode::FAILURE
        }
    }
}

fn all(args: &Args) -> Result<ExitCode, String> {
    let suite = Suite {
        program: args.program.clone(),
        driver: args.driver,
        driver_args: args.driver_arg.clone(),
        skip: args.skip.clone(),
        own_only: args.own_only,
    };
    let (honest, mut mutants) = if args.only.is_empty() {
        // What does not run against a mutant need not run against the honest driver.
        let own: Vec<_> = match args.own_only {
            true => args
                .rpc
                .iter()
                .flat_map(|rpc| concerned(rpc))
                .copied()
                .collect(),
            false => Vec::new(),
        };
        let honest = run::honest(suite, &own)?;
        let pairs = match args.driver {
            Kind::Loop => pairs::all(),
            Kind::Nfs | Kind::Fuse => Vec::new(),
        };
        let mutants = mutants::of(&honest.calls).into_iter().chain(pairs);
        let mutants = mutants.collect();
        (honest, mutants)
    } else {
        // Whoever names some wants to know of these, and soon.
        let named = args.only.iter().map(|text| text.parse().map(Mutant::of));
        let named = named.collect::<Result<Vec<_>, NoMutation>>();
        (Honest::of(suite), named.map_err(|error| error.to_string())?)
    };
    mutants.retain(|mutant| args.rpc.is_empty() || args.rpc.contains(&mutant.rpc));
    // Where the time is short, calls that fail aloud can wait, and those that are listed.
    mutants.sort_by_key(Mutant::is_loud);
    if args.list {
        for mutant in &mutants {
            println!("{}", mutant.name());
        }
        return Ok(ExitCode::SUCCESS);
    }
    let is_listed = |mutant: &Mutant| equivalent::reason(args.driver, &mutant.name()).is_some();
    let all = mutants.len();
    let batches = mutants::batches(mutants, args.together, is_listed);
    let came = run_all(args, &honest, &batches, all);
    Ok(score::tell(args.driver, &came, all))
}

/// Runs batches of mutants side by side, in their order, until all are done or the time
/// is up.
fn run_all(
    args: &Args,
    honest: &Honest,
    batches: &[Vec<Mutant>],
    all: usize,
) -> Vec<(Mutant, Came)> {
    let began = Instant::now();
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..args.jobs.max(1) {
            scope.spawn(|| {
                while args.budget.is_none_or(|budget| began.elapsed() < budget) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(batch) = batches.get(number) else {
                        return;
                    };
                    let came = run::together(batch, honest);
                    let mut done = done.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                    for (mutant, came) in batch.iter().zip(came) {
                        done.push((number, mutant.clone(), came.clone()));
                        eprintln!("{}/{all} {}: {came}", done.len(), mutant.name());
                    }
                }
            });
        }
    });
    let mut done = done
        .into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    done.sort_by_key(|(number, ..)| *number);
    done.into_iter()
        .map(|(_, mutant, came)| (mutant, came))
        .collect()
}
