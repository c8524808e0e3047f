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
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// A mount by its unique id, which is never given again until the next boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UniqueMount {
    /// The unique id.
    pub unique_id: u64,
    /// The unique id of the mount that it lies on.
    pub unique_parent: u64,
    /// What mountinfo would say of it. Before Linux 6.13 statmount does not
    /// tell the source, nor the file system's own options.
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
    statmount(id, OUR_NAMESPACE)
        .map(Some)
        .map_err(|e| said("statmount", e))
}

/// The mount with this unique id; `None` when it is gone from our namespace,
/// or cannot be reached from our root. No path is walked, so this cannot hang.
///
/// # Errors
/// `Unsupported` on a kernel without statmount.
pub fn by_unique_id(unique_id: u64) -> io::Result<Option<UniqueMount>> {
    let found = in_namespace(OUR_NAMESPACE, unique_id)?;
    Ok(found.filter(is_in_sight))
}

fn is_in_sight(found: &UniqueMount) -> bool {
    !found.mount.point.as_os_str().is_empty()
}

/// The mount with this unique id in the namespace with this id
/// ([`namespace_id`]); `None` when it is gone from there.
///
/// Of another namespace than ours it tells mount points as seen from that
/// one's own root. The mount point is empty where the root has no way to it.
///
/// # Errors
/// `Unsupported` on a kernel that knows no ids of namespaces (Linux 6.11).
pub fn in_namespace(namespace: u64, unique_id: u64) -> io::Result<Option<UniqueMount>> {
    match statmount(unique_id, namespace) {
        Ok(found) => Ok(Some(found)),
        // EINVAL: a number that the kernel gives to no mount.
        Err(Errno::ENOENT | Errno::EINVAL) => Ok(None),
        Err(e) => Err(said("statmount", &format!("mount {unique_id}"), e)),
    }
}

/// All mounts of a namespace that can be reached from its root, or from ours
/// where it is our own; the oldest first. One that goes away while they are
/// asked for is left out.
///
/// # Errors
/// `NotFound` when the namespace is gone, `Unsupported` before Linux 6.11.
pub fn all(namespace: u64) -> io::Result<Vec<UniqueMount>> {
    let mut all = Vec::new();
    for id in listmount(namespace)? {
        all.extend(in_namespace(namespace, id)?.filter(is_in_sight));
    }
    Ok(all)
}

/// The id of a mount namespace, of which `/proc/PID/ns/mnt` was opened
/// (`NS_GET_MNTNS_ID`, ioctl_nsfs(2)). Unlike the number of its inode it is
/// never given again until the next boot.
///
/// # Errors
/// `Unsupported` before Linux 6.11.
pub fn namespace_id(namespace: BorrowedFd<'_>) -> io::Result<u64> {
    let mut id = 0_u64;
    // SAFETY: the descriptor is open, and there is room for the number.
    let got = unsafe { libc::ioctl(namespace.as_raw_fd(), libc::NS_GET_MNTNS_ID, &raw mut id) };
    match Errno::result(got) {
        Ok(_) => Ok(id),
        Err(Errno::ENOTTY) => Err(said("ioctl", "NS_GET_MNTNS_ID", Errno::ENOSYS)),
        Err(e) => Err(said("ioctl", "NS_GET_MNTNS_ID", e)),
    }
}

/// The unique ids of a namespace's mounts (listmount(2)).
fn listmount(namespace: u64) -> io::Result<Vec<u64>> {
    let mut ids = Vec::new();
    let mut room = [0_u64; 512];
    loop {
        let after = ids.last().copied().unwrap_or_default();
        let request = request(LSMT_ROOT, after, namespace);
        // SAFETY: the request is as long as it says, and there is room for as
        // many numbers as are asked for.
        let got = unsafe {
            libc::syscall(
                sys::__NR_listmount.into(),
                &raw const request,
                room.as_mut_ptr(),
                room.len(),
                0,
            )
        };
        let object = || format!("mount namespace {namespace}");
        let got = Errno::result(got).map_err(|e| said("listmount", &object(), e))?;
        let got = usize::try_from(got).unwrap_or_default().min(room.len());
        ids.extend(&room[..got]);
        if got < room.len() {
            return Ok(ids);
        }
    }
}

const LSMT_ROOT: u64 = sys::LSMT_ROOT as u64;

/// What a request names when it means the caller's own namespace.
const OUR_NAMESPACE: u64 = 0;

