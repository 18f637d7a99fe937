//! The conversation: requests in, refusals and events out.

use std::sync::Arc;
use std::time::Duration;

use aviary_service::{Dialogue, Facts, Outbox};

use super::request::{self, Fault, LONGEST_HEAD, Target};
use super::{Proxy, Reply, Skin, isa, report, squid};
use crate::http::challenge::Challenger;
use crate::http::codec::{BodyReader, JA4H, Request};
use crate::http::credentials::Authorization;

/// Bytes of a body that are reported.
const SAMPLE: usize = 4096;
/// Time between requests (Squid's `client_idle_pconn_timeout`).
const BETWEEN: Duration = Duration::from_secs(120);

/// One conversation.
pub(super) struct HttpProxy {
    proxy: Arc<Proxy>,
    facts: Facts,
    challenger: Challenger,
    state: State,
}

enum State {
    /// In a head, of which so many bytes were searched for its end; whether the line was found good.
    Head { searched: usize, line: bool },
    /// In a body that nobody waits for.
    Body(Box<Body>),
}

const START: State = State::Head { searched: 0, line: false };

struct Body {
    request: Request,
    reader: BodyReader,
    /// Whether the connection stays open after it.
    keep: bool,
    sample: Vec<u8>,
    length: u64,
}

impl HttpProxy {
    pub(super) fn new(proxy: Arc<Proxy>, facts: Facts) -> Self {
        Self { challenger: Challenger::new(&facts), proxy, facts, state: START }
    }

    fn send(&self, reply: &Reply<'_>, out: &mut Outbox) {
        let now = out.now();
        match self.proxy.skin {
            Skin::Squid => out.reply(squid::write(&self.proxy, reply, self.facts.local.port(), now)),
            Skin::Isa => out.reply(isa::write(&self.proxy, reply, now)),
        }
    }

    fn refuse(&self, request: &Request, shown: &[u8], fault: &Fault, out: &mut Outbox) {
        self.send(&Reply { request, shown, fault: Some(fault), offers: &[], keep: false }, out);
        out.close();
    }

    /// Takes what it can.
    fn consume(&mut self, input: &[u8], out: &mut Outbox) -> usize {
        match std::mem::replace(&mut self.state, START) {
            State::Head { searched, line } => {
                // Kept unless the head goes on.
                self.state = State::Head { searched, line };
                self.head(searched, line, input, out)
            }
            State::Body(body) => self.body(body, input, out),
        }
    }

    /// Before the end of a head. A bad line is answered at once, and so is HTTP/0.9.
    fn head(&mut self, searched: usize, line_was_good: bool, input: &[u8], out: &mut Outbox) -> usize {
        let blank = input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        if blank > 0 && !line_was_good {
            return blank;
        }
        let end_of_line = memchr::memchr(b'\n', input);
        let Some(end_of_line) = end_of_line else {
            if input.len() > LONGEST_HEAD {
                return self.too_long(input, 414, out);
            }
            return 0;
        };
        let (line, rest) = input.split_at_checked(end_of_line.saturating_add(1)).unwrap_or((input, b""));
        let line = match request::read_line(line) {
            Ok(line) => line,
            Err(fault) => {
                report::malformed(out, input, fault.reason().unwrap_or_default());
                let page = lenient(line);
                let shown = Target::of(&page.line, self.own()).unwrap_or_default().shown;
                self.refuse(&page, &shown, &fault, out);
                return input.len();
            }
        };
        let mut request = Request { line, ..Request::default() };
        if request.line.version.is_none() {
            self.answer(request, out);
            return input.len();
        }
        let from = searched.max(end_of_line);
        let Some(end) = end_of_head(input, from) else {
            if input.len() > LONGEST_HEAD {
                return self.too_long(input, 431, out);
            }
            self.state = State::Head { searched: input.len().saturating_sub(3), line: true };
            return 0;
        };
        if end > LONGEST_HEAD {
            return self.too_long(input, 431, out);
        }
        let head = input.get(..end).unwrap_or_default();
        let headers = rest.get(..end.saturating_sub(end_of_line.saturating_add(1))).unwrap_or_default();
        if !request::read_headers(headers, &mut request) {
            out.note(JA4H, request.ja4h());
            report::malformed(out, head, Fault::Header.reason().unwrap_or_default());
            report::credentials(&request, self.challenger.last, &self.proxy.planted, out);
            let shown = Target::of(&request.line, self.own()).unwrap_or_default().shown;
            self.refuse(&request, &shown, &Fault::Header, out);
            return input.len();
        }
        self.state = START;
        self.answer(request, out);
        if out.is_closing() { input.len() } else { end }
    }

    fn own(&self) -> (&str, u16) {
        (self.proxy.host_name.as_str(), self.facts.local.port())
    }

