//! A file that uses every key says what it says.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use csi_harness::config::{
    AccessMode, AccessType, Allow, Config, Endpoint, MASK, Quantity, RPCS, Require, Secrets,
};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

const FULL: &str = include_str!("config/full.yaml");
const PROTO: &str = include_str!("../../proto/csi.proto");

fn full() -> Config {
    Config::from_yaml(FULL, Path::new("full.yaml")).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn endpoints_and_driver() {
    let config = full();
    let controller = Endpoint::Tcp {
        host: "controller.example".into(),
        port: 9000,
    };
    assert_eq!(config.controller(), Some(&controller));
    assert_eq!(
        config.node(),
        Some(&Endpoint::Unix("/run/csi/node.sock".into()))
    );
    let driver = &config.driver;
    assert_eq!(driver.command[2], "${endpoint}");
    assert_eq!(driver.env.expose()["CSI_ENDPOINT"], "${socket}");
    assert_eq!(driver.pid, None);
    assert_eq!(
        driver.pid_file.as_deref(),
        Some(Path::new("/run/my-driver.pid"))
    );
    assert_eq!(driver.ready_timeout, Duration::from_secs(90));
    assert_eq!(driver.name_template, "csi-conf-${run}-${n}");
    assert_eq!(driver.unknown_volume_id, "vol-${n}");
    assert_eq!(driver.unknown_node_id, "999${n}");
}

#[test]
fn one_endpoint_takes_the_place_of_two() {
    let mut config = full();
    config.set_endpoint(Endpoint::Unix("/csi.sock".into()));
    assert_eq!(config.controller(), config.node());
    config.validate().unwrap();
}

#[test]
fn numbers_and_booleans_are_taken_as_written() {
    let config = full();
    assert_eq!(config.parameters["replicas"], "3");
    assert_eq!(config.parameters["encrypted"], "true");
    assert_eq!(config.mutable_parameters["iops"], "500");
    assert_eq!(config.volume.mount_group.as_deref(), Some("1000"));
    assert!(config.volume.context_decides);
}

#[test]
fn secrets_go_to_their_rpc_and_win_over_those_for_all() {
    let secrets = full().secrets;
    let stage = secrets.of("NodeStageVolume");
    assert_eq!(stage["password"], "s-node_stage");
    assert_eq!(stage["user"], "stage-user-value");
    assert_eq!(secrets.of("NodePublishVolume")["user"], "admin-value");
    assert!(secrets.of("NodeUnpublishVolume").is_empty());
    assert!(secrets.of("NoSuchCall").is_empty());
    for (rpc, key) in RPCS {
        assert_eq!(secrets.of(rpc).is_empty(), key.is_none(), "{rpc}");
    }
    assert!(Secrets::default().is_empty());
}

#[test]
fn volumes() {
    let config = full();
    let volume = &config.volume;
    assert_eq!(volume.size.bytes(), 64 << 20);
    assert_eq!(volume.limit.map(Quantity::bytes), Some(3 << 29));
    assert_eq!(volume.file_systems, ["ext4", "xfs"]);
    assert_eq!(volume.access_types, [AccessType::Mount, AccessType::Block]);
    assert_eq!(
        volume.access_modes,
        [
            AccessMode::SingleNodeWriter,
            AccessMode::MultiNodeReaderOnly
        ]
    );
    assert_eq!(volume.mount_flags, ["noatime"]);

    let [demo, inline] = &config.volumes[..] else {
        panic!("two volumes");
    };
    assert!(!demo.is_template());
    assert_eq!(demo.id, "demo");
    assert_eq!(demo.context["version"], "v1");
    assert_eq!(demo.publish_context["device"], "/dev/vdb");
    assert_eq!(demo.access_types, [AccessType::Mount]);
    assert_eq!(demo.access_modes, [AccessMode::SingleNodeReaderOnly]);
    assert_eq!(demo.fs_type, "ext4");
    assert!(demo.read_only && !demo.scratch);

    assert!(inline.is_template());
    let third = inline.instance(&[("n", "3"), ("run", "7f3a")]).unwrap();
    assert_eq!(third.id, "inline-7f3a-3");
    assert_eq!(third.context["path"], "/exports/3");
    assert!(third.scratch);
    assert_eq!(config.topology["topology.example/zone"], "a");
}

#[test]
fn paths_by_both_names() {
    let paths = full().paths;
    assert_eq!(
        paths.kubelet_root.as_deref(),
        Some(Path::new("/var/lib/kubelet"))
    );
    assert_eq!(
        paths.staging_root.as_deref(),
        Some(Path::new("/var/lib/kubelet/plugins/csi-conf"))
    );
    assert_eq!(
        paths.target_root.as_deref(),
        Some(Path::new("/var/lib/kubelet/pods"))
    );
    assert_eq!(
        paths.pod_uid.as_deref(),
        Some("0b3c9a2e-0000-4000-8000-000000000001")
    );
    for (ours, drivers) in [
        ("/var/lib/kubelet/plugins/a", "/kubelet/plugins/a"),
        ("/var/lib/kubelet/pods/a", "/pods/a"),
        ("/var/lib/kubelet", "/kubelet"),
        ("/var/lib/kubelets/a", "/var/lib/kubelets/a"),
    ] {
        assert_eq!(paths.as_driver_sees(Path::new(ours)).as_os_str(), drivers);
    }
}

#[test]
fn the_run() {
    let config = full();
    assert_eq!(config.allowed(false), Allow::ALL.iter().copied().collect());
    assert_eq!(
        config.deadline_of("NodeStageVolume"),
        Duration::from_secs(60)
    );
    assert_eq!(
        config.deadline_of("NodePublishVolume"),
        Duration::from_secs(30)
    );
    assert_eq!(config.deadline_of("Probe"), Duration::from_millis(500));
    assert_eq!(config.quiet(), Duration::from_secs(4));
    assert_eq!(config.jobs, 4);
    assert_eq!(config.max_volumes, Some(16));
    assert_eq!(config.hooks.after_create_volume[0], "./make-object");
    assert_eq!(config.hooks.before_node_stage[0], "./attach");
    assert_eq!(config.checks.only.len(), 2);
    assert_eq!(config.checks.skip, ["node-stage.repeat"]);
    assert_eq!(
        config.report_dir.as_deref(),
        Some(Path::new("target/csi-report"))
    );
    assert_eq!(config.require, Require::Conformant);
    assert!(config.thorough);
}

#[test]
fn an_expected_failure_knows_its_line() {
    let config = full();
    assert_eq!(
        config.expected[0].issue.as_deref(),
        Some("https://example.com/issues/1")
    );
    assert_eq!(config.expected[1].reason, "waits for a new kernel");
    for expected in &config.expected {
        let line = expected.line.expect("it came from a file");
        let text = FULL.lines().nth(line - 1).expect("a line of it");
        assert_eq!(text, format!("  - check: {}", expected.check));
    }
}

/// JSON is YAML, so what a report shows can be read as a configuration; it is
/// the same but for what is masked.
#[test]
fn what_a_report_shows_is_what_was_said_without_secrets() {
    let config = full();
    let json = config.to_public_json().to_string();
    for secret in config.secrets.values() {
        assert!(!json.contains(secret), "{secret} in {json}");
    }
    assert!(!json.contains("token-value"), "{json}");
    assert!(json.contains(MASK));

    let mut again = Config::from_yaml(&json, Path::new("report.json")).unwrap();
    assert_eq!(again.to_public_json().to_string(), json);
    assert_eq!(again.secrets.by_rpc.len(), config.secrets.by_rpc.len());
    again.secrets = config.secrets.clone();
    again.driver.env = config.driver.env.clone();
    for (again, before) in again.expected.iter_mut().zip(&config.expected) {
        again.line = before.line;
    }
    assert_eq!(again, config);

    let debug = format!("{config:?}");
    for secret in config.secrets.values().into_iter().chain(["token-value"]) {
        assert!(!debug.contains(secret), "{secret} in {debug}");
    }
}

/// Every key of the public shape stands in the example, but for those that
/// exclude another.
#[test]
fn the_example_leaves_no_key_out() {
    let shown = full().to_public_json();
    let mut missing = Vec::new();
    look_for_nulls(&shown, "", &mut missing);
    assert_eq!(missing, ["/driver/pid", "/endpoint", "/expected/1/issue"]);
    let default = Config::default().to_public_json();
    for (key, value) in default.as_object().unwrap() {
        let same = shown[key] == *value;
        assert!(
            !same || key == "endpoint",
            "{key} says nothing in full.yaml"
        );
    }
}

fn look_for_nulls(value: &serde_json::Value, at: &str, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Null => found.push(at.to_owned()),
        serde_json::Value::Object(map) => {
            for (key, value) in map {
                look_for_nulls(value, &format!("{at}/{key}"), found);
            }
        }
        serde_json::Value::Array(list) => {
            for (i, value) in list.iter().enumerate() {
                look_for_nulls(value, &format!("{at}/{i}"), found);
            }
        }
        _ => {}
    }
}

