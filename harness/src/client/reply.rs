//! What came back.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use super::connect::chain;
use super::record::CallRecord;

/// A call that was made, and what came of it.
#[derive(Debug, Clone)]
pub struct Reply<T> {
    /// The call as it will stand in the report.
    pub record: CallRecord,
    /// What came back.
    pub answer: Answer<T>,
}

/// What came back, or happened instead.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer<T> {
    /// Status OK, and a message of the right type.
    Ok(T),
    /// Another status, sent by the driver.
    Refused(Refusal),
    /// Nothing, until this deadline.
    Silent(Duration),
    /// Nobody accepted the connection.
    Unreachable(String),
    /// The stream was reset or the connection closed before an answer.
    Broken(String),
    /// Something came that is no message of the type, or is larger than the
    /// 4 MiB that gRPC clients accept.
    Garbled(String),
}

/// A status other than OK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The gRPC code.
    pub code: Code,
    /// The driver's words.
    pub message: String,
}

/// A gRPC status code, shown as the specification writes it (`NOT_FOUND`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code(pub tonic::Code);

#[expect(missing_docs, reason = "the canonical gRPC codes by their own names")]
impl Code {
    pub const INVALID_ARGUMENT: Self = Self(tonic::Code::InvalidArgument);
    pub const NOT_FOUND: Self = Self(tonic::Code::NotFound);
    pub const ALREADY_EXISTS: Self = Self(tonic::Code::AlreadyExists);
    pub const FAILED_PRECONDITION: Self = Self(tonic::Code::FailedPrecondition);
    pub const ABORTED: Self = Self(tonic::Code::Aborted);
    pub const OUT_OF_RANGE: Self = Self(tonic::Code::OutOfRange);
    pub const UNIMPLEMENTED: Self = Self(tonic::Code::Unimplemented);
    pub const UNAVAILABLE: Self = Self(tonic::Code::Unavailable);
    pub const RESOURCE_EXHAUSTED: Self = Self(tonic::Code::ResourceExhausted);

    /// Whether the code tells of a deadline that passed.
    pub fn is_deadline(self) -> bool {
        matches!(
            self.0,
            tonic::Code::DeadlineExceeded | tonic::Code::Cancelled
        )
    }

    /// Whether the code tells of a fault of the driver's own, and of nothing that the
    /// caller may wait for.
    pub fn is_own_error(self) -> bool {
        matches!(self.0, tonic::Code::Internal | tonic::Code::Unknown)
    }

    /// Whether the caller is to ask again later with the same request.
    pub fn is_transient(self) -> bool {
        matches!(self.0, tonic::Code::Aborted | tonic::Code::Unavailable)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use tonic::Code as C;
        f.write_str(match self.0 {
            C::Ok => "OK",
            C::Cancelled => "CANCELLED",
            C::Unknown => "UNKNOWN",
            C::InvalidArgument => "INVALID_ARGUMENT",
            C::DeadlineExceeded => "DEADLINE_EXCEEDED",
            C::NotFound => "NOT_FOUND",
            C::AlreadyExists => "ALREADY_EXISTS",
            C::PermissionDenied => "PERMISSION_DENIED",
            C::ResourceExhausted => "RESOURCE_EXHAUSTED",
            C::FailedPrecondition => "FAILED_PRECONDITION",
            C::Aborted => "ABORTED",
            C::OutOfRange => "OUT_OF_RANGE",
            C::Unimplemented => "UNIMPLEMENTED",
            C::Internal => "INTERNAL",
            C::Unavailable => "UNAVAILABLE",
            C::DataLoss => "DATA_LOSS",
            C::Unauthenticated => "UNAUTHENTICATED",
        })
    }
}

impl<T> Answer<T> {
    /// One word for the report.
    pub fn code_word(&self) -> String {
        match self {
            Self::Ok(_) => "OK".into(),
            Self::Refused(refusal) => refusal.code.to_string(),
            Self::Silent(_) => "no answer".into(),
            Self::Unreachable(_) => "no connection".into(),
            Self::Broken(_) => "broken".into(),
            Self::Garbled(_) => "garbled".into(),
        }
    }

    /// The driver's words, or what was wrong; empty for OK.
    pub fn message(&self) -> String {
        match self {
            Self::Ok(_) => String::new(),
            Self::Refused(refusal) => refusal.message.clone(),
            Self::Silent(deadline) => format!("no answer within {deadline:?}"),
            Self::Unreachable(why) | Self::Broken(why) | Self::Garbled(why) => why.clone(),
        }
    }

    /// The same without the message.
    pub fn erase(&self) -> Answer<()> {
        match self {
            Self::Ok(_) => Answer::Ok(()),
            Self::Refused(refusal) => Answer::Refused(refusal.clone()),
            Self::Silent(deadline) => Answer::Silent(*deadline),
            Self::Unreachable(why) => Answer::Unreachable(why.clone()),
            Self::Broken(why) => Answer::Broken(why.clone()),
            Self::Garbled(why) => Answer::Garbled(why.clone()),
        }
    }
}

/// Tells a status that the driver sent from one that the client library made
/// because the transport failed.
pub(super) fn read_status<T>(status: &tonic::Status) -> Answer<T> {
    let words = status.message();
    if words.contains("message length too large") {
        return Answer::Garbled(format!("the answer is too large: {words}"));
    }
    match status.source() {
        Some(cause) => Answer::Broken(chain(cause)),
        // Made by the library when a stream ends without a message or trailers.
        None if words == "Missing response message." || words.starts_with("protocol error: ") => {
            Answer::Garbled(words.to_owned())
        }
        None if words.starts_with("grpc-status header missing") => {
            Answer::Garbled(words.to_owned())
        }
        None => Answer::Refused(Refusal {
            code: Code(status.code()),
            message: words.to_owned(),
        }),
    }
}
