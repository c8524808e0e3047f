//! What the driver's process holds.

use std::fmt;

use super::cx::Cx;
use super::stop::Stop;
use crate::node::{ProcessId, process};

/// Counts of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holdings {
    /// Its children that ended and were not waited for.
    pub zombies: u64,
    /// Its open descriptors.
    pub descriptors: u64,
    /// Its threads.
    pub threads: u64,
}

impl fmt::Display for Holdings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} zombies, {} descriptors, {} threads",
            self.zombies, self.descriptors, self.threads
        )
    }
}

impl Cx {
    /// What the driver's process holds now. It belongs to the whole driver: only
    /// for a check that has the driver to itself.
    ///
    /// # Errors
    /// Its process is not known, or cannot be read.
    pub async fn holdings(&self) -> Result<Holdings, Stop> {
        let pid = self
            .session
            .driver_pid()
            .await
            .ok_or_else(|| Stop::no_host("the driver's process"))?;
        let wrong =
            |error: std::io::Error| Stop::no_host(format!("the driver's process, {pid}: {error}"));
        let driver = ProcessId::of(pid).map_err(wrong)?;
        let children = process::children(pid).map_err(wrong)?;
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        Ok(Holdings {
            zombies: count(children.iter().filter(|child| child.is_zombie()).count()),
            descriptors: count(driver.open_fds().map_err(wrong)?),
            threads: driver.threads().map_err(wrong)?,
        })
    }
}