#[test]
fn the_rpcs_are_those_of_the_protocol() {
    let said: BTreeSet<&str> = PROTO
        .lines()
        .filter_map(|line| line.trim().strip_prefix("rpc ")?.split_once('('))
        .map(|(name, _)| name)
        .collect();
    assert!(!said.is_empty());
    assert_eq!(
        RPCS.iter().map(|(rpc, _)| *rpc).collect::<BTreeSet<_>>(),
        said
    );

    let mut message = "";
    let mut secret = BTreeSet::new();
    for line in PROTO.lines() {
        if let Some(rest) = line.strip_prefix("message ") {
            message = rest.trim_end_matches([' ', '{', '}']);
        }
        if line.contains("csi_secret) = true") {
            secret.insert(message.trim_end_matches("Request"));
        }
    }
    let with_key = RPCS.iter().filter(|(_, key)| key.is_some());
    assert_eq!(
        with_key.map(|(rpc, _)| *rpc).collect::<BTreeSet<_>>(),
        secret
    );
}

#[test]
fn the_access_modes_are_those_of_the_protocol() {
    use csi_proto::v1::volume_capability::access_mode::Mode;
    for mode in AccessMode::ALL {
        assert_eq!(Mode::from(*mode).as_str_name(), mode.as_str());
    }
    let known = (1..).map_while(|n| Mode::try_from(n).ok()).count();
    assert_eq!(AccessMode::ALL.len(), known);
}
