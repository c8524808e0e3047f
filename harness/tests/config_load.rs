//! The file, then the environment, then whoever sets the fields.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use csi_harness::config::{Allow, Config, Endpoint, FILE_NAME, Require};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

type Environment<'a> = &'a [(&'a str, &'a str)];

fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a scratch folder");
    for (name, content) in files {
        std::fs::write(folder.path().join(name), content).expect("a scratch file");
    }
    folder
}

fn load(file: Option<&str>, folder: &Path, environment: Environment<'_>) -> Result<Config, String> {
    let lookup = |name: &str| {
        let found = environment.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| OsString::from(value))
    };
    Config::load_from(file.map(Path::new), folder, &lookup).map_err(|error| error.to_string())
}

#[test]
fn nothing_said_is_the_default() {
    let empty = folder(&[]);
    assert_eq!(load(None, empty.path(), &[]), Ok(Config::default()));
    for content in [
        "",
        "# nothing\n",
        "---\n",
        "{}\n",
        "volume:\nsecrets:\nvolumes:\nallow:\nparameters:\nexpected:\nhooks:\n",
    ] {
        let folder = folder(&[(FILE_NAME, content.as_bytes())]);
        assert_eq!(
            load(None, folder.path(), &[]),
            Ok(Config::default()),
            "{content:?}"
        );
    }
}

#[test]
fn the_default_is_sound_and_complete() {
    let config = Config::default();
    config.validate().unwrap();
    assert_eq!(
        config.deadline_of("NodePublishVolume"),
        Duration::from_secs(120)
    );
    assert_eq!(config.jobs, 8);
    assert!(config.allowed(false).is_empty());
    assert_eq!(config.allowed(true).len(), Allow::ALL.len());
}

#[test]
fn the_file_in_the_working_directory_is_found() {
    let folder = folder(&[(FILE_NAME, b"jobs: 3\n"), ("other.yaml", b"jobs: 5\n")]);
    assert_eq!(load(None, folder.path(), &[]).unwrap().jobs, 3);
    assert_eq!(
        load(Some("other.yaml"), folder.path(), &[]).unwrap().jobs,
        5
    );
    let by_environment = [("CSI_CONFORMANCE_CONFIG", "other.yaml")];
    assert_eq!(load(None, folder.path(), &by_environment).unwrap().jobs, 5);
    assert_eq!(
        load(Some(FILE_NAME), folder.path(), &by_environment)
            .unwrap()
            .jobs,
        3
    );
}

#[test]
fn the_environment_wins_over_the_file() {
    let file = b"controller_endpoint: /a\nnode_endpoint: /b\njobs: 3\nallow: [hang]\n\
                 deadline: 3s\nreport_dir: a\nrequire: conformant\n";
    let folder = folder(&[(FILE_NAME, file)]);
    let config = load(
        None,
        folder.path(),
        &[
            ("CSI_ENDPOINT", "/run/csi.sock"),
            ("CSI_CONFORMANCE_JOBS", "7"),
            ("CSI_CONFORMANCE_ALLOW", "restart, fill"),
            ("CSI_CONFORMANCE_DEADLINE", "5s"),
            ("CSI_CONFORMANCE_REPORT_DIR", "b"),
            ("CSI_CONFORMANCE_REQUIRE", "partial"),
            ("CSI_CONFORMANCE_KUBELET_ROOT", "/k"),
            ("CSI_CONFORMANCE_POD_UID", "me"),
        ],
    )
    .unwrap();
    let endpoint = Endpoint::Unix("/run/csi.sock".into());
    assert_eq!(config.controller(), Some(&endpoint));
    assert_eq!(config.node(), Some(&endpoint));
    assert_eq!(config.jobs, 7);
    assert_eq!(
        config.allow,
        Some(BTreeSet::from([Allow::Restart, Allow::Fill]))
    );
    assert_eq!(config.deadline, Duration::from_secs(5));
    assert_eq!(config.report_dir, Some(PathBuf::from("b")));
    assert_eq!(config.require, Require::Partial);
    assert_eq!(config.paths.kubelet_root, Some(PathBuf::from("/k")));
    assert_eq!(config.paths.pod_uid.as_deref(), Some("me"));

    let none = load(None, folder.path(), &[("CSI_CONFORMANCE_ALLOW", "none")]).unwrap();
    assert_eq!(none.allow, Some(BTreeSet::new()));
    let empty = load(None, folder.path(), &[("CSI_CONFORMANCE_JOBS", "")]).unwrap();
    assert_eq!(empty.jobs, 3);
}

