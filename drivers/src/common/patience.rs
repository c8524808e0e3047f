//! How long a call may go on.
//!
//! A caller says how long it waits (`grpc-timeout`), and may give up sooner. What
//! waits for a server or a helper program looks here again and again, so that it
//! ends, and takes back what it began, while there is still somebody to tell.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tonic::metadata::MetadataMap;

/// The longest that a call waits for anything: less than the two minutes after
/// which a kubelet gives up.
const LONGEST: Duration = Duration::from_secs(110);
/// What is kept of the caller's time for undoing and answering: a fifth of it,
/// within these bounds.
const MARGIN: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// Until when a call may go on.
#[derive(Debug, Clone)]
pub(crate) struct Patience {
    until: Instant,
    given_up: Arc<AtomicBool>,
}

/// Kept by the call itself: when it is dropped before its answer is there, the
/// caller has given up.
#[derive(Debug)]
pub(crate) struct Caller(Arc<AtomicBool>);

impl Drop for Caller {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Why there is no patience left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// The time is up.
    Late,
    /// The caller has given up.
    GivenUp,
}

impl Patience {
    /// That of the call with this metadata, and what tells that its caller gave up.
    pub(crate) fn of(metadata: &MetadataMap) -> (Self, Caller) {
        let asked = metadata
            .get("grpc-timeout")
            .and_then(|value| value.to_str().ok())
            .and_then(parse);
        let patience = Self::lasting(asked.map_or(LONGEST, |asked| usable(asked).min(LONGEST)));
        let caller = Caller(Arc::clone(&patience.given_up));
        (patience, caller)
    }

    /// Patience for work that no caller waits for, such as taking back what was begun.
    pub(crate) fn lasting(time: Duration) -> Self {
        Self {
            until: Instant::now() + time,
            given_up: Arc::default(),
        }
    }

    /// The same patience, and not longer than this from now on.
    pub(crate) fn at_most(&self, time: Duration) -> Self {
        Self {
            until: self.until.min(Instant::now() + time),
            given_up: Arc::clone(&self.given_up),
        }
    }

    /// Whether it has come to an end, and why.
    pub(crate) fn over(&self) -> Option<Over> {
        if self.given_up.load(Ordering::SeqCst) {
            Some(Over::GivenUp)
        } else if Instant::now() >= self.until {
            Some(Over::Late)
        } else {
            None
        }
    }
}

/// What of a caller's time may be spent.
fn usable(asked: Duration) -> Duration {
    asked.saturating_sub((asked / 5).clamp(MARGIN.0, MARGIN.1))
}

/// `grpc-timeout`: at most eight digits and a unit, as gRPC over HTTP/2 has it.
fn parse(value: &str) -> Option<Duration> {
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_a_timeout() {
        assert_eq!(parse("2M"), Some(Duration::from_secs(120)));
        assert_eq!(parse("1500m"), Some(Duration::from_millis(1500)));
        assert_eq!(parse("99999999n"), Some(Duration::from_nanos(99_999_999)));
        for bad in ["", "S", "1", "1x", "123456789S", "-1S", "1\u{e9}"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn some_of_the_time_is_kept_for_the_answer() {
        let seconds = Duration::from_secs;
        assert_eq!(usable(seconds(10)), seconds(8));
        assert_eq!(usable(seconds(120)), seconds(115));
        assert_eq!(usable(Duration::from_millis(100)), Duration::ZERO);
    }

    #[test]
    fn a_caller_that_goes_away_ends_it() {
        let (patience, caller) = Patience::of(&MetadataMap::new());
        let shorter = patience.at_most(Duration::from_secs(5));
        assert_eq!(patience.over(), None);
        drop(caller);
        assert_eq!(shorter.over(), Some(Over::GivenUp));
        assert_eq!(Patience::lasting(Duration::ZERO).over(), Some(Over::Late));
    }
}
