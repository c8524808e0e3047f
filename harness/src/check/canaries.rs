//! Secrets that were made to be known again, and where they turned up.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::Duration;

use super::cx::Cx;
use super::outcome::Evidence;
use super::session::Session;
use crate::node::{held, process};

/// The key under which each secrets map has one of them.
const KEY: &str = "csi-conformance-canary";

/// Where kubelets put the tokens that a driver's CSIDriver object asks for.
const TOKENS: &str = "csi.storage.k8s.io/serviceAccount.tokens";

/// How long looking through files may take.
const LOOKING: Duration = Duration::from_secs(20);

/// Where programs leave files that others can read.
const FOLDERS: [&str; 4] = ["/tmp", "/var/tmp", "/var/log", "/run"];

/// Where a secret was seen that should be seen nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sighting {
    /// In an answer, in the driver's output, or among a helper's arguments: in words.
    Shown(String),
    /// In a file that was not there before: which, and what stands there.
    Kept(String),
}

impl Session {
    /// The canary that is sent with a call.
    fn canary(&self, rpc: &str) -> String {
        format!("canary.{}.{rpc}", self.run_id)
    }

    /// What all canaries of this run begin with.
    fn canaries(&self) -> String {
        self.canary("")
    }
}

impl Cx {
    /// From now on each request of this check has a canary in its secrets, and one as
    /// a token where a kubelet would put those.
    pub fn sends_canaries(&self) {
        self.canaries
            .store(true, std::sync::atomic::Ordering::Relaxed);
    }

    fn has_canaries(&self) -> bool {
        self.canaries.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// The secrets to send with a call.
    pub fn secrets(&self, rpc: &str) -> HashMap<String, String> {
        let mut secrets = self.session.secrets(rpc);
        if self.has_canaries() {
            secrets.insert(KEY.to_owned(), self.session.canary(rpc));
        }
        secrets
    }

    /// The context of a publication, with a canary among its tokens if the driver is one
    /// that gets any.
    pub(super) fn with_token(&self, context: &mut HashMap<String, String>) {
        if self.has_canaries() && self.session.config().driver.token_requests {
            let token = self.session.canary("token");
            let tokens = format!(
                r#"{{"":{{"token":"{token}","expirationTimestamp":"2099-01-01T00:00:00Z"}}}}"#
            );
            context.insert(TOKENS.to_owned(), tokens);
        }
    }

    /// Where the canaries of this run were seen: in answers, in the driver's output,
    /// among the arguments of what it started, in new files.
    pub async fn canary_sightings(&self) -> Vec<Sighting> {
        let canary = self.session.canaries();
        let mut seen = self.canaries_in_answers(&canary);
        let output = self.session.driver_output().await.unwrap_or_default();
        if let Some(line) = output.lines().find(|line| line.contains(&canary)) {
            seen.push(Sighting::Shown(format!("in the driver's output: {line}")));
        }
        let words = [canary.clone()];
        seen.extend(self.session.in_arguments(&words).map(Sighting::Shown));
        let output = self.session.driver_pid().await.map(process::output);
        let output = output.unwrap_or_default();
        for (path, text) in self.files_with(canary).await {
            let place = format!("{}: {text}", path.display());
            seen.push(match output.iter().any(|file| is_same(file, &path)) {
                true => Sighting::Shown(format!("in the driver's output, {place}")),
                false => Sighting::Kept(place),
            });
        }
        seen
    }

    fn canaries_in_answers(&self, canary: &str) -> Vec<Sighting> {
        let trail = self.trail.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = |seen: &Evidence| match seen {
            Evidence::Call(call)
                if call.message.contains(canary) || call.response.to_string().contains(canary) =>
            {
                let (rpc, n) = (&call.rpc, call.n);
                Some(Sighting::Shown(format!(
                    "in the answer to {rpc} (call {n})"
                )))
            }
            _ => None,
        };
        trail.iter().filter_map(shown).collect()
    }

    async fn files_with(&self, canary: String) -> Vec<(PathBuf, String)> {
        let mut folders: Vec<_> = FOLDERS.iter().map(PathBuf::from).collect();
        folders.extend(self.session.driver_folder.clone());
        let began = self.session.began;
        let looking =
            tokio::task::spawn_blocking(move || held::files_with(&folders, began, &canary));
        match tokio::time::timeout(LOOKING, looking).await {
            Ok(Ok(found)) => found,
            _ => Vec::new(),
        }
    }
}

/// Whether both lead to one file.
fn is_same(one: &Path, other: &Path) -> bool {
    let id = |path: &Path| path.metadata().map(|meta| (meta.dev(), meta.ino())).ok();
    id(one).is_some_and(|one| id(other) == Some(one))
}
