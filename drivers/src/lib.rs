//! Whom we practise on: honest reference drivers, and the defects they can be told to have.
//!
//! A driver here knows nothing of the harness that asks it. It is written to the
//! letter of the specification, so that it can be read to learn how a driver is
//! written, and each [`defect`] is one line of it gone wrong; a
//! [`mutation`] is one call to the kernel gone wrong.

mod common;
pub mod defect;
pub mod fuse;
pub mod looper;
pub mod mutation;
pub mod nfs;
mod sys;
