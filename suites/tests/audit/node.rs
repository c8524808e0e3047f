//! A folder that looks like a kubelet's, and what is mounted in it.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use csi_harness::lab::unmount_below;
use csi_harness::node::{LoopDevice, loops};
use nix::mount::{MsFlags, mount};
use serde_json::{Value, json};

pub(crate) type Tested = Result<(), Box<dyn Error>>;

/// One node; what is mounted on it goes away with it.
pub(crate) struct Node {
    /// With `kubelet` and the images of the disks in it.
    folder: PathBuf,
    disks: RefCell<Vec<LoopDevice>>,
    /// What the audit is told; long, since a busy machine does not hang.
    pub(crate) deadline: Cell<&'static str>,
}

impl Node {
    pub(crate) fn new(folder: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(folder.join("kubelet/pods"))?;
        Ok(Self {
            folder,
            disks: RefCell::default(),
            deadline: Cell::new("1m"),
        })
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.folder.join("kubelet")
    }

    /// A folder below the kubelet's.
    pub(crate) fn at(&self, path: &str) -> io::Result<PathBuf> {
        let path = self.root().join(path);
        fs::create_dir_all(&path).map(|()| path)
    }

    /// A disk of 16 MiB with ext4.
    pub(crate) fn disk(&self, name: &str) -> Result<LoopDevice, Box<dyn Error>> {
        let image = self.folder.join(format!("{name}.img"));
        fs::File::create_new(&image)?.set_len(16 << 20)?;
        done(Command::new("mkfs.ext4").arg("-q").arg(&image))?;
        self.attach(&image)
    }

    /// A loop device over a file.
    pub(crate) fn attach(&self, file: &Path) -> Result<LoopDevice, Box<dyn Error>> {
        let output = done(Command::new("losetup").args(["--find", "--show"]).arg(file))?;
        let path = String::from_utf8(output.stdout)?;
        let all = loops()?;
        let device = all.into_iter().find(|l| l.path() == Path::new(path.trim()));
        let device = device.ok_or("attached, and not in sysfs")?;
        self.disks.borrow_mut().push(device.clone());
        Ok(device)
    }

    /// Stages a disk, as a kubelet and a driver do.
    pub(crate) fn stage(&self, disk: &LoopDevice, handle: &str) -> Result<PathBuf, Box<dyn Error>> {
        let staging = self.staging(handle)?;
        mounted(&disk.path(), &staging, "ext4")?;
        Ok(staging)
    }

    /// Where a volume is staged, with the kubelet's record of it.
    pub(crate) fn staging(&self, handle: &str) -> io::Result<PathBuf> {
        let folder = format!("plugins/kubernetes.io/csi/my.csi/{handle}-hash");
        let staging = self.at(&format!("{folder}/globalmount"))?;
        record(&staging, handle)?;
        Ok(staging)
    }

    /// Where a pod has a volume, with the kubelet's record of it.
    pub(crate) fn target(&self, pod: &str, handle: &str) -> io::Result<PathBuf> {
        let target = self.at(&format!(
            "pods/{pod}/volumes/kubernetes.io~csi/pv-{handle}/mount"
        ))?;
        record(&target, handle)?;
        Ok(target)
    }

    /// The audit of this node, for programs, with a settled second look.
    pub(crate) fn audit(&self) -> Result<Value, Box<dyn Error>> {
        let output = self.run(&["--json"])?;
        let audit: Value = serde_json::from_slice(&output.stdout)?;
        let found = audit["findings"]
            .as_array()
            .is_some_and(|all| !all.is_empty());
        assert_eq!(output.status.code(), Some(i32::from(found)), "{audit:#}");
        assert_eq!(audit["schema"], 1);
        assert_eq!(audit["lacking"], json!([]), "{audit:#}");
        Ok(audit)
    }

    pub(crate) fn run(&self, more: &[&str]) -> io::Result<Output> {
        Command::new(env!("CARGO_BIN_EXE_csi-conformance"))
            .args(["audit", "--settle", "0s", "--deadline", self.deadline.get()])
            .arg("--kubelet-root")
            .arg(self.root())
            .args(more)
            .env("COLUMNS", "80")
            .output()
    }

    /// What was found here. Others on this machine may have loop devices too.
    pub(crate) fn findings(&self) -> Result<Vec<Value>, Box<dyn Error>> {
        let mut audit = self.audit()?;
        let Value::Array(mut findings) = audit["findings"].take() else {
            return Err("no findings in it".into());
        };
        let ours = self.folder.to_string_lossy().into_owned();
        findings.retain(|finding| finding.to_string().contains(&ours));
        Ok(findings)
    }

    /// The one finding.
    pub(crate) fn finding(&self, kind: &str) -> Result<Value, Box<dyn Error>> {
        let mut findings = self.findings()?;
        match (findings.pop(), findings.len()) {
            (Some(finding), 0) if finding["kind"] == kind => Ok(finding),
            (last, _) => Err(format!("not one {kind}: {findings:#?} {last:#?}").into()),
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Err(error) = unmount_below(&self.folder) {
            eprintln!("{} stays mounted: {error}", self.folder.display());
        }
        // A device over another is let go before it.
        for disk in self.disks.borrow().iter().rev() {
            let there = loops().is_ok_and(|all| all.iter().any(|other| other.id == disk.id));
            if there {
                let _ = Command::new("losetup").arg("-d").arg(disk.path()).status();
            }
        }
    }
}

/// `vol_data.json`, beside a mount point.
fn record(point: &Path, handle: &str) -> io::Result<()> {
    let record = json!({ "driverName": "my.csi", "volumeHandle": handle });
    fs::write(point.with_file_name("vol_data.json"), record.to_string())
}

pub(crate) fn mounted(source: &Path, point: &Path, kind: &str) -> nix::Result<()> {
    mount(
        Some(source),
        point,
        Some(kind),
        MsFlags::empty(),
        None::<&str>,
    )
}

pub(crate) fn bound(from: &Path, to: &Path) -> nix::Result<()> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>)
}

pub(crate) fn done(command: &mut Command) -> Result<Output, Box<dyn Error>> {
    let output = command.output()?;
    match output.status.success() {
        true => Ok(output),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).into()),
    }
}
