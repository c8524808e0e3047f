//! One line of mountinfo, read and written.

use super::{Mount, Place};
use std::borrow::Cow;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// What the kernel puts behind the path of a root that was removed. No path
/// has two slashes in a row, so it cannot be a name.
const DELETED: &[u8] = b"//deleted";

/// Reads one line, without its newline; `None` when it is none of mountinfo.
///
/// Fields are parted by exactly one space: a source may be empty.
pub(super) fn parse(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&b| b == b' ');
    let id = number(fields.next()?)?;
    let parent = number(fields.next()?)?;
    let dev = fields.next()?;
    let colon = dev.iter().position(|&b| b == b':')?;
    let mut mount = Mount {
        id,
        parent,
        major: number(&dev[..colon])?,
        minor: number(&dev[colon + 1..])?,
        ..Mount::default()
    };
    let (root, deleted) = root(fields.next()?);
    mount.root_deleted = deleted;
    mount.root = path(root)?;
    mount.point = path(fields.next()?)?;
    mount.options = options(fields.next()?);
    loop {
        match fields.next()? {
            b"-" => break,
            field => optional(&mut mount, field),
        }
    }
    mount.fs_type = text(fields.next()?);
    mount.source = OsString::from_vec(unescape(fields.next()?).into_owned());
    mount.super_options = options(fields.next().unwrap_or_default());
    // A field too many: a space that should have been escaped was not.
    fields.all(<[u8]>::is_empty).then_some(mount)
}

/// Reads the beginning of one line, which is enough to find the mount again.
pub(super) fn place(line: &[u8]) -> Option<Place> {
    let mut fields = line.split(|&b| b == b' ');
    let id = number(fields.next()?)?;
    let point = path(fields.nth(3)?)?;
    Some(Place { id, point })
}

/// Takes the kernel's mark off a root, and says whether there was one.
pub(in crate::node) fn root(text: &[u8]) -> (&[u8], bool) {
    match text.strip_suffix(DELETED) {
        Some(root) => (root, true),
        None => (text, false),
    }
}

fn optional(mount: &mut Mount, field: &[u8]) {
    let tagged = |tag: &[u8]| field.strip_prefix(tag).and_then(number::<u64>);
    if let Some(group) = tagged(b"shared:") {
        mount.shared = Some(group);
    } else if let Some(group) = tagged(b"master:") {
        mount.master = Some(group);
    } else if let Some(group) = tagged(b"propagate_from:") {
        mount.propagate_from = Some(group);
    } else if field == b"unbindable" {
        mount.unbindable = true;
    } else {
        let field = unescape(field).into_owned();
        mount.other_fields.push(OsString::from_vec(field));
    }
}

fn number<N: std::str::FromStr>(field: &[u8]) -> Option<N> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// A path, or what stands in its place: a root is not always one
/// (`net:[4026531840]` of nsfs), but it is never empty.
fn path(field: &[u8]) -> Option<PathBuf> {
    let bytes = unescape(field).into_owned();
    (!bytes.is_empty()).then(|| PathBuf::from(OsString::from_vec(bytes)))
}

fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(&unescape(field)).into_owned()
}

/// Options, parted before they are unescaped: a comma within one is escaped.
fn options(field: &[u8]) -> Vec<String> {
    field
        .split(|&b| b == b',')
        .filter(|o| !o.is_empty())
        .map(text)
        .collect()
}

/// Turns each `\ooo` into its byte. A backslash before anything else stays.
fn unescape(field: &[u8]) -> Cow<'_, [u8]> {
    if !field.contains(&b'\\') {
        return Cow::Borrowed(field);
    }
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        match rest {
            [
                b'\\',
                a @ b'0'..=b'3',
                b @ b'0'..=b'7',
                c @ b'0'..=b'7',
                after @ ..,
            ] => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    Cow::Owned(out)
}

/// Writes each of `special` as `\ooo`, as the kernel does.
fn escape(bytes: &[u8], special: &[u8], out: &mut Vec<u8>) {
    for &b in bytes {
        if special.contains(&b) {
            out.extend([b'\\', b'0' + (b >> 6), b'0' + (b >> 3 & 7), b'0' + (b & 7)]);
        } else {
            out.push(b);
        }
    }
}

const IN_PATHS: &[u8] = b" \t\n\\";
const IN_SOURCES: &[u8] = b" \t\n\\#";
const IN_OPTIONS: &[u8] = b" \t\n\\,";

impl Mount {
    /// The line as the kernel writes it, without the newline.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (id, parent, major, minor) = (self.id, self.parent, self.major, self.minor);
        let mut line = format!("{id} {parent} {major}:{minor} ").into_bytes();
        escape(self.root.as_os_str().as_bytes(), IN_PATHS, &mut line);
        if self.root_deleted {
            line.extend(DELETED);
        }
        line.push(b' ');
        escape(self.point.as_os_str().as_bytes(), IN_PATHS, &mut line);
        line.push(b' ');
        write_options(&self.options, &mut line);
        for (tag, group) in [
            ("shared", self.shared),
            ("master", self.master),
            ("propagate_from", self.propagate_from),
        ] {
            if let Some(group) = group {
                line.extend(format!(" {tag}:{group}").bytes());
            }
        }
        if self.unbindable {
            line.extend(b" unbindable");
        }
        for field in &self.other_fields {
            line.push(b' ');
            escape(field.as_bytes(), IN_PATHS, &mut line);
        }
        line.extend(b" - ");
        escape(self.fs_type.as_bytes(), IN_SOURCES, &mut line);
        line.push(b' ');
        escape(self.source.as_bytes(), IN_SOURCES, &mut line);
        line.push(b' ');
        write_options(&self.super_options, &mut line);
        line
    }
}

fn write_options(options: &[String], line: &mut Vec<u8>) {
    for (n, option) in options.iter().enumerate() {
        if n > 0 {
            line.push(b',');
        }
        escape(option.as_bytes(), IN_OPTIONS, line);
    }
}
