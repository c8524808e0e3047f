//! `doctor`: what this host can do, and what is lost without the rest.

use std::process::ExitCode;

use csi_harness::check::{Check, Need};
use csi_harness::lab::nfs_missing;
use csi_harness::node::Host;
use csi_harness::node::host::{Propagation, State};
use csi_harness::report::table;

use super::screen::{say, width};
use crate::suite;
use crate::wrong::Wrong;

/// Looks, and changes nothing.
#[expect(clippy::unnecessary_wraps, reason = "every command answers like this")]
pub(super) fn doctor() -> Result<ExitCode, Wrong> {
    say(&render(&Host::look(), suite::checks(), width()));
    Ok(ExitCode::SUCCESS)
}

fn render(host: &Host, checks: &[&'static Check], width: usize) -> String {
    let mut text = format!("Linux {} on {}\n\n", host.kernel, host.arch);
    let row = |name: &str, state: String, used: &str| vec![name.to_owned(), state, used.to_owned()];
    let mut rows = vec![row("FEATURE", "HERE".into(), "USED FOR")];
    rows.extend(
        host.features
            .iter()
            .map(|f| row(f.name, answer(&f.state), f.used_for)),
    );
    text += &table(&rows, width);

    let lacks: Vec<_> = host
        .features
        .iter()
        .filter(|f| f.state != State::Have)
        .collect();
    if !lacks.is_empty() {
        text += "\nwhat is lacking, and which checks are lost without it\n";
        for feature in lacks {
            text += &format!("  {}\n", feature.name);
            let lines = [feature.state.to_string(), lost(feature.name, checks)];
            text += &table(&lines.map(|line| vec!["  ".to_owned(), line]), width);
        }
    }
    let mut section = |title: &str, line: &str| {
        text += &format!("\n{title}\n");
        text += &table(&[vec![String::new(), line.to_owned()]], width);
    };
    section("mounts", propagation(host.root_propagation));
    section("NFS", &nfs(host));
    text
}

/// Where the checks run that need servers of the lab.
fn nfs(host: &Host) -> String {
    match nfs_missing() {
        None => "checks on NFS servers of the lab run here, on the kernel's own client and server"
            .into(),
        Some(why) => format!(
            "checks on NFS servers of the lab do not run on Linux {}: {why}",
            host.kernel
        ),
    }
}

/// A word; why not stands below, where there is room.
fn answer(state: &State) -> String {
    match state {
        State::Have => "yes".to_owned(),
        State::Lack(_) => "no".to_owned(),
    }
}

fn lost(feature: &str, checks: &[&'static Check]) -> String {
    let count = |test: &dyn Fn(&Need) -> bool| {
        checks
            .iter()
            .filter(|check| requires(&check.needs, test))
            .count()
    };
    let volumes = || count(&|need| matches!(need, Need::Volume(_)));
    let all = checks.len();
    match feature {
        "root" => format!("all {all}: a run does not begin"),
        "CAP_SYS_ADMIN" => format!(
            "the {} checks that need a volume; against the built-in driver all {all}",
            volumes()
        ),
        "loop" => format!(
            "against the built-in driver, the {} that need a volume",
            volumes()
        ),
        "fuse" => "against the built-in FUSE driver, all that need a volume".to_owned(),
        "nfs" | "nfsd" => {
            let of_lab = |need: &Need| matches!(need, Need::NfsLab);
            format!(
                "on servers of the lab the {} checks that do harm to one; against the built-in NFS driver the {} that \
                 need a volume",
                count(&of_lab),
                volumes()
            )
        }
        "mount-events" => {
            "none: mountinfo is read again at each change, and who mounts is not told".to_owned()
        }
        "ext4" | "xfs" | "btrfs" => {
            let cases = checks.iter().filter(|check| !check.axes.is_empty()).count();
            format!("against the built-in driver, the cases [{feature}] of {cases} checks")
        }
        "CAP_SYS_RESOURCE" => {
            let grows = |check: &&&'static Check| {
                check.id.starts_with("node-expand.") && !check.axes.is_empty()
            };
            let ids: Vec<_> = checks.iter().filter(grows).map(|check| check.id).collect();
            format!(
                "of a driver that lacks it too, the case [ext4] of {}",
                ids.join(", ")
            )
        }
        "CAP_SYS_PTRACE" => {
            let of_driver =
                |need: &Need| matches!(need, Need::DriverNamespace | Need::SameNamespace);
            format!(
                "{}, where the driver runs as another user",
                count(&of_driver)
            )
        }
        _ => "none of this release; what it shows is lacking in the evidence".to_owned(),
    }
}

/// Whether nothing goes without something that passes the test.
fn requires(need: &Need, test: &dyn Fn(&Need) -> bool) -> bool {
    match need {
        Need::All(needs) => needs.iter().any(|need| requires(need, test)),
        Need::Any(needs) => needs.iter().all(|need| requires(need, test)),
        Need::Not(_) => false,
        need => test(need),
    }
}

fn propagation(root: Propagation) -> &'static str {
    match root {
        Propagation::Private => {
            "/ is private: the mounts of a driver that runs in another mount namespace (a container) \
             do not reach us; of one that runs on the host itself they do"
        }
        Propagation::Shared => {
            "/ is shared: mounts travel between mount namespaces, as drivers need it"
        }
        Propagation::Slave => {
            "/ is a slave: mounts of the host reach us, and ours do not reach the host"
        }
        Propagation::SlaveAndShared => {
            "/ is a slave and shared: mounts of the host reach us, and ours do not reach the host"
        }
        Propagation::Unknown => "/ is no mount point (chroot): how mounts travel cannot be told",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_required_of_any_is_required_of_each() {
        let is_volume = |need: &Need| matches!(need, Need::Volume(_));
        assert!(requires(&Need::ANY_VOLUME, &is_volume));
        assert!(requires(
            &Need::All(&[Need::STAGE, Need::MOUNT]),
            &is_volume
        ));
        assert!(!requires(
            &Need::Any(&[Need::STAGE, Need::MOUNT]),
            &is_volume
        ));
        assert!(!requires(&Need::Not(&Need::MOUNT), &is_volume));
    }
}
