//! Running a tool, with a deadline and its last words.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::memfd::{MFdFlags, memfd_create};

use super::error::NfsError;
use crate::node::host::find_tool;

/// How long a tool may take; they take a second at most, emulated.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs a tool in the caller's namespaces, with this on its standard input. A
/// daemon is told of as started when it has gone to the background.
pub(super) fn run(tool: &str, arguments: &[&str], input: &str) -> Result<(), NfsError> {
    let command = std::iter::once(tool)
        .chain(arguments.iter().copied())
        .collect::<Vec<_>>()
        .join(" ");
    match execute(tool, arguments, input) {
        Ok((Some(status), _)) if status.success() => Ok(()),
        Ok((status, said)) => {
            let said = match (said.trim(), status) {
                (_, None) => format!("no end within {PATIENCE:?}"),
                ("", Some(status)) => status.to_string(),
                (said, Some(_)) => said.to_owned(),
            };
            Err(NfsError::Tool { command, said })
        }
        Err(error) => Err(NfsError::Tool {
            command,
            said: error.to_string(),
        }),
    }
}

/// How it ended, none if it had to be killed; and what it said.
fn execute(
    tool: &str,
    arguments: &[&str],
    input: &str,
) -> io::Result<(Option<ExitStatus>, String)> {
    let program =
        find_tool(tool).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "not installed"))?;
    // No pipe: a daemon may keep it open for ever.
    let mut said = File::from(memfd_create(c"stderr", MFdFlags::MFD_CLOEXEC)?);
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(said.try_clone()?)
        // The terminal's signals are not for it: it may be the one that heals.
        .process_group(0)
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that ends without reading it says why.
        let _ = stdin.write_all(input.as_bytes());
    }
    let until = Instant::now() + PATIENCE;
    let status = loop {
        match child.try_wait()? {
            None if Instant::now() > until => {
                child.kill()?;
                child.wait()?;
                break None;
            }
            None => thread::sleep(Duration::from_millis(2)),
            ended => break ended,
        }
    };
    let mut text = Vec::new();
    said.rewind()?;
    said.read_to_end(&mut text)?;
    Ok((status, String::from_utf8_lossy(&text).into_owned()))
}
