//! The setup or the input is wrong.

use std::io::Write as _;
use std::process::ExitCode;

/// What is wrong, for a person. There is no verdict then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Wrong(pub(crate) String);

impl Wrong {
    /// The exit code that says so.
    pub(crate) const CODE: u8 = 3;

    /// From whatever explains itself.
    pub(crate) fn from(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }

    /// Tells of it on the standard error.
    pub(crate) fn tell(self) -> ExitCode {
        // Nobody may be listening any more.
        let _ = writeln!(std::io::stderr(), "csi-conformance: {self}");
        Self::CODE.into()
    }
}
