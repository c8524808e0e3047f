//! Durations, written as `500ms`, `30s`, `2m`, `1h` or `1m30s`.

use super::ParseError;
use std::time::Duration;

/// Units and their milliseconds, the largest first.
const UNITS: &[(&str, u64)] = &[("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Longer than any run; what is longer is a slip of the pen.
const LONGEST_MS: u64 = 7 * 24 * 3_600_000;

/// Reads a duration: numbers with a unit, the larger units first; the number
/// may have a decimal fraction. Parts of a millisecond are dropped.
///
/// # Errors
/// When it is none, when a unit is missing, or when it is longer than a week.
pub fn parse_duration(text: &str) -> Result<Duration, ParseError> {
    let wrong = || {
        ParseError::new(format!(
            "`{text}` is no duration; write it as 500ms, 30s, 2m, 1h or 1m30s"
        ))
    };
    let too_long = || ParseError::new(format!("`{text}` is too long (at most a week: 168h)"));
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(ParseError::new(format!(
            "`{text}` has no unit; did you mean `{text}s`? (units: ms, s, m, h)"
        )));
    }

    let mut rest = text;
    let mut total: u64 = 0;
    let mut last_unit = u64::MAX;
    while !rest.is_empty() {
        let (number, after) = split_while(rest, |c| c.is_ascii_digit() || c == '.');
        let (name, after) = split_while(after, |c| c.is_alphabetic());
        let (_, unit) = UNITS
            .iter()
            .find(|(unit, _)| *unit == name)
            .ok_or_else(wrong)?;
        if *unit >= last_unit {
            return Err(wrong());
        }
        let ms = milliseconds(number, *unit).ok_or_else(wrong)?;
        total = total
            .checked_add(ms.min(LONGEST_MS + 1))
            .ok_or_else(too_long)?;
        last_unit = *unit;
        rest = after;
    }
    match total {
        _ if text.is_empty() => Err(wrong()),
        ms if ms > LONGEST_MS => Err(too_long()),
        ms => Ok(Duration::from_millis(ms)),
    }
}

fn split_while(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

/// `number` (`1`, `1.5`) times `unit`; more than the longest is as good as any.
fn milliseconds(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let whole = whole.parse().unwrap_or(u64::MAX).saturating_mul(unit);
    // Three digits after the point are a thousandth of an hour, 3.6 s: nine are
    // more than anybody means.
    let digits = &fraction[..fraction.len().min(9)];
    let fraction: u64 = digits.parse().ok()?;
    let part = fraction * unit / 10u64.pow(u32::try_from(digits.len()).ok()?);
    Some(whole.saturating_add(part))
}

/// Writes a duration as [`parse_duration`] reads it: `1m30s`. Parts of a
/// millisecond are dropped.
pub fn format_duration(duration: Duration) -> String {
    let mut ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (name, unit) in UNITS {
        if ms >= *unit {
            text += &format!("{}{name}", ms / unit);
            ms %= unit;
        }
    }
    if text.is_empty() { "0s".into() } else { text }
}

/// A duration on its way through serde.
pub(super) struct Written(Duration);

impl std::str::FromStr for Written {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse_duration(text).map(Self)
    }
}

impl std::fmt::Display for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&format_duration(self.0))
    }
}

super::text::as_text!(Written, "a duration such as 30s");

/// For `#[serde(with = …)]` on a `Duration`.
pub(super) mod one {
    use super::{Duration, Written};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        d: D,
    ) -> Result<Duration, D::Error> {
        Ok(Written::deserialize(d)?.0)
    }

    pub(in super::super) fn serialize<S: Serializer>(
        value: &Duration,
        s: S,
    ) -> Result<S::Ok, S::Error> {
        Written(*value).serialize(s)
    }
}

/// For `#[serde(with = …)]` on an `Option<Duration>`; what is there has to be one.
pub(super) mod maybe {
    use super::{Duration, Written};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        d: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Some(Written::deserialize(d)?.0))
    }

    pub(in super::super) fn serialize<S: Serializer>(
        value: &Option<Duration>,
        s: S,
    ) -> Result<S::Ok, S::Error> {
        value.map(Written).serialize(s)
    }
}

/// For `#[serde(with = …)]` on a map of durations.
pub(super) mod by_rpc {
    use super::super::Rpc;
    use super::{Duration, Written};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::collections::BTreeMap;

    type Map = BTreeMap<Rpc, Duration>;

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Map, D::Error> {
        let map = BTreeMap::<Rpc, Written>::deserialize(d)?;
        Ok(map.into_iter().map(|(rpc, value)| (rpc, value.0)).collect())
    }

    pub(in super::super) fn serialize<S: Serializer>(map: &Map, s: S) -> Result<S::Ok, S::Error> {
        let written: BTreeMap<Rpc, Written> = map
            .iter()
            .map(|(rpc, value)| (*rpc, Written(*value)))
            .collect();
        written.serialize(s)
    }
}
