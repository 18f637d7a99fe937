//! Places, duplicates, tables, and what a parser never does.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::testing::{document, space};

fn toml(text: &str) -> Document {
    Document::parse(Path::new("aviary.toml"), text, Format::Toml, &space())
        .unwrap_or_else(|problem| panic!("{problem}"))
}

fn position(location: &Location) -> (u32, u32) {
    (location.line, location.column)
}

#[test]
fn entries_know_where_they_and_their_parts_stand() {
    let document = document(
        "\u{feff}// é\n{\n  \"é\": 1, /* x */ \"logger\": {\"kwargs\":\n    {\"handlers\": [1, {\"a/b\": 2}]}}\n}",
    );
    let [first, logger] = &document.entries[..] else { panic!("two entries") };
    assert_eq!(position(&first.location), (3, 3));
    assert_eq!(position(&logger.location), (3, 19));
    assert_eq!(position(logger.locate("/kwargs")), (3, 30));
    assert_eq!(position(logger.locate("/kwargs/handlers/1/a~1b")), (4, 23));
    assert_eq!(position(logger.locate("/kwargs/handlers/1/nothing/there")), (4, 22));
    assert_eq!(position(logger.locate("")), (3, 19));
}

#[test]
fn the_last_of_two_counts_and_the_first_is_told() {
    let document = document("{\"ftp.port\": 21,\n\"git.port\": {\"a\": 1, \"a\": 2},\n\"ftp.port\": 2121}");
    assert_eq!(document.entry("ftp.port").map(|entry| &entry.value), Some(&json!(2121)));
    assert_eq!(document.entry("git.port").map(|entry| &entry.value), Some(&json!({"a": 2})));
    let said: Vec<_> = document.problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "opencanary.conf:2:22: warning: `a` is given twice, first in line 2; the last counts; keep one of them",
            "opencanary.conf:3:1: warning: `ftp.port` is given twice, first in line 1; the last counts; keep one of them",
        ]
    );
}

#[test]
fn tables_nest_keys_until_a_key_that_is_an_object() {
    let document = toml(
        r#"
        device.node_id = "a"
        [ftp]
        enabled = true
        port = 0x15
        [[ftp.honeycreds]]
        username = "admin"
        [tcpbanner_1]
        alertstring = "x"
        "alertstring.enabled" = true
        [logger.kwargs.handlers.file]
        class = "logging.FileHandler"
        "#,
    );
    let entries: Vec<_> = document.entries.iter().map(|entry| (entry.key.as_str(), entry.value.clone())).collect();
    assert_eq!(
        entries,
        [
            ("device.node_id", json!("a")),
            ("ftp.enabled", json!(true)),
            ("ftp.port", json!(21)),
            ("ftp.honeycreds", json!([{"username": "admin"}])),
            ("tcpbanner_1.alertstring", json!("x")),
            ("tcpbanner_1.alertstring.enabled", json!(true)),
            ("logger", json!({"kwargs": {"handlers": {"file": {"class": "logging.FileHandler"}}}})),
        ]
    );
    let logger = document.entry("logger").expect("an entry");
    assert_eq!(position(logger.locate("/kwargs/handlers/file/class")), (12, 9));
}

#[test]
fn a_dotted_name_and_its_quoted_twin_are_one_key() {
    let document = toml("ftp.port = 21\n\"ftp.port\" = 2121");
    assert_eq!(document.entries.len(), 1);
    assert_eq!(document.problems.len(), 1);
}

#[test]
fn numbers_keep_their_digits() {
    let document = document(r#"{"a": 12345678901234567890123, "b": 1.50, "c": -0}"#);
    let values: Vec<_> = document.entries.iter().map(|entry| entry.value.to_string()).collect();
    assert_eq!(values, ["12345678901234567890123", "1.50", "-0"]);
}

#[test]
fn the_format_follows_the_name() {
    assert_eq!(Format::of(Path::new("/etc/aviary/aviary.toml")), Format::Toml);
    assert_eq!(Format::of(Path::new("/etc/opencanaryd/opencanary.conf")), Format::Json);
    assert_eq!(Format::of(Path::new("toml")), Format::Json);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_a_parser_panic(text in any::<String>()) {
        for format in [Format::Json, Format::Toml] {
            if let Err(problem) = Document::parse(Path::new("x"), &text, format, &space()) {
                prop_assert!(!problem.to_string().contains('\n'));
                let _ = problem.detailed();
            }
        }
    }

    #[test]
    fn no_text_that_looks_like_a_config_makes_anything_panic(
        parts in proptest::collection::vec(proptest::sample::select(FRAGMENTS), 0..24)
    ) {
        for format in [Format::Json, Format::Toml] {
            let Ok(mut document) = Document::parse(Path::new("x"), &parts.concat(), format, &space()) else { continue };
            let mut problems = crate::expand(&mut document, &crate::testing::surroundings());
            problems.extend(crate::check(&document, &space()).1);
            for problem in problems {
                prop_assert!(!problem.to_string().contains('\n'));
            }
        }
    }
}

const FRAGMENTS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\n",
    "\"",
    " ",
    "=",
    "\"logger\": ",
    "\"kwargs\": {",
    "\"handlers\": {",
    "\"x\": ",
    "\"class\": ",
    "\"ftp.port\": ",
    "\"telnet.honeycreds\": ",
    "{\"password\": \"$6$a$b\"}",
    "\"ip.ignorelist\": ",
    "[\"::/0\"]",
    "1e999",
    "-",
    "9999999999999999999",
    "true",
    "null",
    "\"${X}\"",
    "\"$é\"",
    "ftp.enabled",
    "[ftp]",
    "\\",
    "'",
    "\u{201c}",
    "// x\n",
    "/*",
    "# y\n",
    "\"tcpbanner_4294967296.port\": ",
    "\"device.listen_addr\": ",
    "inf",
];
