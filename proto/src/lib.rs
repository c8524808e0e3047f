//! What is said: the messages, clients and servers of every CSI 1.x release.
//!
//! [`v1`] has the types, made from `csi.proto`; [`rpc`] the unary calls as
//! types; [`describe`] any message in words, its secrets masked.

pub mod describe;
pub mod rpc;

/// The types made from `csi.proto` (see `examples/codegen.rs`).
#[expect(clippy::allow_attributes, reason = "generated; tonic writes them")]
pub mod v1 {
    include!("generated/csi.v1.rs");
}

/// The file descriptor set of `csi.proto` and its imports, as protox encoded
/// it: the custom options (`csi_secret`, `alpha_*`) are still in it.
pub static DESCRIPTOR_SET: &[u8] = include_bytes!("generated/csi.v1.bin");
