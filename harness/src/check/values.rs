//! What stands in the holes of the user's templates for one volume.

use super::cx::Cx;
use super::stop::Stop;
use super::volume::Want;
use crate::config::{NFS_SERVER, NFS_SHARE};

/// The run, the volume's number, and its server where the lab has any.
#[derive(Debug)]
pub(super) struct Values(Vec<(&'static str, String)>);

impl Values {
    /// For the volume with this number, on the server and share that it is wanted on.
    pub(super) fn of(cx: &Cx, number: u64, want: &Want) -> Result<Self, Stop> {
        let mut values = vec![
            ("n", number.to_string()),
            ("run", cx.session.run_id.clone()),
        ];
        if let Some(servers) = &cx.session.servers {
            let server = servers.get(want.server.unwrap_or_default())?;
            let share = want.share.clone();
            values.push((NFS_SERVER, server.address().to_owned()));
            values.push((
                NFS_SHARE,
                share.unwrap_or_else(|| server.share().to_owned()),
            ));
        }
        Ok(Self(values))
    }

    /// The same, where the server has a folder for this volume alone.
    pub(super) fn with_share(mut self, share: String) -> Self {
        self.0.retain(|(name, _)| *name != NFS_SHARE);
        self.0.push((NFS_SHARE, share));
        self
    }

    /// As [`crate::config::expand`] takes them.
    pub(super) fn pairs(&self) -> Vec<(&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect()
    }
}
