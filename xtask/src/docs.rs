//! `docs/events.md`, `schema/event.json`, `docs/metrics.md` and `schema/openapi.json`: written from the kinds, metrics and
//! routes that the code declares.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use aviary_event::{Class, KindInfo};
use aviary_services::ALL;
use serde_json::{Map, Value, json};

const PAGE: &str = "docs/events.md";
const METRICS: &str = "docs/metrics.md";
const SCHEMA: &str = "schema/event.json";
const ROUTES: &str = "schema/openapi.json";
const BEGIN: &str = "<!-- generated: begin -->\n";
const END: &str = "<!-- generated: end -->\n";

/// Who declares kinds: a word, what it is, and its kinds.
pub struct Group {
    /// The service's name.
    pub name: &'static str,
    /// What it imitates.
    pub summary: &'static str,
    /// Its kinds.
    pub kinds: Vec<&'static KindInfo>,
}

/// Every kind that the code declares, a group for each who does.
#[must_use]
pub fn groups() -> Vec<Group> {
    let group = |entry: &&'static aviary_service::Entry| Group {
        name: entry.name,
        summary: entry.summary,
        kinds: entry.kinds.iter().collect(),
    };
    let canary = Group {
        name: "aviary",
        summary: "the canary itself, and what it tells of connections that no service did",
        kinds: aviary_sensor::KINDS.to_vec(),
    };
    let scan =
        Group { name: aviary_scan::NAME, summary: aviary_scan::SUMMARY, kinds: aviary_scan::KINDS.iter().collect() };
    let script = Group {
        name: aviary_script::NAME,
        summary: aviary_script::SUMMARY,
        kinds: aviary_script::KINDS.iter().collect(),
    };
    let hub = Group {
        name: "hub",
        summary: "a hub: what it tells people, and what is wrong with itself",
        kinds: [&aviary_event::HUB_KINDS[..], aviary_hub::KINDS].concat(),
    };
    let others = [scan, script, hub];
    let mut groups: Vec<Group> = [canary].into_iter().chain(ALL.iter().map(group)).chain(others).collect();
    groups[1..].sort_by_key(|group| group.name);
    groups
}

/// Writes the files.
///
/// # Errors
/// When one cannot be read or written.
pub fn write(root: &Path) -> Result<()> {
    for (name, text) in generated(root)? {
        let path = root.join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&path, text).with_context(|| format!("write {name}"))?;
    }
    Ok(())
}

/// Says whether the files are what [`write`] would write.
///
/// # Errors
/// Naming the first file that is not.
pub fn check(root: &Path) -> Result<()> {
    for (name, text) in generated(root)? {
        if fs::read_to_string(root.join(name)).unwrap_or_default() != text {
            bail!("{name} is stale: run `cargo xtask docs`");
        }
    }
    Ok(())
}

fn generated(root: &Path) -> Result<[(&'static str, String); 4]> {
    let groups = groups();
    let page = |name, tables: &str| {
        let page = fs::read_to_string(root.join(name)).with_context(|| format!("read {name}"))?;
        with_tables(&page, tables).with_context(|| format!("write the table of {name}"))
    };
    let (events, metrics) = (page(PAGE, &tables(&groups))?, page(METRICS, &metrics())?);
    let routes = serde_json::to_string_pretty(&aviary_api::document())? + "\n";
    Ok([(PAGE, events), (SCHEMA, schema(&groups)), (METRICS, metrics), (ROUTES, routes)])
}

fn with_tables(page: &str, tables: &str) -> Result<String> {
    let (before, rest) = page.split_once(BEGIN).with_context(|| format!("there is no line {BEGIN}"))?;
    let (_, after) = rest.split_once(END).with_context(|| format!("there is no line {END}"))?;
    Ok(format!("{before}{BEGIN}\n{tables}{END}{after}"))
}

/// The table of metrics.
fn metrics() -> String {
    let mut text = "| metric | type | labels | what it says |\n|---|---|---|---|\n".to_owned();
    for family in aviary_sensor::FAMILIES {
        let labels = family.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
        let _ = writeln!(text, "| `{}` | {} | {labels} | {}. |", family.name, family.sort.word(), family.help);
    }
    text.push('\n');
    text
}

fn tables(groups: &[Group]) -> String {
    let mut text = String::new();
    for group in groups {
        let _ = writeln!(text, "### {}\n\n{}\n", group.name, sentence(group.summary));
        text.push_str("| logtype | constant | class | when | logdata keys | ATT&CK |\n|---|---|---|---|---|---|\n");
        let mut kinds = group.kinds.clone();
        kinds.sort_by_key(|kind| kind.number);
        for kind in kinds {
            let keys = match kind.keys {
                ["*"] => "the module's own".to_owned(),
                keys => keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", "),
            };
            let techniques = kind.technique.join(", ");
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {keys} | {techniques} |",
                kind.number,
                kind.constant,
                kind.class,
                kind.when.replace('|', "\\|")
            );
        }
        text.push('\n');
    }
    text
}

