//! FUSE: a mount whose files a process answers for (fuse(4)).

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::mount::{MsFlags, mount};

use super::kernel::{Opened, call, call_from};
use super::{Doing, SysError};
use crate::mutation::Call;

/// Where a connection to the kernel's side of FUSE begins.
pub(crate) const DEVICE: &str = "/dev/fuse";
/// What mountinfo calls the type of our mounts.
pub(crate) const FS_TYPE: &str = "fuse.csi-conformance";

/// Mounts a file system of this name; whoever has the answer answers for its files.
/// Until somebody does, they wait, and once nobody does any more, all that is asked
/// of it fails with ENOTCONN.
pub(crate) fn mount_connection(name: &str, at: &Path) -> Result<File, SysError> {
    let device = Path::new(DEVICE);
    let mut how = OpenOptions::new();
    how.read(true).write(true);
    let opened = Opened::open(device, &how).doing("open", device)?;
    let connection = opened.file().try_clone().doing("open", device)?;
    let data = format!(
        "fd={},rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other",
        connection.as_raw_fd()
    );
    let flags = MsFlags::empty();
    call_from(Call::Mount, Path::new(name), at, move |name, at| {
        mount(Some(name), at, Some(FS_TYPE), flags, Some(data.as_str())).map_err(io::Error::from)
    })
    .doing("mount the volume at", at)?;
    Ok(connection)
}

/// Starts the process that answers for a mount: the connection is its standard
/// input. It ends when the mount does. With `apart`, it is in a session of its own,
/// and whoever kills this process and its group does not reach it.
pub(crate) fn start_daemon(
    program: &[OsString],
    folder: &Path,
    connection: File,
    apart: bool,
) -> Result<(), SysError> {
    let (Some(name), arguments) = (program.first(), program.get(1..).unwrap_or_default()) else {
        let error = io::Error::other("nothing is said to serve mounts with");
        return Err(SysError::new("serve", folder, error));
    };
    let (name, arguments) = (name.clone(), arguments.to_vec());
    call(Call::Command, folder, move |folder| {
        let mut command = Command::new(&name);
        command
            .args(&arguments)
            .arg(folder)
            .current_dir("/")
            .stdin(connection.try_clone()?)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if apart {
            let leave = || nix::unistd::setsid().map(drop).map_err(io::Error::from);
            // SAFETY: between fork and exec, `leave` makes one system call, and neither
            // allocates nor takes a lock.
            unsafe { command.pre_exec(leave) };
        }
        let mut child = command.spawn()?;
        // Somebody has to wait for it, whenever it ends.
        std::thread::spawn(move || child.wait());
        Ok::<_, io::Error>(())
    })
    .doing("start the process for", folder)
}

/// Whether nobody answers for the files of a mount any more.
pub(crate) fn is_dead(at: &Path) -> bool {
    matches!(
        nix::sys::statvfs::statvfs(at),
        Err(nix::errno::Errno::ENOTCONN | nix::errno::Errno::ECONNABORTED)
    )
}

/// Removes a folder and all that is in it. Nothing is ever mounted in there, and no
/// link is followed.
pub(crate) fn remove_tree(folder: &Path) -> Result<(), SysError> {
    match call(Call::Remove, folder, |folder| fs::remove_dir_all(folder)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.doing("remove the folder", folder),
    }
}
