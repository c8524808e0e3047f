//! A volume whose mounts go away behind the driver's back.

use csi_proto::rpc;
use csi_proto::v1::controller_service_capability::rpc::Type as ControllerRpc;
use csi_proto::v1::node_service_capability::rpc::Type as NodeRpc;

use super::cx::Cx;
use super::published::Published;
use super::see;
use super::stop::{Checked, Stop};
use crate::lab::OurPath;
use crate::node::look::{FileStat, Listing};
use crate::node::{Look, Seen};

/// A mode that nobody gives a folder by default, and nobody takes for a fault.
const ODD_MODE: u32 = 0o710;

/// The folders of ours that lie bare where a volume was mounted.
#[derive(Debug)]
pub struct Bare<'a> {
    cx: &'a Cx,
    folders: Vec<(OurPath, FileStat, Vec<String>)>,
}

impl<'a> Published<'a> {
    /// Unmounts it at its target and where it is staged, as an administrator or a
    /// failed disk may, and remembers how the folders beneath look.
    ///
    /// # Errors
    /// A mount does not go, or there was none.
    pub async fn loses_its_mounts(&self) -> Result<Bare<'a>, Stop> {
        let cx = self.cx();
        self.loses_its_mount()?;
        if !self.staged.mounts("before").await?.is_empty() {
            self.staged.loses_its_mount()?;
        }
        let mut folders = Vec::new();
        for path in [Some(&self.target), self.staged.path.as_ref()] {
            let Some(path) = path else { continue };
            let (at, mode) = (path.ours.clone(), ODD_MODE);
            // Where there is no folder, nothing can happen to it.
            if see::look(cx, Look::SetMode { path: at, mode })
                .await?
                .is_ok()
            {
                let (stat, names) = look(cx, path).await?;
                folders.push((path.clone(), stat, names));
            }
        }
        Ok(Bare { cx, folders })
    }

    /// Makes this call for the volume, if the driver has it; whether it has.
    ///
    /// # Errors
    /// No answer.
    pub async fn asked_without_mount(&self, call: &str) -> Result<bool, Stop> {
        let (cx, volume) = (self.cx(), self.staged.volume);
        let facts = cx.facts();
        match call {
            "CreateSnapshot" if facts.controller_can(ControllerRpc::CreateDeleteSnapshot) => {
                let _ = volume.ask_snapshot(&volume.snapshot_request()?).await?;
            }
            "NodeExpandVolume" if facts.node_can(NodeRpc::ExpandVolume) => {
                let path = &self.target.drivers;
                let request = volume.node_expand_request(&self.staged, path, volume.capacity());
                let _ = cx.ask_patiently::<rpc::NodeExpandVolume>(&request).await?;
            }
            "NodeGetVolumeStats" if facts.node_can(NodeRpc::GetVolumeStats) => {
                let _ = self.ask_stats().await?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl Bare<'_> {
    /// Nothing of the folders has changed.
    ///
    /// # Errors
    /// Something has, or they cannot be looked at.
    pub async fn is_as_it_was(&self, after: &str) -> Checked {
        for (path, before, names) in &self.folders {
            if !self.cx.mounts()?.at(&path.ours).is_empty() {
                // The volume is back, which is the driver's good right.
                continue;
            }
            let (now, names_now) = look(self.cx, path).await?;
            let kept = |stat: &FileStat| (stat.mode, stat.uid, stat.gid);
            let at = path.ours.display();
            if kept(before) != kept(&now) {
                return Err(Stop::fail(format!(
                    "{after} changed the node's own folder {at}, where the volume is mounted no more: mode \
                     {:o}, owner {}:{} before, {:o}, {}:{} now",
                    before.mode & 0o7777,
                    before.uid,
                    before.gid,
                    now.mode & 0o7777,
                    now.uid,
                    now.gid
                )));
            }
            if *names != names_now {
                return Err(Stop::fail(format!(
                    "{after} wrote to the node's own folder {at}, where the volume is mounted no more: \
                     {names_now:?} is in it"
                )));
            }
        }
        Ok(())
    }
}

async fn look(cx: &Cx, path: &OurPath) -> Result<(FileStat, Vec<String>), Stop> {
    let at = || path.ours.clone();
    let wrong = |what: String| Stop::Unknown(format!("{}: {what}", path.ours.display()));
    let stat = match see::look(cx, Look::Stat { path: at() }).await? {
        Ok(Seen::Stat(stat)) => stat,
        other => return Err(wrong(format!("{other:?}"))),
    };
    let path = at();
    match see::look(cx, Look::ReadDir { path, max: 64 }).await? {
        Ok(Seen::Names(listing)) => Ok((stat, words(&listing))),
        other => Err(wrong(format!("{other:?}"))),
    }
}

fn words(listing: &Listing) -> Vec<String> {
    let mut names: Vec<_> = listing
        .names
        .iter()
        .map(|name| name.name.to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}
