//! One run of the command against one mutant.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use csi_drivers::defect::Kind;

use crate::equivalent::reason;
use crate::follow::follow;
use crate::mutants::{Calls, Mutant, concerned, file_systems};
use crate::place::{Place, Traced};

/// What runs against every mutant.
#[derive(Debug)]
pub(crate) struct Suite {
    /// The command.
    pub(crate) program: PathBuf,
    /// The driver that is mutated.
    pub(crate) driver: Kind,
    /// What the driver is started with besides.
    pub(crate) driver_args: Vec<String>,
    /// Checks with one of these in their id do not run.
    pub(crate) skip: Vec<String>,
    /// What concerns the RPC runs, and never everything.
    pub(crate) own_only: bool,
}

impl Default for Suite {
    fn default() -> Self {
        Self {
            program: env!("CARGO_BIN_EXE_csi-conformance").into(),
            driver: Kind::Loop,
            driver_args: Vec::new(),
            skip: Vec::new(),
            own_only: false,
        }
    }
}

/// What the honest driver did.
#[derive(Debug)]
pub(crate) struct Honest {
    /// In which run.
    pub(crate) suite: Suite,
    /// Its calls to the kernel.
    pub(crate) calls: Calls,
    /// The checks that find fault with it all the same.
    pub(crate) red: BTreeSet<String>,
}

impl Honest {
    /// An honest driver that nobody has looked at: nothing is found with it.
    pub(crate) fn of(suite: Suite) -> Self {
        Self {
            suite,
            calls: Calls::new(),
            red: BTreeSet::new(),
        }
    }
}

/// What came of a mutant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Came {
    /// A check told it from the honest driver: the line that said so.
    Killed(String),
    /// All checks ran, and it was made so often; what the calls that were made wrong
    /// answered, each with how often.
    Survived(BTreeMap<String, usize>),
    /// It was never made, or no other volume's object was there.
    NeverMade,
    /// The kernel refused what was done too much, as it will wherever it is done.
    Refused(String),
    /// It is not known: our own fault.
    Broken(String),
}

impl fmt::Display for Came {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Killed(by) => write!(f, "killed: {by}"),
            Self::Survived(effects) => {
                f.write_str("SURVIVED:")?;
                effects
                    .iter()
                    .try_for_each(|(effect, times)| write!(f, " {effect} ({times} times);"))
            }
            Self::NeverMade => f.write_str("no effect: it was never made, or on no other object"),
            Self::Refused(why) => write!(f, "no effect: the second call is refused: {why}"),
            Self::Broken(why) => write!(f, "BROKEN: {why}"),
        }
    }
}

/// Runs these checks (none: all) against the honest driver, and reads which calls it makes.
pub(crate) fn honest(suite: Suite, filters: &[&str]) -> Result<Honest, String> {
    let place = Place::new()?;
    let mut command = place.command(&suite, filters, Duration::from_millis(300));
    let ended = follow(&mut command, &place, |_| false)?;
    place.left_nothing()?;
    let calls = place.calls();
    if calls.is_empty() {
        return Err(format!(
            "the honest driver made no call ({}): {}",
            ended.status,
            ended.said.join("\n")
        ));
    }
    Ok(Honest {
        suite,
        calls,
        red: ended
            .said
            .iter()
            .filter_map(|line| red(line))
            .map(|(id, _)| id.to_owned())
            .collect(),
    })
}

/// Runs several of one RPC in one driver: what nobody tells from the honest driver is
/// seen for all of them at once. Where that driver is found out, each runs by itself.
///
/// One might hide another; they are for those of which it is known that nobody can tell.
pub(crate) fn together(mutants: &[Mutant], honest: &Honest) -> Vec<Came> {
    let by_itself = || mutants.iter().map(|one| mutant(one, honest)).collect();
    let [first, _, ..] = mutants else {
        return by_itself();
    };
    let (own, file_systems) = (
        concerned(&first.rpc),
        file_systems(honest.suite.driver, &first.rpc),
    );
    match run_each(mutants, own, file_systems, honest) {
        Ok(came) if !came.iter().any(|came| matches!(came, Came::Killed(_))) => came,
        _ => by_itself(),
    }
}

