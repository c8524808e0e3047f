//! The engine in a thread of its own.

use std::sync::Arc;
use std::thread::JoinHandle;

use csi_harness::report::{Event, Report};
use csi_harness::run::{Request, conduct};
use tokio::sync::mpsc::unbounded_channel;

use super::board::{Board, EndsWith};
use crate::wrong::Wrong;

/// A run under way.
pub(super) struct Engine(JoinHandle<Result<Report, String>>);

/// Starts a run, which tells the board of all that is settled.
///
/// # Errors
/// There can be no threads.
pub(super) fn start(request: Request, board: &Arc<Board>) -> Result<Engine, Wrong> {
    let board = board.clone();
    let body = move || {
        let _ends = EndsWith(&board);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("start the threads: {error}"))?;
        runtime.block_on(observed(request, &board))
    };
    let thread = std::thread::Builder::new()
        .name("conformance".to_owned())
        .spawn(body);
    thread
        .map(Engine)
        .map_err(|error| Wrong(format!("start the engine's thread: {error}")))
}

async fn observed(request: Request, board: &Arc<Board>) -> Result<Report, String> {
    let (events, mut incoming) = unbounded_channel();
    let listener = {
        let board = board.clone();
        tokio::spawn(async move {
            while let Some(event) = incoming.recv().await {
                if matches!(event, Event::Ended(_)) {
                    return;
                }
                if let Event::Note(note) = &event {
                    eprintln!("note: {note}");
                }
                board.note(event);
            }
        })
    };
    let report = conduct(request, events)
        .await
        .map_err(|error| error.to_string())?;
    // The last events may still be on their way.
    listener.await.map_err(|error| error.to_string())?;
    Ok(report)
}

impl Engine {
    /// Waits for the end of the run.
    pub(super) fn end(self) -> Result<Report, String> {
        self.0
            .join()
            .unwrap_or_else(|_| Err("the engine broke".to_owned()))
    }
}
