//! What is a check?

use std::pin::Pin;

use super::cx::Cx;
use super::need::Need;
use super::outcome::{Basis, Clause, ClauseRef, Level, SeenIn};
use super::step::Step;
use super::stop::Checked;

/// The future of a check's body.
pub type Body<'a> = Pin<Box<dyn Future<Output = Checked> + Send + 'a>>;

/// One check: one static value in a sorted slice, made by [`crate::check!`].
#[derive(Debug)]
pub struct Check {
    /// Words, stable for ever: `node-publish.target-is-mounted`.
    pub id: &'static str,
    /// The doc comment. Its first line is the headline everywhere.
    pub doc: &'static str,
    /// What it stands for; the first is the one that a finding names.
    pub clauses: &'static [&'static Clause],
    /// What has to be there for it.
    pub needs: Need,
    /// The steps whose failure is this check's own finding.
    pub owns: &'static [Step],
    /// When it runs.
    pub phase: Phase,
    /// The cases that it is run for.
    pub axes: &'static [Axis],
    /// At most so many volumes at once, in each case.
    pub volumes: u32,
    /// With fewer than so many it cannot be run.
    pub least: u32,
    /// At most so many calls, in each case, cleaning included.
    pub calls: u32,
    /// Real bugs of the kind: `owner/repo#number` and what happened there.
    pub seen_in: &'static [(&'static str, &'static str)],
    /// What the driver's author should look at.
    pub look_at: &'static str,
    /// The body.
    pub run: for<'a> fn(&'a Cx) -> Body<'a>,
}

/// The id of a case without the number of its round: `…[ext4]#7` is a round of
/// `…[ext4]`.
pub(crate) fn without_round(id: &str) -> &str {
    id.split('#').next().unwrap_or_default()
}

/// When a check runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Before the others: it owns a step that they need.
    First,
    /// Side by side with others.
    Together,
    /// With the driver to itself.
    Alone,
    /// While the quiet period of the run passes, all of them at once: each waits for it.
    Quiet,
    /// After all: it judges the run as a whole.
    Last,
}

/// Something that a check is run for each value of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axis {
    /// Each file system that is asked for, and raw block.
    Kind,
    /// Each file system that is asked for.
    FileSystem,
    /// Each access mode that is asked for.
    Mode,
}

impl Check {
    /// The first line of the doc comment, without its full stop.
    pub fn headline(&self) -> String {
        let first = self
            .doc
            .lines()
            .map(str::trim)
            .find(|line| !line.is_empty());
        first.unwrap_or_default().trim_end_matches('.').to_owned()
    }

    /// The strongest level among its clauses, and who asks it.
    pub fn strength(&self) -> (Level, Basis) {
        let strongest = self.clauses.iter().max_by_key(|clause| clause.level);
        strongest.map_or((Level::Should, Basis::Specification), |c| {
            (c.level, c.basis)
        })
    }

    /// Its clauses, for the report.
    pub fn clause_refs(&self) -> Vec<ClauseRef> {
        self.clauses.iter().map(|clause| clause.to_ref()).collect()
    }

    /// Its real bugs, for the report.
    pub fn bugs(&self) -> Vec<SeenIn> {
        let with_url = |(issue, what): &(&str, &str)| SeenIn {
            issue: (*issue).to_owned(),
            what: (*what).to_owned(),
            url: issue_url(issue),
        };
        self.seen_in.iter().map(with_url).collect()
    }
}

impl Clause {
    /// The clause as it stands in a report.
    pub fn to_ref(&self) -> ClauseRef {
        ClauseRef {
            id: self.id.to_owned(),
            level: self.level,
            basis: self.basis,
            text: self.text.to_owned(),
            section: self.section.to_owned(),
            url: self.url.to_owned(),
        }
    }
}

/// `owner/repo#1` is an issue, `owner/repo!1` a pull request; what is neither
/// (a CVE) is its own address.
fn issue_url(issue: &str) -> String {
    if let Some((repo, number)) = issue.split_once('#') {
        format!("https://github.com/{repo}/issues/{number}")
    } else if let Some((repo, number)) = issue.split_once('!') {
        format!("https://github.com/{repo}/pull/{number}")
    } else if issue.starts_with("CVE-") {
        format!("https://www.cve.org/CVERecord?id={issue}")
    } else {
        String::new()
    }
}

/// Declares a check: the metadata here, the body a plain function beneath.
///
/// ```ignore
/// check! {
///     /// The headline.
///     ///
///     /// Why it matters.
///     NAME = "rpc.words-of-it",
///     clauses: [spec::CLAUSE],
///     needs: Need::MOUNT,
///     owns: [],                       // optional, with phase: First
///     phase: Together,                // optional
///     axes: [Kind],                   // optional
///     volumes: 1, calls: 8,           // at most, in each case; `least: 1` between
///                                     // them: it makes do with fewer volumes
///     seen_in: ["owner/repo#1" => "what happened there"],
///     look_at: "what to look at",
///     run: body,
/// }
/// ```
#[macro_export]
macro_rules! check {
    (
        $(#[doc = $doc:literal])+
        $name:ident = $id:literal,
        clauses: [$($clause:expr),+ $(,)?],
        needs: $needs:expr,
        $(owns: [$($step:expr),* $(,)?],)?
        $(phase: $phase:ident,)?
        $(axes: [$($axis:ident),* $(,)?],)?
        volumes: $volumes:literal, $(least: $least:literal,)? calls: $calls:literal,
        $(seen_in: [$($bug:literal => $what:literal),* $(,)?],)?
        $(look_at: $look:literal,)?
        run: $run:path $(,)?
    ) => {
        $(#[doc = $doc])+
        static $name: $crate::check::Check = $crate::check::Check {
            id: $id,
            doc: concat!($($doc, "\n"),+),
            clauses: &[$(&$clause),+],
            needs: $needs,
            owns: &[$($($step),*)?],
            phase: $crate::check_phase!($($phase)?),
            axes: &[$($($crate::check::Axis::$axis),*)?],
            volumes: $volumes,
            least: $crate::check_least!($volumes $(, $least)?),
            calls: $calls,
            seen_in: &[$($(($bug, $what)),*)?],
            look_at: concat!($($look)?),
            run: |cx| ::std::boxed::Box::pin($run(cx)),
        };
    };
}

/// The least number of volumes that was named, or the most.
#[doc(hidden)]
#[macro_export]
macro_rules! check_least {
    ($most:literal) => {
        $most
    };
    ($most:literal, $least:literal) => {
        $least
    };
}

/// The phase that was named, or `Together`.
#[doc(hidden)]
#[macro_export]
macro_rules! check_phase {
    () => {
        $crate::check::Phase::Together
    };
    ($phase:ident) => {
        $crate::check::Phase::$phase
    };
}
