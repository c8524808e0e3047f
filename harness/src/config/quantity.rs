//! Sizes, written as Kubernetes writes quantities.

use super::ParseError;
use super::text::as_text;
use std::fmt;
use std::str::FromStr;

/// Suffixes and what they stand for, the longer before the shorter.
const UNITS: &[(&str, u128)] = &[
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("Pi", 1 << 50),
    ("Ei", 1 << 60),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("P", 1_000_000_000_000_000),
    ("E", 1_000_000_000_000_000_000),
    ("", 1),
];

/// More digits than this are no size of anything, and would overflow.
const MOST_DIGITS: usize = 19;

/// A size in bytes, at most 2^63 - 1 since CSI sends sizes as `int64`. Written
/// as `64Mi`, `1.5Gi`, `500M`, `1e9` or plain bytes; part of a byte is rounded
/// up, as Kubernetes does
/// (<https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Quantity(u64);

impl Quantity {
    /// So many bytes; none where CSI could not send it.
    pub const fn from_bytes(bytes: u64) -> Option<Self> {
        if bytes > i64::MAX as u64 {
            return None;
        }
        Some(Self(bytes))
    }

    /// So many times 2^20 bytes.
    pub(super) const fn mebibytes(n: u32) -> Self {
        Self((n as u64) << 20)
    }

    /// Bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// Bytes, as CSI's messages hold them.
    pub const fn as_i64(self) -> i64 {
        self.0.cast_signed()
    }
}

impl FromStr for Quantity {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let wrong = || {
            ParseError::new(format!(
                "`{text}` is no size; write it as 64Mi, 1Gi, 500M or in plain bytes"
            ))
        };
        let too_large = || {
            ParseError::new(format!(
                "`{text}` is too large for a size (at most 2^63 - 1 bytes)"
            ))
        };
        if text.starts_with('-') {
            return Err(ParseError::new(format!(
                "`{text}`: a size cannot be negative"
            )));
        }

        let number_end = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (number, suffix) = text.split_at(number_end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() || fraction.contains('.') || (number.ends_with('.')) {
            return Err(wrong());
        }
        let digits = format!("{whole}{fraction}");
        if digits.trim_start_matches('0').len() > MOST_DIGITS || fraction.len() > MOST_DIGITS {
            return Err(too_large());
        }
        let mantissa: u128 = digits.parse().map_err(|_| wrong())?;

        let unit = match suffix.strip_prefix(['e', 'E']) {
            Some(exponent) if !exponent.is_empty() && exponent != "i" => {
                let exponent: u32 = exponent.parse().map_err(|_| wrong())?;
                10u128.checked_pow(exponent).ok_or_else(too_large)?
            }
            _ => unit(suffix).ok_or_else(|| wrong_unit(text, number, suffix))?,
        };
        let scale = 10u128.pow(u32::try_from(fraction.len()).map_err(|_| too_large())?);
        let bytes = mantissa
            .checked_mul(unit)
            .ok_or_else(too_large)?
            .div_ceil(scale);
        u64::try_from(bytes)
            .ok()
            .and_then(Self::from_bytes)
            .ok_or_else(too_large)
    }
}

fn unit(suffix: &str) -> Option<u128> {
    UNITS
        .iter()
        .find(|(name, _)| *name == suffix)
        .map(|(_, unit)| *unit)
}

/// `64MB`, `64MiB` and `64mi` are common, and Kubernetes takes none of them.
fn wrong_unit(text: &str, number: &str, suffix: &str) -> ParseError {
    let bare = suffix.trim_start_matches(' ').trim_end_matches(['b', 'B']);
    let near = UNITS
        .iter()
        .find(|(name, _)| !name.is_empty() && name.eq_ignore_ascii_case(bare));
    let known = "Ki, Mi, Gi, Ti, Pi, Ei or k, M, G, T, P, E";
    ParseError::new(match near {
        Some((name, _)) => {
            format!("`{text}` is no size; did you mean `{number}{name}`? (units: {known})")
        }
        None => format!("`{text}` is no size: the unit must be one of {known}, or none for bytes"),
    })
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = u128::from(self.0);
        let exact = UNITS
            .iter()
            .rfind(|(name, unit)| name.ends_with('i') && bytes >= *unit && bytes % unit == 0);
        match exact {
            Some((name, unit)) => write!(f, "{}{name}", bytes / unit),
            None => write!(f, "{bytes}"),
        }
    }
}

as_text!(Quantity, "a size such as 64Mi");
