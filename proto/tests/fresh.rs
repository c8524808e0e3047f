//! The checked-in code is what `csi.proto` says today.

use std::collections::BTreeMap;
use std::path::Path;

#[path = "../codegen/mod.rs"]
mod codegen;

#[test]
fn the_generated_files_are_fresh() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = tempfile::tempdir().expect("a temporary folder");
    codegen::generate(root, out.path()).expect("csi.proto compiles");

    let fresh = files(out.path());
    let checked_in = files(&root.join("src/generated"));
    assert_eq!(
        fresh.keys().collect::<Vec<_>>(),
        checked_in.keys().collect::<Vec<_>>(),
        "left: what csi.proto makes; right: what stands in src/generated"
    );
    let stale: Vec<_> = fresh
        .iter()
        .filter(|(name, bytes)| checked_in[*name] != **bytes)
        .map(|(name, _)| format!("proto/src/generated/{name}"))
        .collect();
    assert!(
        stale.is_empty(),
        "not what csi.proto makes: {}. Run: cargo run -p csi-proto --example codegen",
        stale.join(", ")
    );
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    std::fs::read_dir(folder)
        .expect("the folder can be read")
        .map(|entry| {
            let entry = entry.expect("an entry");
            let bytes = std::fs::read(entry.path()).expect("a file");
            (entry.file_name().to_string_lossy().into_owned(), bytes)
        })
        .collect()
}
