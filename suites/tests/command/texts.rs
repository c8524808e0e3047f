//! What is only told: help, list, explain, doctor.

use std::process::Stdio;
use std::sync::Arc;

use csi_drivers::defect::{self, Kind};
use libtest_mimic::Trial;

use super::world::{Place, Tested, World, end, has};

pub(crate) fn trials(world: &Arc<World>) -> Vec<Trial> {
    vec![
        world.trial("texts::help_teaches", help_teaches),
        world.trial("texts::list_names_every_check", list_names_every_check),
        world.trial("texts::list_for_programs", list_for_programs),
        world.trial("texts::explain_tells_all", explain_tells_all),
        world.trial("texts::every_defect_is_listed", every_defect_is_listed),
        world.trial("texts::doctor_looks", doctor_looks),
        world.trial("texts::nobody_reads", nobody_reads),
        world.root_trial("texts::nothing_to_clean", nothing_to_clean),
    ]
}

fn help_teaches(place: &Place) -> Tested {
    let help = place.run(["--help"])?.code(0)?.out;
    has(
        &help,
        &[
            "Examples:",
            "--endpoint",
            "explain",
            "doctor",
            "Exit codes:",
        ],
    )?;
    has(
        &place.run(["run", "--help"])?.code(0)?.out,
        &["--plan", "--require", "Examples:"],
    )?;
    has(
        &place.run(["audit", "--help"])?.code(0)?.out,
        &["--kubelet-root", "twin-volumes", "Exit codes:"],
    )?;
    has(
        &place.run(["--version"])?.code(0)?.out,
        &[env!("CARGO_PKG_VERSION")],
    )
}

fn list_names_every_check(place: &Place) -> Tested {
    let list = place.run(["list"])?.code(0)?.out;
    for check in csi_conformance::checks::all() {
        has(&list, &[check.id, check.clauses[0].id])?;
    }
    let some = place.run(["list", "node-get-info"])?.code(0)?.out;
    match some.contains("get-plugin-info") {
        true => Err("the filter is not heeded".into()),
        false => has(&some, &["node-get-info.id-is-set", "MUST"]),
    }
}

fn list_for_programs(place: &Place) -> Tested {
    let list = place.run(["list", "--json"])?.code(0)?.out;
    let list: serde_json::Value = serde_json::from_str(&list)?;
    let all = list.as_array().ok_or("no array")?;
    assert_eq!(all.len(), csi_conformance::checks::all().len());
    for check in all {
        for key in ["id", "headline", "level", "needs", "clauses"] {
            assert!(!check[key].is_null(), "{key} of {check}");
        }
    }
    Ok(())
}

fn explain_tells_all(place: &Place) -> Tested {
    let told = place
        .run(["explain", "node-get-info.id-is-set"])?
        .code(0)?
        .out;
    has(
        &told,
        &[
            "MUST",
            "256",
            "node.info.node_id_required",
            "https://",
            "needs",
        ],
    )?;
    // A case is explained by its check.
    let case = place
        .run(["explain", "node-get-info.id-is-set[xfs]"])?
        .code(0)?
        .out;
    assert_eq!(told, case);
    Ok(())
}

fn every_defect_is_listed(place: &Place) -> Tested {
    for kind in [Kind::Loop, Kind::Nfs, Kind::Fuse] {
        let list = place
            .run(["driver", kind.name(), "--list-defects"])?
            .code(0)?
            .out;
        let names: Vec<_> = defect::of(kind).map(|defect| defect.name).collect();
        has(&list, &names)?;
    }
    Ok(())
}

fn doctor_looks(place: &Place) -> Tested {
    let told = place.run(["doctor"])?.code(0)?.out;
    has(
        &told,
        &[
            "root",
            "CAP_SYS_ADMIN",
            "loop",
            "ext4",
            "nfs",
            "kernel-log",
            "/ is ",
        ],
    )
}

fn nobody_reads(place: &Place) -> Tested {
    let mut child = place.command().arg("list").stdout(Stdio::piped()).spawn()?;
    drop(child.stdout.take());
    let ended = end(child)?.code(0)?;
    assert_eq!(ended.err, "");
    Ok(())
}

fn nothing_to_clean(place: &Place) -> Tested {
    has(&place.run(["clean"])?.code(0)?.out, &["nothing is left"])
}
