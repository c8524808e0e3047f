//! `csi-conformance audit` on folders laid out as a kubelet's, with real mounts:
//! each kind of trouble is told, and an honest node is not.

mod honest;
mod node;
mod trouble;

use std::process::ExitCode;

use csi_harness::lab::{Scratch, unmount_below};
use csi_harness::node::Host;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use node::{Node, Tested};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let host = Host::look();
    let needed = ["root", "CAP_SYS_ADMIN", "loop", "ext4", "fuse"];
    if let Some(lacking) = needed.into_iter().find(|name| !host.has(name)) {
        let trial = Trial::ignorable_test("a_living_node", move || {
            Ok(Completion::ignored_with(format!(
                "the host lacks {lacking}"
            )))
        });
        return libtest_mimic::run(&arguments, vec![trial]).exit_code();
    }
    let folder = std::env::temp_dir().join(format!("csi-audit-{}", std::process::id()));
    // Before there is any thread: what is mounted in here stays in here.
    let scratch = match Scratch::enter(&folder) {
        Ok(scratch) => scratch,
        Err(error) => {
            eprintln!("a place for the tests: {error}");
            return ExitCode::FAILURE;
        }
    };
    let trial = |name: &'static str, body: fn(&Node) -> Tested| {
        let root = scratch.path().join(name);
        Trial::test(name, move || {
            let node = Node::new(root).map_err(|e| Failed::from(e.to_string()))?;
            body(&node).map_err(|e| Failed::from(e.to_string()))
        })
    };
    let trials = vec![
        trial("an_honest_node_is_silent", honest::silent),
        trial("a_device_that_lost_its_bytes_is_gone", trouble::gone),
        trial("a_disk_that_fails_is_dead", trouble::dead_disk),
        trial("a_mount_whose_process_ended_is_dead", trouble::dead_process),
        trial("a_mount_that_never_answers_hangs", trouble::hanging),
        trial("a_second_mount_at_a_target_is_a_stack", trouble::stacked),
        trial("a_volume_staged_for_nobody_is_an_orphan", trouble::orphaned),
        trial("volumes_that_share_a_root_are_twins", trouble::twins),
        trial("a_removed_file_behind_a_loop_device", trouble::deleted),
        trial("errors_in_the_kernel_log", trouble::logged),
        trial("all_on_the_console", trouble::console),
        trial("a_wrong_folder_is_refused", trouble::refused),
    ];
    let conclusion = libtest_mimic::run(&arguments, trials);
    let left = unmount_below(scratch.path())
        .and_then(|_| std::fs::remove_dir(scratch.path()))
        .and_then(|()| std::fs::remove_dir(&folder));
    match left {
        Ok(()) => conclusion.exit_code(),
        Err(error) => {
            eprintln!("{} stays: {error}", folder.display());
            ExitCode::FAILURE
        }
    }
}
