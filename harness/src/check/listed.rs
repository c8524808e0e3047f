//! The volumes that the driver itself lists.

use std::collections::{BTreeMap, BTreeSet};

use csi_proto::rpc;
use csi_proto::v1;
use csi_proto::v1::controller_service_capability::rpc::Type as ControllerRpc;
use csi_proto::v1::list_volumes_response::Entry;

use super::cx::{Asked, Cx};
use super::stop::{Checked, Stop};
use super::volume::Volume;
use crate::client::Code;

/// What a driver lists: sizes in bytes by id.
#[derive(Debug, Clone)]
pub struct Listed(BTreeMap<String, i64>);

/// No list is longer, nor has more pages.
const MOST_PAGES: usize = 1000;

impl Cx {
    /// The volumes that the driver lists; none: it does not offer that, or cannot
    /// tell now.
    ///
    /// # Errors
    /// No answer.
    pub async fn listed(&self) -> Result<Option<Listed>, Stop> {
        if !self.facts().controller_can(ControllerRpc::ListVolumes) {
            return Ok(None);
        }
        let entries = match self.list_all().await {
            Ok(entries) => entries,
            Err(Stop::Fail(_)) => return Ok(None),
            Err(stop) => return Err(stop),
        };
        let volumes = entries.into_iter().filter_map(|entry| entry.volume);
        Ok(Some(Listed(
            volumes
                .map(|volume| (volume.volume_id, volume.capacity_bytes))
                .collect(),
        )))
    }

    /// All that the driver lists, on pages as large as it likes.
    ///
    /// # Errors
    /// It was refused, there is no end of pages, or no answer.
    pub async fn list_all(&self) -> Result<Vec<Entry>, Stop> {
        let (mut entries, mut token) = (Vec::new(), String::new());
        for _ in 0..MOST_PAGES {
            let page = self.list_page(0, token).await?.ok()?;
            entries.extend(page.entries);
            token = page.next_token;
            if token.is_empty() {
                return Ok(entries);
            }
        }
        Err(Stop::fail(format!(
            "{MOST_PAGES} pages of ListVolumes were read, and there is always one more"
        )))
    }

    /// All that the driver lists, in pages of so many entries, from the first to the last:
    /// with the same `max_entries` for each, since a token may well be the number of a page.
    /// Ends where the pages begin anew.
    ///
    /// # Errors
    /// A page holds more, it was refused, or no answer.
    pub async fn list_in_pages(&self, entries: usize) -> Result<Vec<Entry>, Stop> {
        let max_entries = i32::try_from(entries).unwrap_or(i32::MAX);
        let (mut all, mut token) = (Vec::<Entry>::new(), String::new());
        for _ in 0..MOST_PAGES {
            let page = self.list_page(max_entries, token).await?.ok()?;
            if page.entries.len() > entries {
                return Err(Stop::fail(format!(
                    "max_entries is {entries}, and there are {} entries",
                    page.entries.len()
                )));
            }
            let anew = page.entries.iter().any(|entry| all.contains(entry));
            all.extend(page.entries);
            token = page.next_token;
            if token.is_empty() || anew {
                break;
            }
        }
        Ok(all)
    }

    /// The ids of all snapshots of this volume, read on pages of one entry each.
    ///
    /// # Errors
    /// The call was refused, or there is no end of pages.
    pub async fn snapshots_page_by_page(&self, of: &Volume<'_>) -> Result<Vec<String>, Stop> {
        let mut request = v1::ListSnapshotsRequest {
            source_volume_id: of.id(),
            max_entries: 1,
            secrets: self.secrets("ListSnapshots"),
            ..Default::default()
        };
        let mut ids = Vec::new();
        for _ in 0..MOST_PAGES {
            let asked = self.ask_patiently::<rpc::ListSnapshots>(&request).await?;
            // There are storages that give no pages so small.
            let refused = asked.refusal().map(|refusal| refusal.code);
            if refused == Some(Code::INVALID_ARGUMENT) {
                return Err(Stop::not_offered("pages of one snapshot"));
            }
            let page = asked.ok()?;
            let found = page.entries.into_iter().filter_map(|entry| entry.snapshot);
            ids.extend(found.map(|snapshot| snapshot.snapshot_id));
            request.starting_token = page.next_token;
            if request.starting_token.is_empty() {
                return Ok(ids);
            }
        }
        Err(Stop::fail(format!(
            "{MOST_PAGES} pages of ListSnapshots were read, and there is always one more"
        )))
    }

    /// One page of at most so many entries; 0: as many as the driver likes.
    ///
    /// # Errors
    /// No answer.
    async fn list_page(
        &self,
        max_entries: i32,
        starting_token: String,
    ) -> Result<Asked<v1::ListVolumesResponse>, Stop> {
        let request = v1::ListVolumesRequest {
            max_entries,
            starting_token,
        };
        self.ask_patiently::<rpc::ListVolumes>(&request).await
    }

    /// All that is listed now and was not before is what this check created: each
    /// name stands for one volume. Others may create volumes too; one of another size
    /// than ours is theirs.
    ///
    /// # Errors
    /// The finding.
    pub async fn created_nothing_else_since(&self, before: &Listed) -> Checked {
        let Some(now) = self.listed().await? else {
            return Ok(());
        };
        let (ids, sizes): (BTreeSet<_>, BTreeSet<_>) = {
            let claims = self.claims();
            let volumes = claims.volumes.iter();
            volumes
                .map(|volume| (volume.id.clone().unwrap_or_default(), volume.capacity))
                .unzip()
        };
        let strange = now.0.iter().filter(|(id, size)| {
            !before.0.contains_key(*id) && !ids.contains(*id) && **size > 0 && sizes.contains(size)
        });
        let strange: Vec<_> = strange
            .map(|(id, size)| format!("{id} ({size} bytes)"))
            .collect();
        match strange.as_slice() {
            [] => Ok(()),
            more => Err(Stop::fail(format!(
                "{} names were asked for, and ListVolumes shows {} volumes more of the same size, which nobody knows: {}",
                ids.len(),
                more.len(),
                more.join(", ")
            ))),
        }
    }
}
