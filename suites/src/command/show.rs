//! The run on the screen and in its report.

use std::path::PathBuf;
use std::time::Duration;

use csi_harness::report::{Console, Event, Ways, json};
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

/// Shows the events until the run ends, and writes the report into `dir`. When
/// nobody reads any more (a closed pipe), only the showing ends.
pub(super) async fn show(mut events: UnboundedReceiver<Event>, ways: Ways, dir: PathBuf) -> Shown {
    let mut console = Some(Console::stdout(ways));
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let (done, told) = tokio::select! {
            event = events.recv() => match event {
                None => return Shown::Nothing,
                Some(event) => {
                    let done = match &event {
                        Event::Ended(report) => Some(match json::write(&dir, report) {
                            Ok(_) => Shown::Written,
                            Err(error) => Shown::NotWritten(error.to_string()),
                        }),
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
