//! The conversation: requests in, events and replies out, on one connection that stays open as long
//! as the product would keep it.

use std::sync::Arc;
use std::time::Duration;

use aviary_config::HoneyCreds;
use aviary_event::Timestamp;
use aviary_service::{Dialogue, Facts, Outbox, Transport};
use aviary_wire::gzip::gzip;
use sha2::{Digest as _, Sha256};

use super::challenge::{Auth, Challenger};
use super::codec::{BodyFault, BodyReader, Checked, Detail, Fault, Framing, JA4H, Request, RequestLine};
use super::delivery::{Delivery, accepts_gzip};
use super::personas::{Family, Persona};
use super::report::{Reporter, malformed};
use super::response::{Connection, Extent, Length, Response};
use super::skin::Skin;
use super::{apache, iis, nginx};

/// Bytes of a body that are read for credentials.
const KEPT: usize = 64 * 1024;
/// Empty lines that are kept for an event.
const BLANK: usize = 1024;
/// Time for a body to go on.
const BODY_PATIENCE: Duration = Duration::from_secs(20);

/// What all connections of a service share.
#[derive(Clone, Debug)]
pub(super) struct Site {
    /// The product.
    pub(super) persona: Persona,
    /// Its pages.
    pub(super) skin: Skin,
    /// The name in pages for requests that name no host.
    pub(super) host_name: String,
    /// Credentials that every request must have.
    pub(super) auth: Auth,
    /// Whether addresses begin with `https`.
    pub(super) secure: bool,
    /// `http.log_requests`.
    pub(super) log_requests: bool,
    /// `http.log_redirect_request`.
    pub(super) log_redirects: bool,
    /// `http.log_unimplemented_method_requests`.
    pub(super) log_unimplemented: bool,
    /// Tried on responses of NTLM.
    pub(super) planted: HoneyCreds,
}

/// One conversation.
pub(super) struct Http {
    site: Arc<Site>,
    facts: Facts,
    state: State,
    /// Requests so far.
    served: u32,
    challenger: Challenger,
    /// Empty lines before a request line, for the event when nothing follows them.
    blank: Vec<u8>,
}

#[derive(Default)]
enum State {
    /// Before a request line.
    #[default]
    Line,
    /// Among the headers; `raw` is the head so far.
    Head { request: Box<Request>, raw: Vec<u8> },
    /// In the body.
    Body(Box<Exchange>),
}

/// A request on its way to a reply.
pub(super) struct Exchange {
    /// The request.
    pub(super) request: Request,
    /// What the product made of it.
    pub(super) checked: Checked,
    reader: BodyReader,
    /// The beginning of the body.
    pub(super) body: Vec<u8>,
    /// All of the body.
    pub(super) hash: Sha256,
    /// Its length so far.
    pub(super) length: u64,
    broken: Option<BodyFault>,
    answered: bool,
    closing: bool,
}

impl Exchange {
    fn new(request: Request, checked: Checked) -> Self {
        let reader = BodyReader::new(&checked.framing);
        Self {
            request,
            checked,
            reader,
            body: Vec::new(),
            hash: Sha256::new(),
            length: 0,
            broken: None,
            answered: false,
            closing: false,
        }
    }

    /// Takes body bytes; says how many.
    fn take(&mut self, input: &[u8]) -> usize {
        let Self { reader, body, hash, length, .. } = self;
        let result = reader.push(input, |bytes| {
            hash.update(bytes);
            *length = length.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            let room = KEPT.saturating_sub(body.len()).min(bytes.len());
            body.extend_from_slice(bytes.get(..room).unwrap_or_default());
        });
        result.unwrap_or_else(|fault| {
            self.broken = Some(fault);
            input.len()
        })
    }
}

impl Http {
    /// A conversation on a connection.
    pub(super) fn new(site: Arc<Site>, facts: Facts) -> Self {
        let challenger = Challenger::new(&facts);
        Self { site, facts, state: State::Line, served: 0, challenger, blank: Vec::new() }
    }

    fn family(&self) -> Family {
        self.site.persona.family
    }

