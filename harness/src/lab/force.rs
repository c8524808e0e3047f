//! Removal by force of what a driver left, for an asynchronous caller.

use std::path::Path;

use super::unmount::{How, unmount_below};

/// Unmounts all that is at or below a folder of ours, and says in words what
/// became of it.
pub async fn take_down(folder: &Path) -> String {
    let owned = folder.to_owned();
    let told = tokio::task::spawn_blocking(move || unmount_below(&owned)).await;
    match told {
        Err(error) => format!("left: {error}"),
        Ok(Err(error)) => format!("left: {error}"),
        Ok(Ok(report)) => match (
            report.left.first(),
            report.gone.iter().any(|g| g.how == How::Detached),
        ) {
            (Some((path, why)), _) => format!("left: {}: {why}", path.display()),
            (None, true) => "removed by force (detached: it was in use)".to_owned(),
            (None, false) => "removed by force".to_owned(),
        },
    }
}
