//! What is mounted where, read from the kernel (proc_pid_mountinfo(5)).

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::kernel::call;
use super::{Doing, SysError, rpc};
use crate::mutation::Call;

/// The mounts of the calling thread's namespace. `/proc/self` would be those of
/// the main thread, which need not be alive.
const MOUNTINFO: &str = "/proc/thread-self/mountinfo";

/// One line of mountinfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    /// The device number of the file system; `(0, N)` where no block device is behind it.
    pub(crate) device: (u32, u32),
    /// What of the file system is mounted: `/`, or the path that was bound.
    pub(crate) root: PathBuf,
    /// Where it is mounted.
    pub(crate) mount_point: PathBuf,
    /// The per-mount options (`ro`, `noexec`, …).
    pub(crate) options: Vec<String>,
    /// The type of the file system.
    pub(crate) fs_type: String,
    /// What was mounted, as told to mount(2).
    pub(crate) source: PathBuf,
    /// The options of the file system itself.
    pub(crate) super_options: Vec<String>,
}

impl Mount {
    /// Whether a device's node was bound onto a file: `/dev` is a devtmpfs, or in
    /// a container perhaps a tmpfs.
    pub(crate) fn is_node(&self) -> bool {
        matches!(self.fs_type.as_str(), "devtmpfs" | "tmpfs")
    }

    /// Whether writes through this mount are refused by the mount itself.
    pub(crate) fn is_read_only(&self) -> bool {
        self.options.iter().any(|option| option == "ro")
    }

    /// Whether the whole file system is read-only.
    pub(crate) fn is_super_read_only(&self) -> bool {
        self.super_options.iter().any(|option| option == "ro")
    }

    /// Whether the file system has stopped after an error (ext4 says so since Linux 6.14).
    pub(crate) fn has_stopped(&self) -> bool {
        let stopped = ["emergency_ro", "shutdown"];
        let mut options = self.super_options.iter();
        options.any(|option| stopped.contains(&option.as_str()))
    }
}

/// Every mount that this thread sees, in the kernel's order: of several at one
/// path, the last is the one on top.
pub(crate) fn mounts() -> Result<Vec<Mount>, SysError> {
    let path = Path::new(MOUNTINFO);
    let bytes = call(Call::MountTable, path, |path| fs::read(path)).doing("read", path)?;
    Ok(rpc::as_told(parse(&bytes)))
}

/// The mounts as they are, whatever the driver is told.
pub(super) fn as_they_are() -> Vec<Mount> {
    parse(&fs::read(MOUNTINFO).unwrap_or_default())
}

/// The mounts at exactly this path, the one on top last.
pub(crate) fn at(path: &Path) -> Result<Vec<Mount>, SysError> {
    let mut mounts = mounts()?;
    mounts.retain(|mount| mount.mount_point == path);
    Ok(mounts)
}

/// The mount on top at exactly this path.
pub(crate) fn top(path: &Path) -> Result<Option<Mount>, SysError> {
    Ok(at(path)?.pop())
}

/// Reads mountinfo; a line that is none is passed over.
fn parse(bytes: &[u8]) -> Vec<Mount> {
    bytes
        .split(|byte| *byte == b'\n')
        .filter_map(parse_line)
        .collect()
}

fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let device = text(fields.nth(2)?);
    let (major, minor) = device.split_once(':')?;
    let root = path(fields.next()?);
    let mount_point = path(fields.next()?);
    let options = list(fields.next()?);
    // Optional fields, as many as there are, end at a lone dash.
    fields.by_ref().find(|field| *field == b"-")?;
    Some(Mount {
        device: (major.parse().ok()?, minor.parse().ok()?),
        root,
        mount_point,
        options,
        fs_type: text(fields.next()?),
        source: path(fields.next()?),
        super_options: fields.next().map(list).unwrap_or_default(),
    })
}

fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(field).into_owned()
}

fn list(field: &[u8]) -> Vec<String> {
    text(field).split(',').map(str::to_owned).collect()
}

fn path(field: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(unescape(field)))
}

/// Space, tab, newline and backslash stand as a backslash and three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        match octal(byte, tail) {
            Some(value) => {
                bytes.push(value);
                rest = tail.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    bytes
}

fn octal(byte: u8, tail: &[u8]) -> Option<u8> {
    if byte != b'\\' {
        return None;
    }
    let digits = std::str::from_utf8(tail.get(..3)?).ok()?;
    u8::from_str_radix(digits, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_with_optional_fields() {
        let mounts = parse(
            b"36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 shared:7 - ext3 /dev/root rw,errors=continue\n",
        );
        assert_eq!(mounts.len(), 1);
        assert_eq!(mounts[0].device, (98, 0));
        assert_eq!(mounts[0].root, Path::new("/mnt1"));
        assert_eq!(mounts[0].mount_point, Path::new("/mnt2"));
        assert_eq!(mounts[0].options, ["rw", "noatime"]);
        assert_eq!(mounts[0].fs_type, "ext3");
        assert_eq!(mounts[0].source, Path::new("/dev/root"));
        assert_eq!(mounts[0].super_options, ["rw", "errors=continue"]);
    }

    #[test]
    fn escapes_and_bytes_that_are_no_text() {
        let mounts = parse(b"1 2 0:5 / /a\\040b\\134c\xff\\n ro - tmpfs tmpfs ro\n");
        assert_eq!(
            mounts[0].mount_point,
            PathBuf::from(OsString::from_vec(b"/a b\\c\xff\\n".to_vec()))
        );
        assert!(mounts[0].is_read_only() && mounts[0].is_super_read_only());
    }

    #[test]
    fn lines_that_are_none_are_passed_over() {
        assert!(
            parse(b"\n1 2 3\n1 2 x:y / / rw - a b c\nno dash 0:1 / / rw shared:1\n").is_empty()
        );
    }
}
