//! Makes the checked-in code of this crate from `csi.proto`, without protoc:
//! `cargo run -p csi-proto --example codegen`.

use std::error::Error;
use std::path::Path;

#[path = "../codegen/mod.rs"]
mod codegen;

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    codegen::generate(root, &root.join("src/generated"))
}
