//! Any message in words that people can be shown, with its secrets masked.
//!
//! All of it goes by the descriptor: a field is secret because it carries the
//! option `csi_secret`, not because of its name.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::LazyLock;

use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, ReflectMessage, Value,
};
use serde_json::{Map, Number, Value as Json, json};

/// What stands where a secret was.
pub const MASK: &str = "***";

/// The key under which the numbers of unknown fields are told.
pub const UNKNOWN_FIELDS: &str = "(unknown fields)";

/// Why a message cannot be told in words.
#[derive(Debug, thiserror::Error)]
pub enum DescribeError {
    /// No such message in `csi.proto` or its imports.
    #[error("csi.proto has no message {0:?}")]
    UnknownMessage(String),
    /// The bytes are not an encoding of that message.
    #[error("{length} bytes are no {message}")]
    Decode {
        /// The full name of the message that they should have been.
        message: String,
        /// How many bytes there were.
        length: usize,
        /// What is wrong with them; it names fields, never what they hold.
        source: prost::DecodeError,
    },
}

/// `bytes`, decoded as the message of that full name (`csi.v1.Volume`), as JSON.
///
/// Fields have their names in the specification; enum values theirs, or their
/// number if it is unknown. Fields that hold their default are left out. Bytes
/// are written in hex, and Google's wrappers as the value within, also where
/// it is the default. Of unknown fields only the numbers are told, under
/// [`UNKNOWN_FIELDS`]. In a field with the option `csi_secret` each value is
/// [`MASK`]; the keys of a secret map stay.
///
/// # Errors
/// When there is no such message, or the bytes are not one.
pub fn to_json(message: &str, bytes: &[u8]) -> Result<Json, DescribeError> {
    CSI.to_json(message, bytes)
}

/// All text in the fields of that message with the option `csi_secret`, to be
/// scrubbed wherever else it turns up. Sorted, without repetition, and without
/// the empty text, which is everywhere.
///
/// # Errors
/// When there is no such message, or the bytes are not one.
pub fn secret_values(message: &str, bytes: &[u8]) -> Result<Vec<String>, DescribeError> {
    CSI.secret_values(message, bytes)
}

/// The full names of the fields with the option `csi_secret`, sorted:
/// `csi.v1.NodeStageVolumeRequest.secrets` and its like.
#[must_use]
pub fn secret_fields() -> Vec<String> {
    CSI.secrets.iter().cloned().collect()
}

static CSI: LazyLock<Lexicon> = LazyLock::new(|| {
    Lexicon::of(
        DescriptorPool::decode(crate::DESCRIPTOR_SET)
            .expect("the descriptor set is our own, checked in and tested"),
    )
});

/// The messages of a descriptor, and which of their fields are secret.
struct Lexicon {
    pool: DescriptorPool,
    secrets: BTreeSet<String>,
}

impl Lexicon {
    fn of(pool: DescriptorPool) -> Self {
        let option = pool.get_extension_by_name("csi.v1.csi_secret");
        let is_secret = |field: &FieldDescriptor| {
            option
                .as_ref()
                .is_some_and(|option| field.options().get_extension(option).as_bool() == Some(true))
        };
        let secrets = pool
            .all_messages()
            .flat_map(|message| message.fields().collect::<Vec<_>>())
            .filter(is_secret)
            .map(|field| field.full_name().to_owned())
            .collect();
        Self { pool, secrets }
    }

    fn is_secret(&self, field: &FieldDescriptor) -> bool {
        self.secrets.contains(field.full_name())
    }

    fn decode(&self, message: &str, bytes: &[u8]) -> Result<DynamicMessage, DescribeError> {
        let descriptor = self
            .pool
            .get_message_by_name(message)
            .ok_or_else(|| DescribeError::UnknownMessage(message.to_owned()))?;
        DynamicMessage::decode(descriptor, bytes).map_err(|source| DescribeError::Decode {
            message: message.to_owned(),
            length: bytes.len(),
            source,
        })
    }

    fn to_json(&self, message: &str, bytes: &[u8]) -> Result<Json, DescribeError> {
        Ok(self.message(&self.decode(message, bytes)?))
    }

