//! The looks by name, each with its own kind of answer.

use super::{DeviceSeen, FileStat, FsStat, Listing, Look, LookError, LoopSeen, Seen, look as ask};
use crate::node::block::DiskId;
use std::path::Path;
use std::time::Duration;

/// Each function asks one look and takes its one kind of answer out.
macro_rules! asks {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty),*) -> $answer:ty {
        $look:expr, $seen:pat => $value:expr
    })*) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        /// See [`LookError`].
        pub async fn $name(path: &Path, $($arg: $type,)* deadline: Duration) -> Result<$answer, LookError> {
            let to_look: fn(std::path::PathBuf, $($type),*) -> Look = $look;
            match ask(to_look(path.to_path_buf(), $($arg),*), deadline).await? {
                $seen => Ok($value),
                other => Err(LookError::Ours {
                    path: path.to_path_buf(),
                    why: format!("{other:?} is no answer to {}", stringify!($name)),
                }),
            }
        }
    )*};
}

asks! {
    /// [`Look::Stat`].
    stat() -> FileStat { |path| Look::Stat { path }, Seen::Stat(stat) => stat }
    /// [`Look::StatFollow`].
    stat_follow() -> FileStat { |path| Look::StatFollow { path }, Seen::Stat(stat) => stat }
    /// [`Look::StatFs`].
    statfs() -> FsStat { |path| Look::StatFs { path }, Seen::StatFs(stat) => stat }
    /// [`Look::ReadDir`].
    read_dir(max: usize) -> Listing {
        |path, max| Look::ReadDir { path, max }, Seen::Names(names) => names
    }
    /// [`Look::ReadFile`].
    read_file(offset: u64, max: usize) -> Vec<u8> {
        |path, offset, max| Look::ReadFile { path, offset, max }, Seen::Bytes(bytes) => bytes
    }
    /// [`Look::ReadBeneath`].
    read_beneath(names: usize, max: usize) -> Vec<u8> {
        |path, names, max| Look::ReadBeneath { path, names, max }, Seen::Bytes(bytes) => bytes
    }
    /// [`Look::WriteFile`]: makes or replaces a marker, and syncs it.
    write_file(bytes: Vec<u8>) -> () {
        |path, bytes| Look::WriteFile { path, offset: 0, bytes, create: true, truncate: true, fsync: true },
        Seen::Written => ()
    }
    /// [`Look::Remove`].
    remove_file() -> () { |path| Look::Remove { path }, Seen::Removed => () }
    /// [`Look::OpenDevice`].
    open_device(write: bool) -> DeviceSeen {
        |path, write| Look::OpenDevice { path, write }, Seen::Device(device) => device
    }
    /// [`Look::ReadDevice`].
    read_device(offset: u64, len: usize) -> Vec<u8> {
        |path, offset, len| Look::ReadDevice { path, offset, len }, Seen::Bytes(bytes) => bytes
    }
    /// [`Look::WriteDevice`], and syncs it.
    write_device(only: DiskId, offset: u64, bytes: Vec<u8>) -> () {
        |path, only, offset, bytes| Look::WriteDevice { path, only, offset, bytes, fsync: true },
        Seen::Written => ()
    }
    /// [`Look::OpenExclusive`]: whether nobody uses the device.
    is_free() -> bool { |path| Look::OpenExclusive { path }, Seen::Exclusive { free } => free }
    /// [`Look::FileSystem`]: whether it is in use.
    file_system(dev: (u32, u32)) -> bool {
        |path, dev| Look::FileSystem { path, dev }, Seen::FileSystem { there } => there
    }
    /// [`Look::LoopStatus`].
    loop_status() -> LoopSeen { |path| Look::LoopStatus { path }, Seen::Loop(seen) => seen }
}
