//! What the README says is done, block by block: commands are run, in a shell,
//! against a real driver; what they are said to print is compared with what they
//! print; configurations are read; code is compared with the code that it shows.
//!
//! A block that nobody knows how to check fails.

mod blocks;
mod cargo;
mod forms;
mod place;
mod printed;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use blocks::{Block, blocks};
use csi_harness::lab::{Scratch, unmount_below};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use place::Places;

pub(crate) const README: &str = include_str!("../../../README.md");

/// The command, as it was built for this test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_csi-conformance");

pub(crate) type Tested = Result<(), Box<dyn Error>>;

fn main() -> ExitCode {
    if let Some(ended) = cargo::play() {
        return ended;
    }
    let mut arguments = Arguments::from_args();
    // One after the other, as somebody reads them.
    arguments.test_threads.get_or_insert(1);

    let folder = std::env::temp_dir().join(format!("csi-readme-{}", std::process::id()));
    let can_mount = csi_harness::node::Host::look().has("CAP_SYS_ADMIN");
    if !can_mount {
        return libtest_mimic::run(&arguments, trials(None)).exit_code();
    }
    // Before there is any thread: what is mounted in here stays in here.
    let scratch = match Scratch::enter(&folder) {
        Ok(scratch) => scratch,
        Err(error) => {
            eprintln!("a place for the tests: {error}");
            return ExitCode::FAILURE;
        }
    };
    let places = Arc::new(Places::below(scratch.path()));
    let conclusion = libtest_mimic::run(&arguments, trials(Some(&places)));
    if let Err(error) = leave(&folder, scratch.path()) {
        eprintln!("{} stays: {error}", folder.display());
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}

/// What the host sees of us is an empty folder in a folder.
fn leave(folder: &Path, scratch: &Path) -> std::io::Result<()> {
    unmount_below(scratch)?;
    std::fs::remove_dir(scratch)?;
    std::fs::remove_dir(folder)
}

/// One for each block, by its line, and a few for what stands between them.
fn trials(places: Option<&Arc<Places>>) -> Vec<Trial> {
    let mut trials = vec![
        anybody("links", forms::links),
        anybody("consents", forms::consents),
        anybody("example", forms::example),
    ];
    let mut rest = blocks(README).into_iter().peekable();
    while let Some(block) = rest.next() {
        let name = format!("line {}: {}", block.line, block.language);
        trials.push(match block.language.as_str() {
            "sh" => {
                let printed = rest.next_if(|next| next.language == "text");
                commands(&name, block, printed, places)
            }
            "yaml" if block.content.contains("uses:") => {
                anybody(&name, move || forms::workflow(&block))
            }
            "yaml" => anybody(&name, move || forms::configuration(&block)),
            "toml" => anybody(&name, move || forms::manifest(&block)),
            "rust" => anybody(&name, move || forms::rust(&block)),
            _ => anybody(&name, || Err("nobody knows how to check this block".into())),
        });
    }
    trials
}

fn anybody(name: &str, test: impl FnOnce() -> Tested + Send + 'static) -> Trial {
    Trial::test(name, || test().map_err(|e| Failed::from(e.to_string())))
}

/// Commands, and what the last of them prints.
fn commands(
    name: &str,
    block: Block,
    printed: Option<Block>,
    places: Option<&Arc<Places>>,
) -> Trial {
    let places = places.cloned();
    Trial::ignorable_test(name, move || {
        let Some(places) = places else {
            return Ok(Completion::ignored_with(
                "the host lacks root with CAP_SYS_ADMIN",
            ));
        };
        let run = || -> Tested {
            let output = places.next()?.run(&block)?;
            match &printed {
                Some(text) => printed::is_in(&text.content, &output),
                None => Ok(()),
            }
        };
        run()
            .map(|()| Completion::Completed)
            .map_err(|e| Failed::from(e.to_string()))
    })
}
