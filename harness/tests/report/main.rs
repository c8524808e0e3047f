//! What people and machines read of a run.

mod console;
mod files;
mod finding;
mod fixtures;
mod scrub;
