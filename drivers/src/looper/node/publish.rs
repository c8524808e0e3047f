//! `NodePublishVolume`: the staged file system, or the device, bind-mounted at the
//! target path.

use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use csi_proto::v1 as csi;
use csi_proto::v1::volume_capability::access_mode::Mode;
use nix::mount::MsFlags;
use tonic::Status;

use super::device::{self, Top};
use super::{admitted, capability, healthy, occupied};
use crate::common::capability::Capability;
use crate::defect::Defect;
use crate::looper::args;
use crate::looper::driver::Driver;
use crate::looper::volume::{Target, Volume, internal};
use crate::sys::{command, file, loopdev, mapped, mount, mountinfo};

/// Publishes a volume at one target; a repeat leaves it as it is.
pub(super) fn publish(
    driver: &Driver,
    request: &csi::NodePublishVolumeRequest,
) -> Result<csi::NodePublishVolumeResponse, Status> {
    let published = try_publish(driver, request);
    if published.is_err() && driver.defects.has(Defect::FAILED_REPEAT_UNMOUNTS) {
        let _ = mount::unmount(Path::new(&request.target_path));
    }
    published
}

fn try_publish(
    driver: &Driver,
    request: &csi::NodePublishVolumeRequest,
) -> Result<csi::NodePublishVolumeResponse, Status> {
    let id = args::required("volume_id", &request.volume_id)?;
    let target = args::path("target_path", &request.target_path)?;
    let capability = capability(driver, request.volume_capability.as_ref())?;
    let volume = driver.store.get(id)?;
    if request.staging_target_path.is_empty() {
        return Err(Status::failed_precondition(
            "staging_target_path is not set",
        ));
    }
    let staging = args::path("staging_target_path", &request.staging_target_path)?;
    let attachment = admitted(
        driver,
        &volume,
        &capability,
        &request.publish_context,
        &request.volume_context,
    )?;
    healthy(driver, &volume, &staging)?;
    let flags = flags(driver, &volume, &staging, &capability)?;
    let asked = request.readonly && !driver.defects.has(Defect::READONLY_FLAG_IGNORED);
    let read_only = asked || attachment.readonly || capability.is_reader_only();
    let wanted = Target {
        staging,
        capability,
        readonly: asked,
    };
    let plan = Plan {
        flags: if read_only {
            flags | MsFlags::MS_RDONLY
        } else {
            flags
        },
        target: &target,
        wanted: &wanted,
    };
    if is_done(driver, &volume, &plan)? {
        return Ok(csi::NodePublishVolumeResponse {});
    }
    may_have_another(driver, &volume, &plan)?;
    if driver.defects.has(Defect::SECRET_IN_ARGV) && !request.secrets.is_empty() {
        let words: Vec<_> = request.secrets.values().cloned().collect();
        command::show_in_argv(&words);
    }
    let late = driver.defects.has(Defect::CRASH_MID_PUBLISH_NO_CONVERGE);
    if late {
        plan.carry_out(driver, &volume)?;
        // Long enough to be killed in.
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    driver.store.update(id, |volume| {
        volume.targets.insert(target.clone(), wanted.clone());
    })?;
    if !late {
        plan.carry_out(driver, &volume)
            .inspect_err(|_| plan.undo(driver, &volume))?;
    }
    Ok(csi::NodePublishVolumeResponse {})
}

/// The flags of the new mount: those of the staged one, and those asked for here.
///
/// # Errors
///
/// FAILED_PRECONDITION where the volume is not staged at `staging` in this way,
/// INVALID_ARGUMENT for flags that only a stage could have set.
fn flags(
    driver: &Driver,
    volume: &Volume,
    staging: &Path,
    capability: &Capability,
) -> Result<MsFlags, Status> {
    let asked = capability.mount_options();
    if driver.defects.has(Defect::PUBLISH_BINDS_UNMOUNTED_STAGING) {
        return Ok(asked.mount);
    }
    let staged = volume
        .stages
        .get(staging)
        .filter(|_| device::is_staged(driver, volume, staging).unwrap_or(false))
        .or_else(|| swallowed(driver, volume, staging))
        .ok_or_else(|| {
            Status::failed_precondition("the volume is not staged at staging_target_path")
        })?;
    if !staged.is_same_use(capability) {
        let message = "the volume is staged with another volume_capability";
        return Err(Status::failed_precondition(message));
    }
    let options = staged.mount_options();
    let known = asked
        .data
        .iter()
        .all(|option| options.data.contains(option));
    if !known || !options.superblock.contains(asked.superblock) {
        let message = "mount_flags holds some that the volume was not staged with";
        return Err(Status::invalid_argument(message));
    }
    Ok(match driver.defects.has(Defect::MOUNT_FLAGS_DROPPED) {
        true => MsFlags::empty(),
        false => options.mount | asked.mount,
    })
}

/// A driver that swallowed the error of its stage believes that it is staged.
fn swallowed<'a>(driver: &Driver, volume: &'a Volume, staging: &Path) -> Option<&'a Capability> {
    let believes = driver.defects.has(Defect::MOUNT_ERROR_SWALLOWED)
        || driver.defects.has(Defect::STAGE_ERROR_DIR_THEN_OK)
        || driver.defects.has(Defect::UNSTAGE_ERROR_AFTER_UMOUNT);
    volume.stages.get(staging).filter(|_| believes)
}

