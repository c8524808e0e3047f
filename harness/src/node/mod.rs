//! What is true on the node? This room looks, and never changes anything.
//!
//! | file | answers |
//! |---|---|
//! | [`mountinfo`] | which mounts are there, ours or another process's? |

pub mod look;
pub mod mountinfo;
