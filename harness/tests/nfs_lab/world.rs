//! What the tests share: a server, and a client's mounts.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use csi_harness::lab::{NfsServer, RunFolder, Serve, unmount_below};
use csi_harness::node::MountTable;
use libtest_mimic::Failed;

use crate::Tried;

/// Longer than anything here takes, emulated.
pub(crate) const SOON: Duration = Duration::from_secs(90);

pub(crate) const V3: &str = "nfsvers=3,nolock,proto=tcp,mountproto=tcp";
pub(crate) const V4_1: &str = "nfsvers=4.1";
pub(crate) const V4_2: &str = "nfsvers=4.2";

static NUMBER: AtomicU32 = AtomicU32::new(1);

/// A run with a server; its mounts lie below the folder.
pub(crate) struct World {
    folder: PathBuf,
    pub(crate) run: Option<RunFolder>,
}

impl World {
    pub(crate) fn new(folder: &Path) -> Result<Self, Failed> {
        Ok(Self {
            folder: folder.to_owned(),
            run: Some(RunFolder::make(&folder.join("state"))?),
        })
    }

    pub(crate) fn server(&self) -> Result<NfsServer, Failed> {
        self.server_with(Serve::ALL)
    }

    pub(crate) fn server_with(&self, serve: Serve) -> Result<NfsServer, Failed> {
        let run = self.run.as_ref().ok_or("the run is over")?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let begin = Instant::now();
        let server = NfsServer::start_with(serve, run.path(), number, run.journal())?;
        note("start", begin);
        Ok(server)
    }

    /// A new folder to mount at.
    pub(crate) fn target(&self, name: &str) -> Result<PathBuf, Failed> {
        let target = self.folder.join(name);
        std::fs::create_dir(&target)?;
        Ok(target)
    }

    /// Mounts a share at a new folder.
    pub(crate) fn mount(
        &self,
        server: &NfsServer,
        share: &str,
        options: &str,
        name: &str,
    ) -> Result<PathBuf, Failed> {
        let target = self.target(name)?;
        let output = mount(server, share, options, &target)?;
        if !output.status.success() {
            return Err(format!("mount {options}: {}", said(&output)).into());
        }
        Ok(target)
    }

    /// Ends the run: nothing of it may be left by then.
    pub(crate) fn end(mut self) -> Tried {
        self.unmount()?;
        let run = self.run.take().ok_or("the run is over")?;
        let left = run.end()?;
        assert!(left.is_empty(), "{left:#?}");
        Ok(())
    }

    pub(crate) fn unmount(&self) -> Tried {
        let report = unmount_below(&self.folder)?;
        assert!(report.left.is_empty(), "{report:#?}");
        Ok(())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = unmount_below(&self.folder);
    }
}

/// Tells how long something took; only for reading.
pub(crate) fn note(what: &str, begin: Instant) {
    let _ = writeln!(std::io::stderr(), "{what}: {:.2?}", begin.elapsed());
}

/// mount(8), which tries again as the options say.
pub(crate) fn mount_command(
    server: &NfsServer,
    share: &str,
    options: &str,
    target: &Path,
) -> Command {
    let mut command = Command::new("mount");
    command
        .args(["-t", "nfs", "-o", options])
        .arg(format!("{}:{share}", server.address()))
        .arg(target)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// mount(8), which does not try again.
pub(crate) fn mount(
    server: &NfsServer,
    share: &str,
    options: &str,
    target: &Path,
) -> Result<Output, Failed> {
    let options = format!("{options},retry=0");
    Ok(mount_command(server, share, &options, target).output()?)
}

pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

pub(crate) fn is_mounted(target: &Path) -> Result<bool, Failed> {
    Ok(!MountTable::ours()?.at(target).is_empty())
}

/// Waits until something is so.
pub(crate) fn until(what: &str, is_so: impl Fn() -> Result<bool, Failed>) -> Tried {
    let end = Instant::now() + SOON;
    while !is_so()? {
        if Instant::now() > end {
            return Err(format!("not within {SOON:?}: {what}").into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
