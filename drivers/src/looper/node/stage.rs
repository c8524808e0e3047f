//! `NodeStageVolume`: a loop device for the disk image, and, unless the volume is
//! for block access, its file system mounted at the staging path.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use csi_proto::v1 as csi;
use nix::mount::MsFlags;
use tonic::Status;

use super::device::{self, Top};
use super::{admitted, capability, healthy, leads_to_own_disk, occupied, whole};
use crate::common::capability::Capability;
use crate::common::patience::Patience;
use crate::defect::Defect;
use crate::looper::args;
use crate::looper::driver::Driver;
use crate::looper::volume::{Volume, internal};
use crate::sys::filesystem::{self, Content, Filesystem};
use crate::sys::loopdev::{self, LoopDevice};
use crate::sys::mount::{MountOptions, mount_device, unmount};
use crate::sys::{command, file, mapped};

/// Stages a volume; one that is staged already in this way stays as it is.
pub(super) fn stage(
    driver: &Driver,
    request: &csi::NodeStageVolumeRequest,
    patience: &Patience,
) -> Result<csi::NodeStageVolumeResponse, Status> {
    let staged = try_stage(driver, request, patience);
    if staged.is_err() && driver.defects.has(Defect::FAILED_REPEAT_UNMOUNTS) {
        let _ = unmount(Path::new(&request.staging_target_path));
    }
    staged
}

fn try_stage(
    driver: &Driver,
    request: &csi::NodeStageVolumeRequest,
    patience: &Patience,
) -> Result<csi::NodeStageVolumeResponse, Status> {
    let id = args::required("volume_id", &request.volume_id)?;
    let path = args::path("staging_target_path", &request.staging_target_path)?;
    let capability = capability(driver, request.volume_capability.as_ref())?;
    let volume = driver.store.get(id)?;
    let attachment = admitted(
        driver,
        &volume,
        &capability,
        &request.publish_context,
        &request.volume_context,
    )?;
    misbehave(driver, &volume);
    leads_to_own_disk(driver, &volume, &request.publish_context)?;
    if !driver.defects.has(Defect::FORMAT_WHEN_MOUNT_FAILS) {
        whole(driver, &volume)?;
    }
    if driver.failed_stage(&path) || is_done(driver, &volume, &capability, &path)? {
        if !driver.defects.has(Defect::STAGE_RETRY_SKIPS_GROW) {
            // A process that was killed may have come as far as the mount.
            fill(driver, &volume, &path)?;
        }
        return Ok(csi::NodeStageVolumeResponse {});
    }
    if !file::is_dir(&path) {
        let message = "staging_target_path must be a folder, which the caller makes";
        return Err(Status::failed_precondition(message));
    }
    let record = capability.clone();
    driver.store.update(id, |volume| {
        volume.stages.insert(path.clone(), record);
    })?;
    if driver.defects.has(Defect::CANCELLED_WORK_CONTINUES) {
        // As with a large disk: long enough for its caller to give up, and then for
        // what the caller does instead.
        std::thread::sleep(std::time::Duration::from_millis(300));
        if patience.over().is_some() {
            std::thread::sleep(std::time::Duration::from_millis(700));
        }
    }
    let read_only = attachment.readonly;
    attach(driver, &volume, &capability, &path, read_only)
        .inspect_err(|_| undo(driver, id, &path))?;
    Ok(csi::NodeStageVolumeResponse {})
}

/// Whether there is nothing to do.
///
/// # Errors
///
/// ALREADY_EXISTS where the volume is staged there in another way.
fn is_done(
    driver: &Driver,
    volume: &Volume,
    capability: &Capability,
    path: &Path,
) -> Result<bool, Status> {
    if !capability.is_block() && matches!(device::top(driver, volume, path)?, Top::Foreign) {
        return Err(occupied(path));
    }
    let any_mount_will_do = driver
        .defects
        .has(Defect::ALREADY_MOUNTED_NO_IDENTITY_CHECK)
        && !capability.is_block()
        && matches!(device::top(driver, volume, path)?, Top::Own(_));
    if any_mount_will_do {
        let record = capability.clone();
        driver.store.update(&volume.id, |volume| {
            volume.stages.insert(path.to_owned(), record);
        })?;
        return Ok(true);
    }
    if !device::is_staged(driver, volume, path)? {
        return Ok(false);
    }
    let same = volume.stages.get(path).is_some_and(|staged| {
        staged.is_same_use(capability) && staged.mount_options() == capability.mount_options()
    });
    if !same {
        let message = "the volume is staged at staging_target_path in another way";
        return Err(Status::already_exists(message));
    }
    healthy(driver, volume, path)?;
    Ok(true)
}

