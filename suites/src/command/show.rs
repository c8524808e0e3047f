//! The run on the screen and in its report.

use std::fs::File;
use std::io;
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
    let mut log = None;
    let mut can_log = true;
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let (done, told) = tokio::select! {
            event = events.recv() => match event {
                None => return Shown::Nothing,
                Some(event) => {
                    // A full disk will be told of when the report is written.
                    if can_log {
                        can_log = logged(&mut log, &dir, &event).is_ok();
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

/// Writes an event into the file that the first one makes: of a run that cannot even
/// begin, none stays.
fn logged(log: &mut Option<Events<File>>, dir: &Path, event: &Event) -> io::Result<()> {
    let log = match log {
        Some(log) => log,
        none => none.insert(Events::new(File::create(dir.join(events::FILE_NAME))?)),
    };
    log.handle(event)
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
