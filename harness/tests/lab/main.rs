//! The lab for real: mounts, loop devices, processes. Needs root.

mod disks;
mod doomed;
mod killed;
mod mapped;
mod paths;
mod processes;
mod removal;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use csi_harness::lab::Scratch;
use libtest_mimic::{Arguments, Completion, Failed, Trial};

type Tried = Result<(), Failed>;

/// A test, and the empty folder that it may use.
type Test = (&'static str, fn(&Path) -> Tried);

fn main() -> ExitCode {
    if let Some(role) = std::env::var_os(doomed::ROLE) {
        return doomed::play(&role.to_string_lossy());
    }
    let arguments = Arguments::from_args();
    let tests: Vec<Test> = [
        removal::TESTS,
        paths::TESTS,
        killed::TESTS,
        disks::TESTS,
        mapped::TESTS,
        processes::TESTS,
    ]
    .concat();
    if !nix::unistd::geteuid().is_root() {
        let ignored = |(name, _): Test| {
            Trial::ignorable_test(name, || {
                Ok(Completion::ignored_with("this host's user lacks root"))
            })
        };
        return libtest_mimic::run(&arguments, tests.into_iter().map(ignored).collect())
            .exit_code();
    }
    let base = std::env::temp_dir().join(format!("csi-lab-{}", std::process::id()));
    let scratch = match Scratch::enter(&base) {
        Ok(scratch) => scratch,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let root = scratch.path().to_owned();
    let no_mapper = mapped::lacking();
    let trials = tests.into_iter().map(|(name, test)| {
        let folder: PathBuf = root.join(name);
        let is_mapped = mapped::TESTS.iter().any(|(other, _)| *other == name);
        let lacking = no_mapper.clone().filter(|_| is_mapped);
        Trial::ignorable_test(name, move || {
            if let Some(lacking) = lacking {
                return Ok(Completion::ignored_with(lacking));
            }
            std::fs::create_dir(&folder)?;
            test(&folder).map(|()| Completion::Completed)
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    // What the host sees of us is an empty folder in a folder.
    let gone = csi_harness::lab::unmount_below(&root)
        .and_then(|_| std::fs::remove_dir(&root))
        .and_then(|()| std::fs::remove_dir(&base));
    if let Err(error) = gone {
        eprintln!("{} stays: {error}", base.display());
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}
