//! The suite against the honest driver and against every defect that it can be
//! told to have. At the end the matrix is printed: defect × findings.

mod creation;
mod disks;
mod keeps;
mod mapped;
mod nfs;
mod old_kernel;
mod one;
mod restart;
mod table;
mod watched;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use csi_drivers::defect::{self, Kind};
use csi_harness::check::{Outcome, Settled};
use csi_harness::node::Host;
use csi_harness::report::Verdict;
use libtest_mimic::{Arguments, Completion, Trial};
use nfs::{MORE, NFS};
use one::{Red, Said, run};
use table::{Driver, Expect, LOOP, Row};

/// What was found of each, for the matrix; and why it is not what was due.
type Matrix = Arc<Mutex<BTreeMap<String, (String, Option<String>)>>>;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Each run has jobs of its own.
    arguments.test_threads = Some(arguments.test_threads.unwrap_or(2));
    let host = Arc::new(Host::look());
    let matrix = Matrix::default();
    let mut trials = vec![Trial::test("the_table_is_whole", || {
        whole().map_err(Into::into)
    })];
    for row in rows() {
        let (host, matrix) = (host.clone(), matrix.clone());
        trials.push(Trial::ignorable_test(name(row), move || {
            if let Some(lacking) = lacks(&host, row) {
                return Ok(Completion::ignored_with(format!(
                    "the host lacks {lacking}"
                )));
            }
            let mut said = run(row)?;
            // Some defects are races. An honest driver has no second chance.
            if matches!(row.expect, Expect::Caught { .. })
                && let Err(why) = judge(row, &said)
            {
                eprintln!("{}: once more: {why}; found: {}", row.name(), line(&said));
                said = run(row)?;
            }
            let line = line(&said);
            let wrong = judge(row, &said).err();
            if let Some(why) = &wrong {
                // Told at once: a run of all takes its time.
                eprintln!("{}: {why}; found: {line}{}", row.name(), messages(&said));
            }
            matrix
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(row.name(), (line.clone(), wrong.clone()));
            match wrong {
                Some(why) => Err(format!("{why}; found: {line}").into()),
                None => Ok(Completion::Completed),
            }
        }));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    print(&matrix.lock().unwrap_or_else(PoisonError::into_inner));
    conclusion.exit_code()
}

/// The rows of all drivers.
fn rows() -> impl Iterator<Item = &'static Row> {
    let more = [
        creation::ROWS,
        disks::ROWS,
        keeps::ROWS,
        mapped::ROWS,
        restart::ROWS,
        watched::ROWS,
    ];
    LOOP.iter()
        .chain(more.into_iter().flatten())
        .chain(NFS)
        .chain(MORE)
}

/// The name of its trial: `nfs/chmod-on-publish`, `more-nfs/target-dir-left`.
fn name(row: &Row) -> String {
    let more = MORE.iter().any(|other| std::ptr::eq(other, row));
    format!("{}{}", if more { "more-" } else { "" }, row.name())
}

/// What the host lacks for a row, and how to have it.
fn lacks(host: &Host, row: &Row) -> Option<String> {
    let needs = match row.kind() {
        Kind::Loop => &["root", "CAP_SYS_ADMIN", "loop", "ext4"][..],
        Kind::Nfs => &["root", "CAP_SYS_ADMIN", "nfs", "nfsd"],
        Kind::Fuse => &["root", "CAP_SYS_ADMIN", "fuse"],
    };
    let mapper = (row.driver == Driver::Mapped).then_some("device-mapper");
    let xfs = (row.kind() == Kind::Loop && row.defect == "dies").then_some("xfs");
    let lacking = needs
        .iter()
        .copied()
        .chain(xfs)
        .chain(mapper)
        .find(|name| !host.has(name))?;
    Some(match lacking {
        "nfs" | "nfsd" | "device-mapper" => {
            format!("{lacking}; ci/vm/run runs this in a virtual machine")
        }
        lacking => lacking.to_owned(),
    })
}

