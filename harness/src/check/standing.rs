//! What stands at a path, to see later that it is the very same still.

use std::path::Path;

use super::cx::Cx;
use super::published::Published;
use super::see;
use super::staged::Staged;
use super::stop::{Checked, Stop};
use crate::lab::OurPath;
use crate::node::{Mount, statmount};

/// The mounts at a path at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Their ids, bottom first. A mount that goes and comes again at once may have the
    /// id that it had.
    ids: Vec<u64>,
    /// The id of the top one that is never given again, where the kernel has those and
    /// the file system can be asked on the way without waiting for a server.
    unique: Option<u64>,
}

impl Standing {
    async fn at(cx: &Cx, path: &OurPath, when: &str) -> Result<Self, Stop> {
        let mounts = see::mounts_at(cx, path, when).await?;
        Ok(Self {
            ids: mounts.iter().map(|mount| mount.id).collect(),
            unique: mounts.last().and_then(|top| unique_id(&path.ours, top)),
        })
    }
}

/// See [`statmount::top_mount_at`]: a server that is away may keep it waiting.
fn unique_id(path: &Path, top: &Mount) -> Option<u64> {
    const LOCAL: [&str; 7] = ["devtmpfs", "ext2", "ext3", "ext4", "xfs", "btrfs", "tmpfs"];
    if !LOCAL.contains(&top.fs_type.as_str()) {
        return None;
    }
    let found = statmount::top_mount_at(path).ok()??;
    Some(found.unique_id)
}

fn judge(before: &Standing, after: &Standing, when: &str, place: &str) -> Checked {
    let again = match (before.unique, after.unique) {
        (Some(before), Some(after)) => before != after,
        _ => false,
    };
    match (before.ids.len(), after.ids.len()) {
        (before, after) if before != after => Err(Stop::fail(format!(
            "{when}, the mounts at {place} are others than at OK: {before} then, {after} now"
        ))),
        _ if before.ids != after.ids || again => Err(Stop::fail(format!(
            "{when}, another mount stands at {place} than at OK: that one was taken away, and it was mounted anew"
        ))),
        _ => Ok(()),
    }
}

impl Published<'_> {
    /// What stands at the target now.
    ///
    /// # Errors
    /// The mounts cannot be read.
    pub async fn standing(&self, when: &str) -> Result<Standing, Stop> {
        Standing::at(self.cx(), &self.target, when).await
    }

    /// Nothing changed at the target since then.
    ///
    /// # Errors
    /// There is another mount by now, or one more, or none.
    pub async fn is_as_it_was(&self, before: &Standing, when: &str) -> Checked {
        judge(before, &self.standing(when).await?, when, "target_path")
    }
}

impl Staged<'_> {
    /// What stands at the staging path now; nothing where there is none.
    ///
    /// # Errors
    /// The mounts cannot be read.
    pub async fn standing(&self, when: &str) -> Result<Standing, Stop> {
        match &self.path {
            Some(path) => Standing::at(self.volume.cx, path, when).await,
            None => Ok(Standing {
                ids: Vec::new(),
                unique: None,
            }),
        }
    }

    /// Nothing changed at the staging path since then.
    ///
    /// # Errors
    /// There is another mount by now, or one more, or none.
    pub async fn is_as_it_was(&self, before: &Standing, when: &str) -> Checked {
        judge(
            before,
            &self.standing(when).await?,
            when,
            "the staging path",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_mounted_anew_is_told() {
        let standing = |ids: &[u64], unique| Standing {
            ids: ids.to_vec(),
            unique,
        };
        let judged = |a: &Standing, b: &Standing| judge(a, b, "later", "target_path").is_ok();
        let once = standing(&[41], Some(900));
        assert!(judged(&once, &once.clone()));
        assert!(judged(&once, &standing(&[41], None)));
        assert!(!judged(&once, &standing(&[41], Some(901))));
        assert!(!judged(&once, &standing(&[42], None)));
        assert!(!judged(&once, &standing(&[41, 42], Some(902))));
        assert!(!judged(&once, &standing(&[], None)));
    }
}
