//! The file to start from: OpenCanary's keys in its order, then ours, each with its sentence.

use serde_json::Value;

use crate::document::HOSTS;
use crate::key::Key;
use crate::space::KeySpace;

/// How the file is spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spelling {
    /// OpenCanary's flat JSON with a comment above each key. OpenCanary itself refuses comments.
    Commented,
    /// OpenCanary's flat JSON without comments, which OpenCanary reads too.
    Plain,
    /// TOML with a comment above each key.
    Toml,
}

/// OpenCanary 0.9.10's shipped settings, in their order. `#` stands for 1.
const ORDER: &str = "
    device.node_id
    ip.ignorelist
    logtype.ignorelist
    git.enabled git.port git.max_connections git.timeout
    ftp.enabled ftp.port ftp.banner ftp.log_auth_attempt_initiated
    http.banner http.enabled http.port http.skin http.log_unimplemented_method_requests
        http.log_redirect_request
    https.enabled https.port https.skin https.certificate https.key
    httpproxy.enabled httpproxy.port httpproxy.skin
    llmnr.enabled llmnr.query_interval llmnr.query_splay llmnr.hostname llmnr.port
    logger
    portscan.enabled portscan.ignore_localhost portscan.logfile portscan.synrate portscan.nmaposrate
        portscan.lorate portscan.ignore_ports
    smb.auditfile smb.enabled
    mysql.enabled mysql.port mysql.banner mysql.log_connection_made
    ssh.enabled ssh.port ssh.version
    redis.enabled redis.port
    rdp.enabled rdp.port
    sip.enabled sip.port
    snmp.enabled snmp.port
    ntp.enabled ntp.port
    tftp.enabled tftp.port
    tcpbanner.maxnum tcpbanner.enabled tcpbanner_#.enabled tcpbanner_#.port
        tcpbanner_#.datareceivedbanner tcpbanner_#.initbanner tcpbanner_#.alertstring.enabled
        tcpbanner_#.alertstring tcpbanner_#.keep_alive.enabled tcpbanner_#.keep_alive_secret
        tcpbanner_#.keep_alive_probes tcpbanner_#.keep_alive_interval tcpbanner_#.keep_alive_idle
    telnet.enabled telnet.port telnet.banner telnet.max_connections telnet.timeout telnet.honeycreds
        telnet.log_tcp_connection
    mssql.enabled mssql.version mssql.port
    vnc.enabled vnc.port
";

/// What to write for `hosts`, with keys that every key space has.
const HOSTS_IN_JSON: &str = r#""hosts": {
    "printer": {"device.listen_addr": "10.0.0.7", "device.persona": "printer"},
    "files": {"device.listen_addr": ["10.0.0.8", "2001:db8::8"], "device.node_id": "files-2", "smb.enabled": true}
},"#;
const HOSTS_IN_TOML: &str = r#"[hosts.printer.device]
listen_addr = "10.0.0.7"
persona = "printer"
[hosts.files.device]
listen_addr = ["10.0.0.8", "2001:db8::8"]
node_id = "files-2"
[hosts.files.smb]
enabled = true"#;

/// What to write for `outputs`.
const OUTPUTS_IN_JSON: &str = r#""outputs": {
    "graylog": {"class": "gelf", "address": ["graylog.example", 12201], "when": {"severity": "medium"}},
    "chat": {"class": "slack", "webhook_url": "file:/etc/aviary/slack-url", "when": {"severity": "high"}, "rate": "10/m"}
},"#;
const OUTPUTS_IN_TOML: &str = r#"[outputs.graylog]
class = "gelf"
address = ["graylog.example", 12201]
when = {severity = "medium"}
[outputs.chat]
class = "slack"
webhook_url = "file:/etc/aviary/slack-url"
when = {severity = "high"}
rate = "10/m""#;

