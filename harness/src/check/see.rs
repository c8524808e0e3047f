//! Looks that a check's handles make, each noted as evidence.

use std::collections::HashSet;
use std::fmt;
use std::path::Path;

use super::cx::Cx;
use super::outcome::Evidence;
use super::session::LOOK;
use super::step::Access;
use super::stop::Stop;
use super::volume::Volume;
use crate::lab::OurPath;
use crate::node::{self, BlockDevice, DiskId, Look, LookError, Mount, MountTable, Seen};

/// What is at a target path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shown {
    /// Something mounted, or a block device: a volume, as far as can be told
    /// from outside.
    Volume,
    /// Nothing of a volume; in words, what is there instead.
    Nothing(String),
    /// A mount of a folder that we made ourselves, on the node's own disk.
    OurOwnFolder(String),
    /// Nothing for us, but a mount in the driver's namespace: its line.
    OnlyToTheDriver(String),
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Volume => f.write_str("the volume is there"),
            Self::Nothing(there) => write!(f, "the volume is not at target_path: {there}"),
            Self::OurOwnFolder(folder) => write!(
                f,
                "what is mounted at target_path is no volume but a folder of the node's own disk: {folder}"
            ),
            Self::OnlyToTheDriver(_) => f.write_str(
                "the mount is seen in the driver's mount namespace alone: it does not propagate to the node",
            ),
        }
    }
}

/// One look, in a process of its own. The inner error is the kernel's.
pub(super) async fn look(cx: &Cx, look: Look) -> Result<Result<Seen, LookError>, Stop> {
    let what = format!("a look at {}", look.path().display());
    match node::look::look(look, LOOK).await {
        Err(LookError::NoAnswer { .. }) => {
            cx.fact("no answer", format!("{what}: nothing came within {LOOK:?}"));
            Err(Stop::Unknown(format!(
                "{what} had no answer within {LOOK:?}"
            )))
        }
        Err(LookError::Ours { why, .. }) => Err(Stop::ours(what, why)),
        answer => Ok(answer),
    }
}

/// The mounts at a path, bottom first; noted.
pub(super) async fn mounts_at(cx: &Cx, path: &OurPath, when: &str) -> Result<Vec<Mount>, Stop> {
    let table = cx.mounts()?;
    let mounts: Vec<Mount> = table.at(&path.ours).into_iter().cloned().collect();
    note(cx, path, when, &mounts);
    Ok(mounts)
}

fn note(cx: &Cx, path: &OurPath, when: &str, mounts: &[Mount]) {
    note_instead(cx, path, when, mounts, None);
}

fn note_instead(cx: &Cx, path: &OurPath, when: &str, mounts: &[Mount], expected: Option<&str>) {
    cx.see(Evidence::Mounts {
        path: path.ours.display().to_string(),
        when: when.to_owned(),
        lines: mounts.iter().map(Mount::line).collect(),
        expected: expected.map(str::to_owned),
    });
}

/// What is at a target path, for us and for the driver.
pub(super) async fn shown_at(
    cx: &Cx,
    target: &OurPath,
    access: Access,
    when: &str,
) -> Result<Shown, Stop> {
    let table = cx.mounts()?;
    let mounts: Vec<Mount> = table.at(&target.ours).into_iter().cloned().collect();
    let lacking = access == Access::Mount && mounts.is_empty();
    note_instead(
        cx,
        target,
        when,
        &mounts,
        lacking.then_some("one mount was due"),
    );
    let there = match access {
        Access::Mount => mounts.last().is_some(),
        Access::Block => is_block(cx, target).await?,
    };
    if there {
        let own = mounts
            .last()
            .and_then(|mount| own_folder(cx, &table, mount));
        return Ok(own.map_or(Shown::Volume, Shown::OurOwnFolder));
    }
    // What we do not see at all may be mounted for the driver alone.
    if mounts.is_empty()
        && !cx.facts().same_namespace
        && let Some(theirs) = cx.session.drivers_mounts().await
        && let Some(mount) = theirs.at(Path::new(&target.drivers)).last()
    {
        cx.fact("driver's namespace", mount.line());
        if let Some(holding) = table
            .holding(&target.ours)
            .filter(|mount| mount.shared.is_none())
        {
            // Whatever the driver does, nothing can propagate to here.
            let at = holding.point.display();
            return Err(Stop::no_host(format!(
                "shared mount propagation: the mount at {at} is private on this node"
            )));
        }
        return Ok(Shown::OnlyToTheDriver(mount.line()));
    }
    Ok(Shown::Nothing(what_is_at(cx, target).await?))
}

