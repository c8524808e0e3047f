//! The values that must not come back, and those of which it says nothing if they do.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Short values stand in many an answer by chance.
const SHORTEST: usize = 8;

/// The secrets of a run.
#[derive(Debug, Default)]
pub(super) struct Secrets {
    values: Vec<String>,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// Those that the driver was told as a secret.
    told: BTreeSet<String>,
    /// Those that came back.
    leaked: BTreeSet<String>,
    /// Those that are no secret to whoever reads: they stand in what we send for all to
    /// see, as `kubernetes` does in the paths of a kubelet, or the driver says them of
    /// itself.
    open: BTreeSet<String>,
}

impl Secrets {
    pub(super) fn new(values: Vec<String>) -> Self {
        Self {
            values,
            seen: Mutex::default(),
        }
    }

    /// A request is sent: all of it, and what is no secret in it.
    pub(super) fn sent(&self, whole: &[u8], openly: &serde_json::Value) {
        let mut openly_said = None;
        for value in self.long() {
            let openly = openly_said.get_or_insert_with(|| openly.to_string());
            let mut seen = self.seen();
            if openly.contains(&within(value)) {
                // Unless it is the driver that said it before, in a context for instance.
                if !seen.leaked.contains(value) {
                    seen.open.insert(value.clone());
                }
            } else if holds(whole, value.as_bytes()) {
                seen.told.insert(value.clone());
            }
        }
    }

    /// Whether an answer, as it is read, holds a secret that the driver has from us alone.
    pub(super) fn come_back(&self, message: &str, response: &serde_json::Value) -> bool {
        let mut response_said = None;
        let mut any = false;
        for value in self.long() {
            let response = response_said.get_or_insert_with(|| response.to_string());
            let within = within(value);
            let echoes =
                message.contains(value) || message.contains(&within) || response.contains(&within);
            if !echoes {
                continue;
            }
            let mut seen = self.seen();
            if !seen.told.contains(value) {
                seen.open.insert(value.clone());
            }
            if !seen.open.contains(value) {
                seen.leaked.insert(value.clone());
                any = true;
            }
        }
        any
    }

    /// Those that are no secret to whoever reads.
    pub(super) fn open(&self) -> BTreeSet<String> {
        self.seen().open.clone()
    }

    fn long(&self) -> impl Iterator<Item = &String> {
        self.values.iter().filter(|value| value.len() >= SHORTEST)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As it stands within quotes.
fn within(value: &str) -> String {
    let quoted = serde_json::Value::from(value).to_string();
    let within = quoted.strip_prefix('"').unwrap_or(&quoted);
    within.strip_suffix('"').unwrap_or(within).to_owned()
}

fn holds(whole: &[u8], part: &[u8]) -> bool {
    whole.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Secrets;

    fn secrets() -> Secrets {
        Secrets::new(vec!["kubernetes".into(), "a\"quoted-one".into()])
    }

    #[test]
    fn what_was_told_and_comes_back_is_leaked() {
        let secrets = secrets();
        secrets.sent(b"kubernetes a\"quoted-one", &json!({"name": "x"}));
        assert!(secrets.come_back("login of kubernetes failed", &json!(null)));
        assert!(secrets.come_back("", &json!({"login": "a\"quoted-one"})));
        assert!(!secrets.come_back("login failed", &json!(null)));
        assert!(secrets.open().is_empty());
    }

    #[test]
    fn what_stands_in_our_own_paths_says_nothing() {
        let secrets = secrets();
        secrets.sent(b"kubernetes", &json!({"name": "x"}));
        let path = json!({"target_path": "/pods/1/volumes/kubernetes.io~csi/pv/mount"});
        secrets.sent(b"kubernetes /volumes/kubernetes.io~csi/", &path);
        let words = "mkdir /pods/1/volumes/kubernetes.io~csi/pv/mount: no such file";
        assert!(!secrets.come_back(words, &json!(null)));
        assert!(secrets.open().contains("kubernetes"));
    }

    #[test]
    fn what_the_driver_says_of_itself_says_nothing() {
        let secrets = secrets();
        assert!(!secrets.come_back("", &json!({"name": "x.csi.kubernetes.example"})));
        secrets.sent(b"kubernetes", &json!({}));
        assert!(!secrets.come_back("driver x.csi.kubernetes.example", &json!(null)));
    }

    #[test]
    fn what_the_driver_put_into_a_context_stays_leaked() {
        let secrets = secrets();
        secrets.sent(b"kubernetes", &json!({}));
        let context = json!({"volume_context": {"login": "kubernetes"}});
        assert!(secrets.come_back("", &context));
        secrets.sent(b"kubernetes kubernetes", &context);
        assert!(secrets.open().is_empty());
    }
}
