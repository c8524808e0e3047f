//! The run as `cargo test` sees it.
//!
//! The engine schedules as ever, in a thread of its own; each trial only waits
//! until its case is settled, so that nothing is printed `ok` that a late mount
//! then takes back.

mod board;
mod engine;
mod finding;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use csi_harness::check::{Outcome, Settled};
use csi_harness::report::{folder, safe};
use csi_harness::run::{Plan, Request, Selection};
use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::wrong::Wrong;
use board::Board;
use finding::{closing, rendered};

/// The most bytes shown of a reason.
const REASON: usize = 300;

/// Runs the trials, which are the cases of `plan` that the arguments select.
/// Under `unable`, none of them can be run, and why not.
///
/// # Errors
/// The run cannot begin.
pub(crate) fn run(
    arguments: &Arguments,
    plan: &Plan,
    mut request: Request,
    unable: Option<&str>,
) -> Result<ExitCode, Wrong> {
    let board = Arc::new(Board::default());
    let trials: Vec<Trial> = plan
        .cases
        .iter()
        .map(|case| match unable {
            Some(why) => ignored(&case.id, why),
            None => trial(&case.id, &board),
        })
        .collect();
    let wanted: Vec<&str> = trials
        .iter()
        .filter(|trial| !arguments.is_filtered_out(trial) && !arguments.is_ignored(trial))
        .map(Trial::name)
        .collect();
    if arguments.list || unable.is_some() || wanted.is_empty() {
        return Ok(libtest_mimic::run(arguments, trials).exit_code());
    }

    request.selection = selection(arguments, plan, &wanted);
    let dir = request.config.report_dir.clone().unwrap_or_else(report_dir);
    let engine = engine::start(request, &board)?;
    if !board.wait_begun() {
        return Err(Wrong(
            engine
                .end()
                .err()
                .unwrap_or_else(|| "the run broke off".to_owned()),
        ));
    }
    let conclusion = libtest_mimic::run(arguments, trials);
    let report = engine.end().map_err(Wrong)?;
    // Under the names of tests there is no room for a warning.
    for check in report
        .checks
        .iter()
        .filter(|check| check.outcome == Outcome::Warn)
    {
        eprintln!("{}", rendered(check));
    }
    let path = folder::write(&dir, &report).map_err(Wrong::from)?;
    eprintln!("{}", closing(&report, &path));
    Ok(conclusion.exit_code())
}

fn trial(id: &str, board: &Arc<Board>) -> Trial {
    let (case, board) = (id.to_owned(), board.clone());
    Trial::ignorable_test(id, move || match board.wait_settled(&case) {
        Some(settled) => completion(&settled),
        None => Err(Failed::from("the run broke off before this was settled")),
    })
}

fn ignored(id: &str, why: &str) -> Trial {
    let why = why.to_owned();
    Trial::ignorable_test(id, move || Ok(Completion::ignored_with(why)))
}

fn completion(settled: &Settled) -> Result<Completion, Failed> {
    let ignored = |why: String| Ok(Completion::ignored_with(safe(&why, REASON)));
    match settled.outcome {
        Outcome::Pass | Outcome::Warn => Ok(Completion::Completed),
        Outcome::Fail | Outcome::Unknown | Outcome::Error => Err(Failed::from(rendered(settled))),
        Outcome::Skip => ignored(match &settled.skip {
            Some(skip) => format!("the {} lacks {}", finding::who(skip.lacking), skip.need),
            None => settled.message.clone(),
        }),
        Outcome::Blocked => ignored(match &settled.blocked_by {
            Some(by) => format!("blocked by {by}: {}", settled.message),
            None => format!("blocked: {}", settled.message),
        }),
        Outcome::ExpectedFail => {
            let reason = settled.expected.as_ref().unwrap_or(&settled.message);
            ignored(format!("fails as expected: {reason}"))
        }
    }
}

/// What libtest's arguments select, in the engine's words: the meaning is the
/// same, so only what the configuration leaves out has to be spelt out.
fn selection(arguments: &Arguments, plan: &Plan, wanted: &[&str]) -> Selection {
    if plan.cases.len() == plan.in_suite {
        let filters = arguments.filter.iter().cloned().collect();
        return Selection {
            filters,
            exact: arguments.exact,
            skip: arguments.skip.clone(),
            repeat: None,
        };
    }
    let filters = wanted.iter().map(|id| (*id).to_owned()).collect();
    Selection {
        filters,
        exact: true,
        ..Selection::default()
    }
}

/// `target/conformance/PACKAGE` for a test that cargo built, else a folder in
/// the working directory.
fn report_dir() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    let deps = program.ancestors().find(|folder| folder.ends_with("deps"));
    let target = deps.and_then(|deps| deps.parent()?.parent());
    let package = std::env::var_os("CARGO_PKG_NAME");
    match (target, package) {
        (Some(target), Some(package)) => target.join("conformance").join(package),
        _ => PathBuf::from("csi-conformance-report"),
    }
}
