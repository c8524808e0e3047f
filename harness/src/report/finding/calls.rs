//! The calls that a finding is about.

use super::page::Page;
use crate::check::{CallRecord, Evidence, Settled};
use crate::report::text::{brief_time, columns, count, safe};
use serde_json::{Map, Value};

/// The most calls shown in full.
const MAX_CALLS: usize = 4;

/// The most bytes shown of one value.
const MAX_VALUE: usize = 300;

pub(super) fn render(page: &mut Page, check: &Settled) {
    let all: Vec<&CallRecord> = calls(check).collect();
    let shown = concerned(check, &all);
    for call in &shown {
        page.row("sent", &headline(call));
        let rows = rows(call);
        let names = rows
            .iter()
            .map(|(name, _)| columns(name))
            .max()
            .unwrap_or(0);
        for (name, value) in rows {
            page.field(&name, names, &value);
        }
    }
    match all.len() - shown.len() {
        0 => {}
        more => page.under(&format!(
            "{} of this check in report.json",
            count(more, "more call")
        )),
    }
    page.gap();
}

/// The name of the field in which the last call that has it sent this path.
pub(super) fn field_of(check: &Settled, path: &str) -> Option<String> {
    let all: Vec<&CallRecord> = calls(check).collect();
    all.iter().rev().find_map(|call| {
        let fields = call.request.as_object()?;
        let (name, _) = fields
            .iter()
            .find(|(_, value)| value.as_str() == Some(path))?;
        Some(name.clone())
    })
}

fn calls(check: &Settled) -> impl Iterator<Item = &CallRecord> {
    check.evidence.iter().filter_map(|evidence| match evidence {
        Evidence::Call(call) => Some(call),
        _ => None,
    })
}

/// The last call, and before it those that were not answered OK or that name a
/// path of the last call or of a look; the last of them where they are many, and
/// always the last one of a method that the message names.
fn concerned<'a>(check: &Settled, all: &[&'a CallRecord]) -> Vec<&'a CallRecord> {
    let Some((last, before)) = all.split_last() else {
        return Vec::new();
    };
    let mut paths: Vec<&str> = strings(&last.request)
        .filter(|s| s.starts_with('/'))
        .collect();
    paths.extend(check.evidence.iter().filter_map(|evidence| match evidence {
        Evidence::Mounts { path, .. } => Some(path.as_str()),
        _ => None,
    }));
    let concerns = |call: &&&CallRecord| {
        call.code != "OK" || strings(&call.request).any(|s| paths.contains(&s))
    };
    let mut shown: Vec<&CallRecord> = before.iter().filter(concerns).copied().collect();
    let words = || check.message.split(|c: char| !c.is_ascii_alphanumeric());
    let is_named = |call: &CallRecord| words().any(|word| word == call.rpc);
    let named = before.iter().copied().rfind(|call| is_named(call));
    shown.drain(..shown.len().saturating_sub(MAX_CALLS - 1));
    if let Some(named) = named
        && !is_named(last)
        && !shown.iter().any(|call| call.n == named.n)
    {
        shown.drain(..shown.len().saturating_sub(MAX_CALLS - 2));
        shown.insert(0, named);
    }
    shown.push(last);
    shown
}

/// The strings that are fields of a request.
fn strings(request: &Value) -> impl Iterator<Item = &str> {
    request
        .as_object()
        .into_iter()
        .flat_map(Map::values)
        .filter_map(Value::as_str)
}

/// `NodePublishVolume, call 14, answered OK in 12 ms`
fn headline(call: &CallRecord) -> String {
    let answered = call
        .code
        .bytes()
        .all(|b| b.is_ascii_uppercase() || b == b'_');
    let code = safe(&call.code, 60);
    let time = brief_time(call.duration_ms);
    let what = if answered {
        format!("answered {code} in {time}")
    } else {
        format!("{code} after {time}")
    };
    format!("{}, call {}, {what}", safe(&call.rpc, 60), call.n)
}

