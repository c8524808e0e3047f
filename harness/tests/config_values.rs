//! Endpoints, sizes, durations and templates, one by one and by the thousand.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use csi_harness::config::{
    Config, Endpoint, Quantity, check_template, expand, format_duration, nearest, parse_duration,
};
use proptest::prelude::*;
use std::path::Path;
use std::time::Duration;

fn endpoint(text: &str) -> Result<Endpoint, String> {
    text.parse::<Endpoint>().map_err(|error| error.to_string())
}

#[test]
fn endpoints() {
    for (text, url) in [
        ("/run/csi.sock", "unix:///run/csi.sock"),
        ("unix:/run/csi.sock", "unix:///run/csi.sock"),
        ("unix:///run/csi.sock", "unix:///run/csi.sock"),
        ("csi.sock", "unix:csi.sock"),
        ("./a:b/csi.sock", "unix:./a:b/csi.sock"),
        ("unix:csi.sock", "unix:csi.sock"),
        ("tcp://host:1", "tcp://host:1"),
        ("tcp://10.0.0.1:65535", "tcp://10.0.0.1:65535"),
        ("tcp://[::1]:9000", "tcp://[::1]:9000"),
        ("dns:///host:9000", "tcp://host:9000"),
        ("dns:host:9000", "tcp://host:9000"),
    ] {
        assert_eq!(endpoint(text).unwrap().to_string(), url, "{text}");
    }
}

#[test]
fn no_endpoints() {
    for (text, message) in [
        ("", "an endpoint needs the path of a socket"),
        ("unix:", "an endpoint needs the path of a socket"),
        ("unix://", "`unix://` names no socket; write unix:///path"),
        (
            "unix://run/a",
            "`unix://run/a` has two slashes where three are needed; did you mean `unix:///run/a`?",
        ),
        ("@a", "`@a`: abstract sockets are not supported"),
        (" /a", "` /a`: an endpoint has no spaces around it"),
        ("/a\0b", "the path of a socket cannot hold a NUL byte"),
        ("tcp:host:1", "`tcp:host:1`: write it as tcp://host:port"),
        (
            "tcp://host",
            "`tcp://host`: the port is missing; write tcp://host:port",
        ),
        (
            "tcp://host:0",
            "`tcp://host:0`: the port must be a number from 1 to 65535; write tcp://host:port",
        ),
        (
            "tcp://host:+1",
            "`tcp://host:+1`: the port must be a number from 1 to 65535; write tcp://host:port",
        ),
        (
            "tcp://host:65536",
            "`tcp://host:65536`: the port must be a number from 1 to 65535; write tcp://host:port",
        ),
        (
            "tcp://:1",
            "`tcp://:1`: the host is missing; write tcp://host:port",
        ),
        (
            "tcp://::1:9000",
            "`tcp://::1:9000`: an IPv6 address needs brackets; write tcp://host:port",
        ),
        (
            "tcp://[x]:1",
            "`tcp://[x]:1`: what stands in brackets must be an IPv6 address; write tcp://host:port",
        ),
        (
            "tcp://a/b:1",
            "`tcp://a/b:1`: the host holds a character that no host name has; write tcp://host:port",
        ),
        (
            "dns://8.8.8.8/host:1",
            "`dns://8.8.8.8/host:1`: a name server of its own is not supported; write dns:///host:port",
        ),
        (
            "localhost:9000",
            "`localhost:9000` looks like a host and port; did you mean `tcp://localhost:9000`?",
        ),
        (
            "[::1]:9000",
            "`[::1]:9000` looks like a host and port; did you mean `tcp://[::1]:9000`?",
        ),
        (
            "http://a:1",
            "`http://a:1`: endpoints of scheme `http` are not known; write /path, unix:///path, \
             tcp://host:port or dns:///host:port",
        ),
    ] {
        assert_eq!(endpoint(text), Err(message.to_owned()));
    }
}

#[test]
fn the_kernel_takes_socket_paths_up_to_107_bytes() {
    let longest = format!("/{}", "a".repeat(106));
    assert!(endpoint(&longest).is_ok());
    let error = endpoint(&format!("unix://{longest}b")).unwrap_err();
    assert!(
        error.ends_with("has 108 bytes; the path of a Unix socket may have at most 107"),
        "{error}"
    );
}

