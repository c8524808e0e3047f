//! Bad input: one line that says what is wrong, and exit code 3.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::sync::Arc;

use libtest_mimic::Trial;

use super::world::{Place, Tested, World, end, has};

pub(crate) fn trials(world: &Arc<World>) -> Vec<Trial> {
    vec![
        world.root_trial("input::no_socket", no_socket),
        world.root_trial("input::a_stale_socket", a_stale_socket),
        world.root_trial("input::a_plain_file", a_plain_file),
        world.root_trial("input::who_hangs_up", who_hangs_up),
        world.root_trial("input::who_speaks_http_1", who_speaks_http_1),
        world.root_trial("input::not_root", not_root),
        world.trial(
            "input::a_driver_without_endpoint",
            a_driver_without_endpoint,
        ),
        world.trial("input::broken_yaml", broken_yaml),
        world.trial("input::an_unknown_key", an_unknown_key),
        world.trial("input::an_unknown_variable", an_unknown_variable),
        world.trial("input::a_configuration_that_is_not_there", not_there),
        world.trial("input::an_unknown_check", an_unknown_check),
        world.trial(
            "input::an_unknown_check_in_the_file",
            an_unknown_check_in_the_file,
        ),
        world.root_trial("input::an_unknown_known_failure", an_unknown_known_failure),
        world.trial("input::an_unknown_command", an_unknown_command),
        world.trial("input::an_unknown_defect", an_unknown_defect),
        world.trial("input::flags_that_contradict", flags_that_contradict),
    ]
}

fn asked(place: &Place, endpoint: &str) -> Tested {
    let line = place.run(["run", "--endpoint", endpoint])?.refused()?;
    assert!(
        !place.path.join("csi-conformance-report").exists(),
        "an empty report folder stays"
    );
    has(&line, &["no CSI driver answers", "csi.sock"])
}

fn no_socket(place: &Place) -> Tested {
    asked(place, "unix:///nowhere/csi.sock")
}

fn a_stale_socket(place: &Place) -> Tested {
    let socket = place.path.join("csi.sock");
    drop(UnixListener::bind(&socket)?);
    asked(place, &socket.display().to_string())
}

fn a_plain_file(place: &Place) -> Tested {
    asked(place, &place.write("csi.sock", "")?.display().to_string())
}

fn who_hangs_up(place: &Place) -> Tested {
    let socket = place.path.join("csi.sock");
    let listener = UnixListener::bind(&socket)?;
    std::thread::spawn(move || listener.incoming().for_each(drop));
    asked(place, &socket.display().to_string())
}

fn who_speaks_http_1(place: &Place) -> Tested {
    let socket = place.path.join("csi.sock");
    let listener = UnixListener::bind(&socket)?;
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 64]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    asked(place, &socket.display().to_string())
}

fn not_root(place: &Place) -> Tested {
    let (mut command, _folder) = place.command_for_all()?;
    let line = end(command
        .args(["run", "node-get-info"])
        .uid(65534)
        .gid(65534)
        .spawn()?)?
    .refused()?;
    has(&line, &["needs root", "sudo -E", "run node-get-info"])
}

fn a_driver_without_endpoint(place: &Place) -> Tested {
    let told = place.run(["driver", "loop"])?.code(3)?.err;
    has(&told, &["--endpoint", "--state-dir"])
}

fn broken_yaml(place: &Place) -> Tested {
    place.write("csi-conformance.yaml", "endpoint: /csi.sock\njobs: [1\n")?;
    let told = place.run(["run"])?.code(3)?.err;
    has(&told, &["csi-conformance.yaml:", "expected"])
}

fn an_unknown_key(place: &Place) -> Tested {
    let file = place.write("mine.yaml", "endpoint: /csi.sock\nquiet_perod: 3s\n")?;
    let told = place
        .run(["run", "--config", &file.display().to_string()])?
        .code(3)?
        .err;
    has(
        &told,
        &["mine.yaml:2", "quiet_perod", "did you mean `quiet_period`"],
    )
}

fn an_unknown_variable(place: &Place) -> Tested {
    let mistakes = [
        ("${lab.nfs.sever}", "did you mean `lab.nfs.server`"),
        ("${pvc.metadata.name}", "write `$${pvc.metadata.name}`"),
    ];
    for (value, help) in mistakes {
        let content = format!("endpoint: /csi.sock\nparameters:\n  server: \"{value}\"\n");
        let file = place.write("mine.yaml", &content)?.display().to_string();
        let told = place.run(["run", "--config", &file])?.code(3)?.err;
        has(
            &told,
            &["mine.yaml:3", value.trim_matches(['$', '{', '}']), help],
        )?;
    }
    Ok(())
}

fn not_there(place: &Place) -> Tested {
    let line = place.run(["run", "--config", "mine.yaml"])?.refused()?;
    has(&line, &["mine.yaml", "no such file"])
}

fn an_unknown_check(place: &Place) -> Tested {
    for arguments in [
        ["run", "node-get-info.id-is-sett"],
        ["explain", "node-get-info.id-is-sett"],
        ["list", "node-get-info.id-is-sett"],
        ["--skip", "node-get-info.id-is-sett"],
        ["--exact", "node-get-info.id-is-sett"],
    ] {
        has(
            &place.run(arguments)?.refused()?,
            &["`node-get-info.id-is-set`"],
        )?;
    }
    has(
        &place.run(["run", "--exact", "node-get-info"])?.refused()?,
        &["no check is called"],
    )
}

fn an_unknown_check_in_the_file(place: &Place) -> Tested {
    for (content, words) in [
        (
            "checks: {only: [node-get-info.id-is-sett]}",
            ["`node-get-info.id-is-set`", "no check"],
        ),
        (
            "checks: {skip: [node-get-info.id-is-sett]}",
            ["`node-get-info.id-is-set`", "no check"],
        ),
    ] {
        place.write("csi-conformance.yaml", content)?;
        has(&place.run(["run"])?.refused()?, &words)?;
    }
    Ok(())
}

/// Its file may be older than the suite: it is told, and no more.
fn an_unknown_known_failure(place: &Place) -> Tested {
    place.write(
        "csi-conformance.yaml",
        "# one\nexpected:\n- check: node-get-info.id-is-sett\n  reason: none\n",
    )?;
    let ended = place.run(["run", "node-get-info"])?.code(0)?;
    has(&ended.out, &["`node-get-info.id-is-set`", "line 3"])
}

fn an_unknown_command(place: &Place) -> Tested {
    has(&place.run(["lsit"])?.refused()?, &["`lsit`", "`list`"])
}

fn an_unknown_defect(place: &Place) -> Tested {
    let told = place.run(["run", "--defect", "wrong-volum"])?.refused()?;
    has(&told, &["wrong-volume"])?;
    let state = place.path.join("driver").display().to_string();
    let driver = [
        "driver",
        "loop",
        "--endpoint",
        "/x/csi.sock",
        "--state-dir",
        &state,
    ];
    has(
        &place
            .run(driver.into_iter().chain(["--defect", "wrong-volum"]))?
            .refused()?,
        &["wrong-volume"],
    )
}

fn flags_that_contradict(place: &Place) -> Tested {
    let told = place
        .run(["run", "--endpoint", "/csi.sock", "--driver", "loop"])?
        .code(3)?
        .err;
    has(&told, &["--endpoint", "--driver"])?;
    has(
        &place.run(["run", "--endpoint", "host:1"])?.code(3)?.err,
        &["tcp://host:1"],
    )?;
    has(
        &place.run(["run", "--jobs", "0"])?.code(3)?.err,
        &["--jobs"],
    )
}