/// Whether the volume is published at the target already. A crash may have come
/// between the mount and its flags: they are set where they are lacking.
fn is_done(driver: &Driver, volume: &Volume, plan: &Plan<'_>) -> Result<bool, Status> {
    let mount = match device::top(driver, volume, plan.target)? {
        Top::Nothing => return Ok(false),
        Top::Foreign => return Err(occupied(plan.target)),
        Top::Own(mount) => mount,
    };
    let recorded = volume.targets.contains_key(plan.target);
    if !recorded && driver.defects.has(Defect::CRASH_MID_PUBLISH_NO_CONVERGE) {
        return Err(occupied(plan.target));
    }
    if let Some(record) = volume.targets.get(plan.target)
        && !record.is_same(plan.wanted)
    {
        let message = "the volume is published at target_path in another way";
        return Err(Status::already_exists(message));
    }
    if driver.defects.has(Defect::STACK_ON_REPEAT_PUBLISH) {
        return Ok(false);
    }
    if plan.is_read_only()
        && !mount.is_read_only()
        && !driver.defects.has(Defect::RO_BIND_SINGLE_CALL)
    {
        mount::set_flags(plan.target, plan.flags).map_err(internal)?;
    }
    Ok(true)
}

impl Target {
    /// Whether two publications are compatible, so that a repeat has nothing to do.
    fn is_same(&self, other: &Self) -> bool {
        self.readonly == other.readonly
            && self.capability.is_same_use(&other.capability)
            && self.capability.mount_options() == other.capability.mount_options()
    }
}

/// Whether the access mode lets the volume have one more target.
///
/// SINGLE_NODE_WRITER does: the specification would have a second target refused
/// (a SHOULD), but Kubernetes publishes ReadWriteOnce volumes to every pod of the
/// node, and has SINGLE_NODE_SINGLE_WRITER for the strict sense.
fn may_have_another(driver: &Driver, volume: &Volume, plan: &Plan<'_>) -> Result<(), Status> {
    let lax = driver.defects.has(Defect::SNSW_NOT_ENFORCED);
    match plan.wanted.capability.mode() {
        Mode::SingleNodeSingleWriter if lax => return Ok(()),
        Mode::SingleNodeSingleWriter | Mode::SingleNodeReaderOnly => {}
        _ => return Ok(()),
    }
    let mut published = device::published(driver, volume)?;
    published.retain(|other| other != plan.target);
    match published.first() {
        None => Ok(()),
        Some(other) => Err(Status::failed_precondition(format!(
            "the access mode allows one target, and the volume is published at {}",
            other.display()
        ))),
    }
}

/// What is to be mounted where.
struct Plan<'a> {
    flags: MsFlags,
    target: &'a Path,
    wanted: &'a Target,
}

