//! Events of a request: OpenCanary's four with exactly its keys, and ours with everything else.

use std::net::SocketAddr;

use aviary_event::{LogData, PeerBytes, Value};
use aviary_service::Outbox;
use aviary_wire::digest;
use sha2::{Digest as _, Sha256};

use super::codec::{Header, Request, before};
use super::credentials::{Authorization, Encoding, Field, fields, login, urlencoded, with_ntlm};
use super::dialogue::{Exchange, Site};
use super::events;

/// Bytes of a body that the request's event shows.
const SAMPLE: usize = 4096;

/// What OpenCanary writes where a header or field is missing.
const NOT_SUPPLIED: &str = "<not supplied>";

/// Reports requests of one connection.
pub(super) struct Reporter<'a> {
    /// The site.
    pub(super) site: &'a Site,
    /// The address that the peer used: OpenCanary's `HOSTNAME` when no host is named.
    pub(super) local: SocketAddr,
    /// The challenge that NTLM was given.
    pub(super) challenge: Option<[u8; 8]>,
}

/// Reports what is no good request.
pub(super) fn malformed(out: &mut Outbox, raw: &[u8], reason: &'static str) {
    out.report(events::MALFORMED, LogData::new().with("RAW", raw).with("REASON", reason));
}

impl Reporter<'_> {
    /// All events of a complete request.
    pub(super) fn request(&self, exchange: &Exchange, out: &mut Outbox) {
        let Exchange { request, checked, body, hash, length, .. } = exchange;
        if self.site.log_requests {
            self.whole(request, body, hash, *length, out);
        }
        let path = checked.path.bytes.as_slice();
        if self.site.log_redirects && path == b"/" {
            out.report(events::REDIRECT, self.visitor(request));
        }
        let at_login = self.site.skin.is_login(path);
        let (encoding, found) = self.body_fields(request, body);
        match request.line.method.as_slice() {
            b"GET" if at_login => out.report(events::GET, self.page_visitor(request)),
            b"POST" if at_login => self.form(request, &found, out),
            method if at_login && self.site.log_unimplemented => {
                out.report(events::UNIMPLEMENTED, self.page_visitor(request).with("REQUEST_TYPE", method));
            }
            _ => {}
        }
        if !(at_login && request.is("POST")) {
            self.other_forms(request, encoding, &found, out);
        }
        self.authorizations(request, out);
    }

    /// Events of a request that was refused before it was looked at: the credentials in it count.
    pub(super) fn refused(&self, request: &Request, body: &[u8], out: &mut Outbox) {
        if self.site.log_requests {
            let length = u64::try_from(body.len()).unwrap_or(u64::MAX);
            self.whole(request, body, &Sha256::new().chain_update(body), length, out);
        }
        let (encoding, found) = self.body_fields(request, body);
        self.other_forms(request, encoding, &found, out);
        self.authorizations(request, out);
    }

    fn whole(&self, request: &Request, body: &[u8], hash: &Sha256, length: u64, out: &mut Outbox) {
        let mut lines: Vec<PeerBytes> = request.headers.iter().map(|h| PeerBytes::from(h.line.as_slice())).collect();
        for (at, line) in request.ignored.iter().rev() {
            lines.insert((*at).min(lines.len()), PeerBytes::from(line.as_slice()));
        }
        let mut data = LogData::new()
            .with("METHOD", request.line.method.as_slice())
            .with("TARGET", request.line.target.as_slice())
            .with("VERSION", request.line.version_text.as_slice())
            .with("HEADERS", lines)
            .with("BODY_LENGTH", i64::try_from(length).unwrap_or(i64::MAX));
        if length > 0 {
            let digest = hash.clone().finalize();
            let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            data.insert("BODY", body.get(..SAMPLE).unwrap_or(body));
            data.insert("BODY_SHA256", hex);
        }
        out.report(events::REQUEST, data);
    }

    /// `HOSTNAME`, `PATH` and `USERAGENT` as OpenCanary fills them.
    fn visitor(&self, request: &Request) -> LogData {
        let agent = request.last("user-agent").filter(|agent| !agent.is_empty());
        LogData::new()
            .with("HOSTNAME", self.host(request))
            .with("PATH", request.line.path())
            .with("USERAGENT", agent.map_or_else(|| Value::from(NOT_SUPPLIED), Value::from))
    }

    fn page_visitor(&self, request: &Request) -> LogData {
        self.visitor(request).with("SKIN", self.site.skin.name.as_str())
    }

    /// The last `Host` without brackets and port, or the local address.
    fn host(&self, request: &Request) -> Value {
        let Some(host) = request.last("host") else { return Value::from(self.local.ip().to_string()) };
        let colon = host.iter().rposition(|b| *b == b':');
        let (name, port) = colon.and_then(|at| host.split_at_checked(at)).unwrap_or((host, b""));
        let is_port = port.len() > 1 && port.iter().skip(1).all(u8::is_ascii_digit);
        let name = if is_port { name } else { host };
        let name = name.strip_prefix(b"[").unwrap_or(name);
        Value::from(name.strip_suffix(b"]").unwrap_or(name))
    }

    fn body_fields(&self, request: &Request, body: &[u8]) -> (Encoding, Vec<Field>) {
        fields(request.first("content-type"), body)
    }

    /// A POST to the login page: from its body, or else from its query.
    fn form(&self, request: &Request, found: &[Field], out: &mut Outbox) {
        let skin = &self.site.skin;
        let query = urlencoded(request.line.query());
        let (user, password) = login(found, &skin.users, &skin.passwords);
        let (late_user, late_password) = login(&query, &skin.users, &skin.passwords);
        let text = |value: Option<&[u8]>| value.map_or_else(|| Value::from(NOT_SUPPLIED), Value::from);
        let data = self
            .page_visitor(request)
            .with("USERNAME", text(user.or(late_user)))
            .with("PASSWORD", text(password.or(late_password)));
        out.report(events::POST, data);
    }

    /// Forms and JSON elsewhere, and credentials in a query: whatever holds a password.
    fn other_forms(&self, request: &Request, encoding: Encoding, found: &[Field], out: &mut Outbox) {
        let query = urlencoded(request.line.query());
        let skin = &self.site.skin;
        let word = if encoding == Encoding::Json { "JSON" } else { "form" };
        for (scheme, fields) in [(word, found), ("query", query.as_slice())] {
            let (user, password) = login(fields, &skin.users, &skin.passwords);
            if let Some(password) = password {
                let mut data = self.attempt(request, scheme).with("PASSWORD", password);
                if let Some(user) = user {
                    data.insert("USERNAME", user);
                }
                out.report(events::LOGIN, data);
            }
        }
    }

    fn attempt(&self, request: &Request, scheme: impl Into<Value>) -> LogData {
        LogData::new()
            .with("METHOD", request.line.method.as_slice())
            .with("TARGET", request.line.target.as_slice())
            .with("SCHEME", scheme)
    }

    /// `Authorization` headers, each an attempt. The opening of NTLM is none yet.
    fn authorizations(&self, request: &Request, out: &mut Outbox) {
        let named = |h: &&Header| h.name.eq_ignore_ascii_case(b"authorization");
        for header in request.headers.iter().filter(named) {
            match Authorization::parse(&header.value) {
                Authorization::Basic { user, password } => {
                    let mut data = self.attempt(request, "Basic").with("USERNAME", user);
                    if let Some(password) = password {
                        data.insert("PASSWORD", password);
                    }
                    out.report(events::LOGIN, data);
                }
                Authorization::Digest(credentials) => self.digest(request, &credentials, out),
                Authorization::Ntlm { message, scheme, .. } => self.ntlm(request, &message, scheme, out),
                Authorization::Token { scheme, token } => {
                    out.report(events::LOGIN, self.attempt(request, scheme).with("TOKEN", token));
                }
            }
        }
    }

    fn digest(&self, request: &Request, digest: &digest::Credentials, out: &mut Outbox) {
        let mut data = self.attempt(request, "Digest");
        if let Some(user) = digest.get("username") {
            data.insert("USERNAME", user);
        }
        let listed: Vec<PeerBytes> =
            digest.iter().map(|(name, value)| PeerBytes::from([name, b"=".as_slice(), value].concat())).collect();
        data.insert("DIGEST", listed);
        if let Some(line) = digest.hashcat(before(&request.line.method, b' ')) {
            data.insert("HASHCAT", line);
            data.insert("HASHCAT_MODE", digest::HASHCAT_MODE);
        }
        out.report(events::LOGIN, data);
    }

    fn ntlm(&self, request: &Request, message: &[u8], scheme: &'static str, out: &mut Outbox) {
        let attempt = self.attempt(request, scheme);
        if let Some(data) = with_ntlm(attempt, message, self.challenge, &self.site.planted) {
            out.report(events::LOGIN, data);
        }
    }
}
