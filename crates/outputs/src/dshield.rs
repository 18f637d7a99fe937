//! `aviary.dshield`: tells the Internet Storm Center (DShield) who came, for a canary that faces the
//! internet.
//!
//! | key | meaning |
//! |---|---|
//! | `userid` | the number of the account |
//! | `auth_key` | its API key |
//! | `address` | the canary's public address, told instead of its own |
//! | `interval` | seconds between two submissions; 60 |
//! | `server` | `https://www.dshield.org` |
//! | `verify`, `timeout` | as in `opencanary.logger.WebhookHandler` |
//!
//! Only sources with a public address are told. A password tried on SSH or Telnet becomes a record of
//! the type `cowrie` (`timestamp`, `source_ip`, `user`, `password`, `lastcommand`, `hassh`, `banner`), any
//! other event one of the type `firewall` (`time`, `sip`, `dip`, `proto`, `sport`, `dport`, `flags`,
//! `version`), one for a connection however much happens in it. Events that come in one interval are
//! submitted together.
//!
//! The header `X-ISC-Authorization`, which the body repeats as `authheader`, holds the base64 of the
//! HMAC-SHA256 of the API key, under a nonce and the user's number. A refusal is a body that begins with
//! `ERROR`, whatever the status.
//!
//! LIMIT: requests are those of DShield's own client and of Cowrie; this was not tried against DShield.
//! Reference: <https://github.com/DShield-ISC/dshield>.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use aviary_event::{Event, Origin, Port, Value as Datum};
use aviary_output::{
    Blueprint, DIGEST, Delivery, DeliveryError, Entry, Failure, LineFormat, Output, Rejection, TEST, moment,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use crate::chat::hmac_base64;
use crate::http::{Answer, Http, address, judge};
use crate::options::{Options, wrong};
use crate::worker::temporary;

pub(crate) static ENTRY: Entry = Entry {
    name: "dshield",
    classes: &["aviary.dshield"],
    summary: "submissions to the Internet Storm Center",
    options: &["userid", "auth_key", "address", "interval", "server", "verify", "timeout"],
    build,
};

/// Records in one submission, and sessions and events that are remembered as told.
const BATCH: usize = 500;
const REMEMBERED: usize = 4096;

/// Longest user name, password or banner, characters; our own bound.
const TEXT: usize = 500;

fn build(blueprint: &Blueprint<'_>) -> Result<Box<dyn Output>, Rejection> {
    let options = Options(blueprint.options);
    // No line is written, but a wrong format is a mistake all the same.
    LineFormat::new(blueprint)?;
    let server =
        address("server", options.text("server")?.unwrap_or("https://www.dshield.org"), "https://www.dshield.org")?;
    let mut url = server;
    url.set_path("/submitapi/");
    let user = options.whole("userid", 0, 1, u64::from(u32::MAX))?;
    if user == 0 {
        return Err(Rejection::new("userid", "is missing; it takes the number of a DShield account"));
    }
    let key = options.needed_text("auth_key", "the account's API key")?;
    if key.bytes().any(|byte| !byte.is_ascii_graphic()) {
        return Err(Rejection::new("auth_key", "is no API key; it takes letters, digits, `+`, `/` and `=`"));
    }
    let ours = match options.get("address") {
        Some(value) => {
            let ip = value.as_str().and_then(|text| text.parse::<IpAddr>().ok());
            Some(ip.ok_or_else(|| wrong("address", value, "an IP address"))?.to_string())
        }
        None => None,
    };
    Ok(Box::new(DShield {
        url,
        user,
        key: key.to_owned(),
        address: ours,
        interval: options.seconds("interval")?.unwrap_or(Duration::from_secs(60)),
        http: Http::new(options)?,
        last: None,
        sessions: Remembered::default(),
        told: Remembered::default(),
    }))
}

struct DShield {
    url: Url,
    user: u64,
    key: String,
    address: Option<String>,
    interval: Duration,
    http: Http,
    /// When the last submission was answered.
    last: Option<Instant>,
    /// Connections that have their record.
    sessions: Remembered,
    /// Events of a batch of which another part failed.
    told: Remembered,
}

/// The latest of many texts.
#[derive(Default)]
struct Remembered(VecDeque<String>);

impl Remembered {
    fn has(&self, text: &str) -> bool {
        self.0.iter().any(|known| known == text)
    }

    fn add(&mut self, text: String) {
        if self.0.len() >= REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(text);
    }
}

/// A record and what is remembered once it arrived.
struct Record {
    json: Value,
    id: String,
    session: Option<String>,
}

impl Output for DShield {
    fn deliver<'a>(&'a mut self, batch: &'a [Arc<Event>]) -> Delivery<'a> {
        Box::pin(async move { self.submit_all(batch).await.map_err(|error| Failure { delivered: 0, error }) })
    }

    fn wants(&self, event: &Event) -> bool {
        source(event).is_some()
    }

    fn takes_lifecycle(&self) -> bool {
        false
    }

    fn no_test(&self) -> Option<&'static str> {
        Some(NO_TEST)
    }

    fn batch_limit(&self) -> usize {
        BATCH
    }

    fn time_limit(&self) -> Duration {
        self.interval + self.http.time_limit() * 2
    }
}

