//! What the reader of the file said, in words for the person who wrote it.
//!
//! serde's errors are text; this module takes them apart. Where one cannot be
//! taken apart it is passed on as it is: a clumsy message, never a wrong one.
//! No message repeats a value below `secrets` or the environment.

use super::nearest::unknown;
use super::{Config, Place};

/// What is wrong.
pub(super) enum Found {
    /// In words; the place that came with it is right.
    Mistake(String),
    /// In words, at a byte of the text.
    At(usize, String),
    /// There is more than one document.
    SecondDocument,
}

/// How serde begins the errors that it makes itself.
const KINDS: &[&str] = &[
    "unknown field `",
    "missing field `",
    "duplicate field `",
    "invalid type: ",
    "invalid value: ",
    "invalid length ",
];

pub(super) fn explain(message: &str, place: Option<Place>, text: &str) -> Found {
    if message.starts_with("deserializing from YAML containing more than one document") {
        return Found::SecondDocument;
    }
    if let Some(offset) = message.strip_prefix("control characters are not allowed at position ") {
        let offset = offset.parse().unwrap_or_default();
        return Found::At(
            offset,
            "broken YAML: expected text, found a control character".into(),
        );
    }
    let suffix = place.map(|at| format!(" at line {} column {}", at.line, at.column));
    let suffix = suffix.unwrap_or_default();
    if let Some(message) = syntax(message, &suffix, place, text) {
        return Found::Mistake(format!("broken YAML: {message}"));
    }
    let message = message.strip_suffix(&suffix).unwrap_or(message);
    let (path, message) = split_path(message);
    Found::Mistake(meaning(path, message))
}

/// `volume.size: …` in two; the path is empty at the root.
fn split_path(message: &str) -> (&str, &str) {
    for kind in KINDS {
        // The user's keys stand before it, the user's values after it.
        if let Some((path, _)) = message.split_once(kind) {
            let rest = &message[path.len()..];
            match path.strip_suffix(": ") {
                Some(path) => return (path, rest),
                None if path.is_empty() => return (path, rest),
                None => {}
            }
        }
    }
    match message.split_once(": ") {
        Some((path, rest)) if !path.contains([' ', '`']) => (path, rest),
        _ => ("", message),
    }
}

fn meaning(path: &str, message: &str) -> String {
    let at = match path {
        "" => String::new(),
        path => format!("`{path}`: "),
    };
    if let Some(rest) = message.strip_prefix("unknown field `")
        && let Some((key, known)) = rest.rsplit_once("`, expected ")
    {
        return unknown_key(key, known);
    }
    if let Some(key) = message.strip_prefix("missing field `") {
        return format!("{at}the key `{} is missing", key);
    }
    for kind in ["invalid type: ", "invalid value: "] {
        if let Some(rest) = message.strip_prefix(kind)
            && let Some((found, expected)) = rest.rsplit_once(", expected ")
        {
            let secret = path.starts_with("secrets") || path.starts_with("driver.env");
            return format!(
                "{at}expected {}, found {}",
                wanted(expected),
                given(found, secret)
            );
        }
    }
    format!("{at}{message}")
}

fn unknown_key(key: &str, known: &str) -> String {
    if key == "<<" {
        return "merge keys (`<<`) are not understood here; write the keys themselves".into();
    }
    // "one of `a`, `b`", "`a` or `b`", "`a`": every second piece is a name.
    let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
    match belongs(key) {
        Some(there) if !known.contains(&key) => {
            let all = known.join(", ");
            format!("unknown key `{key}`; it belongs {there} (known here: {all})")
        }
        _ => unknown("key", key, "known here", &known),
    }
}

/// Where a key would be right that is none here.
fn belongs(key: &str) -> Option<String> {
    let shape = Config::default().to_public_json();
    let sections = shape.as_object()?;
    if sections.contains_key(key) {
        return Some("at the top, in no section".into());
    }
    sections
        .iter()
        .find(|(_, section)| section.get(key).is_some())
        .map(|(name, _)| format!("below `{name}`"))
}

fn wanted(expected: &str) -> &str {
    match expected {
        "a sequence" => "a list",
        "a map" | "struct Config" => "a mapping",
        "a boolean" => "true or false",
        "usize" | "u64" | "u32" => "a whole number from 0",
        "i32" | "i64" => "a whole number",
        "path string" => "a path",
        other => other,
    }
}

fn given(found: &str, secret: bool) -> String {
    match found {
        "sequence" => "a list".into(),
        "map" => "a mapping".into(),
        "unit value" | "null" | "Option value" => "nothing".into(),
        _ if secret => "another kind of value".into(),
        _ => match found.split_once(' ') {
            Some(("string", text)) => format!("the text {text}"),
            Some(("integer" | "boolean", value)) => value.into(),
            Some(("floating", value)) => value.trim_start_matches("point ").into(),
            _ => found.into(),
        },
    }
}

/// What libyaml says of a broken file, and what it means to say. It tells two
/// places: `suffix` is the one where it stopped.
fn syntax(message: &str, suffix: &str, place: Option<Place>, text: &str) -> Option<String> {
    let problem = message.replacen(suffix, "", usize::from(!suffix.is_empty()));
    let began = problem.rsplit_once(" at line ").and_then(|(_, rest)| {
        let (line, column) = rest.split_once(" column ")?;
        Some(format!("line {line}, column {column}"))
    });
    let began = began
        .map(|place| format!(" (it begins at {place})"))
        .unwrap_or_default();
    let says = |what: &str| problem.starts_with(what);

    Some(if says("found character that cannot start any token") {
        match character(place, text) {
            Some('\t') => "expected spaces, found a tab: YAML is indented with spaces only".into(),
            Some(other) => {
                format!("a value cannot begin with `{other}` unless it stands in quotes")
            }
            None => problem,
        }
    } else if says("mapping values are not allowed in this context") {
        "expected the end of a value, found `: `; a value that holds `: ` needs quotes, \
         and a key its own line"
            .into()
    } else if says("did not find expected key") {
        "expected a key, indented as those beside it".into()
    } else if says("could not find expected ':'") {
        format!("expected `: ` after a key{began}")
    } else if says("found unexpected end of stream") {
        format!("expected a closing quote, found the end of the file{began}")
    } else if says("did not find expected ',' or '}'") {
        format!("expected `,` or `}}`{began}")
    } else if says("did not find expected ',' or ']'") {
        format!("expected `,` or `]`{began}")
    } else if says("did not find expected '-' indicator") {
        "expected `- `, indented as the elements beside it".into()
    } else if says("found unknown escape character") {
        "unknown escape after `\\`; in single quotes a backslash stands for itself".into()
    } else if says("unknown anchor") {
        "this name (`*…`) was not given to anything above (`&…`)".into()
    } else if says("recursion limit exceeded") || says("repetition limit exceeded") {
        "nested too deeply".into()
    } else if [
        "did not find",
        "could not find",
        "found ",
        "block ",
        "control characters",
    ]
    .iter()
    .any(|start| says(start))
    {
        problem
    } else {
        return None;
    })
}

fn character(place: Option<Place>, text: &str) -> Option<char> {
    let place = place?;
    let line = text.lines().nth(place.line.checked_sub(1)?)?;
    line.chars().nth(place.column.checked_sub(1)?)
}
