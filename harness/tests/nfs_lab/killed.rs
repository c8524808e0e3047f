//! A run that is killed while a server of its own runs.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use csi_harness::lab::{Entry, NfsServer, RunFolder, Then, leftovers};
use csi_harness::node::{ProcessId, process};
use libtest_mimic::Failed;

use crate::world::until;
use crate::{Test, Tried};

pub(crate) const TESTS: &[Test] = &[
    ("a-killed-run-leaves-no-server", alone),
    ("the-server-of-a-killed-run-is-cleaned-away", cleaned),
];

/// The variable that makes this binary the run; the first argument is its folder.
pub(crate) const ROLE: &str = "CSI_NFS_LAB_TEST_ROLE";

/// A run with a server, until it is killed.
pub(crate) fn play() -> ExitCode {
    let folder = PathBuf::from(std::env::args_os().nth(1).unwrap_or_default());
    let played = || -> Tried {
        let run = RunFolder::make(&folder)?;
        let server = NfsServer::start(run.path(), 0, run.journal())?;
        server.freeze()?;
        std::io::stdout().write_all(b"ready")?;
        std::io::stdout().flush()?;
        std::io::stdin().read_to_end(&mut Vec::new())?;
        Ok(())
    };
    match played() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", error.message().unwrap_or_default());
            ExitCode::FAILURE
        }
    }
}

fn start(folder: &Path) -> Result<Child, Failed> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg(folder)
        .env(ROLE, "run")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut said = [0_u8; 5];
    let stdout = child.stdout.as_mut().ok_or("no stdout")?;
    let ready = stdout.read_exact(&mut said);
    ready.map_err(|error| format!("it died before it was ready: {error}"))?;
    Ok(child)
}

/// What the server is made of: its link, its holder, and all processes.
struct Made {
    link: String,
    holder: ProcessId,
    processes: Vec<ProcessId>,
}

impl Made {
    fn of(state: &Path) -> Result<Self, Failed> {
        let run = std::fs::read_dir(state.join("runs"))?
            .next()
            .ok_or("no run")??;
        let journal = std::fs::read_to_string(run.path().join("journal"))?;
        let (mut link, mut holder) = (None, None);
        for line in journal.lines() {
            if let Entry::NfsServer {
                holder: process,
                link: name,
                ..
            } = serde_json::from_str(line)?
            {
                (holder, link) = (Some(process), Some(name));
            }
        }
        let holder: ProcessId = holder.ok_or("no holder")?;
        let daemons = process::children(holder.pid)?;
        let mut processes: Vec<_> = daemons.iter().map(|daemon| daemon.id).collect();
        assert!(processes.len() >= 2, "rpcbind and mountd: {daemons:?}");
        processes.push(holder);
        Ok(Self {
            link: link.ok_or("no link")?,
            holder,
            processes,
        })
    }

    fn has_link(&self) -> bool {
        nix::net::if_::if_nametoindex(self.link.as_str()).is_ok()
    }

    fn is_gone(&self) -> bool {
        !self.has_link() && !self.processes.iter().any(ProcessId::alive)
    }
}

fn alone(folder: &Path) -> Tried {
    let mut run = start(folder)?;
    let made = Made::of(folder)?;
    assert!(made.has_link());
    run.kill()?;
    run.wait()?;
    until("all of the server is gone", || Ok(made.is_gone()))?;
    let mut left = leftovers(folder)?;
    assert_eq!(left.len(), 1);
    assert_eq!(left.remove(0).clean()?, []);
    Ok(())
}

/// Somebody keeps the pipe open that tells the holder of the death of the run.
fn cleaned(folder: &Path) -> Tried {
    let mut run = start(folder)?;
    let made = Made::of(folder)?;
    let line = format!("/proc/{}/fd/0", made.holder.pid);
    let held = OpenOptions::new().write(true).open(line)?;
    run.kill()?;
    run.wait()?;
    let mut left = leftovers(folder)?;
    assert_eq!(left.len(), 1);
    assert!(made.holder.alive() && made.has_link());
    let report = left.remove(0).clean()?;
    assert!(made.is_gone(), "{report:#?}");
    let told: Vec<_> = report.iter().map(|line| (line.what, &line.then)).collect();
    assert_eq!(told, [("NFS server", &Then::Removed)], "{report:#?}");
    drop(held);
    Ok(())
}