/// What stands as a comment for a key whose members the operator names, in JSON and in TOML.
const EXAMPLES: [(&str, &str, &str); 2] =
    [(HOSTS, HOSTS_IN_JSON, HOSTS_IN_TOML), ("outputs", OUTPUTS_IN_JSON, OUTPUTS_IN_TOML)];

fn example(name: &str) -> Option<(&'static str, &'static str)> {
    EXAMPLES.iter().find(|(key, ..)| *key == name).map(|(_, json, toml)| (*json, *toml))
}

fn order() -> impl Iterator<Item = &'static str> {
    ORDER.split_whitespace()
}

/// A line of the file.
struct Line<'a> {
    name: String,
    doc: &'a str,
    /// `None` for a key without a default: it stands as a comment.
    value: Option<Value>,
}

/// The text of a file with every key of the space, at its default; FTP is on, as in OpenCanary's.
#[must_use]
pub fn sample(space: &KeySpace, spelling: Spelling) -> String {
    let lines = lines(space);
    match spelling {
        Spelling::Commented => json(&lines, true),
        Spelling::Plain => json(&lines, false),
        Spelling::Toml => toml(&lines),
    }
}

fn lines(space: &KeySpace) -> Vec<Line<'_>> {
    let is_ours = |key: &&Key| !order().any(|name| name == key.name) && !is_idle(key);
    let mut ours: Vec<&Key> = space.keys().filter(is_ours).collect();
    // Aviary's own come last, and keys without a default first in their family: the last line of
    // the file then has a value, and every line that stands as a comment may be used as it is.
    ours.sort_by_key(|key| (family(key.name) == "aviary", family(key.name), !key.default.is_empty()));
    let known = order().filter_map(|name| Some((name, space.find(name)?)));
    known.chain(ours.into_iter().map(|key| (key.name, key))).map(|(name, key)| line(name, key)).collect()
}

/// Keys that are known only because older files hold them.
fn is_idle(key: &Key) -> bool {
    key.doc.starts_with("Read by nothing")
}

fn line<'a>(name: &str, key: &'a Key) -> Line<'a> {
    let value = match name {
        "ftp.enabled" => Some(Value::Bool(true)),
        _ => serde_json::from_str(key.default).ok(),
    };
    Line { name: name.replace('#', "1"), doc: key.doc, value }
}

/// The part of a name that keys of one service share.
fn family(name: &str) -> &str {
    name.split_once('.').map_or(name, |(family, _)| family)
}

