//! Rows about a driver that is killed and started again, and calls that are cut short.

use crate::table::Row;

pub(crate) const ROWS: &[Row] = &[];
