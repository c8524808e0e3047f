//! Shows an invented run on the console, to look at colours and line breaks:
//! `cargo run -p csi-harness --example console`.

use csi_harness::report::{Console, Ways};
use std::time::Duration;

#[path = "../tests/report/fixtures.rs"]
mod fixtures;

fn main() -> std::io::Result<()> {
    let mut console = Console::stdout(Ways {
        rerun: "csi-conformance run --exact".to_owned(),
        evidence: Some("csi-conformance-report/evidence".into()),
        report: Some("csi-conformance-report/report.json".into()),
    });
    for event in fixtures::events() {
        console.handle(&event)?;
        // An invented run has no work to wait for: let the eye follow.
        std::thread::sleep(Duration::from_millis(120));
        console.tick()?;
    }
    Ok(())
}
