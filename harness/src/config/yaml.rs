//! The one module that knows YAML, and the crate that reads it.
//!
//! A file is read three times: for its syntax and for keys that stand twice
//! (serde would let the last one win in a map), for its meaning, and, where
//! something is wrong that only the whole can tell, for the place of a key.

use super::mistake::{self, Found};
use super::{Config, Place};
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, IgnoredAny, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};
use serde::{Deserialize, de};
use std::collections::BTreeSet;
use std::fmt;

/// One step on the way to a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// A key of a mapping.
    Key(String),
    /// An element of a list, from 0.
    Index(usize),
}

impl From<&str> for Step {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// Reads a configuration, or says what is wrong and where.
pub(super) fn read(text: &str) -> Result<Config, (Option<Place>, String)> {
    let yaml = || serde_yaml::Deserializer::from_str(text);
    let explained = |error: serde_yaml::Error| explain(text, &error);
    Once.deserialize(yaml()).map_err(explained)?;
    Config::deserialize(yaml()).map_err(explained)
}

/// Where the key or the element at the end of `path` stands; of a path that is
/// not all there, as far as it goes.
pub(super) fn locate(text: &str, path: &[Step]) -> Option<Place> {
    let (_, shorter) = path.split_last()?;
    let way = Way(path).deserialize(serde_yaml::Deserializer::from_str(text));
    match way {
        // The reader was stopped there, and its error says where that was.
        Err(error) => place(&error),
        Ok(()) => locate(text, shorter),
    }
}

fn place(error: &serde_yaml::Error) -> Option<Place> {
    error.location().map(|at| Place {
        line: at.line(),
        column: at.column(),
    })
}

fn explain(text: &str, error: &serde_yaml::Error) -> (Option<Place>, String) {
    let place = place(error);
    let message = error.to_string();
    match mistake::explain(&message, place, text) {
        Found::Mistake(message) => (place, message),
        Found::At(offset, message) => (Some(Place::of_byte(text.as_bytes(), offset)), message),
        Found::SecondDocument => second_document(text),
    }
}

/// A second document is told without a place, and is in truth often a line
/// that is indented less than the first.
fn second_document(text: &str) -> (Option<Place>, String) {
    let broken = serde_yaml::Deserializer::from_str(text)
        .skip(1)
        .find_map(|document| IgnoredAny::deserialize(document).err());
    if let Some(place) = broken.as_ref().and_then(place) {
        let message = "broken YAML: expected the end of the file, found a line that belongs to \
                       nothing above it (indented less than the first line?)";
        return (Some(place), message.into());
    }
    let separator = text
        .lines()
        .enumerate()
        .skip_while(|(_, line)| line.is_empty() || line.starts_with(['#', '%', '-']))
        .find(|(_, line)| line.starts_with("---"));
    let place = separator.map(|(i, _)| Place {
        line: i + 1,
        column: 1,
    });
    (
        place,
        "expected one document, found a second (`---`)".into(),
    )
}

/// Reads anything, and refuses a key that its mapping has already.
struct Once;

impl<'de> DeserializeSeed<'de> for Once {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Once {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i128<E>(self, _: i128) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u128<E>(self, _: u128) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_none<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Once)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = BTreeSet::new();
        while map.next_key_seed(NewKey(&mut seen))?.is_some() {
            map.next_value_seed(Once)?;
        }
        Ok(())
    }

    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<(), A::Error> {
        let (IgnoredAny, value) = tagged.variant()?;
        value.newtype_variant_seed(Once)
    }
}

struct NewKey<'a>(&'a mut BTreeSet<String>);

impl<'de> DeserializeSeed<'de> for NewKey<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NewKey<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<(), E> {
        match self.0.insert(key.to_owned()) {
            true => Ok(()),
            false => Err(E::custom(format_args!(
                "the key `{key}` stands here a second time"
            ))),
        }
    }
}

/// Goes to the end of a path and stops the reader there with an error.
#[derive(Clone, Copy)]
struct Way<'a>(&'a [Step]);

impl<'de> DeserializeSeed<'de> for Way<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.0.first() {
            // `Stop` takes nothing.
            None => deserializer.deserialize_any(Stop),
            Some(_) => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Way<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("more of the path")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((Step::Key(wanted), rest)) = self.0.split_first() else {
            return de::IgnoredAny.visit_map(map).map(drop);
        };
        while let Some(here) = map.next_key_seed(KeyOnWay {
            wanted,
            last: rest.is_empty(),
        })? {
            match here {
                true => map.next_value_seed(Way(rest))?,
                false => map.next_value::<IgnoredAny>().map(drop)?,
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Some((Step::Index(wanted), rest)) = self.0.split_first() else {
            return de::IgnoredAny.visit_seq(list).map(drop);
        };
        for _ in 0..*wanted {
            if list.next_element::<IgnoredAny>()?.is_none() {
                return Ok(());
            }
        }
        list.next_element_seed(Way(rest))?;
        de::IgnoredAny.visit_seq(list).map(drop)
    }
}

struct KeyOnWay<'a> {
    wanted: &'a str,
    last: bool,
}

impl<'de> DeserializeSeed<'de> for KeyOnWay<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyOnWay<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<bool, E> {
        match key == self.wanted {
            true if self.last => Err(E::custom("here")),
            here => Ok(here),
        }
    }
}

struct Stop;

impl Visitor<'_> for Stop {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("to stop")
    }
}