/// Runs what concerns a mutant against it, with no more file systems than it takes, and then everything,
/// until a check finds fault with it. Of one that is listed as equivalent, what
/// concerns it will do.
pub(crate) fn mutant(mutant: &Mutant, honest: &Honest) -> Came {
    let driver = honest.suite.driver;
    let (own, file_systems) = (concerned(&mutant.rpc), file_systems(driver, &mutant.rpc));
    let first = run(mutant, own, file_systems, honest);
    let enough = honest.suite.own_only || reason(driver, &mutant.name()).is_some();
    let came = match first {
        Ok(Came::Survived(_) | Came::NeverMade) if !enough => run(mutant, &[], "", honest),
        came => came,
    };
    came.unwrap_or_else(Came::Broken)
}

/// One run with these filters and this configuration, to the first finding.
pub(crate) fn run(
    mutant: &Mutant,
    filters: &[&str],
    config: &str,
    honest: &Honest,
) -> Result<Came, String> {
    let came = run_each(std::slice::from_ref(mutant), filters, config, honest)?;
    came.into_iter()
        .next()
        .ok_or_else(|| "nothing was run".to_owned())
}

/// The same of several in one driver; a finding is one for each of them.
fn run_each(
    mutants: &[Mutant],
    filters: &[&str],
    config: &str,
    honest: &Honest,
) -> Result<Vec<Came>, String> {
    let place = Place::new()?;
    let is_late = mutants.iter().any(Mutant::is_late);
    let quiet = Duration::from_millis(if is_late { 2000 } else { 300 });
    let mut command = place.command(&honest.suite, filters, quiet);
    if !config.is_empty() {
        let file = place.base.join("config.yaml");
        std::fs::write(&file, config).map_err(|error| format!("{}: {error}", file.display()))?;
        command.arg("--config").arg(file);
    }
    for mutation in mutants.iter().flat_map(|mutant| &mutant.mutations) {
        command.arg(format!("--driver-arg=--mutate={mutation}"));
    }
    for defect in mutants.iter().flat_map(|mutant| &mutant.defects) {
        command.arg(format!("--defect={defect}"));
    }
    let is_found = |line: &str| red(line).is_some_and(|(id, _)| !honest.red.contains(id));
    let ended = follow(&mut command, &place, is_found)?;
    let found = ended.said.iter().find(|line| is_found(line));
    if found.is_some() {
        place.detach()?;
    }
    place.left_nothing()?;
    let each = |came| mutants.iter().map(|_| Came::clone(came)).collect();
    if let Some(line) = found {
        return Ok(each(&Came::Killed(line.clone())));
    }
    if let Some(panicked) = ended.said.iter().find(|line| line.contains("panicked")) {
        return Err(format!("the harness panicked: {panicked}"));
    }
    match ended.status.code() {
        Some(0..=2) => {
            let trace = place.trace();
            Ok(mutants.iter().map(|one| survived(one, &trace)).collect())
        }
        // No driver, no deception.
        Some(3) if ended.said.iter().any(|line| line.contains("driver")) => {
            let why = format!("it does not start: {}", ended.said.join("; "));
            Ok(each(&Came::Killed(why)))
        }
        _ => {
            let last = ended.said.iter().rev().take(5).rev();
            let last: Vec<_> = last.map(String::as_str).collect();
            Err(format!("{}: {}", ended.status, last.join("\n")))
        }
    }
}

/// What a mutant did, of which no check told.
fn survived(mutant: &Mutant, trace: &[Traced]) -> Came {
    let mut effects = BTreeMap::new();
    let mut refused = BTreeMap::new();
    for line in trace.iter().filter(|line| line.is_made_by(mutant)) {
        let is_nothing = line.how == "twice" && line.came != "ok";
        let into = if is_nothing {
            &mut refused
        } else {
            &mut effects
        };
        *into.entry(line.came.clone()).or_insert(0_usize) += 1;
    }
    if !effects.is_empty() || !mutant.defects.is_empty() {
        return Came::Survived(effects);
    }
    match refused.into_keys().next() {
        Some(why) => Came::Refused(why),
        None => Came::NeverMade,
    }
}

/// A finding: its check and what it says. Lines are `fail  ID  TIME  MESSAGE`.
fn red(line: &str) -> Option<(&str, &str)> {
    let rest = ["fail  ", "warn  "]
        .into_iter()
        .find_map(|word| line.strip_prefix(word))?;
    rest.split_once("  ")
}
