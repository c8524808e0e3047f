//! The run on the screen and in its report.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use csi_harness::report::events::{self, Events};
use csi_harness::report::{Console, Event, Report, Ways, folder, json};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{MissedTickBehavior, interval};

/// How often the progress line is drawn.
const TICK: Duration = Duration::from_millis(200);

/// What came of it.
pub(super) enum Shown {
    /// The run ended, and its report stands where it should.
    Written,
    /// The report could not be written.
    NotWritten(String),
    /// The run broke off.
    Nothing,
}

/// Shows the events until the run ends, and writes them and the report into `dir`.
/// When nobody reads any more (a closed pipe), only the showing ends.
pub(super) async fn show(mut events: UnboundedReceiver<Event>, ways: Ways, dir: PathBuf) -> Shown {
    let rerun = ways.rerun.clone();
    let mut console = Some(Console::stdout(ways));
    let mut log = match File::create(dir.join(events::FILE_NAME)) {
        Ok(file) => Some(Events::new(file)),
        Err(error) => {
            let name = events::FILE_NAME;
            return Shown::NotWritten(format!("write {}: {error}", dir.join(name).display()));
        }
    };
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let (done, told) = tokio::select! {
            event = events.recv() => match event {
                None => return Shown::Nothing,
                Some(event) => {
                    // A full disk will be told of when the report is written.
                    if log.as_mut().is_some_and(|log| log.handle(&event).is_err()) {
                        log = None;
                    }
                    let done = match &event {
                        Event::Ended(report) => Some(written(&dir, report, &rerun)),
                        _ => None,
                    };
                    (done, console.as_mut().map(|console| console.handle(&event)))
                }
            },
            _ = tick.tick() => (None, console.as_mut().map(Console::tick)),
        };
        if matches!(told, Some(Err(_))) {
            console = None;
        }
        if let Some(done) = done {
            return done;
        }
    }
}

fn written(dir: &Path, report: &Report, rerun: &str) -> Shown {
    let report = Report {
        rerun: rerun.to_owned(),
        ..report.clone()
    };
    let done = json::write(dir, &report).and_then(|_| folder::derive(dir, &report));
    match done {
        Ok(()) => Shown::Written,
        Err(error) => Shown::NotWritten(error.to_string()),
    }
}
