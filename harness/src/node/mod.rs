//! What is true on the node? This room looks, and never changes anything.
//!
//! | file | answers |
//! |---|---|
//! | [`mountinfo`] | which mounts are there, ours or another process's? |
//! | [`statmount`] | which mount is on top at one path, at the same cost among many? |
//! | [`mod@watch`] | which mounts came and went, when, and who did it? |
//! | [`mod@look`] | what does an untrusted path show, when looking may never come back? |
//! | [`block`] | which block device is behind a number, and is it still the same one? |
//! | [`mod@loops`] | which loop devices are there, and what is behind them? |
//! | [`mapped`] | which device-mapper device is behind a number, and who lies on it? |
//! | [`process`] | who is that process, does it still live, what does it hold? |
//! | [`mod@execs`] | which programs does a process start, and with which words? |
//! | [`held`] | which new files hold these bytes? |
//! | [`klog`] | what has the kernel logged since? |
//! | [`host`] | what can this host do? |

pub mod block;
pub mod execs;
pub mod held;
pub mod host;
pub mod klog;
pub mod look;
pub mod loops;
pub mod mapped;
pub mod mountinfo;
pub mod process;
pub mod statmount;
pub mod superblock;
pub mod watch;

pub use block::{BlockDevice, DiskId, block_device};
pub use execs::{Execs, Ran};
pub use host::{Feature, Host};
pub use klog::KernelLog;
pub use look::{Look, LookError, Seen};
pub use loops::{BackingId, LoopDevice, loops};
pub use mapped::{MappedDevice, Requests};
pub use mountinfo::{Mount, MountTable};
pub use process::{Process, ProcessId};
pub use watch::{MountEvent, Watch};
