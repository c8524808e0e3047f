//! The arguments that calls have in common, and what is wrong with them.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use csi_proto::v1::{CapacityRange, Topology};
use tonic::Status;

use super::sys::filesystem::Filesystem;
use super::volume::Volume;

/// Volumes are whole MiB.
pub(super) const UNIT: u64 = 1 << 20;
/// What a volume is made of where nobody says: 1 GiB.
const DEFAULT_BYTES: u64 = 1 << 30;
/// The largest volume: 1 TiB, of which only what is written takes room.
pub(super) const LARGEST_BYTES: u64 = 1 << 40;
/// The longest name, in bytes, that a field may have.
const LONGEST_NAME: usize = 128;

/// A field that must not be empty.
pub(super) fn required<'a>(name: &str, value: &'a str) -> Result<&'a str, Status> {
    if value.is_empty() {
        return Err(Status::invalid_argument(format!("{name} is missing")));
    }
    Ok(value)
}

/// A path from a request: absolute, and without steps back. Its folder is
/// followed through links, as the kernel names mounts; its last part is not
/// looked at, since looking at a dead mount may hang.
pub(super) fn path(name: &str, value: &str) -> Result<PathBuf, Status> {
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
pub(super) fn name(value: &str) -> Result<&str, Status> {
    let value = required("name", value)?;
    let banned = |letter: char| letter.is_control() && !matches!(letter, '\t' | '\n' | '\r');
    if value.len() > LONGEST_NAME || value.chars().any(banned) {
        let message = "name is longer than 128 bytes or holds control characters";
        return Err(Status::invalid_argument(message));
    }
    Ok(value)
}

/// The size, in bytes, of a volume that lies in this range.
///
/// # Errors
///
/// INVALID_ARGUMENT for a range that is none, OUT_OF_RANGE for one that we have
/// no size in.
pub(super) fn size(
    range: Option<&CapacityRange>,
    smallest: u64,
    rounded_down: bool,
) -> Result<u64, Status> {
    let (required, limit) = bounds(range)?;
    let wanted = match (required, limit) {
        (0, 0) => DEFAULT_BYTES,
        (0, limit) => DEFAULT_BYTES.min(limit / UNIT * UNIT),
        (required, _) if rounded_down => (required / UNIT).max(1) * UNIT,
        (required, _) => required.div_ceil(UNIT).saturating_mul(UNIT),
    };
    let size = wanted.max(smallest);
    if size > LARGEST_BYTES || (limit != 0 && size > limit) {
        return Err(Status::out_of_range(format!(
            "volumes have whole MiB, from {smallest} to {LARGEST_BYTES} bytes; none lies in this capacity_range"
        )));
    }
    Ok(size)
}

/// `required_bytes` and `limit_bytes`, where 0 means that there is none.
pub(super) fn bounds(range: Option<&CapacityRange>) -> Result<(u64, u64), Status> {
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
pub(super) fn lies_in(bytes: u64, (required, limit): (u64, u64)) -> bool {
    bytes >= required && (limit == 0 || bytes <= limit)
}

/// The smallest volume, in bytes, that can be used in this way.
pub(super) fn smallest(filesystem: Option<Filesystem>) -> u64 {
    filesystem.map_or(UNIT, Filesystem::smallest)
}

/// A `volume_context` must be the volume's own, where it is given; the caller
/// may have added keys of its own.
pub(super) fn context(given: &HashMap<String, String>, volume: &Volume) -> Result<(), Status> {
    for (key, value) in volume.context() {
        if given.get(&key).is_some_and(|given| *given != value) {
            let message = format!("{key:?} in volume_context is not that of the volume");
            return Err(Status::invalid_argument(message));
        }
    }
    Ok(())
}

/// The key of the one topology segment.
pub(super) const TOPOLOGY_KEY: &str = "topology.loop.csi-conformance.dev/node";

/// Where the volumes of this node can be reached from.
pub(super) fn topology(node_id: &str) -> Topology {
    Topology {
        segments: HashMap::from([(TOPOLOGY_KEY.to_owned(), node_id.to_owned())]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(required_bytes: i64, limit_bytes: i64) -> CapacityRange {
        CapacityRange {
            required_bytes,
            limit_bytes,
        }
    }

    #[test]
    fn sizes_are_rounded_up_within_the_limit() {
        let size = |required, limit| size(Some(&range(required, limit)), UNIT, false);
        assert_eq!(size(1, 0).expect("a size"), UNIT);
        assert_eq!(size((1 << 30) + 1, 0).expect("a size"), (1 << 30) + UNIT);
        assert_eq!(size(0, 5 << 20).expect("a size"), 5 << 20);
        for (required, limit, code) in [
            (-1, 0, tonic::Code::InvalidArgument),
            (0, 0, tonic::Code::InvalidArgument),
            (2, 1, tonic::Code::OutOfRange),
            ((1 << 20) + 1, (1 << 20) + 2, tonic::Code::OutOfRange),
            (i64::MAX, 0, tonic::Code::OutOfRange),
            (0, 4096, tonic::Code::OutOfRange),
        ] {
            assert_eq!(size(required, limit).expect_err("refused").code(), code);
        }
    }

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