/// The fields of the request, then what was said in return.
fn rows(call: &CallRecord) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    match &call.request {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| place(name));
            rows.extend(
                fields
                    .iter()
                    .map(|(name, value)| (safe(name, 60), field(name, value))),
            );
        }
        Value::Null => {}
        other => rows.push(("request".to_owned(), compact(other))),
    }
    if !call.message.is_empty() {
        let message = format!("\"{}\"", safe(&call.message, 2 * MAX_VALUE));
        rows.push(("-> message".to_owned(), message));
    }
    let silent = call.response.as_object().is_some_and(Map::is_empty);
    if !call.response.is_null() && !silent {
        rows.push(("-> response".to_owned(), compact(&call.response)));
    }
    rows
}

/// Where a field stands: what volume, where, how, and all else after it.
fn place(name: &str) -> usize {
    [
        "volume_id",
        "name",
        "path",
        "capabilit",
        "readonly",
        "context",
        "secret",
    ]
    .iter()
    .position(|part| name.contains(part))
    .unwrap_or(usize::MAX)
}

/// One field of a request in few words.
fn field(name: &str, value: &Value) -> String {
    if name.contains("secret") {
        return match value {
            Value::Object(keys) => format!("{}, values hidden", count(keys.len(), "key")),
            _ => "hidden".to_owned(),
        };
    }
    match value {
        Value::Object(capability) if name == "volume_capability" => cut(&words_of(capability)),
        other => compact(other),
    }
}

/// `mount, ext4, flags [bg], SINGLE_NODE_WRITER`
fn words_of(capability: &Map<String, Value>) -> String {
    let mut words = Vec::new();
    for (name, value) in capability {
        match (name.as_str(), value.as_object()) {
            ("access_mode", Some(mode)) => words.extend(mode.values().map(inline)),
            (access_type, Some(fields)) => {
                // The access type stands first in the sentence, whatever the
                // order of the keys.
                let mut kind = vec![access_type.to_owned()];
                kind.extend(fields.iter().map(|(name, value)| match name.as_str() {
                    "fs_type" => inline(value),
                    "mount_flags" => format!("flags {}", inline(value)),
                    other => format!("{other} {}", inline(value)),
                }));
                words.splice(0..0, kind);
            }
            (name, None) => words.push(format!("{name} {}", inline(value))),
        }
    }
    words.join(", ")
}

/// A value on one line, without JSON's quotes; at the top, without braces too.
fn compact(value: &Value) -> String {
    cut(&match value {
        Value::Object(fields) if !fields.is_empty() => pairs(fields, "="),
        other => inline(other),
    })
}

fn inline(value: &Value) -> String {
    match value {
        Value::String(text) if text.is_empty() => "\"\"".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(inline).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(fields) => format!("{{{}}}", pairs(fields, ": ")),
        other => other.to_string(),
    }
}

fn pairs(fields: &Map<String, Value>, between: &str) -> String {
    let pairs: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{name}{between}{}", inline(value)))
        .collect();
    pairs.join(", ")
}

fn cut(text: &str) -> String {
    safe(text, MAX_VALUE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_in_few_words() {
        let capability = json!({
            "access_mode": {"mode": "SINGLE_NODE_WRITER"},
            "mount": {"fs_type": "ext4", "mount_flags": ["bg", "nfsvers=4.2"]},
        });
        assert_eq!(
            field("volume_capability", &capability),
            "mount, ext4, flags [bg, nfsvers=4.2], SINGLE_NODE_WRITER"
        );
        assert_eq!(field("volume_capability", &json!({"block": {}})), "block");
        assert_eq!(
            field("secrets", &json!({"user": "x", "key": "y"})),
            "2 keys, values hidden"
        );
        assert_eq!(field("secrets", &json!("x")), "hidden");
        assert_eq!(
            field("node_stage_secrets", &json!({"a": "x"})),
            "1 key, values hidden"
        );
        assert_eq!(
            field("volume_context", &json!({"a": "b", "c": ""})),
            "a=b, c=\"\""
        );
        assert_eq!(field("readonly", &json!(true)), "true");
        assert_eq!(field("volume_id", &json!("")), "\"\"");
    }
}
