//! The steps of a volume's life, each of which has one owner.

use std::fmt;

pub use crate::lab::Access;

/// One step. Exactly one check owns its failure; to all others, a failed step
/// is `blocked`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// The driver answers every call by its deadline.
    Answers,
    /// The driver stays alive.
    Alive,
    /// The driver's answers are CSI.
    Speaks,
    /// The driver that was killed comes back when it is started again.
    ComesBack,
    /// Its mounts reach the caller's namespace.
    Propagates,
    /// `CreateVolume`.
    Create,
    /// `DeleteVolume`.
    Delete,
    /// `CreateSnapshot`.
    Snapshot,
    /// `DeleteSnapshot`.
    DeleteSnapshot,
    /// `CreateVolumeGroupSnapshot`.
    Group,
    /// `DeleteVolumeGroupSnapshot`.
    DeleteGroup,
    /// `CreateVolume` from a snapshot.
    Restore,
    /// `CreateVolume` from another volume.
    Clone,
    /// `ControllerPublishVolume`.
    Attach,
    /// `ControllerUnpublishVolume`.
    Detach,
    /// `NodeStageVolume`.
    Stage(Access),
    /// `NodePublishVolume`, and the volume is there.
    Publish(Access),
    /// A writer may write: the marker is taken.
    Write(Access),
    /// `NodeUnpublishVolume`, and no mount is left.
    Unpublish(Access),
    /// The target path is removed.
    TargetGone(Access),
    /// `NodeUnstageVolume`, and no mount is left.
    Unstage(Access),
    /// The device that stage made is released.
    DeviceGone,
}

impl Step {
    /// Every step there is.
    pub const ALL: [Self; 28] = [
        Self::Answers,
        Self::Alive,
        Self::Speaks,
        Self::ComesBack,
        Self::Propagates,
        Self::Create,
        Self::Delete,
        Self::Snapshot,
        Self::DeleteSnapshot,
        Self::Group,
        Self::DeleteGroup,
        Self::Restore,
        Self::Clone,
        Self::Attach,
        Self::Detach,
        Self::Stage(Access::Mount),
        Self::Stage(Access::Block),
        Self::Publish(Access::Mount),
        Self::Publish(Access::Block),
        Self::Write(Access::Mount),
        Self::Write(Access::Block),
        Self::Unpublish(Access::Mount),
        Self::Unpublish(Access::Block),
        Self::TargetGone(Access::Mount),
        Self::TargetGone(Access::Block),
        Self::Unstage(Access::Mount),
        Self::Unstage(Access::Block),
        Self::DeviceGone,
    ];
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mount => "mount",
            Self::Block => "block",
        })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answers => f.write_str("answers by the deadline"),
            Self::Alive => f.write_str("stays alive"),
            Self::Speaks => f.write_str("speaks CSI"),
            Self::ComesBack => f.write_str("start of the driver"),
            Self::Propagates => f.write_str("mount propagation"),
            Self::Create => f.write_str("CreateVolume"),
            Self::Delete => f.write_str("DeleteVolume"),
            Self::Snapshot => f.write_str("CreateSnapshot"),
            Self::DeleteSnapshot => f.write_str("DeleteSnapshot"),
            Self::Group => f.write_str("CreateVolumeGroupSnapshot"),
            Self::DeleteGroup => f.write_str("DeleteVolumeGroupSnapshot"),
            Self::Restore => f.write_str("CreateVolume from a snapshot"),
            Self::Clone => f.write_str("CreateVolume from a volume"),
            Self::Attach => f.write_str("ControllerPublishVolume"),
            Self::Detach => f.write_str("ControllerUnpublishVolume"),
            Self::Stage(access) => write!(f, "NodeStageVolume ({access})"),
            Self::Publish(access) => write!(f, "NodePublishVolume ({access})"),
            Self::Write(access) => write!(f, "writing to the volume ({access})"),
            Self::Unpublish(access) => write!(f, "NodeUnpublishVolume ({access})"),
            Self::TargetGone(access) => write!(f, "removal of the target path ({access})"),
            Self::Unstage(access) => write!(f, "NodeUnstageVolume ({access})"),
            Self::DeviceGone => f.write_str("release of the device"),
        }
    }
}
