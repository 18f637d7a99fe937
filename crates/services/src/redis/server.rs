//! The server as a whole: what INFO and CONFIG tell of it, the same for all its connections.

use std::sync::{Arc, OnceLock};

use aviary_event::Timestamp;
use aviary_service::Slot;
use sha2::{Digest, Sha256};

use super::commands::Era;
use super::persona::Persona;
use super::store::Decoys;

/// INFO of 6.2.5 and 7.0.15, idle since their start, with what differs between servers in braces.
/// LIMIT: 6.0 plays that of 6.2, 7.2 and later that of 7.0, which lacks a few of their newest lines.
const INFO: [&str; 2] = [include_str!("fixtures/info-6.2.txt"), include_str!("fixtures/info-7.0.txt")];

/// `CONFIG GET *` of the same, one parameter a line, with the paths of Debian's package.
const CONFIG: [&str; 2] = [include_str!("fixtures/config-6.2.txt"), include_str!("fixtures/config-7.0.txt")];

/// What all connections share.
pub(super) struct Server {
    pub persona: Persona,
    /// No password is set, and everything is answered.
    pub open: bool,
    pub port: u16,
    /// Longest word, `proto-max-bulk-len`.
    pub word: i64,
    /// Bytes of CMD and of ARGS in 17001.
    pub logged: usize,
    /// 32 bytes of this installation.
    pub seed: Slot,
    /// Decoys that the settings name.
    pub given: Option<Decoys>,
    pub decoys: OnceLock<Decoys>,
    /// When it claims to have started, in seconds.
    pub started: OnceLock<i64>,
}

/// What INFO tells of the connection that asks.
#[derive(Clone, Debug)]
pub(super) struct Load {
    /// Connections since the start.
    pub connections: u64,
    /// Keys in database 0.
    pub keys: usize,
    /// Host and port of the master that the peer named.
    pub master: Option<(Vec<u8>, Vec<u8>)>,
}