/// What is said to who tests it.
const NO_TEST: &str = "a test is nobody's visit, so nothing was submitted";

impl DShield {
    async fn submit_all(&mut self, batch: &[Arc<Event>]) -> Result<(), DeliveryError> {
        if batch.iter().any(|event| event.logtype == Some(TEST.number)) {
            return Err(DeliveryError::Refused { reason: NO_TEST.to_owned() });
        }
        let mut logins = Vec::new();
        let mut visits: Vec<Record> = Vec::new();
        for event in batch {
            let id = event.aviary.as_ref().map(|ours| ours.id.to_string()).unwrap_or_default();
            let Some(ip) = source(event).filter(|_| id.is_empty() || !self.told.has(&id)) else { continue };
            if let Some(json) = login(event, ip) {
                logins.push(Record { json, id, session: None });
                continue;
            }
            let session = event.aviary.as_ref().and_then(|ours| ours.session.clone());
            let known = session.as_ref().is_some_and(|session| {
                self.sessions.has(session) || visits.iter().any(|visit| visit.session.as_ref() == Some(session))
            });
            if let Some(json) = self.visit(event, ip).filter(|_| !known) {
                visits.push(Record { json, id, session });
            }
        }
        if let Some(last) = self.last {
            sleep_until(last + self.interval).await;
        }
        for (kind, records) in [("cowrie", logins), ("firewall", visits)] {
            if !records.is_empty() {
                self.submit(kind, records).await?;
            }
        }
        self.told.0.clear();
        Ok(())
    }

    async fn submit(&mut self, kind: &'static str, records: Vec<Record>) -> Result<(), DeliveryError> {
        let authorization = self.authorization(&records);
        let logs: Vec<&Value> = records.iter().map(|record| &record.json).collect();
        let body = json!({"type": kind, "logs": logs, "authheader": authorization}).to_string();
        let client = self.http.client().await?;
        let request = client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("X-ISC-Authorization", authorization)
            .header("X-ISC-LogType", kind)
            .body(body);
        let answer = self.http.send(request).await?;
        self.last = Some(Instant::now());
        verdict(&answer)?;
        for record in records {
            self.told.add(record.id);
            if let Some(session) = record.session {
                self.sessions.add(session);
            }
        }
        Ok(())
    }

    /// The first event's id makes the nonce, which need not be secret but must not come again.
    fn authorization(&self, records: &[Record]) -> String {
        let seed = records.first().map(|record| record.id.as_str()).unwrap_or_default();
        let now = jiff::Timestamp::now().as_nanosecond();
        let nonce = STANDARD
            .encode(hmac_base64(seed.as_bytes(), now.to_string().as_bytes()).as_bytes().get(..8).unwrap_or(b"aviary"));
        let credentials = hmac_base64(format!("{nonce}{}", self.user).as_bytes(), self.key.as_bytes());
        format!("ISC-HMAC-SHA256 Credentials={credentials} Userid={} Nonce={nonce}", self.user)
    }

