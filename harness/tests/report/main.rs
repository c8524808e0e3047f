//! What people and machines read of a run.

mod compare;
mod console;
mod files;
mod finding;
mod fixtures;
mod formats;
mod scrub;
