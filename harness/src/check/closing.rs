//! What a session does when the driver died, and when the run ends.

use std::time::Duration;

use csi_proto::rpc;
use csi_proto::v1;

use super::claims::VolumeClaim;
use super::model::Check;
use super::outcome::LedgerEntry;
use super::session::{LOOK, Session};
use super::step::Step;
use super::wait::{HURRY, Patience};
use crate::client::Answer;
use crate::lab;
use crate::node::{LoopDevice, MountTable};

impl Session {
    /// The longest that a body can take: all its calls, each until its
    /// deadline, and a look that hangs, after which it ends.
    pub fn body_limit(&self, check: &Check) -> Duration {
        self.client.longest_deadline() * (check.calls + 1) + LOOK * 2
    }

    /// Starts the driver again where we can, else waits a little for whoever
    /// looks after it to do so. The death goes into the history.
    ///
    /// # Errors
    /// It does not come back: why, in words.
    pub async fn revive(&self) -> Result<(), String> {
        let limit = self.config().driver.ready_timeout;
        let Some(driver) = &self.driver else {
            self.history().died("it stopped answering".into());
            return Self::wait_ready(&self.client, limit.min(Duration::from_secs(10)), true).await;
        };
        let mut driver = driver.lock().await;
        let how = driver.wait_exit(Duration::from_secs(2)).await;
        let how = how.map_or_else(|| "it stopped answering".to_owned(), |how| how.to_string());
        self.history().died(how);
        self.driver_disturbed(None).await;
        driver.restart().await.map_err(|e| e.to_string())?;
        self.driver_is(driver.id());
        drop(driver);
        Self::wait_ready(&self.client, limit, true).await
    }

    /// Deletes a volume that was created for us.
    ///
    /// # Errors
    /// Why it stays, in words.
    pub async fn delete(&self, volume: &VolumeClaim, check: &str) -> Result<(), String> {
        let volume_id = volume.id.clone().ok_or("its id was never told")?;
        let request = v1::DeleteVolumeRequest {
            volume_id,
            secrets: self.secrets("DeleteVolume"),
        };
        if self.history().missed_by("DeleteVolume") >= 2 {
            return Err("DeleteVolume is not asked again".into());
        }
        let limit = match self.is_interrupted() {
            true => HURRY,
            false => self.client.deadline("DeleteVolume"),
        };
        let mut patience = Patience::new(limit);
        loop {
            match self
                .client
                .call::<rpc::DeleteVolume>(check, &request)
                .await
                .answer
            {
                Answer::Ok(_) => {
                    self.strike_out_volume(
                        &request.volume_id,
                        &volume.name.clone().unwrap_or_default(),
                    );
                    return Ok(());
                }
                Answer::Refused(refusal)
                    if refusal.code.is_transient() && patience.wait().await => {}
                other => {
                    return Err(format!(
                        "DeleteVolume: {}: {}",
                        other.code_word(),
                        other.message()
                    ));
                }
            }
        }
    }

    /// Lets the quiet period pass: the one for all checks, after the last of them
    /// that a late mount could be charged to. What we broke is well by then.
    pub async fn quiet_period(&self) {
        tokio::time::sleep(self.quiet()).await;
    }

    /// How long that is.
    pub fn quiet(&self) -> Duration {
        self.config().quiet()
    }

    /// After the quiet period: deletes the volumes that served many, and looks once
    /// more for what is left or came late.
    pub async fn close(&self, gone: bool) -> Vec<(Option<Step>, LedgerEntry)> {
        let mut stayed = Vec::new();
        for volume in self.drain_pool() {
            let told = if gone {
                Err("the driver is gone".to_owned())
            } else {
                self.delete(&volume, "").await
            };
            if let Err(why) = told {
                let object = volume.id.clone().unwrap_or_default();
                stayed.push((
                    Some(Step::Delete),
                    entry("volume", object, format!("left: {why}")),
                ));
            }
        }
        for mount in self.mounts_left() {
            stayed.push((None, entry("mount", mount, "removed by force".to_owned())));
        }
        // What nobody could be asked to take back is no finding of its own.
        for (_, entry) in stayed.iter().filter(|_| !gone) {
            self.remember_left(format!("{} {}", entry.what, entry.object));
        }
        for folder in self.layout.owned() {
            lab::take_down(&folder).await;
        }
        stayed
    }

    /// Releases what loop devices still carry files of a driver of our own,
    /// also those that no check came to see.
    pub async fn release_all(&self) -> Vec<LedgerEntry> {
        let Some(scratch) = &self.scratch else {
            return Vec::new();
        };
        // By the file system and not by the path: another run, in a namespace of
        // its own, has its scratch at the same place.
        let scratch = scratch.clone();
        let told = tokio::task::spawn_blocking(move || lab::release_all_on_scratch(&scratch)).await;
        let told = told.unwrap_or_default().into_iter();
        told.map(|(device, then)| entry("loop device", device, then.to_string()))
            .collect()
    }

    /// The mounts below our own folders, in the order of the table.
    fn mounts_left(&self) -> Vec<String> {
        let Ok(table) = MountTable::ours() else {
            return Vec::new();
        };
        let folders = self.layout.owned();
        let below = folders.iter().flat_map(|folder| table.under(folder));
        below.map(|mount| mount.line()).collect()
    }

    /// Releases a loop device that stayed, if it carries a file of a driver
    /// that we started ourselves; in words, what became of it.
    pub(super) async fn release(&self, device: &LoopDevice) -> String {
        match &self.scratch {
            Some(scratch) if device.backing.starts_with(scratch) => {
                match lab::Entry::loop_device(device.number, &device.backing) {
                    Ok(seen) => tokio::task::spawn_blocking(move || lab::release_loop(&seen))
                        .await
                        .unwrap_or_else(|error| format!("left: {error}")),
                    Err(error) => format!("left: {error}"),
                }
            }
            _ => "left: the device is the driver's".to_owned(),
        }
    }
}

fn entry(what: &str, object: String, then: String) -> LedgerEntry {
    LedgerEntry {
        check: String::new(),
        what: what.to_owned(),
        object,
        owner: None,
        then,
    }
}
