use super::{Mount, MountTable};
use proptest::prelude::*;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

fn one(line: &[u8]) -> Mount {
    let mut table = MountTable::parse(line);
    assert_eq!(table.odd, Vec::<Vec<u8>>::new());
    assert_eq!(table.mounts.len(), 1);
    table.mounts.remove(0)
}

fn ids(mounts: Vec<&Mount>) -> Vec<u64> {
    mounts.into_iter().map(|m| m.id).collect()
}

#[test]
fn a_line_with_everything() {
    let m = one(b"36 35 98:0 /mnt1 /mnt2 rw,noatime shared:7 master:1 propagate_from:2 unbindable new:3 - ext3 /dev/root ro,errors=continue\n");
    assert_eq!((m.id, m.parent, m.dev()), (36, 35, (98, 0)));
    assert_eq!(
        (m.root.as_path(), m.point.as_path()),
        (Path::new("/mnt1"), Path::new("/mnt2"))
    );
    assert_eq!(
        (m.shared, m.master, m.propagate_from, m.unbindable),
        (Some(7), Some(1), Some(2), true)
    );
    assert_eq!(m.other_fields, [OsString::from("new:3")]);
    assert_eq!(
        (m.fs_type.as_str(), m.source.as_os_str()),
        ("ext3", OsStr::new("/dev/root"))
    );
    assert!(
        m.is_read_only(),
        "the file system is read-only, though the mount is not"
    );
    assert!(m.has_option("noatime") && m.has_option("errors=continue") && !m.has_option("errors"));
}

#[test]
fn escapes_and_bytes_that_are_no_text() {
    let m = one(
        b"1 1 0:1 / /a\\040b\\011c\\012d\\134e\\377\xfe rw - nfs4 srv:/x\\040y\\043 rw,opt=a\\054b",
    );
    assert_eq!(m.point.as_os_str().as_bytes(), b"/a b\tc\nd\\e\xff\xfe");
    assert_eq!(m.source, OsStr::new("srv:/x y#"));
    assert_eq!(m.super_options, ["rw", "opt=a,b"]);
}

#[test]
fn a_backslash_that_begins_no_escape_stays() {
    let m = one(b"1 1 0:1 / /a\\04 rw - tmpfs \\400\\ rw");
    assert_eq!(m.point, Path::new("/a\\04"));
    assert_eq!(m.source, OsStr::new("\\400\\"));
}

#[test]
fn empty_source_and_empty_super_options() {
    let m = one(b"1 1 0:1 / /a rw - tmpfs  rw,size=4k");
    assert_eq!(
        (m.source.as_os_str(), m.super_options.len()),
        (OsStr::new(""), 2)
    );
    for line in [
        &b"1 1 0:1 / /a rw - tmpfs none "[..],
        b"1 1 0:1 / /a rw - tmpfs none",
    ] {
        assert_eq!(one(line).super_options, Vec::<String>::new());
    }
}

#[test]
fn a_root_that_was_removed_and_one_that_is_no_path() {
    let m = one(b"1 1 0:1 /gone//deleted /a rw - tmpfs none rw");
    assert_eq!(
        (m.root.as_path(), m.root_deleted),
        (Path::new("/gone"), true)
    );
    let m = one(b"1 1 0:4 net:[4026531840] /run/netns/x rw - nsfs nsfs rw");
    assert_eq!(
        (m.root.as_path(), m.root_deleted),
        (Path::new("net:[4026531840]"), false)
    );
}

#[test]
fn one_odd_line_does_not_hide_the_others() {
    let table = MountTable::parse(
        b"1 1 0:1 / / rw - tmpfs a rw\n\
          no mount\n\
          2 1 0:2 / /b rw shared:1\n\
          x 1 0:2 / /b rw - tmpfs b rw\n\
          3 1 0-2 / /b rw - tmpfs b rw\n\
          4 1 0:2 / /b rw - tmpfs b rw one too many\n\
          5 1 0:2 / /b rw - tmpfs b rw\n",
    );
    assert_eq!(ids(table.mounts.iter().collect()), [1, 5]);
    assert_eq!(table.odd.len(), 5);
    assert_eq!(table.odd[0], b"no mount");
}

#[test]
fn the_place_of_an_odd_line_is_known() {
    let found = |id, point: &[u8]| {
        let point = OsString::from_vec(point.to_vec()).into();
        Some(super::Place { id, point })
    };
    let sound = b"36 35 98:0 /mnt1 /a\\040b\\134\xff rw master:1 - ext4 /dev/root rw";
    assert_eq!(super::line::place(sound), found(36, b"/a b\\\xff"));
    let odd = b"4 1 0:2 / /b rw - tmpfs b rw one too many";
    assert_eq!(super::line::place(odd), found(4, b"/b"));
    assert_eq!(super::line::place(b"no mount"), None);
}

const STACKED: &[u8] = b"\
1 0 0:1 / / rw - ext4 disk rw
8 1 0:8 / /a/bc rw - tmpfs neighbour rw
7 5 0:7 / /a/b rw - tmpfs second rw
5 1 0:5 / /a/b rw - tmpfs first rw
6 7 0:6 / /a/b/c rw - tmpfs below rw
";