    fn reporter(&self) -> Reporter<'_> {
        Reporter { site: &self.site, local: self.facts.local, challenge: self.challenger.last }
    }

    /// Before or at a request line.
    fn line(&mut self, input: &[u8], out: &mut Outbox) -> usize {
        let blank = match self.family() {
            Family::Nginx => input.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count(),
            Family::Apache if input.starts_with(b"\r\n") => 2,
            Family::Apache => 0,
        };
        if blank > 0 {
            let room = BLANK.saturating_sub(self.blank.len()).min(blank);
            self.blank.extend_from_slice(input.get(..room).unwrap_or_default());
            return blank;
        }
        let end = memchr::memchr(b'\n', input);
        let line = input.get(..end.unwrap_or(input.len())).unwrap_or_default();
        let parsed = match (self.family(), end) {
            (Family::Nginx, None) if nginx::may_begin(line) && line.len() < nginx::MAX_LINE => None,
            // The carriage return of a line of the greatest length may stand before a line feed that comes later.
            (Family::Apache, None) if line.len() <= apache::MAX_LINE.saturating_add(1) => None,
            (Family::Nginx, _) => Some(nginx::read_line(line)),
            (Family::Apache, _) => Some(apache::read_line(line)),
        };
        let used = line.len().saturating_add(1).min(input.len());
        match parsed {
            None => 0,
            Some(Ok(line)) if line.version.is_none() => {
                self.blank.clear();
                self.old_request(line, input.get(used..).unwrap_or_default(), out);
                input.len()
            }
            Some(Ok(line)) => {
                self.blank.clear();
                out.idle_limit(self.site.persona.patience);
                let request = Box::new(Request { line, size: used, ..Request::default() });
                self.state = State::Head { request, raw: input.get(..used).unwrap_or_default().to_vec() };
                used
            }
            Some(Err(fault)) => {
                malformed(out, &[&self.blank, input].concat(), fault.reason);
                let method = line.split(|b| *b == b' ').next().unwrap_or_default().to_vec();
                let line = RequestLine { method, version: Some((1, 0)), ..RequestLine::default() };
                self.refuse(&Request { line, ..Request::default() }, &fault, out);
                input.len()
            }
        }
    }

    /// HTTP/0.9: a line and nothing more.
    fn old_request(&mut self, line: RequestLine, rest: &[u8], out: &mut Outbox) {
        let mut request = Request { line, ..Request::default() };
        out.note(JA4H, request.ja4h());
        match self.check(&mut request) {
            Ok(_) if self.facts.transport == Transport::PlainOnTlsPort => {
                self.reporter().refused(&request, rest, out);
                self.refuse(&request, &misplaced(), out);
            }
            Ok(checked) => {
                let mut exchange = Exchange::new(request, checked);
                exchange.closing = true;
                self.finish(exchange, rest, out);
            }
            Err(fault) => {
                malformed(out, &request.line.target, fault.reason);
                self.refuse(&request, &fault, out);
            }
        }
    }

    fn check(&self, request: &mut Request) -> Result<Checked, Fault> {
        match self.family() {
            Family::Nginx => nginx::check(request),
            Family::Apache => apache::check(request),
        }
    }

    /// Among the headers.
    fn header(&mut self, mut request: Box<Request>, mut raw: Vec<u8>, input: &[u8], out: &mut Outbox) -> usize {
        let longest = match self.family() {
            Family::Nginx => nginx::MAX_LINE,
            Family::Apache => apache::MAX_LINE.saturating_add(1),
        };
        let end = memchr::memchr(b'\n', input);
        if end.is_none() && input.len() <= longest {
            self.state = State::Head { request, raw };
            return 0;
        }
        let line = input.get(..end.unwrap_or(input.len())).unwrap_or_default();
        let used = line.len().saturating_add(1).min(input.len());
        let rest = input.get(used..).unwrap_or_default();
        raw.extend_from_slice(input.get(..used).unwrap_or_default());
        request.size = raw.len();
        let blank = match self.family() {
            Family::Nginx => line.strip_suffix(b"\r").unwrap_or(line).is_empty(),
            Family::Apache => line == b"\r",
        };
        if blank {
            return used.saturating_add(self.head_done(*request, &raw, rest, out));
        }
        let read = match self.family() {
            Family::Nginx => nginx::read_header(line, &mut request),
            Family::Apache => apache::read_header(line, &mut request),
        };
        match read {
            Ok(()) => {
                self.state = State::Head { request, raw };
                used
            }
            Err(fault) => {
                raw.extend_from_slice(rest);
                malformed(out, &raw, fault.reason);
                self.reporter().refused(&request, b"", out);
                self.refuse(&request, &fault, out);
                input.len()
            }
        }
    }

    /// The head is complete; `rest` waits behind it. Says how much of that was used.
    fn head_done(&mut self, mut request: Request, raw: &[u8], rest: &[u8], out: &mut Outbox) -> usize {
        out.note(JA4H, request.ja4h());
        let checked = self.check(&mut request);
        let fault = match &checked {
            Err(fault) => {
                malformed(out, &[raw, rest].concat(), fault.reason);
                Some(fault.clone())
            }
            Ok(_) if self.facts.transport == Transport::PlainOnTlsPort => Some(misplaced()),
            Ok(_) => None,
        };
        if let Some(fault) = fault {
            self.reporter().refused(&request, rest, out);
            self.refuse(&request, &fault, out);
            return rest.len();
        }
        let Ok(checked) = checked else { return rest.len() };
        self.served = self.served.saturating_add(1);
        let mut exchange = Exchange::new(request, checked);
        if self.family() == Family::Nginx
            && matches!(exchange.checked.framing, Framing::Length(length) if length > nginx::MAX_BODY)
        {
            let fault = Fault::of(413, "the body is too long");
            self.refuse_and_listen(&mut exchange, &fault, out);
        }
        let waits = self.family() == Family::Apache || self.is_application(&exchange);
        if waits && exchange.checked.expects && exchange.checked.framing != Framing::None {
            out.reply(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let used = exchange.take(rest);
        if !exchange.reader.is_done() && exchange.broken.is_none() {
            if !waits && !exchange.answered {
                self.answer(&mut exchange, out);
            }
            out.idle_limit(BODY_PATIENCE);
            self.state = State::Body(Box::new(exchange));
            return used;
        }
        self.finish(exchange, rest.get(used..).unwrap_or_default(), out);
        if out.is_closing() { rest.len() } else { used }
    }

    /// Whether the request reaches the application behind the files, which reads the body first.
    fn is_application(&self, exchange: &Exchange) -> bool {
        let path = &exchange.checked.path.bytes;
        let skin = &self.site.skin;
        skin.route(&exchange.request.line.method, path).is_some()
            || (exchange.request.is("POST") && skin.is_login(path))
    }

    /// In the body.
    fn body(&mut self, mut exchange: Box<Exchange>, input: &[u8], out: &mut Outbox) -> usize {
        let used = exchange.take(input);
        if !exchange.reader.is_done() && exchange.broken.is_none() {
            self.state = State::Body(exchange);
            return used;
        }
        self.finish(*exchange, input.get(used..).unwrap_or_default(), out);
        if out.is_closing() { input.len() } else { used }
    }

    /// The request is complete: events first, then the reply. `rest` is what waits behind it.
    fn finish(&mut self, mut exchange: Exchange, rest: &[u8], out: &mut Outbox) {
        self.reporter().request(&exchange, out);
        if !exchange.answered {
            self.answer(&mut exchange, out);
        }
        if exchange.closing || exchange.broken.is_some() {
            if !rest.iter().all(|b| matches!(b, b'\r' | b'\n')) {
                malformed(out, rest, "bytes behind the last request");
            }
            out.close();
        } else {
            out.idle_limit(self.site.persona.keep_alive);
            self.state = State::Line;
        }
    }

    /// Sends the reply to a request and notes whether the connection ends with it.
    fn answer(&mut self, exchange: &mut Exchange, out: &mut Outbox) {
        let (mut reply, detail) = self.reply(exchange, out.now());
        let request = &exchange.request;
        self.complete(&mut reply, &detail, request);
        let left = self.site.persona.requests.saturating_sub(self.served.saturating_sub(1));
        let drops = self.family() == Family::Apache && matches!(reply.status, 400 | 408 | 413 | 414 | 500 | 501 | 503);
        let keep = exchange.checked.keep && exchange.broken.is_none() && left > 0 && !drops;
        if !keep {
            reply.connection = Connection::Close;
        } else if exchange.checked.asked && reply.connection == Connection::Open {
            reply.connection = Connection::KeepAlive { left };
        }
        exchange.closing = exchange.closing || !keep || reply.close;
        exchange.answered = true;
        let extent = match request.line.version {
            None => Extent::Body,
            Some(_) if request.is("HEAD") => Extent::Head,
            Some(_) => Extent::Whole,
        };
        // nginx says it when it throws away the body of a request that it serves from a file.
        let late = self.family() == Family::Nginx
            && exchange.checked.expects
            && matches!(reply.status, 200 | 206)
            && !self.is_application(exchange);
        if late {
            out.reply(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        out.reply(reply.write(&self.site.persona, out.now(), extent));
    }

    /// The reply before its page and its `Connection` are filled in.
    fn reply(&mut self, exchange: &Exchange, now: Timestamp) -> (Response, Detail) {
        let Exchange { request, checked, .. } = exchange;
        let plain = |status| (Response { status, ..Response::default() }, Detail::None);
        if let (Some(fault), Family::Apache) = (exchange.broken, self.family()) {
            let status = if fault == BodyFault::TooLarge { 413 } else { 400 };
            return (Response { status, length: Length::Hidden, ..Response::default() }, Detail::None);
        }
        if let Some(reply) = self.challenger.demand(self.site.auth, &self.site.skin.realm, request, now) {
            return (reply, Detail::None);
        }
        let site = Arc::clone(&self.site);
        let path = checked.path.bytes.as_slice();
        if let Some(route) = site.skin.route(&request.line.method, path) {
            let reply = Response {
                status: route.status,
                media: route.body.is_some().then(|| route.media.clone()),
                body: route.body.clone().unwrap_or_default(),
                extra: route.headers.clone(),
                ..Response::default()
            };
            return (reply, Detail::None);
        }
        if let (Some(body), b"/") = (&site.skin.redirect, path) {
            let location = Some(format!("{}/index.html", self.base(request)));
            let media = Some("text/html".to_owned());
            return (
                Response { status: 302, location, media, body: body.clone(), ..Response::default() },
                Detail::None,
            );
        }
        if request.is("POST") && site.skin.is_login(path) {
            return (self.made_page(request, &site.skin.refused), Detail::None);
        }
        let boundary = match self.family() {
            Family::Nginx => format!("{:020}", self.facts.count),
            Family::Apache => format!("{:016x}", u64::from_be_bytes(self.challenger.random(b"boundary"))),
        };
        let iis = self.site.persona.iis;
        let delivery = Delivery { family: self.family(), iis, now: now.as_seconds(), boundary: &boundary };
        let base = self.base(request);
        match self.family() {
            Family::Nginx if checked.path.nul => plain(400),
            Family::Nginx => (nginx::answer(request, checked, &site.skin, &delivery, &base), Detail::None),
            Family::Apache if iis => (iis::answer(request, checked, &site.skin, &delivery, &base), Detail::None),
            Family::Apache => {
                let (host, port) = self.signature(request);
                let signature = site.persona.signature(&host, port);
                let (mut reply, detail) = apache::answer(request, checked, &site.skin, &delivery, &base, &signature);
                if reply.vary && reply.etag.is_none() && accepts_gzip(request) {
                    reply.body = gzip(&reply.body);
                    reply.gzip = true;
                }
                (reply, detail)
            }
        }
    }

    /// A page that the application makes: no validators, compressed where the product would.
    fn made_page(&self, request: &Request, page: &[u8]) -> Response {
        let apache = self.family() == Family::Apache && !self.site.persona.iis;
        let packs = apache && accepts_gzip(request);
        Response {
            status: 200,
            media: Some("text/html; charset=UTF-8".to_owned()),
            body: if packs { gzip(page) } else { page.to_vec() },
            vary: apache,
            gzip: packs,
            ..Response::default()
        }
    }

    /// Fills in the page of a status that has none.
    fn complete(&self, reply: &mut Response, detail: &Detail, request: &Request) {
        let apache = self.family() == Family::Apache && !self.site.persona.iis;
        let own =
            !reply.body.is_empty() || reply.status < 300 || reply.status == 304 || (apache && reply.status == 412);
        if own {
            return;
        }
        let (host, port) = self.signature(request);
        let persona = &self.site.persona;
        match self.site.skin.errors.get(&reply.status) {
            Some(page) => {
                let path = super::response::escape_html(request.line.path());
                let text = page.replace("[[BANNER]]", &persona.banner);
                let text = text.replace("[[URL]]", &String::from_utf8_lossy(&path));
                reply.body = text.into_bytes();
                reply.media = Some("text/html".to_owned());
            }
            None => {
                reply.body = persona.page(reply.status, detail, &host, port);
                reply.media = Some(if apache { "text/html; charset=iso-8859-1" } else { "text/html" }.to_owned());
            }
        }
        if apache && request.is("HEAD") {
            reply.length = Length::Hidden;
        }
    }

    /// Host and port in Apache's signature.
    fn signature(&self, request: &Request) -> (String, u16) {
        let host = request.host.as_ref();
        let name = host.map_or_else(|| self.site.host_name.clone(), |host| host.name.clone());
        (name, host.and_then(|host| host.port).unwrap_or(self.facts.local.port()))
    }

    /// Scheme, host and port of an absolute address.
    fn base(&self, request: &Request) -> String {
        let (scheme, usual) = if self.site.secure { ("https", 443) } else { ("http", 80) };
        let local = self.facts.local;
        let (name, port) = match (self.family(), request.host.as_ref()) {
            (Family::Nginx, Some(host)) => (host.name.clone(), local.port()),
            (Family::Nginx, None) if local.is_ipv6() => (format!("[{}]", local.ip()), local.port()),
            (Family::Nginx, None) => (local.ip().to_string(), local.port()),
            (Family::Apache, _) => self.signature(request),
        };
        if port == usual { format!("{scheme}://{name}") } else { format!("{scheme}://{name}:{port}") }
    }

    /// Sends a fault's page and closes.
    fn refuse(&self, request: &Request, fault: &Fault, out: &mut Outbox) {
        out.reply(self.fault_page(request, fault, out.now()));
        out.close();
    }

    fn refuse_and_listen(&self, exchange: &mut Exchange, fault: &Fault, out: &mut Outbox) {
        out.reply(self.fault_page(&exchange.request, fault, out.now()));
        exchange.answered = true;
        exchange.closing = true;
    }

    fn fault_page(&self, request: &Request, fault: &Fault, now: Timestamp) -> Vec<u8> {
        if self.site.persona.iis {
            return iis::refusal(fault, now);
        }
        // Apache closes after an unknown expectation without saying so.
        let connection = if fault.status == 417 { Connection::Open } else { Connection::Close };
        let mut reply = Response { status: fault.status, connection, ..Response::default() };
        self.complete(&mut reply, &fault.detail, request);
        let extent = if fault.old || request.line.version.is_none() {
            Extent::Body
        } else if request.is("HEAD") {
            Extent::Head
        } else {
            Extent::Whole
        };
        reply.write(&self.site.persona, now, extent)
    }

    /// Apache on its TLS port: OpenSSL looks at the first five bytes and knows some methods.
    fn plain_on_tls(&mut self, input: &[u8], out: &mut Outbox) -> usize {
        if self.site.persona.iis {
            malformed(out, input, "plain HTTP on the TLS port");
            out.reset();
            return input.len();
        }
        const KNOWN: [&[u8]; 4] = [b"GET ", b"POST", b"HEAD", b"PUT "];
        let known = KNOWN.iter().any(|method| input.starts_with(method));
        if input.len() < 5 || (known && input.len() <= apache::MAX_LINE && !input.contains(&b'\n')) {
            return 0;
        }
        if !known {
            malformed(out, input, "neither TLS nor HTTP");
            out.close();
            return input.len();
        }
        let (request, rest) = lenient_head(input);
        out.note(JA4H, request.ja4h());
        self.reporter().refused(&request, rest, out);
        let page =
            Request { line: RequestLine { version: Some((1, 0)), ..RequestLine::default() }, ..Request::default() };
        self.refuse(&page, &misplaced(), out);
        input.len()
    }

    /// Reports what came of an unfinished request.
    fn abandon(&mut self, rest: &[u8], reason: &'static str, out: &mut Outbox) {
        match std::mem::take(&mut self.state) {
            State::Line => {
                let rest = [&self.blank, rest].concat();
                if !rest.is_empty() {
                    malformed(out, &rest, reason);
                }
            }
            State::Head { request, raw } => {
                malformed(out, &[&raw, rest].concat(), reason);
                self.reporter().refused(&request, b"", out);
            }
            State::Body(exchange) => self.reporter().request(&exchange, out),
        }
    }
}

/// What plain HTTP on the TLS port gets.
fn misplaced() -> Fault {
    Fault { detail: Detail::PlainOnTls, ..Fault::bad("plain HTTP on the TLS port") }
}

/// A request read for its event alone, with whatever lines are good, and what stands behind it.
pub(crate) fn lenient_head(input: &[u8]) -> (Request, &[u8]) {
    let mut request = Request::default();
    let mut rest = input;
    let mut first = true;
    while let Some(end) = memchr::memchr(b'\n', rest) {
        let (line, behind) = rest.split_at_checked(end).unwrap_or((rest, b""));
        rest = behind.get(1..).unwrap_or_default();
        if std::mem::take(&mut first) {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let mut words = line.splitn(3, |b| *b == b' ').map(<[u8]>::to_vec);
            request.line.method = words.next().unwrap_or_default();
            request.line.target = words.next().unwrap_or_default();
            request.line.version_text = words.next().unwrap_or_default();
            request.line.version = plain_version(&request.line.version_text);
        } else if line == b"\r" || line.is_empty() {
            return (request, rest);
        } else if nginx::read_header(line, &mut request).is_err() {
            request.ignored.push((request.headers.len(), line.to_vec()));
        }
    }
    (request, rest)
}

/// `HTTP/1.1` and its like, with a digit on each side.
fn plain_version(text: &[u8]) -> Option<(u16, u16)> {
    let [major @ b'0'..=b'9', b'.', minor @ b'0'..=b'9'] = text.strip_prefix(b"HTTP/")? else { return None };
    Some((u16::from(major.saturating_sub(b'0')), u16::from(minor.saturating_sub(b'0'))))
}

impl Dialogue for Http {
    fn open(&mut self, _out: &mut Outbox) {}

    fn feed(&mut self, input: &[u8], out: &mut Outbox) -> usize {
        if input.is_empty() {
            return 0;
        }
        if self.facts.transport == Transport::PlainOnTlsPort && self.family() == Family::Apache {
            return self.plain_on_tls(input, out);
        }
        match std::mem::take(&mut self.state) {
            State::Line => self.line(input, out),
            State::Head { request, raw } => self.header(request, raw, input, out),
            State::Body(exchange) => self.body(exchange, input, out),
        }
    }

    fn ended(&mut self, rest: &[u8], out: &mut Outbox) {
        let unanswered = match &self.state {
            // Apache has looked at no header yet.
            State::Head { request, .. } => Some(Request { line: request.line.clone(), ..Request::default() }),
            State::Body(exchange) if !exchange.answered => Some(exchange.request.clone()),
            _ => None,
        };
        self.abandon(rest, "the request ends early", out);
        if let (Some(request), Family::Apache, false) = (unanswered, self.family(), self.site.persona.iis) {
            self.refuse(&request, &Fault::bad("the request ends early"), out);
        }
    }

    fn expired(&mut self, rest: &[u8], out: &mut Outbox) {
        let request = match &self.state {
            State::Head { .. } => Some(Request::default()),
            State::Body(exchange) if !exchange.answered => Some(exchange.request.clone()),
            _ => None,
        };
        self.abandon(rest, "the request does not go on", out);
        if let (Some(mut request), Family::Apache, false) = (request, self.family(), self.site.persona.iis) {
            request.line.version = Some((1, 1));
            self.refuse(&request, &Fault::of(408, "the request does not go on"), out);
        }
    }

    fn overflowed(&mut self, input: &[u8], out: &mut Outbox) {
        self.abandon(input, "the request is too long", out);
    }
}
