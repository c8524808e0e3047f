//! Which device-mapper device is behind a number, and is it still the same one?
//!
//! Logical volumes of LVM are such devices. From sysfs
//! (Documentation/ABI/testing/sysfs-block-dm): no device is opened.

use std::io;
use std::path::{Path, PathBuf};

use super::block::{self, DiskId};

/// A device-mapper device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappedDevice {
    /// The kernel's own name for it, e.g. `dm-3`.
    pub kernel_name: String,
    /// What it is known by.
    pub id: DiskId,
    /// The name that its maker gave it, e.g. `vg-lv`.
    pub name: String,
    /// The UUID that its maker gave it; empty where it gave none.
    pub uuid: String,
}

/// What a disk was asked for since it is there, in requests
/// (Documentation/block/stat.rst).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Requests {
    /// That came to an end.
    pub ended: u64,
    /// Those of them that wrote.
    pub written: u64,
    /// That wait for their end.
    pub waiting: u64,
}

impl MappedDevice {
    /// The device with this number; none where it is no device-mapper device.
    ///
    /// # Errors
    /// As reading its folder in `/sys/dev/block` fails.
    pub fn numbered(major: u32, minor: u32) -> io::Result<Option<Self>> {
        let link = PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
        let read = || -> io::Result<Self> {
            let dir = link.canonicalize().map_err(|e| block::about(&link, &e))?;
            let text = |file: &str| {
                let file = dir.join("dm").join(file);
                let text = std::fs::read_to_string(&file).map_err(|e| block::about(&file, &e))?;
                Ok::<_, io::Error>(text.trim_end_matches('\n').to_owned())
            };
            Ok(Self {
                kernel_name: block::name(&dir),
                id: DiskId {
                    number: (major, minor),
                    diskseq: block::diskseq(&dir)?,
                },
                name: text("name")?,
                uuid: text("uuid")?,
            })
        };
        match read() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        }
    }

    /// Whether the number still belongs to this very device.
    pub fn is_there(&self) -> bool {
        let (major, minor) = self.id.number;
        Self::numbered(major, minor).is_ok_and(|now| now.as_ref() == Some(self))
    }

    /// The devices that lie on it, by the kernel's names.
    ///
    /// # Errors
    /// As listing its folder in `/sys/block` fails.
    pub fn holders(&self) -> io::Result<Vec<String>> {
        let dir = self.folder().join("holders");
        let listed = std::fs::read_dir(&dir).map_err(|e| block::about(&dir, &e))?;
        listed
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    /// What it was asked for.
    ///
    /// # Errors
    /// As reading its `stat` fails.
    pub fn requests(&self) -> io::Result<Requests> {
        let file = self.folder().join("stat");
        let text = std::fs::read_to_string(&file).map_err(|e| block::about(&file, &e))?;
        Ok(Requests::parse(&text))
    }

    /// Its device file, where udev or devtmpfs made it.
    pub fn path(&self) -> PathBuf {
        Path::new("/dev").join(&self.kernel_name)
    }

    fn folder(&self) -> PathBuf {
        Path::new("/sys/block").join(&self.kernel_name)
    }
}

impl Requests {
    fn parse(text: &str) -> Self {
        let numbers: Vec<u64> = text
            .split_whitespace()
            .map(|number| number.parse().unwrap_or_default())
            .collect();
        let field = |n: usize| numbers.get(n - 1).copied().unwrap_or_default();
        // Discards have been told since 4.18, flushes since 5.5.
        Self {
            ended: field(1) + field(5) + field(12) + field(16),
            written: field(5) + field(12),
            waiting: field(9),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_of_old_kernels_and_new_ones() {
        let new = "235 0 6974 56 115 0 17334 348 3 64 404 2 0 131074 0 7 0\n";
        let all = Requests {
            ended: 235 + 115 + 2 + 7,
            written: 117,
            waiting: 3,
        };
        assert_eq!(Requests::parse(new), all);
        let old = "1 0 0 0 2 0 0 0 0 0 0\n";
        assert_eq!(Requests::parse(old).ended, 3);
        assert_eq!(Requests::parse(""), Requests::default());
    }

    #[test]
    fn what_is_no_such_device_is_none() {
        assert_eq!(MappedDevice::numbered(0, 1).expect("looked"), None);
    }
}
