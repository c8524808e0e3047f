//! What will be run, and what not, and why.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use csi_proto::v1::volume_capability::access_mode::Mode;

use crate::check::{Axis, Check, Facts, Kind, Lacking, Matrix, Phase, Skip, without_round};

/// Which checks the user wants, with the meaning that `cargo test` gives to
/// its filters.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Ids, or parts of them; none: all.
    pub filters: Vec<String>,
    /// A filter is a whole id.
    pub exact: bool,
    /// Ids, or parts of them, that are left out.
    pub skip: Vec<String>,
    /// How many times each case is run; none: once.
    pub repeat: Option<NonZeroU32>,
}

impl Selection {
    /// Whether this id is wanted.
    pub fn wants(&self, id: &str) -> bool {
        let matches = |word: &String| {
            if self.exact {
                id == word
            } else {
                id.contains(word.as_str())
            }
        };
        (self.filters.is_empty() || self.filters.iter().any(matches))
            && !self.skip.iter().any(matches)
    }

    /// Whether something is left out by it.
    pub fn is_partial(&self) -> bool {
        !self.filters.is_empty() || !self.skip.is_empty()
    }

    /// In words, for the report.
    pub fn words(&self) -> Vec<String> {
        let only = self.filters.iter().map(|f| format!("only {f}"));
        let times = self.repeat.filter(|times| times.get() > 1);
        only.chain(self.skip.iter().map(|s| format!("without {s}")))
            .chain(times.map(|times| format!("each {times} times")))
            .collect()
    }
}

/// One case of one check.
#[derive(Debug, Clone)]
pub struct Planned {
    /// The check.
    pub check: &'static Check,
    /// Its id, with the case: `node-publish.read-only[xfs]`.
    pub id: String,
    /// The case.
    pub kind: Option<Kind>,
    /// The case's access mode.
    pub mode: Option<Mode>,
    /// Why it will not run.
    pub skip: Option<Skip>,
}

/// All cases that were selected, sorted by id.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// The cases.
    pub cases: Vec<Planned>,
    /// How many there are without the selection.
    pub in_suite: usize,
}

impl Plan {
    /// The cases of these checks. What the driver offers is not known yet, so
    /// nothing is skipped yet: see [`Plan::against`].
    pub fn of(checks: &[&'static Check], matrix: &Matrix, selection: &Selection) -> Self {
        let mut cases: Vec<_> = checks
            .iter()
            .flat_map(|check| cases(check, matrix))
            .collect();
        cases.sort_by(|a, b| a.id.cmp(&b.id));
        let in_suite = cases.len();
        cases.retain(|case| selection.wants(&case.id));
        let times = selection.repeat.map_or(1, NonZeroU32::get);
        let cases = cases.into_iter().flat_map(|case| rounds(case, times));
        Self {
            cases: cases.collect(),
            in_suite,
        }
    }

    /// How many cases there are, however often each is run.
    pub fn selected(&self) -> usize {
        let ids = self.cases.iter().map(|case| without_round(&case.id));
        ids.collect::<BTreeSet<_>>().len()
    }

    /// The same, with what is lacking.
    pub fn against(mut self, facts: &Facts, most_volumes: u32) -> Self {
        for case in &mut self.cases {
            case.skip = lacks(case, facts, most_volumes);
        }
        self
    }

    /// Cases that will run.
    pub fn runs(&self) -> impl Iterator<Item = &Planned> {
        self.cases.iter().filter(|case| case.skip.is_none())
    }

    /// At most so many volumes at once, with so many jobs.
    pub fn volumes(&self, jobs: usize) -> u32 {
        let most = |phase: fn(&Phase) -> bool, jobs| {
            let mut wanted: Vec<_> = self
                .runs()
                .filter(|c| phase(&c.check.phase))
                .map(|c| c.check.volumes)
                .collect();
            wanted.sort_unstable_by(|a, b| b.cmp(a));
            wanted.into_iter().take(jobs).sum::<u32>()
        };
        most(|p| *p < Phase::Alone, jobs).max(most(|p| *p >= Phase::Alone, 1))
    }

    /// At most so many calls.
    pub fn calls(&self) -> u32 {
        self.runs().map(|case| case.check.calls).sum()
    }
}

/// The rounds of a case: `…#1` and so on. What judges the run as a whole has one.
fn rounds(case: Planned, times: u32) -> Vec<Planned> {
    if times < 2 || case.check.phase == Phase::Last {
        return vec![case];
    }
    let round = |n| Planned {
        id: format!("{}#{n}", case.id),
        ..case.clone()
    };
    (1..=times).map(round).collect()
}

fn lacks(case: &Planned, facts: &Facts, most_volumes: u32) -> Option<Skip> {
    if let Some(skip) = case.check.needs.lacks(facts) {
        return Some(skip);
    }
    if let Some(kind) = &case.kind
        && let Some(skip) = facts.lacks_kind(kind)
    {
        return Some(skip);
    }
    (case.check.least > most_volumes).then(|| Skip {
        need: format!("{} volumes at once on the node", case.check.least),
        lacking: if facts.creates() {
            Lacking::Driver
        } else {
            Lacking::User
        },
    })
}

/// The cases of a check: by default each value of each axis once, with the
/// first of the other axis; thorough: all of them.
fn cases(check: &'static Check, matrix: &Matrix) -> Vec<Planned> {
    let kinds: Vec<_> = match check.axes.first() {
        None => return vec![case(check, None, None)],
        Some(Axis::FileSystem) => matrix
            .kinds
            .iter()
            .filter(|kind| matches!(kind, Kind::Mount(_)))
            .cloned()
            .collect(),
        Some(Axis::Kind | Axis::Mode) => matrix.kinds.clone(),
    };
    let modes: Vec<_> = match check.axes.contains(&Axis::Mode) {
        true => matrix.modes.iter().copied().map(Some).collect(),
        false => vec![None],
    };
    let pairs = kinds.iter().enumerate().flat_map(|(k, kind)| {
        let wanted = modes
            .iter()
            .enumerate()
            .filter(move |(m, _)| matrix.thorough || k == 0 || *m == 0);
        wanted.map(move |(_, mode)| case(check, Some(kind.clone()), *mode))
    });
    pairs.collect()
}

fn case(check: &'static Check, kind: Option<Kind>, mode: Option<Mode>) -> Planned {
    let values = kind
        .iter()
        .map(ToString::to_string)
        .chain(mode.map(|mode| mode.as_str_name().to_owned()));
    let values = values.collect::<Vec<_>>().join(",");
    let id = if values.is_empty() {
        check.id.to_owned()
    } else {
        format!("{}[{values}]", check.id)
    };
    Planned {
        check,
        id,
        kind,
        mode,
        skip: None,
    }
}
