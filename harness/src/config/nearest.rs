//! Did you mean …?

use super::ParseError;

/// How alike two names must be, from 0 (nothing in common) to 1 (the same), for
/// one to be offered in place of the other.
const ALIKE: f64 = 0.6;

/// The candidate that is most like `name`, if any is like it at all. Case does
/// not count, nor does `-` for `_`.
///
/// ```
/// use csi_harness::config::nearest;
/// assert_eq!(nearest("acess_modes", ["size", "access_modes"]), Some("access_modes"));
/// assert_eq!(nearest("colour", ["size", "access_modes"]), None);
/// ```
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = folded(name);
    let mut best = None;
    let mut best_score = ALIKE;
    for candidate in candidates {
        let score = strsim::normalized_damerau_levenshtein(&name, &folded(candidate));
        // The first of equals wins, so that the answer does not depend on luck.
        if score > best_score || (best.is_none() && score >= ALIKE) {
            best = Some(candidate);
            best_score = score;
        }
    }
    best
}

fn folded(name: &str) -> String {
    name.to_lowercase().replace('-', "_")
}

/// `unknown KIND `NAME`; did you mean `X`? (WHERE: a, b, c)`. A long list is
/// left out where a near name is offered instead.
pub(super) fn unknown(kind: &str, name: &str, r#where: &str, candidates: &[&str]) -> String {
    let all = candidates.join(", ");
    match nearest(name, candidates.iter().copied()) {
        Some(near) if candidates.len() > 32 => {
            format!("unknown {kind} `{name}`; did you mean `{near}`?")
        }
        Some(near) => {
            format!("unknown {kind} `{name}`; did you mean `{near}`? ({where}: {all})")
        }
        None => format!("unknown {kind} `{name}` ({where}: {all})"),
    }
}

/// The same as an error.
pub(super) fn unknown_word(kind: &str, name: &str, candidates: &[&str]) -> ParseError {
    ParseError::new(unknown(kind, name, "known", candidates))
}
