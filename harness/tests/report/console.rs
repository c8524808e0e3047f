use crate::fixtures::{check, events, report};
use csi_harness::check::Outcome;
use csi_harness::report::{Console, ConsoleOptions, Event, Ways, summary, table};
use std::time::{Duration, Instant};

fn ways() -> Ways {
    Ways {
        rerun: "csi-conformance run --exact".to_owned(),
        evidence: None,
        report: Some("/tmp/out/report.json".into()),
    }
}

fn options(live: bool, width: usize) -> ConsoleOptions {
    ConsoleOptions {
        live,
        width,
        ways: ways(),
    }
}

/// The bytes written for the whole run, 700 ms from event to event.
fn shown(live: bool, width: usize) -> String {
    let mut out = Vec::new();
    let mut console = Console::new(&mut out, options(live, width));
    let start = Instant::now();
    for (i, event) in (0_u32..).zip(events()) {
        let now = start + Duration::from_millis(700) * i;
        console.handle_at(&event, now).expect("a Vec takes all");
        console
            .tick_at(now + Duration::from_millis(300))
            .expect("a Vec takes all");
    }
    String::from_utf8(out).expect("text")
}

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

/// Every byte, those for the terminal named.
fn visible(text: &str) -> String {
    text.replace('\u{1b}', "ESC")
        .replace('\r', "CR")
        .replace('\u{8}', "BS")
}

#[test]
fn without_a_terminal_80() {
    insta::assert_snapshot!(plain(&shown(false, 80)));
}

#[test]
fn without_a_terminal_120() {
    insta::assert_snapshot!(plain(&shown(false, 120)));
}

#[test]
fn on_a_terminal_80() {
    insta::assert_snapshot!(screen(&plain(&shown(true, 80))));
}

#[test]
fn on_a_terminal_120_coloured() {
    insta::assert_snapshot!(visible(&shown(true, 120)));
}

/// Plays the little that the progress line uses of a terminal: carriage return
/// and backspace over a line.
fn screen(text: &str) -> String {
    let mut lines = vec![Vec::new()];
    let mut at = 0;
    for c in text.chars() {
        let line = lines.last_mut().expect("there is always a line");
        match c {
            '\n' => {
                lines.push(Vec::new());
                at = 0;
            }
            '\r' => at = 0,
            '\u{8}' => at -= 1,
            c if at < line.len() => {
                line[at] = c;
                at += 1;
            }
            c => {
                line.push(c);
                at += 1;
            }
        }
    }
    let lines: Vec<String> = lines
        .iter()
        .map(|line| line.iter().collect::<String>().trim_end().to_owned())
        .collect();
    lines.join("\n")
}

#[test]
fn the_progress_line_is_redrawn_and_gone_in_the_end() {
    let mut out = Vec::new();
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let mut console = Console::new(&mut out, options(true, 60));
    let started = Event::Started {
        total: 62,
        driver: "d".to_owned(),
        endpoint: "e".to_owned(),
    };
    let begin = |id: &str| Event::CheckStarted { id: id.to_owned() };
    console.handle_at(&started, at(0)).expect("written");
    console
        .handle_at(&begin("node-stage.data-kept"), at(100))
        .expect("written");
    console
        .handle_at(&begin("node-stage.other"), at(200))
        .expect("written");
    console.tick_at(at(2_200)).expect("written");
    drop(console);
    let text = plain(&String::from_utf8(out).expect("text"));
    assert!(
        screen(&text).ends_with("[  0/62 ] 2 running, longest node-stage.data-kept 2.1 s"),
        "{text:?}"
    );

    let whole = screen(&plain(&shown(true, 80)));
    assert!(!whole.contains("running, longest"), "{whole}");
}

#[test]
fn a_long_silence_without_a_terminal_is_ended() {
    let mut out = Vec::new();
    let start = Instant::now();
    let mut console = Console::new(&mut out, options(false, 80));
    let begin = Event::CheckStarted {
        id: "story.hang".to_owned(),
    };
    console.handle_at(&begin, start).expect("written");
    for second in 1..=40 {
        console
            .tick_at(start + Duration::from_secs(second))
            .expect("written");
    }
    drop(console);
    assert_eq!(
        String::from_utf8(out).expect("text"),
        "[ 0/0 ] 1 running, longest story.hang 16.0 s\n\
         [ 0/0 ] 1 running, longest story.hang 31.0 s\n"
    );
}

/// People look at the bottom: the failures, then one line that says it all.
#[test]
fn the_findings_come_last() {
    let text = plain(&summary(&report(), &ways(), 80));
    let places: Vec<usize> = [
        "not offered by the driver",
        "not possible on this host",
        "not allowed or not configured",
        "blocked by node-stage.file-system[xfs]: 2 checks",
        "failed as expected",
        "left behind by the driver",
        "WARN  ",
        "UNKNOWN  ",
        "ERROR  ",
        "FAIL  node-publish.target-is-mounted",
        "FAIL  node-stage.file-system[xfs]",
        "8 of 16 checks ran",
        "report   /tmp/out/report.json",
    ]
    .iter()
    .map(|part| {
        text.find(part)
            .unwrap_or_else(|| panic!("no {part:?} in:\n{text}"))
    })
    .collect();
    assert!(places.is_sorted(), "{places:?}\n{text}");
    // A shell would take the brackets of a case for a pattern.
    assert!(
        text.contains("--exact 'node-stage.file-system[xfs]'"),
        "{text}"
    );
}

#[test]
fn a_run_without_findings_is_short() {
    let mut report = report();
    report.checks.retain(|check| check.outcome == Outcome::Pass);
    report.checks.push(check("node.last", Outcome::Pass, ""));
    report.totals = csi_harness::report::Totals::of(&report.checks);
    report.ledger.clear();
    report.scope.selected = report.scope.checks_in_suite;
    report.verdict = csi_harness::report::Verdict::Conformant;
    insta::assert_snapshot!(plain(&summary(&report, &ways(), 80)), @r"
    3 of 3 checks ran: 3 pass. conformant
    report   /tmp/out/report.json
    took     1 min 14 s, 240 calls
    ");
}

#[test]
fn tables_are_aligned_and_safe() {
    let row = |cells: &[&str]| {
        cells
            .iter()
            .map(|&cell| cell.to_owned())
            .collect::<Vec<_>>()
    };
    let rows = [
        row(&[
            "identity.name",
            "MUST",
            "The name follows the rules for domain names, and is never empty.",
        ]),
        row(&["a\u{1b}[2J", "SHOULD"]),
        row(&["漢字", "", "two wide characters"]),
        row(&[]),
    ];
    insta::assert_snapshot!(table(&rows, 50), @r"
    identity.name  MUST    The name follows the rules
                           for domain names, and is
                           never empty.
    a\x1b[2J       SHOULD
    漢字                   two wide characters
    ");
    assert_eq!(table(&[], 80), "");
}
