//! `report.json`: written whole or not at all, and read back.

use super::Report;
use crate::check::LedgerEntry;
use serde::Deserialize;
use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// The version of the format that [`write()`] writes and [`read`] takes.
pub const SCHEMA: u32 = 1;

/// The name of the file within the report's folder.
pub const FILE_NAME: &str = "report.json";

/// Why a report could not be written.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum WriteError {
    #[error("cannot make the report's folder {}: {source}", dir.display())]
    MakeDir {
        dir: PathBuf,
        source: std::io::Error,
    },
    #[error("cannot put the report of {id} into JSON: {source}")]
    Encode {
        id: String,
        source: serde_json::Error,
    },
    #[error("cannot put the report into {format}: {why}")]
    Form { format: &'static str, why: String },
    #[error("cannot write {}: {source}", path.display())]
    Write {
        path: PathBuf,
        source: std::io::Error,
    },
}

/// Why a report could not be read.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum ReadError {
    #[error("cannot read the report {}: {source}", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{} is not a report of csi-conformance: {source}", path.display())]
    Decode {
        path: PathBuf,
        source: serde_json::Error,
    },
    #[error("{} has schema {found}; this release reads schema {SCHEMA}", path.display())]
    Schema { path: PathBuf, found: u32 },
}

/// Writes `report.json` into `dir`, which is made where it is missing, and
/// returns its path. Checks are sorted by id, so that two runs can be compared
/// line by line.
///
/// The file is written beside its place and renamed into it: a reader sees the
/// old report or the new one. Secrets must have been scrubbed before (see
/// [`Scrubber::scrub_report`](super::Scrubber::scrub_report)).
///
/// # Errors
///
/// The folder cannot be made, or the file cannot be written there.
pub fn write(dir: &Path, report: &Report) -> Result<PathBuf, WriteError> {
    put(dir, FILE_NAME, &encode(report)?)
}

/// Puts a file of a report into its folder, whole or not at all.
pub(super) fn put(dir: &Path, name: &str, bytes: &[u8]) -> Result<PathBuf, WriteError> {
    let path = dir.join(name);
    std::fs::create_dir_all(dir).map_err(|source| WriteError::MakeDir {
        dir: dir.to_owned(),
        source,
    })?;
    let written = tempfile::Builder::new()
        .prefix(".report-")
        // A report is there to be read, also by those who are not root.
        .permissions(Permissions::from_mode(0o644))
        .tempfile_in(dir)
        .and_then(|mut file| file.write_all(bytes).map(|()| file))
        .and_then(|file| file.persist(&path).map_err(|refused| refused.error));
    match written {
        Ok(_) => Ok(path),
        Err(source) => Err(WriteError::Write { path, source }),
    }
}

fn encode(report: &Report) -> Result<Vec<u8>, WriteError> {
    let mut sorted = report.clone();
    sorted.checks.sort_by(|a, b| a.id.cmp(&b.id));
    sorted.ledger.sort_by(|a, b| {
        let key = |of: &LedgerEntry| (of.check.clone(), of.what.clone(), of.object.clone());
        key(a).cmp(&key(b))
    });
    let encoded = serde_json::to_vec_pretty(&sorted);
    let mut bytes = encoded.map_err(|source| WriteError::Encode {
        id: report.driver.name.clone(),
        source,
    })?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Reads a report: the file itself, or the folder that [`write()`] wrote it to.
///
/// # Errors
///
/// There is no such file, it is not a report, or its schema is another one.
pub fn read(path: &Path) -> Result<Report, ReadError> {
    let path = if path.is_dir() {
        path.join(FILE_NAME)
    } else {
        path.to_owned()
    };
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(source) => return Err(ReadError::Read { path, source }),
    };
    // The schema first: a report of another release should be named as such,
    // and not by the first field that it lacks.
    match decode::<Versioned>(&path, &bytes)?.schema {
        SCHEMA => decode(&path, &bytes),
        found => Err(ReadError::Schema { path, found }),
    }
}

#[derive(Deserialize)]
struct Versioned {
    schema: u32,
}

fn decode<T: serde::de::DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, ReadError> {
    serde_json::from_slice(bytes).map_err(|source| ReadError::Decode {
        path: path.to_owned(),
        source,
    })
}
