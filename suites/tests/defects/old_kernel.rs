//! A kernel that is older than this one: what it lacks is refused to a run.

use std::error::Error;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

/// statmount(2) and listmount(2) came with Linux 6.8, mount events of fanotify(7) with
/// 6.15. The numbers are the same on every architecture since 5.1.
const NEW: [libc::c_long; 3] = [457, 458, libc::SYS_fanotify_init];

/// Lets the command, and all that it starts, find a kernel without them: mounts are
/// told by mountinfo alone, and nobody tells who made them.
///
/// # Errors
/// There is no such filter for this architecture.
pub(crate) fn on_old_kernel(command: &mut Command) -> Result<(), Box<dyn Error>> {
    let filter = SeccompFilter::new(
        NEW.iter().map(|call| (*call, Vec::new())).collect(),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::ENOSYS.unsigned_abs()),
        std::env::consts::ARCH.try_into()?,
    )?;
    let program = BpfProgram::try_from(filter)?;
    let refused = |_| io::Error::from_raw_os_error(libc::EINVAL);
    // SAFETY: between fork and exec it makes two system calls, and no memory is asked for.
    unsafe { command.pre_exec(move || apply_filter(&program).map_err(refused)) };
    Ok(())
}
