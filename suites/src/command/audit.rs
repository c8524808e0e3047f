//! `audit`: what is wrong on a living node, without any driver.

use std::process::ExitCode;

use csi_harness::audit::{Audit, Finding, Options, audit as look};
use csi_harness::report::table;

use super::args::AuditArgs;
use super::screen::{say, width};
use crate::wrong::Wrong;

/// The exit code where something was found.
const FOUND: u8 = 1;

/// Looks, and changes nothing.
pub(super) fn audit(args: &AuditArgs) -> Result<ExitCode, Wrong> {
    let options = Options {
        kubelet_root: args.kubelet_root.clone(),
        deadline: args.deadline,
        settle: args.settle,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|error| Wrong(format!("the runtime: {error}")))?;
    let audit = runtime.block_on(look(&options)).map_err(Wrong::from)?;
    match args.json {
        true => say(&format!(
            "{}\n",
            serde_json::to_string_pretty(&audit).map_err(Wrong::from)?
        )),
        false => say(&render(&audit, width())),
    }
    Ok(match audit.findings.is_empty() {
        true => ExitCode::SUCCESS,
        false => FOUND.into(),
    })
}

fn render(audit: &Audit, width: usize) -> String {
    let mut text = format!(
        "{} mounts below {}: {}\n",
        audit.mounts,
        audit.kubelet_root,
        match audit.findings.len() {
            0 => "nothing is wrong with them".to_owned(),
            1 => "1 finding".to_owned(),
            count => format!("{count} findings"),
        }
    );
    for finding in &audit.findings {
        text += &format!("\n{:19}{}\n", finding.kind, finding.headline);
        text += &table(&rows(finding), width);
    }
    if audit.findings.len() > 1 {
        let counts = audit.counts();
        let counts: Vec<_> = counts
            .iter()
            .map(|(kind, n)| format!("{n} {kind}"))
            .collect();
        text += &format!("\n{}\n", counts.join(", "));
    }
    if !audit.lacking.is_empty() {
        text += "\nnot looked at\n";
        let lines = audit
            .lacking
            .iter()
            .map(|what| vec!["  ".into(), what.clone()]);
        text += &table(&lines.collect::<Vec<_>>(), width);
    }
    text
}

fn rows(finding: &Finding) -> Vec<Vec<String>> {
    let volumes = finding
        .volumes
        .iter()
        .map(|volume| format!("{} of {}", volume.handle, volume.driver));
    let mut rows = Vec::new();
    let mut put = |label: &str, lines: &mut dyn Iterator<Item = String>| {
        for (number, line) in lines.enumerate() {
            let label = if number == 0 { label } else { "" };
            rows.push(vec![format!("  {label}"), line]);
        }
    };
    put("at", &mut finding.paths.iter().cloned());
    put("volume", &mut volumes.into_iter());
    put("pod", &mut finding.pods.iter().cloned());
    put("seen", &mut finding.facts.iter().cloned());
    put("mountinfo", &mut finding.mounts.iter().cloned());
    put("kernel", &mut finding.kernel_log.iter().cloned());
    put(
        "means",
        &mut std::iter::once(finding.kind.means().to_owned()),
    );
    rows
}
