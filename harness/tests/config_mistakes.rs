//! Each kind of mistake, and the exact words for it.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use csi_harness::config::{Config, ConfigError};
use std::path::Path;

fn error(yaml: &str) -> String {
    let file = Path::new("csi-conformance.yaml");
    match Config::from_yaml(yaml, file) {
        Ok(config) => panic!("{yaml:?} was understood: {config:?}"),
        Err(error) => error.to_string(),
    }
}

/// Joins each mistake's YAML and what is said of it, for one snapshot.
fn all(mistakes: &[&str]) -> String {
    let told = mistakes.iter().map(|yaml| {
        let yaml_lines: Vec<String> = yaml.lines().map(|line| format!("    {line}")).collect();
        format!("{}\n{}\n", yaml_lines.join("\n"), error(yaml))
    });
    told.collect::<Vec<_>>().join("\n")
}

#[test]
fn unknown_keys() {
    assert_eq!(
        error("volume:\n  size: 1Gi\n  acess_modes: [SINGLE_NODE_WRITER]\n"),
        "csi-conformance.yaml:3:3: unknown key `acess_modes`; did you mean `access_modes`? \
         (known here: size, limit, file_systems, access_types, access_modes, mount_flags, mount_group, context_decides)"
    );
    insta::assert_snapshot!(all(&[
        "endpont: /csi.sock\n",
        "colour: red\n",
        "driver:\n  comand: [a]\n",
        "driver: {pidfile: /a}\n",
        "secrets:\n  node_stage: {}\n  node_publish_volume: {}\n",
        "volumes:\n  - id: a\n  - id: b\n    readonly: true\n",
        "paths:\n  in_driver:\n    - our: /a\n",
        "hooks: {after_create: [a]}\n",
        "checks: {include: [a]}\n",
        "expected:\n  - chek: a\n",
        "deadlines: {NodePublishVolum: 3s}\n",
        "deadlines:\n  Probe: 3s\n  Everything: 3s\n",
        "a`b: 1\n",
        "\"a\\e[31m\\nb\": 1\n",
        "access_modes: []\n",
        "volume: {jobs: 3}\n",
        "<<: {endpoint: /a}\n",
    ]));
}

#[test]
fn unknown_words() {
    insta::assert_snapshot!(all(&[
        "volume:\n  access_modes:\n    - SINGLE_NODE_WRITER\n    - SINGLE_NODE_WRITR\n",
        "volume: {access_modes: [UNKNOWN]}\n",
        "volume: {access_modes: [ReadWriteOnce]}\n",
        "volume: {access_types: [filesystem]}\n",
        "allow: [restarts]\n",
        "require: conform\n",
        "require: nonsense\n",
    ]));
}

#[test]
fn wrong_types() {
    assert_eq!(
        error("endpoint: [a]\n"),
        "csi-conformance.yaml:1:11: `endpoint`: expected an endpoint such as unix:///run/csi.sock, found a list"
    );
    insta::assert_snapshot!(all(&[
        "report_dir: [a]\n",
        "volume: 3\n",
        "volume: []\n",
        "volumes: {a: b}\n",
        "volumes: [demo]\n",
        "parameters: [a]\n",
        "parameters: {a: [1]}\n",
        "parameters: {a b: {}}\n",
        "volume: {file_systems: ext4}\n",
        "volume: {size: {}}\n",
        "volume:\n  size:\n",
        "volume: {access_modes: [{a: b}]}\n",
        "allow: restart\n",
        "jobs: many\n",
        "jobs: -1\n",
        "jobs: 1.5\n",
        "driver: {pid: me}\n",
        "thorough: maybe\n",
        "thorough: yes\n",
        "deadline: []\n",
        "secrets: []\n",
        "hooks: {before_node_stage: ./run}\n",
        "? [a]\n: b\n",
        "- endpoint: /a\n",
        "endpoint\n",
        "expected:\n  - check: a\n",
        "volumes:\n  - context: {}\n",
    ]));
}

#[test]
fn wrong_values() {
    insta::assert_snapshot!(all(&[
        "volume: {size: 64MB}\n",
        "volume: {size: big}\n",
        "volume: {size: -1}\n",
        "deadline: 30\n",
        "deadlines: {Probe: soon}\n",
        "endpoint: unix://tmp/csi.sock\n",
        "endpoint: localhost:9000\n",
        "endpoint: https://a:1\n",
    ]));
}

#[test]
fn keys_that_stand_twice() {
    insta::assert_snapshot!(all(&[
        "endpoint: /a\njobs: 3\nendpoint: /b\n",
        "parameters:\n  type: a\n  type: b\n",
        "volumes:\n  - id: a\n    id: b\n",
        "secrets:\n  all: {user: hidden1, user: hidden2}\n",
    ]));
}

