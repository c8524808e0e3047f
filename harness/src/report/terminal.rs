//! What we write to: how wide it is, and whether somebody watches.

use std::io::IsTerminal;
use std::os::fd::{AsFd, AsRawFd as _};

/// The width where nothing tells another.
pub const DEFAULT_WIDTH: usize = 80;

/// Lines longer than this are hard to read, however wide the terminal is.
pub const MAX_WIDTH: usize = 100;

/// Below this, columns would have no room.
pub const MIN_WIDTH: usize = 40;

/// The width to wrap at, in columns: `COLUMNS` where it is set, else what the
/// terminal says (TIOCGWINSZ, tty_ioctl(4)), else [`DEFAULT_WIDTH`]; within
/// [`MIN_WIDTH`] and [`MAX_WIDTH`].
pub fn width(out: &impl AsFd) -> usize {
    std::env::var("COLUMNS")
        .ok()
        .and_then(|columns| columns.trim().parse().ok())
        .filter(|columns| *columns > 0)
        .or_else(|| asked_width(out))
        .unwrap_or(DEFAULT_WIDTH)
        .clamp(MIN_WIDTH, MAX_WIDTH)
}

fn asked_width(out: &impl AsFd) -> Option<usize> {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the descriptor is borrowed and thus open, and TIOCGWINSZ writes
    // one `struct winsize`, to which the pointer is valid for the call.
    let answer = unsafe { libc::ioctl(out.as_fd().as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    (answer == 0 && size.ws_col > 0).then(|| usize::from(size.ws_col))
}

/// Whether a line can be redrawn in place there.
pub fn is_live(out: &impl IsTerminal) -> bool {
    out.is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}
