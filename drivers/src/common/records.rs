//! Records in one file: what must be known again after a crash.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tonic::Status;

use super::serve::StoreError;
use crate::sys::file;

/// The records, in memory and on disk.
pub(crate) struct Records<T> {
    path: PathBuf,
    records: Mutex<T>,
}

impl<T: Clone + Default + Serialize + DeserializeOwned> Records<T> {
    /// Reads what is there. `forget` may take something away from it, which is
    /// then forgotten.
    pub(crate) fn open(path: PathBuf, forget: impl FnOnce(&mut T)) -> Result<Self, StoreError> {
        let read = |source| StoreError::Read {
            path: path.clone(),
            source,
        };
        let mut records: T = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| read(error.into()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => T::default(),
            Err(error) => return Err(read(error)),
        };
        forget(&mut records);
        Ok(Self {
            path,
            records: Mutex::new(records),
        })
    }

    /// A copy of all that is recorded.
    pub(crate) fn records(&self) -> T {
        self.lock().clone()
    }

    /// Changes the records, on disk first.
    pub(crate) fn update<R>(
        &self,
        change: impl FnOnce(&mut T) -> Result<R, Status>,
    ) -> Result<R, Status> {
        let mut records = self.lock();
        let mut changed = records.clone();
        let answer = change(&mut changed)?;
        let bytes = serde_json::to_vec_pretty(&changed)
            .map_err(|error| Status::internal(format!("cannot write the records: {error}")))?;
        file::replace(&self.path, &bytes).map_err(|error| Status::internal(error.to_string()))?;
        *records = changed;
        Ok(answer)
    }

    fn lock(&self) -> MutexGuard<'_, T> {
        // They are replaced whole, so a panic elsewhere leaves none half changed.
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
