//! Calls that are made while something hangs, and what others do meanwhile.

use std::time::{Duration, Instant};

use csi_proto::rpc;
use csi_proto::v1;
use csi_proto::v1::node_service_capability::rpc::Type as NodeRpc;

use super::attempt::AWAY;
use super::cx::Asked;
use super::published::Published;
use super::see;
use super::staged::Staged;
use super::stop::{Checked, Stop};
use crate::node::{Look, LookError};

/// What became of volumes elsewhere while something hung.
#[derive(Debug, Clone, Copy)]
pub struct Company {
    /// How long their calls took.
    took: Duration,
    /// When the last of them was answered.
    ended: Instant,
}

impl Company {
    fn since(began: Instant) -> Self {
        let ended = Instant::now();
        Self {
            took: ended - began,
            ended,
        }
    }

    /// They went on as usual while other calls hung that ended then; `usual` is how
    /// long they take with nothing in their way.
    ///
    /// # Errors
    /// They had to wait until those ended.
    pub fn did_not_wait(self, hung_until: Instant, usual: Self) -> Checked {
        let long = self.took > usual.took * 3 + Duration::from_secs(1);
        if long && self.ended > hung_until {
            return Err(Stop::fail(format!(
                "calls for a volume that is well took {:.1} s in place of {:.1} s: they waited until a call \
                 for one that hangs came to its end",
                self.took.as_secs_f64(),
                usual.took.as_secs_f64()
            )));
        }
        Ok(())
    }
}

impl Staged<'_> {
    /// Asks to take the staging back while what the volume lies on is away, and again
    /// for a moment if it is refused. None: no answer.
    ///
    /// # Errors
    /// No connection, or no CSI.
    pub async fn unstage_into_fault(
        &self,
    ) -> Result<Option<Asked<v1::NodeUnstageVolumeResponse>>, Stop> {
        if self.path.is_none() {
            return Ok(Some(Asked::nothing_to_do("NodeUnstageVolume")));
        }
        self.volume
            .cx
            .insist_into_fault::<rpc::NodeUnstageVolume>(&self.unstage_request())
            .await
    }
}

impl Published<'_> {
    /// Asks for its usage while its server is away. None: no answer.
    ///
    /// # Errors
    /// No connection, or no CSI.
    pub async fn stats_into_fault(
        &self,
    ) -> Result<Option<Asked<v1::NodeGetVolumeStatsResponse>>, Stop> {
        let request = v1::NodeGetVolumeStatsRequest {
            volume_id: self.staged.volume.id(),
            volume_path: self.target.drivers.clone(),
            staging_target_path: self.request.staging_target_path.clone(),
        };
        self.cx()
            .ask_into_fault::<rpc::NodeGetVolumeStats>(&request)
            .await
    }

    /// Asks to take it back while its server is away. None: no answer.
    ///
    /// # Errors
    /// No connection, or no CSI.
    pub async fn unpublish_into_fault(
        &self,
    ) -> Result<Option<Asked<v1::NodeUnpublishVolumeResponse>>, Stop> {
        self.cx()
            .insist_into_fault::<rpc::NodeUnpublishVolume>(&self.unpublish_request())
            .await
    }

    /// The same, and again for a moment if it is refused.
    ///
    /// # Errors
    /// No connection, or no CSI.
    pub async fn insist_unpublish_into_fault(
        &self,
    ) -> Result<Option<Asked<v1::NodeUnpublishVolumeResponse>>, Stop> {
        self.cx()
            .insist_into_fault::<rpc::NodeUnpublishVolume>(&self.unpublish_request())
            .await
    }

    /// Publishes it once more at the same place while its server is away. None: no
    /// answer.
    ///
    /// # Errors
    /// No connection, or no CSI.
    pub async fn publish_again_into_fault(
        &self,
    ) -> Result<Option<Asked<v1::NodePublishVolumeResponse>>, Stop> {
        self.cx()
            .ask_into_fault::<rpc::NodePublishVolume>(&self.request)
            .await
    }

    /// Whether the kernel gets nothing but errors from what is mounted here; in its
    /// words. None: it answers as ever.
    ///
    /// # Errors
    /// No answer in time, or our own.
    pub async fn is_dead(&self) -> Result<Option<String>, Stop> {
        let path = self.target.ours.clone();
        let dead = match see::look(self.cx(), Look::StatFs { path }).await? {
            Err(error @ LookError::Os { .. }) => Some(error.to_string()),
            _ => None,
        };
        self.cx().fact(
            "statfs",
            dead.clone().unwrap_or_else(|| "answers".to_owned()),
        );
        Ok(dead)
    }

    /// What goes on with it while others hang: it is probed, measured, taken back
    /// and published again.
    ///
    /// # Errors
    /// A call was refused, or had no answer.
    pub async fn goes_on(&self) -> Result<Company, Stop> {
        let began = Instant::now();
        self.goes_on_where_it_is().await?;
        due(self.unpublish_into_fault().await?, "NodeUnpublishVolume")?;
        due(self.publish_again_into_fault().await?, "NodePublishVolume")?;
        Ok(Company::since(began))
    }

    /// The same, and it is not moved: it is probed and measured.
    ///
    /// # Errors
    /// A call was refused, or had no answer.
    pub async fn goes_on_where_it_is(&self) -> Result<Company, Stop> {
        let cx = self.cx();
        let began = Instant::now();
        due(
            cx.ask_into_fault::<rpc::Probe>(&v1::ProbeRequest {})
                .await?,
            "Probe",
        )?;
        if cx.facts().node_can(NodeRpc::GetVolumeStats) {
            due(self.stats_into_fault().await?, "NodeGetVolumeStats")?;
        }
        Ok(Company::since(began))
    }
}

fn due<T>(asked: Option<Asked<T>>, rpc: &str) -> Checked {
    let what = match asked {
        Some(asked) => match asked.refusal() {
            None => return Ok(()),
            Some(refusal) => format!("{rpc} answered {}", refusal.code),
        },
        None => format!("{rpc} had no answer within {AWAY:?}"),
    };
    Err(Stop::fail(format!(
        "{what} for a volume that is well, while calls for one that hangs were under way"
    )))
}
