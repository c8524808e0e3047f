//! What can be said on the command line.

use std::collections::BTreeSet;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use csi_drivers::mutation::Mutation;
use csi_harness::config::{Allow, Endpoint, ParseError, Require, consents, parse_duration};

use crate::builtin::BuiltIn;

const EXAMPLES: &str = "\
Examples:
  csi-conformance
      checks the built-in driver, to see that everything works here
  csi-conformance run --endpoint unix:///var/lib/kubelet/plugins/my.csi/csi.sock
      checks a driver that runs
  csi-conformance run --endpoint /csi/csi.sock node-publish --skip read-only
      only the checks with `node-publish` in their id, without some of them
  csi-conformance run --endpoint /csi/csi.sock --only node-stage.stages --repeat 20
      one check, twenty times: how often a racy finding shows itself
  csi-conformance run --endpoint /csi/csi.sock --plan
      what would be checked, skipped and needed; nothing is done
  csi-conformance explain node-get-info.id-is-set
      what a check wants, and why
  csi-conformance run --driver loop --defect readonly-flag-ignored
      the built-in driver with a bug: what a finding looks like

Everything else is said in csi-conformance.yaml (or --config FILE): parameters, secrets,
file systems, paths, volumes that exist, known failures.

Exit codes: 0 nothing found, and the verdict is at least what --require asks; 1 nonconformant;
2 unknown, or less than required; 3 the setup or the input is wrong; 4 nothing ran.";

const REPORT_HELP: &str = "\
What `run` writes as well, beside report.json:
  report.html   for people: verdict, requirements, each finding with its timeline; one file
  summary.md    for a job summary or a comment: short, the whole folded below
  junit.xml     for a CI: one test case a check
  badge.json    for shields.io: https://img.shields.io/endpoint?url=...
  events.jsonl  the whole run, one event a line; one that is there is kept

Exit codes: 0 written; 3 the report cannot be read or written.";

const COMPARE_HELP: &str = "\
Told are findings that are new (or graver), findings that are gone, what was checked and is
not any more, and what takes twice as long and at least one second longer.

Example:
  csi-conformance compare main-report csi-conformance-report >> $GITHUB_STEP_SUMMARY

Exit codes: 0 nothing is worse; 1 new findings; 2 less was checked; 3 a report cannot be read.";

const AUDIT_HELP: &str = "\
What is looked for below the kubelet's folder:
  device-gone        a mount whose device the kernel no longer has
  dead-mount         a mount that answers with an error, or whose disk does
  hanging-mount      a mount that does not answer
  stacked-mounts     mounts that lie on one another at one point
  orphaned-staging   a volume that is staged, and that no pod has
  twin-volumes       volumes staged from one device and root: never unstaged
  loop-without-file  a loop device whose file was removed
  kernel-log         errors in the kernel log, of a device that is mounted there

Nothing is changed, no driver is asked, and no look can hang. What is found is looked at
twice, and told if it still stands: a kubelet at work is no trouble. Without root, less
can be seen; what was not looked at is told. In a pod: privileged, with the kubelet's
folder and /dev of the host, and mountPropagation: HostToContainer.

Examples:
  csi-conformance audit
  csi-conformance audit --kubelet-root /var/lib/k0s/kubelet --json

Exit codes: 0 nothing found; 1 findings; 3 the input is wrong.";

/// Drives a CSI driver over its socket, and believes nothing but the node.
#[derive(Debug, Parser)]
#[command(
    name = "csi-conformance",
    version,
    args_conflicts_with_subcommands = true,
    after_help = EXAMPLES,
    max_term_width = 100
)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Option<Command>,
    #[command(flatten)]
    pub(super) run: RunArgs,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the checks against a driver; this is what is done without a command
    #[command(after_help = EXAMPLES)]
    Run(Box<RunArgs>),
    /// The checks, with level, needs and clauses
    List(ListArgs),
    /// One check in full
    Explain(ExplainArgs),
    /// A driver to practise on, by itself
    Driver(DriverArgs),
    /// What this host can do, and which checks are lost without the rest
    Doctor,
    /// Make everything else from a report.json: HTML, JUnit, Markdown, badge
    #[command(after_help = REPORT_HELP)]
    Report(ReportArgs),
    /// What has changed from one report to another, as Markdown
    #[command(after_help = COMPARE_HELP)]
    Compare(CompareArgs),
    /// What is wrong on a living node, below the kubelet's folder; without any driver
    #[command(after_help = AUDIT_HELP)]
    Audit(AuditArgs),
    /// Take away what killed runs left
    Clean(CleanArgs),
}

