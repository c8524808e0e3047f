//! The suite as a whole.

use std::sync::LazyLock;

use csi_harness::check::Check;
use csi_harness::report::SuiteInfo;

/// Every check, sorted by id, for as long as the process lives.
pub(crate) fn checks() -> &'static [&'static Check] {
    static ALL: LazyLock<Vec<&'static Check>> = LazyLock::new(crate::checks::all);
    &ALL
}

/// What stands in a report.
pub(crate) fn info() -> SuiteInfo {
    SuiteInfo {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: option_env!("CSI_CONFORMANCE_COMMIT")
            .unwrap_or("unknown")
            .to_owned(),
        spec: "1.13.0".to_owned(),
    }
}
