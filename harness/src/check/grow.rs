//! The expansion of a volume that is in use on the node.

use csi_proto::rpc;
use csi_proto::v1;
use csi_proto::v1::controller_service_capability::rpc::Type as ControllerRpc;
use csi_proto::v1::node_service_capability::rpc::Type as NodeRpc;
use csi_proto::v1::plugin_capability::volume_expansion::Type as Expansion;

use super::cx::Asked;
use super::published::Published;
use super::staged::Staged;
use super::step::Access;
use super::stop::{Checked, Stop};
use super::volume::Volume;
use crate::node::{Look, Mount, Seen};

impl Published<'_> {
    /// The size of what is at the target, in bytes: of the file system, or of
    /// the block device.
    ///
    /// # Errors
    /// It cannot be told.
    pub async fn size(&self) -> Result<u64, Stop> {
        let look = |path| match self.staged.volume.access() {
            Access::Mount => Look::StatFs { path },
            Access::Block => Look::OpenDevice { path, write: false },
        };
        match self.look(look).await? {
            Ok(Seen::StatFs(fs)) => Ok(fs.blocks * fs.block_size),
            Ok(Seen::Device(device)) => Ok(device.size),
            Ok(other) => Err(Stop::ours("look at a volume's size", format!("{other:?}"))),
            Err(error) => Err(Stop::fail(format!(
                "the volume cannot be looked at: {error}"
            ))),
        }
    }

    /// Whether it is as large as was promised, in bytes. A file system needs some of its
    /// device for itself, and half of it should do; a device that is encrypted is a little
    /// smaller, which is worth a warning.
    ///
    /// # Errors
    /// It is smaller, or cannot be looked at.
    pub async fn is_as_large_as(&self, promised: i64) -> Checked {
        let (size, promised) = (self.size().await?, promised.unsigned_abs());
        let what = format!("the volume has {promised} bytes by its driver, and {size} on the node");
        match self.staged.volume.access() {
            _ if size < promised / 2 => Err(Stop::fail(what)),
            Access::Block if size < promised => Err(Stop::Warn(what)),
            _ => Ok(()),
        }
    }

    /// Whether it is larger than before, and as large as was asked for, in bytes.
    ///
    /// # Errors
    /// It is not, or cannot be looked at.
    pub async fn has_grown(&self, before: u64, asked_for: i64) -> Checked {
        let after = self.size().await?;
        if after <= before {
            return Err(Stop::fail(format!(
                "{asked_for} bytes were asked for, every call answered OK, and the size is still {after}"
            )));
        }
        self.is_as_large_as(asked_for).await
    }

    /// The size, where it is the volume's own.
    ///
    /// # Errors
    /// It cannot be told; the volume is a folder of a larger file system, whose size says
    /// nothing of it.
    pub async fn own_size(&self) -> Result<u64, Stop> {
        let size = self.size().await?;
        match size > 3 * self.staged.volume.capacity().unsigned_abs() {
            true => Err(Stop::not_offered("volumes with a size of their own")),
            false => Ok(size),
        }
    }
}

