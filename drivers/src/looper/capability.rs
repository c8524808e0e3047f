//! Which ways of use this driver can serve.

use csi_proto::v1::volume_capability::access_mode::Mode;

use crate::common::capability::Capability;
use crate::sys::filesystem::Filesystem;
use crate::sys::mount::MountOptions;

impl Capability {
    /// The mount flags, sorted by who understands them.
    pub(super) fn mount_options(&self) -> MountOptions {
        MountOptions::parse(self.mount_flags())
    }

    /// Why this driver can serve no volume in this way, or that it can.
    pub(super) fn check(&self, filesystems: &[Filesystem]) -> Result<(), String> {
        match self.mode() {
            Mode::SingleNodeWriter
            | Mode::SingleNodeReaderOnly
            | Mode::SingleNodeSingleWriter
            | Mode::SingleNodeMultiWriter => {}
            // A file on one machine is seen by one machine.
            mode => return Err(format!("{} is not supported", mode.as_str_name())),
        }
        if self.has_mount_group() {
            return Err("volume_mount_group is not supported".to_owned());
        }
        match self.fs_type() {
            Some(name) if !filesystems.iter().any(|fs| fs.name() == name) => {
                Err("this fs_type is not supported on this node".to_owned())
            }
            _ => Ok(()),
        }
    }
}