async fn is_block(cx: &Cx, target: &OurPath) -> Result<bool, Stop> {
    let stat = look(
        cx,
        Look::StatFollow {
            path: target.ours.clone(),
        },
    )
    .await?;
    Ok(matches!(stat, Ok(Seen::Stat(stat)) if stat.is_block_device()))
}

/// The folder of ours that a mount shows, if it shows one: then it is no
/// volume, but the node's own disk.
fn own_folder(cx: &Cx, table: &MountTable, mount: &Mount) -> Option<String> {
    cx.session.layout.owned().into_iter().find_map(|folder| {
        let holding = table.holding(&folder)?;
        let inside = holding.root.join(folder.strip_prefix(&holding.point).ok()?);
        let rest = mount.root.strip_prefix(&inside).ok()?;
        (mount.dev() == holding.dev()).then(|| folder.join(rest).display().to_string())
    })
}

async fn what_is_at(cx: &Cx, target: &OurPath) -> Result<String, Stop> {
    Ok(
        match look(
            cx,
            Look::Stat {
                path: target.ours.clone(),
            },
        )
        .await?
        {
            Ok(Seen::Stat(stat)) if cx.mounts()?.at(&target.ours).is_empty() => {
                format!("there is {} with nothing mounted on it", stat.kind())
            }
            Ok(Seen::Stat(stat)) => format!("what is mounted there is {}", stat.kind()),
            Err(error) if error.is_not_found() => "there is nothing".to_owned(),
            Err(error) => error.to_string(),
            Ok(other) => format!("{other:?}"),
        },
    )
}

/// A mount that is left at or below a path, for us or for the driver; in
/// words.
pub(super) async fn mount_left(
    cx: &Cx,
    path: &OurPath,
    when: &str,
) -> Result<Option<String>, Stop> {
    let table = cx.mounts()?;
    let left: Vec<Mount> = table
        .at(&path.ours)
        .into_iter()
        .chain(table.under(&path.ours))
        .cloned()
        .collect();
    note(cx, path, when, &left);
    if let Some(mount) = left.first() {
        return Ok(Some(match left.len() {
            1 => format!("a mount is left there: {}", mount.line()),
            n => format!("{n} mounts are left there, the first: {}", mount.line()),
        }));
    }
    let theirs = cx.session.drivers_mounts().await;
    let in_drivers = theirs
        .as_ref()
        .and_then(|t| t.at(std::path::Path::new(&path.drivers)).last().copied());
    Ok(in_drivers.map(|mount| {
        cx.fact("driver's namespace", mount.line());
        format!(
            "a mount is left there in the driver's namespace: {}",
            mount.line()
        )
    }))
}

/// What is left at a target path after unpublish; none: nothing.
pub(super) async fn path_left(cx: &Cx, path: &OurPath) -> Result<Option<String>, Stop> {
    Ok(
        match look(
            cx,
            Look::Stat {
                path: path.ours.clone(),
            },
        )
        .await?
        {
            Err(error) if error.is_not_found() => None,
            Ok(Seen::Stat(stat)) => Some(stat.kind().to_owned()),
            Ok(other) => Some(format!("{other:?}")),
            Err(error) => Some(error.to_string()),
        },
    )
}

/// The disk behind a block target, if nothing on the node has it mounted: a
/// driver that shows us somebody else's disk must not make us write to it.
pub(super) async fn own_disk(cx: &Cx, target: &OurPath) -> Result<Result<DiskId, LookError>, Stop> {
    let device = match look(
        cx,
        Look::OpenDevice {
            path: target.ours.clone(),
            write: false,
        },
    )
    .await?
    {
        Ok(Seen::Device(device)) => device,
        Ok(other) => return Err(Stop::ours("open a block target", format!("{other:?}"))),
        Err(error) => return Ok(Err(error)),
    };
    let (major, minor) = device.disk.number;
    if let Some(mount) = cx.mounts()?.of_device(major, minor).first() {
        let at = mount.point.display();
        return Err(Stop::fail(format!(
            "the block device at target_path is mounted at {at}; nothing was written to it"
        )));
    }
    Ok(Ok(device.disk))
}

