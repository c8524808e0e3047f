//! `run --plan`: what a run would do.

use std::collections::BTreeMap;
use std::process::ExitCode;

use csi_harness::check::{Lacking, Skip};
use csi_harness::report::table;
use csi_harness::run::{Planned, Preview, Request, preview};

use super::screen::{say, width};
use crate::wrong::Wrong;

/// Asks the driver what it offers, and tells what would be asked of it then.
pub(super) async fn plan(request: &Request) -> Result<ExitCode, Wrong> {
    let preview = preview(request).await.map_err(Wrong::from)?;
    say(&render(&preview, request.config.jobs, width()));
    match preview.plan.runs().next() {
        Some(_) => Ok(ExitCode::SUCCESS),
        None => Ok(4.into()),
    }
}

fn render(preview: &Preview, jobs: usize, width: usize) -> String {
    let Preview { plan, driver, .. } = preview;
    let runs = plan.runs().count();
    let mut text = format!(
        "{} {} at {}\n\n",
        driver.name, driver.version, driver.endpoint
    );
    text += &table(&plan.cases.iter().map(case_row).collect::<Vec<_>>(), width);
    text.push('\n');

    let mut rows = vec![vec![
        "would run".to_owned(),
        format!("{runs} of {}", plan.cases.len()),
    ]];
    let mut lacks: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for Skip { need, lacking } in plan.cases.iter().filter_map(|case| case.skip.as_ref()) {
        *lacks.entry((who(*lacking), need)).or_default() += 1;
    }
    for ((who, need), count) in lacks {
        rows.push(vec![
            "would skip".to_owned(),
            format!("{count}: the {who} lacks {need}"),
        ]);
    }
    let left_out = plan.in_suite.saturating_sub(plan.selected());
    if left_out > 0 {
        rows.push(vec![
            "left out".to_owned(),
            format!("{left_out} by a filter"),
        ]);
    }
    rows.push(vec![
        "volumes".to_owned(),
        format!("at most {} at once, with {jobs} jobs", preview.volumes),
    ]);
    rows.push(vec![
        "calls".to_owned(),
        format!("at most {}", preview.calls),
    ]);
    text + &table(&rows, width)
}

fn case_row(case: &Planned) -> Vec<String> {
    match &case.skip {
        None => vec!["run".to_owned(), case.id.clone()],
        Some(skip) => {
            let why = format!("{}: the {} lacks {}", case.id, who(skip.lacking), skip.need);
            vec!["skip".to_owned(), why]
        }
    }
}

fn who(lacking: Lacking) -> &'static str {
    match lacking {
        Lacking::Driver => "driver",
        Lacking::Host => "host",
        Lacking::User => "user",
    }
}
