//! What has the kernel logged since?
//!
//! A cursor on `/dev/kmsg` (Documentation/ABI/testing/dev-kmsg). It reads for
//! us alone: nobody else misses a record by it.

use super::block::about;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

/// One record of the kernel log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// How grave it is: 0 (emergency) to 7 (debug); 3 is an error.
    pub level: u8,
    /// Counts the records since boot.
    pub sequence: u64,
    /// When, since boot, by the kernel's own clock (CLOCK_MONOTONIC, roughly).
    pub at: Duration,
    /// The message; the kernel writes what is no printable ASCII as `\xNN`.
    pub text: String,
    /// The device that it is about, where it says so: `b7:0`, `+scsi:0:0:0:0`.
    pub device: Option<String>,
}

/// What was logged since the last look.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct News {
    /// The records, in order.
    pub records: Vec<Record>,
    /// Some came and were overwritten before we looked.
    pub lost: bool,
}

/// A place in the kernel log.
#[derive(Debug)]
pub struct KernelLog {
    file: File,
}

const KMSG: &str = "/dev/kmsg";

impl KernelLog {
    /// A cursor behind the last record of now.
    ///
    /// # Errors
    /// `PermissionDenied` where the log is restricted and we lack CAP_SYSLOG.
    pub fn at_end() -> io::Result<Self> {
        let mut log = Self::from_start()?;
        log.file
            .seek(SeekFrom::End(0))
            .map_err(|e| about(Path::new(KMSG), &e))?;
        Ok(log)
    }

    /// A cursor before the oldest record that the kernel still has.
    ///
    /// # Errors
    /// `PermissionDenied` where the log is restricted and we lack CAP_SYSLOG.
    pub fn from_start() -> io::Result<Self> {
        let mut options = File::options();
        options.read(true).custom_flags(libc::O_NONBLOCK);
        let file = options.open(KMSG).map_err(|e| about(Path::new(KMSG), &e))?;
        Ok(Self { file })
    }

    /// The records since the last look; it does not wait for any.
    ///
    /// # Errors
    /// As reading `/dev/kmsg` fails.
    pub fn news(&mut self) -> io::Result<News> {
        let mut news = News::default();
        // One read gives one record, which is never longer than this.
        let mut room = [0_u8; 8192];
        loop {
            match self.file.read(&mut room) {
                Ok(0) => return Ok(news),
                Ok(len) => news.records.extend(parse(&room[..len])),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(news),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // The next read goes on with the oldest that is left.
                Err(e) if e.raw_os_error() == Some(libc::EPIPE) => news.lost = true,
                Err(e) => return Err(about(Path::new(KMSG), &e)),
            }
        }
    }
}

/// Reads `level,sequence,µs,flags[,…];text`, and the `KEY=value` lines below.
fn parse(record: &[u8]) -> Option<Record> {
    let record = String::from_utf8_lossy(record);
    let (head, rest) = record.split_once(';')?;
    let mut head = head.split(',');
    let level: u32 = head.next()?.parse().ok()?;
    let sequence = head.next()?.parse().ok()?;
    let at = Duration::from_micros(head.next()?.parse().ok()?);
    let mut lines = rest.lines();
    Some(Record {
        // The bits above are the facility.
        level: (level & 7) as u8,
        sequence,
        at,
        text: lines.next().unwrap_or_default().to_owned(),
        device: lines
            .find_map(|l| l.strip_prefix(" DEVICE="))
            .map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_and_its_device() {
        let text = b"3,339,5140900,-,caller=T1;EXT4-fs error (device vde): a; b\n SUBSYSTEM=block\n DEVICE=b254:64\n";
        let record = parse(text).expect("a record");
        assert_eq!((record.level, record.sequence), (3, 339));
        assert_eq!(record.at, Duration::from_micros(5_140_900));
        assert_eq!(record.text, "EXT4-fs error (device vde): a; b");
        assert_eq!(record.device.as_deref(), Some("b254:64"));
    }

    #[test]
    fn the_facility_is_no_part_of_the_level_and_an_odd_record_is_none() {
        let record = parse(b"30,1,2,-;from user space\n").expect("a record");
        assert_eq!((record.level, record.device), (6, None));
        assert_eq!(parse(b"no record"), None);
        assert_eq!(parse(b";"), None);
    }
}
