//! The standard output, for what is no run.

use std::io::Write as _;

use csi_harness::report::terminal;

/// Writes it. A reader that left early (`| head`) is no mistake.
pub(super) fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// How wide to make it.
pub(super) fn width() -> usize {
    terminal::width(&std::io::stdout())
}
