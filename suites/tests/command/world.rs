//! Where the command is run, and how long it may take at the most.

use std::error::Error;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use csi_harness::lab::{Scratch, unmount_below};
use libtest_mimic::{Completion, Failed, Trial};

/// No command here takes nearly as long: it only keeps a hang from being one.
const WATCHDOG: Duration = Duration::from_secs(120);

pub(crate) type Tested = Result<(), Box<dyn Error>>;

/// A folder of its own for each test.
pub(crate) struct World {
    base: PathBuf,
    is_root: bool,
    count: AtomicU32,
    /// On the host, with the scratch in it.
    folder: PathBuf,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl World {
    /// As root, in a mount namespace and file system of its own.
    pub(crate) fn enter() -> Result<Arc<Self>, Box<dyn Error>> {
        let folder = std::env::temp_dir().join(format!("csi-cmd-{}", std::process::id()));
        let is_root = csi_harness::node::Host::look().has("CAP_SYS_ADMIN");
        let base = match is_root {
            true => Scratch::enter(&folder)?.path().to_owned(),
            false => folder.clone(),
        };
        Ok(Arc::new(Self {
            base,
            is_root,
            count: AtomicU32::new(0),
            folder,
        }))
    }

    /// Takes away what the host sees of it: an empty folder in a folder.
    pub(crate) fn leave(&self) -> std::io::Result<()> {
        if !self.is_root {
            // Nothing was mounted below it.
            return fs::remove_dir_all(&self.folder);
        }
        unmount_below(&self.base)?;
        fs::remove_dir(&self.base)?;
        fs::remove_dir(&self.folder)
    }

    /// A test that anybody can run.
    pub(crate) fn trial(self: &Arc<Self>, name: &str, test: fn(&Place) -> Tested) -> Trial {
        let world = self.clone();
        Trial::test(name, move || {
            test(&world.place()?).map_err(|e| Failed::from(e.to_string()))
        })
    }

    /// A test that mounts.
    pub(crate) fn root_trial(self: &Arc<Self>, name: &str, test: fn(&Place) -> Tested) -> Trial {
        let world = self.clone();
        Trial::ignorable_test(name, move || {
            if !world.is_root {
                return Ok(Completion::ignored_with(
                    "the host lacks root with CAP_SYS_ADMIN",
                ));
            }
            let tested = test(&world.place()?);
            tested
                .map(|()| Completion::Completed)
                .map_err(|e| Failed::from(e.to_string()))
        })
    }

    fn place(&self) -> Result<Place, std::io::Error> {
        let path = self
            .base
            .join(self.count.fetch_add(1, Ordering::Relaxed).to_string());
        fs::create_dir_all(path.join("state"))?;
        Ok(Place { path })
    }
}

/// A working directory, with the state folder in it.
pub(crate) struct Place {
    pub(crate) path: PathBuf,
}

impl Place {
    /// The command, with nothing of our own environment that it would heed.
    pub(crate) fn command(&self) -> Command {
        self.program(Path::new(env!("CARGO_BIN_EXE_csi-conformance")))
    }

    fn program(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        let ours = |(name, _): &(std::ffi::OsString, _)| name.to_string_lossy().starts_with("CSI_");
        for (name, _) in std::env::vars_os().filter(ours) {
            command.env_remove(name);
        }
        command
            .env("CSI_CONFORMANCE_STATE", self.path.join("state"))
            .env("CSI_CONFORMANCE_QUIET_PERIOD", "500ms")
            .env("COLUMNS", "100")
            .env_remove("RUST_LOG")
            .current_dir(&self.path)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// The command in a folder that everybody can read, for another user.
    pub(crate) fn command_for_all(&self) -> Result<(Command, tempfile::TempDir), Box<dyn Error>> {
        let folder = tempfile::Builder::new()
            .permissions(fs::Permissions::from_mode(0o755))
            .tempdir()?;
        let program = folder.path().join("csi-conformance");
        fs::copy(env!("CARGO_BIN_EXE_csi-conformance"), &program)?;
        let mut command = self.program(&program);
        command.current_dir("/");
        Ok((command, folder))
    }

    /// Runs it to its end.
    pub(crate) fn run<I: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = I>,
    ) -> Result<Ended, Box<dyn Error>> {
        end(self.command().args(arguments).spawn()?)
    }

    pub(crate) fn write(&self, name: &str, content: &str) -> Result<PathBuf, std::io::Error> {
        let path = self.path.join(name);
        fs::write(&path, content)?;
        Ok(path)
    }

    /// Runs whose journal is still there.
    pub(crate) fn runs_left(&self) -> usize {
        fs::read_dir(self.path.join("state/runs")).map_or(0, |listed| listed.count())
    }
}

/// Waits for a child and reads what it says.
pub(crate) fn end(mut child: Child) -> Result<Ended, Box<dyn Error>> {
    fn reader(
        from: Option<impl std::io::Read + Send + 'static>,
    ) -> std::thread::JoinHandle<String> {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = from.map(|mut from| from.read_to_end(&mut text));
            String::from_utf8_lossy(&text).into_owned()
        })
    }
    let (out, err) = (reader(child.stdout.take()), reader(child.stderr.take()));
    let until = Instant::now() + WATCHDOG;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() > until {
            child.kill()?;
            child.wait()?;
            return Err(format!("it did not end within {WATCHDOG:?}").into());
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let read =
        |thread: std::thread::JoinHandle<String>| thread.join().map_err(|_| "a reader broke");
    Ok(Ended {
        code: status.code(),
        out: read(out)?,
        err: read(err)?,
    })
}

impl Ended {
    /// It ended with this code.
    pub(crate) fn code(self, code: i32) -> Result<Self, Box<dyn Error>> {
        if self.code == Some(code) {
            return Ok(self);
        }
        Err(format!("expected exit code {code}: {self:#?}").into())
    }

    /// It said one line on the standard error, nothing else, and exit code 3.
    pub(crate) fn refused(self) -> Result<String, Box<dyn Error>> {
        let ended = self.code(3)?;
        let lines: Vec<_> = ended.err.lines().collect();
        match (lines.as_slice(), ended.out.as_str()) {
            ([line], "") => Ok((*line).to_owned()),
            _ => Err(format!("expected one line: {ended:#?}").into()),
        }
    }
}

/// All of these are in the text.
pub(crate) fn has(text: &str, words: &[&str]) -> Tested {
    match words.iter().find(|word| !text.contains(**word)) {
        None => Ok(()),
        Some(word) => Err(format!("`{word}` is not in: {text}").into()),
    }
}
