//! Findings among the lines of a test run.

use std::path::Path;

use anstream::ColorChoice;
use csi_harness::check::{Lacking, Settled};
use csi_harness::report::finding::{FindingContext, render};
use csi_harness::report::{Report, terminal};

use crate::shell::quoted;

/// The finding as the console shows it; in colours only for a terminal.
pub(super) fn rendered(check: &Settled) -> String {
    let context = FindingContext {
        also: Vec::new(),
        rerun: rerun(&check.id),
        evidence_dir: None,
        width: terminal::width(&std::io::stdout()),
    };
    let text = render(check, &context);
    match anstream::AutoStream::choice(&std::io::stdout()) {
        ColorChoice::Never => anstream::adapter::strip_str(&text).to_string(),
        _ => text,
    }
}

/// The command that runs one case of this test target again.
fn rerun(id: &str) -> String {
    let mut words = vec!["cargo".to_owned(), "test".to_owned()];
    if let Ok(package) = std::env::var("CARGO_PKG_NAME") {
        words.extend(["-p".to_owned(), package]);
    }
    if let Some(target) = test_target() {
        words.extend(["--test".to_owned(), target]);
    }
    words.extend(["--".to_owned(), "--exact".to_owned(), id.to_owned()]);
    let words: Vec<_> = words.iter().map(|word| quoted(word)).collect();
    let endpoint = std::env::var("CSI_ENDPOINT")
        .ok()
        .filter(|endpoint| !endpoint.is_empty());
    let before = endpoint
        .map(|e| format!("CSI_ENDPOINT={} ", quoted(&e)))
        .unwrap_or_default();
    format!("{before}{}", words.join(" "))
}

/// The name of the test target, from that of its program:
/// `conformance-0123456789abcdef`.
fn test_target() -> Option<String> {
    let program = std::env::current_exe().ok()?;
    let (target, hash) = program.file_name()?.to_str()?.rsplit_once('-')?;
    hash.bytes()
        .all(|b| b.is_ascii_hexdigit())
        .then(|| target.to_owned())
}

/// `conformance: partial; 3 of 16 checks ran; report target/…/report.json`
pub(super) fn closing(report: &Report, path: &Path) -> String {
    format!(
        "conformance: {}; {} of {} checks ran; report {}",
        report.verdict,
        report.totals.ran(),
        report.totals.all(),
        path.display()
    )
}

/// Who lacks something.
pub(super) fn who(lacking: Lacking) -> &'static str {
    match lacking {
        Lacking::Driver => "driver",
        Lacking::Host => "host",
        Lacking::User => "user",
    }
}
