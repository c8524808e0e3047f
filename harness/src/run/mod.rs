//! Which checks, in which order, how many at once, until when?

mod conduct;
mod engine;
mod expected;
mod plan;
mod room;
mod rounds;
mod settle;
mod setup;
mod tools;
mod wave;

pub use conduct::{Preview, Request, conduct, plan, preview};
pub use engine::{Engine, Finished, one_owner_each};
pub use plan::{Plan, Planned, Selection};
pub use setup::{Setup, SetupError, connect};
