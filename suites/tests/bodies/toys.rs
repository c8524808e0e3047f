//! Checks that break on their way, run by the engine like any other.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use csi_harness::check;
use csi_harness::check::{Basis, Check, Checked, Clause, Cx, Level, Need, Outcome, Stop, Want};
use csi_harness::config::{AccessType, Config};
use csi_harness::node::{MountTable, loops};
use csi_harness::report::{Report, SuiteInfo};
use csi_harness::run::{Request, Selection, Setup, conduct};
use tokio::sync::mpsc::unbounded_channel;

use super::Tested;

const CLAUSE: Clause = Clause {
    id: "toy",
    level: Level::Must,
    basis: Basis::Integrity,
    text: "Toys are put away.",
    section: "Toys",
    url: "https://example.org/toys",
};

check! {
    /// A body that panics in the middle.
    PANICS = "toy.panics",
    clauses: [CLAUSE],
    needs: Need::MOUNT,
    volumes: 1, calls: 10,
    run: panics,
}

async fn panics(cx: &Cx) -> Checked {
    publish(cx).await?;
    panic!("a panic on purpose");
}

check! {
    /// A body that does not end.
    NEVER_ENDS = "toy.never-ends",
    clauses: [CLAUSE],
    needs: Need::MOUNT,
    volumes: 1, calls: 1,
    run: never_ends,
}

async fn never_ends(cx: &Cx) -> Checked {
    publish(cx).await?;
    std::future::pending().await
}

check! {
    /// A body that fails while its volume is published.
    FAILS = "toy.fails",
    clauses: [CLAUSE],
    needs: Need::MOUNT,
    volumes: 1, calls: 10,
    run: fails,
}

async fn fails(cx: &Cx) -> Checked {
    publish(cx).await?;
    Err(Stop::fail("on purpose"))
}

check! {
    /// A body that ends well beside them.
    WELL = "toy.well",
    clauses: [CLAUSE],
    needs: Need::MOUNT,
    volumes: 1, calls: 10,
    run: well,
}

async fn well(cx: &Cx) -> Checked {
    publish(cx).await
}

/// Makes something that has to be taken back.
async fn publish(cx: &Cx) -> Checked {
    let staged = cx.volume(Want::any()).await?.stage().await?;
    staged.publish("a").await?.is_mounted_once().await
}

/// However a body ends, nothing is left of it, and the others go on.
pub(crate) fn put_away(scratch: &Path) -> Tested {
    static TOYS: &[&Check] = &[&FAILS, &NEVER_ENDS, &PANICS, &WELL];
    let report = run(scratch, TOYS)?;
    let came = |id: &str| {
        let found = report.checks.iter().find(|check| check.id == id);
        found.map(|check| (check.outcome, check.message.as_str()))
    };
    let due = [
        ("toy.fails", Outcome::Fail, "on purpose"),
        ("toy.never-ends", Outcome::Error, "did not end within"),
        ("toy.panics", Outcome::Error, "a panic on purpose"),
        ("toy.well", Outcome::Pass, ""),
    ];
    for (id, outcome, words) in due {
        let found = came(id).ok_or("a toy is missing")?;
        if found.0 != outcome || !found.1.contains(words) {
            return Err(format!("{id}: {found:?}; {outcome:?} was due").into());
        }
    }
    if !report.ledger.is_empty() {
        return Err(format!("the driver was blamed: {:?}", report.ledger).into());
    }
    let table = MountTable::ours()?;
    if let Some(mount) = table.under(scratch).first() {
        return Err(format!("left: {}", mount.line()).into());
    }
    let left = loops()?;
    let left = left
        .iter()
        .find(|device| device.backing.starts_with(scratch));
    match left {
        None => Ok(()),
        Some(device) => Err(format!("left: /dev/loop{}", device.number).into()),
    }
}

fn run(scratch: &Path, checks: &'static [&'static Check]) -> Result<Report, Box<dyn Error>> {
    let mut config = Config {
        deadline: Duration::from_secs(10),
        quiet_period: Some(Duration::from_millis(100)),
        ..Config::default()
    };
    config.volume.file_systems = vec!["ext4".into()];
    config.volume.access_types = vec![AccessType::Mount];
    let driver = [
        env!("CARGO_BIN_EXE_csi-conformance"),
        "driver",
        "loop",
        "--endpoint",
        "${endpoint}",
        "--state-dir",
        "${state_dir}",
    ];
    config.driver.command = driver.map(str::to_owned).to_vec();
    let request = Request {
        config: Arc::new(config),
        setup: Setup {
            scratch: Some(scratch.to_owned()),
            our_own_driver: true,
            ..Setup::default()
        },
        checks,
        selection: Selection::default(),
        suite: SuiteInfo {
            version: "0".into(),
            commit: "unknown".into(),
            spec: "1.13.0".into(),
        },
    };
    let runtime = tokio::runtime::Runtime::new()?;
    let (events, mut heard) = unbounded_channel();
    let report = runtime.block_on(async {
        let listener = tokio::spawn(async move { while heard.recv().await.is_some() {} });
        let report = conduct(request, events).await;
        listener.abort();
        report
    })?;
    Ok(report)
}
