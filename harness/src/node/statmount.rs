//! Which mount is on top at one path, at the same cost among 10 and 10,000?
//!
//! statx(2) gives the unique id of the mount, statmount(2) what is known of it
//! (Linux 6.8). Both look at the kernel's own structures, with one exception:
//! on its way to the path statx may ask the file system whether a folder is
//! still good, and an NFS server that is away keeps it waiting. So this is for
//! paths on mounts that answer; [`super::MountTable`] is for all.

use super::mountinfo::{Mount, line};
use linux_raw_sys::general as sys;
use nix::errno::Errno;
use std::ffi::{CStr, CString, OsString};
use std::io;
use std::mem::{MaybeUninit, offset_of};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// A mount by its unique id, which is never given again until the next boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UniqueMount {
    /// The unique id.
    pub unique_id: u64,
    /// The unique id of the mount that it lies on.
    pub unique_parent: u64,
    /// What mountinfo would say of it, as far as statmount tells: no options,
    /// since it gives them as bits.
    pub mount: Mount,
}

/// The mount on top at exactly this path; `None` when nothing is mounted there.
///
/// # Errors
/// `Unsupported` on a kernel without statmount: read mountinfo there.
/// `NotFound` when there is no such path.
pub fn top_mount_at(path: &Path) -> io::Result<Option<UniqueMount>> {
    let said = |call, e| said(call, &path.display().to_string(), e);
    let c_path = CString::new(path.as_os_str().as_bytes())?;
    let Some(id) = mount_root(&c_path).map_err(|e| said("statx", e))? else {
        return Ok(None);
    };
    statmount(id).map(Some).map_err(|e| said("statmount", e))
}

/// The mount with this unique id; `None` when it is gone from our namespace,
/// or cannot be reached from our root. No path is walked, so this cannot hang.
///
/// # Errors
/// `Unsupported` on a kernel without statmount.
pub fn by_unique_id(unique_id: u64) -> io::Result<Option<UniqueMount>> {
    match statmount(unique_id) {
        Ok(found) => Ok(Some(found).filter(|f| !f.mount.point.as_os_str().is_empty())),
        // EINVAL: a number that the kernel gives to no mount.
        Err(Errno::ENOENT | Errno::EINVAL) => Ok(None),
        Err(e) => Err(said("statmount", &format!("mount {unique_id}"), e)),
    }
}

fn said(call: &str, object: &str, e: Errno) -> io::Error {
    let kind = match e {
        Errno::ENOSYS | Errno::EINVAL => io::ErrorKind::Unsupported,
        e => io::Error::from(e).kind(),
    };
    io::Error::new(kind, format!("{call} {object}: {e}"))
}

/// The unique id of the mount whose root this path is.
fn mount_root(path: &CStr) -> Result<Option<u64>, Errno> {
    let mut stat = MaybeUninit::<libc::statx>::zeroed();
    let flags = libc::AT_SYMLINK_NOFOLLOW | libc::AT_NO_AUTOMOUNT | libc::AT_STATX_DONT_SYNC;
    let mask = sys::STATX_MNT_ID_UNIQUE;
    // SAFETY: the path is a C string, and there is room for a statx.
    let got = unsafe {
        libc::statx(
            libc::AT_FDCWD,
            path.as_ptr(),
            flags,
            mask,
            stat.as_mut_ptr(),
        )
    };
    Errno::result(got)?;
    // SAFETY: zeroed, and then filled by the kernel; it is numbers alone.
    let stat = unsafe { stat.assume_init() };
    let is_root = libc::STATX_ATTR_MOUNT_ROOT as u64;
    if stat.stx_mask & mask == 0 || stat.stx_attributes_mask & is_root == 0 {
        return Err(Errno::ENOSYS);
    }
    Ok((stat.stx_attributes & is_root != 0).then_some(stat.stx_mnt_id))
}

/// The structure and the strings behind it.
const HEAD: usize = size_of::<sys::statmount>();
const ROOM: usize = HEAD + 16 * 1024;

const WANTED: u32 = sys::STATMOUNT_SB_BASIC
    | sys::STATMOUNT_MNT_BASIC
    | sys::STATMOUNT_PROPAGATE_FROM
    | sys::STATMOUNT_MNT_ROOT
    | sys::STATMOUNT_MNT_POINT
    | sys::STATMOUNT_FS_TYPE
    | sys::STATMOUNT_FS_SUBTYPE
    | sys::STATMOUNT_SB_SOURCE;

fn statmount(id: u64) -> Result<UniqueMount, Errno> {
    let request = sys::mnt_id_req {
        // The first version of the structure, which every kernel takes.
        size: 24,
        spare: 0,
        mnt_id: id,
        param: WANTED.into(),
        mnt_ns_id: 0,
    };
    let mut room = [0_u64; ROOM / 8];
    // SAFETY: the request is as long as it says, and so is the room, which is
    // aligned for the structure.
    let got = unsafe {
        libc::syscall(
            sys::__NR_statmount.into(),
            &raw const request,
            room.as_mut_ptr(),
            ROOM,
            0,
        )
    };
    Errno::result(got)?;
    // SAFETY: the room is longer than the structure, aligned, and initialized.
    let head = unsafe { &*room.as_ptr().cast::<sys::statmount>() };
    // SAFETY: plain numbers, read as the bytes that they are.
    let bytes = unsafe { std::slice::from_raw_parts(room.as_ptr().cast::<u8>(), ROOM) };
    let text = |bit: u32, offset: u32| -> &[u8] {
        let start = offset_of!(sys::statmount, str_) + offset as usize;
        let known = head.mask & u64::from(bit) != 0;
        let rest = bytes.get(start..).filter(|_| known).unwrap_or_default();
        let end = rest.iter().position(|&b| b == 0).unwrap_or(0);
        &rest[..end]
    };
    let group = |n: u64| (n != 0).then_some(n);
    let shared = head.mnt_propagation & libc::MS_SHARED != 0;
    let (root, root_deleted) = line::root(text(sys::STATMOUNT_MNT_ROOT, head.mnt_root));
    let word = |text| String::from_utf8_lossy(text).into_owned();
    let mut fs_type = word(text(sys::STATMOUNT_FS_TYPE, head.fs_type));
    let subtype = word(text(sys::STATMOUNT_FS_SUBTYPE, head.fs_subtype));
    if !subtype.is_empty() {
        fs_type = format!("{fs_type}.{subtype}");
    }
    Ok(UniqueMount {
        unique_id: head.mnt_id,
        unique_parent: head.mnt_parent_id,
        mount: Mount {
            id: head.mnt_id_old.into(),
            parent: head.mnt_parent_id_old.into(),
            major: head.sb_dev_major,
            minor: head.sb_dev_minor,
            root: OsString::from_vec(root.to_vec()).into(),
            root_deleted,
            point: bytes_of(text(sys::STATMOUNT_MNT_POINT, head.mnt_point)).into(),
            shared: group(head.mnt_peer_group).filter(|_| shared),
            master: group(head.mnt_master),
            propagate_from: group(head.propagate_from),
            unbindable: head.mnt_propagation & libc::MS_UNBINDABLE != 0,
            fs_type,
            source: bytes_of(text(sys::STATMOUNT_SB_SOURCE, head.sb_source)),
            ..Mount::default()
        },
    })
}

fn bytes_of(text: &[u8]) -> OsString {
    OsString::from_vec(text.to_vec())
}
