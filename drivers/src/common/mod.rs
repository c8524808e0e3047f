//! What every driver here has in common: the socket, the way that a call goes,
//! and the arguments that calls share.

pub(crate) mod args;
pub(crate) mod calls;
pub(crate) mod capability;
pub(crate) mod endpoint;
pub(crate) mod locks;
pub(crate) mod patience;
pub(crate) mod records;
pub(crate) mod serve;
pub(crate) mod services;
pub(crate) mod usage;