fn attach(
    driver: &Driver,
    volume: &Volume,
    capability: &Capability,
    path: &Path,
    read_only: bool,
) -> Result<(), Status> {
    let image = driver.image(volume);
    let device = if driver.defects.has(Defect::NO_PER_VOLUME_LOCK) {
        // Long enough for another call to come as far as this.
        std::thread::sleep(std::time::Duration::from_millis(100));
        loopdev::attach_new(&image, read_only)
    } else {
        loopdev::attach(&image, read_only)
    }
    .map_err(internal)?;
    if driver.device_mapper {
        mapped::make_over(device).map_err(internal)?;
    }
    if capability.is_block() {
        if driver.defects.has(Defect::BLOCK_FORMATTED_AS_MOUNT) {
            filesystem::make(Filesystem::Ext4, &device.node(), true).map_err(internal)?;
        }
        return Ok(());
    }
    let Some(filesystem) = volume.filesystem else {
        return Err(Status::failed_precondition(
            "the volume was made for block access",
        ));
    };
    if device.size().map_err(internal)? != volume.capacity_bytes {
        device.grow().map_err(internal)?;
    }
    let mount = || mount(driver, volume, capability, device, path, read_only);
    let mounted = make_ready(driver, volume, filesystem, device, read_only).and_then(|()| mount());
    if driver.defects.has(Defect::FORMAT_WHEN_MOUNT_FAILS) && mounted.is_err() {
        filesystem::make(filesystem, &device.node(), true).map_err(internal)?;
        mount()?;
    } else {
        mounted?;
    }
    fill(driver, &driver.store.get(&volume.id)?, path)
}

/// Lets the file system that is mounted at the staging path fill its disk, which
/// may be larger than what it was copied from. (An ext4 was grown before it was
/// mounted, which takes no more than write access to the device.)
fn fill(driver: &Driver, volume: &Volume, path: &Path) -> Result<(), Status> {
    let grows = |filesystem: &Filesystem| *filesystem != Filesystem::Ext4;
    let Some(filesystem) = volume.filesystem.filter(grows) else {
        return Ok(());
    };
    let Top::Own(mount) = device::top(driver, volume, path)? else {
        return Ok(());
    };
    let fills = volume.filled >= volume.capacity_bytes;
    if fills || mount.is_read_only() || mount.is_super_read_only() {
        return Ok(());
    }
    if let Some(device) = LoopDevice::behind(&mount) {
        device.grow().map_err(internal)?;
        filesystem::grow(filesystem, &device.node(), volume.capacity_bytes, path)
            .map_err(internal)?;
    }
    device::fills(driver, volume)
}

/// Makes the file system, on a blank device only; content that we do not know is
/// somebody's.
fn make_ready(
    driver: &Driver,
    volume: &Volume,
    filesystem: Filesystem,
    device: LoopDevice,
    read_only: bool,
) -> Result<(), Status> {
    let image = driver.image(volume);
    let content = match filesystem::probe(&device.node(), &image) {
        Err(_) | Ok(Content::Unknown) if driver.defects.has(Defect::FORMAT_ON_UNREADABLE) => {
            Content::Blank
        }
        probed => probed.map_err(internal)?,
    };
    let unfinished = volume.formatting
        || driver.defects.has(Defect::WIPES_ON_STAGE)
        || !driver.remembers_formatted(&volume.id)
        || (content == Content::Blank && driver.defects.has(Defect::FORMAT_ON_UNREADABLE));
    match content {
        Content::Filesystem(found) if found == filesystem && !unfinished => {
            if filesystem == Filesystem::Ext4 && !read_only {
                filesystem::grow_unmounted_ext4(&device.node(), volume.capacity_bytes)
                    .map_err(internal)?;
            }
            return Ok(());
        }
        Content::Filesystem(found) if !unfinished => {
            let message = format!("there is {} on the volume already", found.name());
            return Err(Status::failed_precondition(message));
        }
        Content::Unknown if !unfinished => {
            let message = "there is something on the volume that is no file system we know";
            return Err(Status::failed_precondition(message));
        }
        _ if read_only => {
            let message = "the volume is blank, and published to this node read-only";
            return Err(Status::failed_precondition(message));
        }
        _ => {}
    }
    // Whatever a killed mkfs leaves is known to be nobody's data.
    driver
        .store
        .update(&volume.id, |volume| volume.formatting = true)?;
    filesystem::make(filesystem, &device.node(), unfinished).map_err(internal)?;
    driver.store.update(&volume.id, |volume| {
        (volume.formatting, volume.filled) = (false, volume.capacity_bytes);
    })
}

