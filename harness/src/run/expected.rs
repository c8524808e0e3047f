//! Known failures, held against the whole run: what one case alone cannot tell.

use crate::check::{Outcome, Settled};
use crate::config::Expected;

/// Lets a known failure of a check with cases be a finding where all of them passed: the
/// entry is stale. Gives the entries that nothing came of, in words; those of unknown
/// checks are told by whoever knows the checks.
pub(super) fn settle<'a>(
    checks: &mut [Settled],
    expected: impl IntoIterator<Item = &'a Expected>,
) -> Vec<String> {
    let mut idle = Vec::new();
    for entry in expected {
        let is_its_own = |case: &&mut Settled| entry.is_of(&case.id);
        let mut cases: Vec<_> = checks.iter_mut().filter(is_its_own).collect();
        let not_run =
            |case: &&mut Settled| matches!(case.outcome, Outcome::Skip | Outcome::Blocked);
        if cases.iter().all(not_run) {
            let line = entry.line.map(|line| format!(", line {line}"));
            let (line, check) = (line.unwrap_or_default(), &entry.check);
            idle.push(format!(
                "expected{line}: nothing that ran is called `{check}`"
            ));
            continue;
        }
        if cases.iter().all(|case| case.outcome == Outcome::Pass)
            && let Some(case) = cases.first_mut()
        {
            case.outcome = Outcome::Fail;
            case.message = format!(
                "passed, and so did all its other cases, though it is listed as a known failure: {}",
                entry.reason
            );
        }
    }
    idle
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(id: &str, outcome: Outcome) -> Settled {
        let json = serde_json::json!({
            "id": id, "headline": "", "level": "MUST", "basis": "specification",
            "outcome": outcome, "message": "", "duration_ms": 0, "clauses": [],
            "evidence": [], "seen_in": [], "look_at": "",
        });
        serde_json::from_value(json).expect("a settled check")
    }

    fn entry(check: &str) -> Expected {
        Expected {
            check: check.to_owned(),
            reason: "known".to_owned(),
            issue: None,
            line: Some(7),
        }
    }

    #[test]
    fn an_entry_is_stale_when_all_its_cases_pass() {
        let mut checks = [
            case("a.b[ext4]", Outcome::Pass),
            case("a.b[xfs]", Outcome::Pass),
            case("a.c[ext4]", Outcome::Pass),
            case("a.c[xfs]", Outcome::ExpectedFail),
            case("a.d[ext4]", Outcome::Pass),
            case("a.d[xfs]", Outcome::Skip),
        ];
        let idle = settle(&mut checks, &[entry("a.b"), entry("a.c"), entry("a.d")]);
        assert_eq!(idle, Vec::<String>::new());
        let failed: Vec<_> = checks
            .iter()
            .filter(|case| case.outcome == Outcome::Fail)
            .map(|case| case.id.as_str())
            .collect();
        // Of a case that did not run nobody knows.
        assert_eq!(failed, ["a.b[ext4]"]);
    }

    #[test]
    fn an_entry_that_matches_nothing_is_told() {
        let mut checks = [case("a.b", Outcome::Skip), case("a.c", Outcome::Pass)];
        let idle = settle(&mut checks, &[entry("a.b"), entry("a.z")]);
        assert_eq!(idle.len(), 2, "{idle:?}");
        assert!(idle[1].contains("line 7") && idle[1].contains("`a.z`"));
    }
}
