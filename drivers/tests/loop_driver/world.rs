//! One driver, and a caller that talks to it as a kubelet does.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use csi_drivers::defect::Defects;
use csi_drivers::looper::{self, Options};
use csi_proto::v1 as csi;
use csi_proto::v1::identity_client::IdentityClient;
use hyper_util::rt::TokioIo;
use libtest_mimic::Failed;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::scratch;

const SERVE: &str = "LOOP_DRIVER_TEST_SERVE";
const DEFECTS: &str = "LOOP_DRIVER_TEST_DEFECTS";
pub(crate) const NODE: &str = "here";

/// What the child does instead of testing: it is the driver.
pub(crate) fn serve_if_told() -> Option<ExitCode> {
    let folder = PathBuf::from(env::var_os(SERVE)?);
    let run = || -> Result<(), Box<dyn std::error::Error>> {
        let defects: Defects = env::var(DEFECTS)?.parse()?;
        looper::prepare(&defects)?;
        tracing_subscriber::fmt()
            .with_writer(std::io::stderr)
            .with_ansi(false)
            .init();
        let socket = folder.join("csi.sock").try_into()?;
        let options = Options {
            defects,
            node_id: Some(NODE.to_owned()),
            ..Options::new(socket, folder.join("state"))
        };
        Runtime::new()?.block_on(looper::serve(options))?;
        Ok(())
    };
    Some(match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    })
}

/// A driver and its caller.
pub(crate) struct World {
    pub(crate) folder: PathBuf,
    defects: String,
    child: Option<Child>,
    pub(crate) runtime: Runtime,
}

/// Asks, and waits for the answer.
macro_rules! ask {
    ($world:expr, $client:ident . $rpc:ident, $request:expr) => {{
        let request = $request;
        let channel = $world.channel();
        $world.runtime.block_on(async move {
            let mut client = $client::new(channel?);
            client.$rpc(request).await.map(tonic::Response::into_inner)
        })
    }};
}
pub(crate) use ask;

impl World {
    /// Runs a test with a driver, and sees to it that nothing of it stays.
    pub(crate) fn run(
        folder: &Path,
        defects: &str,
        test: fn(&mut Self) -> Result<(), Failed>,
    ) -> Result<(), Failed> {
        fs::create_dir_all(folder)?;
        let mut world = Self {
            folder: folder.to_owned(),
            defects: defects.to_owned(),
            child: None,
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()?,
        };
        let ran = world.start().and_then(|()| test(&mut world));
        world.kill();
        let left = scratch::clean(folder);
        ran.map_err(|failed| {
            Failed::from(format!(
                "{}\n{}",
                failed.message().unwrap_or(""),
                world.log()
            ))
        })?;
        if defects.is_empty() && !left.is_empty() {
            return Err(format!("left behind: {left:?}\n{}", world.log()).into());
        }
        Ok(())
    }

    /// Starts the driver and waits until it is ready.
    pub(crate) fn start(&mut self) -> Result<(), Failed> {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("log"))?;
        let child = Command::new(env::current_exe()?)
            .env(SERVE, &self.folder)
            .env(DEFECTS, &self.defects)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        self.child = Some(child);
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            match ask!(self, IdentityClient.probe, csi::ProbeRequest {}) {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > until || self.is_dead() => {
                    return Err(format!("the driver does not serve: {error}").into());
                }
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    pub(crate) fn is_dead(&mut self) -> bool {
        match &mut self.child {
            Some(child) => matches!(child.try_wait(), Ok(Some(_))),
            None => true,
        }
    }

    /// Waits for the driver to be dead.
    pub(crate) fn ends(&mut self) -> bool {
        let until = Instant::now() + Duration::from_secs(20);
        while !self.is_dead() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.is_dead()
    }

    /// How many children of the driver are dead and not waited for.
    pub(crate) fn zombies(&self) -> usize {
        let Some(driver) = self.child.as_ref().map(Child::id) else {
            return 0;
        };
        let stats = fs::read_dir("/proc").into_iter().flatten().flatten();
        stats
            .filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok())
            .filter(|stat| {
                let after = stat.rsplit(") ").next().unwrap_or_default();
                after.starts_with(&format!("Z {driver} "))
            })
            .count()
    }

    /// Waits until the driver has logged this.
    pub(crate) fn logs(&self, what: &str) -> bool {
        let until = Instant::now() + Duration::from_secs(20);
        while !self.log().contains(what) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.log().contains(what)
    }

    /// Ends the driver as the kernel's out-of-memory killer would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Asks the driver to end, and gives its exit code.
    pub(crate) fn terminate(&mut self) -> Result<Option<i32>, Failed> {
        let mut child = self.child.take().ok_or("no driver is running")?;
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id())?);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
        Ok(child.wait()?.code())
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    pub(crate) fn channel(&self) -> Result<Channel, Status> {
        let socket = self.folder.join("csi.sock");
        let connector = tower::service_fn(move |_| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        let _inside = self.runtime.enter();
        Ok(Endpoint::from_static("http://localhost").connect_with_connector_lazy(connector))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A staging folder, which is the caller's to make.
    pub(crate) fn staging(&self, name: &str) -> Result<PathBuf, Failed> {
        let path = self.path(name);
        fs::create_dir_all(&path)?;
        Ok(path)
    }
}

/// Says what was expected where it is not so.
pub(crate) fn expect(holds: bool, what: &str) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(what.into()) }
}

/// A call must be refused with this code.
pub(crate) fn refused<T: std::fmt::Debug>(
    answer: Result<T, Status>,
    code: Code,
    what: &str,
) -> Result<(), Failed> {
    match answer {
        Err(status) if status.code() == code => {
            expect(!status.message().is_empty(), "a refusal says why")
        }
        other => Err(format!("{what}: {code:?} was expected, and it was {other:?}").into()),
    }
}