#[test]
fn what_is_wrong_with_the_environment() {
    let folder = folder(&[]);
    for (variable, value, message) in [
        (
            "CSI_CONFORMANCE_JOBS",
            "x",
            "expected a whole number from 1, found `x`",
        ),
        (
            "CSI_CONFORMANCE_JOBS",
            "0",
            "expected a whole number from 1, found `0`",
        ),
        (
            "CSI_CONFORMANCE_ALLOW",
            "hang,fil",
            "unknown consent `fil`; did you mean `fill`? (known: restart, hang, crash-inputs, fill, path-escape)",
        ),
        (
            "CSI_ENDPOINT",
            "unix://tmp/a",
            "`unix://tmp/a` has two slashes where three are needed; did you mean `unix:///tmp/a`?",
        ),
        (
            "CSI_CONFORMANCE_DEADLINE",
            "30",
            "`30` has no unit; did you mean `30s`? (units: ms, s, m, h)",
        ),
    ] {
        let error = load(None, folder.path(), &[(variable, value)]).unwrap_err();
        assert_eq!(error, format!("{variable} (environment): {message}"));
    }
    let bytes = |_: &str| Some(OsString::from_vec(vec![0xff]));
    let error = Config::load_from(Some(Path::new("a")), folder.path(), &bytes).unwrap_err();
    assert_eq!(error.to_string(), "a: no such file (named by --config)");
    let error = Config::load_from(None, folder.path(), &bytes).unwrap_err();
    assert_eq!(
        error.to_string(),
        "CSI_CONFORMANCE_CONFIG (environment): its value is not UTF-8"
    );
}

#[test]
fn what_is_wrong_with_the_file() {
    let folder = folder(&[
        ("csi-conformance.yml", b"jobs: 3\n"),
        ("latin.yaml", b"jobs: 3\nreport_dir: caf\xe9\n"),
        ("large.yaml", &[b'#'; (1 << 20) + 1]),
    ]);
    let error = |file| load(file, folder.path(), &[]).unwrap_err();
    assert_eq!(
        error(Some("no.yaml")),
        "no.yaml: no such file (named by --config)"
    );
    assert_eq!(
        load(
            None,
            folder.path(),
            &[("CSI_CONFORMANCE_CONFIG", "no.yaml")]
        )
        .unwrap_err(),
        "no.yaml: no such file (named by CSI_CONFORMANCE_CONFIG)"
    );
    assert_eq!(
        error(None),
        "csi-conformance.yml: would not be read; the file's name is csi-conformance.yaml \
         (or name it with --config)"
    );
    assert_eq!(
        load(Some("csi-conformance.yml"), folder.path(), &[])
            .unwrap()
            .jobs,
        3
    );
    assert_eq!(
        error(Some("latin.yaml")),
        "latin.yaml:2:16: broken YAML: expected UTF-8, found bytes that are none"
    );
    assert!(
        error(Some("large.yaml"))
            .ends_with("large.yaml: cannot be read: larger than 1 MiB, so no configuration")
    );
    assert!(error(Some(".")).ends_with("cannot be read: Is a directory (os error 21)"));
}

#[test]
fn what_was_set_by_hand_is_validated_by_key() {
    let config = Config {
        jobs: 0,
        endpoint: Some("/a".parse().unwrap()),
        node_endpoint: Some("/b".parse().unwrap()),
        ..Config::default()
    };
    assert_eq!(
        config.validate().unwrap_err().to_string(),
        "configuration: `node_endpoint`: given beside `endpoint`; give that one alone, or the two apart\n\
         configuration: `jobs`: must be at least 1"
    );
}
