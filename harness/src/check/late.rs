//! What comes late: a mount that was absent in the state read at the driver's
//! answer, and is there afterwards.

use std::time::{Duration, Instant};

use super::cx::Cx;
use super::outcome::Evidence;
use super::session::Session;
use super::stop::Stop;
use super::wait::Patience;
use crate::lab::{self, OurPath};
use crate::node::{Mount, MountTable};

/// A place that was given back: nothing may be mounted there any more.
#[derive(Debug, Clone)]
pub struct Watchpoint {
    path: OurPath,
    /// The answer after which nothing may come: `NodeUnpublishVolume answered OK`.
    since: String,
    from: Instant,
}

/// A mount that came late.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Late {
    /// Its line in mountinfo.
    pub line: String,
    /// How long after the answer.
    pub after: Duration,
    /// Who made it, where the kernel told.
    pub by: Option<String>,
    /// It is gone again.
    pub gone: bool,
}

impl Late {
    /// `+3.10 s`
    pub fn when(&self) -> String {
        when(self.after)
    }

    /// As it stands in a report.
    fn evidence(&self, path: &OurPath) -> Evidence {
        Evidence::Mounts {
            path: path.ours.display().to_string(),
            when: self.when(),
            lines: vec![self.line.clone()],
            expected: None,
        }
    }
}

/// `+3.10 s`
pub(super) fn when(after: Duration) -> String {
    format!("+{:.2} s", after.as_secs_f64())
}

impl Cx {
    /// Waits, no longer than the quiet period, for a mount to come at a path where
    /// none is; noted.
    ///
    /// # Errors
    /// The mounts cannot be read.
    pub(super) async fn late_mount(
        &self,
        path: &OurPath,
        from: Instant,
    ) -> Result<Option<Late>, Stop> {
        let mut patience = Patience::brisk(self.session.config().quiet());
        loop {
            let late = self.session.late(path, from);
            if let Some(late) = late {
                self.see(late.evidence(path));
                if let Some(by) = &late.by {
                    self.fact("mounted by", by.clone());
                }
                return Ok(Some(late));
            }
            if !patience.steady(Duration::from_millis(50)).await {
                return Ok(None);
            }
        }
    }

    /// From now until the end of the quiet period of the run nothing may be mounted
    /// at a path that was given back. An empty folder is put there, as the next pod
    /// of the kind would have it, so that what is under way finds its place.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub(super) fn nothing_may_come(&self, path: &OurPath, since: &str) -> Result<(), Stop> {
        let made = std::fs::create_dir_all(&path.ours);
        made.map_err(|e| Stop::ours(format!("mkdir {}", path.ours.display()), e))?;
        self.claims().watched.push(Watchpoint {
            path: path.clone(),
            since: since.to_owned(),
            from: Instant::now(),
        });
        Ok(())
    }
}

impl Session {
    /// The mount that came to a path since then, if one did.
    fn late(&self, path: &OurPath, from: Instant) -> Option<Late> {
        let table = MountTable::ours().ok()?;
        let there = table.at(&path.ours).last().map(|mount| mount.line());
        there.map(|line| Late {
            line,
            after: from.elapsed(),
            by: None,
            gone: false,
        })
    }

    /// What came to a watched place until now: what to say of it, and what was
    /// seen. What is still there is taken away.
    pub async fn came_late(&self, watched: &Watchpoint) -> Option<(String, Vec<Evidence>)> {
        let late = self.late(&watched.path, watched.from);
        let told = lab::take_down(&watched.path.ours).await;
        let _ = watched.path.remove();
        let late = late?;
        let mut seen = vec![late.evidence(&watched.path)];
        let fact = |label: &str, text: String| Evidence::Fact {
            label: label.to_owned(),
            text,
        };
        seen.extend(late.by.clone().map(|by| fact("mounted by", by)));
        seen.push(fact("in the end", told));
        let what = format!(
            "{} after {}, a mount appeared at {}, where nobody will ever unmount it",
            late.when().trim_start_matches('+'),
            watched.since,
            watched.path.ours.display()
        );
        Some((what, seen))
    }
}

/// The file system that a path lies on, in words: `ext4 /dev/vda1`.
pub(super) fn disk_beneath(holding: &Mount) -> String {
    format!("{} {}", holding.fs_type, holding.source.to_string_lossy())
}