    /// A record of the type `firewall`.
    fn visit(&self, event: &Event, ip: IpAddr) -> Option<Value> {
        let dst = event.dst.as_ref()?;
        let protocol = protocol(event);
        Some(json!({
            "time": seconds(event)?,
            "sip": ip.to_string(),
            "dip": self.address.as_deref().unwrap_or(&dst.host),
            "proto": protocol,
            "sport": port(event.src.as_ref())?,
            "dport": port(Some(dst))?,
            "flags": if protocol == 6 { "S" } else { "" },
            "version": if ip.is_ipv6() { 6 } else { 4 },
        }))
    }
}

/// A record of the type `cowrie`, for a password that was tried on SSH or Telnet.
fn login(event: &Event, ip: IpAddr) -> Option<Value> {
    if !matches!(event.logtype, Some(4002 | 6001)) {
        return None;
    }
    let text = |key: &str| event.logdata.get(key).map(shown).unwrap_or_default();
    let ours = event.aviary.as_ref();
    let hassh = ours.and_then(|ours| ours.more.get("fingerprint")?.get("hassh")?.as_str()).unwrap_or_default();
    event.logdata.get("PASSWORD")?;
    Some(json!({
        "timestamp": seconds(event)?,
        "source_ip": ip.to_string(),
        "user": text("USERNAME"),
        "password": text("PASSWORD"),
        "lastcommand": "",
        "hassh": hassh,
        "banner": text("REMOTEVERSION"),
    }))
}

fn shown(value: &Datum) -> String {
    let text = match value {
        Datum::Bytes(bytes) => bytes.to_text(),
        other => other.as_str().unwrap_or_default().to_owned(),
    };
    text.chars().take(TEXT).collect()
}

fn verdict(answer: &Answer) -> Result<(), DeliveryError> {
    let said = String::from_utf8_lossy(&answer.body);
    let said: String = said.trim().chars().take(200).collect();
    match answer.status {
        // A page is somebody else's, or the site's own at a wrong address.
        200..=299 if said.starts_with('<') => Err(temporary(format!("the receiver answered with a page: {said}"))),
        200..=299 if !said.starts_with("ERROR") => Ok(()),
        200..=299 if said.to_lowercase().contains("auth") => Err(temporary(format!("the receiver answered: {said}"))),
        200..=299 => Err(DeliveryError::Refused { reason: format!("the receiver answered: {said}") }),
        403 => Err(temporary(format!("the receiver answered 403: {said}"))),
        status => Err(judge(status, &answer.headers, &answer.body)),
    }
}

/// The source, when it is anybody on the internet who did something.
fn source(event: &Event) -> Option<IpAddr> {
    if event.is_lifecycle() || event.logtype == Some(DIGEST.number) {
        return None;
    }
    let ip = event.src.as_ref()?.host.parse::<IpAddr>().ok()?;
    let public = match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            // This network, shared address space (RFC 6598), and everything from class D on.
            let special = a == 0 || (a == 100 && b & 0xc0 == 64) || a >= 224;
            !(special || ip.is_private() || ip.is_loopback() || ip.is_link_local())
        }
        // Global unicast is 2000::/3.
        IpAddr::V6(ip) => ip.segments().first().is_some_and(|first| first & 0xe000 == 0x2000),
    };
    public.then_some(ip)
}

fn port(origin: Option<&Origin>) -> Option<u16> {
    match &origin?.port {
        Port::Number(number) => u16::try_from(*number).ok(),
        Port::Text(text) => text.parse().ok(),
    }
}

fn seconds(event: &Event) -> Option<i64> {
    moment(event).map(|time| time.as_micros().div_euclid(1_000_000))
}

