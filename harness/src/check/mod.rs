//! What is a check, a clause, a need, an outcome?
//!
//! A check is one static value; its body speaks to a [`Cx`] and to the handles
//! that come from it: [`Volume`], [`Staged`], [`Published`]. What it made is in
//! its claims, and is taken back after the body, however that ended.

mod act;
mod attempt;
mod claims;
mod closing;
mod company;
mod create;
mod cx;
mod facts;
mod faults;
mod given;
mod grow;
mod holdings;
mod hooks;
mod interrupt;
mod kind;
mod late;
mod listed;
mod marker;
mod model;
mod named;
mod need;
mod negate;
mod outcome;
mod published;
mod restart;
mod root;
mod see;
mod servers;
mod session;
mod staged;
mod step;
mod stop;
mod together;
mod values;
mod volume;
mod wait;
mod watches;

pub use crate::client::CallRecord;
pub use act::{Act, Subject, Watched};
pub use attempt::{AWAY, Attempt};
pub use claims::{Claims, VolumeClaim};
pub use company::Company;
pub use cx::{Asked, Cx};
pub use facts::{Facts, Matrix};
pub use faults::Cover;
pub use holdings::Holdings;
pub use interrupt::How;
pub use kind::Kind;
pub use late::Watchpoint;
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
pub use session::{LOOK, SETTLE, Session};
pub use staged::Staged;
pub use step::{Access, Step};
pub use stop::{Checked, Stop};
pub use together::{each, together};
pub use volume::{Volume, Want};
pub use wait::Patience;
pub use watches::Watches;