fn json(lines: &[Line<'_>], commented: bool) -> String {
    let mut out = String::new();
    if commented {
        out.push_str(
            "// A canary's configuration: OpenCanary's keys, then Aviary's own. Check it with `aviary config check`.\n",
        );
    }
    out.push_str("{\n");
    let last = lines.iter().rposition(|line| line.value.is_some());
    let mut before = "device";
    for (at, line) in lines.iter().enumerate() {
        if commented {
            if family(&line.name) != before {
                out.push('\n');
            }
            before = family(&line.name);
            comment(&mut out, "    //", line.doc);
        }
        match &line.value {
            Some(value) => {
                let comma = if Some(at) == last { "" } else { "," };
                out.push_str(&format!("    \"{}\": {}{comma}\n", line.name, pretty(value)));
            }
            None if commented => match example(&line.name) {
                Some((json, _)) => json.lines().for_each(|line| out.push_str(&format!("    // {line}\n"))),
                None => out.push_str(&format!("    // \"{}\": ...,\n", line.name)),
            },
            None => {}
        }
    }
    out.push_str("}\n");
    out
}

/// A value as JSON, its inner lines moved below the key: four spaces a level.
fn pretty(value: &Value) -> String {
    let text = format!("{value:#}");
    let mut out = String::new();
    for (at, line) in text.lines().enumerate() {
        let inner = line.trim_start();
        if at > 0 {
            out.push('\n');
            out.push_str(&" ".repeat(4 + 2 * (line.len() - inner.len())));
        }
        out.push_str(inner);
    }
    out
}

fn toml(lines: &[Line<'_>]) -> String {
    let mut out = String::from(
        "# A canary's configuration: OpenCanary's keys, then Aviary's own. Check it with `aviary config check`.\n",
    );
    let mut families: Vec<&str> = Vec::new();
    for line in lines {
        if !families.contains(&family(&line.name)) {
            families.push(family(&line.name));
        }
    }
    // What follows `logger` in its family stands in its tables, so it comes with it.
    for name in families {
        out.push('\n');
        if name == "logger" {
            logger(&mut out, lines);
            continue;
        }
        if let Some((_, toml)) = example(name) {
            for line in lines.iter().filter(|line| line.name == name) {
                comment(&mut out, "#", line.doc);
            }
            toml.lines().for_each(|line| out.push_str(&format!("# {line}\n")));
            continue;
        }
        out.push_str(&format!("[{name}]\n"));
        for line in lines.iter().filter(|line| family(&line.name) == name) {
            comment(&mut out, "#", line.doc);
            let rest = line.name.get(name.len() + 1..).unwrap_or_default();
            // `alertstring.enabled` beside `alertstring` would make the latter a table.
            let group = rest.split('.').next().unwrap_or_default();
            let clash = group != rest && lines.iter().any(|other| other.name == format!("{name}.{group}"));
            let quote = if clash { "\"" } else { "" };
            match line.value.as_ref().and_then(as_toml) {
                Some(value) => out.push_str(&format!("{quote}{rest}{quote} = {value}\n")),
                None => out.push_str(&format!("# {quote}{rest}{quote} = ...\n")),
            }
        }
    }
    out
}

fn logger(out: &mut String, lines: &[Line<'_>]) {
    let mut root = toml::Table::new();
    for line in lines.iter().filter(|line| line.name == "logger") {
        comment(out, "#", line.doc);
        if let Some(value) = line.value.as_ref().and_then(as_toml) {
            root.insert(line.name.clone(), value);
        }
    }
    out.push_str(&toml::to_string(&root).unwrap_or_default());
}

fn comment(out: &mut String, mark: &str, text: &str) {
    let mut width = 0;
    for word in text.split_whitespace() {
        if width == 0 || width + word.len() > 100 {
            out.push_str(if width == 0 { "" } else { "\n" });
            out.push_str(mark);
            width = 0;
        }
        out.push(' ');
        out.push_str(word);
        width += word.len() + 1;
    }
    out.push('\n');
}

fn as_toml(value: &Value) -> Option<toml::Value> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(flag) => toml::Value::Boolean(*flag),
        Value::String(text) => toml::Value::String(text.clone()),
        Value::Number(number) => match number.as_i64() {
            Some(number) => toml::Value::Integer(number),
            None => toml::Value::Float(number.as_f64()?),
        },
        Value::Array(items) => toml::Value::Array(items.iter().filter_map(as_toml).collect()),
        Value::Object(map) => {
            toml::Value::Table(map.iter().filter_map(|(name, item)| Some((name.clone(), as_toml(item)?))).collect())
        }
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::check::check;
    use crate::document::{Document, Format};
    use crate::testing::space;

    fn settings_of(text: &str, format: Format) -> crate::Settings {
        settings_in(&space(), text, format)
    }

    fn settings_in(space: &KeySpace, text: &str, format: Format) -> crate::Settings {
        let document = Document::parse(Path::new("copy"), text, format, space)
            .unwrap_or_else(|problem| panic!("{}", problem.detailed()));
        let (settings, problems) = check(&document, space);
        assert_eq!(problems.iter().map(ToString::to_string).collect::<Vec<_>>(), Vec::<String>::new());
        settings
    }

    #[test]
    fn every_spelling_reads_back_to_the_same_settings_without_a_word() {
        let commented = settings_of(&sample(&space(), Spelling::Commented), Format::Json);
        let plain = settings_of(&sample(&space(), Spelling::Plain), Format::Json);
        let toml = settings_of(&sample(&space(), Spelling::Toml), Format::Toml);
        for key in space().keys() {
            let name = key.name.replace('#', "1");
            assert_eq!(commented.get(&name), plain.get(&name), "{name}");
            assert_eq!(commented.get(&name), toml.get(&name), "{name}");
            if name != "ftp.enabled" {
                assert_eq!(commented.get(&name).cloned(), serde_json::from_str(key.default).ok(), "{name}");
            }
        }
        assert!(toml.flag("ftp.enabled"));
    }

    #[test]
    fn holds_opencanarys_keys_in_its_order() {
        let shipped: Value =
            serde_json::from_str(include_str!("../fixtures/opencanary-0.9.10-settings.json")).expect("JSON");
        let copy: Value = serde_json::from_str(&sample(&space(), Spelling::Plain)).expect("JSON without comments");
        let names = |value: &Value| value.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
        let shipped = names(&shipped);
        assert_eq!(names(&copy)[..shipped.len()], shipped[..]);
        assert_eq!(order().map(|name| name.replace('#', "1")).collect::<Vec<_>>(), shipped);
    }

    #[test]
    fn carries_no_value_that_scanners_know() {
        for line in lines(&space()) {
            let value = line.value.unwrap_or_default();
            assert!(crate::shipped::find(&line.name, &value).is_none(), "{}", line.name);
        }
    }

    #[test]
    fn the_hosts_that_stand_as_a_comment_may_be_used_as_they_are() {
        let used = |space: &KeySpace, spelling, format, mark: &str| {
            let text = sample(space, spelling);
            let example = if format == Format::Json { HOSTS_IN_JSON } else { HOSTS_IN_TOML };
            let commented: String = example.lines().map(|line| format!("{mark}{line}\n")).collect();
            assert!(text.contains(&commented), "{text}");
            settings_in(space, &text.replace(&commented, &format!("{example}\n")), format)
        };
        let space = crate::testing::space().with_personas(&[crate::Persona {
            name: "printer",
            summary: "",
            defaults: &[("ftp.enabled", "true")],
        }]);
        for settings in [
            used(&space, Spelling::Commented, Format::Json, "    // "),
            used(&space, Spelling::Toml, Format::Toml, "# "),
        ] {
            let names: Vec<_> = settings.hosts().iter().map(|host| host.node_id("rack")).collect();
            assert_eq!(names, ["rack/printer", "files-2"]);
            assert!(settings.hosts()[1].settings.flag("smb.enabled") && !settings.flag("smb.enabled"));
        }
    }

    #[test]
    fn the_outputs_that_stand_as_a_comment_may_be_used_as_they_are() {
        let space = space();
        for (spelling, format, mark, example) in [
            (Spelling::Commented, Format::Json, "    // ", OUTPUTS_IN_JSON),
            (Spelling::Toml, Format::Toml, "# ", OUTPUTS_IN_TOML),
        ] {
            let text = sample(&space, spelling);
            let commented: String = example.lines().map(|line| format!("{mark}{line}\n")).collect();
            assert!(text.contains(&commented), "{text}");
            let settings = settings_in(&space, &text.replace(&commented, &format!("{example}\n")), format);
            let names: Vec<_> = settings.handlers().iter().map(|handler| handler.name.as_str()).collect();
            assert_eq!(names, ["console", "file", "graylog", "chat"]);
        }
    }

    #[test]
    fn every_key_has_its_sentence() {
        let text = sample(&space(), Spelling::Commented);
        assert_eq!(text.matches("\n    // A key of a service.\n").count(), crate::testing::SERVICES.len());
        insta::with_settings!({snapshot_path => "../fixtures/snapshots", prepend_module_to_snapshot => false}, {
            insta::assert_snapshot!("copy.conf", sample(&space(), Spelling::Commented));
            insta::assert_snapshot!("copy.toml", sample(&space(), Spelling::Toml));
        });
    }
}
