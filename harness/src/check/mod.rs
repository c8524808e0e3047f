//! What is a check, a clause, a need, an outcome?
//!
//! A check is one static value; its body speaks to a [`Cx`] and to the handles
//! that come from it: [`Volume`], [`Staged`], [`Published`]. What it made is in
//! its claims, and is taken back after the body, however that ended.

mod accounts;
mod act;
mod attempt;
mod canaries;
mod claims;
mod closing;
mod company;
mod content;
mod converge;
mod create;
mod cx;
mod disks;
mod facts;
mod faults;
mod given;
mod group;
mod grow;
mod holdings;
mod hooks;
mod in_use;
mod interrupt;
mod kernel;
mod kind;
mod late;
mod listed;
mod lost;
mod made;
mod marker;
mod model;
mod named;
mod need;
mod negate;
mod outcome;
mod published;
mod ran;
mod restart;
mod root;
mod see;
mod servers;
mod session;
mod staged;
mod standing;
mod step;
mod stop;
mod strangers;
mod together;
mod usage;
mod values;
mod volume;
mod wait;
mod watches;

pub use crate::client::CallRecord;
pub use accounts::Stray;
pub use act::{Act, Subject};
pub use attempt::{AWAY, Attempt};
pub use canaries::Sighting;
pub use claims::{Claims, VolumeClaim};
pub use company::Company;
pub use content::{Snapshot, SnapshotClaim, Source};
pub use converge::Watched;
pub use cx::{Asked, Cx};
pub use disks::Breakable;
pub use facts::{Facts, Matrix};
pub use faults::{Cover, InUse};
pub use group::{Group, GroupClaim};
pub use holdings::Holdings;
pub use interrupt::How;
pub use kernel::Trouble;
pub use kind::Kind;
pub use late::Watchpoint;
pub use lost::Bare;
pub use marker::Marker;
pub(crate) use model::without_round;
pub use model::{Axis, Body, Check, Phase};
pub use need::Need;
pub use negate::{Negated, Residue, negate};
pub use outcome::{
    Basis, Clause, ClauseRef, Evidence, Lacking, LedgerEntry, Level, Outcome, SeenIn, Settled, Skip,
};
pub use published::Published;
pub use servers::{Canary, Server, Servers};
pub use session::{LOOK, SETTLE, SecondTry, Session};
pub use staged::Staged;
pub use standing::Standing;
pub use step::{Access, Step};
pub use stop::{Checked, Stop};
pub use strangers::{Dead, Misled, Stranger};
pub use together::{each, together};
pub use volume::{Volume, Want};
pub use wait::Patience;
pub use watches::Watches;
