use crate::fixtures::report;
use csi_harness::report::json::{FILE_NAME, ReadError, WriteError, read, write};
use std::os::unix::fs::PermissionsExt as _;

#[test]
fn reads_what_it_wrote_sorted_by_id() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("made/on/the/way");
    let sorted = report();
    let mut shuffled = sorted.clone();
    shuffled.checks.reverse();
    let path = write(&dir, &shuffled).expect("written");
    assert_eq!(path, dir.join(FILE_NAME));
    assert_eq!(read(&dir).expect("read by its folder"), sorted);
    assert_eq!(read(&path).expect("read by its name"), sorted);

    let mode = std::fs::metadata(&path)
        .expect("there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o444, 0o444, "a report is there to be read");
    // Written again, it replaces the first, and nothing else stays.
    write(&dir, &sorted).expect("written again");
    assert_eq!(std::fs::read_dir(&dir).expect("a folder").count(), 1);
}

/// The names that others rely on.
#[test]
fn the_format() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = write(folder.path(), &report()).expect("written");
    let text = std::fs::read_to_string(path).expect("there");
    insta::assert_snapshot!(text);
}

#[test]
fn errors_name_the_path() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "{\"schema\": 1,\n \"verdict\": 3}").expect("written");

    let refused = write(&file, &report()).expect_err("a file is no folder");
    assert!(matches!(refused, WriteError::MakeDir { .. }), "{refused}");
    assert!(refused.to_string().contains("/file"), "{refused}");

    let taken = folder.path().join("taken");
    std::fs::create_dir_all(taken.join(FILE_NAME)).expect("made");
    let refused = write(&taken, &report()).expect_err("a folder stands in the way");
    assert!(
        refused.to_string().contains("/taken/report.json"),
        "{refused}"
    );
    assert_eq!(
        std::fs::read_dir(&taken).expect("a folder").count(),
        1,
        "a temporary file stayed"
    );

    let refused = read(&folder.path().join("nowhere")).expect_err("there is none");
    assert!(refused.to_string().contains("/nowhere"), "{refused}");

    let refused = read(&file).expect_err("not a report");
    assert!(refused.to_string().contains("line 2"), "{refused}");

    std::fs::write(&file, "{\"schema\": 2}").expect("written");
    let refused = read(&file).expect_err("another schema");
    assert!(
        matches!(refused, ReadError::Schema { found: 2, .. }),
        "{refused}"
    );
}
