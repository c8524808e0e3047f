//! What the defects look like from outside.

use libtest_mimic::Failed;

use crate::calls::{LONG, SHORT};
use crate::world::{World, expect};
use crate::{Case, Mode, table};

pub(crate) static CASES: &[Case] = &[
    Case::new("defect_nfs-bg-trusted", bg_trusted).with("nfs-bg-trusted"),
    Case::new("defect_publish-timeout-abandons-mount", abandoned)
        .with("publish-timeout-abandons-mount")
        .only(&[Mode::Direct]),
];

/// OK with nothing mounted, and the mount comes when the server is back.
fn bg_trusted(world: &mut World) -> Result<(), Failed> {
    let volume = world.folder_volume("late", &["vers=3", "nolock", "bg", "timeo=10,retrans=1"])?;
    let target = world.path("target");
    world.server()?.stop()?;
    if world.mode == Mode::Staged {
        world.stage(&volume, LONG)?;
        expect(table::at(&world.staging(&volume)).is_empty(), "nothing")?;
    } else {
        world.mount(&volume, &target, LONG)?;
        expect(table::at(&target).is_empty(), "nothing is mounted")?;
        world.unpublish(&volume.id, &target)?;
    }
    expect(!world.helpers().is_empty(), "a helper goes on")
}

/// An error, and a helper that goes on.
fn abandoned(world: &mut World) -> Result<(), Failed> {
    let volume = world.folder_volume("late", &["vers=4.2"])?;
    let target = world.path("target");
    world.server()?.stop()?;
    expect(world.mount(&volume, &target, SHORT).is_err(), "an error")?;
    expect(!world.helpers().is_empty(), "a helper goes on")?;
    world.server()?.heal()?;
    world.until("it is mounted late", |_| !table::at(&target).is_empty())
}
