//! What do we make? Each thing made knows how to go away.

mod clean;
mod cover;
mod driver;
mod errand;
mod folder;
mod force;
mod hold;
mod hooks;
mod identity;
mod journal;
mod layout;
mod loops;
mod nfs;
mod random;
mod remove;
mod scratch;
mod tail;
mod unmount;

pub use clean::{Cleaned, Leftover, Then, leftovers};
pub use cover::{cover, uncover};
pub use driver::{DriverCommand, DriverError, DriverProcess, Exited, Frozen, Output, Stopped};
pub use folder::{RunFolder, RunId, state_base};
pub use force::take_down;
pub use hold::Holder;
pub use hooks::{Hook, HookError};
pub use identity::FileIdentity;
pub use journal::{Entry, Journal, JournalError};
pub use layout::{Access, Form, Layout, OurPath, PathMap, Roots};
pub use loops::{release_all_on_scratch, release_loop};
pub use nfs::{NfsError, NfsServer, Serve, missing as nfs_missing};
pub use random::random_hex;
pub use remove::{RemoveError, Removed, remove_tree};
pub use scratch::{Scratch, ScratchError};
pub use unmount::{How, Unmounted, Unmounting, unmount_below};
