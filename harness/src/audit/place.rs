//! Which place of the kubelet's is a path? (pkg/volume/csi of Kubernetes 1.36, and
//! the forms before 1.24)

use std::path::Path;

/// A place below the kubelet's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// At or below the `staging_target_path` of a volume: there are honest drivers
    /// that mount below it.
    Staging(Staging),
    /// The `target_path` of a volume: `pods/UID/volumes/kubernetes.io~csi/NAME/mount`.
    Target(Target),
    /// The `target_path` of a raw block volume:
    /// `plugins/kubernetes.io/csi/volumeDevices/publish/NAME/UID`.
    BlockTarget(Target),
    /// The kubelet's own bind of it: `…/volumeDevices/NAME/dev/UID`.
    BlockOfPod(Target),
    /// Anything else of a pod, or of the kubelet's for volumes.
    Kubelets,
    /// A plugin's own, or whatever else lies there.
    Another,
}

/// Where a volume is staged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Staging {
    /// The driver, where the path tells it.
    pub(super) driver: Option<String>,
    /// What the path calls the volume: the hash of its handle, or its PV.
    pub(super) key: String,
    /// `volumeDevices/staging/PV`.
    pub(super) block: bool,
}

/// Where a pod has a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// The pod's UID.
    pub(super) pod: String,
    /// The PV's name, or that of a volume of the pod alone.
    pub(super) name: String,
}

impl Place {
    /// The place of an absolute path below the root.
    pub(super) fn of(root: &Path, path: &Path) -> Self {
        let Ok(below) = path.strip_prefix(root) else {
            return Self::Another;
        };
        let Some(names) = below
            .iter()
            .map(|name| name.to_str())
            .collect::<Option<Vec<_>>>()
        else {
            return Self::Another;
        };
        let target = |pod: &str, name: &str| Target {
            pod: pod.to_owned(),
            name: name.to_owned(),
        };
        match names.as_slice() {
            ["pods", pod, "volumes", "kubernetes.io~csi", name, "mount"] => {
                Self::Target(target(pod, name))
            }
            ["plugins", "kubernetes.io", "csi", rest @ ..] => match rest {
                ["volumeDevices", "staging", name, ..] => Self::staging(None, name, true),
                ["volumeDevices", "publish", name, pod] => Self::BlockTarget(target(pod, name)),
                ["volumeDevices", name, "dev", pod] => Self::BlockOfPod(target(pod, name)),
                ["pv", name, "globalmount", ..] => Self::staging(None, name, false),
                [driver, hash, "globalmount", ..] => Self::staging(Some(driver), hash, false),
                _ => Self::Kubelets,
            },
            ["pods", ..] | ["plugins", "kubernetes.io", ..] => Self::Kubelets,
            _ => Self::Another,
        }
    }

    fn staging(driver: Option<&str>, key: &str, block: bool) -> Self {
        Self::Staging(Staging {
            driver: driver.map(str::to_owned),
            key: key.to_owned(),
            block,
        })
    }

    /// Whether the kubelet decides what is mounted there.
    pub(super) fn is_the_kubelets(&self) -> bool {
        *self != Self::Another
    }
}

impl Staging {
    /// That of a raw block volume.
    pub(super) fn of_block(pv: &str) -> Self {
        Self {
            driver: None,
            key: pv.to_owned(),
            block: true,
        }
    }

    /// The folder, for evidence and to find what the kubelet keeps beside it.
    pub(super) fn folder(&self, root: &Path) -> std::path::PathBuf {
        let csi = root.join("plugins/kubernetes.io/csi");
        match &self.driver {
            _ if self.block => csi.join("volumeDevices").join(&self.key),
            Some(driver) => csi.join(driver).join(&self.key),
            None => csi.join("pv").join(&self.key),
        }
    }

    /// What the kubelet knows of the volume (`vol_data.json`).
    pub(super) fn data(&self, root: &Path) -> std::path::PathBuf {
        match self.block {
            true => self.folder(root).join("data/vol_data.json"),
            false => self.folder(root).join("vol_data.json"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str) -> Place {
        Place::of(Path::new("/k"), &Path::new("/k").join(path))
    }

    #[test]
    fn the_kubelets_forms_are_known() {
        let staging = |driver: Option<&str>, key: &str, block| Place::staging(driver, key, block);
        let csi = "plugins/kubernetes.io/csi";
        assert_eq!(
            of(&format!("{csi}/a.b/0f/globalmount")),
            staging(Some("a.b"), "0f", false)
        );
        assert_eq!(
            of(&format!("{csi}/a.b/0f/globalmount/below")),
            staging(Some("a.b"), "0f", false)
        );
        assert_eq!(
            of(&format!("{csi}/pv/one/globalmount")),
            staging(None, "one", false)
        );
        assert_eq!(
            of(&format!("{csi}/volumeDevices/staging/one/dev")),
            staging(None, "one", true)
        );
        let target = Target {
            pod: "u".into(),
            name: "one".into(),
        };
        assert_eq!(
            of("pods/u/volumes/kubernetes.io~csi/one/mount"),
            Place::Target(target.clone())
        );
        assert_eq!(
            of(&format!("{csi}/volumeDevices/publish/one/u")),
            Place::BlockTarget(target.clone())
        );
        assert_eq!(
            of(&format!("{csi}/volumeDevices/one/dev/u")),
            Place::BlockOfPod(target)
        );
    }

    #[test]
    fn what_is_a_plugins_own_is_not_the_kubelets() {
        assert_eq!(of("plugins/my.csi/mounts/1"), Place::Another);
        assert_eq!(of("elsewhere"), Place::Another);
        let others = Place::of(Path::new("/k"), Path::new("/kk/pods/u"));
        assert_eq!(others, Place::Another);
        assert_eq!(
            of("pods/u/volumes/kubernetes.io~projected/t"),
            Place::Kubelets
        );
        assert_eq!(of("pods/u/volume-subpaths/one/c/0"), Place::Kubelets);
    }
}
