//! The wrappers around helper programs, for a driver that we start.

use super::setup::SetupError;
use crate::config::{Allow, Config};
use crate::lab::{RunFolder, Tools};

/// Lays them, where the user lets us break things.
pub(super) fn lay(
    config: &Config,
    our_own_driver: bool,
    folder: &RunFolder,
) -> Result<Option<Tools>, SetupError> {
    let allowed = config.allowed(our_own_driver).contains(&Allow::Hang);
    if config.driver.command.is_empty() || !allowed {
        return Ok(None);
    }
    let laid = Tools::lay(folder.path().join("tools"));
    laid.map(Some)
        .map_err(|error| SetupError::Folders(format!("the folder of wrappers: {error}")))
}
