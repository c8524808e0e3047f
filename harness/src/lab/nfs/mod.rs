//! Stub, to be replaced.
#![allow(missing_docs, clippy::all, unused)]
use crate::lab::Journal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NfsError(String);
#[derive(Debug)]
pub struct NfsServer {}
pub fn missing() -> Option<String> {
    Some("a stub".into())
}
impl NfsServer {
    pub fn start(folder: &Path, number: u32, journal: &Arc<Journal>) -> Result<Self, NfsError> {
        Err(NfsError("stub".into()))
    }
    pub fn address(&self) -> &str {
        ""
    }
    pub fn share(&self) -> &str {
        ""
    }
    pub fn export(&self, name: &str) -> Result<String, NfsError> {
        Err(NfsError("stub".into()))
    }
    pub fn content(&self, share: &str) -> PathBuf {
        PathBuf::new()
    }
    pub fn stop(&self) -> Result<(), NfsError> {
        Ok(())
    }
    pub fn freeze(&self) -> Result<(), NfsError> {
        Ok(())
    }
    pub fn cut_off(&self) -> Result<(), NfsError> {
        Ok(())
    }
    pub fn hang_mounts(&self) -> Result<(), NfsError> {
        Ok(())
    }
    pub fn refuse(&self, share: &str) -> Result<(), NfsError> {
        Ok(())
    }
    pub fn remove_export(&self, share: &str) -> Result<(), NfsError> {
        Ok(())
    }
    pub fn restore_export(&self, share: &str) -> Result<(), NfsError> {
        Ok(())
    }
    pub fn heal(&self) -> Result<(), NfsError> {
        Ok(())
    }
    pub fn folder(&self, name: &str) -> Result<String, NfsError> {
        Err(NfsError("stub".into()))
    }
    pub fn take_down(self) {}
}
