//! A run with something of everything; also what `examples/console.rs` shows.

use csi_harness::check::{
    Basis, CallRecord, ClauseRef, Evidence, Lacking, LedgerEntry, Level, Outcome, SeenIn, Settled,
    Skip,
};
use csi_harness::report::{
    DriverInfo, Event, HostInfo, Report, Scope, Skips, SuiteInfo, Totals, Verdict,
};
use serde_json::{Value, json};

pub(crate) fn check(id: &str, outcome: Outcome, message: &str) -> Settled {
    Settled {
        id: id.to_owned(),
        headline: format!("The headline of {id}."),
        level: Level::Must,
        basis: Basis::Specification,
        outcome,
        message: message.to_owned(),
        duration_ms: 320,
        clauses: Vec::new(),
        skip: None,
        blocked_by: None,
        expected: None,
        evidence: Vec::new(),
        seen_in: Vec::new(),
        calls: 0,
        volumes: 0,
        look_at: String::new(),
    }
}

pub(crate) fn call(n: u64, rpc: &str, code: &str, request: Value) -> CallRecord {
    CallRecord {
        n,
        check: "node-publish.target-is-mounted".to_owned(),
        rpc: rpc.to_owned(),
        at_ms: 100 * n,
        duration_ms: 12,
        request,
        code: code.to_owned(),
        message: String::new(),
        response: if code == "OK" { json!({}) } else { Value::Null },
    }
}

fn mounts(path: &str, when: &str, lines: &[&str], expected: Option<&str>) -> Evidence {
    Evidence::Mounts {
        path: path.to_owned(),
        when: when.to_owned(),
        lines: lines.iter().map(|&line| line.to_owned()).collect(),
        expected: expected.map(str::to_owned),
    }
}

fn fact(label: &str, text: &str) -> Evidence {
    Evidence::Fact {
        label: label.to_owned(),
        text: text.to_owned(),
    }
}

fn clause(basis: Basis, level: Level, section: &str, text: &str) -> ClauseRef {
    ClauseRef {
        id: "node.publish.mount_at_target".to_owned(),
        level,
        basis,
        text: text.to_owned(),
        section: section.to_owned(),
        url: "https://github.com/container-storage-interface/spec/blob/v1.13.0/spec.md#nodepublishvolume"
            .to_owned(),
    }
}

fn seen(issue: &str, what: &str) -> SeenIn {
    SeenIn {
        issue: issue.to_owned(),
        what: what.to_owned(),
        url: format!("https://github.com/{}", issue.replace('#', "/issues/")),
    }
}

/// The failure of the mount that returned 0.
pub(crate) fn late_mount() -> Settled {
    let target = "/tmp/csit-7f3a/01/target";
    let capability = json!({
        "access_mode": {"mode": "SINGLE_NODE_WRITER"},
        "mount": {"mount_flags": ["bg", "nfsvers=4.2"]},
    });
    let publish = json!({
        "volume_id": "10.0.0.7#exports#csit-7f3a-01",
        "target_path": target,
        "volume_capability": capability,
        "secrets": {"user": "***", "key": "***"},
    });
    Settled {
        headline: "After NodePublishVolume answers OK, the volume is mounted at target_path."
            .to_owned(),
        duration_ms: 3_400,
        clauses: vec![clause(
            Basis::Specification,
            Level::Must,
            "CSI 1.13.0, NodePublishVolume, target_path",
            "When the plugin has answered OK, the volume is there at target_path for the workload to use.",
        )],
        evidence: vec![
            Evidence::Call(call(12, "CreateVolume", "OK", json!({"name": "csit-7f3a-01"}))),
            Evidence::Call(CallRecord {
                message: "target_path is required".to_owned(),
                ..call(13, "NodePublishVolume", "INVALID_ARGUMENT", json!({"volume_id": "x"}))
            }),
            mounts(target, "before", &[], None),
            Evidence::Call(call(14, "NodePublishVolume", "OK", publish)),
            mounts(target, "at OK", &[], Some("one mount expected here")),
            mounts(
                target,
                "+3.10 s",
                &["412 97 0:58 / /tmp/csit-7f3a/01/target rw,relatime shared:71 - nfs4 10.0.0.7:/exports rw,vers=4.2"],
                None,
            ),
            fact(
                "meanwhile",
                "a probe file written at +0.02 s is on ext4 /dev/vda1, the node's own disk, and is hidden since the mount came.",
            ),
        ],
        seen_in: vec![
            seen(
                "kubernetes-csi/csi-driver-nfs#762",
                "writes of the pod go to the node's own file system (same symptom; cause not established there)",
            ),
            seen("systemd/systemd#3169", "with bg, mount(8) exits 0 before the mount exists"),
        ],
        look_at: "what your driver does after mount(8) exits 0: read mountinfo again, or refuse bg in mount_flags."
            .to_owned(),
        ..check(
            "node-publish.target-is-mounted",
            Outcome::Fail,
            "NodePublishVolume answered OK while nothing was mounted at target_path.",
        )
    }
}

