//! `explain ID`: one check in full.

use std::process::ExitCode;

use csi_harness::check::{Axis, Check, Phase};
use csi_harness::report::table;

use super::args::ExplainArgs;
use super::list::strength;
use super::screen::{say, width};
use crate::wrong::Wrong;
use crate::{names, suite};

/// The columns of a label.
const LABEL: usize = 7;

/// Tells all that is known of a check.
pub(super) fn explain(args: &ExplainArgs) -> Result<ExitCode, Wrong> {
    let check = names::find(suite::checks(), &args.id)?;
    say(&render(check, width()));
    Ok(ExitCode::SUCCESS)
}

fn render(check: &Check, width: usize) -> String {
    let (level, basis) = check.strength();
    let mut text = format!("{}  {}\n\n", check.id, strength(level, basis));
    for paragraph in paragraphs(check.doc) {
        text += &table(&[vec![paragraph]], width);
        text.push('\n');
    }
    let mut add = |label: &str, what: String| row(&mut text, label, &what, width);
    add("needs", check.needs.to_string());
    for axis in check.axes {
        add(
            "cases",
            match axis {
                Axis::Kind => {
                    "one for each file system that is asked for, and one for raw block".into()
                }
                Axis::Mode => "one for each access mode that is asked for".into(),
                Axis::FileSystem => "one for each file system that is asked for".into(),
            },
        );
    }
    add(
        "runs",
        match check.phase {
            Phase::First => "before the others, which need the step that it owns".into(),
            Phase::Together => "side by side with others".into(),
            Phase::Alone => "with the driver to itself".into(),
            Phase::Quiet => "while the quiet period at the end passes".into(),
            Phase::Last => "after all others: it judges the run as a whole".into(),
        },
    );
    for step in check.owns {
        add(
            "owns",
            format!("{step}: where that fails, this is the finding, and others are blocked"),
        );
    }
    add(
        "at most",
        format!("{} volumes at once, {} calls", check.volumes, check.calls),
    );
    if !check.look_at.is_empty() {
        add("look at", check.look_at.to_owned());
    }
    for clause in check.clauses {
        let strength = strength(clause.level, clause.basis);
        let text = &mut text;
        row(
            text,
            "clause",
            &format!("{} ({}, {strength})", clause.id, clause.section),
            width,
        );
        row(text, "", clause.text, width);
        link(text, clause.url);
    }
    for bug in check.bugs() {
        row(
            &mut text,
            "seen in",
            &format!("{}: {}", bug.issue, bug.what),
            width,
        );
        link(&mut text, &bug.url);
    }
    text
}

fn row(text: &mut String, label: &str, what: &str, width: usize) {
    *text += &table(&[vec![format!("{label:LABEL$}"), what.to_owned()]], width);
}

/// Never broken, so that a terminal can follow it.
fn link(text: &mut String, url: &str) {
    if !url.is_empty() {
        *text += &format!("{:1$}{url}\n", "", LABEL + 2);
    }
}

/// The doc comment's paragraphs, each as one line.
fn paragraphs(doc: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    for line in doc.lines().map(str::trim) {
        match (line, all.last_mut()) {
            ("", _) => all.push(String::new()),
            (line, Some(last)) if last.is_empty() => last.push_str(line),
            (line, Some(last)) => *last += &format!(" {line}"),
            (_, None) => {}
        }
    }
    all.retain(|paragraph| !paragraph.is_empty());
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_can_be_explained() {
        for check in suite::checks() {
            let text = render(check, 80);
            assert!(
                text.contains(check.id) && text.contains(&check.clauses[0].id[..8]),
                "{text}"
            );
        }
    }
}
