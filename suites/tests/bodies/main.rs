//! Bodies and runs that end before their time: nothing stays of them.

mod killed;
mod toys;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use csi_harness::lab::{Scratch, unmount_below};
use csi_harness::node::Host;
use libtest_mimic::{Arguments, Completion, Failed, Trial};

pub(crate) type Tested = Result<(), Box<dyn Error>>;

/// What is done in a folder of its own.
type Test = fn(&Path) -> Tested;

const TESTS: [(&str, Test); 3] = [
    ("bodies_that_break_are_put_away", toys::put_away),
    ("a_killed_run_is_cleaned", killed::by_clean),
    (
        "a_killed_run_is_cleaned_by_the_next",
        killed::by_the_next_run,
    ),
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let host = Host::look();
    let needs = ["root", "CAP_SYS_ADMIN", "loop", "ext4"];
    let lacking = needs.into_iter().find(|name| !host.has(name));
    let folder = std::env::temp_dir().join(format!("csi-end-{}", std::process::id()));
    let base = match lacking {
        None => match place(&folder) {
            Ok(base) => Arc::new(base),
            Err(error) => {
                eprintln!("a place for the tests: {error}");
                return ExitCode::FAILURE;
            }
        },
        Some(_) => Arc::default(),
    };
    let trial = |(name, test): (&'static str, Test)| {
        let base = base.clone();
        Trial::ignorable_test(name, move || {
            if let Some(lacking) = lacking {
                return Ok(Completion::ignored_with(format!(
                    "the host lacks {lacking}"
                )));
            }
            // Short: the socket of a driver lies in it, and its path has 107 bytes.
            let own = base.join(name.len().to_string());
            fs::create_dir(&own)
                .map_err(Into::into)
                .and_then(|()| test(&own))
                .map(|()| Completion::Completed)
                .map_err(|error| Failed::from(error.to_string()))
        })
    };
    let trials = TESTS.into_iter().map(trial).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    if lacking.is_none()
        && let Err(error) = leave(&base, &folder)
    {
        eprintln!("the place of the tests stays: {error}");
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}

/// A mount namespace and a file system of our own, where runs of this process
/// keep their state too.
fn place(folder: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let base = Scratch::enter(folder)?.path().to_owned();
    // SAFETY: `main` calls this before there is any other thread.
    unsafe { std::env::set_var("CSI_CONFORMANCE_STATE", base.join("state")) };
    Ok(base)
}

/// Takes away what the host sees of it: an empty folder in a folder.
fn leave(base: &Path, folder: &Path) -> std::io::Result<()> {
    unmount_below(base)?;
    fs::remove_dir(base)?;
    fs::remove_dir(folder)
}
