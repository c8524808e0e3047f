//! What a run says of the driver, and with which code the command exits.

use super::{Totals, Verdict};
use crate::check::{Lacking, Outcome, Settled};
use crate::config::Require;
use std::fmt;

/// How many checks were skipped, by who lacks what they need.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Skips {
    /// The driver does not offer it.
    pub driver: usize,
    /// The machine cannot do it.
    pub host: usize,
    /// The user has not allowed or configured it.
    pub user: usize,
}

impl Skips {
    /// Counts. A skip that names nobody is charged to the host: it must not
    /// make a run look whole.
    pub fn of(checks: &[Settled]) -> Self {
        let mut skips = Self::default();
        for check in checks.iter().filter(|c| c.outcome == Outcome::Skip) {
            match check.skip.as_ref().map(|skip| skip.lacking) {
                Some(Lacking::Driver) => skips.driver += 1,
                Some(Lacking::Host) | None => skips.host += 1,
                Some(Lacking::User) => skips.user += 1,
            }
        }
        skips
    }
}

impl Totals {
    /// All checks that were settled.
    pub fn all(&self) -> usize {
        self.ran() + self.skip + self.blocked
    }

    /// The checks whose body said something: all but the skipped and blocked.
    pub fn ran(&self) -> usize {
        self.pass + self.warn + self.fail + self.expected_fail + self.unknown + self.error
    }
}

impl Verdict {
    /// The verdict over a run; `filtered`: the user selected or excluded checks.
    ///
    /// A run in which nothing ran is never conformant.
    pub fn of(totals: &Totals, filtered: bool, skips: Skips) -> Self {
        if totals.fail > 0 {
            Self::Nonconformant
        } else if totals.unknown + totals.error > 0 {
            Self::Unknown
        } else if filtered
            || totals.blocked + totals.expected_fail > 0
            || skips.host + skips.user > 0
        {
            Self::Partial
        } else if totals.ran() == 0 {
            Self::Unknown
        } else {
            Self::Conformant
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Conformant => "conformant",
            Self::Partial => "partial",
            Self::Unknown => "unknown",
            Self::Nonconformant => "nonconformant",
        })
    }
}

/// The exit code of the command.
///
/// | code | says |
/// |---|---|
/// | 0 | nothing found, and the verdict is at least what is required |
/// | 1 | nonconformant |
/// | 2 | unknown, or less than required |
/// | 4 | nothing ran |
///
/// Code 3 (the setup or the input is wrong) is given where there is no verdict
/// at all. `ran` is [`Totals::ran`].
pub fn exit_code(verdict: Verdict, require: Require, ran: usize) -> u8 {
    match (verdict, require) {
        (Verdict::Nonconformant, _) => 1,
        _ if ran == 0 => 4,
        (Verdict::Unknown, _) | (Verdict::Partial, Require::Conformant) => 2,
        (Verdict::Conformant, _) | (Verdict::Partial, Require::Partial) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every combination of none or one of each outcome, filter and skip,
    /// against the rules written down once more as a list of reasons.
    #[test]
    fn every_combination() {
        for bits in 0_u32..1 << 11 {
            let one = |bit: u32| (bits >> bit & 1) as usize;
            let skips = Skips {
                driver: one(0),
                host: one(1),
                user: one(2),
            };
            let totals = Totals {
                pass: one(3),
                warn: one(4),
                fail: one(5),
                skip: skips.driver + skips.host + skips.user,
                blocked: one(6),
                expected_fail: one(7),
                unknown: one(8),
                error: one(9),
            };
            let filtered = one(10) == 1;
            let nothing_ran = one(3) + one(4) == 0;
            let reasons = [
                (one(5) == 1, Verdict::Nonconformant),
                (one(8) == 1, Verdict::Unknown),
                (one(9) == 1, Verdict::Unknown),
                (filtered, Verdict::Partial),
                (one(6) == 1, Verdict::Partial),
                (one(7) == 1, Verdict::Partial),
                (one(1) == 1, Verdict::Partial),
                (one(2) == 1, Verdict::Partial),
                (nothing_ran, Verdict::Unknown),
                (true, Verdict::Conformant),
            ];
            let expected = reasons.iter().find(|(holds, _)| *holds).map(|(_, v)| *v);
            let got = Verdict::of(&totals, filtered, skips);
            assert_eq!(Some(got), expected, "{totals:?} {skips:?} {filtered}");
        }
    }

    #[test]
    fn every_exit_code() {
        use Require as R;
        use Verdict as V;
        let table = [
            (V::Conformant, R::Partial, 1, 0),
            (V::Conformant, R::Conformant, 1, 0),
            (V::Partial, R::Partial, 1, 0),
            (V::Partial, R::Conformant, 1, 2),
            (V::Unknown, R::Partial, 1, 2),
            (V::Unknown, R::Conformant, 1, 2),
            (V::Nonconformant, R::Partial, 1, 1),
            (V::Nonconformant, R::Conformant, 1, 1),
            (V::Conformant, R::Partial, 0, 4),
            (V::Conformant, R::Conformant, 0, 4),
            (V::Partial, R::Partial, 0, 4),
            (V::Partial, R::Conformant, 0, 4),
            (V::Unknown, R::Partial, 0, 4),
            (V::Unknown, R::Conformant, 0, 4),
            // Cannot be; but a finding is never said to be nothing.
            (V::Nonconformant, R::Partial, 0, 1),
            (V::Nonconformant, R::Conformant, 0, 1),
        ];
        for (verdict, require, ran, code) in table {
            assert_eq!(
                exit_code(verdict, require, ran),
                code,
                "{verdict} {require} {ran}"
            );
        }
    }

    #[test]
    fn require_reads_what_it_shows() {
        for require in [Require::Partial, Require::Conformant] {
            assert_eq!(require.to_string().parse(), Ok(require));
        }
        assert!("Conformant".parse::<Require>().is_err());
    }
}
