//! The arguments that mean something to this driver alone: sizes, contexts, topology.

use std::collections::HashMap;

use csi_proto::v1::{CapacityRange, Topology};
use tonic::Status;

use super::driver::Driver;
use super::volume::Volume;
pub(super) use crate::common::args::{bounds, lies_in, name, path, required};
use crate::defect::Defect;
use crate::sys::filesystem::Filesystem;

/// Volumes are whole MiB.
pub(super) const UNIT: u64 = 1 << 20;
/// What a volume is made of where nobody says: 1 GiB.
const DEFAULT_BYTES: u64 = 1 << 30;
/// The largest volume: 1 TiB, of which only what is written takes room.
pub(super) const LARGEST_BYTES: u64 = 1 << 40;

/// What a name that was asked for is remembered as: itself, without a defect.
pub(super) fn known_by<'a>(driver: &Driver, name: &'a str) -> &'a str {
    match driver.defects.has(Defect::NAMES_CUT_SHORT) {
        true => name.get(..63).unwrap_or(name),
        false => name,
    }
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
}
