use crate::fixtures::{block_warning, call, check, crash, late_mount};
use csi_harness::check::{Basis, ClauseRef, Evidence, Level, Outcome, SeenIn, Settled};
use csi_harness::report::finding::{FindingContext, render};
use serde_json::json;

fn context(check: &Settled, width: usize) -> FindingContext {
    FindingContext {
        also: Vec::new(),
        rerun: format!("cargo test --test conformance -- --exact {}", check.id),
        evidence_dir: Some(format!("target/conformance/7f3a/{}", check.id)),
        width,
    }
}

fn plain(check: &Settled, width: usize) -> String {
    let coloured = render(check, &context(check, width));
    anstream::adapter::strip_str(&coloured).to_string()
}

#[test]
fn late_mount_80() {
    insta::assert_snapshot!(plain(&late_mount(), 80));
}

#[test]
fn late_mount_100() {
    insta::assert_snapshot!(plain(&late_mount(), 100));
}

#[test]
fn late_mount_coloured() {
    let check = late_mount();
    let coloured = render(&check, &context(&check, 80));
    insta::assert_snapshot!(coloured.replace('\u{1b}', "ESC"));
}

#[test]
fn crash_80() {
    insta::assert_snapshot!(plain(&crash(), 80));
}

#[test]
fn block_warning_80() {
    insta::assert_snapshot!(plain(&block_warning(), 80));
}

/// Lines keep to the width, but for what is there to be copied.
#[test]
fn keeps_to_the_width() {
    for check in [late_mount(), crash(), block_warning()] {
        for width in [40, 60, 80, 100] {
            for line in plain(&check, width).lines() {
                let to_copy = line.contains("https://")
                    || line.starts_with("  again")
                    || line.starts_with("  evidence")
                    || line.starts_with("  mountinfo at");
                assert!(
                    to_copy || line.chars().count() <= width.max(60),
                    "{width}: {line}"
                );
            }
        }
    }
}

/// Whatever a driver puts wherever it can, the terminal obeys none of it, and
/// the screen is not flooded.
#[test]
fn hostile() {
    let poison = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m\r\n\t\u{202e}evil\u{0}";
    let huge = "A".repeat(1 << 20);
    let mut request = call(
        7,
        "NodePublishVolume",
        "UNKNOWN",
        json!({
            "volume_id": poison,
            "target_path": "/tmp/t",
            "volume_context": {poison: huge},
            "volume_capability": {poison: poison},
        }),
    );
    request.message = format!("{poison}{huge}");
    request.response = json!({"nested": [poison, {poison: [huge]}]});
    let hostile = Settled {
        evidence: vec![
            Evidence::Call(request),
            Evidence::Mounts {
                path: format!("/tmp/{poison}"),
                when: poison.to_owned(),
                lines: vec![format!("1 2 0:3 / /tmp/{poison} rw - {poison} {huge} rw"); 500],
                expected: Some(poison.to_owned()),
            },
            Evidence::Fact {
                label: poison.to_owned(),
                text: huge.clone(),
            },
        ],
        blocked_by: Some(poison.to_owned()),
        expected: Some(poison.to_owned()),
        calls: 0,
        volumes: 0,
        look_at: poison.to_owned(),
        seen_in: vec![SeenIn {
            issue: poison.to_owned(),
            what: poison.to_owned(),
            url: poison.to_owned(),
        }],
        clauses: vec![ClauseRef {
            id: poison.to_owned(),
            level: Level::Must,
            basis: Basis::Specification,
            text: poison.to_owned(),
            section: poison.to_owned(),
            url: poison.to_owned(),
        }],
        ..check(
            &format!("a.b[{poison}]"),
            Outcome::Fail,
            &format!("{poison} {huge}"),
        )
    };
    let coloured = render(&hostile, &context(&check("a.b", Outcome::Fail, ""), 80));
    let bytes = coloured.len();
    assert!(
        bytes < 20_000,
        "a finding of {bytes} bytes floods the screen"
    );
    // Our own colours are the only escape sequences: ESC [ digits and ; m.
    for after in coloured.split('\u{1b}').skip(1) {
        let end = after
            .find('m')
            .unwrap_or_else(|| panic!("no colour: {after:?}"));
        let digits = after[..end]
            .strip_prefix('[')
            .expect("a colour begins with [");
        assert!(
            digits.bytes().all(|b| b.is_ascii_digit() || b == b';'),
            "{digits:?}"
        );
    }
    let shown = anstream::adapter::strip_str(&coloured).to_string();
    assert!(!shown.chars().any(|c| c.is_control() && c != '\n'));
    assert!(!shown.contains('\u{202e}'));
    insta::assert_snapshot!(shown);
}

/// At most four calls: the last, and the latest of those that concern it.
#[test]
fn many_calls() {
    let mut evidence: Vec<Evidence> = (1..=9)
        .map(|n| {
            call(
                n,
                "NodeUnpublishVolume",
                "OK",
                json!({"target_path": format!("/t/{}", n % 2)}),
            )
        })
        .map(Evidence::Call)
        .collect();
    evidence.push(Evidence::Call(call(
        10,
        "NodeUnpublishVolume",
        "NOT_FOUND",
        json!({"target_path": "/t/1"}),
    )));
    let check = Settled {
        evidence,
        ..check(
            "node-unpublish.repeat",
            Outcome::Fail,
            "The tenth call was answered NOT_FOUND.",
        )
    };
    let shown = plain(&check, 80);
    let calls: Vec<&str> = shown
        .lines()
        .filter(|line| line.starts_with("  sent"))
        .collect();
    assert_eq!(calls.len(), 4, "{shown}");
    for (line, n) in calls.iter().zip([5, 7, 9, 10]) {
        assert!(line.contains(&format!("call {n},")), "{line}");
    }
    assert!(
        shown.contains("6 more calls of this check in report.json"),
        "{shown}"
    );
}
