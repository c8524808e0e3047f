//! Rows about disks that fail, and mounts that outlive them.

use crate::table::Row;

pub(crate) const ROWS: &[Row] = &[];
