//! Waiting with a limit.

use std::time::{Duration, Instant};

/// How long a driver is asked again once the user has broken off the run, and waits.
pub(super) const HURRY: Duration = Duration::from_secs(10);

/// Exponential back-off as a caller owes it to a driver that is busy: half a
/// second, doubled up to eight, until the limit.
#[derive(Debug)]
pub struct Patience {
    until: Instant,
    next: Duration,
}

impl Patience {
    /// Patience for at most this long.
    pub fn new(limit: Duration) -> Self {
        Self {
            until: Instant::now() + limit,
            next: Duration::from_millis(500),
        }
    }

    /// Patience that looks often: for what should be over at once.
    pub fn brisk(limit: Duration) -> Self {
        Self {
            until: Instant::now() + limit,
            next: Duration::from_millis(5),
        }
    }

    /// Waits this long, each time the same; false once the limit would be passed.
    pub async fn steady(&mut self, pause: Duration) -> bool {
        self.next = pause;
        self.wait().await
    }

    /// Waits for the next try; false once the limit would be passed.
    pub async fn wait(&mut self) -> bool {
        if Instant::now() + self.next > self.until {
            return false;
        }
        tokio::time::sleep(self.next).await;
        self.next = (self.next * 2).min(Duration::from_secs(8));
        true
    }
}
