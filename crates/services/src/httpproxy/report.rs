//! Events of a request: OpenCanary's one with exactly its keys, and ours with everything else.

use aviary_config::HoneyCreds;
use aviary_event::{LogData, PeerBytes, Value};
use aviary_service::Outbox;
use aviary_wire::digest::HASHCAT_MODE;

use super::events;
use super::request::Target;
use crate::http::codec::{Request, before};
use crate::http::credentials::{Authorization, with_ntlm};

/// What OpenCanary writes for credentials that it cannot read.
const UNREADABLE: &str = "Invalid auth-token submitted";

/// Reports what is no good request.
pub(super) fn malformed(out: &mut Outbox, raw: &[u8], reason: &'static str) {
    out.report(events::MALFORMED, LogData::new().with("RAW", raw).with("REASON", reason));
}

/// Reports a request.
pub(super) fn request(request: &Request, target: &Target, out: &mut Outbox) {
    let mut lines: Vec<PeerBytes> = request.headers.iter().map(|h| PeerBytes::from(h.line.as_slice())).collect();
    for (at, line) in request.ignored.iter().rev() {
        lines.insert((*at).min(lines.len()), PeerBytes::from(line.as_slice()));
    }
    let mut data = LogData::new()
        .with("METHOD", request.line.method.as_slice())
        .with("TARGET", request.line.target.as_slice())
        .with("VERSION", request.line.version_text.as_slice())
        .with("HEADERS", lines);
    if !target.host.is_empty() {
        data.insert("HOST", target.host.as_slice());
    }
    if let Some(port) = target.port {
        data.insert("PORT", port);
    }
    if let Some(agent) = request.last("user-agent") {
        data.insert("USERAGENT", agent);
    }
    out.report(events::REQUEST, data);
}

/// Reports a request's body.
pub(super) fn body(request: &Request, sample: &[u8], length: u64, out: &mut Outbox) {
    let data = LogData::new()
        .with("METHOD", request.line.method.as_slice())
        .with("TARGET", request.line.target.as_slice())
        .with("BODY", sample)
        .with("BODY_LENGTH", i64::try_from(length).unwrap_or(i64::MAX));
    out.report(events::BODY, data);
}

/// Reports the credentials of a request; `challenge` is the one that the connection was given.
pub(super) fn credentials(request: &Request, challenge: Option<[u8; 8]>, planted: &HoneyCreds, out: &mut Outbox) {
    for value in request.all("proxy-authorization") {
        let attempt = |scheme: Value| {
            LogData::new()
                .with("METHOD", request.line.method.as_slice())
                .with("TARGET", request.line.target.as_slice())
                .with("SCHEME", scheme)
        };
        match Authorization::parse(value) {
            Authorization::Basic { user, password: Some(password) } => login(user, password, out),
            // A name alone is no pair, which OpenCanary calls unreadable.
            Authorization::Basic { user, password: None } => {
                login(UNREADABLE, "", out);
                out.report(events::OTHER, attempt(Value::from("Basic")).with("USERNAME", user));
            }
            Authorization::Digest(credentials) => {
                let mut data = attempt(Value::from("Digest"));
                let user = credentials.get("username").unwrap_or_default();
                login(user, "", out);
                data.insert("USERNAME", user);
                let listed =
                    credentials.iter().map(|(name, value)| PeerBytes::from([name, b"=".as_slice(), value].concat()));
                data.insert("DIGEST", listed.collect::<Vec<_>>());
                if let Some(line) = credentials.hashcat(before(&request.line.method, b' ')) {
                    data.insert("HASHCAT", line);
                    data.insert("HASHCAT_MODE", HASHCAT_MODE);
                }
                out.report(events::OTHER, data);
            }
            Authorization::Ntlm { message, scheme, .. } => {
                if let Some(data) = with_ntlm(attempt(Value::from(scheme)), &message, challenge, planted) {
                    let text = |key| data.get(key).and_then(Value::as_bytes).unwrap_or_default().to_vec();
                    login(text("USERNAME"), text("PASSWORD"), out);
                    out.report(events::OTHER, data);
                }
            }
            Authorization::Token { scheme, token } => {
                login(UNREADABLE, "", out);
                out.report(events::OTHER, attempt(Value::from(scheme)).with("TOKEN", token));
            }
        }
    }
}

fn login(user: impl Into<Value>, password: impl Into<Value>, out: &mut Outbox) {
    out.report(events::LOGIN, LogData::new().with("USERNAME", user).with("PASSWORD", password));
}