#[test]
fn stacked_mounts_come_from_bottom_to_top() {
    let table = MountTable::parse(STACKED);
    assert_eq!(ids(table.at(Path::new("/a/b"))), [5, 7]);
    assert_eq!(ids(table.at(Path::new("/a/b/"))), [5, 7]);
    assert!(table.at(Path::new("/a")).is_empty());
    assert_eq!(ids(table.under(Path::new("/a/b"))), [6]);
    assert_eq!(ids(table.under(Path::new("/"))), [8, 7, 5, 6]);
    assert_eq!(ids(table.of_device(0, 7)), [7]);
    let on = |p: &str| table.holding(Path::new(p)).map(|m| m.id);
    assert_eq!(on("/a/b/x"), Some(7));
    assert_eq!(on("/a/b/c/x"), Some(6));
    assert_eq!(on("/a/bcd"), Some(1));
    assert_eq!(on("/a/bc"), Some(8));
}

#[test]
fn a_mount_hidden_by_one_above_it_is_neither_the_top_nor_the_holder() {
    let table = MountTable::parse(
        b"1 0 0:1 / / rw - ext4 disk rw\n\
          2 1 0:2 / /a/b rw - tmpfs hidden rw\n\
          3 2 0:3 / /a/b rw - tmpfs hidden-too rw\n\
          4 1 0:4 / /a rw - tmpfs over rw\n",
    );
    assert_eq!(ids(table.at(Path::new("/a/b"))), [2, 3]);
    assert_eq!(table.holding(Path::new("/a/b/x")).map(|m| m.id), Some(4));

    let mut again = table.clone();
    again
        .mounts
        .insert(0, one(b"5 4 0:5 / /a/b rw - tmpfs seen rw"));
    assert_eq!(
        ids(again.at(Path::new("/a/b"))),
        [2, 3, 5],
        "what is seen is the top"
    );
    assert_eq!(again.holding(Path::new("/a/b/x")).map(|m| m.id), Some(5));
}

#[test]
fn a_table_without_a_root_as_in_a_chroot() {
    let table = MountTable::parse(b"20 12 0:2 / /proc rw - proc proc rw\n");
    assert_eq!(table.holding(Path::new("/proc/1")).map(|m| m.id), Some(20));
    assert_eq!(table.holding(Path::new("/etc")), None);
}

#[test]
fn a_made_up_table_with_a_ring_of_parents_ends() {
    let table = MountTable::parse(b"1 2 0:1 / /a rw - tmpfs a rw\n2 1 0:2 / /a rw - tmpfs b rw\n");
    assert_eq!(table.at(Path::new("/a")).len(), 2);
    assert_eq!(table.holding(Path::new("/a")), None);
}

#[test]
fn our_own_table_is_read_whole() -> std::io::Result<()> {
    let table = MountTable::ours()?;
    assert_eq!(table.odd, Vec::<Vec<u8>>::new());
    assert!(
        table
            .holding(Path::new("/proc/1/stat"))
            .is_some_and(|m| m.fs_type == "proc")
    );
    let other = MountTable::of(std::process::id())?;
    assert!(!other.mounts.is_empty());
    Ok(())
}

#[test]
fn no_such_process_says_which_file() {
    // Above the kernel's own limit for pids.
    let error = MountTable::of(u32::MAX).expect_err("no such pid");
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    assert!(error.to_string().contains("/proc/4294967295/mountinfo"));
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let nasty = prop_oneof![
        Just(b' '),
        Just(b'\n'),
        Just(b'\t'),
        Just(b'\\'),
        Just(b'-'),
        Just(b','),
        Just(b'#'),
        Just(b'0'),
        Just(b'4'),
        1u8..=255
    ];
    prop::collection::vec(nasty, 0..24)
}

fn path() -> impl Strategy<Value = PathBuf> {
    bytes().prop_map(|mut b| {
        b.retain(|&c| c != b'/');
        b.insert(0, b'/');
        OsString::from_vec(b).into()
    })
}

fn options() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec("[a-zä=, \\\\\n\t-]{1,9}", 0..4)
}

prop_compose! {
    fn mount()(
        (id, parent, major, minor) in any::<(u64, u64, u32, u32)>(),
        (root, root_deleted, point) in (path(), any::<bool>(), path()),
        (options, super_options) in (options(), options()),
        (shared, master, propagate_from) in any::<(Option<u64>, Option<u64>, Option<u64>)>(),
        unbindable in any::<bool>(),
        other_fields in prop::collection::vec("[a-z]{3,5}:[0-9 \\\\]{1,3}", 0..3),
        fs_type in "[a-z0-9.]{1,9}",
        source in bytes(),
    ) -> Mount {
        let other_fields = other_fields.into_iter().map(OsString::from).collect();
        let source = OsString::from_vec(source);
        Mount {
            id, parent, major, minor, root, root_deleted, point, options, shared, master,
            propagate_from, unbindable, other_fields, fs_type, source, super_options,
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(mounts in prop::collection::vec(mount(), 0..5)) {
        let mut text = Vec::new();
        for mount in &mounts {
            text.extend(mount.to_bytes());
            text.push(b'\n');
        }
        let table = MountTable::parse(&text);
        prop_assert_eq!(&table.odd, &Vec::<Vec<u8>>::new());
        prop_assert_eq!(table.mounts, mounts);
    }

    #[test]
    fn no_bytes_make_it_panic(text in prop::collection::vec(any::<u8>(), 0..200)) {
        let table = MountTable::parse(&text);
        let _ = table.at(Path::new("/"));
    }

    #[test]
    fn every_line_is_kept(lines in prop::collection::vec("[0-9 :/a-]{1,30}", 0..10)) {
        let table = MountTable::parse(lines.join("\n").as_bytes());
        prop_assert_eq!(table.mounts.len() + table.odd.len(), lines.len());
    }
}
