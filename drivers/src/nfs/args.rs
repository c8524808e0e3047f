//! Where a volume is, as requests say it.

use std::collections::HashMap;

use tonic::Status;

use super::driver::Driver;
use super::source::{Escape, Source};
use crate::defect::Defect;

pub(super) const SERVER: &str = "server";
pub(super) const SHARE: &str = "share";
pub(super) const SUB_DIR: &str = "subDir";

/// Whether steps back in a folder's name are an error, as they are to be.
pub(super) fn escape(driver: &Driver) -> Escape {
    match driver.defects.has(Defect::VOLUME_ID_TRAVERSAL) {
        true => Escape::Followed,
        false => Escape::Refused,
    }
}

/// Where a volume is: its `volume_context` says so, whoever made it; without
/// one, the id of a volume that was made here does.
///
/// # Errors
///
/// INVALID_ARGUMENT where neither says it, or says what cannot be.
pub(super) fn source(
    driver: &Driver,
    volume_id: &str,
    context: &HashMap<String, String>,
) -> Result<Source, Status> {
    let part = |key| context.get(key).map_or("", String::as_str);
    if part(SERVER).is_empty() && part(SHARE).is_empty() {
        return match Source::of_id(volume_id, escape(driver)) {
            Ok(Some(source)) => Ok(source),
            Ok(None) => Err(Status::invalid_argument(
                "volume_context has neither server nor share",
            )),
            Err(why) => Err(Status::invalid_argument(format!("volume_id: {why}"))),
        };
    }
    Source::new(part(SERVER), part(SHARE), part(SUB_DIR), escape(driver))
        .map_err(|why| Status::invalid_argument(format!("volume_context: {why}")))
}
