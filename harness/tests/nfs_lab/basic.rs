//! Servers that serve.

use std::fs;
use std::path::Path;
use std::time::Instant;

use crate::world::{V3, V4_1, V4_2, World, note};
use crate::{Test, Tried};

pub(crate) const TESTS: &[Test] = &[("every-version-writes-to-the-backing-side", versions)];

fn versions(folder: &Path) -> Tried {
    let world = World::new(folder)?;
    let server = world.server()?;
    for (name, options) in [("v3", V3), ("v4.1", V4_1), ("v4.2", V4_2)] {
        let begin = Instant::now();
        let target = world.mount(&server, server.share(), options, name)?;
        note(&format!("mount {name}"), begin);
        let begin = Instant::now();
        fs::write(target.join(name), name)?;
        note(&format!("write {name}"), begin);
        let behind = server.content(server.share()).join(name);
        assert_eq!(fs::read_to_string(behind)?, name);
    }
    fs::write(server.content(server.share()).join("from-behind"), "seen")?;
    assert_eq!(fs::read_to_string(folder.join("v4.2/from-behind"))?, "seen");
    world.unmount()?;
    let begin = Instant::now();
    server.take_down()?;
    note("take down", begin);
    world.end()
}