fn mount(
    driver: &Driver,
    volume: &Volume,
    capability: &Capability,
    device: LoopDevice,
    path: &Path,
    read_only: bool,
) -> Result<(), Status> {
    let mut options = match driver.defects.has(Defect::MOUNT_FLAGS_DROPPED) {
        true => MountOptions::default(),
        false => capability.mount_options(),
    };
    if read_only || capability.is_reader_only() {
        options.mount |= MsFlags::MS_RDONLY;
    }
    let refusable = !options.data.is_empty();
    options.data.extend(of_a_copy(driver, volume, read_only));
    let filesystem = volume.filesystem.map_or("", Filesystem::name);
    match mount_device(&device.node(), path, filesystem, &options) {
        Err(error) if driver.defects.has(Defect::MOUNT_ERROR_SWALLOWED) => {
            tracing::warn!(%error, "the mount failed");
            Ok(())
        }
        // The kernel names no option; and the flags may be sensitive.
        Err(error) if error.errno() == Some(libc::EINVAL) && refusable => {
            let message = "the file system refused the volume_capability's mount_flags";
            Err(Status::invalid_argument(message))
        }
        mounted => mounted.map_err(internal),
    }
}

/// What a copy of an xfs is mounted with beside: it has the UUID of its source,
/// which may be mounted too. A log that cannot be replayed, the disk being
/// read-only, need not be: the source was frozen, and all of it written back.
fn of_a_copy(driver: &Driver, volume: &Volume, read_only: bool) -> Vec<String> {
    let copied = volume.filesystem == Some(Filesystem::Xfs)
        && volume.source.is_some()
        && !driver.defects.has(Defect::CLONE_SAME_XFS_UUID);
    let options: &[&str] = match (copied, read_only) {
        (false, _) => &[],
        (true, false) => &["nouuid"],
        (true, true) => &["nouuid", "norecovery"],
    };
    options.iter().map(|option| (*option).to_owned()).collect()
}

/// Takes back what a stage that failed has done.
fn undo(driver: &Driver, id: &str, path: &Path) {
    driver.remember_failed_stage(path);
    let leaves = [
        Defect::STAGE_ERROR_LEAVES_DEVICE,
        Defect::STAGE_RETRY_SKIPS_GROW,
    ];
    if leaves.iter().any(|defect| driver.defects.has(*defect)) {
        return;
    }
    let unmount = |volume: Volume| match device::top(driver, &volume, path)? {
        Top::Own(_) => device::unmount_all(driver, &volume, path),
        _ => Ok(()),
    };
    let forget = || {
        driver
            .store
            .update(id, |volume| drop(volume.stages.remove(path)))
    };
    let undone = driver
        .store
        .get(id)
        .and_then(unmount)
        .and_then(|()| forget())
        .and_then(|()| driver.store.get(id))
        .and_then(|volume| device::release(driver, &volume));
    if let Err(error) = undone {
        // The record stays, and so does the way to clean up: NodeUnstageVolume.
        tracing::warn!(
            why = error.message(),
            "could not take back a stage that failed"
        );
    }
}

/// The defects that bite before anything is done.
fn misbehave(driver: &Driver, volume: &Volume) {
    if driver.defects.has(Defect::DIES) && volume.filesystem == Some(Filesystem::Xfs) {
        std::process::abort();
    }
    if driver.defects.has(Defect::FORMAT_ON_UNREADABLE) {
        // A disk that was cut short is made long again, and then looks blank.
        let _ = file::set_length_at_least(&driver.image(volume), volume.capacity_bytes);
    }
    if driver.defects.has(Defect::ZOMBIE_CHILDREN) {
        command::start_and_forget("true");
    }
}

impl Driver {
    /// The defect formatted-in-memory: whether this process has formatted the volume.
    fn remembers_formatted(&self, id: &str) -> bool {
        static FORMATTED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
        let mut formatted = FORMATTED.lock().unwrap_or_else(PoisonError::into_inner);
        !self.defects.has(Defect::FORMATTED_IN_MEMORY) || !formatted.insert(id.to_owned())
    }

    /// The defect stage-error-dir-then-ok: whether a stage failed here before.
    fn failed_stage(&self, path: &Path) -> bool {
        let failed = self.failed_stages.lock();
        failed
            .unwrap_or_else(PoisonError::into_inner)
            .contains(path)
    }

    fn remember_failed_stage(&self, path: &Path) {
        if self.defects.has(Defect::STAGE_ERROR_DIR_THEN_OK) {
            let failed = self.failed_stages.lock();
            failed
                .unwrap_or_else(PoisonError::into_inner)
                .insert(path.to_owned());
        }
    }
}
