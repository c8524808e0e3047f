//! One driver, and a caller that talks to it as a kubelet does.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use csi_drivers::defect::Defects;
use csi_drivers::nfs::{self, Options};
use csi_proto::v1 as csi;
use csi_proto::v1::identity_client::IdentityClient;
use hyper_util::rt::TokioIo;
use libtest_mimic::Failed;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::server::Server;
use crate::{Case, Mode, table};

const SERVE: &str = "NFS_DRIVER_TEST_SERVE";
const DEFECTS: &str = "NFS_DRIVER_TEST_DEFECTS";
const STAGE: &str = "NFS_DRIVER_TEST_STAGE";
pub(crate) const NODE: &str = "here";

/// What the child does instead of testing: it is the driver.
pub(crate) fn serve_if_told() -> Option<ExitCode> {
    let folder = PathBuf::from(env::var_os(SERVE)?);
    let run = || -> Result<(), Box<dyn std::error::Error>> {
        let defects: Defects = env::var(DEFECTS)?.parse()?;
        nfs::prepare(&defects)?;
        tracing_subscriber::fmt()
            .with_writer(std::io::stderr)
            .with_ansi(false)
            .init();
        let socket = folder.join("csi.sock").try_into()?;
        let options = Options {
            stage: env::var_os(STAGE).is_some(),
            defects,
            node_id: Some(NODE.to_owned()),
            ..Options::new(socket, folder.join("state"))
        };
        let runtime = Runtime::new()?;
        runtime.block_on(nfs::serve(options))?;
        runtime.shutdown_background();
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
    pub(crate) mode: Mode,
    pub(crate) server: Option<Arc<Server>>,
    defects: &'static str,
    child: Option<Child>,
    pub(crate) runtime: Runtime,
}

/// Asks, and waits for the answer, with this deadline.
macro_rules! ask {
    ($world:expr, $client:ident . $rpc:ident, $request:expr) => {
        ask!(
            $world,
            $client.$rpc,
            $request,
            std::time::Duration::from_secs(60)
        )
    };
    ($world:expr, $client:ident . $rpc:ident, $request:expr, $deadline:expr) => {{
        let mut request = tonic::Request::new($request);
        request.set_timeout($deadline);
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
        server: Option<Arc<Server>>,
        mode: Mode,
        case: &Case,
    ) -> Result<(), Failed> {
        fs::create_dir_all(folder)?;
        let mut world = Self {
            folder: folder.to_owned(),
            mode,
            server,
            defects: case.defects,
            child: None,
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()?,
        };
        let ran = world.start().and_then(|()| (case.run)(&mut world));
        if let Some(server) = &world.server {
            server.heal()?;
        }
        world.kill();
        let helpers = world.helpers();
        for pid in &helpers {
            let _ = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(*pid),
                nix::sys::signal::Signal::SIGKILL,
            );
        }
        let left = table::clean(folder);
        ran.map_err(|failed| {
            Failed::from(format!(
                "{}\n{}",
                failed.message().unwrap_or(""),
                world.log()
            ))
        })?;
        if case.defects.is_empty() && !(left.is_empty() && helpers.is_empty()) {
            return Err(format!("left behind: {left:?} {helpers:?}\n{}", world.log()).into());
        }
        Ok(())
    }

    /// Starts the driver and waits until it is ready.
    pub(crate) fn start(&mut self) -> Result<(), Failed> {
        self.child = Some(self.spawn()?);
        self.until("the driver serves", |world| {
            ask!(world, IdentityClient.probe, csi::ProbeRequest {}).is_ok()
        })
    }

    /// Starts a driver that is to end at once, and tells whether it failed.
    pub(crate) fn start_once(&mut self) -> Result<bool, Failed> {
        Ok(!self.spawn()?.wait()?.success())
    }

    fn spawn(&self) -> Result<Child, Failed> {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("log"))?;
        let mut command = Command::new(env::current_exe()?);
        command
            .env(SERVE, &self.folder)
            .env(DEFECTS, self.defects)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        if self.mode == Mode::Staged {
            command.env(STAGE, "1");
        }
        Ok(command.spawn()?)
    }

    /// How many children of the driver are dead and not waited for.
    pub(crate) fn zombies(&self) -> usize {
        let stats = fs::read_dir("/proc").into_iter().flatten().flatten();
        stats
            .filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok())
            .filter(|stat| {
                let after = stat.rsplit(") ").next().unwrap_or_default();
                after.starts_with(&format!("Z {} ", self.pid()))
            })
            .count()
    }

    /// Waits for what must come to be.
    pub(crate) fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) -> Result<(), Failed> {
        let until = Instant::now() + Duration::from_secs(60);
        while !holds(self) {
            if Instant::now() > until {
                return Err(format!("it is not so after a minute: {what}").into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Ends the driver as the kernel's out-of-memory killer would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// The process of the driver.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// The mount helpers that are at work below this world's folder.
    pub(crate) fn helpers(&self) -> Vec<i32> {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let folder = self.folder.display().to_string();
        entries
            .filter_map(|entry| {
                let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
                let line = fs::read(entry.path().join("cmdline")).ok()?;
                let line = String::from_utf8_lossy(&line).into_owned();
                let is_helper = line
                    .split('\0')
                    .next()
                    .is_some_and(|name| name.contains("mount.nfs"));
                (is_helper && line.contains(&folder)).then_some(pid)
            })
            .collect()
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

    /// The server, where there is one: cases that need it run nowhere else.
    pub(crate) fn server(&self) -> Result<&Server, Failed> {
        self.server.as_deref().ok_or_else(|| "no server".into())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// Says what was expected where it is not so.
pub(crate) fn expect(holds: bool, what: &str) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(what.into()) }
}

/// A call must be refused with one of these codes.
pub(crate) fn refused<T: std::fmt::Debug>(
    answer: Result<T, Status>,
    codes: &[Code],
    what: &str,
) -> Result<(), Failed> {
    match answer {
        Err(status) if codes.contains(&status.code()) => {
            expect(!status.message().is_empty(), "a refusal says why")
        }
        other => Err(format!("{what}: {codes:?} was expected, and it was {other:?}").into()),
    }
}