    fn secret_values(&self, message: &str, bytes: &[u8]) -> Result<Vec<String>, DescribeError> {
        let mut found = BTreeSet::new();
        self.collect(&self.decode(message, bytes)?, false, &mut found);
        found.remove("");
        Ok(found.into_iter().collect())
    }

    fn message(&self, message: &DynamicMessage) -> Json {
        if let Some(value) = wrapped(message) {
            return self.value(&value, None);
        }
        let mut object = Map::new();
        for (field, value) in message.fields() {
            let json = if self.is_secret(&field) {
                masked(value)
            } else {
                self.value(value, Some(&field))
            };
            object.insert(field.name().to_owned(), json);
        }
        let unknown: BTreeSet<u32> = message
            .unknown_fields()
            .map(|field| field.number())
            .collect();
        if !unknown.is_empty() {
            object.insert(UNKNOWN_FIELDS.to_owned(), json!(unknown));
        }
        Json::Object(object)
    }

    /// A value, which is all of `field` or one of its entries.
    fn value(&self, value: &Value, field: Option<&FieldDescriptor>) -> Json {
        match value {
            Value::Bool(value) => json!(value),
            Value::I32(value) => json!(value),
            Value::I64(value) => json!(value),
            Value::U32(value) => json!(value),
            Value::U64(value) => json!(value),
            Value::F32(value) => float(f64::from(*value)),
            Value::F64(value) => float(*value),
            Value::String(value) => json!(value),
            Value::Bytes(value) => json!(hex(value)),
            Value::EnumNumber(number) => match field.and_then(|field| enum_name(field, *number)) {
                Some(name) => json!(name),
                None => json!(number),
            },
            Value::Message(message) => self.message(message),
            Value::List(list) => list.iter().map(|value| self.value(value, field)).collect(),
            Value::Map(map) => map
                .iter()
                .map(|(key, value)| (key_text(key), self.value(value, field)))
                .collect(),
        }
    }

    /// The text in secret fields; `secret` says that the message stands in one.
    fn collect(&self, message: &DynamicMessage, secret: bool, found: &mut BTreeSet<String>) {
        for (field, value) in message.fields() {
            self.collect_value(value, secret || self.is_secret(&field), found);
        }
    }

    fn collect_value(&self, value: &Value, secret: bool, found: &mut BTreeSet<String>) {
        match value {
            Value::String(text) if secret => {
                found.insert(text.clone());
            }
            Value::Message(message) => self.collect(message, secret, found),
            Value::List(list) => {
                for value in list {
                    self.collect_value(value, secret, found);
                }
            }
            Value::Map(map) => {
                for value in map.values() {
                    self.collect_value(value, secret, found);
                }
            }
            _ => {}
        }
    }
}

/// A secret value: the keys of a map and the length of a list may be seen.
fn masked(value: &Value) -> Json {
    match value {
        Value::Map(map) => map.keys().map(|key| (key_text(key), json!(MASK))).collect(),
        Value::List(list) => list.iter().map(|_| json!(MASK)).collect(),
        _ => json!(MASK),
    }
}

/// What one of Google's wrappers holds: `BoolValue { value: false }` is false.
fn wrapped(message: &DynamicMessage) -> Option<Value> {
    let descriptor = message.descriptor();
    let is_wrapper = descriptor.parent_file().name() == "google/protobuf/wrappers.proto"
        && message.unknown_fields().next().is_none();
    is_wrapper
        .then(|| message.get_field_by_name("value"))
        .flatten()
        .map(|value| value.into_owned())
}

/// The name of an enum value; for a map field, of a value in the map.
fn enum_name(field: &FieldDescriptor, number: i32) -> Option<String> {
    let kind = match field.kind() {
        Kind::Message(entry) if entry.is_map_entry() => entry.map_entry_value_field().kind(),
        kind => kind,
    };
    let name = kind.as_enum()?.get_value(number)?.name().to_owned();
    Some(name)
}

fn key_text(key: &MapKey) -> String {
    match key {
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
        MapKey::String(key) => key.clone(),
    }
}

/// JSON has no infinity and no NaN: they become text.
fn float(value: f64) -> Json {
    Number::from_f64(value).map_or_else(|| json!(value.to_string()), Json::Number)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
