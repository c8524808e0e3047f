//! Where a volume is: a server, a share of it, and a folder on that.

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::args::{SERVER, SHARE, SUB_DIR};
use crate::sys::mountinfo::Mount;

/// Stands between the parts of a volume id, and in none of them.
const SEPARATOR: char = '#';

/// What to do with a step back (`..`) in a folder's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Escape {
    /// It is an error.
    Refused,
    /// It is followed, as far as the share's root: the defect volume-id-traversal.
    Followed,
}

/// Where a volume is. Names are plain: no `..`, no empty ones, nothing that a
/// mount table or a volume id would have to quote.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Source {
    server: String,
    /// The names on the way to the share.
    share: Vec<String>,
    /// The names from there to the volume's folder; none where it is the share.
    sub_dir: Vec<String>,
}

impl Source {
    /// The server's name or address.
    pub(super) fn server(&self) -> &str {
        &self.server
    }

    /// The source of these parts, or what is wrong with them.
    pub(super) fn new(
        server: &str,
        share: &str,
        sub_dir: &str,
        escape: Escape,
    ) -> Result<Self, String> {
        if !share.starts_with('/') {
            return Err(format!("{SHARE} must be an absolute path"));
        }
        if sub_dir.starts_with('/') && escape == Escape::Refused {
            return Err(format!("{SUB_DIR} must be a relative path"));
        }
        Ok(Self {
            server: host(server)?,
            share: names(SHARE, share, Escape::Refused)?,
            sub_dir: names(SUB_DIR, sub_dir, escape)?,
        })
    }

    /// The source that a volume id of ours tells; none where it is not ours.
    pub(super) fn of_id(id: &str, escape: Escape) -> Result<Option<Self>, String> {
        let parts: Vec<_> = id.split(SEPARATOR).collect();
        match parts.as_slice() {
            [server, share, sub_dir] => {
                let source = Self::new(server, share, sub_dir, escape)?;
                // There is one way to write an id: one with empty parts is nobody's, and
                // would lead to a folder of many.
                let is_ours = escape == Escape::Followed || source.id() == id;
                Ok(is_ours.then_some(source))
            }
            _ => Ok(None),
        }
    }

    /// The id of a volume that is made here.
    pub(super) fn id(&self) -> String {
        let parts = [&self.server, &self.share_path(), &self.sub_dir_path()];
        parts.map(String::as_str).join(&SEPARATOR.to_string())
    }

    /// What its `volume_context` says.
    pub(super) fn context(&self) -> HashMap<String, String> {
        HashMap::from([
            (SERVER.to_owned(), self.server.clone()),
            (SHARE.to_owned(), self.share_path()),
            (SUB_DIR.to_owned(), self.sub_dir_path()),
        ])
    }

    /// The names from the share to the volume's folder.
    pub(super) fn sub_dir(&self) -> &[String] {
        &self.sub_dir
    }

    /// The share that the volume is on.
    pub(super) fn whole_share(&self) -> Self {
        Self {
            sub_dir: Vec::new(),
            ..self.clone()
        }
    }

    fn share_path(&self) -> String {
        format!("/{}", self.share.join("/"))
    }

    fn sub_dir_path(&self) -> String {
        self.sub_dir.join("/")
    }

    /// The path on the server.
    fn path(&self) -> String {
        let names: Vec<_> = self
            .share
            .iter()
            .chain(&self.sub_dir)
            .map(String::as_str)
            .collect();
        format!("/{}", names.join("/"))
    }

    /// Whether a mount is of this very folder, as the mount table tells.
    ///
    /// Mounts of one file system share their superblock, and all of them then
    /// bear the name by which the server was called first; so the address that
    /// is in use will do as well.
    pub(super) fn is_at(&self, mount: &Mount) -> bool {
        let Some((server, path)) = named(mount) else {
            return false;
        };
        let bare = |host: &str| host.trim_matches(['[', ']']).to_owned();
        let address = mount
            .super_options
            .iter()
            .find_map(|option| option.strip_prefix("addr="));
        path == self.path() && (server == self.server || address == Some(&bare(&self.server)))
    }

    /// The same, of a mount that was just made from this source: the server may
    /// bear any name there.
    pub(super) fn was_mounted_as(&self, mount: &Mount) -> bool {
        named(mount).is_some_and(|(_, path)| path == self.path())
    }
}

/// As mount.nfs(8) takes it.
impl fmt::Display for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.server, self.path())
    }
}

/// Whether this is a mount of an NFS share at all.
pub(super) fn is_nfs(mount: &Mount) -> bool {
    matches!(mount.fs_type.as_str(), "nfs" | "nfs4")
}