/// Every defect of each driver stands in its table, and nothing else does.
fn whole() -> Result<(), String> {
    for kind in [Kind::Loop, Kind::Nfs, Kind::Fuse] {
        let there: BTreeSet<_> = rows()
            .filter(|row| row.kind() == kind)
            .map(|row| row.defect)
            .collect();
        let due: BTreeSet<_> = defect::of(kind).map(|d| d.name).chain([""]).collect();
        if let Some(odd) = there.symmetric_difference(&due).next() {
            return Err(format!(
                "{odd:?} is only in the table of {kind:?}, or only in the driver"
            ));
        }
    }
    let names: BTreeSet<_> = rows().map(name).collect();
    match names.len() == rows().count() {
        true => Ok(()),
        false => Err("a row stands in a table twice".into()),
    }
}

/// Whether a run said what is due.
fn judge(row: &Row, said: &Said) -> Result<(), String> {
    let ours = |word: &str| word == "unknown" || word == "error";
    if let Some(((id, word), _)) = said.red.iter().find(|((_, word), _)| ours(word)) {
        return Err(format!("{id} ended with {word}"));
    }
    let totals = said.report.totals;
    match &row.expect {
        Expect::Clean => {
            if !said.red.is_empty() || totals.blocked > 0 || !said.report.ledger.is_empty() {
                return Err(format!("the honest driver is found fault with: {totals:?}"));
            }
            let least = if row.only.is_empty() { 45 } else { 1 };
            if said.code != Some(0) || totals.pass < least {
                return Err(format!("exit code {:?}, {totals:?}", said.code));
            }
            if !matches!(said.report.verdict, Verdict::Conformant | Verdict::Partial) {
                return Err(format!("the verdict is {:?}", said.report.verdict));
            }
            Ok(())
        }
        Expect::Caught { must, may } => {
            let fails = said.red.keys().any(|(_, word)| *word == "fail");
            if said.code != Some(i32::from(fails)) {
                return Err(format!("exit code {:?}", said.code));
            }
            for (id, outcome) in *must {
                let word = word(*outcome);
                if !said.red.contains_key(&((*id).to_owned(), word)) {
                    return Err(format!("{id} had to end with {word}"));
                }
            }
            match said.red.keys().find(|(id, _)| !allowed(id, must, may)) {
                None => Ok(()),
                Some((id, word)) => Err(format!("{id} has nothing to do with it: {word}")),
            }
        }
    }
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Warn => "warn",
        _ => "fail",
    }
}

fn allowed(id: &str, must: &[(&str, Outcome)], may: &[&str]) -> bool {
    let matches = |pattern: &&str| match pattern.strip_suffix('*') {
        Some(start) => id.starts_with(start),
        None => id == *pattern,
    };
    must.iter().any(|(due, _)| *due == id) || may.iter().any(matches)
}

/// What was found, in one line.
fn line(said: &Said) -> String {
    let mut line = String::new();
    for ((id, word), cases) in &said.red as &Red {
        let cases = match cases.iter().all(String::is_empty) {
            true => String::new(),
            false => format!("[{}]", cases.join(",")),
        };
        let _ = write!(line, "{word} {id}{cases}; ");
    }
    let blocked = |check: &&Settled| check.outcome == Outcome::Blocked;
    for check in said.report.checks.iter().filter(blocked) {
        let _ = write!(line, "blocked {} ({}); ", check.id, check.message);
    }
    let totals = said.report.totals;
    let _ = write!(
        line,
        "{} blocked, {} in the ledger, {:.1} s",
        totals.blocked,
        said.report.ledger.len(),
        f64::from(u32::try_from(said.report.duration_ms).unwrap_or(u32::MAX)) / 1000.0
    );
    line
}

/// What the findings say, a line each.
fn messages(said: &Said) -> String {
    let is_red = |check: &&Settled| matches!(check.outcome, Outcome::Fail | Outcome::Warn);
    let red = said.report.checks.iter().filter(is_red);
    red.map(|check| format!("\n  {}: {}", check.id, check.message))
        .collect()
}

fn print(matrix: &BTreeMap<String, (String, Option<String>)>) {
    if matrix.is_empty() {
        return;
    }
    println!("defect × findings:");
    for row in rows() {
        let Some((line, _)) = matrix.get(&row.name()) else {
            continue;
        };
        println!("  {:46} {line}", row.name());
    }
    // Last: of a long log the end is what is read.
    for (name, (_, why)) in matrix {
        if let Some(why) = why {
            println!("WRONG: {name}: {why}");
        }
    }
}
