//! What comes late: a mount that was absent in the state read at the driver's
//! answer, and is there afterwards.

use std::time::Duration;

use super::cx::Cx;
use super::outcome::Evidence;
use super::session::Session;
use super::stop::{Checked, Stop};
use super::wait::Patience;
use super::watches::{Came, Moment};
use crate::lab::{self, OurPath};
use crate::node::Mount;

/// A place that was given back: nothing may be mounted there any more.
#[derive(Debug, Clone)]
pub struct Watchpoint {
    path: OurPath,
    /// The answer after which nothing may come: `NodeUnpublishVolume answered OK`.
    since: String,
    from: Moment,
}

/// `3.10 s`, as it takes from one moment to another.
pub(super) fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

impl Came {
    /// How long after an answer.
    pub(super) fn after(&self, answer: &Moment) -> String {
        seconds(self.at.saturating_duration_since(answer.at))
    }

    /// As it stands in a report.
    fn evidence(&self, path: &OurPath, answer: &Moment) -> Vec<Evidence> {
        let mount = Evidence::Mounts {
            path: path.ours.display().to_string(),
            when: format!("+{}", self.after(answer)),
            lines: vec![self.line.clone()],
            expected: None,
        };
        let by = self.by.clone().map(|by| fact("mounted by", by));
        [mount].into_iter().chain(by).collect()
    }
}

fn fact(label: &str, text: String) -> Evidence {
    Evidence::Fact {
        label: label.to_owned(),
        text,
    }
}

impl Cx {
    /// Waits, no longer than the quiet period, for a mount to come at a path where
    /// none was at that moment; noted.
    pub(super) async fn late_mount(&self, path: &OurPath, answer: &Moment) -> Option<Came> {
        let mut patience = Patience::brisk(self.session.quiet());
        loop {
            if let Some(came) = self.session.came(path, answer) {
                for seen in came.evidence(path, answer) {
                    self.see(seen);
                }
                return Some(came);
            }
            if !patience.steady(Duration::from_millis(50)).await {
                return None;
            }
        }
    }

    /// What came to a path since a moment at which nothing was mounted there, noted;
    /// gives how long after.
    pub(super) fn came_here(&self, path: &OurPath, since: &Moment) -> Option<String> {
        let came = self.session.came(path, since)?;
        for seen in came.evidence(path, since) {
            self.see(seen);
        }
        Some(came.after(since))
    }

    /// From now until the end of the quiet period of the run nothing may be mounted
    /// at a path that was given back. An empty folder is put there, as the next pod
    /// of the kind would have it, so that what is under way finds its place.
    ///
    /// # Errors
    /// The folder cannot be made, or something is mounted there now.
    pub(super) async fn nothing_may_come(&self, path: &OurPath, since: &str) -> Checked {
        let made = std::fs::create_dir_all(&path.ours);
        made.map_err(|e| Stop::ours(format!("mkdir {}", path.ours.display()), e))?;
        if let Some(mount) = self.mounts()?.at(&path.ours).last() {
            let line = mount.line();
            return Err(Stop::fail(format!("{since}, and a mount is there: {line}")));
        }
        let watched = Watchpoint {
            path: path.clone(),
            since: since.to_owned(),
            from: self.session.moment().await,
        };
        self.claims().watched.push(watched);
        Ok(())
    }
}

impl Session {
    /// What came to a watched place until now: what to say of it, and what was
    /// seen. What is still there is taken away.
    pub async fn came_late(&self, watched: &Watchpoint) -> Option<(String, Vec<Evidence>)> {
        let Watchpoint { path, since, from } = watched;
        let came = self.came(path, from);
        let told = lab::take_down(self.touches(&path.ours)).await;
        let _ = path.remove();
        let came = came?;
        let mut seen = came.evidence(path, from);
        seen.push(fact("in the end", told));
        let (after, at) = (came.after(from), path.ours.display());
        let what = format!(
            "{after} after {since}, a mount came to {at}, where nobody will ever unmount it"
        );
        Some((what, seen))
    }
}

/// The file system that a path lies on, in words: `ext4 /dev/vda1`.
pub(super) fn disk_beneath(holding: &Mount) -> String {
    format!("{} {}", holding.fs_type, holding.source.to_string_lossy())
}
