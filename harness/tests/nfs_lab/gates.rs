//! Who is let in, and to what.

use std::fs;
use std::io;
use std::path::Path;

use csi_harness::lab::{NfsServer, Serve};

use crate::world::{V3, V4_1, V4_2, World, is_mounted, mount, said};
use crate::{Test, Tried};

pub(crate) const TESTS: &[Test] = &[
    ("a-share-that-is-refused-or-removed-comes-back", gates),
    (
        "a-version-that-the-server-lacks-cannot-be-mounted",
        versions,
    ),
    ("two-servers-are-apart", apart),
];

/// The mount must fail, and nothing be there; what mount(8) said.
fn fails(
    world: &World,
    server: &NfsServer,
    share: &str,
    options: &str,
    name: &str,
) -> Result<String, libtest_mimic::Failed> {
    let target = world.target(name)?;
    let output = mount(server, share, options, &target)?;
    assert_eq!(output.status.code(), Some(32), "{}", said(&output));
    assert!(!is_mounted(&target)?);
    Ok(said(&output))
}

/// Makes a file, which no client does without asking the server.
fn make(target: &Path, name: &str) -> io::Result<()> {
    fs::File::create_new(target.join(name)).map(drop)
}

fn gates(folder: &Path) -> Tried {
    let world = World::new(folder)?;
    let server = world.server()?;
    let other = server.export("other")?;
    refused(&world, &server, &other)?;
    removed(&world, &server)?;
    server.take_down()?;
    world.end()
}

fn refused(world: &World, server: &NfsServer, share: &str) -> Tried {
    server.refuse(share)?;
    for (name, options, says) in [
        ("refused-v3", V3, "access denied"),
        ("refused-v4", V4_2, "No such file or directory"),
    ] {
        let why = fails(world, server, share, options, name)?;
        assert!(why.contains(says), "{why}");
    }
    server.heal()?;
    for (name, options) in [("let-in-v3", V3), ("let-in-v4", V4_2)] {
        world.mount(server, share, options, name)?;
    }
    world.unmount()
}

fn removed(world: &World, server: &NfsServer) -> Tried {
    let behind = server.content(server.share());
    fs::write(behind.join("file"), "data")?;
    let v3 = world.mount(server, server.share(), V3, "v3")?;
    let v4 = world.mount(server, server.share(), V4_2, "v4")?;
    for target in [&v3, &v4] {
        assert_eq!(fs::read_to_string(target.join("file"))?, "data");
    }
    server.remove_export(server.share())?;
    for target in [&v3, &v4] {
        let error = make(target, "stale").expect_err("the handle is stale");
        assert_eq!(error.raw_os_error(), Some(libc::ESTALE), "{error}");
    }
    assert_eq!(fs::read_to_string(behind.join("file"))?, "data");
    server.restore_export(server.share())?;
    for (target, name) in [(&v3, "v3"), (&v4, "v4")] {
        make(target, name)?;
        assert!(behind.join(name).exists(), "{name}");
        assert_eq!(fs::read_to_string(target.join("file"))?, "data");
    }
    world.unmount()
}

fn versions(folder: &Path) -> Tried {
    let world = World::new(folder)?;
    let old = world.server_with(Serve::V3)?;
    world.mount(&old, old.share(), V3, "v3")?;
    let why = fails(&world, &old, old.share(), V4_2, "no-v4.2")?;
    assert!(why.contains("not supported"), "{why}");
    let new = world.server_with(Serve::V4_2)?;
    world.mount(&new, new.share(), V4_2, "v4.2")?;
    for (name, options) in [("no-v3", V3), ("no-v4.1", V4_1)] {
        let why = fails(&world, &new, new.share(), options, name)?;
        assert!(why.contains("not supported"), "{why}");
    }
    world.unmount()?;
    old.take_down()?;
    new.take_down()?;
    world.end()
}

fn apart(folder: &Path) -> Tried {
    let world = World::new(folder)?;
    let (one, two) = (world.server()?, world.server()?);
    assert_eq!(one.share(), two.share());
    for (name, server) in [("one", &one), ("two", &two)] {
        for (version, options) in [("v3", V3), ("v4", V4_2)] {
            let target = world.mount(
                server,
                server.share(),
                options,
                &format!("{name}-{version}"),
            )?;
            fs::write(target.join(version), name)?;
        }
    }
    for (name, server) in [("one", &one), ("two", &two)] {
        for version in ["v3", "v4"] {
            let behind = server.content(server.share()).join(version);
            assert_eq!(fs::read_to_string(behind)?, name);
        }
    }
    one.stop()?;
    for version in ["v3", "v4"] {
        fs::write(
            folder.join(format!("two-{version}")).join("more"),
            "goes on",
        )?;
    }
    one.heal()?;
    world.unmount()?;
    one.take_down()?;
    let target = world.mount(&two, two.share(), V4_2, "again")?;
    assert_eq!(fs::read_to_string(target.join("more"))?, "goes on");
    world.unmount()?;
    two.take_down()?;
    world.end()
}
