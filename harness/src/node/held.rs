//! Which new files hold these bytes?
//!
//! Looks through folders of the node's own disk for what should stand in no file. It
//! follows no symbolic link, enters no mount, and reads small files alone.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::mountinfo::MountTable;

/// Larger files are disks, not logs or records.
const LARGEST: u64 = 1 << 20;
/// More entries than this are not looked at: the node is not ours to read through.
const MOST: usize = 20_000;
/// Of longer words the end is not told.
const LONGEST: usize = 100;
/// How deep below the folder.
const DEPTH: usize = 6;

/// The files below these folders that were changed since that time and hold a word that
/// begins like this, with that word. What cannot be read is passed over.
pub fn files_with(folders: &[PathBuf], since: SystemTime, begin: &str) -> Vec<(PathBuf, String)> {
    let Ok(table) = MountTable::ours() else {
        return Vec::new();
    };
    let points: HashSet<PathBuf> = table
        .under(Path::new("/"))
        .into_iter()
        .map(|mount| mount.point.clone())
        .collect();
    let since = since.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let mut found = Vec::new();
    let mut left = MOST;
    let mut todo: Vec<(PathBuf, usize)> = folders
        .iter()
        .map(|folder| (folder.clone(), DEPTH))
        .collect();
    while let Some((folder, depth)) = todo.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.flatten() {
            left = left.saturating_sub(1);
            let path = entry.path();
            if left == 0 || points.contains(&path) {
                continue;
            }
            let Ok(meta) = fs::symlink_metadata(&path) else {
                continue;
            };
            let changed = u64::try_from(meta.mtime().max(meta.ctime())).unwrap_or_default();
            if meta.is_dir() && depth > 0 {
                todo.push((path, depth - 1));
            } else if meta.is_file()
                && meta.len() <= LARGEST
                && changed + 1 >= since
                && let Some(word) = word_in(&path, begin)
            {
                found.push((path, word));
            }
        }
    }
    found.sort();
    found
}

/// The first word that begins like this.
fn word_in(path: &Path, begin: &str) -> Option<String> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let mut bytes = Vec::new();
    let file = File::options()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .ok()?;
    file.take(LARGEST).read_to_end(&mut bytes).ok()?;
    let begin = begin.as_bytes();
    let at = bytes
        .windows(begin.len().max(1))
        .position(|part| part == begin)?;
    let is_of_it = |byte: &&u8| byte.is_ascii_alphanumeric() || b".-_".contains(byte);
    let word = bytes.iter().skip(at).take_while(is_of_it).take(LONGEST);
    Some(word.map(|byte| char::from(*byte)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_files_with_the_word_are_found_and_links_are_not_followed() {
        let place = tempfile::tempdir().expect("a folder");
        let inner = place.path().join("a/b");
        fs::create_dir_all(&inner).expect("made");
        fs::write(inner.join("log"), "password=canary-1 ok").expect("written");
        fs::write(inner.join("other"), "nothing").expect("written");
        std::os::unix::fs::symlink(inner.join("log"), place.path().join("link")).expect("linked");
        let look = |since| files_with(&[place.path().to_owned()], since, "canary-");
        assert_eq!(
            look(UNIX_EPOCH),
            [(inner.join("log"), "canary-1".to_owned())]
        );
        let later = SystemTime::now() + std::time::Duration::from_secs(3600);
        assert!(look(later).is_empty());
    }
}
