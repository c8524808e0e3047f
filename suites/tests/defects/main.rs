//! The suite against the honest driver and against every defect that it can be
//! told to have. At the end the matrix is printed: defect × findings.

mod one;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use csi_drivers::defect;
use csi_harness::check::Outcome;
use csi_harness::node::Host;
use csi_harness::report::Verdict;
use libtest_mimic::{Arguments, Completion, Trial};
use one::{Red, Said, run};
use table::{Expect, ROWS, Row};

/// What was found of each, for the matrix.
type Matrix = Arc<Mutex<BTreeMap<&'static str, String>>>;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Each run has jobs of its own.
    arguments.test_threads = Some(arguments.test_threads.map_or(2, |n| n.min(2)));
    let host = Arc::new(Host::look());
    let matrix = Matrix::default();
    let mut trials = vec![Trial::test("the_table_is_whole", || {
        whole().map_err(Into::into)
    })];
    for row in ROWS {
        let (host, matrix) = (host.clone(), matrix.clone());
        trials.push(Trial::ignorable_test(name(row), move || {
            if let Some(lacking) = lacks(&host, row) {
                return Ok(Completion::ignored_with(format!(
                    "the host lacks {lacking}"
                )));
            }
            let said = run(row.defect)?;
            let line = line(&said);
            matrix
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(row.defect, line.clone());
            judge(row, &said).map_err(|why| format!("{why}; found: {line}"))?;
            Ok(Completion::Completed)
        }));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    print(&matrix.lock().unwrap_or_else(PoisonError::into_inner));
    conclusion.exit_code()
}

fn name(row: &Row) -> &'static str {
    match row.defect {
        "" => "honest",
        defect => defect,
    }
}

fn lacks(host: &Host, row: &Row) -> Option<&'static str> {
    let needs = ["root", "CAP_SYS_ADMIN", "loop", "ext4"];
    let xfs = (row.defect == "dies").then_some("xfs");
    needs.into_iter().chain(xfs).find(|name| !host.has(name))
}

/// Every defect stands in the table once, and nothing else does.
fn whole() -> Result<(), String> {
    let there: BTreeSet<_> = ROWS.iter().map(|row| row.defect).collect();
    let due: BTreeSet<_> = defect::all().iter().map(|d| d.name).chain([""]).collect();
    if there.len() != ROWS.len() {
        return Err("a defect stands in the table twice".into());
    }
    match there.symmetric_difference(&due).next() {
        None => Ok(()),
        Some(odd) => Err(format!(
            "{odd:?} is only in the table, or only in the driver"
        )),
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
            if said.code != Some(0) || totals.pass < 45 {
                return Err(format!("exit code {:?}, {totals:?}", said.code));
            }
            if !matches!(said.report.verdict, Verdict::Conformant | Verdict::Partial) {
                return Err(format!("the verdict is {:?}", said.report.verdict));
            }
            Ok(())
        }
        Expect::NotYet(why) => match said.red.is_empty() {
            true => Ok(()),
            false => Err(format!(
                "it is caught now, though the table says that {why}: move its row"
            )),
        },
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

fn print(matrix: &BTreeMap<&'static str, String>) {
    if matrix.is_empty() {
        return;
    }
    println!("defect × findings:");
    for row in ROWS {
        let Some(line) = matrix.get(row.defect) else {
            continue;
        };
        let gap = match &row.expect {
            Expect::NotYet(why) => format!("not yet: {why}; "),
            _ => String::new(),
        };
        println!("  {:34} {gap}{line}", name(row));
    }
}