#[test]
fn broken_yaml() {
    assert_eq!(
        error("volume:\n\tsize: 1Gi\n"),
        "csi-conformance.yaml:2:1: broken YAML: expected spaces, found a tab: \
         YAML is indented with spaces only"
    );
    insta::assert_snapshot!(all(&[
        "\tendpoint: /a\n",
        "volume: {size: 1Gi\n",
        "allow: [restart\n",
        "report_dir: 'abc\n",
        "volume:\n  size: 1Gi\n jobs: 3\n",
        "volume:\n   size: 1Gi\n  limit: 2Gi\n",
        " endpoint: /a\njobs: 3\n",
        "endpoint: /a\njobs\nthorough: true\n",
        "report_dir: a: b\n",
        "report_dir: @a\n",
        "report_dir: *a\n",
        "report_dir: \"\\q\"\n",
        "report_dir: a\u{1}b\n",
        "allow:\n- hang\n restart\n- fill\nx\n",
        "# one\n---\njobs: 3\n---\njobs: 4\n",
    ]));
}

#[test]
fn contradictions() {
    insta::assert_snapshot!(all(&[
        "endpoint: /a\nnode_endpoint: /b\ncontroller_endpoint: /c\n",
        "driver:\n  command: [a]\n  pid: 3\n  pid_file: /a\n",
        "driver: {pid: 0}\n",
        "driver: {command: ['', a]}\n",
        "driver:\n  command:\n    - ./a\n    - ${endpont}\n",
        "driver: {command: ['./a', '${endpoint']}\n",
        "driver: {env: {A: '${home}'}}\n",
        "driver: {env: {A=B: c}}\n",
        "driver: {name_template: fixed}\n",
        "driver: {name_template: ''}\n",
        "driver: {unknown_volume_id: '${name}'}\n",
        "driver: {ready_timeout: 0s}\n",
        "volume: {size: 0}\n",
        "volume:\n  size: 1Gi\n  limit: 64Mi\n",
        "volume: {access_types: [], access_modes: []}\n",
        "volume: {mount_flags: [a, '']}\n",
        "volume: {mount_group: ''}\n",
        "volumes:\n  - id: ''\n",
        "volumes:\n  - id: a\n  - id: b\n  - id: a\n",
        "volumes:\n  - id: a\n    context: {x: '${m}'}\n",
        "volumes:\n  - id: a\n    access_types: [block]\n    fs_type: ext4\n",
        "volumes:\n  - id: a\n    read_only: true\n    scratch: true\n",
        "paths: {target_root: targets}\n",
        "paths: {kubelet_root: /a/../b}\n",
        "paths:\n  in_driver:\n    - {ours: /a, drivers: b}\n",
        "paths: {pod_uid: a/b}\n",
        "hooks: {after_create_volume: [a, '${volume}']}\n",
        "deadline: 0\n",
        "deadlines: {Probe: 0s}\n",
        "jobs: 0\n",
        "max_volumes: 0\n",
        "report_dir: ''\n",
        "checks:\n  only: [a]\n  skip: [b, a]\n",
        "checks: {only: ['']}\n",
        "expected:\n  - check: a\n    reason: ' '\n",
        "expected:\n  - {check: a, reason: b}\n  - {check: a, reason: c}\n",
    ]));
}

/// A mistake beside a secret must not show it.
#[test]
fn no_message_repeats_a_secret() {
    for yaml in [
        "secrets: hunter2\n",
        "secrets: {all: hunter2}\n",
        "secrets: {node_stage: 'hunter2, expected a map'}\n",
        "secrets: {node_stage: [hunter2]}\n",
        "secrets: {node_stage: {k: [hunter2]}}\n",
        "secrets:\n  all:\n    password: hunter2: x\n",
        "secrets:\n  all:\n    password: 'hunter2\n",
        "secrets:\n  all:\n    password: @hunter2\n",
        "secrets:\n  all: {password: hunter2\n",
        "secrets:\n  all:\n    password: a\n\thunter2\n",
        "driver: {env: hunter2}\n",
        "driver: {env: {A: '${hunter2'}}\n",
    ] {
        let error = error(yaml);
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn the_error_is_typed() {
    let error = Config::from_yaml("jobs: x\n", Path::new("a.yaml")).unwrap_err();
    let ConfigError::Mistakes(mistakes) = error else {
        panic!("{error:?}");
    };
    let place = mistakes[0].place.expect("a place");
    assert_eq!((place.line, place.column), (1, 7));
}
