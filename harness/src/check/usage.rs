//! What lies in a volume, and what its file system says of that.

use csi_proto::rpc;
use csi_proto::v1;
use csi_proto::v1::node_service_capability::rpc::Type as NodeRpc;

use super::marker::Marker;
use super::published::Published;
use super::see;
use super::stop::{Checked, Stop};
use crate::node::look::MAX_BYTES;
use crate::node::{Look, Seen};

/// How far a number may be from the kernel's: metadata comes and goes, in bytes.
const SLACK: u64 = 1 << 20;

/// Free and used bytes of a file system, each from the least that it can be said to be
/// to the most: some blocks are root's alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// All bytes.
    pub total: u64,
    free: u64,
    available: u64,
}

impl Usage {
    fn slack(&self) -> u64 {
        SLACK.max(self.total / 50)
    }

    fn is_within(&self, told: i64, least: u64, most: u64) -> bool {
        let told = u64::try_from(told).unwrap_or_default();
        least.saturating_sub(self.slack()) <= told && told <= most + self.slack()
    }

    /// Whether so many bytes can be said to be free.
    pub fn has_available(&self, told: i64) -> bool {
        self.is_within(told, self.available, self.free)
    }

    /// Whether so many bytes can be said to be used.
    pub fn has_used(&self, told: i64) -> bool {
        let all_but = |left: u64| self.total.saturating_sub(left);
        self.is_within(told, all_but(self.free), all_but(self.available))
    }
}

impl Published<'_> {
    /// Fills so many bytes of a mounted volume, all of them on its disk afterwards.
    ///
    /// # Errors
    /// They cannot be written, or we are not allowed to.
    pub async fn fill(&self, bytes: u64) -> Checked {
        self.is_for_writing()?;
        self.may_write()?;
        self.is_still_there("before a write").await?;
        let marker = Marker::new()?;
        let piece = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX);
        for number in 0..bytes.div_ceil(piece) {
            let content = marker.bytes().into_iter().cycle().take(MAX_BYTES);
            let name = format!("{}-{number}", marker.file());
            let look = Look::WriteFile {
                path: self.target().ours.join(name),
                offset: 0,
                bytes: content.collect(),
                create: true,
                truncate: true,
                fsync: true,
            };
            let written = see::look(self.cx(), look).await?;
            written.map_err(|error| Stop::Unknown(format!("fill the volume: {error}")))?;
        }
        self.cx().fact("written", format!("{bytes} bytes, synced"));
        Ok(())
    }

    /// Asks for its statistics, where the driver has any; the answer is of no matter.
    ///
    /// # Errors
    /// No answer.
    pub async fn try_stats(&self) -> Checked {
        let cx = self.cx();
        if !cx.facts().node_can(NodeRpc::GetVolumeStats) {
            return Ok(());
        }
        let staging = self.staged.path().map(|path| path.drivers.clone());
        let request = v1::NodeGetVolumeStatsRequest {
            volume_id: self.staged.volume().id(),
            volume_path: self.target.drivers.clone(),
            staging_target_path: staging.unwrap_or_default(),
        };
        let _ = cx
            .ask_patiently::<rpc::NodeGetVolumeStats>(&request)
            .await?;
        Ok(())
    }

    /// What the file system at the target says of itself: statfs(2).
    ///
    /// # Errors
    /// It does not answer.
    pub async fn usage(&self) -> Result<Usage, Stop> {
        let look = Look::StatFs {
            path: self.target().ours.clone(),
        };
        match see::look(self.cx(), look).await? {
            Ok(Seen::StatFs(said)) => Ok(Usage {
                total: said.blocks * said.block_size,
                free: said.blocks_free * said.block_size,
                available: said.blocks_available * said.block_size,
            }),
            other => Err(Stop::Unknown(format!("statfs of the target: {other:?}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reserved_is_free_or_used() {
        const MIB: u64 = 1 << 20;
        let usage = Usage {
            total: 100 * MIB,
            free: 60 * MIB,
            available: 50 * MIB,
        };
        let mib = |n: u64| i64::try_from(n * MIB).expect("small");
        for told in [48, 50, 55, 60, 62] {
            assert!(usage.has_available(mib(told)), "{told}");
        }
        for told in [38, 40, 50, 52] {
            assert!(usage.has_used(mib(told)), "{told}");
        }
        assert!(!usage.has_available(mib(47)) && !usage.has_available(mib(63)));
        assert!(!usage.has_used(mib(37)) && !usage.has_used(0) && !usage.has_used(-1));
    }
}
