//! What must never be shown.

use super::RPCS;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What stands in place of a secret value.
pub const MASK: &str = "***";

/// Every key below `secrets:`, for the message that names them. A test holds
/// it against [`RPCS`].
const KEYS: &[&str] = &[
    "all",
    "create_volume",
    "delete_volume",
    "controller_publish",
    "controller_unpublish",
    "validate_volume_capabilities",
    "controller_list_volume_health",
    "controller_get_volume_health",
    "create_snapshot",
    "delete_snapshot",
    "list_snapshots",
    "get_snapshot",
    "controller_expand",
    "controller_modify",
    "create_volume_group_snapshot",
    "delete_volume_group_snapshot",
    "get_volume_group_snapshot",
    "get_metadata_allocated",
    "get_metadata_delta",
    "node_stage",
    "node_publish",
    "node_get_storage_health",
    "node_expand",
];

/// Names and values, of which the values are shown to nobody: `Debug` and
/// `Serialize` mask them.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct SecretMap(BTreeMap<String, String>);

impl SecretMap {
    /// The values as they are, for a request or a process's environment and for
    /// nothing else.
    pub fn expose(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<BTreeMap<String, String>> for SecretMap {
    fn from(map: BTreeMap<String, String>) -> Self {
        Self(map)
    }
}

impl fmt::Debug for SecretMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.0.keys().map(|name| (name, MASK)))
            .finish()
    }
}

impl Serialize for SecretMap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.keys().map(|name| (name, MASK)))
    }
}

/// `secrets:`, by the RPC that they are sent with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Secrets {
    /// Sent with every request that has a `secrets` field.
    pub all: SecretMap,
    /// Sent with one RPC, by its key (`node_stage`); these win over `all`.
    pub by_rpc: BTreeMap<&'static str, SecretMap>,
}

impl Secrets {
    /// What to send with one RPC, by the method's name (`NodeStageVolume`);
    /// nothing for those whose request has no `secrets` field.
    pub fn of(&self, rpc: &str) -> BTreeMap<String, String> {
        let Some(key) = RPCS
            .iter()
            .find(|(name, _)| *name == rpc)
            .and_then(|(_, key)| *key)
        else {
            return BTreeMap::new();
        };
        let mut secrets = self.all.0.clone();
        if let Some(own) = self.by_rpc.get(key) {
            secrets.extend(own.0.clone());
        }
        secrets
    }

    /// Every value, for whoever has to scrub them from texts that a driver
    /// wrote. Empty ones are left out.
    pub fn values(&self) -> BTreeSet<&str> {
        std::iter::once(&self.all)
            .chain(self.by_rpc.values())
            .flat_map(|map| map.0.values())
            .map(String::as_str)
            .filter(|value| !value.is_empty())
            .collect()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty() && self.by_rpc.values().all(SecretMap::is_empty)
    }
}

impl Serialize for Secrets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if !self.all.is_empty() {
            map.serialize_entry("all", &self.all)?;
        }
        for (key, secrets) in &self.by_rpc {
            map.serialize_entry(key, secrets)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Secrets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ByKey)
    }
}

struct ByKey;

impl<'de> Visitor<'de> for ByKey {
    type Value = Secrets;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping")
    }

    fn visit_unit<E: Error>(self) -> Result<Secrets, E> {
        Ok(Secrets::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Secrets, A::Error> {
        let mut secrets = Secrets::default();
        while let Some(key) = map.next_key_seed(Key)? {
            let value = map.next_value()?;
            if key == "all" {
                secrets.all = value;
            } else {
                secrets.by_rpc.insert(key, value);
            }
        }
        Ok(secrets)
    }
}

/// Reads one key; an unknown one is refused while the reader stands at it, so
/// that the error carries its place.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = &'static str;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = &'static str;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        let known = KEYS.iter().find(|known| **known == key);
        known.copied().ok_or_else(|| E::unknown_field(key, KEYS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rpc_with_secrets_has_its_key() {
        let of_rpcs: BTreeSet<&str> = RPCS
            .iter()
            .filter_map(|(_, key)| *key)
            .chain(["all"])
            .collect();
        assert_eq!(KEYS.iter().copied().collect::<BTreeSet<_>>(), of_rpcs);
        assert_eq!(KEYS.len(), of_rpcs.len());
    }
}
