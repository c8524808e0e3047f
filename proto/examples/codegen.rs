//! Makes the checked-in code of this crate from `csi.proto`, without protoc:
//! `cargo run -p csi-proto --example codegen`.

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    generate(root, &root.join("src/generated"))
}

fn generate(root: &Path, out: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let mut compiler = protox::Compiler::new([root])?;
    compiler.include_imports(true).open_file("csi.proto")?;
    // The bytes as protox made them: prost types would drop the custom options.
    std::fs::write(
        out.join("csi.v1.bin"),
        compiler.encode_file_descriptor_set(),
    )?;
    tonic_prost_build::configure()
        .out_dir(out)
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
