//! Is a file system being made?

use std::ffi::OsStr;
use std::path::Path;

use crate::node::process;

/// Whether some mkfs has a device like this among its arguments.
pub(super) fn is_at_work_on(is_one: impl Fn(&OsStr) -> bool) -> bool {
    let found = process::with_argument(is_one).unwrap_or_default();
    found.iter().any(|(_, words)| {
        let program = words.first().map(Path::new).and_then(Path::file_name);
        let program = program.unwrap_or_default().to_string_lossy();
        program.starts_with("mkfs") || program.starts_with("mke2fs")
    })
}