/// The driver dies of a request.
pub(crate) fn crash() -> Settled {
    let request = json!({
        "volume_id": "vol-1",
        "staging_target_path": "/var/lib/kubelet/plugins/kubernetes.io/csi/loop.csi.example/0c7e8b/globalmount",
        "volume_capability": {"mount": {"fs_type": "xfs"}, "access_mode": {"mode": "SINGLE_NODE_WRITER"}},
    });
    Settled {
        headline: "NodeStageVolume makes the file system that was asked for.".to_owned(),
        basis: Basis::Integrity,
        clauses: vec![clause(
            Basis::Integrity,
            Level::Must,
            "stated nowhere",
            "A request, however unusual, does not end the plugin.",
        )],
        evidence: vec![
            Evidence::Call(CallRecord {
                message: "the connection was closed before an answer came".to_owned(),
                duration_ms: 1_250,
                ..call(31, "NodeStageVolume", "broken", request)
            }),
            fact(
                "driver's process",
                "pid 4711 ended by signal 6 (SIGABRT) 40 ms after the call; its last line: panic: assignment to entry in nil map",
            ),
        ],
        look_at: "the driver's log around this call.".to_owned(),
        ..check(
            "node-stage.file-system[xfs]",
            Outcome::Fail,
            "The driver died during NodeStageVolume, call 31.",
        )
    }
}

/// A SHOULD that a raw block volume misses.
pub(crate) fn block_warning() -> Settled {
    let target = "/tmp/csit-7f3a/02/device";
    Settled {
        headline: "NodeGetVolumeStats tells the size of a block volume.".to_owned(),
        level: Level::Should,
        basis: Basis::Kubernetes,
        clauses: vec![clause(
            Basis::Kubernetes,
            Level::Should,
            "kubelet, volume stats",
            "For block volumes the total in bytes is given.",
        )],
        evidence: vec![
            mounts(
                target,
                "after publish",
                &["413 97 0:5 /loop7 /tmp/csit-7f3a/02/device rw,nosuid - devtmpfs devtmpfs rw"],
                None,
            ),
            Evidence::Call(CallRecord {
                response: json!({"usage": [{"unit": "BYTES"}]}),
                ..call(
                    40,
                    "NodeGetVolumeStats",
                    "OK",
                    json!({"volume_id": "vol-2", "volume_path": target}),
                )
            }),
            fact("device", "loop7, 1073741824 bytes"),
        ],
        ..check(
            "node-stats.total[block]",
            Outcome::Warn,
            "The total of a block volume of 1 GiB was not given.",
        )
    }
}

fn skipped(id: &str, lacking: Lacking, need: &str) -> Settled {
    let skip = Some(Skip {
        need: need.to_owned(),
        lacking,
    });
    Settled {
        skip,
        duration_ms: 0,
        ..check(id, Outcome::Skip, "")
    }
}

