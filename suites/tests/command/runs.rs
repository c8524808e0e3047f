//! Runs against the built-in driver, and their exit codes.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::sync::Arc;

use csi_harness::check::{Lacking, Outcome};
use csi_harness::lab::nfs_missing;
use csi_harness::report::{Report, Verdict, json};
use libtest_mimic::Trial;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::world::{Ended, Place, Tested, World, end, has};

pub(crate) fn trials(world: &Arc<World>) -> Vec<Trial> {
    vec![
        world.root_trial("runs::nothing_found_is_0", nothing_found),
        world.root_trial("runs::a_finding_is_1", a_finding),
        world.root_trial("runs::reports_and_what_changed", reports),
        world.root_trial("runs::less_than_required_is_2", less_than_required),
        world.root_trial("runs::nothing_ran_is_4", nothing_ran),
        world.root_trial("runs::an_endpoint_of_another", an_endpoint_of_another),
        world.root_trial("runs::a_known_failure", a_known_failure),
        world.root_trial("runs::without_nfs_it_says_where", without_nfs),
        world.root_trial("runs::a_plan_does_nothing", a_plan_does_nothing),
        world.root_trial(
            "runs::the_driver_gets_its_arguments",
            the_driver_gets_its_arguments,
        ),
        world.root_trial("runs::an_interrupted_run_leaves_nothing", interrupted),
    ]
}

fn report(place: &Place) -> Result<Report, Box<dyn std::error::Error>> {
    Ok(json::read(&place.path.join("csi-conformance-report"))?)
}

/// Nothing stays of a run.
fn left_nothing(place: &Place, ended: Ended) -> Result<Ended, Box<dyn std::error::Error>> {
    match place.runs_left() {
        0 => Ok(ended),
        n => Err(format!("{n} runs are left: {ended:#?}").into()),
    }
}

/// Where the kernel has no NFS, what needs it is skipped, and the report says how
/// to run it. Where it has, it runs.
fn without_nfs(place: &Place) -> Tested {
    let arguments = ["--driver", "nfs", "nfs-publish.denied", "get-plugin-info"];
    let ended = left_nothing(place, place.run(arguments)?.code(0)?)?;
    let report = report(place)?;
    let denied = report
        .checks
        .iter()
        .find(|c| c.id.starts_with("nfs-publish.denied"));
    let denied = denied.ok_or("the check is not in the report")?;
    match nfs_missing() {
        None => assert_eq!(denied.outcome, Outcome::Pass, "{denied:#?}"),
        Some(_) => {
            let skip = denied.skip.as_ref().ok_or("it was not skipped")?;
            assert_eq!(skip.lacking, Lacking::Host);
            has(&skip.need, &["NFS", "ci/vm/run"])?;
            has(&ended.out, &["not possible on this host", "ci/vm/run"])?;
        }
    }
    Ok(())
}

/// The flags of `run` need no word before them.
fn nothing_found(place: &Place) -> Tested {
    let ended = left_nothing(
        place,
        place
            .run(["node-get-info", "node-publish.target"])?
            .code(0)?,
    )?;
    has(
        &ended.out,
        &[
            "starting the built-in loop driver",
            "CSI_ENDPOINT",
            "partial",
        ],
    )?;
    let report = report(place)?;
    assert_eq!((report.schema, report.verdict), (1, Verdict::Partial));
    assert!(
        report.totals.pass > 3 && report.totals.fail == 0,
        "{:?}",
        report.totals
    );
    let written = fs::read_to_string(place.path.join("csi-conformance-report/report.json"))?;
    assert!(
        !written.contains("canary-password"),
        "a secret is in the report"
    );
    Ok(())
}

fn a_finding(place: &Place) -> Tested {
    let run = [
        "run",
        "--driver",
        "loop",
        "--defect",
        "readonly-flag-ignored",
        "node-publish.read-only",
    ];
    let ended = left_nothing(place, place.run(run)?.code(1)?)?;
    has(
        &ended.out,
        &["with readonly-flag-ignored", "FAIL", "nonconformant"],
    )?;
    // The line to see it again is a line for a shell.
    has(
        &ended.out,
        &["run --driver loop --defect readonly-flag-ignored --exact 'node-publish.read-only"],
    )?;
    assert_eq!(report(place)?.verdict, Verdict::Nonconformant);
    Ok(())
}

