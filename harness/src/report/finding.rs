//! One finding, as a person reads it: what was sent, what the node showed, who
//! asks for what, where it was seen before, and how to see it again.

mod calls;
mod mounts;
mod page;

use super::style::{self, Role, paint};
use super::text::{columns, safe, seconds};
use crate::check::{Basis, Evidence, Level, Settled};
use page::Page;

/// The most bytes shown of one sentence that may hold a driver's words.
const MAX_SENTENCE: usize = 600;

/// What a finding says beyond its check.
#[derive(Debug, Clone)]
pub struct FindingContext {
    /// The command that runs this check again, shown on one line.
    pub rerun: String,
    /// The folder of this check's evidence, where there is one.
    pub evidence_dir: Option<String>,
    /// Other cases of the check with the same outcome.
    pub also: Vec<String>,
    /// The columns to wrap at.
    pub width: usize,
}

/// The finding with its colours (ANSI escape sequences; anstream takes them
/// out), ended by a newline. Whatever a driver said is made safe for a terminal.
pub fn render(check: &Settled, context: &FindingContext) -> String {
    let mut page = Page::new(context.width);
    let body = Settled {
        evidence: check.evidence_of_body().to_vec(),
        ..check.clone()
    };
    let check = &body;
    header(&mut page, check);
    sentences(&mut page, check, &context.also);
    calls::render(&mut page, check);
    mounts::render(&mut page, check);
    facts(&mut page, check);
    clauses(&mut page, check);
    for (i, seen) in check.seen_in.iter().enumerate() {
        let named = match seen.issue.as_str() {
            "" => &seen.url,
            issue => issue,
        };
        page.row(if i == 0 { "seen in" } else { "" }, named);
        page.under(&seen.what);
    }
    if !check.look_at.is_empty() {
        page.row("look at", &check.look_at);
    }
    page.gap();
    page.line("again", &context.rerun);
    if let Some(dir) = &context.evidence_dir {
        page.line("evidence", &safe(dir, usize::MAX));
    }
    page.finish()
}

/// `FAIL  id                  MUST   3.4 s`
fn header(page: &mut Page, check: &Settled) {
    let (word, role) = style::outcome(check.outcome);
    let word = word.to_uppercase();
    let id = safe(&check.id, MAX_SENTENCE);
    let right = format!("{}   {}", strength(check), seconds(check.duration_ms));
    let left = format!("{}  {}", paint(role, &word), paint(Role::Strong, &id));
    let used = columns(&word) + 2 + columns(&id);
    let free = page.width().checked_sub(used + columns(&right) + 2);
    let right = paint(Role::Faint, &right);
    match free {
        Some(free) => page.raw(&format!("{left}{}{right}", " ".repeat(free + 2))),
        None => page.raw(&format!("{left}\n      {right}")),
    }
    page.gap();
}

/// How strong the requirement is, and who asks where it is not the specification.
fn strength(check: &Settled) -> String {
    let level = level(check.level);
    match check.basis {
        Basis::Specification => level.to_owned(),
        basis => format!("{level} ({})", source(basis)),
    }
}

/// Both as words: `MUST`, `spec`.
pub(super) fn strength_words(of: Level, basis: Basis) -> (&'static str, &'static str) {
    (level(of), source(basis))
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Must => "MUST",
        Level::Should => "SHOULD",
    }
}

fn source(basis: Basis) -> &'static str {
    match basis {
        Basis::Specification => "spec",
        Basis::Kubernetes => "kubernetes",
        Basis::Integrity => "integrity",
    }
}

/// What was found, and what was to hold instead.
fn sentences(page: &mut Page, check: &Settled, also: &[String]) {
    if check.message.is_empty() {
        page.paragraph(&check.headline);
    } else {
        page.paragraph(&safe(&check.message, MAX_SENTENCE));
        page.row("must hold", &check.headline);
    }
    if !also.is_empty() {
        page.row("the same", &safe(&also.join(", "), MAX_SENTENCE));
    }
    if let Some(reason) = &check.expected {
        page.row(
            "known as",
            &format!("an expected failure: {}", safe(reason, MAX_SENTENCE)),
        );
    }
    if let Some(other) = &check.blocked_by {
        page.row("blocked by", &safe(other, MAX_SENTENCE));
    }
    page.gap();
}

fn facts(page: &mut Page, check: &Settled) {
    for evidence in &check.evidence {
        if let Evidence::Fact { label, text } = evidence {
            page.row(&safe(label, 60), &safe(text, MAX_SENTENCE));
        }
    }
    page.gap();
}

fn clauses(page: &mut Page, check: &Settled) {
    for clause in &check.clauses {
        // A check may stand for clauses of unlike strength: each says its own.
        let head = format!("{}, {}", clause.section, level(clause.level));
        page.row(source(clause.basis), &head);
        page.under(&clause.text);
        if !clause.url.is_empty() {
            page.under_unwrapped(&clause.url);
        }
    }
}