/// A summary with a capital and a full stop.
fn sentence(summary: &str) -> String {
    let mut chars = summary.trim_end_matches('.').chars();
    let first = chars.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(chars).chain(['.']).collect()
}

/// The schema of a line of ours: JSON Schema, closed but for what a service notes of the peer.
fn schema(groups: &[Group]) -> String {
    let mut kinds: Vec<&KindInfo> = groups.iter().flat_map(|group| group.kinds.iter().copied()).collect();
    kinds.sort_by_key(|kind| kind.number);
    // A number may be declared more than once: by several services, or with several classes.
    let variants: Vec<Value> = kinds.chunk_by(|a, b| a.number == b.number).filter_map(variant).collect();
    let text = |description: &str| json!({"type": "string", "description": description});
    let port = |description: &str| json!({"type": ["integer", "string"], "description": description});
    let classes: Vec<&str> = Class::ALL.into_iter().map(Class::word).collect();
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A line of Aviary's event log",
        "type": "object",
        "properties": {
            "aviary": {
                "type": "object",
                "description": "What OpenCanary's keys have no place for; absent with `logger.kwargs.extended: false`.",
                "properties": {
                    "drill": text("The word of the hub's drill that this is a touch of."),
                    "fingerprint": {"type": "object", "description": "Facts about the peer, such as `ja3`, `ja4`, `ja4h`, `ja4t`, `tcp` and `hassh`."},
                    "id": {"type": "string", "format": "uuid", "description": "Unique for ever; UUID version 7, of digests (30012) version 8."},
                    "kind": {"enum": classes, "description": "What it means, shared by all services."},
                    "raw": {
                        "type": "object",
                        "additionalProperties": {"type": "string", "contentEncoding": "base64"},
                        "description": "Whole bytes, by path in `logdata`, of what stands there with escapes.",
                    },
                    "seq": {"type": "integer", "minimum": 0, "description": "Position in the canary's journal."},
                    "service": text("The imitated service, or `aviary` for the canary itself."),
                    "session": text("All events of one connection share it."),
                    "src_hops": {"type": "integer", "description": "Routers between, guessed from the TTL."},
                    "src_mac": text("The peer's MAC address, or that of the router it came by."),
                    "src_mac_router": {"const": true, "description": "`src_mac` is a router's."},
                    "src_name": text("The name that the peer's host tells of itself."),
                    "src_name_from": {"enum": ["dhcp", "llmnr", "mdns", "netbios"], "description": "How it was heard."},
                    "src_ttl": {"type": "integer", "description": "TTL or hop limit as it arrived."},
                    "src_vendor": text("To whom the IEEE gave the block that `src_mac` is in."),
                    "technique": {"type": "array", "items": {"type": "string"}, "description": "MITRE ATT&CK techniques."},
                    "time": {"type": "string", "format": "date-time", "description": "RFC 3339 with the zone's offset."},
                },
                "required": ["id", "kind", "seq", "service", "time"],
                "additionalProperties": false,
            },
            "dst_host": text("The address that the peer really used; empty without a connection."),
            "dst_port": port("Its port; -1 without a connection."),
            "honeycred": {"type": "boolean", "description": "Whether the credential is a planted one."},
            "local_time": text("UTC, in spite of its name, as OpenCanary writes it."),
            "local_time_adjusted": text("Local time."),
            "logdata": {"type": ["object", "string"], "description": "What was sent or done."},
            "logtype": {"type": ["integer", "null"], "description": "The kind of event."},
            "node_id": text("The canary's name."),
            "src_host": text("The peer's address; empty without a connection."),
            "src_port": port("Its port; -1 without a connection."),
            "utc_time": text("UTC."),
        },
        "required": [
            "dst_host", "dst_port", "local_time", "local_time_adjusted", "logdata", "logtype", "node_id",
            "src_host", "src_port", "utc_time",
        ],
        "additionalProperties": false,
    });
    if !variants.is_empty()
        && let Some(members) = schema.as_object_mut()
    {
        members.insert("oneOf".to_owned(), Value::Array(variants));
    }
    format!("{schema:#}\n")
}

