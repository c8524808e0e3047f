//! What came of all mutants, as a table and as lists.

use std::collections::BTreeMap;
use std::process::ExitCode;

use csi_drivers::defect::Kind;

use crate::equivalent::reason;
use crate::mutants::Mutant;
use crate::run::Came;

/// How the mutants of one RPC fared.
#[derive(Debug, Default)]
struct Row {
    killed: usize,
    survived: usize,
    equivalent: usize,
    no_effect: usize,
    broken: usize,
}

impl Row {
    /// Killed, of those that can be.
    fn score(&self) -> String {
        match self.killed + self.survived {
            0 => "-".to_owned(),
            all => format!("{} %", self.killed * 100 / all),
        }
    }

    fn add(&mut self, other: &Self) {
        self.killed += other.killed;
        self.survived += other.survived;
        self.equivalent += other.equivalent;
        self.no_effect += other.no_effect;
        self.broken += other.broken;
    }
}

/// Prints the score by RPC and what is to be looked at; a failure where a mutant
/// survived without a reason, or where it is not known whether one did.
pub(crate) fn tell(driver: Kind, came: &[(Mutant, Came)], of: usize) -> ExitCode {
    let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
    let (mut survivors, mut broken, mut mistaken) = (Vec::new(), Vec::new(), Vec::new());
    for (mutant, came) in came {
        let row = rows.entry(&mutant.rpc).or_default();
        let name = mutant.name();
        match (came, reason(driver, &name)) {
            (Came::Killed(by), listed) => {
                row.killed += 1;
                if listed.is_some() {
                    mistaken.push(format!("{name}: {by}"));
                }
            }
            (Came::Survived(_), Some(_)) => row.equivalent += 1,
            (Came::Survived(_), None) => {
                row.survived += 1;
                survivors.push(format!("{name}: {came}"));
            }
            (Came::NeverMade | Came::Refused(_), _) => row.no_effect += 1,
            (Came::Broken(why), _) => {
                row.broken += 1;
                broken.push(format!("{name}: {why}"));
            }
        }
    }
    print(&rows);
    if came.len() < of {
        println!("{} of {of} were not run: the time was up", of - came.len());
    }
    list(
        "killed, though they stand in the list of equivalent ones",
        &mistaken,
    );
    list("not known", &broken);
    list("SURVIVED, and nobody says why", &survivors);
    match survivors.is_empty() && broken.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn print(rows: &BTreeMap<&str, Row>) {
    let line = |rpc: &str, row: &Row| {
        println!(
            "{rpc:28} {:>7} {:>8} {:>10} {:>9} {:>7} {:>6}",
            row.killed,
            row.survived,
            row.equivalent,
            row.no_effect,
            row.broken,
            row.score()
        );
    };
    println!(
        "{:28} {:>7} {:>8} {:>10} {:>9} {:>7} {:>6}",
        "mutants of", "killed", "survived", "equivalent", "no effect", "unknown", "score"
    );
    let mut sum = Row::default();
    for (rpc, row) in rows {
        line(rpc, row);
        sum.add(row);
    }
    line("all", &sum);
}

fn list(title: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    println!("\n{title}: {}", lines.len());
    for line in lines {
        println!("  {line}");
    }
}