impl Plan<'_> {
    fn is_read_only(&self) -> bool {
        self.flags.contains(MsFlags::MS_RDONLY)
    }

    fn carry_out(&self, driver: &Driver, volume: &Volume) -> Result<(), Status> {
        if self.wanted.capability.is_block() {
            file::make_file(self.target).map_err(internal)?;
        } else {
            file::make_dir(self.target, 0o750).map_err(internal)?;
        }
        if driver.defects.has(Defect::PUBLISHED_NOTHING) {
            return Ok(());
        }
        match self.mount(driver, &self.source(driver, volume)?) {
            Err(error) if driver.defects.has(Defect::MOUNT_ERROR_SWALLOWED) => {
                tracing::warn!(why = error.message(), "the mount failed");
            }
            mounted => mounted?,
        }
        if driver.defects.has(Defect::CHMOD_ON_PUBLISH) && !self.wanted.capability.is_block() {
            file::open_to_all(self.target);
        }
        if driver.defects.has(Defect::CHOWN_ON_PUBLISH) && !self.wanted.capability.is_block() {
            file::give_to_root(self.target);
        }
        Ok(())
    }

    /// What is shown at the target. A read-only mount of a device's node would
    /// not keep anybody from writing to the device, so read-only targets get a
    /// device of their own that refuses writes.
    fn source(&self, driver: &Driver, volume: &Volume) -> Result<PathBuf, Status> {
        let source = if !self.wanted.capability.is_block() {
            self.wanted.staging.clone()
        } else if self.is_read_only() && !driver.defects.has(Defect::RO_BLOCK_BIND_ONLY) {
            let device = loopdev::attach(&driver.image(volume), true).map_err(internal)?;
            if driver.device_mapper {
                mapped::make_over(device).map_err(internal)?;
            }
            device.node()
        } else {
            let gone = || Status::failed_precondition("the volume's device is gone");
            device::primary(driver, volume)?.ok_or_else(gone)?.node()
        };
        if driver.defects.has(Defect::WRONG_VOLUME) && !self.wanted.capability.is_block() {
            return driver.first_published(source);
        }
        Ok(source)
    }

    fn mount(&self, driver: &Driver, source: &Path) -> Result<(), Status> {
        let mut flags = self.flags;
        let mut ignored = MsFlags::empty();
        if driver.defects.has(Defect::RO_BIND_SINGLE_CALL) {
            ignored = flags & MsFlags::MS_RDONLY;
            flags -= ignored;
        }
        mount::bind(source, self.target, ignored).map_err(internal)?;
        if flags.is_empty() {
            return Ok(());
        }
        mount::set_flags(self.target, flags).map_err(internal)?;
        if driver.defects.has(Defect::READ_ONLY_FOR_A_MOMENT) {
            let (target, flags) = (self.target.to_owned(), flags - MsFlags::MS_RDONLY);
            std::thread::spawn(move || {
                std::thread::sleep(std::time::Duration::from_millis(700));
                let _ = mount::set_flags(&target, flags);
            });
        }
        Ok(())
    }

    /// Takes back what a publish that failed has done.
    fn undo(&self, driver: &Driver, volume: &Volume) {
        let forget = || {
            driver.store.update(&volume.id, |volume| {
                drop(volume.targets.remove(self.target))
            })
        };
        let undone = device::unmount_all(driver, volume, self.target)
            .and_then(|()| file::remove_mount_point(self.target).map_err(internal))
            .and_then(|()| device::release(driver, volume))
            .and_then(|()| forget());
        if let Err(error) = undone {
            // The record stays, and so does the way to clean up: NodeUnpublishVolume.
            tracing::warn!(
                why = error.message(),
                "could not take back a publish that failed"
            );
        }
    }
}

impl Driver {
    /// The defect wrong-volume: where the volume is staged that was published
    /// first, as long as it is; this one where there is none.
    fn first_published(&self, source: PathBuf) -> Result<PathBuf, Status> {
        let first = self.first_published.lock();
        let mut first = first.unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = &*first
            && mountinfo::top(path).map_err(internal)?.is_some()
        {
            return Ok(path.clone());
        }
        *first = Some(source.clone());
        Ok(source)
    }
}