/// The server and the path on it that a mount is of.
fn named(mount: &Mount) -> Option<(&str, &str)> {
    let source = mount.source.to_str().filter(|_| is_nfs(mount))?;
    let colon = source.find(":/")?;
    let (server, path) = source.split_at(colon);
    let path = path.get(1..)?;
    Some((
        server,
        if path == "/" {
            path
        } else {
            path.trim_end_matches('/')
        },
    ))
}

/// A host's name or address, as it stands before the colon of a source.
fn host(server: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:%[]".contains(&byte);
    if server.is_empty() || server.starts_with('-') || !server.bytes().all(plain) {
        return Err(format!("{SERVER} must be a host's name or address"));
    }
    Ok(match server.contains(':') && !server.starts_with('[') {
        true => format!("[{server}]"),
        false => server.to_owned(),
    })
}

/// The names in a path.
fn names(what: &str, path: &str, escape: Escape) -> Result<Vec<String>, String> {
    if path.contains(SEPARATOR) || path.chars().any(char::is_control) {
        return Err(format!(
            "{what} must hold neither {SEPARATOR} nor control characters"
        ));
    }
    let mut names = Vec::new();
    for name in path.split('/') {
        match (name, escape) {
            ("" | ".", _) => {}
            ("..", Escape::Refused) => return Err(format!("{what} must not hold '..'")),
            ("..", Escape::Followed) => drop(names.pop()),
            _ => names.push(name.to_owned()),
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn source(server: &str, share: &str, sub_dir: &str) -> Result<Source, String> {
        Source::new(server, share, sub_dir, Escape::Refused)
    }

    fn mount(source: &str, fs_type: &str) -> Mount {
        Mount {
            device: (0, 50),
            root: PathBuf::from("/"),
            mount_point: PathBuf::from("/t"),
            options: vec!["rw".to_owned()],
            fs_type: fs_type.to_owned(),
            source: PathBuf::from(source),
            super_options: ["rw", "vers=4.2", "addr=10.0.0.1"]
                .map(str::to_owned)
                .into(),
        }
    }

    #[test]
    fn an_id_tells_the_source() {
        let source = source("10.0.0.1", "/exports//data/", "a/x").expect("good");
        assert_eq!(source.to_string(), "10.0.0.1:/exports/data/a/x");
        assert_eq!(source.id(), "10.0.0.1#/exports/data#a/x");
        assert_eq!(
            Source::of_id(&source.id(), Escape::Refused),
            Ok(Some(source))
        );
        assert_eq!(Source::of_id("some-volume", Escape::Refused), Ok(None));
        assert_eq!(Source::of_id("h#/s#volumes//", Escape::Refused), Ok(None));
        assert!(Source::of_id("h#/s#../x", Escape::Refused).is_err());
    }

    #[test]
    fn nothing_leads_out_of_the_share() {
        for (server, share, sub_dir) in [
            ("", "/s", "x"),
            ("-h", "/s", "x"),
            ("h\n", "/s", "x"),
            ("h,i", "/s", "x"),
            ("h", "s", "x"),
            ("h", "/s/../t", "x"),
            ("h", "/s", "../x"),
            ("h", "/s", "a/../../x"),
            ("h", "/s", "/x"),
            ("h", "/s", "a#b"),
            ("h", "/s", "a\0b"),
        ] {
            assert!(
                source(server, share, sub_dir).is_err(),
                "{server} {share} {sub_dir}"
            );
        }
        let followed = Source::new("h", "/s", "a/../../../x", Escape::Followed).expect("followed");
        assert_eq!(followed.to_string(), "h:/s/x");
    }

    #[test]
    fn a_mount_is_of_one_source() {
        let here = source("10.0.0.1", "/e", "a").expect("good");
        assert!(here.is_at(&mount("10.0.0.1:/e/a", "nfs4")));
        assert!(
            here.is_at(&mount("other-name:/e/a", "nfs")),
            "by its address"
        );
        for other in ["10.0.0.1:/e", "10.0.0.1:/e/ab", "10.0.0.1:/", "10.0.0.1"] {
            assert!(!here.is_at(&mount(other, "nfs4")), "{other}");
        }
        assert!(!here.is_at(&mount("10.0.0.1:/e/a", "tmpfs")));
        let named = source("server", "/", "").expect("good");
        assert!(!named.is_at(&mount("10.0.0.1:/", "nfs")));
        assert!(named.was_mounted_as(&mount("10.0.0.1:/", "nfs")));
        let six = source("fe80::1", "/e", "").expect("good");
        assert!(six.is_at(&mount("[fe80::1]:/e", "nfs")));
    }
}
