//! The driver's process: which it is, whether it is there, and what may still be asked
//! of it.

use std::sync::PoisonError;
use std::time::Duration;

use csi_proto::rpc;
use csi_proto::v1;

use super::Session;
use crate::check::cx::Asked;
use crate::check::kind::Kind;
use crate::check::step::Step;
use crate::check::stop::Stop;
use crate::check::wait::Patience;
use crate::client::{Answer, Client, Reply};
use crate::node::MountTable;

impl Session {
    /// The pid of the driver's process, where it is known: our child's, or the
    /// user's word, or who bound the node socket.
    pub async fn driver_pid(&self) -> Option<u32> {
        if let Some(driver) = &self.driver {
            return Some(driver.lock().await.id().pid);
        }
        let driver = &self.config().driver;
        let written = || {
            std::fs::read_to_string(driver.pid_file.as_ref()?)
                .ok()?
                .trim()
                .parse()
                .ok()
        };
        let said = driver.pid.or_else(written);
        let pid = said.or_else(|| self.history().peers().last().copied())?;
        u32::try_from(pid).ok()
    }

    /// The mounts as the driver sees them; none where its namespace cannot be
    /// read.
    pub async fn drivers_mounts(&self) -> Option<MountTable> {
        if self.facts.no_driver_namespace.is_some() {
            return None;
        }
        MountTable::of(self.driver_pid().await?).ok()
    }

    /// Whether this may still be asked: not what was seen to kill the driver,
    /// nor what missed its deadline twice.
    pub(in crate::check) fn may_ask(&self, rpc: &str, kind: Option<&Kind>) -> Result<(), Stop> {
        let deadly = self.deadly.lock().unwrap_or_else(PoisonError::into_inner);
        if deadly
            .iter()
            .any(|(name, of)| name == rpc && of.as_ref() == kind)
        {
            let why = format!("{rpc} was seen to kill the driver; it is not asked again");
            return Err(Stop::Blocked {
                step: Step::Alive,
                why,
                refused: false,
            });
        }
        if self.history().missed_by(rpc) >= 2 {
            let why = format!("{rpc} missed its deadline twice; it is not asked again");
            return Err(Stop::Blocked {
                step: Step::Answers,
                why,
                refused: false,
            });
        }
        Ok(())
    }

    /// Remembers that this call, asked alone, killed the driver.
    pub fn is_deadly(&self, rpc: String, kind: Option<Kind>) {
        self.deadly
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((rpc, kind));
    }

    /// An answer, or which owner tells of there being none.
    pub(in crate::check) async fn judge_connection<T>(
        &self,
        reply: Reply<T>,
    ) -> Result<Asked<T>, Stop> {
        let reply = match Asked::from_reply(reply) {
            Ok(asked) => return Ok(asked),
            Err(reply) => reply,
        };
        let why = format!(
            "{}, call {}: {}",
            reply.record.rpc,
            reply.record.n,
            reply.answer.message()
        );
        let step = match reply.answer {
            Answer::Silent(_) => Step::Answers,
            Answer::Garbled(_) => Step::Speaks,
            _ if self.is_alive().await => Step::Speaks,
            _ => Step::Alive,
        };
        Err(Stop::Blocked {
            step,
            why,
            refused: false,
        })
    }

    /// What the driver that we started wrote to its output streams so far; none
    /// for one that others started.
    pub async fn driver_output(&self) -> Option<String> {
        let output = self.driver.as_ref()?.lock().await.output();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Some(text(&output.stdout) + &text(&output.stderr))
    }

    /// Whether the driver is there: it answers `Probe`.
    pub async fn is_alive(&self) -> bool {
        if let Some(driver) = &self.driver
            && driver.lock().await.exited().is_some()
        {
            return false;
        }
        let limit = Duration::from_secs(5).min(self.client.deadline("Probe"));
        for endpoint in self.client.endpoints() {
            let request = v1::ProbeRequest {};
            let probe = self
                .client
                .call_at::<rpc::Probe>(Some(endpoint), "", &request, limit);
            if !matches!(probe.await.answer, Answer::Ok(_) | Answer::Refused(_)) {
                return false;
            }
        }
        true
    }

    /// Waits until every socket of the driver answers `Probe` with ready: a
    /// socket file may be stale, and two sockets may come up seconds apart.
    ///
    /// # Errors
    /// What the last try saw.
    pub async fn wait_ready(client: &Client, limit: Duration, brisk: bool) -> Result<(), String> {
        for endpoint in client.endpoints() {
            let mut patience = if brisk {
                Patience::brisk(limit)
            } else {
                Patience::new(limit)
            };
            loop {
                let request = v1::ProbeRequest {};
                let reply = client
                    .call_at::<rpc::Probe>(Some(endpoint), "", &request, limit)
                    .await;
                let not_yet = match reply.answer {
                    Answer::Ok(ref probe) if probe.ready != Some(false) => break,
                    Answer::Ok(_) => "Probe answers ready=false".to_owned(),
                    // A driver without Probe is a finding, not a driver that is away.
                    Answer::Refused(ref refusal)
                        if refusal.code == crate::client::Code::UNIMPLEMENTED =>
                    {
                        break;
                    }
                    ref other => other.message(),
                };
                if !patience.wait().await {
                    return Err(format!("{endpoint}: {not_yet}"));
                }
            }
        }
        Ok(())
    }

    /// As [`Session::wait_ready`] for a driver that should be there already: an
    /// endpoint where nobody listens, or no gRPC is spoken, is told of within a
    /// second.
    ///
    /// # Errors
    /// What the last try saw.
    pub async fn wait_present(client: &Client, limit: Duration) -> Result<(), String> {
        let mut patience = Patience::brisk(Duration::from_millis(500));
        loop {
            let mut said = Vec::new();
            for endpoint in client.endpoints() {
                let request = v1::ProbeRequest {};
                let probe = client.call_at::<rpc::Probe>(Some(endpoint), "", &request, limit);
                match probe.await.answer {
                    answer @ (Answer::Unreachable(_) | Answer::Broken(_)) => {
                        said.push(format!("{endpoint}: {}", answer.message()));
                    }
                    // One of them is there: the other may still be coming up.
                    _ => return Self::wait_ready(client, limit, false).await,
                }
            }
            if !patience.wait().await {
                return Err(said.join("; "));
            }
        }
    }
}