fn request(mount: u64, param: u64, namespace: u64) -> sys::mnt_id_req {
    sys::mnt_id_req {
        // The first version of the structure, which every kernel takes, and
        // the one that has room for a namespace.
        size: if namespace == OUR_NAMESPACE { 24 } else { 32 },
        spare: 0,
        mnt_id: mount,
        param,
        mnt_ns_id: namespace,
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

/// For a mount with longer strings than are usual, such as an overlay of
/// hundreds of layers.
const MORE_ROOM: usize = 1024 * 1024;

const WANTED: u32 = sys::STATMOUNT_SB_BASIC
    | sys::STATMOUNT_MNT_BASIC
    | sys::STATMOUNT_PROPAGATE_FROM
    | sys::STATMOUNT_MNT_ROOT
    | sys::STATMOUNT_MNT_POINT
    | sys::STATMOUNT_FS_TYPE
    | sys::STATMOUNT_FS_SUBTYPE
    | sys::STATMOUNT_SB_SOURCE
    | sys::STATMOUNT_OPT_ARRAY
    | sys::STATMOUNT_OPT_SEC_ARRAY;

fn statmount(id: u64, namespace: u64) -> Result<UniqueMount, Errno> {
    match statmount_into(&mut [0_u64; ROOM / 8], id, namespace) {
        Err(Errno::EOVERFLOW) => statmount_into(&mut vec![0_u64; MORE_ROOM / 8], id, namespace),
        said => said,
    }
}

/// The room is zeroed, and longer than [`HEAD`].
fn statmount_into(room: &mut [u64], id: u64, namespace: u64) -> Result<UniqueMount, Errno> {
    let request = request(id, WANTED.into(), namespace);
    let len = size_of_val(room);
    assert!(len > HEAD);
    // SAFETY: the request is as long as it says, and so is the room, which is
    // aligned for the structure.
    let got = unsafe {
        libc::syscall(
            sys::__NR_statmount.into(),
            &raw const request,
            room.as_mut_ptr(),
            len,
            0,
        )
    };
    Errno::result(got)?;
    // SAFETY: the room is longer than the structure, aligned, and initialized.
    let head = unsafe { &*room.as_ptr().cast::<sys::statmount>() };
    // SAFETY: plain numbers, read as the bytes that they are.
    let bytes = unsafe { std::slice::from_raw_parts(room.as_ptr().cast::<u8>(), len) };
    let text = |bit: u32, offset: u32| -> &[u8] {
        let start = offset_of!(sys::statmount, str_) + offset as usize;
        let known = head.mask & u64::from(bit) != 0;
        let rest = bytes.get(start..).filter(|_| known).unwrap_or_default();
        let end = rest.iter().position(|&b| b == 0).unwrap_or(0);
        &rest[..end]
    };
    // Strings behind one another, each ended by a NUL.
    let list = |bit: u32, offset: u32, count: u32| -> Vec<String> {
        let start = offset_of!(sys::statmount, str_) + offset as usize;
        let known = head.mask & u64::from(bit) != 0;
        let rest = bytes.get(start..).filter(|_| known).unwrap_or_default();
        let each = rest.split(|&b| b == 0).take(count as usize);
        each.map(|o| String::from_utf8_lossy(o).into_owned())
            .collect()
    };
    let mut super_options = super_flags(head.sb_flags);
    super_options.extend(list(
        sys::STATMOUNT_OPT_SEC_ARRAY,
        head.opt_sec_array,
        head.opt_sec_num,
    ));
    super_options.extend(list(sys::STATMOUNT_OPT_ARRAY, head.opt_array, head.opt_num));
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
            options: options(head.mnt_attr),
            shared: group(head.mnt_peer_group).filter(|_| shared),
            master: group(head.mnt_master),
            propagate_from: group(head.propagate_from),
            unbindable: head.mnt_propagation & libc::MS_UNBINDABLE != 0,
            fs_type,
            source: bytes_of(text(sys::STATMOUNT_SB_SOURCE, head.sb_source)),
            super_options,
            other_fields: Vec::new(),
        },
    })
}

fn bytes_of(text: &[u8]) -> OsString {
    OsString::from_vec(text.to_vec())
}

/// The options of a mount in the words and the order of mountinfo.
fn options(attributes: u64) -> Vec<String> {
    let has = |bit: u32| attributes & u64::from(bit) != 0;
    let atime = attributes & u64::from(sys::MOUNT_ATTR__ATIME);
    let is_atime = |kind: u32| atime == u64::from(kind);
    let words = [
        (!has(sys::MOUNT_ATTR_RDONLY), "rw"),
        (has(sys::MOUNT_ATTR_RDONLY), "ro"),
        (has(sys::MOUNT_ATTR_NOSUID), "nosuid"),
        (has(sys::MOUNT_ATTR_NODEV), "nodev"),
        (has(sys::MOUNT_ATTR_NOEXEC), "noexec"),
        (is_atime(sys::MOUNT_ATTR_NOATIME), "noatime"),
        (has(sys::MOUNT_ATTR_NODIRATIME), "nodiratime"),
        (is_atime(sys::MOUNT_ATTR_RELATIME), "relatime"),
        (has(sys::MOUNT_ATTR_NOSYMFOLLOW), "nosymfollow"),
        (has(sys::MOUNT_ATTR_IDMAP), "idmapped"),
    ];
    said_words(&words)
}

/// The options of a file system that are the kernel's own, likewise.
fn super_flags(flags: u32) -> Vec<String> {
    let has = |bit: libc::c_ulong| libc::c_ulong::from(flags) & bit != 0;
    said_words(&[
        (!has(libc::MS_RDONLY), "rw"),
        (has(libc::MS_RDONLY), "ro"),
        (has(libc::MS_SYNCHRONOUS), "sync"),
        (has(libc::MS_DIRSYNC), "dirsync"),
        (has(LAZYTIME), "lazytime"),
    ])
}

/// `MS_LAZYTIME` of linux/mount.h.
const LAZYTIME: libc::c_ulong = 1 << 25;

fn said_words(words: &[(bool, &str)]) -> Vec<String> {
    let said = words.iter().filter(|(is, _)| *is);
    said.map(|(_, word)| (*word).to_owned()).collect()
}