#[test]
fn sizes() {
    for (text, bytes, shown) in [
        ("0", 0, "0"),
        ("1000", 1000, "1000"),
        ("64Mi", 64 << 20, "64Mi"),
        ("1Gi", 1 << 30, "1Gi"),
        ("1024Mi", 1 << 30, "1Gi"),
        ("1.5Gi", 3 << 29, "1536Mi"),
        ("500M", 500_000_000, "500000000"),
        ("1k", 1000, "1000"),
        ("1e3", 1000, "1000"),
        ("1.5E3", 1500, "1500"),
        ("1E", 1_000_000_000_000_000_000, "976562500000000Ki"),
        ("7Ei", 7 << 60, "7Ei"),
        ("0.0001k", 1, "1"),
        (
            "9223372036854775807",
            i64::MAX as u64,
            "9223372036854775807",
        ),
    ] {
        let size: Quantity = text
            .parse()
            .unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(
            (size.bytes(), size.to_string().as_str()),
            (bytes, shown),
            "{text}"
        );
    }
}

#[test]
fn no_sizes() {
    let units = "Ki, Mi, Gi, Ti, Pi, Ei or k, M, G, T, P, E";
    for (text, message) in [
        (
            "",
            "`` is no size; write it as 64Mi, 1Gi, 500M or in plain bytes".to_owned(),
        ),
        (
            "big",
            "`big` is no size; write it as 64Mi, 1Gi, 500M or in plain bytes".to_owned(),
        ),
        (
            "1.2.3",
            "`1.2.3` is no size; write it as 64Mi, 1Gi, 500M or in plain bytes".to_owned(),
        ),
        (
            "1.",
            "`1.` is no size; write it as 64Mi, 1Gi, 500M or in plain bytes".to_owned(),
        ),
        ("-1", "`-1`: a size cannot be negative".to_owned()),
        (
            "64MB",
            format!("`64MB` is no size; did you mean `64M`? (units: {units})"),
        ),
        (
            "64MiB",
            format!("`64MiB` is no size; did you mean `64Mi`? (units: {units})"),
        ),
        (
            "64mi",
            format!("`64mi` is no size; did you mean `64Mi`? (units: {units})"),
        ),
        (
            "64 Gi",
            format!("`64 Gi` is no size; did you mean `64Gi`? (units: {units})"),
        ),
        (
            "1parsec",
            format!("`1parsec` is no size: the unit must be one of {units}, or none for bytes"),
        ),
        (
            "8Ei",
            "`8Ei` is too large for a size (at most 2^63 - 1 bytes)".to_owned(),
        ),
        (
            "1e99",
            "`1e99` is too large for a size (at most 2^63 - 1 bytes)".to_owned(),
        ),
    ] {
        assert_eq!(
            text.parse::<Quantity>().map_err(|error| error.to_string()),
            Err(message)
        );
    }
}