impl Volume<'_> {
    /// Doubles its size while it is published, through the controller and the
    /// node as far as the driver has these, and the node's part twice. Gives the
    /// size that was asked for, in bytes.
    ///
    /// # Errors
    /// A call was refused; or the driver grows volumes only while nobody uses
    /// them; or the host cannot grow this file system.
    pub async fn grow(&self, target: &Published<'_>) -> Result<i64, Stop> {
        let (size, on_node) = self.grow_in_the_controller(target).await?;
        if on_node.is_some() {
            for _ in 0..2 {
                self.grow_nodes_part(target, size).await?;
            }
        }
        Ok(size)
    }

    /// The controller's part: the size that was asked for, and what is still to be
    /// asked of the node.
    pub(super) async fn grow_in_the_controller(
        &self,
        target: &Published<'_>,
    ) -> Result<(i64, Option<v1::NodeExpandVolumeRequest>), Stop> {
        let (size, on_node) = self.grow_online_in_the_controller().await?;
        let request = self.node_expand_request(&target.staged, &target.target.drivers, size);
        Ok((size, on_node.then_some(request)))
    }

    /// The controller's part while it is in use on a node: the size that was asked for,
    /// and whether the node has to do something too.
    async fn grow_online_in_the_controller(&self) -> Result<(i64, bool), Stop> {
        if !self
            .cx
            .facts()
            .expansion
            .contains(&(Expansion::Online as i32))
        {
            return Err(Stop::not_offered("ONLINE expansion"));
        }
        let size = self.twice();
        Ok((size, self.grow_controllers_part(size).await?))
    }

    /// Twice its size, in bytes.
    pub fn twice(&self) -> i64 {
        self.capacity().max(1 << 20).saturating_mul(2)
    }

    /// The controller's part of an expansion, where the driver has one; whether the
    /// node has to do something too.
    ///
    /// # Errors
    /// The call was refused.
    pub async fn grow_controllers_part(&self, size: i64) -> Result<bool, Stop> {
        let facts = self.cx.facts();
        let on_node = facts.node_can(NodeRpc::ExpandVolume);
        if !facts.controller_can(ControllerRpc::ExpandVolume) {
            return Ok(on_node);
        }
        let asked = self.ask_controller_to_grow(size).await?;
        Ok(asked.ok()?.node_expansion_required && on_node)
    }

    /// The same call, whatever the answer.
    ///
    /// # Errors
    /// No answer.
    pub async fn ask_controller_to_grow(
        &self,
        size: i64,
    ) -> Result<Asked<v1::ControllerExpandVolumeResponse>, Stop> {
        let request = v1::ControllerExpandVolumeRequest {
            volume_id: self.id(),
            capacity_range: range(size),
            secrets: self.cx.secrets("ControllerExpandVolume"),
            volume_capability: Some(self.capability()),
        };
        // Whatever the node's part comes to, no other check is to meet a volume that is
        // larger than its file system.
        self.with(|claim| claim.harmed = true);
        self.cx
            .ask_patiently::<rpc::ControllerExpandVolume>(&request)
            .await
    }

    /// The node's part of an expansion.
    ///
    /// # Errors
    /// The call was refused, or the host cannot grow this file system.
    pub async fn grow_nodes_part(&self, target: &Published<'_>, size: i64) -> Result<(), Stop> {
        let asked = self.ask_node_to_grow(target, size).await?;
        if asked.refusal().is_some() {
            self.may_grow_mounted(&target.mounts("now").await?)?;
        }
        asked.ok().map(drop)
    }

    async fn ask_node_to_grow(
        &self,
        target: &Published<'_>,
        size: i64,
    ) -> Result<Asked<v1::NodeExpandVolumeResponse>, Stop> {
        let request = self.node_expand_request(&target.staged, &target.target.drivers, size);
        self.cx
            .ask_patiently::<rpc::NodeExpandVolume>(&request)
            .await
    }

    /// The request that grows it on the node, at this path.
    pub fn node_expand_request(
        &self,
        staged: &Staged<'_>,
        volume_path: &str,
        size: i64,
    ) -> v1::NodeExpandVolumeRequest {
        let staging = staged.path.as_ref().map(|path| path.drivers.clone());
        v1::NodeExpandVolumeRequest {
            volume_id: self.id(),
            volume_path: volume_path.to_owned(),
            capacity_range: range(size),
            staging_target_path: staging.unwrap_or_default(),
            volume_capability: Some(self.capability()),
            secrets: self.cx.secrets("NodeExpandVolume"),
        }
    }

    /// The same, where the driver and the host can; what they cannot is no matter.
    ///
    /// # Errors
    /// A call was refused, or had no answer.
    pub async fn try_grow(&self, target: &Published<'_>) -> Result<(), Stop> {
        match self.grow(target).await {
            Ok(_) | Err(Stop::Lack(_)) => Ok(()),
            Err(stop) => Err(stop),
        }
    }

    /// Whether this host lets a file system grow while it is mounted: ext4 does so only
    /// for a process with `CAP_SYS_RESOURCE` (fs/ext4/ioctl.c), which a container's root
    /// often lacks.
    fn may_grow_mounted(&self, mounts: &[Mount]) -> Result<(), Stop> {
        let is_ext = |mount: &Mount| mount.fs_type.starts_with("ext");
        let lacks = self.access() == Access::Mount
            && mounts.iter().any(is_ext)
            && !self.cx.facts().has_cap_sys_resource;
        match lacks {
            false => Ok(()),
            true => Err(Stop::no_host(
                "CAP_SYS_RESOURCE, without which ext4 cannot grow while it is mounted",
            )),
        }
    }
}

impl Staged<'_> {
    /// Doubles the volume's size while it is staged and published nowhere. Gives the
    /// size that was asked for, in bytes.
    ///
    /// # Errors
    /// The driver does not stage, or grows volumes only while nobody uses them; the host
    /// cannot grow this file system; the controller refused; the node's refusal is a
    /// warning, since the kubelet asks at the target path since 1.19.
    pub async fn grow(&self) -> Result<i64, Stop> {
        let (volume, Some(path)) = (self.volume, &self.path) else {
            return Err(Stop::not_offered("STAGE_UNSTAGE_VOLUME"));
        };
        let (size, on_node) = volume.grow_online_in_the_controller().await?;
        if !on_node {
            return Ok(size);
        }
        let request = volume.node_expand_request(self, &path.drivers, size);
        let asked = volume
            .cx
            .ask_patiently::<rpc::NodeExpandVolume>(&request)
            .await?;
        if asked.refusal().is_some() {
            let mut mounts = self.mounts("now").await?;
            // Some mount a folder below.
            let table = volume.cx.mounts()?;
            mounts.extend(table.under(&path.ours).into_iter().cloned());
            volume.may_grow_mounted(&mounts)?;
        }
        match asked.ok() {
            Err(Stop::Fail(why)) => Err(Stop::Warn(format!("at the staging path: {why}"))),
            answered => answered.map(|_| size),
        }
    }
}

fn range(required_bytes: i64) -> Option<v1::CapacityRange> {
    Some(v1::CapacityRange {
        required_bytes,
        limit_bytes: 0,
    })
}
