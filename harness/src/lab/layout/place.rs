//! What the paths look like, before any is made.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use super::{Access, Form, Layout};

/// One path, before it is made.
pub(super) struct Place {
    /// Folders that others may use too.
    pub(super) shared: PathBuf,
    /// Below those: ours with all in it.
    pub(super) owned: PathBuf,
    /// Below that: what belongs to this path alone, `""` for all of it.
    pub(super) own: PathBuf,
    /// Below that: the path for the driver.
    pub(super) last: PathBuf,
}

impl Layout {
    /// Where the staging folder of a volume is.
    pub(super) fn staging_place(&self, check: &str, volume: &str, access: Access) -> Place {
        let pv = self.pv(check, volume);
        match &self.roots.form {
            Form::Plain => Place {
                shared: PathBuf::new(),
                owned: self.run.as_str().into(),
                own: Path::new(&word(check)).join(word(volume)),
                last: "globalmount".into(),
            },
            Form::Kubelet { driver, .. } => match access {
                Access::Mount => Place {
                    shared: Path::new("plugins/kubernetes.io/csi").join(word(driver)),
                    owned: self.digest(check, volume).into(),
                    own: PathBuf::new(),
                    last: "globalmount".into(),
                },
                Access::Block => Place {
                    shared: "plugins/kubernetes.io/csi/volumeDevices/staging".into(),
                    owned: pv.into(),
                    own: PathBuf::new(),
                    last: PathBuf::new(),
                },
            },
        }
    }

    /// Where a target of a volume is.
    pub(super) fn target_place(
        &self,
        check: &str,
        volume: &str,
        name: &str,
        access: Access,
    ) -> Place {
        let pv = self.pv(check, volume);
        let made_up = self.uid(&[check, volume, name]);
        match (&self.roots.form, access) {
            (Form::Plain, Access::Mount) => Place {
                shared: PathBuf::new(),
                owned: self.run.as_str().into(),
                own: Path::new("pods").join(made_up),
                last: Path::new("volumes/kubernetes.io~csi")
                    .join(pv)
                    .join("mount"),
            },
            (Form::Plain, Access::Block) => Place {
                shared: PathBuf::new(),
                owned: self.run.as_str().into(),
                own: Path::new("volumeDevices/publish").join(pv),
                last: made_up.into(),
            },
            (Form::Kubelet { pod_uid: None, .. }, Access::Mount) => Place {
                shared: "pods".into(),
                owned: made_up.into(),
                own: PathBuf::new(),
                last: Path::new("volumes/kubernetes.io~csi")
                    .join(pv)
                    .join("mount"),
            },
            // In a pod that lives, only the volume's folder is ours; one for
            // each target, as two volumes of one pod have two names.
            (
                Form::Kubelet {
                    pod_uid: Some(pod), ..
                },
                Access::Mount,
            ) => Place {
                shared: Path::new("pods")
                    .join(word(pod))
                    .join("volumes/kubernetes.io~csi"),
                owned: format!("{pv}-{:04x}", self.hash(&[check, volume, name], 7) & 0xffff).into(),
                own: PathBuf::new(),
                last: "mount".into(),
            },
            (Form::Kubelet { .. }, Access::Block) => Place {
                shared: "plugins/kubernetes.io/csi/volumeDevices/publish".into(),
                owned: pv.into(),
                own: PathBuf::new(),
                last: made_up.into(),
            },
        }
    }

    /// The PV's name.
    fn pv(&self, check: &str, volume: &str) -> String {
        format!(
            "pv-{}-{:08x}",
            self.run.as_str(),
            self.hash(&[check, volume], 0) & 0xffff_ffff
        )
    }

    /// A UID as pods have them.
    fn uid(&self, words: &[&str]) -> String {
        let (a, b) = (self.hash(words, 1), self.hash(words, 2));
        let (run, c) = (self.run.as_str(), (b >> 32) & 0xfff);
        format!(
            "{run}-{:04x}-4{c:03x}-8{:03x}-{:012x}",
            a & 0xffff,
            (a >> 16) & 0xfff,
            b & 0xffff_ffff_ffff
        )
    }

    /// 64 hexadecimal digits, the shape of the kubelet's SHA-256 of the handle.
    fn digest(&self, check: &str, volume: &str) -> String {
        let words: String = (3..7)
            .map(|salt| format!("{:016x}", self.hash(&[check, volume], salt)))
            .collect();
        words
    }

    /// The same for the same words in one run, and another in any other run.
    fn hash(&self, words: &[&str], salt: u64) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.run.as_str(), words, salt).hash(&mut hasher);
        hasher.finish()
    }
}

/// A text as one short name in a path: 40 bytes keep a target under 200. What
/// had to be changed is told apart by a hash.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.len() <= 40 && text.chars().all(plain) && !text.starts_with('.') && !text.is_empty() {
        return text.to_owned();
    }
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    let kept: String = text
        .chars()
        .take(31)
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' {
                c
            } else {
                '-'
            }
        })
        .collect();
    format!("{kept}-{:08x}", hasher.finish() & 0xffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_one_name() {
        assert_eq!(word("node-publish.read-only"), "node-publish.read-only");
        for text in ["", "..", "a/b", "x".repeat(90).as_str(), "ü"] {
            let word = word(text);
            assert!(
                word.len() <= 40 && !word.contains('/') && !word.starts_with('.'),
                "{word}"
            );
        }
        assert_ne!(word("a/b"), word("a_/b"));
    }
}
