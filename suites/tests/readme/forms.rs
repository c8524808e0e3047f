//! What can be checked without running it.

use std::path::Path;
use std::process::Command;

use csi_harness::config::Config;

use crate::blocks::{Block, blocks};
use crate::{PROGRAM, README, Tested};

/// The crate that the README shows.
const AUTHORS_TEST: &str = include_str!("../../../ci/rust-author/tests/conformance.rs");
const AUTHORS_MANIFEST: &str = include_str!("../../../ci/rust-author/Cargo.toml");

/// A configuration is read without complaint, and names checks that exist.
pub(crate) fn configuration(block: &Block) -> Tested {
    let config = Config::from_yaml(&block.content, Path::new("README.md"))?;
    config.validate()?;
    let expected = config.expected.iter().map(|expected| &expected.check);
    for id in expected
        .chain(&config.checks.only)
        .chain(&config.checks.skip)
    {
        let explained = Command::new(PROGRAM).arg("explain").arg(id).output()?;
        if !explained.status.success() {
            return Err(String::from_utf8_lossy(&explained.stderr).into());
        }
    }
    Ok(())
}

/// Steps of a workflow, one of which is our action: with what it requires, and with
/// nothing that it does not know.
pub(crate) fn workflow(block: &Block) -> Tested {
    const ACTION: &str = include_str!("../../../ci/action.yml");
    let (_, ours) = block
        .content
        .split_once("- uses: csi-conformance/csi-conformance/ci@")
        .ok_or("our action is no step of it")?;
    let given: Vec<&str> = ours
        .lines()
        .skip_while(|line| line.trim() != "with:")
        .skip(1)
        .filter_map(|line| line.trim().split_once(':'))
        .map(|(name, _)| name)
        .collect();
    let inputs = ACTION
        .lines()
        .skip_while(|line| *line != "inputs:")
        .take_while(|line| *line != "outputs:");
    let mut known = Vec::new();
    let mut required = Vec::new();
    for line in inputs {
        match (line.strip_prefix("  "), known.last()) {
            (Some(name), _) if !name.starts_with(' ') => known.push(name.trim_end_matches(':')),
            (Some("  required: true"), Some(name)) => required.push(*name),
            _ => {}
        }
    }
    match given.iter().find(|name| !known.contains(name)) {
        Some(name) => return Err(format!("ci/action.yml has no input {name}").into()),
        None if given.is_empty() => return Err("it gives our action nothing".into()),
        None => {}
    }
    match required.iter().find(|name| !given.contains(name)) {
        Some(name) => Err(format!("ci/action.yml requires {name}").into()),
        None => Ok(()),
    }
}

/// The author's own test target is what is shown.
pub(crate) fn rust(block: &Block) -> Tested {
    match block.content == AUTHORS_TEST {
        true => Ok(()),
        false => Err("this is not ci/rust-author/tests/conformance.rs".into()),
    }
}

/// The example in CONTRIBUTING.md is a check that there is.
pub(crate) fn example() -> Tested {
    const CHECKS: &str = include_str!("../../src/checks/node_unpublish.rs");
    let text = include_str!("../../../CONTRIBUTING.md");
    let mut shown = blocks(text).into_iter();
    match shown.find(|block| block.language == "rust") {
        Some(block) if CHECKS.contains(&block.content) => Ok(()),
        Some(_) => Err("this is not in suites/src/checks/node_unpublish.rs (any more)".into()),
        None => Err("no example is left".into()),
    }
}

/// Each line is in the author's manifest, but that the crate is there taken from
/// beside it.
pub(crate) fn manifest(block: &Block) -> Tested {
    let from = format!(
        "csi-conformance = {{ git = \"{}\" }}",
        env!("CARGO_PKG_REPOSITORY")
    );
    for line in block.content.lines() {
        let known = line == from || AUTHORS_MANIFEST.lines().any(|theirs| theirs == line);
        if !known {
            return Err(format!("`{line}` is not in ci/rust-author/Cargo.toml").into());
        }
    }
    Ok(())
}

/// Every link into the repository leads somewhere.
pub(crate) fn links() -> Tested {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let targets = [README, include_str!("../../../CONTRIBUTING.md")]
        .into_iter()
        .flat_map(|text| text.split("](").skip(1))
        .filter_map(|rest| rest.split(')').next())
        .filter(|target| !target.contains("://"));
    for target in targets {
        root.join(target)
            .symlink_metadata()
            .map_err(|error| format!("{target}: {error}"))?;
    }
    Ok(())
}

/// The README says whether there are checks that need a consent.
pub(crate) fn consents() -> Tested {
    let listed = Command::new(PROGRAM).arg("list").output()?;
    let there_are = String::from_utf8_lossy(&listed.stdout).contains("allow: [");
    let said = !README.contains("In this release, no check has one.");
    match there_are == said {
        true => Ok(()),
        false => Err(format!("checks that need a consent: {there_are}; the README: {said}").into()),
    }
}