/// A run without the finding and one with it: both have all files, and what is made
/// from report.json later is the same.
fn reports(place: &Place) -> Tested {
    let run = |dir: &str, defects: &[&str], code| -> Tested {
        let filter = "node-publish.read-only-takes-no-write[ext4]";
        let words = [
            "run",
            "--driver",
            "loop",
            "--exact",
            filter,
            "--report-dir",
            dir,
        ];
        let ended = place.run(words.iter().chain(defects))?.code(code)?;
        left_nothing(place, ended).map(drop)
    };
    run("old", &[], 0)?;
    run("new", &["--defect", "readonly-flag-ignored"], 1)?;

    let read = |name: &str| fs::read_to_string(place.path.join("new").join(name));
    let events = read("events.jsonl")?;
    for event in ["started", "check_started", "call", "check_settled", "ended"] {
        has(&events, &[&format!("{{\"event\":\"{event}\"")])?;
    }
    has(&read("badge.json")?, &["nonconformant"])?;
    has(
        &read("junit.xml")?,
        &["failures=\"1\"", "node-publish.read-only"],
    )?;
    let page = read("report.html")?;
    has(&page, &["<svg", "--defect readonly-flag-ignored --exact"])?;
    let summary = read("summary.md")?;
    for name in ["report.html", "junit.xml", "summary.md", "badge.json"] {
        fs::remove_file(place.path.join("new").join(name))?;
    }
    let told = place.run(["report", "new"])?.code(0)?.out;
    has(&told, &["new/report.html", "new/events.jsonl"])?;
    assert_eq!((read("report.html")?, read("summary.md")?), (page, summary));
    assert_eq!(read("events.jsonl")?, events, "they are those of the run");

    let worse = place.run(["compare", "old", "new"])?.code(1)?.out;
    has(
        &worse,
        &[
            "# 1 new finding",
            "node-publish.read-only-takes-no-write[ext4]",
        ],
    )?;
    let better = place
        .run(["compare", "new", "old/report.json"])?
        .code(0)?
        .out;
    has(&better, &["# 1 gone finding"])?;
    place.run(["compare", "old", "nowhere"])?.refused()?;
    place.run(["report", "nowhere"])?.refused().map(drop)
}

fn less_than_required(place: &Place) -> Tested {
    place
        .run(["run", "node-get-info", "--require", "conformant"])?
        .code(2)
        .map(drop)
}

fn nothing_ran(place: &Place) -> Tested {
    place
        .run(["run", "node-get-info", "--skip", "node-get-info"])?
        .code(4)
        .map(drop)
}

/// A driver that runs already, in our own namespace, and is no child of the run.
fn an_endpoint_of_another(place: &Place) -> Tested {
    let socket = place.path.join("csi.sock").display().to_string();
    let state = place.path.join("driver").display().to_string();
    let driver = [
        "driver",
        "loop",
        "--endpoint",
        &socket,
        "--state-dir",
        &state,
    ];
    // Nobody reads its log: in a pipe it would stand still when that is full.
    let mut driver = place
        .command()
        .args(driver)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    // The run itself waits for half a second; the socket must be there by then.
    while fs::metadata(&socket).is_err() {
        if let Some(status) = driver.try_wait()? {
            return Err(format!("the driver ended: {status}").into());
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let mut run = place.command();
    run.env("CSI_ENDPOINT", format!("unix://{socket}")).args([
        "run",
        "node-publish",
        "node-get-info",
    ]);
    let ended = end(run.spawn()?);
    driver.kill()?;
    driver.wait()?;
    let ended = left_nothing(place, ended?.code(0)?)?;
    assert!(!ended.out.contains("built-in"), "{}", ended.out);
    assert!(report(place)?.totals.pass > 10);
    Ok(())
}

fn a_known_failure(place: &Place) -> Tested {
    place.write(
        "csi-conformance.yaml",
        "expected:\n- check: node-publish.read-only-takes-no-write\n  reason: we know\n",
    )?;
    let run = [
        "--defect",
        "readonly-flag-ignored",
        "node-publish.read-only-takes-no-write",
    ];
    let ended = place.run(run)?.code(0)?;
    has(&ended.out, &["failed as expected", "we know", "partial"])
}

fn a_plan_does_nothing(place: &Place) -> Tested {
    place.write("csi-conformance.yaml", "volume: {access_types: [mount]}")?;
    let ended = left_nothing(place, place.run(["run", "--plan"])?.code(0)?)?;
    has(
        &ended.out,
        &[
            "would run",
            "would skip",
            "the user lacks block",
            "volumes",
            "calls",
        ],
    )?;
    match place.path.join("csi-conformance-report").exists() {
        true => Err("a plan writes no report".into()),
        false => Ok(()),
    }
}

fn the_driver_gets_its_arguments(place: &Place) -> Tested {
    let run = [
        "--driver-arg=--call-delay=120ms",
        "--exact",
        "node-get-info.id-is-set",
    ];
    place.run(run)?.code(0)?;
    let report = report(place)?;
    let took = report
        .checks
        .iter()
        .map(|check| check.duration_ms)
        .max()
        .unwrap_or_default();
    // The least that one call takes, not the most.
    assert!(took >= 120, "{took} ms");
    Ok(())
}

fn interrupted(place: &Place) -> Tested {
    let mut child = place
        .command()
        .arg("--driver-arg=--call-delay=50ms")
        .spawn()?;
    let out = child.stdout.take().ok_or("no output")?;
    let mut lines = BufReader::new(out).lines();
    let begun = lines
        .by_ref()
        .map_while(Result::ok)
        .find(|line| line.starts_with("pass"));
    assert!(begun.is_some(), "nothing passed before the end");
    kill(Pid::from_raw(child.id().try_into()?), Signal::SIGINT)?;
    // Nobody may stop reading, or the run would only stop showing.
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    let ended = left_nothing(place, end(child)?.code(130)?)?;
    has(&ended.err, &["interrupted"])?;
    has(&rest.join("\n"), &["a run that is not interrupted"])
}
