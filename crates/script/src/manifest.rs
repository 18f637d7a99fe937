//! What a module says of itself: the map that its function `about` gives.

use rhai::{Dynamic, ImmutableString, Map};
use serde_json::Value as Json;

use crate::values::to_json;
use crate::{kinds, limits};

/// How bytes come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A stream.
    Tcp,
    /// A stream inside TLS.
    Tls,
    /// Datagrams.
    Udp,
}

/// A module's declaration.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// Its name: prefix of its keys, word in `aviary.service`, name of its file.
    pub name: String,
    /// What it plays, in a few words.
    pub summary: String,
    /// The port where the configuration names none.
    pub port: u16,
    /// How bytes come.
    pub transport: Transport,
    /// The log type of a report that names none.
    pub logtype: i64,
    /// Seconds of silence after which a connection ends.
    pub idle: u64,
    /// Config keys without the module's name before them, each with its default.
    pub config: Vec<(String, Json)>,
}

/// Keys that every module has, and those that the configuration gives to every service.
const OWN_KEYS: [&str; 3] = ["enabled", "port", "honeycreds"];

impl Manifest {
    /// Reads a declaration.
    ///
    /// # Errors
    /// With what is wrong and what would be accepted.
    pub(crate) fn read(declared: &Map) -> Result<Self, String> {
        const KNOWN: [&str; 7] = ["config", "idle", "logtype", "name", "port", "summary", "transport"];
        if let Some(other) = declared.keys().find(|key| !KNOWN.contains(&key.as_str())) {
            return Err(format!("`about` says `{other}`, which is not known; there are {}", KNOWN.join(", ")));
        }
        let name = text(declared, "name")?.ok_or("`about` does not say `name`")?;
        if !is_name(&name) {
            return Err(format!(
                "`name` is {name:?}; accepted: up to 32 lower-case letters, digits, `-` and `_`, a letter first, no digit after `_`"
            ));
        }
        let port = number(declared, "port", 1, 65_535)?.ok_or("`about` does not say `port`")?;
        let transport = match text(declared, "transport")?.as_deref() {
            None | Some("tcp") => Transport::Tcp,
            Some("tls") => Transport::Tls,
            Some("udp") => Transport::Udp,
            Some(other) => return Err(format!("`transport` is {other:?}; accepted: \"tcp\", \"tls\", \"udp\"")),
        };
        let logtype = number(declared, "logtype", 0, i64::MAX)?.unwrap_or(kinds::USER);
        if kinds::find(logtype, false).is_none() {
            return Err(format!("`logtype` is {logtype}; accepted: 1006 and 99000 to 99009"));
        }
        Ok(Self {
            name,
            summary: text(declared, "summary")?.unwrap_or_default(),
            port: u16::try_from(port).unwrap_or_default(),
            transport,
            logtype,
            idle: number(declared, "idle", 1, 3600)?.and_then(|idle| u64::try_from(idle).ok()).unwrap_or(120),
            config: config(declared.get("config"))?,
        })
    }
}

/// Whether it can be a module's name. A number after an underscore would be a numbered service's.
pub(crate) fn is_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let is_good = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    let numbered = bytes.windows(2).any(|pair| matches!(pair, [b'_', b'0'..=b'9']));
    (1..=32).contains(&bytes.len())
        && bytes.first().is_some_and(u8::is_ascii_lowercase)
        && bytes.iter().all(is_good)
        && !numbered
}

fn text(declared: &Map, key: &str) -> Result<Option<String>, String> {
    let Some(value) = declared.get(key) else { return Ok(None) };
    let text = value.read_lock::<ImmutableString>().map(|text| text.to_string());
    text.map(Some).ok_or_else(|| format!("`{key}` is of type {}; accepted: text", value.type_name()))
}

fn number(declared: &Map, key: &str, min: i64, max: i64) -> Result<Option<i64>, String> {
    let Some(value) = declared.get(key) else { return Ok(None) };
    match value.as_int() {
        Ok(number) if (min..=max).contains(&number) => Ok(Some(number)),
        Ok(number) => Err(format!("`{key}` is {number}; accepted: {min} to {max}")),
        Err(other) => Err(format!("`{key}` is of type {other}; accepted: a whole number")),
    }
}

fn config(declared: Option<&Dynamic>) -> Result<Vec<(String, Json)>, String> {
    let Some(value) = declared else { return Ok(Vec::new()) };
    let Some(keys) = value.read_lock::<Map>() else {
        return Err("`config` is no map of keys with their defaults".to_owned());
    };
    if keys.len() > limits::KEYS {
        return Err(format!("`config` has {} keys; accepted: up to {}", keys.len(), limits::KEYS));
    }
    let mut config = Vec::new();
    for (key, default) in keys.iter() {
        if OWN_KEYS.contains(&key.as_str()) || !is_name(key) {
            return Err(format!(
                "`{key}` in `config` cannot be a key: lower-case letters, digits and `_`; not {}",
                OWN_KEYS.join(", ")
            ));
        }
        let default = to_json(default, 0).map_err(|why| format!("the default of `{key}` in `config` {why}"))?;
        config.push((key.to_string(), default));
    }
    Ok(config)
}
