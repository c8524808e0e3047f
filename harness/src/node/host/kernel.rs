//! What the kernel says that it can do.

use super::{Feature, feature};
use linux_raw_sys::general::{__NR_listmount, __NR_statmount, LSMT_ROOT, mnt_id_req};
use nix::errno::Errno;
use std::collections::BTreeSet;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

pub(super) fn uname() -> (String, String) {
    match nix::sys::utsname::uname() {
        Ok(name) => (
            name.release().to_string_lossy().into_owned(),
            name.machine().to_string_lossy().into_owned(),
        ),
        Err(_) => ("unknown".to_owned(), std::env::consts::ARCH.to_owned()),
    }
}

pub(super) fn is_root() -> Result<(), String> {
    if nix::unistd::geteuid().is_root() {
        Ok(())
    } else {
        Err("not run as root: use sudo -E".to_owned())
    }
}

/// The capabilities (capabilities(7)) that something here needs, by number.
const CAPABILITIES: [(&str, u32, &str); 8] = [
    ("CAP_SYS_ADMIN", 21, "mounts, loop devices, mount events"),
    ("CAP_SYS_RESOURCE", 24, "expanding a mounted ext4"),
    (
        "CAP_SYS_PTRACE",
        19,
        "looks at the driver's process and its mounts",
    ),
    ("CAP_MKNOD", 27, "device files of block volumes"),
    ("CAP_DAC_OVERRIDE", 1, "files of other users on volumes"),
    (
        "CAP_DAC_READ_SEARCH",
        2,
        "folders of other users on volumes",
    ),
    ("CAP_KILL", 5, "restarting a driver of another user"),
    ("CAP_SYSLOG", 34, "the kernel log where it is restricted"),
];

pub(super) fn capabilities() -> Vec<Feature> {
    let effective = effective_capabilities();
    let one = |(name, bit, used_for): (&'static str, u32, &'static str)| {
        let state = match effective {
            Some(set) if set >> bit & 1 == 1 => Ok(()),
            Some(_) => Err("not among our effective capabilities".to_owned()),
            None => Err("/proc/thread-self/status does not say".to_owned()),
        };
        feature(name, state, used_for)
    };
    CAPABILITIES.into_iter().map(one).collect()
}

/// Whether we have the capability with this number (capabilities(7)).
pub(super) fn has_capability(number: u32) -> bool {
    effective_capabilities().is_some_and(|set| set >> number & 1 == 1)
}

fn effective_capabilities() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/thread-self/status").ok()?;
    let set = status.lines().find_map(|l| l.strip_prefix("CapEff:"))?;
    u64::from_str_radix(set.trim(), 16).ok()
}

/// Whether a device of the kernel's own can be opened; it is closed at once.
pub(super) fn opens(path: &Path, write: bool) -> Result<(), String> {
    let mut options = std::fs::OpenOptions::new();
    options
        .read(true)
        .write(write)
        .custom_flags(libc::O_NONBLOCK);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(e) => Err(format!("{}: {e}", path.display())),
    }
}

/// The file systems that the kernel knows now.
pub(super) fn file_systems() -> BTreeSet<String> {
    let list = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let names = list.lines().filter_map(|l| l.split('\t').next_back());
    names.map(str::to_owned).collect()
}

/// Whether there is a module of that name, which the first mount would load.
pub(super) fn has_module(name: &str) -> bool {
    let dir = Path::new("/lib/modules").join(uname().0);
    let named = |list: &str| {
        let list = std::fs::read_to_string(dir.join(list)).unwrap_or_default();
        list.lines().any(|line| {
            let path = line.split([':', ' ']).next().unwrap_or_default();
            let file = path.rsplit('/').next().unwrap_or_default();
            file.split('.').next() == Some(name)
        })
    };
    named("modules.builtin") || named("modules.dep")
}

/// Whether there is ustat(2): an architecture has it or not.
pub(super) fn ustat() -> Result<(), String> {
    match cfg!(target_arch = "x86_64") {
        true => Ok(()),
        false => Err("we know of no ustat(2) on this architecture".to_owned()),
    }
}

/// Asks for one mount of our namespace, and for what statmount says of it.
pub(super) fn statmount() -> Result<(), String> {
    let said = |e: Errno| match e {
        Errno::ENOSYS => "the kernel has no statmount (Linux 6.8)".to_owned(),
        e => format!("statmount: {e}"),
    };
    let mut request = mnt_id_req {
        // The first version of the structure, which every kernel takes.
        size: 24,
        spare: 0,
        mnt_id: LSMT_ROOT as u64,
        param: 0,
        mnt_ns_id: 0,
    };
    let mut id = 0_u64;
    // SAFETY: the request is as long as it says, and there is room for one id.
    let got =
        unsafe { libc::syscall(__NR_listmount.into(), &raw const request, &raw mut id, 1, 0) };
    if Errno::result(got).map_err(said)? == 0 {
        return Err("listmount gives no mount".to_owned());
    }
    request.mnt_id = id;
    let mut room = [0_u64; 512];
    // SAFETY: the request is as long as it says, and so is the room.
    let got = unsafe {
        libc::syscall(
            __NR_statmount.into(),
            &raw const request,
            room.as_mut_ptr(),
            size_of_val(&room),
            0,
        )
    };
    Errno::result(got).map_err(said).map(drop)
}