#[derive(Debug, Clone, Default, Args)]
pub(super) struct RunArgs {
    /// Only checks with one of these in their id; without any, all
    #[arg(value_name = "FILTER")]
    pub(super) filters: Vec<String>,
    /// A filter is a whole id, not a part of one
    #[arg(long)]
    pub(super) exact: bool,
    /// Only this check, or this case of it; may be given several times
    #[arg(long, value_name = "ID", conflicts_with = "filters")]
    pub(super) only: Vec<String>,
    /// Run each check so many times, and tell how often it failed
    #[arg(long, value_name = "N")]
    pub(super) repeat: Option<NonZeroU32>,
    /// Leave out checks with this in their id
    #[arg(long, value_name = "FILTER")]
    pub(super) skip: Vec<String>,

    /// Where the driver listens: a path, unix:///path, or tcp://host:port [env: CSI_ENDPOINT]
    #[arg(long, short, value_name = "ENDPOINT", help_heading = "The driver",
          conflicts_with_all = ["controller_endpoint", "node_endpoint"])]
    pub(super) endpoint: Option<Endpoint>,
    /// Where its controller service listens, if apart
    #[arg(long, value_name = "ENDPOINT", help_heading = "The driver")]
    pub(super) controller_endpoint: Option<Endpoint>,
    /// Where its node service listens, if apart
    #[arg(long, value_name = "ENDPOINT", help_heading = "The driver")]
    pub(super) node_endpoint: Option<Endpoint>,
    /// Start a built-in driver, and check that; done where no endpoint is known
    #[arg(long, value_enum, help_heading = "The driver",
          conflicts_with_all = ["endpoint", "controller_endpoint", "node_endpoint"])]
    pub(super) driver: Option<BuiltIn>,
    /// A bug that the built-in driver shall have (`driver loop|nfs|fuse --list-defects`)
    #[arg(long, value_name = "NAME", help_heading = "The driver",
          conflicts_with_all = ["endpoint", "controller_endpoint", "node_endpoint"])]
    pub(super) defect: Vec<String>,
    /// Another argument for the built-in driver, such as --call-delay=1s
    #[arg(long, value_name = "ARG", allow_hyphen_values = true, help_heading = "The driver",
          conflicts_with_all = ["endpoint", "controller_endpoint", "node_endpoint"])]
    pub(super) driver_arg: Vec<String>,

    /// The configuration, in place of csi-conformance.yaml in the working directory
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Where report.json, report.html and all else are written [default: csi-conformance-report]
    #[arg(long, value_name = "DIR")]
    pub(super) report_dir: Option<PathBuf>,
    /// How many checks run side by side [default: 8]
    #[arg(long, short, value_name = "N")]
    pub(super) jobs: Option<NonZeroUsize>,
    /// The least verdict for exit code 0: partial or conformant [default: partial]
    #[arg(long, value_name = "VERDICT")]
    pub(super) require: Option<Require>,
    /// What may be asked although it can hurt: restart,hang,crash-inputs,fill,path-escape, or none
    #[arg(long, value_name = "LIST", value_parser = consent_list)]
    pub(super) allow: Option<Consents>,
    /// How long a call may take [default: 120s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(super) deadline: Option<Duration>,
    /// How long to wait at the end for what comes late [default: 2s, with NFS servers of the lab 30s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(super) quiet_period: Option<Duration>,
    /// Every combination in place of pairs
    #[arg(long)]
    pub(super) thorough: bool,
    /// Tell what would be run, and do not
    #[arg(long)]
    pub(super) plan: bool,
}

/// The words of `--allow`. clap would take a bare set for many values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Consents(pub(super) BTreeSet<Allow>);

fn consent_list(text: &str) -> Result<Consents, ParseError> {
    consents(text).map(Consents)
}

#[derive(Debug, Clone, Args)]
pub(super) struct ListArgs {
    /// Only checks with one of these in their id
    #[arg(value_name = "FILTER")]
    pub(super) filters: Vec<String>,
    /// For programs
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Clone, Args)]
pub(super) struct ExplainArgs {
    /// The id of a check
    pub(super) id: String,
}

#[derive(Debug, Clone, Args)]
pub(super) struct DriverArgs {
    #[command(subcommand)]
    pub(super) driver: DriverKind,
}

