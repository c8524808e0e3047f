//! The kernel's own NFS server, on the loopback interface.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;

use crate::table::mount_tmpfs;

const NFSD: &str = "/proc/fs/nfsd";

/// A server with one export.
pub(crate) struct Server {
    export: PathBuf,
    /// rpcbind, rpc.statd, rpc.mountd.
    daemons: Vec<Child>,
}

impl Server {
    /// Starts it, with all that it needs in a folder. Where it cannot be started,
    /// says what is lacking.
    pub(crate) fn start(folder: &Path) -> Result<Self, String> {
        let _ = run("modprobe", &["-a", "nfs", "nfsv3", "nfsv4", "nfsd"]);
        let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
        for needed in ["nfs", "nfs4", "nfsd"] {
            if !known
                .lines()
                .any(|line| line.ends_with(&format!("\t{needed}")))
            {
                return Err(format!("this host's kernel has no {needed}"));
            }
        }
        for needed in [
            "rpcbind",
            "rpcinfo",
            "rpc.statd",
            "rpc.mountd",
            "rpc.nfsd",
            "exportfs",
            "mount.nfs",
        ] {
            if !Path::new("/usr/sbin").join(needed).exists()
                && !Path::new("/sbin").join(needed).exists()
            {
                return Err(format!("this host has no {needed}"));
            }
        }
        if is_serving() {
            return Err("this host has an NFS server already, which is not ours".to_owned());
        }
        Self::try_start(folder).map_err(|failed| {
            format!(
                "no NFS server can be started: {}",
                failed.message().unwrap_or_default()
            )
        })
    }

    fn try_start(folder: &Path) -> Result<Self, Failed> {
        let (state, export) = (folder.join("nfs-state"), folder.join("export"));
        fs::create_dir(&state)?;
        for name in ["sm", "sm.bak", "v4recovery", "rpc_pipefs", "nfsdcltrack"] {
            fs::create_dir(state.join(name))?;
        }
        for name in ["etab", "rmtab"] {
            fs::write(state.join(name), "")?;
        }
        // In our own mount namespace: the host's stays as it is.
        run(
            "mount",
            &["--bind", &state.display().to_string(), "/var/lib/nfs"],
        )?;
        fs::create_dir(&export)?;
        mount_tmpfs(&export)?;
        run("ip", &["link", "set", "lo", "up"])?;
        if !Path::new(NFSD).join("threads").exists() {
            run("mount", &["-t", "nfsd", "nfsd", NFSD])?;
        }
        for name in ["nfsv4gracetime", "nfsv4leasetime"] {
            fs::write(Path::new(NFSD).join(name), "10")?;
        }
        let mut server = Self {
            export,
            daemons: Vec::new(),
        };
        server.daemon("rpcbind", &["-w", "-f"], "100000")?;
        server.daemon("rpc.statd", &["--no-notify", "-F"], "100024")?;
        let export = format!("127.0.0.1:{}", server.export.display());
        let options = "rw,no_root_squash,fsid=0,insecure,no_subtree_check";
        run("exportfs", &["-i", "-o", options, &export])?;
        server.heal()?;
        server.daemon("rpc.mountd", &["-F", "-p", "20048"], "100005")?;
        Ok(server)
    }

    /// Starts a daemon, and waits until its RPC program answers.
    fn daemon(&mut self, name: &str, arguments: &[&str], program: &str) -> Result<(), Failed> {
        let child = Command::new(name)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("{name}: {error}"))?;
        self.daemons.push(child);
        let until = Instant::now() + Duration::from_secs(60);
        while run("rpcinfo", &["-T", "tcp", "127.0.0.1", program]).is_err() {
            if Instant::now() > until {
                return Err(format!("{name} does not answer").into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// What is exported, as the server sees it.
    pub(crate) fn export(&self) -> &Path {
        &self.export
    }

    /// The share's path, as clients of this version call it.
    pub(crate) fn share(&self, version: &str) -> String {
        match version {
            "3" => self.export.display().to_string(),
            _ => "/".to_owned(),
        }
    }

    /// Stops to serve: connections are refused.
    pub(crate) fn stop(&self) -> Result<(), Failed> {
        run("rpc.nfsd", &["0"])
    }

    /// Says nothing any more, and is not heard.
    pub(crate) fn cut_off(&self) -> Result<(), Failed> {
        run("ip", &["link", "set", "lo", "down"])
    }

    /// Serves, whatever was before.
    pub(crate) fn heal(&self) -> Result<(), Failed> {
        run("ip", &["link", "set", "lo", "up"])?;
        if !is_serving() {
            run("rpc.nfsd", &["2"])?;
            self.end_grace()?;
        }
        Ok(())
    }
}

impl Server {
    /// Right after its start, a server makes new clients wait.
    fn end_grace(&self) -> Result<(), Failed> {
        let mut file = fs::File::options()
            .write(true)
            .open(Path::new(NFSD).join("v4_end_grace"))?;
        match file.write_all(b"Y") {
            // It has ended already.
            Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => Ok(()),
            ended => Ok(ended?),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.heal();
        let _ = run("exportfs", &["-ua"]);
        let _ = run("rpc.nfsd", &["0"]);
        for daemon in self.daemons.iter_mut().rev() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

fn is_serving() -> bool {
    let threads = fs::read_to_string(Path::new(NFSD).join("threads")).unwrap_or_default();
    threads.trim().parse().is_ok_and(|threads: u32| threads > 0)
}

fn run(program: &str, arguments: &[&str]) -> Result<(), Failed> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "{program} {arguments:?} ended with {}: {said}",
        output.status
    )
    .into())
}
