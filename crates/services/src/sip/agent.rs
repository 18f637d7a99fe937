//! What is said to a request, over either transport.

use std::net::SocketAddr;

use aviary_config::Settings;
use aviary_event::{LogData, PeerBytes, Timestamp, Value};
use aviary_service::{Outbox, Slot};
use aviary_wire::digest::{Credentials, HASHCAT_MODE};
use aviary_wire::guess::Budget;
use ring::hmac;

use super::codec::{Head, Start, user_of};
use super::events;
use super::nonce;
use super::persona::{Answer, Content, Persona, Verdict};
use super::via::as_opencanary;

/// Bytes of a request's body, and of what is no request, that an event keeps.
const SAMPLE: usize = 4096;

/// Digests of one request that are reported.
const MOST_DIGESTS: usize = 2;

/// Planted passwords that a digest is compared with.
const MOST_PLANTED: usize = 64;

/// Digests that are tried with common passwords in one second, over both transports; each takes half a
/// millisecond at most.
const GUESSES: u16 = 64;

/// The product, its secret, and what the operator set.
pub(super) struct Agent {
    persona: &'static Persona,
    server: String,
    realm: String,
    secret: Slot,
    planted: Vec<Vec<u8>>,
    guesses: Budget,
}

/// One message's circumstances.
#[derive(Clone, Copy)]
pub(super) struct Circumstances {
    /// Who asks.
    pub peer: SocketAddr,
    /// Where it came.
    pub local: SocketAddr,
    /// Whether over TCP.
    pub tcp: bool,
    /// Bytes that the answer may have.
    pub room: Option<usize>,
    /// Randomness of the connection.
    pub entropy: [u8; 32],
    /// Which message of the connection it is.
    pub count: u64,
}

impl Circumstances {
    const fn transport(&self) -> &'static str {
        if self.tcp { "TCP" } else { "UDP" }
    }

    /// Random bytes of this message.
    fn chance(&self) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.entropy);
        let tag = hmac::sign(&key, &self.count.to_be_bytes());
        let mut bytes = [0; 32];
        for (to, from) in bytes.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
        bytes
    }
}

impl Agent {
    /// The agent that the settings ask for.
    pub(super) fn new(settings: &Settings, secret: Slot) -> Self {
        let persona = Persona::of_name(&settings.text("sip.server"));
        let or = |key: &str, default: &str| {
            let clean: String = settings.text(key).chars().filter(|c| !c.is_control() && *c != '"').collect();
            if clean.is_empty() { default.to_owned() } else { clean }
        };
        Self {
            persona,
            server: or("sip.banner", persona.server),
            realm: or("sip.realm", persona.realm),
            secret,
            planted: settings.honeycreds("sip").plain_passwords().take(MOST_PLANTED).map(<[u8]>::to_vec).collect(),
            guesses: Budget::new(GUESSES),
        }
    }

    /// Reports and answers one message.
    pub(super) fn message(&self, head: &[u8], body: &[u8], at: Circumstances, out: &mut Outbox) {
        let parsed = match Head::parse(head) {
            Ok(parsed) => parsed,
            Err(why) => return self.no_request(&[head, b"\r\n", body].concat(), why, at, out),
        };
        let Start::Request { method, target } = &parsed.start else {
            return self.no_request(&[head, b"\r\n", body].concat(), "an answer to nothing", at, out);
        };
        report(&parsed, method, target, body, at, out);
        let (verdict, proven) = self.credentials(&parsed, method, target, at, out);
        let whole = [b"via".as_slice(), b"from", b"to", b"call-id", b"cseq"];
        // Products drop what lacks one of these.
        if proven && !at.tcp {
            // Before the answer, which may then be as long as it is.
            out.proven();
        }
        if whole.iter().all(|name| parsed.first(name).is_some()) {
            let at = if proven { Circumstances { room: None, ..at } } else { at };
            self.answer(&parsed, verdict, at, out);
        }
    }

    /// Reports what is no request; products say nothing to it.
    #[expect(clippy::unused_self, reason = "the same call as for a request")]
    pub(super) fn no_request(&self, bytes: &[u8], why: &str, at: Circumstances, out: &mut Outbox) {
        let sample = bytes.get(..SAMPLE).unwrap_or(bytes);
        let data = LogData::new().with("DATA", sample).with("ERROR", why).with("TRANSPORT", at.transport());
        out.report(events::VIOLATION, data);
    }

    /// Reports the digests of a request, and says what it gets.
    fn credentials(
        &self,
        request: &Head,
        method: &[u8],
        target: &[u8],
        at: Circumstances,
        out: &mut Outbox,
    ) -> (Judgement, bool) {
        let verdict = self.persona.verdict(method);
        let mut best = nonce::Verdict::Foreign;
        let mut proven = false;
        let values = [b"authorization".as_slice(), b"proxy-authorization"].into_iter().flat_map(|n| request.all(n));
        for digest in values.filter_map(Credentials::parse).take(MOST_DIGESTS) {
            let sent = digest.get("nonce").unwrap_or_default();
            let now = seconds(out.now());
            let check = |form| nonce::check(form, self.secret.wait(), at.peer.ip(), now, sent);
            let this = check(self.persona.form).max(check(self.persona.short_form()));
            // Too few digits prove nothing: somebody who guesses long enough guesses them.
            proven |= this == nonce::Verdict::Good && sent.len() >= nonce::PROOF;
            best = best.max(this);
            self.login(&digest, method, target, out);
        }
        let judgement = match (verdict, best) {
            (Verdict::Challenge, nonce::Verdict::Good) => Judgement::Plain(Verdict::Refuse(403, "Forbidden")),
            (Verdict::Challenge, nonce::Verdict::Stale) => Judgement::Stale,
            _ => Judgement::Plain(verdict),
        };
        (judgement, proven)
    }

