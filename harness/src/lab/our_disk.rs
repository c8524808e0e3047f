//! The disk of a volume that is ours to break, of whatever kind.

use std::io;
use std::time::Instant;

use super::disk::{Disk, Mood};
use super::mapped::Mapped;
use crate::node::{self, LoopDevice, Mount};

/// A disk that does as it is told, until it is lifted or dropped.
#[derive(Debug)]
pub enum OurDisk {
    /// In place of the image behind a loop device.
    Image(Disk),
    /// A device-mapper device, by its table.
    Mapped(Mapped),
}

impl OurDisk {
    /// Lets it be ill, or well again; who waits is answered. Blocks for a moment.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn set(&self, mood: Mood) -> io::Result<()> {
        match self {
            Self::Image(disk) => {
                disk.set(mood);
                Ok(())
            }
            Self::Mapped(disk) => disk.set(mood),
        }
    }

    /// How it is.
    pub fn mood(&self) -> Mood {
        match self {
            Self::Image(disk) => disk.mood(),
            Self::Mapped(disk) => disk.mood(),
        }
    }

    /// When it was last made well again.
    pub fn healed(&self) -> Option<Instant> {
        match self {
            Self::Image(disk) => disk.healed(),
            Self::Mapped(disk) => disk.healed(),
        }
    }

    /// Whether it was asked for anything since it is, or last was, ill.
    pub fn was_asked(&self) -> bool {
        match self {
            Self::Image(disk) => disk.was_asked(),
            Self::Mapped(disk) => disk.was_asked(),
        }
    }

    /// Whether it was written to, or about to be formatted, while it could not be read or
    /// was too short.
    pub fn was_written(&self) -> bool {
        match self {
            Self::Image(disk) => disk.was_written(),
            Self::Mapped(disk) => disk.was_written(),
        }
    }

    /// Whether a mount of the volume lies on it now.
    pub fn carries(&self, mount: &Mount) -> bool {
        match self {
            Self::Image(disk) => {
                let all = node::loops().unwrap_or_default();
                let on_it = |device: &LoopDevice| device.backing == disk.path();
                all.iter().any(on_it)
            }
            Self::Mapped(disk) => {
                disk.device().id.number == mount.dev() && disk.device().is_there()
            }
        }
    }

    /// Lets the kernel forget what it keeps of it and need not keep. Blocks, and is not to
    /// be called while it hangs.
    pub fn forget_cached(&self) {
        match self {
            Self::Image(disk) => disk.forget_cached(),
            Self::Mapped(disk) => disk.forget_cached(),
        }
    }

    /// Takes back all that was done to it. Blocks for a moment.
    ///
    /// # Errors
    /// Some of it stays.
    pub fn lift(&self) -> io::Result<()> {
        match self {
            Self::Image(disk) => disk.lift(),
            Self::Mapped(disk) => disk.set(Mood::Well),
        }
    }
}
