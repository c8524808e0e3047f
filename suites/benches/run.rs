//! What does a whole run cost?
//!
//! `cargo bench -p csi-conformance --bench run`, as root. It prints, for the
//! command as it is released and the built-in driver: the wall time of a whole
//! run, the time from its start to the first call, and the most memory that the
//! harness held (without its driver). Nothing here fails by being slow.

use std::error::Error;
use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use csi_harness::node::Host;
use csi_harness::report::{Report, json};

/// So often; what is told is the best and the middle.
const TIMES: usize = 5;

/// What one run cost.
#[derive(Debug, Clone, Copy)]
struct Cost {
    wall: Duration,
    /// From the start to the first connection to a driver that is there.
    first_call: Duration,
    /// Of the harness alone, in KiB.
    peak: u64,
}

fn main() -> ExitCode {
    // `cargo test --benches` asks for nothing to be measured.
    if !std::env::args().any(|word| word == "--bench") {
        return ExitCode::SUCCESS;
    }
    let host = Host::look();
    let needs = ["root", "CAP_SYS_ADMIN", "loop", "ext4"];
    if let Some(lacking) = needs.into_iter().find(|name| !host.has(name)) {
        println!("not measured: the host lacks {lacking}");
        return ExitCode::SUCCESS;
    }
    match measured() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn measured() -> Result<(), Box<dyn Error>> {
    let mut costs = Vec::new();
    for _ in 0..TIMES {
        let (cost, report) = one()?;
        let (ran, calls) = (report.totals.ran(), report.calls);
        println!(
            "{ran} checks, {calls} calls: {:.2} s, first call after {:.0} ms, peak {:.1} MiB",
            cost.wall.as_secs_f64(),
            cost.first_call.as_secs_f64() * 1e3,
            mib(cost.peak)
        );
        costs.push(cost);
    }
    line(
        "whole built-in run",
        "10 s",
        &costs,
        |c| c.wall.as_secs_f64(),
        "s",
    );
    let first = |c: &Cost| c.first_call.as_secs_f64() * 1e3;
    line("start to first call", "100 ms", &costs, first, "ms");
    line(
        "peak memory of the harness",
        "40 MiB",
        &costs,
        |c| mib(c.peak),
        "MiB",
    );
    Ok(())
}

fn line(what: &str, limit: &str, costs: &[Cost], value: impl Fn(&Cost) -> f64, unit: &str) {
    let mut values: Vec<_> = costs.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    let (best, middle) = (values[0], values[values.len() / 2]);
    println!("{what:28} best {best:.2} {unit}, median {middle:.2} {unit} (aim: {limit})");
}

fn mib(kib: u64) -> f64 {
    f64::from(u32::try_from(kib).unwrap_or(u32::MAX)) / 1024.0
}

fn one() -> Result<(Cost, Report), Box<dyn Error>> {
    let place = tempfile::tempdir()?;
    let reports = place.path().join("report");
    let began = Instant::now();
    let mut child = command(place.path()).args(["--driver", "loop"]).spawn()?;
    // The kernel keeps the highest mark: only the last look counts.
    let mut peak = 0;
    let status = loop {
        peak = high_water(child.id()).unwrap_or(peak);
        if let Some(status) = child.try_wait()? {
            break status;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let wall = began.elapsed();
    let report = json::read(&reports).map_err(|error| format!("{error}; {status}"))?;
    if status.code() != Some(0) {
        return Err(format!("{status}: see {}", place.keep().display()).into());
    }
    let first_call = first_call(place.path())?;
    let cost = Cost {
        wall,
        first_call,
        peak,
    };
    Ok((cost, report))
}

/// Starts a run against a socket of ours, and waits for it to be called there.
fn first_call(folder: &Path) -> Result<Duration, Box<dyn Error>> {
    let socket = folder.join("csi.sock");
    let listener = UnixListener::bind(&socket)?;
    let began = Instant::now();
    let mut child = command(folder).arg("--endpoint").arg(&socket).spawn()?;
    let connection = listener.accept()?;
    let took = began.elapsed();
    // Nobody answers: it ends by itself, and takes its folders away.
    drop((connection, listener));
    child.wait()?;
    Ok(took)
}

/// A run, with nothing to read for anybody.
fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_csi-conformance"));
    command
        .args(["run", "--report-dir"])
        .arg(folder.join("report"))
        .env("CSI_CONFORMANCE_STATE", folder.join("state"))
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// `VmHWM` of a process (`proc_pid_status(5)`), in KiB.
fn high_water(pid: u32) -> Option<u64> {
    let status =
        fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
