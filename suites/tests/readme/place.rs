//! Where commands are run: a folder with a driver that listens.

use std::error::Error;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::PROGRAM;
use crate::blocks::Block;

/// The socket that the README speaks of.
const SOCKET: &str = "unix:///path/csi.sock";

/// The folder that the README speaks of; there is none where tests run.
const KUBELET: &str = "/var/lib/kubelet";

/// What a command's line ends with, where it is meant to fail.
const EXIT_CODE: &str = "# exit code ";

/// No command takes nearly as long: it only keeps a hang from being one.
const WATCHDOG: Duration = Duration::from_secs(240);

/// Folders below one folder.
pub(crate) struct Places {
    base: PathBuf,
    count: AtomicU32,
}

/// A working directory of its own.
pub(crate) struct Place {
    path: PathBuf,
}

/// The built-in driver, until this is dropped.
struct Driver(Child);

impl Places {
    pub(crate) fn below(base: &Path) -> Self {
        Self {
            base: base.to_owned(),
            count: AtomicU32::new(0),
        }
    }

    /// A new one, with `csi-conformance` and `cargo` in its `bin`, and with the
    /// repository's `ci`. There is no cluster: what would make one is pretended.
    pub(crate) fn next(&self) -> io::Result<Place> {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let path = self.base.join(number.to_string());
        fs::create_dir_all(path.join("bin"))?;
        symlink(PROGRAM, path.join("bin/csi-conformance"))?;
        symlink(std::env::current_exe()?, path.join("bin/cargo"))?;
        let ci = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ci");
        for tool in ["kind", "kubectl", "docker"] {
            symlink(ci.join("kind/pretend"), path.join("bin").join(tool))?;
        }
        symlink(ci, path.join("ci"))?;
        Ok(Place { path })
    }
}

impl Place {
    /// Runs the commands of a block, each a line; what the last one printed.
    pub(crate) fn run(&self, block: &Block) -> Result<String, Box<dyn Error>> {
        let _driver = match block.content.contains(SOCKET) {
            true => Some(self.driver()?),
            false => None,
        };
        let mut output = String::new();
        let text = block.content.replace("\\\n", " ");
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let expected: i32 = match line.split_once(EXIT_CODE) {
                Some((_, code)) => code.trim().parse()?,
                None => 0,
            };
            let status;
            (status, output) = self.shell(line)?;
            if status.code() != Some(expected) {
                let told = format!("{line}\n{status}, not {expected}\n{output}");
                return Err(told.into());
            }
        }
        Ok(output)
    }

    fn shell(&self, line: &str) -> Result<(ExitStatus, String), Box<dyn Error>> {
        let kubelet = self.path.join("kubelet");
        fs::create_dir_all(&kubelet)?;
        let line = line
            .replace(SOCKET, &self.endpoint())
            .replace(KUBELET, &kubelet.to_string_lossy());
        let file = self.path.join("output");
        let output = File::create(&file)?;
        let child = self
            .command("/bin/sh")
            .args(["-c", &line])
            .stdout(output.try_clone()?)
            .stderr(output)
            // To end all of it, if it has to be ended.
            .process_group(0)
            .spawn()?;
        let status = end(child).map_err(|error| format!("{line}: {error}"))?;
        Ok((
            status,
            String::from_utf8_lossy(&fs::read(&file)?).into_owned(),
        ))
    }

    /// With nothing of our own environment that it would heed.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CSI_") {
                command.env_remove(name);
            }
        }
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .env(
                "PATH",
                format!("{}:{path}", self.path.join("bin").display()),
            )
            .env("CSI_CONFORMANCE_STATE", self.path.join("state"))
            .env("CSI_CONFORMANCE_QUIET_PERIOD", "500ms")
            .env("COLUMNS", "80")
            .env_remove("RUST_LOG")
            .current_dir(&self.path)
            .stdin(Stdio::null());
        command
    }

    fn endpoint(&self) -> String {
        format!("unix://{}", self.path.join("csi.sock").display())
    }

    fn driver(&self) -> Result<Driver, Box<dyn Error>> {
        let log = File::create(self.path.join("driver.log"))?;
        let endpoint = self.endpoint();
        let words = [
            "driver",
            "loop",
            "--endpoint",
            &endpoint,
            "--state-dir",
            "volumes",
        ];
        let child = self
            .command(PROGRAM)
            .args(words)
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let mut driver = Driver(child);
        let until = Instant::now() + WATCHDOG;
        while UnixStream::connect(self.path.join("csi.sock")).is_err() {
            if driver.0.try_wait()?.is_some() || Instant::now() > until {
                let log = fs::read_to_string(self.path.join("driver.log"))?;
                return Err(format!("the driver does not listen: {log}").into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(driver)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.0.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let _ = self.0.wait();
    }
}

/// Waits for a child, and ends it with all that it started if it hangs.
fn end(mut child: Child) -> Result<ExitStatus, Box<dyn Error>> {
    let until = Instant::now() + WATCHDOG;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() > until {
            killpg(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGKILL)?;
            child.wait()?;
            return Err(format!("it did not end within {WATCHDOG:?}").into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
