//! Rows about what is watched during the whole run, and the stories.

use crate::table::Row;

pub(crate) const ROWS: &[Row] = &[];