/// The protocol's number: what the event says, or else what the service speaks.
///
/// LIMIT: OpenCanary's own event of SIP does not say, and counts as UDP.
fn protocol(event: &Event) -> u8 {
    let said = ["PROTO", "TRANSPORT"].iter().find_map(|key| event.logdata.get(key)?.as_str());
    match (said, event.service()) {
        (Some("UDP" | "udp"), _) | (None, Some("ntp" | "snmp" | "tftp" | "sip")) => 17,
        (Some("ICMP"), _) => 1,
        (Some("ICMPv6"), _) => 58,
        _ => 6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(src: &str, logtype: i64, logdata: &str) -> Event {
        let line = format!(
            r#"{{"dst_host": "192.168.1.5", "dst_port": 22, "logdata": {logdata}, "logtype": {logtype}, "src_host": "{src}", "src_port": 40000, "utc_time": "2026-11-22 22:00:00.5"}}"#
        );
        Event::parse(&line).expect("an event")
    }

    #[test]
    fn tells_of_nobody_at_home() {
        for (host, told) in [
            ("192.0.2.7", true),
            ("2001:db8::7", true),
            ("10.1.2.3", false),
            ("192.168.1.9", false),
            ("172.16.0.1", false),
            ("100.64.0.1", false),
            ("100.128.0.1", true),
            ("127.0.0.1", false),
            ("169.254.1.1", false),
            ("224.0.0.251", false),
            ("fe80::1", false),
            ("fd00::1", false),
            ("::1", false),
            ("", false),
        ] {
            assert_eq!(source(&event(host, 2000, "{}")).is_some(), told, "{host}");
        }
        assert_eq!(source(&event("192.0.2.7", 1001, "{}")), None, "the canary's own life");
        assert_eq!(source(&event("192.0.2.7", DIGEST.number, "{}")), None, "a digest tells of no connection");
    }

    #[test]
    fn writes_logins_and_visits_as_dshields_clients_do() {
        let ip = "192.0.2.7".parse().expect("an address");
        let ssh = event("192.0.2.7", 4002, r#"{"USERNAME": "root", "PASSWORD": "x", "REMOTEVERSION": "SSH-2.0-Go"}"#);
        let expected = json!({
            "timestamp": 1_795_384_800, "source_ip": "192.0.2.7", "user": "root", "password": "x",
            "lastcommand": "", "hassh": "", "banner": "SSH-2.0-Go",
        });
        assert_eq!(login(&ssh, ip), Some(expected));
        assert_eq!(login(&event("192.0.2.7", 2000, r#"{"PASSWORD": "x"}"#), ip), None);
        let built = |address: Option<&str>| DShield {
            url: Url::parse("https://www.dshield.org/submitapi/").expect("an address"),
            user: 7,
            key: "key".to_owned(),
            address: address.map(str::to_owned),
            interval: Duration::ZERO,
            http: Http::new(Options(&serde_json::Map::new())).expect("no options"),
            last: None,
            sessions: Remembered::default(),
            told: Remembered::default(),
        };
        let scan = event("192.0.2.7", 5001, r#"{"PROTO": "UDP"}"#);
        let expected = json!({
            "time": 1_795_384_800, "sip": "192.0.2.7", "dip": "203.0.113.5", "proto": 17,
            "sport": 40000, "dport": 22, "flags": "", "version": 4,
        });
        assert_eq!(built(Some("203.0.113.5")).visit(&scan, ip), Some(expected));
        let visit = built(None).visit(&ssh, ip).expect("a record");
        assert_eq!((&visit["dip"], &visit["flags"], &visit["proto"]), (&json!("192.168.1.5"), &json!("S"), &json!(6)));
    }

    #[test]
    fn believes_no_page_and_no_error() {
        let word = |status, body: &str| {
            let answer = Answer { status, headers: reqwest::header::HeaderMap::new(), body: body.as_bytes().to_vec() };
            match verdict(&answer) {
                Ok(()) => "ok",
                Err(DeliveryError::Temporary { .. }) => "later",
                Err(DeliveryError::Refused { .. }) => "refused",
            }
        };
        for (status, body, expected) in [
            (200, "OK: 2 records", "ok"),
            (200, "", "ok"),
            (200, "ERROR: no authinfo", "later"),
            (200, "ERROR: no logs", "refused"),
            (200, "<!DOCTYPE html>", "later"),
            (403, "", "later"),
            (503, "", "later"),
            (400, "", "refused"),
        ] {
            assert_eq!(word(status, body), expected, "{status} {body}");
        }
    }
}