#[test]
fn durations() {
    for (text, ms, shown) in [
        ("500ms", 500, "500ms"),
        ("30s", 30_000, "30s"),
        ("2m", 120_000, "2m"),
        ("1h", 3_600_000, "1h"),
        ("1m30s", 90_000, "1m30s"),
        ("1.5s", 1_500, "1s500ms"),
        ("90s", 90_000, "1m30s"),
        ("0", 0, "0s"),
        ("0s", 0, "0s"),
        ("168h", 604_800_000, "168h"),
    ] {
        let duration = parse_duration(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(duration, Duration::from_millis(ms), "{text}");
        assert_eq!(format_duration(duration), shown, "{text}");
    }
}

#[test]
fn no_durations() {
    for (text, message) in [
        (
            "30",
            "`30` has no unit; did you mean `30s`? (units: ms, s, m, h)",
        ),
        (
            "",
            "`` is no duration; write it as 500ms, 30s, 2m, 1h or 1m30s",
        ),
        (
            "soon",
            "`soon` is no duration; write it as 500ms, 30s, 2m, 1h or 1m30s",
        ),
        (
            "30 s",
            "`30 s` is no duration; write it as 500ms, 30s, 2m, 1h or 1m30s",
        ),
        (
            "-3s",
            "`-3s` is no duration; write it as 500ms, 30s, 2m, 1h or 1m30s",
        ),
        (
            "3s1m",
            "`3s1m` is no duration; write it as 500ms, 30s, 2m, 1h or 1m30s",
        ),
        (
            "3s3s",
            "`3s3s` is no duration; write it as 500ms, 30s, 2m, 1h or 1m30s",
        ),
        (
            "1.s",
            "`1.s` is no duration; write it as 500ms, 30s, 2m, 1h or 1m30s",
        ),
        ("169h", "`169h` is too long (at most a week: 168h)"),
        (
            "99999999999999999999999s",
            "`99999999999999999999999s` is too long (at most a week: 168h)",
        ),
    ] {
        assert_eq!(
            parse_duration(text).map_err(|error| error.to_string()),
            Err(message.to_owned())
        );
    }
}

#[test]
fn templates() {
    let values = [("n", "7"), ("run", "ab")];
    for (template, text) in [
        ("plain", "plain"),
        ("${n}", "7"),
        ("v-${run}-${n}-${n}", "v-ab-7-7"),
        ("$${n}", "${n}"),
        ("$$${n}", "$${n}"),
        ("$n $ $$ }", "$n $ $$ }"),
        ("ü${n}ü", "ü7ü"),
    ] {
        assert_eq!(expand(template, &values).unwrap(), text);
    }
    for (template, message) in [
        (
            "${m}",
            "unknown variable `m` (known here: n, run); for the driver to get it as it stands, write `$${m}`",
        ),
        (
            "${runs}",
            "unknown variable `runs`; did you mean `run`? (known here: n, run); for the driver to get it as it stands, \
             write `$${runs}`",
        ),
        (
            "${}",
            "unknown variable `` (known here: n, run); for the driver to get it as it stands, write `$${}`",
        ),
        (
            "a${n",
            "a `${` is not closed by `}`; for the characters `${` themselves write `$${`",
        ),
    ] {
        assert_eq!(expand(template, &values).unwrap_err().to_string(), message);
        assert!(check_template(template, &["n", "run"]).is_err());
    }
}

#[test]
fn the_value_of_a_variable_is_not_a_template() {
    assert_eq!(
        expand("${a}", &[("a", "${b}"), ("b", "c")]).unwrap(),
        "${b}"
    );
}

#[test]
fn the_nearest_name() {
    let checks = [
        "node-publish.read-only",
        "node-publish.target-is-mounted",
        "node-stage.repeat",
    ];
    assert_eq!(nearest("node-publish.readonly", checks), Some(checks[0]));
    assert_eq!(nearest("NODE_STAGE.REPEAT", checks), Some(checks[2]));
    assert_eq!(nearest("controller", checks), None);
    assert_eq!(nearest("anything", []), None);
}

proptest! {
    #[test]
    fn no_text_makes_a_parser_panic(text in any::<String>()) {
        let _ = text.parse::<Endpoint>();
        let _ = text.parse::<Quantity>();
        let _ = parse_duration(&text);
        let _ = expand(&text, &[("n", "1")]);
        let _ = nearest(&text, ["a", ""]);
        let _ = Config::from_yaml(&text, Path::new("any.yaml"));
    }

    #[test]
    fn nor_does_one_that_is_nearly_right(
        endpoint in r"(unix|tcp|dns|)[:/@\[\]a-z0-9.%]{0,12}",
        size in r"[0-9.]{0,24}[eE+-]?[0-9]{0,12}(Ki|Mi|Ei|k|M|E|B)?",
        duration in r"([0-9.]{0,22}(ms|s|m|h)?){0,3}",
        template in r"[${}n]{0,12}",
    ) {
        let _ = endpoint.parse::<Endpoint>();
        let _ = size.parse::<Quantity>();
        let _ = parse_duration(&duration);
        let _ = expand(&template, &[("n", "1")]);
    }

    #[test]
    fn nor_does_a_file_that_is_nearly_right(
        lines in prop::collection::vec(
            r"[ \t-]{0,4}(endpoint|volume|volumes|secrets|size|id|all|expected|driver|env|<<|'|a)?[:?]{0,1}[ ]?[\[\]{}&*!|>a'\x22#,:-]{0,5}",
            0..6,
        )
    ) {
        if let Err(error) = Config::from_yaml(&lines.join("\n"), Path::new("any.yaml")) {
            prop_assert!(error.to_string().starts_with("any.yaml"), "{error}");
        }
    }

    #[test]
    fn what_is_written_is_read_again(bytes in 0..=i64::MAX as u64, ms in 0..=604_800_000u64) {
        let size = Quantity::from_bytes(bytes).unwrap();
        prop_assert_eq!(size.to_string().parse::<Quantity>().unwrap(), size);
        let duration = Duration::from_millis(ms);
        prop_assert_eq!(parse_duration(&format_duration(duration)).unwrap(), duration);
    }

    #[test]
    fn an_endpoint_is_read_again_from_its_url(text in r"(/[a-z:%0-9.]{1,20}|tcp://[a-z0-9.]{1,9}:[1-9][0-9]{0,3})") {
        let endpoint: Endpoint = text.parse().unwrap();
        prop_assert_eq!(endpoint.to_string().parse::<Endpoint>().unwrap(), endpoint);
    }
}