/// The variant of kinds with one number, which share constant and keys.
fn variant(kinds: &[&KindInfo]) -> Option<Value> {
    let kind = kinds.first()?;
    let mut when: Vec<&str> = Vec::new();
    for kind in kinds {
        if !when.contains(&kind.when) {
            when.push(kind.when);
        }
    }
    let is_open = kind.keys == ["*"];
    let members: Map<String, Value> =
        kind.keys.iter().filter(|_| !is_open).map(|key| ((*key).to_owned(), json!({}))).collect();
    Some(json!({
        "title": kind.constant,
        "description": when.join("; "),
        "properties": {
            "logtype": {"const": kind.number},
            "logdata": {"type": "object", "properties": members, "additionalProperties": is_open},
        },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    static KINDS: [KindInfo; 2] = [
        KindInfo {
            number: 30_500,
            constant: "LOG_B",
            class: Class::Command,
            when: "a command comes",
            keys: &["CMD"],
            technique: &["T1059"],
        },
        KindInfo {
            number: 2000,
            constant: "LOG_A",
            class: Class::Login,
            when: "each password",
            keys: &["PASSWORD", "USERNAME"],
            technique: &[],
        },
    ];

    fn group() -> Group {
        Group { name: "test", summary: "plays a server", kinds: KINDS.iter().collect() }
    }

    #[test]
    fn a_table_has_a_row_for_each_kind_in_order() {
        let text = tables(&[group()]);
        assert!(text.starts_with("### test\n\nPlays a server.\n\n"), "{text}");
        let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
        assert_eq!(
            rows,
            [
                "| 2000 | LOG_A | login | each password | `PASSWORD`, `USERNAME` |  |",
                "| 30500 | LOG_B | command | a command comes | `CMD` | T1059 |",
            ]
        );
    }

    #[test]
    fn tables_replace_what_stands_between_the_marks() {
        let page = format!("before\n{BEGIN}old\n{END}after\n");
        assert_eq!(with_tables(&page, "new\n").unwrap(), format!("before\n{BEGIN}\nnew\n{END}after\n"));
        assert!(with_tables("no marks", "").is_err());
    }

    #[test]
    fn the_schema_is_closed_and_knows_each_kind() {
        let schema: Value = serde_json::from_str(&schema(&[group(), group()])).unwrap();
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["oneOf"].as_array().unwrap().len(), 2, "the same kind twice is one");
        assert_eq!(schema["oneOf"][0]["properties"]["logtype"]["const"], 2000);
        assert_eq!(schema["oneOf"][0]["properties"]["logdata"]["additionalProperties"], false);
    }

    #[test]
    fn stale_files_are_found() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("docs")).unwrap();
        for page in [PAGE, METRICS] {
            fs::write(root.path().join(page), format!("x\n{BEGIN}{END}")).unwrap();
        }
        assert!(check(root.path()).is_err());
        write(root.path()).unwrap();
        check(root.path()).unwrap();
        fs::write(root.path().join(SCHEMA), "{}").unwrap();
        assert_eq!(check(root.path()).unwrap_err().to_string(), "schema/event.json is stale: run `cargo xtask docs`");
        write(root.path()).unwrap();
        fs::write(root.path().join(METRICS), format!("{BEGIN}{END}")).unwrap();
        assert_eq!(check(root.path()).unwrap_err().to_string(), "docs/metrics.md is stale: run `cargo xtask docs`");
    }
}
