//! The forms in which a secret may come back.

/// The shortest piece of base64 that is masked: shorter ones also stand in
/// innocent text.
const SHORTEST_BASE64: usize = 6;

/// The secret itself and its encodings; some may be equal.
pub(super) fn of(secret: &str) -> Vec<String> {
    let json = json(secret);
    let mut forms = vec![
        secret.to_owned(),
        html_safe(&json),
        json,
        percent(secret, "%20", false),
        percent(secret, "%20", true),
        percent(secret, "+", false),
        percent(secret, "+", true),
    ];
    for alphabet in [STANDARD, URL_SAFE] {
        forms.push(base64(secret.as_bytes(), alphabet));
        forms.extend((0..3).filter_map(|offset| base64_within(secret, offset, alphabet)));
    }
    forms
}

/// As it stands within a JSON string.
fn json(secret: &str) -> String {
    let quoted = serde_json::Value::from(secret).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// As Go's encoding/json writes it, which escapes what HTML would read.
fn html_safe(json: &str) -> String {
    json.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
}

/// As it stands in a URL (RFC 3986, all but the unreserved characters), or in a
/// form, where a space is a `+`.
fn percent(secret: &str, space: &str, lower: bool) -> String {
    let mut out = String::new();
    for byte in secret.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            b' ' => out.push_str(space),
            _ if lower => out.push_str(&format!("%{byte:02x}")),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

type Alphabet = &'static [u8; 64];
const STANDARD: Alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: Alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Base64 (RFC 4648) without padding; padding behind a mask tells nothing.
fn base64(bytes: &[u8], alphabet: Alphabet) -> String {
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0_u32, |bits, i| {
            bits << 8 | u32::from(chunk.get(i).copied().unwrap_or(0))
        });
        for sextet in 0..=chunk.len() {
            let index = bits >> (18 - 6 * sextet) & 63;
            out.push(char::from(alphabet[index as usize]));
        }
    }
    out
}

/// The part of the base64 that is the same whatever stands around the secret,
/// when `offset` bytes (modulo 3) stand before it: `user:password` in an
/// `Authorization: Basic` header is such a case.
fn base64_within(secret: &str, offset: usize, alphabet: Alphabet) -> Option<String> {
    let mut bytes = vec![0; offset];
    bytes.extend_from_slice(secret.as_bytes());
    let whole = base64(&bytes, alphabet);
    // The first bytes share their last sextet with the secret's first one; an
    // incomplete group at the end shares its last sextet with what follows.
    let first = [0, 2, 3][offset];
    let last = whole.len() - usize::from(!bytes.len().is_multiple_of(3));
    let part = whole.get(first..last)?;
    (part.len() >= SHORTEST_BASE64).then(|| part.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_as_in_rfc_4648() {
        for (bytes, expected) in [
            ("f", "Zg"),
            ("fo", "Zm8"),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg"),
            ("fooba", "Zm9vYmE"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes(), STANDARD), expected);
        }
        assert_eq!(base64(&[0xfb, 0xff], URL_SAFE), "-_8");
    }

    #[test]
    fn base64_is_found_at_every_offset() {
        let secret = "correct horse";
        for (before, after) in [
            ("", ""),
            ("u", "x"),
            ("ab", "yz"),
            ("abc", "w"),
            ("user:", ""),
        ] {
            let whole = base64(format!("{before}{secret}{after}").as_bytes(), STANDARD);
            let offset = before.len() % 3;
            let part = base64_within(secret, offset, STANDARD).expect("long enough");
            assert!(whole.contains(&part), "{whole} has no {part}");
        }
    }

    #[test]
    fn url_and_json_forms() {
        assert_eq!(percent("a b/ü", "%20", false), "a%20b%2F%C3%BC");
        assert_eq!(percent("a b/ü", "+", true), "a+b%2f%c3%bc");
        assert_eq!(json("a\"b\\\n"), r#"a\"b\\\n"#);
        assert_eq!(html_safe("a<b&c>"), r"a\u003cb\u0026c\u003e");
    }
}
