//! Everything that is made from report.json.

use crate::fixtures::{check, events, late_mount, report};
use csi_harness::check::{Evidence, Outcome, Settled};
use csi_harness::report::events::{Events, of_report};
use csi_harness::report::{Report, badge, folder, html, json, junit, markdown};

#[test]
fn junit_has_a_case_for_each_check() {
    insta::assert_snapshot!(junit(&report()).expect("XML"));
}

#[test]
fn markdown_is_short_and_folds_the_rest() {
    insta::assert_snapshot!(markdown(&report()));
}

#[test]
fn badge_of_each_verdict() {
    insta::assert_snapshot!(badge(&report()));
}

#[test]
fn events_are_one_a_line() {
    let text = of_report(&report());
    insta::assert_snapshot!(text);
    // While the run goes on, they are the same but for what a report does not hold.
    let mut out = Vec::new();
    let mut live = Events::new(&mut out);
    for event in events() {
        live.handle(&event).expect("written");
    }
    let kinds = |text: &str| -> Vec<String> {
        text.lines()
            .map(|line| {
                let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
                line["event"].as_str().expect("an event").to_owned()
            })
            .collect()
    };
    let live = kinds(&String::from_utf8(out).expect("UTF-8"));
    let count = |of: &[String], kind: &str| of.iter().filter(|of| *of == kind).count();
    let later = kinds(&text);
    for kind in ["started", "call", "check_settled", "ended"] {
        assert_eq!(count(&live, kind), count(&later, kind), "{kind}");
    }
    assert_eq!(
        (count(&live, "note"), count(&live, "check_started")),
        (1, 10)
    );
}

/// The page without its style sheet and script.
#[test]
fn html_tells_all_of_it() {
    let page = html(&report()).expect("HTML");
    let (_, body) = page.split_once("<body>").expect("a body");
    let (body, _) = body.split_once("<script>").expect("a script");
    insta::assert_snapshot!(body);
}

#[test]
fn html_fetches_nothing() {
    let page = html(&report()).expect("HTML");
    for fetch in ["src=", "<link", "@import", "url(", "fetch(", "XMLHttp"] {
        assert!(!page.contains(fetch), "{fetch}");
    }
}

/// A report in which a driver says what it likes.
fn hostile() -> Report {
    const HOSTILE: &str =
        "</code></script><script>alert(1)</script><img onerror=x>\u{202e}`|]]>&\u{1b}[31m@all";
    let mut report = report();
    report.driver.name = HOSTILE.to_owned();
    report.rerun = HOSTILE.to_owned();
    let mut late = late_mount();
    late.id = HOSTILE.to_owned();
    late.message = HOSTILE.to_owned();
    for seen in &mut late.evidence {
        match seen {
            Evidence::Call(call) => {
                call.rpc = HOSTILE.to_owned();
                call.code = HOSTILE.to_owned();
                call.message = HOSTILE.to_owned();
                call.request = serde_json::json!({ HOSTILE: HOSTILE });
            }
            Evidence::Mounts {
                path, when, lines, ..
            } => {
                *path = HOSTILE.to_owned();
                *when = HOSTILE.to_owned();
                *lines = vec![HOSTILE.to_owned()];
            }
            Evidence::Fact { label, text } => {
                *label = HOSTILE.to_owned();
                *text = HOSTILE.to_owned();
            }
            Evidence::TakenBack => {}
        }
    }
    late.seen_in[0].url = "javascript:alert(1)".to_owned();
    report.checks.push(late);
    report.ledger[0].object = HOSTILE.to_owned();
    report
}

#[test]
fn what_a_driver_says_stays_text() {
    let report = hostile();
    let page = html(&report).expect("HTML");
    assert_eq!(page.matches("<script").count(), 1, "our own");
    assert!(!page.contains("<img") && !page.contains("href=\"javascript:"));
    assert!(!page.contains('\u{202e}') && !page.contains('\u{1b}'));

    let text = markdown(&report);
    // In the fenced blocks and code spans a tag is no tag.
    let mut is_fenced = false;
    for line in text.lines() {
        let is_fence = line.starts_with("```");
        is_fenced ^= is_fence;
        let spans: String = line.split('`').step_by(2).collect();
        let is_code = is_fenced || is_fence || line.contains("``");
        assert!(is_code || !spans.contains("<img"), "{line}");
        assert!(is_code || !spans.contains("@all"), "{line}");
    }
    junit(&report).expect("XML");
}

#[test]
fn a_folder_has_all_and_a_second_writing_replaces_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path();
    folder::write(dir, &report()).expect("written");
    let names = || {
        let listed = std::fs::read_dir(dir).expect("a folder");
        let names = listed.map(|entry| entry.expect("a name").file_name());
        let mut names: Vec<_> = names
            .map(|name| name.into_string().expect("a name"))
            .collect();
        names.sort();
        names
    };
    let mut all: Vec<_> = folder::FILES
        .iter()
        .map(|name| (*name).to_owned())
        .collect();
    all.push(json::FILE_NAME.to_owned());
    all.sort();
    assert_eq!(names(), all);

    // The events of the run stay as they were written while it ran.
    std::fs::write(dir.join("events.jsonl"), "live\n").expect("written");
    std::fs::write(dir.join("badge.json"), "old\n").expect("written");
    folder::derive(dir, &json::read(dir).expect("read")).expect("derived");
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).expect("there");
    assert_eq!(read("events.jsonl"), "live\n");
    assert_eq!(read("badge.json"), badge(&report()));
}

#[test]
fn a_run_in_which_all_holds() {
    let mut report = report();
    report.checks = vec![check("identity.name", Outcome::Pass, "")];
    report.checks.push(Settled {
        evidence: vec![Evidence::TakenBack],
        ..check(
            "odd.evidence",
            Outcome::Fail,
            "no call, and still a finding",
        )
    });
    report.ledger.clear();
    assert!(!html(&report).expect("HTML").contains("<svg"));
    assert!(!markdown(&report).contains("Left behind"));
}
