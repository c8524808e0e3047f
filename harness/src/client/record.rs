//! A call as it stands in a report.

use serde::{Deserialize, Serialize};

/// One call as it was made, secrets masked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallRecord {
    /// Counts the calls of the run, from 1.
    pub n: u64,
    /// The check that made it, or `""` for the harness's own calls.
    pub check: String,
    /// The method's name, e.g. `NodePublishVolume`.
    pub rpc: String,
    /// Milliseconds from the start of the run to the sending.
    pub at_ms: u64,
    /// Milliseconds from the sending to the answer.
    pub duration_ms: u64,
    /// The request as JSON, secrets masked.
    pub request: serde_json::Value,
    /// `OK`, a gRPC code (`NOT_FOUND`), or what happened instead of an answer:
    /// `no answer` (deadline), `no connection`, `broken` (reset stream, garbage),
    /// `cut` (we gave it up, or killed the driver meanwhile).
    pub code: String,
    /// The status message, or what was wrong with the answer.
    pub message: String,
    /// The response as JSON, secrets masked; null unless OK.
    pub response: serde_json::Value,
}