    fn too_long(&self, input: &[u8], status: u16, out: &mut Outbox) -> usize {
        let fault = Fault::TooLong(status);
        report::malformed(out, input, fault.reason().unwrap_or_default());
        self.refuse(&Request::default(), b"", &fault, out);
        input.len()
    }

    /// A whole head. Its reply does not wait for the body, and the connection does not end before it.
    fn answer(&mut self, request: Request, out: &mut Outbox) {
        out.note(JA4H, request.ja4h());
        let target = Target::of(&request.line, self.own());
        let known = target.clone().unwrap_or_default();
        report::request(&request, &known, out);
        report::credentials(&request, self.challenger.last, &self.proxy.planted, out);
        let framing = match request::framing(&request) {
            Ok(framing) => framing,
            Err(fault) => return self.refuse(&request, &known.shown, &target.err().unwrap_or(fault), out),
        };
        let fault = target.err();
        let keep = fault.is_none() && request::keeps(&request);
        let offers = if fault.is_none() { self.offers(&request, keep, out) } else { Vec::new() };
        let reply = Reply { request: &request, shown: &known.shown, fault: fault.as_ref(), offers: &offers, keep };
        self.send(&reply, out);
        out.idle_limit(BETWEEN);
        let reader = BodyReader::new(&framing);
        if !reader.is_done() {
            self.state = State::Body(Box::new(Body { request, reader, keep, sample: Vec::new(), length: 0 }));
        } else if !keep {
            out.close();
        }
    }

    /// What `Proxy-Authenticate` offers: the challenge when the client opened NTLM, or else all schemes. On a
    /// connection that ends there is no NTLM for a client that tried it.
    fn offers(&mut self, request: &Request, keep: bool, out: &Outbox) -> Vec<String> {
        let proxy = Arc::clone(&self.proxy);
        if let Some(Authorization::Ntlm { message, wrapped, scheme }) =
            request.first("proxy-authorization").map(Authorization::parse)
        {
            if !keep {
                return vec![proxy.basic()];
            }
            if proxy.offers(scheme)
                && let Some(offer) = self.challenger.proceed(&message, wrapped, scheme, out.now())
            {
                return vec![offer];
            }
        }
        proxy.schemes()
    }

    fn body(&mut self, mut body: Box<Body>, input: &[u8], out: &mut Outbox) -> usize {
        let Body { reader, sample, length, .. } = body.as_mut();
        let result = reader.push(input, |bytes| {
            *length = length.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            let room = SAMPLE.saturating_sub(sample.len()).min(bytes.len());
            sample.extend_from_slice(bytes.get(..room).unwrap_or_default());
        });
        let (used, good) = result.map_or((input.len(), false), |used| (used, true));
        if good && !body.reader.is_done() {
            self.state = State::Body(body);
            return used;
        }
        report::body(&body.request, &body.sample, body.length, out);
        if good && body.keep {
            return used;
        }
        out.close();
        input.len()
    }

    /// Reports what came of an unfinished request.
    fn abandon(&mut self, rest: &[u8], reason: &'static str, out: &mut Outbox) {
        match std::mem::replace(&mut self.state, START) {
            State::Head { .. } if rest.iter().all(|byte| matches!(byte, b'\r' | b'\n')) => {}
            State::Head { .. } => report::malformed(out, rest, reason),
            State::Body(body) => report::body(&body.request, &body.sample, body.length, out),
        }
    }
}

/// The place behind the empty line that ends a head, looked for from `from` on.
fn end_of_head(input: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(found) = memchr::memchr(b'\n', input.get(at..)?) {
        at = at.saturating_add(found).saturating_add(1);
        match input.get(at..)? {
            [b'\n', ..] => return Some(at.saturating_add(1)),
            [b'\r', b'\n', ..] => return Some(at.saturating_add(2)),
            _ => {}
        }
    }
    None
}

/// A line's first two words, for its page.
fn lenient(line: &[u8]) -> Request {
    let mut words = line.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty());
    let mut request = Request::default();
    request.line.method = words.next().unwrap_or_default().to_vec();
    request.line.target = words.next().unwrap_or_default().to_vec();
    request
}

impl Dialogue for HttpProxy {
    fn open(&mut self, _out: &mut Outbox) {}

    fn feed(&mut self, input: &[u8], out: &mut Outbox) -> usize {
        if input.is_empty() {
            return 0;
        }
        self.consume(input, out)
    }

    fn ended(&mut self, rest: &[u8], out: &mut Outbox) {
        self.abandon(rest, "the request ends early", out);
    }

    fn expired(&mut self, rest: &[u8], out: &mut Outbox) {
        self.abandon(rest, "the request does not go on", out);
    }

    fn overflowed(&mut self, input: &[u8], out: &mut Outbox) {
        self.abandon(input, "the request is too long", out);
    }
}