fn blocked(id: &str) -> Settled {
    Settled {
        blocked_by: Some("node-stage.file-system[xfs]".to_owned()),
        ..check(id, Outcome::Blocked, "NodeStageVolume with xfs failed")
    }
}

/// Everything that can happen, in one report.
pub(crate) fn report() -> Report {
    let mut checks = vec![
        check("identity.name", Outcome::Pass, ""),
        check("identity.probe", Outcome::Pass, ""),
        check(
            "identity.version",
            Outcome::Unknown,
            "GetPluginInfo gave two answers that differ.",
        ),
        check(
            "node-info.topology",
            Outcome::Error,
            "The harness could not read /proc/thread-self/mountinfo.",
        ),
        Settled {
            expected: Some(
                "answers OK; fixed on main, https://github.com/example/loop/issues/1234".to_owned(),
            ),
            ..check(
                "node-publish.other-args",
                Outcome::ExpectedFail,
                "answered OK",
            )
        },
        skipped("controller.clone", Lacking::Driver, "CLONE_VOLUME"),
        skipped(
            "controller.snapshot",
            Lacking::Driver,
            "CREATE_DELETE_SNAPSHOT",
        ),
        skipped(
            "controller.snapshot-list",
            Lacking::Driver,
            "CREATE_DELETE_SNAPSHOT",
        ),
        skipped(
            "node-stage.file-system[btrfs]",
            Lacking::Host,
            "mkfs.btrfs, which is not installed",
        ),
        skipped(
            "story.restart",
            Lacking::User,
            "consent to `restart` (kills the driver)",
        ),
        skipped(
            "story.hang",
            Lacking::User,
            "consent to `hang` (dead servers under a mount)",
        ),
        blocked("node-publish.read-only[xfs]"),
        blocked("node-publish.two-targets[xfs]"),
        late_mount(),
        crash(),
        block_warning(),
    ];
    checks.sort_by(|a, b| a.id.cmp(&b.id));
    let totals = Totals::of(&checks);
    Report {
        schema: csi_harness::report::json::SCHEMA,
        verdict: Verdict::of(&totals, false, Skips::of(&checks)),
        driver: DriverInfo {
            name: "loop.csi.example".to_owned(),
            version: "1.2.3".to_owned(),
            endpoint: "unix:///run/csi/csi.sock".to_owned(),
            ..DriverInfo::default()
        },
        suite: SuiteInfo {
            version: "0.1.0".to_owned(),
            commit: "unknown".to_owned(),
            spec: "1.13.0".to_owned(),
        },
        host: HostInfo::default(),
        scope: Scope {
            checks_in_suite: checks.len() + 4,
            selected: checks.len(),
            ..Scope::default()
        },
        rerun: "csi-conformance run --endpoint unix:///run/csi/csi.sock --exact".to_owned(),
        started_at_ms: 1_790_000_000_000,
        duration_ms: 74_300,
        calls: 240,
        totals,
        checks,
        ledger: vec![LedgerEntry {
            check: "node-publish.target-is-mounted".to_owned(),
            what: "mount".to_owned(),
            object: "/tmp/csit-7f3a/01/target".to_owned(),
            owner: None,
            then: "removed by force".to_owned(),
        }],
    }
}

/// The events of that run.
pub(crate) fn events() -> Vec<Event> {
    let report = report();
    let mut events = vec![
        Event::Started {
            total: report.checks.len(),
            driver: format!("{} {}", report.driver.name, report.driver.version),
            endpoint: report.driver.endpoint.clone(),
        },
        Event::Note("removed 2 mounts of a run that was killed".to_owned()),
    ];
    for check in &report.checks {
        if check.outcome != Outcome::Skip {
            events.push(Event::CheckStarted {
                id: check.id.clone(),
            });
        }
        events.push(Event::CheckSettled(Box::new(check.clone())));
    }
    events.push(Event::Ended(Box::new(report)));
    events
}
