//! Which service a check is about.

use std::fmt;

/// The services of CSI, and what is told across their calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Service {
    Identity,
    Controller,
    Node,
    /// Stories, servers and disks that fail, and the driver as a whole.
    Across,
}

impl Service {
    pub(super) const ALL: [Self; 4] = [Self::Identity, Self::Controller, Self::Node, Self::Across];

    /// By the first words of a check's id, which are an RPC or a story.
    pub(super) fn of(id: &str) -> Self {
        let about = id.split('.').next().unwrap_or(id);
        let is = |starts: &[&str]| starts.iter().any(|start| about.starts_with(start));
        if is(&["node-"]) {
            Self::Node
        } else if is(&["get-plugin-", "probe", "identity"]) {
            Self::Identity
        } else if is(&[
            "controller",
            "create-",
            "delete-",
            "validate-",
            "list-",
            "get-",
            "modify-",
            "group-",
        ]) {
            Self::Controller
        } else {
            Self::Across
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Identity => "Identity",
            Self::Controller => "Controller",
            Self::Node => "Node",
            Self::Across => "Stories and faults",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_told_apart_by_their_ids() {
        for (id, service) in [
            ("get-plugin-info.name", Service::Identity),
            ("probe.ready", Service::Identity),
            ("get-capacity.total", Service::Controller),
            ("create-volume.again", Service::Controller),
            ("controller-publish.again[xfs]", Service::Controller),
            ("node-get-info.id-is-set", Service::Node),
            ("pod-came-back.restage", Service::Across),
            ("driver.starts", Service::Across),
        ] {
            assert_eq!(Service::of(id), service, "{id}");
        }
    }
}
