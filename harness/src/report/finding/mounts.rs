//! What mountinfo said at each path, look by look.

use super::page::Page;
use crate::check::{Evidence, Settled};
use crate::report::text::{columns, fit, safe};

/// The most mounts shown of one look; a driver may have stacked thousands.
const MAX_LINES: usize = 5;

/// The most bytes shown of one line of mountinfo.
const MAX_LINE: usize = 400;

/// The most columns that the time of a look takes.
const MAX_WHEN: usize = 20;

/// One look: when, which lines, what was expected instead.
struct Look<'a> {
    when: String,
    lines: &'a [String],
    expected: Option<String>,
}

pub(super) fn render(page: &mut Page, check: &Settled) {
    for (path, looks) in by_path(check) {
        let name = super::calls::field_of(check, path)
            .map_or(String::new(), |field| format!(" ({field})"));
        page.title("mountinfo at", &format!("{}{name}", safe(path, MAX_LINE)));
        let whens = looks
            .iter()
            .map(|look| columns(&look.when))
            .max()
            .unwrap_or(0);
        for look in &looks {
            show(page, look, whens.max(9));
        }
        page.gap();
    }
}

/// The looks by path, in the order of the first look at each.
fn by_path(check: &Settled) -> Vec<(&str, Vec<Look<'_>>)> {
    let mut paths: Vec<(&str, Vec<Look<'_>>)> = Vec::new();
    for evidence in &check.evidence {
        let Evidence::Mounts {
            path,
            when,
            lines,
            expected,
        } = evidence
        else {
            continue;
        };
        let look = Look {
            when: fit(&safe(when, 40), MAX_WHEN),
            lines,
            expected: expected.as_ref().map(|text| safe(text, MAX_LINE)),
        };
        match paths.iter_mut().find(|(known, _)| known == path) {
            Some((_, looks)) => looks.push(look),
            None => paths.push((path, vec![look])),
        }
    }
    paths
}

fn show(page: &mut Page, look: &Look<'_>, whens: usize) {
    let note = look.expected.as_deref();
    let Some(last) = look.lines.len().checked_sub(1) else {
        page.look(&look.when, whens, &["nothing"], note);
        return;
    };
    let hidden = look.lines.len().saturating_sub(MAX_LINES);
    for (i, line) in look.lines.iter().take(MAX_LINES).enumerate() {
        let when = if i == 0 { look.when.as_str() } else { "" };
        let line = safe(line, MAX_LINE);
        // The separator of mountinfo (proc_pid_mountinfo(5)): what is mounted
        // stands behind it, and is the better place to break.
        let note = note.filter(|_| i == last);
        match line.split_once(" - ") {
            Some((place, source)) => {
                page.look(when, whens, &[place, &format!("- {source}")], note);
            }
            None => page.look(when, whens, &[&line], note),
        }
    }
    if hidden > 0 {
        let more = format!("… and {hidden} more, see report.json");
        page.look("", whens, &[&more], note);
    }
}
