//! Which file system does a disk hold, by its magic number?

/// The beginning of a disk that has to be read to tell, in bytes.
pub const HEAD: usize = 4096;

/// Where the superblock of btrfs lies, in bytes (btrfs(5)).
pub const BTRFS_AT: u64 = 64 * 1024;

/// The file system that the first bytes of a disk tell of: ext2 to ext4 (magic
/// at byte 1080, Documentation/filesystems/ext4/super.rst) or XFS.
pub fn at_head(bytes: &[u8]) -> Option<&'static str> {
    if bytes.starts_with(b"XFSB") {
        return Some("xfs");
    }
    (bytes.get(1080..1082)? == [0x53, 0xEF]).then_some("ext4")
}

/// The UUID of that file system (ext4: `s_uuid`, at byte 1128; XFS: `sb_uuid`, at
/// byte 32), in the form in which the kernel logs it.
pub fn uuid(bytes: &[u8]) -> Option<String> {
    let at = match at_head(bytes)? {
        "xfs" => 32,
        _ => 1128,
    };
    let hex = |part: &[u8]| part.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let uuid = bytes.get(at..at + 16)?;
    let parts = [0..4, 4..6, 6..8, 8..10, 10..16].map(|part| hex(&uuid[part]));
    Some(parts.join("-"))
}

/// Whether the bytes from [`BTRFS_AT`] on are a superblock of btrfs.
pub fn is_btrfs(bytes: &[u8]) -> bool {
    bytes.get(0x40..0x48) == Some(b"_BHRfS_M".as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magic_numbers_are_found_where_they_lie() {
        let mut disk = vec![0; HEAD];
        assert_eq!(at_head(&disk), None);
        disk[1080..1082].copy_from_slice(&[0x53, 0xEF]);
        assert_eq!(at_head(&disk), Some("ext4"));
        disk[1128..1144].copy_from_slice(&[0xab; 16]);
        let of_ext4 = uuid(&disk);
        assert_eq!(
            of_ext4.as_deref(),
            Some("abababab-abab-abab-abab-abababababab")
        );
        disk[..4].copy_from_slice(b"XFSB");
        assert_ne!(uuid(&disk), of_ext4);
        assert_eq!(at_head(&disk), Some("xfs"));
        assert_eq!(at_head(&[]), None);
        disk[0x40..0x48].copy_from_slice(b"_BHRfS_M");
        assert!(is_btrfs(&disk) && !is_btrfs(&disk[..0x41]));
    }
}
