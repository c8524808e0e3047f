//! Which lines of the kernel log speak of a device?

use crate::node::klog::Record;

/// Errors, and what is worse (`KERN_ERR`).
const ERROR: u8 = 3;

/// No more lines than that in one finding; the first tell most.
const MOST: usize = 12;

/// The errors that the log has of a device, since it got or lost a disk or a file
/// system last: the name may have been another's before. As `dmesg` shows them.
pub(super) fn errors_of(log: &[Record], device: &str) -> Vec<String> {
    let theirs = of(log, device);
    let begun = theirs.iter().rposition(|record| is_beginning(&record.text));
    shown(errors(&theirs, begun))
}

/// The same, as far as they are those of this file system beyond doubt: the kernel
/// suppresses lines where many come at once, and a name such as `loop0` is given
/// again the next moment. The last mount that was told must be of this UUID.
pub(super) fn errors_surely_of(log: &[Record], device: &str, uuid: Option<&str>) -> Vec<String> {
    let theirs = of(log, device);
    let begun = theirs.iter().rposition(|record| is_beginning(&record.text));
    let mounted = begun.filter(|at| uuid.is_some_and(|uuid| theirs[*at].text.contains(uuid)));
    match mounted {
        None if is_given_again(device) => Vec::new(),
        None => shown(errors(&theirs, begun)),
        Some(_) => shown(errors(&theirs, mounted)),
    }
}

fn of<'a>(log: &'a [Record], device: &str) -> Vec<&'a Record> {
    log.iter()
        .filter(|record| names(&record.text, device))
        .collect()
}

fn errors<'a>(theirs: &[&'a Record], begun: Option<usize>) -> impl Iterator<Item = &'a Record> {
    let since = theirs.iter().copied().skip(begun.map_or(0, |at| at + 1));
    since.filter(|record| record.level <= ERROR && is_trouble(&record.text))
}

/// Whether the kernel gives a name to the next disk as soon as it is free.
fn is_given_again(device: &str) -> bool {
    ["loop", "dm-", "nbd", "rbd", "zram", "md"]
        .iter()
        .any(|kind| device.starts_with(kind))
}

/// The lines that say that a server was waited for, unless it came back.
pub(super) fn silence_of(log: &[Record], server: &str) -> Vec<String> {
    let name = format!("server {server}");
    let lines: Vec<&Record> = log
        .iter()
        .filter(|record| names(&record.text, &name))
        .collect();
    let back = lines
        .iter()
        .rposition(|record| record.text.ends_with(" OK"));
    shown(lines.into_iter().skip(back.map_or(0, |at| at + 1)))
}

fn shown<'a>(records: impl Iterator<Item = &'a Record>) -> Vec<String> {
    let mut lines: Vec<String> = records
        .map(|record| format!("[{:12.6}] {}", record.at.as_secs_f64(), record.text))
        .collect();
    if let Some(more) = lines.len().checked_sub(MOST).filter(|more| *more > 0) {
        lines.truncate(MOST);
        lines.push(format!("… and {more} more"));
    }
    lines
}

/// Whether a text has a name as a word of its own: `dm-1` is not in `dm-10`, and
/// `loop0` is in `loop0-8`, which is the journal's thread.
fn names(text: &str, name: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric();
    let before = |c: char| word(c) || c == '-' || c == '_' || c == '.';
    !name.is_empty()
        && text.match_indices(name).any(|(at, _)| {
            let free_before = !text[..at].ends_with(before);
            let after = &text[at + name.len()..];
            free_before && !after.starts_with(word)
        })
}

/// What is said when a device gets a disk, and by ext4, XFS and btrfs at a mount and
/// at the last unmount. Each of them alone may be suppressed where many come at once.
fn is_beginning(text: &str) -> bool {
    [
        "detected capacity change from 0 to",
        "mounted filesystem",
        "Mounting V",
        "first mount of filesystem",
        "nmounting filesystem",
        "nmounting Filesystem",
        "last unmount of filesystem",
    ]
    .iter()
    .any(|words| text.contains(words))
}

/// An operation that a device does not have is asked for by every mkfs.
fn is_trouble(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    !text.contains("operation not supported error")
        && ["error", "corrupt", "i/o", "abort", "shut", "fail"]
            .iter()
            .any(|word| text.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn record(level: u8, text: &str) -> Record {
        Record {
            level,
            sequence: 0,
            at: Duration::from_millis(1500),
            text: text.to_owned(),
            device: None,
        }
    }

    #[test]
    fn errors_since_the_last_mount_are_the_devices_own() {
        let log = [
            record(2, "EXT4-fs error (device loop3): of another disk"),
            record(6, "EXT4-fs (loop3): mounted filesystem 1 r/w"),
            record(
                2,
                "EXT4-fs error (device loop3): ext4_find_entry: reading directory lblock 0",
            ),
            record(3, "I/O error, dev loop33, sector 0"),
            record(4, "EXT4-fs warning (device loop3): no error"),
            record(3, "EXT4-fs (loop3): VFS: Can't find ext4 filesystem"),
            record(
                3,
                "operation not supported error, dev loop3, sector 130944 op 0x9:(WRITE_ZEROES)",
            ),
            record(3, "Aborting journal on device loop3-8."),
        ];
        let lines = errors_of(&log, "loop3");
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(
            lines[0].starts_with("[    1.500000] EXT4-fs error"),
            "{lines:?}"
        );
        assert!(lines[1].contains("loop3-8"));
        assert_eq!(errors_of(&log, "loop"), Vec::<String>::new());
    }

    #[test]
    fn only_a_mount_that_was_told_makes_errors_surely_the_file_systems() {
        let log = [
            record(6, "EXT4-fs (loop3): mounted filesystem 1-2-3 r/w"),
            record(2, "EXT4-fs error (device loop3): bad"),
            record(2, "EXT4-fs error (device vde): bad"),
        ];
        assert_eq!(errors_surely_of(&log, "loop3", Some("1-2-3")).len(), 1);
        assert_eq!(errors_surely_of(&log, "loop3", Some("4-5-6")).len(), 0);
        assert_eq!(errors_surely_of(&log, "loop3", None).len(), 0);
        assert_eq!(errors_surely_of(&log, "vde", None).len(), 1);
    }

    #[test]
    fn a_server_that_came_back_is_not_told_of() {
        let away = record(5, "nfs: server 10.0.0.1 not responding, still trying");
        let back = record(5, "nfs: server 10.0.0.1 OK");
        let log = [away.clone(), back, away];
        assert_eq!(silence_of(&log, "10.0.0.1").len(), 1);
        assert_eq!(silence_of(&log[..2], "10.0.0.1").len(), 0);
        assert_eq!(silence_of(&log, "10.0.0.11").len(), 0);
    }

    #[test]
    fn many_lines_are_counted() {
        let log: Vec<_> = (0..20)
            .map(|n| record(3, &format!("I/O error, dev vde, sector {n}")))
            .collect();
        let lines = errors_of(&log, "vde");
        assert_eq!(lines.len(), MOST + 1);
        assert_eq!(lines[MOST], "… and 8 more");
    }
}
