//! Names that a user gives to checks.

use csi_harness::check::Check;
use csi_harness::config::{Config, nearest};
use csi_harness::run::{Plan, Selection};

use crate::wrong::Wrong;

/// The id of a check without its case: `node-publish.read-only[xfs]` is one of
/// `node-publish.read-only`.
pub(crate) fn base(id: &str) -> &str {
    id.split('[').next().unwrap_or_default()
}

/// The check of this id, with or without a case.
///
/// # Errors
/// There is none; the nearest is named.
pub(crate) fn find(checks: &[&'static Check], id: &str) -> Result<&'static Check, Wrong> {
    let found = checks.iter().find(|check| check.id == base(id));
    found.copied().ok_or_else(|| unknown(checks, id))
}

/// There is no such check.
pub(crate) fn unknown(checks: &[&'static Check], word: &str) -> Wrong {
    let ids = || nearest(base(word), checks.iter().map(|check| check.id));
    if checks.iter().any(|check| check.id.contains(word)) {
        return Wrong(format!(
            "no check is called `{word}`: it is a part of some names, and a filter; `csi-conformance list {word}` names them"
        ));
    }
    // A part of an id is a filter too.
    let parts = || {
        nearest(
            base(word),
            checks.iter().flat_map(|check| check.id.split('.')),
        )
    };
    let near = if word.contains('.') {
        ids().or_else(parts)
    } else {
        parts().or_else(ids)
    };
    Wrong(match near {
        Some(near) => format!("no check is called `{word}`; the nearest name is `{near}`"),
        None => format!("no check is called `{word}`; `csi-conformance list` names them all"),
    })
}

/// Which cases the command line and the configuration select together. On the
/// command line a whole id of a check stands for all of its cases.
///
/// # Errors
/// A word that names no check.
pub(crate) fn selection(
    checks: &[&'static Check],
    config: &Config,
    given: &Selection,
) -> Result<Selection, Wrong> {
    let all = Plan::of(
        checks,
        &csi_harness::check::Matrix::of(config),
        &Selection::default(),
    );
    let ids: Vec<&str> = all.cases.iter().map(|case| case.id.as_str()).collect();
    // A selection is exact as a whole: then words become the ids that they mean.
    let meant = |words: &[String], exact: bool| -> Result<Vec<String>, Wrong> {
        let mut all = Vec::new();
        for word in words {
            let means = |id: &&str| match exact {
                true => *id == word || base(id) == word,
                false => id.contains(word.as_str()),
            };
            let found: Vec<String> = ids
                .iter()
                .copied()
                .filter(means)
                .map(str::to_owned)
                .collect();
            if found.is_empty() && !is_case_of(checks, word) {
                return Err(unknown(checks, word));
            }
            match given.exact && !found.is_empty() {
                true => all.extend(found),
                false => all.push(word.clone()),
            }
        }
        Ok(all)
    };
    let own = &config.checks;
    // What the command line asks for stands in place of what the file does.
    let filters = match given.filters.is_empty() {
        true => meant(&own.only, false)?,
        false => meant(&given.filters, given.exact)?,
    };
    let mut skip = meant(&own.skip, false)?;
    skip.extend(meant(&given.skip, given.exact)?);
    Ok(Selection {
        filters,
        exact: given.exact,
        skip,
        repeat: given.repeat,
    })
}

/// The known failures that name no check, in words. No more than that: a file may be
/// older or newer than the suite.
pub(crate) fn unknown_failures(checks: &[&'static Check], config: &Config) -> Vec<String> {
    let mut unknown = Vec::new();
    for entry in &config.expected {
        if let Err(Wrong(why)) = find(checks, &entry.check) {
            let line = entry.line.map(|line| format!(", line {line}"));
            unknown.push(format!("expected{}: {why}", line.unwrap_or_default()));
        }
    }
    unknown
}

/// A case that this run does not have, of a check that there is.
fn is_case_of(checks: &[&'static Check], word: &str) -> bool {
    word.ends_with(']') && checks.iter().any(|check| check.id == base(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(filters: &[&str], exact: bool) -> Selection {
        let filters = filters.iter().map(|word| (*word).to_owned()).collect();
        Selection {
            filters,
            exact,
            ..Selection::default()
        }
    }

    #[test]
    fn a_slip_of_the_pen_is_named() {
        let checks = crate::checks::all();
        let select = |word, exact| selection(&checks, &Config::default(), &given(&[word], exact));
        let Err(Wrong(told)) = select("node-get-infos", false) else {
            panic!("found")
        };
        assert!(told.contains("`node-get-info`"), "{told}");
        let Err(Wrong(told)) = select("node-get-info.id-is-sett", true) else {
            panic!("found")
        };
        assert!(told.contains("`node-get-info.id-is-set`"), "{told}");
        let Err(Wrong(told)) = select("quite another thing", false) else {
            panic!("found")
        };
        assert!(told.contains("csi-conformance list"), "{told}");
        assert!(
            select("node-get-info", true).is_err(),
            "a part of an id is no whole id"
        );
    }

    #[test]
    fn the_command_line_stands_in_place_of_the_file() {
        let checks = crate::checks::all();
        let mut config = Config::default();
        config.checks.only = vec!["get-plugin-info".into()];
        config.checks.skip = vec!["same-every-time".into()];
        let selected = selection(&checks, &config, &given(&["node-get-info.id-is-set"], true));
        let selected = selected.expect("known names");
        assert_eq!(selected.filters, ["node-get-info.id-is-set"]);
        assert!(
            !selected.skip.is_empty(),
            "what the file leaves out stays out"
        );
        assert!(
            selected
                .skip
                .iter()
                .all(|id| id.contains("same-every-time") && id.contains('.'))
        );
    }
}
