//! dmsetup(8), with a deadline: a device cannot be suspended while requests that it
//! passed on have no answer, and whoever tries waits in the kernel.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::memfd::{MFdFlags, memfd_create};

use super::table::Table;
use crate::lab::errand::{pidfd_open, readable};
use crate::node::MappedDevice;
use crate::node::host::find_tool;

/// How long it may take. It takes some milliseconds, and a hundred emulated.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it may take to die when it was killed.
const DYING: Duration = Duration::from_secs(1);

/// Reading and writing goes on as it was when a table is changed: nothing is flushed,
/// which an ill disk would never answer, and no file system is asked to hold still.
const AT_ONCE: [&str; 2] = ["--noflush", "--nolockfs"];

/// The table that is in force.
pub(super) fn table(device: &MappedDevice) -> io::Result<Table> {
    let told = on("table", device, &[], None)?;
    Table::parse(&told).map_err(|why| io::Error::other(format!("{}: {why}", device.name)))
}

/// Puts another table in force, in one step.
pub(super) fn replace(device: &MappedDevice, table: &Table) -> io::Result<()> {
    on("load", device, &[], Some(table))?;
    on("resume", device, &AT_ONCE, None).map(drop)
}

/// Keeps all requests from here on, until [`resume`].
pub(super) fn suspend(device: &MappedDevice) -> io::Result<()> {
    on("suspend", device, &AT_ONCE, None).map(drop)
}

/// Lets them go on.
pub(super) fn resume(device: &MappedDevice) -> io::Result<()> {
    on("resume", device, &AT_ONCE, None).map(drop)
}

/// Makes a device of this name, which is its UUID, too.
pub(super) fn create(name: &str, table: &Table) -> io::Result<()> {
    run(&["create", name, "--uuid", name], Some(table)).map(drop)
}

/// Takes a device away. Whoever looked at it for a moment is waited for.
pub(super) fn remove(device: &MappedDevice) -> io::Result<()> {
    on("remove", device, &["--retry"], None).map(drop)
}

/// Forgets a table that was loaded and is not in force.
pub(super) fn clear(device: &MappedDevice) -> io::Result<()> {
    on("clear", device, &[], None).map(drop)
}

/// By what cannot be another's meanwhile, as far as its maker gave it a UUID.
fn on(
    what: &str,
    device: &MappedDevice,
    options: &[&str],
    table: Option<&Table>,
) -> io::Result<String> {
    let named: &[&str] = match device.uuid.as_str() {
        "" => &[&device.name],
        uuid => &["--uuid", uuid],
    };
    run(&[&[what], named, options].concat(), table)
}

fn run(arguments: &[&str], table: Option<&Table>) -> io::Result<String> {
    let said = |why: &dyn std::fmt::Display| {
        io::Error::other(format!("dmsetup {}: {why}", arguments.join(" ")))
    };
    let program = find_tool("dmsetup").ok_or_else(|| said(&"it is not installed"))?;
    let memory = |name| memfd_create(name, MFdFlags::MFD_CLOEXEC).map(File::from);
    // No pipes: whom we abandon may keep them.
    let (mut input, mut output) = (memory(c"table")?, memory(c"output")?);
    let mut errors = memory(c"errors")?;
    if let Some(table) = table {
        input.write_all(table.to_string().as_bytes())?;
        input.rewind()?;
    }
    let mut child = Command::new(program)
        .args(arguments)
        // There may be no udevd, or none of this machine's, and it is waited for.
        .args(["--noudevsync"])
        .env("LC_ALL", "C")
        .stdin(Stdio::from(input))
        .stdout(output.try_clone()?)
        .stderr(errors.try_clone()?)
        // The terminal's signals are not for it: it may be the one that heals.
        .process_group(0)
        .spawn()
        .map_err(|error| said(&error))?;
    let pidfd = pidfd_open(i32::try_from(child.id()).map_err(io::Error::other)?)?;
    if !readable(pidfd.as_fd(), PATIENCE) {
        child.kill()?;
        if !readable(pidfd.as_fd(), DYING) {
            return Err(said(&format!(
                "no end within {PATIENCE:?}, and it cannot be killed"
            )));
        }
        child.wait()?;
        return Err(said(&format!("no end within {PATIENCE:?}")));
    }
    let status = child.wait()?;
    let text = |file: &mut File| {
        let mut bytes = Vec::new();
        file.rewind()?;
        file.read_to_end(&mut bytes)?;
        Ok::<_, io::Error>(String::from_utf8_lossy(&bytes).into_owned())
    };
    match status.success() {
        true => text(&mut output),
        false => Err(said(&format!("{status}: {}", text(&mut errors)?.trim()))),
    }
}
