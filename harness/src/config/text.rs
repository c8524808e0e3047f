//! Values that are written as text and mean more than text.

use super::ParseError;
use serde::de::{Deserializer, Error, Visitor};
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

/// Reads a text and parses it. The parsing happens while the reader still
/// stands at the text, so that an error carries its place: `serde(try_from)`
/// would lose it.
pub(super) fn parsed<'de, D, T>(deserializer: D, expected: &'static str) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err = ParseError>,
{
    deserializer.deserialize_str(Text {
        expected,
        kind: PhantomData,
    })
}

struct Text<T> {
    expected: &'static str,
    kind: PhantomData<T>,
}

impl<T: FromStr<Err = ParseError>> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        if text.is_empty() {
            return Err(E::custom(format!(
                "expected {}, found nothing",
                self.expected
            )));
        }
        text.parse().map_err(E::custom)
    }
}

/// Implements serde's traits for a type by its `FromStr` and `Display`.
macro_rules! as_text {
    ($type:ty, $expected:literal) => {
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                $crate::config::text::parsed(d, $expected)
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
    };
}
pub(super) use as_text;
