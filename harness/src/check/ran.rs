//! What the driver's processes did: the programs that it started, and those of them
//! that are there still.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::cx::Cx;
use super::session::Session;
use crate::lab::OurPath;
use crate::node::process::{self, ProcessId};
use crate::node::{Process, Ran};

/// A command line, in words; long ones are cut.
fn line(words: &[OsString]) -> String {
    const MOST: usize = 200;
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    let line = words.join(" ");
    match line.char_indices().nth(MOST) {
        Some((cut, _)) => format!("{} …", &line[..cut]),
        None => line,
    }
}

impl Session {
    /// How many programs the driver started so far.
    pub(super) fn ran_so_far(&self) -> usize {
        self.execs.as_ref().map_or(0, |execs| execs.count())
    }

    /// The programs that the driver started after the first `from`.
    pub(super) fn ran_since(&self, from: usize) -> Vec<Ran> {
        self.execs
            .as_ref()
            .map(|execs| execs.since(from))
            .unwrap_or_default()
    }

    /// Watches the driver's new process too.
    pub(super) fn driver_is(&self, driver: ProcessId) {
        if let Some(execs) = &self.execs {
            execs.also(driver);
        }
    }

    /// What the driver started with one of these words on its command line; in words.
    pub fn in_arguments(&self, secrets: &[String]) -> Option<String> {
        let shows = |ran: &&Ran| {
            ran.words.iter().any(|word| {
                let word = word.to_string_lossy();
                secrets.iter().any(|secret| word.contains(secret.as_str()))
            })
        };
        if self.execs.as_ref().is_some_and(|execs| execs.lost()) {
            tracing::warn!("the driver started more than could be read: arguments were missed");
        }
        let ran = self.ran_since(0);
        let ran = ran.iter().find(shows)?;
        let program = ran.words.first().map(|word| word.to_string_lossy());
        let program = program.as_deref().and_then(|word| word.rsplit('/').next());
        Some(format!(
            "among the arguments of {} (pid {}), which every user of the node can read",
            program.unwrap_or_default(),
            ran.pid
        ))
    }
}

impl Cx {
    /// Notes what the driver ran during a call that had to do with a volume of this
    /// check: what names its id, one of its paths or its device.
    pub(super) fn note_what_ran(&self, rpc: &str, n: u64, from: usize) {
        let ran = self.session.ran_since(from);
        if ran.is_empty() {
            return;
        }
        let names = self.names();
        let ours = |word: &OsString| {
            let word = word.to_string_lossy();
            names.iter().any(|name| word.contains(name.as_str()))
        };
        for ran in ran.iter().filter(|ran| ran.words.iter().any(ours)) {
            let text = format!(
                "during {rpc}, call {n}: {} (pid {})",
                line(&ran.words),
                ran.pid
            );
            self.fact("the driver ran", text);
        }
    }

    /// Words by which the volumes of this check are named on a command line.
    fn names(&self) -> Vec<String> {
        let claims = self.claims();
        let of_volume = claims.volumes.iter().flat_map(|volume| {
            let paths = volume.targets.iter().chain(&volume.staged);
            let devices = volume.devices.iter();
            let paths = paths.map(|path| path.drivers.clone());
            let devices = devices.map(|device| device.path().display().to_string());
            volume.id.iter().cloned().chain(paths).chain(devices)
        });
        of_volume.filter(|name| !name.is_empty()).collect()
    }
}

/// The processes that name one of these paths among their arguments, in words.
pub(super) fn processes_at(paths: &[&OurPath]) -> Vec<String> {
    let names_one = |argument: &OsStr| {
        paths
            .iter()
            .any(|path| argument == path.drivers.as_str() || Path::new(argument) == path.ours)
    };
    let found = process::with_argument(names_one).unwrap_or_default();
    let in_words = |(process, words): (Process, Vec<OsString>)| {
        let (pid, parent) = (process.id.pid, process.parent);
        format!("{} (pid {pid}, child of {parent})", line(&words))
    };
    found.into_iter().map(in_words).collect()
}