    fn login(&self, digest: &Credentials, method: &[u8], target: &[u8], out: &mut Outbox) {
        let mut data = LogData::new().with("METHOD", method).with("TARGET", target);
        data.insert("USERNAME", digest.get("username").unwrap_or_default());
        data.insert("REALM", digest.get("realm").unwrap_or_default());
        if let Some(line) = digest.hashcat(method) {
            data.insert("HASHCAT", line);
            data.insert("HASHCAT_MODE", HASHCAT_MODE);
        }
        // hydra writes the realm's name into `uri` and computes with the target of its request.
        let over = digest.get("uri").filter(|uri| *uri != target).map(|_| digest.over(target));
        if let Some(line) = over.as_ref().and_then(|over| over.hashcat(method)) {
            data.insert("HASHCAT_TARGET", line);
        }
        let second = seconds(out.now());
        let password = std::iter::once(digest).chain(&over).find_map(|digest| {
            let planted = digest.find(method, self.planted.iter().map(Vec::as_slice)).map(<[u8]>::to_vec);
            planted.or_else(|| self.guesses.take(second).then(|| digest.guess(method)).flatten())
        });
        if let Some(password) = password {
            data.insert("PASSWORD", password);
        }
        out.report(events::LOGIN, data);
    }

    fn answer(&self, request: &Head, judgement: Judgement, at: Circumstances, out: &mut Outbox) {
        let chance = at.chance();
        let (first, second) = chance
            .split_first_chunk::<16>()
            .map_or(([0; 16], [0; 8]), |(first, rest)| (*first, rest.first_chunk::<8>().copied().unwrap_or_default()));
        let date = date(out.now());
        let answer = Answer {
            persona: self.persona,
            request,
            peer: at.peer,
            local: at.local,
            tcp: at.tcp,
            server: &self.server,
            realm: &self.realm,
            chance: first,
            date: &date,
            room: at.room,
        };
        let make = |form| nonce::make(form, self.secret.wait(), at.peer.ip(), seconds(out.now()), second);
        let challenge = |stale| {
            let (nonce, short) = (make(self.persona.form), make(self.persona.short_form()));
            answer.write(Content::Challenge { nonce: &nonce, short: &short, stale })
        };
        let content = match judgement {
            Judgement::Plain(Verdict::Silence) => return,
            Judgement::Plain(Verdict::Capabilities) => answer.write(Content::Capabilities),
            Judgement::Plain(Verdict::Refuse(code, reason)) => answer.write(Content::Status(code, reason)),
            Judgement::Plain(Verdict::Challenge) => challenge(false),
            Judgement::Stale => challenge(true),
        };
        out.reply(content);
    }
}

/// What a request gets, its credentials considered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judgement {
    /// What its method gets.
    Plain(Verdict),
    /// A challenge that says that the nonce was good once.
    Stale,
}

fn report(request: &Head, method: &[u8], target: &[u8], body: &[u8], at: Circumstances, out: &mut Outbox) {
    out.report(events::REQUEST, LogData::new().with("HEADERS", headers(request, at.peer)));
    let mut data = LogData::new().with("METHOD", method).with("TARGET", target).with("TRANSPORT", at.transport());
    for (key, name) in [("FROM", b"from".as_slice()), ("TO", b"to"), ("USER_AGENT", b"user-agent")] {
        if let Some(value) = request.first(name) {
            data.insert(key, value);
        }
    }
    if let Some(number) = user_of(target).filter(|_| method == b"INVITE") {
        data.insert("DIALLED", number);
    }
    if !body.is_empty() {
        data.insert("BODY", body.get(..SAMPLE).unwrap_or(body));
    }
    out.report(events::REQUEST_LINE, data);
}

/// OpenCanary's object: lists of values by name, the first Via as it rewrites it. A name that is not
/// UTF-8 stands there with escapes.
fn headers(request: &Head, peer: SocketAddr) -> Value {
    let mut map = std::collections::BTreeMap::<String, Vec<Value>>::new();
    let mut first_via = true;
    for (name, value) in &request.headers {
        let rewritten =
            (name == b"via" && std::mem::take(&mut first_via)).then(|| as_opencanary(value, peer)).flatten();
        let value = PeerBytes::from(rewritten.as_deref().unwrap_or(value));
        let name = str::from_utf8(name).map_or_else(|_| name.escape_ascii().to_string(), str::to_owned);
        map.entry(name).or_default().push(Value::Bytes(value));
    }
    Value::Map(map.into_iter().map(|(name, values)| (name, Value::List(values))).collect())
}

/// Whole seconds since 1970.
const fn seconds(now: Timestamp) -> i64 {
    now.as_micros().div_euclid(1_000_000)
}

/// `Sun, 22 Nov 2026 22:00:00 GMT`.
fn date(now: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(now.as_micros())
        .map(|moment| moment.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string())
        .unwrap_or_default()
}
