//! NFS servers for real. Needs root and a kernel with NFS: `ci/vm/run` has one.

mod basic;
mod gates;
mod killed;
mod trouble;
mod world;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use csi_harness::lab::{Scratch, nfs_missing};
use libtest_mimic::{Arguments, Completion, Failed, Trial};

type Tried = Result<(), Failed>;

/// A test, and the empty folder that it may use.
type Test = (&'static str, fn(&Path) -> Tried);

fn main() -> ExitCode {
    if std::env::var_os(killed::ROLE).is_some() {
        return killed::play();
    }
    let arguments = Arguments::from_args();
    let tests: Vec<Test> = [basic::TESTS, gates::TESTS, trouble::TESTS, killed::TESTS].concat();
    if let Some(lacks) = nfs_missing() {
        let ignored = |(name, _): Test| {
            let lacks = format!("this host lacks NFS: {lacks}");
            Trial::ignorable_test(name, move || Ok(Completion::ignored_with(lacks)))
        };
        return libtest_mimic::run(&arguments, tests.into_iter().map(ignored).collect())
            .exit_code();
    }
    let base = std::env::temp_dir().join(format!("csi-nfs-lab-{}", std::process::id()));
    let scratch = match Scratch::enter(&base) {
        Ok(scratch) => scratch,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let root = scratch.path().to_owned();
    let trials = tests.into_iter().map(|(name, test)| {
        let folder: PathBuf = root.join(name);
        Trial::test(name, move || {
            std::fs::create_dir(&folder)?;
            test(&folder)
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    let gone = csi_harness::lab::unmount_below(&root)
        .and_then(|_| std::fs::remove_dir(&root))
        .and_then(|()| std::fs::remove_dir(&base));
    if let Err(error) = gone {
        eprintln!("{} stays: {error}", base.display());
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}