/// Notes that a folder of ours is not there for the driver: its container does not
/// share it, and whatever it says of the path, that is why.
pub(super) async fn note_what_the_driver_lacks(cx: &Cx, path: &OurPath) -> Result<(), Stop> {
    let facts = cx.facts();
    if facts.same_namespace || facts.no_driver_namespace.is_some() {
        return Ok(());
    }
    let Some(pid) = cx.session.driver_pid().await else {
        return Ok(());
    };
    let theirs = Path::new(&path.drivers);
    // proc_pid_root(5): the path as that process would find it.
    let root = Path::new("/proc").join(pid.to_string()).join("root");
    let seen = theirs.strip_prefix("/").map(|rest| root.join(rest));
    let Ok(there) = seen else { return Ok(()) };
    if matches!(look(cx, Look::Stat { path: there }).await?, Err(error) if error.is_not_found()) {
        cx.fact(
            "driver's namespace",
            format!(
                "there is no {}: share its folder with the driver's container (paths.kubelet_root), or tell what it is called there (paths.in_driver)",
                theirs.display()
            ),
        );
    }
    Ok(())
}

/// The block device of this name below /dev, if it is one.
fn disk_named(name: Option<&std::ffi::OsStr>) -> Option<BlockDevice> {
    let dev = std::fs::read_to_string(Path::new("/sys/class/block").join(name?).join("dev"));
    let dev = dev.ok()?;
    let (major, minor) = dev.trim().split_once(':')?;
    node::block_device(major.parse().ok()?, minor.parse().ok()?).ok()
}

/// The sequence numbers of the loop devices that are in use now.
pub(super) fn disks() -> HashSet<DiskId> {
    node::loops()
        .unwrap_or_default()
        .iter()
        .map(|device| device.id)
        .collect()
}

/// Claims the loop device that carries the volume at this path, if it came
/// after the volume's first step on the node.
pub(super) fn claim_disk(volume: &Volume<'_>, path: &OurPath) {
    let Ok(table) = MountTable::ours() else {
        return;
    };
    let Ok(loops) = node::loops() else { return };
    let mounted = table.at(&path.ours).last().map(|mount| mount.dev());
    // A btrfs has a number of its own; the device is its source.
    let source = table
        .at(&path.ours)
        .last()
        .map(|mount| mount.source.clone());
    let as_node = table
        .at(&path.ours)
        .last()
        .and_then(|mount| mount.root.file_name())
        .map(|name| name.to_owned());
    for device in &loops {
        volume.cx.session.write_down(device);
    }
    // Loop device or not: the kernel's log has its name.
    let source = source.as_deref().map(Path::new);
    let named = source.and_then(|path| path.strip_prefix("/dev").ok());
    // A logical volume is mounted by a name that sysfs does not know.
    let numbered = || mounted.and_then(|(major, minor)| node::block_device(major, minor).ok());
    if let Some(disk) =
        disk_named(named.map(Path::as_os_str).or(as_node.as_deref())).or_else(numbered)
    {
        volume.cx.session.kernel.carries(&disk, &volume.cx.id);
        volume.with(
            |claim| match claim.disks.iter().any(|known| known.id == disk.id) {
                true => {}
                false => claim.disks.push(disk),
            },
        );
    }
    volume.with(|claim| {
        let Some(before) = &claim.loops_before else {
            return;
        };
        for device in loops {
            let named = std::ffi::OsString::from(format!("loop{}", device.number));
            let is_it = source == Some(device.path().as_path())
                || mounted == Some(device.id.number)
                || as_node.as_ref() == Some(&named);
            let known = claim.devices.iter().any(|d| d.id == device.id);
            let number = claim.number;
            if is_it
                && !known
                && !before.contains(&device.id)
                && volume.cx.session.carries(device.id, number)
            {
                claim.devices.push(device);
            }
        }
    });
}