impl Server {
    /// Hex digits that are this installation's own, another row for every label.
    pub(super) fn digits(&self, label: &str) -> String {
        // The secret is 32 random bytes, so making it here, should nobody have yet, takes no time.
        let seed = self.seed.ready().unwrap_or_else(|| self.seed.wait());
        let digest = Sha256::new().chain_update(seed).chain_update(label).finalize();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// A number below `below` that is this installation's own.
    pub(super) fn number(&self, label: &str, below: u64) -> u64 {
        let digits = self.digits(label);
        let number = digits.get(..12).and_then(|digits| u64::from_str_radix(digits, 16).ok());
        number.unwrap_or_default().checked_rem(below).unwrap_or_default()
    }

    /// The decoy keys.
    pub(super) fn decoys(&self) -> Decoys {
        Arc::clone(self.decoys.get_or_init(|| self.given.as_ref().map_or_else(|| Arc::new(self.invent()), Arc::clone)))
    }

    /// Keys as a web application keeps them, with secrets that no other installation has.
    fn invent(&self) -> std::collections::BTreeMap<Vec<u8>, Vec<u8>> {
        let own = |label: &str, length: usize| self.digits(label).get(..length).unwrap_or_default().to_owned();
        let mut keys = vec![
            ("app:config:version".to_owned(), format!("2.{}.{}", self.number("minor", 30), self.number("patch", 12))),
            ("app:config:smtp".to_owned(), format!("smtp://mailer:{}@mail:587", own("smtp", 16))),
            ("app:lock:nightly-report".to_owned(), own("lock", 32)),
            ("app:stats:logins".to_owned(), (self.number("logins", 90_000).saturating_add(10_000)).to_string()),
            ("app:user:1:api_key".to_owned(), own("key", 40)),
        ];
        for (n, user) in ["admin", "backup", "j.keller"].iter().enumerate() {
            let session = self.digits(&format!("session {n}"));
            let token = own(&format!("token {n}"), 32);
            let name = format!("app:session:{}", session.get(..32).unwrap_or_default());
            keys.push((name, format!("{{\"user\":\"{user}\",\"csrf\":\"{token}\",\"remember\":true}}")));
        }
        keys.into_iter().map(|(key, value)| (key.into_bytes(), value.into_bytes())).collect()
    }

    fn uptime(&self, now: Timestamp) -> i64 {
        let now = now.as_seconds();
        // 4 to 64 days, when first asked.
        let age = i64::try_from(self.number("uptime", 60 * 86_400)).unwrap_or_default().saturating_add(4 * 86_400);
        now.saturating_sub(*self.started.get_or_init(|| now.saturating_sub(age)))
    }

    /// The second of the last save.
    pub(super) fn saved(&self, now: Timestamp) -> i64 {
        let since = self.uptime(now).checked_rem(3600).unwrap_or_default();
        now.as_seconds().saturating_sub(since)
    }

    const fn row<'a>(&self, rows: &[&'a str; 2]) -> &'a str {
        let [old, new] = *rows;
        if matches!(self.persona.era, Era::V6_0 | Era::V6_2) { old } else { new }
    }

    /// INFO's answer for sections in lower case; none means the usual ones.
    pub(super) fn info(&self, sections: &[Vec<u8>], now: Timestamp, load: &Load) -> String {
        let asked = |name: &str| {
            sections.is_empty()
                || sections.iter().any(|section| {
                    matches!(section.as_slice(), b"all" | b"default" | b"everything") || section == name.as_bytes()
                })
        };
        let template = self.row(&INFO);
        let text: Vec<String> = template
            .split("\n\n")
            .map(|section| section.trim_end_matches('\n'))
            .filter(|section| asked(&section.lines().next().unwrap_or_default().replace("# ", "").to_ascii_lowercase()))
            .map(|section| self.fill(section, now, load))
            .collect();
        text.join("\r\n")
    }

    fn fill(&self, section: &str, now: Timestamp, load: &Load) -> String {
        let seconds = now.as_seconds();
        let uptime = self.uptime(now);
        let commands = load.connections.saturating_mul(7).saturating_add(self.number("commands", 4_000_000));
        let build = if self.persona.version == "7.0.15" { "ae4d7c971a948f0".to_owned() } else { self.digits("build") };
        let values = [
            ("{version}", self.persona.version.clone()),
            ("{build}", build.get(..15.min(build.len())).unwrap_or_default().to_owned()),
            ("{pid}", self.number("pid", 900).saturating_add(500).to_string()),
            ("{run_id}", self.digits("run").get(..40).unwrap_or_default().to_owned()),
            ("{replid}", self.digits("replication").get(..40).unwrap_or_default().to_owned()),
            ("{port}", self.port.to_string()),
            ("{now}", seconds.to_string()),
            ("{uptime}", uptime.to_string()),
            ("{days}", uptime.checked_div(86_400).unwrap_or_default().to_string()),
            ("{lru}", (seconds & 0x00ff_ffff).to_string()),
            ("{saved}", self.saved(now).to_string()),
            ("{connections}", load.connections.saturating_add(self.number("connections", 20_000)).to_string()),
            ("{commands}", commands.to_string()),
            ("{received}", commands.saturating_mul(61).to_string()),
            ("{sent}", commands.saturating_mul(143).to_string()),
            ("{hits}", commands.checked_div(3).unwrap_or_default().to_string()),
            ("{cpu}", uptime.checked_div(700).unwrap_or_default().to_string()),
        ];
        let mut text = section.replace('\n', "\r\n");
        for (name, value) in values {
            text = text.replace(name, &value);
        }
        if text.starts_with("# Keyspace") && load.keys > 0 {
            text.push_str(&format!("\r\ndb0:keys={},expires=0,avg_ttl=0", load.keys));
        }
        if text.starts_with("# Replication")
            && let Some((host, port)) = &load.master
        {
            let (host, port) = (String::from_utf8_lossy(host), String::from_utf8_lossy(port));
            let link = format!(
                "role:slave\r\nmaster_host:{host}\r\nmaster_port:{port}\r\nmaster_link_status:down\r\n\
                 master_last_io_seconds_ago:-1\r\nmaster_sync_in_progress:0\r\nslave_read_repl_offset:0\r\n\
                 slave_repl_offset:0\r\nmaster_link_down_since_seconds:-1\r\nslave_priority:100\r\n\
                 slave_read_only:1\r\nreplica_announced:1"
            );
            text = text.replace("role:master", &link);
        }
        text.push_str("\r\n");
        text
    }

    /// All configuration parameters with their values.
    pub(super) fn parameters(&self) -> impl Iterator<Item = (&'static str, String)> {
        let port = self.port.to_string();
        self.row(&CONFIG).lines().map(move |line| {
            let (name, value) = line.split_once(' ').unwrap_or((line, ""));
            (name, value.replace("{port}", &port))
        })
    }
}
