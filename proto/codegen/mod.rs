//! From `csi.proto` to the checked-in files, without protoc. Shared by the
//! example that writes them and the test that they are fresh.

use std::error::Error;
use std::path::Path;

/// Writes into the folder `out` what `csi.proto` in the folder `root` says:
/// `csi.v1.bin`, the descriptor set, and `csi.v1.rs`, the code.
pub(crate) fn generate(root: &Path, out: &Path) -> Result<(), Box<dyn Error>> {
    let mut compiler = protox::Compiler::new([root])?;
    compiler.include_imports(true).open_file("csi.proto")?;
    // The bytes as protox made them: prost types would drop the custom options.
    let descriptors = compiler.encode_file_descriptor_set();
    std::fs::write(out.join("csi.v1.bin"), descriptors)?;
    // The comments are for the code alone.
    compiler.include_source_info(true);
    tonic_prost_build::configure()
        .out_dir(out)
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
