//! Rows about where volumes come from, and how they grow.

use crate::table::Row;

pub(crate) const ROWS: &[Row] = &[];
