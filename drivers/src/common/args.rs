//! The arguments that calls have in common, and what is wrong with them.

use std::path::{Component, Path, PathBuf};

use csi_proto::v1::CapacityRange;
use tonic::Status;

/// The longest name, in bytes, that a field may have.
const LONGEST_NAME: usize = 128;

/// A field that must not be empty.
pub(crate) fn required<'a>(name: &str, value: &'a str) -> Result<&'a str, Status> {
    if value.is_empty() {
        return Err(Status::invalid_argument(format!("{name} is missing")));
    }
    Ok(value)
}

/// A path from a request: absolute, and without steps back. Its folder is
/// followed through links, as the kernel names mounts; its last part is not
/// looked at, since looking at a dead mount may hang.
pub(crate) fn path(name: &str, value: &str) -> Result<PathBuf, Status> {
    let path = Path::new(required(name, value)?);
    let plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
    if !path.is_absolute() || !path.components().all(plain) || value.contains('\0') {
        let message = format!("{name} must be an absolute path without '..'");
        return Err(Status::invalid_argument(message));
    }
    let (Some(parent), Some(last)) = (path.parent(), path.file_name()) else {
        return Err(Status::invalid_argument(format!("{name} must not be /")));
    };
    let parent = parent.canonicalize().unwrap_or_else(|_| parent.to_owned());
    Ok(parent.join(last))
}

/// The name of a new volume: any text that fits in its field and holds no
/// control characters other than white space.
pub(crate) fn name(value: &str) -> Result<&str, Status> {
    let value = required("name", value)?;
    let banned = |letter: char| letter.is_control() && !matches!(letter, '\t' | '\n' | '\r');
    if value.len() > LONGEST_NAME || value.chars().any(banned) {
        let message = "name is longer than 128 bytes or holds control characters";
        return Err(Status::invalid_argument(message));
    }
    Ok(value)
}

/// `required_bytes` and `limit_bytes`, where 0 means that there is none.
pub(crate) fn bounds(range: Option<&CapacityRange>) -> Result<(u64, u64), Status> {
    let Some(range) = range else {
        return Ok((0, 0));
    };
    let invalid = |what| Status::invalid_argument(format!("capacity_range {what}"));
    let unsigned = |bytes| u64::try_from(bytes).map_err(|_| invalid("has a negative size"));
    let (required, limit) = (
        unsigned(range.required_bytes)?,
        unsigned(range.limit_bytes)?,
    );
    if required == 0 && limit == 0 {
        return Err(invalid("has neither required_bytes nor limit_bytes"));
    }
    if limit != 0 && limit < required {
        return Err(Status::out_of_range("limit_bytes is below required_bytes"));
    }
    Ok((required, limit))
}

/// Whether a volume of this size lies in the range.
pub(crate) fn lies_in(bytes: u64, (required, limit): (u64, u64)) -> bool {
    bytes >= required && (limit == 0 || bytes <= limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_absolute_and_go_straight() {
        assert_eq!(
            path("p", "/nowhere//a/./b/").expect("good"),
            Path::new("/nowhere/a/b")
        );
        for bad in ["", "relative", "/a/../b", "/", "/a\0b"] {
            let refused = path("p", bad).expect_err("refused");
            assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{bad:?}");
        }
    }

    #[test]
    fn names_may_be_anything_but_control_characters() {
        for good in ["..", "a/b", "-x", "snow \u{2603}", &"n".repeat(128)] {
            assert!(name(good).is_ok(), "{good}");
        }
        for bad in ["", "\u{7}", "\u{85}", &"n".repeat(129)] {
            assert!(name(bad).is_err(), "{bad:?}");
        }
    }
}