#[derive(Debug, Clone, Subcommand)]
pub(super) enum DriverKind {
    /// Volumes are sparse files, shown as disks by loop devices
    Loop(LoopArgs),
    /// Volumes are folders of an NFS share
    Nfs(NfsArgs),
    /// Volumes are folders, each mounted by a process of its own
    Fuse(ServeArgs),
    /// The process of one such mount; the FUSE driver starts it
    #[command(hide = true)]
    FuseMount(FuseMountArgs),
}

#[derive(Debug, Clone, Args)]
pub(super) struct FuseMountArgs {
    /// The folder of the plugin's socket; without it nobody is left to end the mount
    pub(super) socket_folder: PathBuf,
    /// The folder whose files are shown; the connection is the standard input
    pub(super) folder: PathBuf,
}

#[derive(Debug, Clone, Args)]
pub(super) struct LoopArgs {
    #[command(flatten)]
    pub(super) serve: ServeArgs,
    /// Lay a device-mapper device over each loop device, as LVM has logical volumes
    #[arg(long)]
    pub(super) device_mapper: bool,
}

#[derive(Debug, Clone, Args)]
pub(super) struct NfsArgs {
    #[command(flatten)]
    pub(super) serve: ServeArgs,
    /// Mount at stage and bind at publish, in place of mounting at publish
    #[arg(long)]
    pub(super) stage: bool,
}

#[derive(Debug, Clone, Args)]
pub(super) struct ServeArgs {
    /// The socket to serve on: unix:///path, or a path
    #[arg(
        long,
        short,
        env = "CSI_ENDPOINT",
        required_unless_present_any = ["list_defects", "list_mutations"]
    )]
    pub(super) endpoint: Option<csi_drivers::looper::Endpoint>,
    /// The folder for volumes and their records; made where it is missing
    #[arg(long, value_name = "DIR",
          required_unless_present_any = ["list_defects", "list_mutations"])]
    pub(super) state_dir: Option<PathBuf>,
    /// What to do wrong; may be given several times
    #[arg(long, value_name = "NAME")]
    pub(super) defect: Vec<String>,
    /// What this node is called [default: the host's name]
    #[arg(long, value_name = "ID")]
    pub(super) node_id: Option<String>,
    /// Let every call take at least so long
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(super) call_delay: Option<Duration>,
    /// The defects that it can be told to have
    #[arg(long)]
    pub(super) list_defects: bool,
    /// A call to the kernel that goes wrong, in one RPC or in all, the N-th in an RPC or
    /// every one; may be given several times
    #[arg(long, value_name = "[RPC:]CALL[:N]=HOW")]
    pub(super) mutate: Vec<Mutation>,
    /// Write a line for each call to the kernel to the end of this file
    #[arg(long, value_name = "FILE")]
    pub(super) trace_calls: Option<PathBuf>,
    /// The calls that can go wrong, and how
    #[arg(long)]
    pub(super) list_mutations: bool,
}

#[derive(Debug, Clone, Args)]
pub(super) struct ReportArgs {
    /// The folder with report.json in it
    #[arg(value_name = "DIR")]
    pub(super) dir: PathBuf,
}

#[derive(Debug, Clone, Args)]
pub(super) struct CompareArgs {
    /// A report.json, or the folder with it
    #[arg(value_name = "OLD")]
    pub(super) old: PathBuf,
    /// A later one
    #[arg(value_name = "NEW")]
    pub(super) new: PathBuf,
}

#[derive(Debug, Clone, Args)]
pub(super) struct AuditArgs {
    /// The kubelet's folder (its --root-dir)
    #[arg(long, value_name = "DIR", default_value = "/var/lib/kubelet")]
    pub(super) kubelet_root: PathBuf,
    /// How long a mount may take to answer
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "5s")]
    pub(super) deadline: Duration,
    /// How long to wait before what was found is looked at again
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "3s")]
    pub(super) settle: Duration,
    /// For programs
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Clone, Args)]
pub(super) struct CleanArgs {
    /// Only tell of the runs, and remove nothing
    #[arg(long)]
    pub(super) list: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_flags_of_run_need_no_word() {
        let cli = Cli::try_parse_from(["csi-conformance", "--endpoint", "/x/csi.sock", "node"]);
        let cli = cli.expect("flags without a command");
        assert!(cli.command.is_none());
        assert_eq!(cli.run.filters, ["node"]);
        assert!(cli.run.endpoint.is_some());
    }
}
