//! The list of checks: what every one of them owes to its readers and to the
//! plan of a run.

use std::collections::BTreeMap;
use std::process::{Command, ExitCode, Stdio};

use csi_conformance::checks;
use csi_harness::check::{Check, Phase};
use csi_harness::node::Host;
use csi_harness::report::json;
use csi_harness::run::one_owner_each;
use libtest_mimic::{Arguments, Completion, Trial};

fn main() -> ExitCode {
    let host = Host::look();
    let needs = ["root", "CAP_SYS_ADMIN", "loop", "ext4"];
    let lacking = needs.into_iter().find(|name| !host.has(name));
    let test = |name, test: fn()| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    };
    let trials = vec![
        test(
            "ids_are_words_unique_and_sorted",
            ids_are_words_unique_and_sorted,
        ),
        test(
            "headlines_are_short_and_said_once",
            headlines_are_short_and_said_once,
        ),
        test("each_stands_for_a_clause", each_stands_for_a_clause),
        test("real_bugs_can_be_opened", real_bugs_can_be_opened),
        test("each_step_has_one_owner", each_step_has_one_owner),
        Trial::ignorable_test("no_check_needs_more_than_it_says", move || {
            if let Some(lacking) = lacking {
                return Ok(Completion::ignored_with(format!(
                    "the host lacks {lacking}"
                )));
            }
            no_check_needs_more_than_it_says();
            Ok(Completion::Completed)
        }),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn ids_are_words_unique_and_sorted() {
    let all = checks::all();
    assert!(all.len() >= 45, "{} checks", all.len());
    for pair in all.windows(2) {
        assert!(pair[0].id < pair[1].id, "{} {}", pair[0].id, pair[1].id);
    }
    let is_word = |word: &str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    for check in all {
        let parts: Vec<_> = check.id.split('.').collect();
        let words = parts.iter().flat_map(|part| part.split('-'));
        assert!(
            parts.len() == 2 && words.clone().all(is_word),
            "{:?} is not of the form words-of-it.words-of-it",
            check.id
        );
    }
}

fn headlines_are_short_and_said_once() {
    let mut seen = BTreeMap::new();
    for check in checks::all() {
        let headline = check.headline();
        assert!(!headline.is_empty(), "{}", check.id);
        assert!(!headline.ends_with('.'), "{}: {headline}", check.id);
        assert!(headline.len() < 110, "{}: {headline}", check.id);
        if let Some(other) = seen.insert(headline.clone(), check.id) {
            panic!("{} and {other} both say: {headline}", check.id);
        }
    }
}

fn each_stands_for_a_clause() {
    for check in checks::all() {
        assert!(!check.clauses.is_empty(), "{}", check.id);
        for clause in check.clauses {
            let told = [clause.id, clause.text, clause.section];
            assert!(told.iter().all(|t| !t.is_empty()), "{}", check.id);
            assert!(clause.url.starts_with("https://"), "{}", clause.id);
        }
        let twice = check
            .clauses
            .iter()
            .enumerate()
            .any(|(n, clause)| check.clauses[..n].contains(clause));
        assert!(!twice, "{} names a clause twice", check.id);
    }
}

fn real_bugs_can_be_opened() {
    for check in checks::all() {
        for bug in check.bugs() {
            assert!(!bug.what.is_empty(), "{}: {}", check.id, bug.issue);
            assert!(
                bug.url.starts_with("https://"),
                "{}: {:?} is no owner/repo#1, owner/repo!1 or CVE",
                check.id,
                bug.issue
            );
        }
    }
}

fn each_step_has_one_owner() {
    let all = checks::all();
    one_owner_each(&all).expect("one owner for each step");
    for check in all {
        // Owners come first among those that run alone.
        let early = check.phase != Phase::Together;
        assert!(
            check.owns.is_empty() || early,
            "{} owns a step, and is not run before those that need it",
            check.id
        );
    }
}

/// Says of a check id, which may have a case, which check it is of.
fn of<'a>(all: &'a [&'static Check], id: &str) -> Option<&'a &'static Check> {
    let base = id.split('[').next().unwrap_or_default();
    all.iter().find(|check| check.id == base)
}

/// A plan tells how many volumes and calls a run needs at most.
fn no_check_needs_more_than_it_says() {
    let place = tempfile::tempdir().expect("a folder");
    let output = Command::new(env!("CARGO_BIN_EXE_csi-conformance"))
        .args(["run", "--driver", "loop", "--report-dir"])
        .arg(place.path().join("report"))
        .env("CSI_CONFORMANCE_STATE", place.path().join("state"))
        .current_dir(place.path())
        .stdin(Stdio::null())
        .output()
        .expect("a run");
    let report = json::read(&place.path().join("report"))
        .unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let all = checks::all();
    let mut more = Vec::new();
    for settled in &report.checks {
        let check = of(&all, &settled.id).expect("a check of the suite");
        let (calls, volumes) = (u64::from(check.calls), u64::from(check.volumes));
        if settled.calls > calls || settled.volumes > volumes {
            more.push(format!(
                "{} made {} calls of {calls}, had {} volumes of {volumes}",
                settled.id, settled.calls, settled.volumes
            ));
        }
    }
    assert!(more.is_empty(), "{}", more.join("\n"));
}
