//! The products: which headers an answer has, in which order, and how they are written.
//!
//! An answer over UDP to a source that has proven nothing must not be longer than its request, so each
//! header has a rank, and those of the highest go until the rest fits; where nothing is left to leave out,
//! what stays is written as short as the specification allows. Real products cut nothing; this is what keeps
//! the canary from being used against others.

use std::net::SocketAddr;

use super::codec::Head;
use super::nonce::{self, Form};
use super::via::{Via, first_hop};

/// What `sip.server` may be.
pub(super) const NAMES: &[&str] = &["freepbx", "asterisk", "chan_sip", "cisco"];

/// How a product writes its answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// PJSIP, as in Asterisk since 12 (captured: Asterisk 13 to 22 in public issues).
    Pjsip,
    /// Asterisk's own driver, gone in 21.
    ChanSip,
    /// Cisco IOS.
    Ios,
}

/// A product.
#[derive(Debug)]
pub(super) struct Persona {
    /// Its name in the settings.
    name: &'static str,
    /// Its `Server` header.
    pub server: &'static str,
    /// The realm that it asks credentials for.
    pub realm: &'static str,
    /// Its nonce.
    pub form: Form,
    style: Style,
    allow: &'static str,
    supported: &'static str,
}

const PJSIP_ALLOW: &str =
    "OPTIONS, SUBSCRIBE, NOTIFY, PUBLISH, INVITE, ACK, BYE, CANCEL, UPDATE, PRACK, REGISTER, REFER, MESSAGE";

const PJSIP_ACCEPT: &str = "application/sdp, application/dialog-info+xml, application/simple-message-summary, \
     application/xpidf+xml, application/cpim-pidf+xml, application/pidf+xml, application/pidf+xml, \
     application/dialog-info+xml, application/simple-message-summary, message/sipfrag;version=2.0";

static ALL: [Persona; 4] = [
    Persona {
        name: "freepbx",
        server: "FPBX-17.0.19.32(22.5.2)",
        realm: "asterisk",
        form: Form::Seconds,
        style: Style::Pjsip,
        allow: PJSIP_ALLOW,
        supported: "100rel, timer, replaces, norefersub",
    },
    Persona {
        name: "asterisk",
        server: "Asterisk PBX 20.15.1",
        realm: "asterisk",
        form: Form::Seconds,
        style: Style::Pjsip,
        allow: PJSIP_ALLOW,
        supported: "100rel, timer, replaces, norefersub",
    },
    Persona {
        name: "chan_sip",
        server: "Asterisk PBX 18.26.4",
        realm: "asterisk",
        form: Form::Digits(8),
        style: Style::ChanSip,
        allow: "INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, SUBSCRIBE, NOTIFY, INFO, PUBLISH, MESSAGE",
        supported: "replaces, timer",
    },
    Persona {
        name: "cisco",
        server: "Cisco-SIPGateway/IOS-16.12.4",
        realm: "cisco",
        form: Form::Capitals(16),
        style: Style::Ios,
        allow: "INVITE, OPTIONS, BYE, CANCEL, ACK, PRACK, UPDATE, REFER, SUBSCRIBE, NOTIFY, INFO, REGISTER",
        supported: "100rel,timer,resource-priority,replaces,sdp-anat",
    },
];

impl Persona {
    /// The product of a name; the first for one that is none.
    pub(super) fn of_name(name: &str) -> &'static Self {
        ALL.iter().find(|persona| persona.name == name).unwrap_or(&ALL[0])
    }

    /// What a request of this method gets that brought no credentials.
    pub(super) fn verdict(&self, method: &[u8]) -> Verdict {
        match (self.style, method) {
            (_, b"ACK") => Verdict::Silence,
            (_, b"OPTIONS") => Verdict::Capabilities,
            (Style::ChanSip, b"BYE" | b"CANCEL" | b"INFO") => {
                Verdict::Refuse(481, "Call leg/transaction does not exist")
            }
            (Style::ChanSip, b"NOTIFY") => Verdict::Refuse(489, "Bad event"),
            (Style::ChanSip, b"REFER") => Verdict::Refuse(603, "Declined (No dialog)"),
            (Style::ChanSip | Style::Ios, b"REGISTER" | b"INVITE" | b"SUBSCRIBE" | b"PUBLISH" | b"MESSAGE") => {
                Verdict::Challenge
            }
            (Style::ChanSip, _) => Verdict::Refuse(501, "Method Not Implemented"),
            (_, b"BYE" | b"CANCEL" | b"PRACK" | b"UPDATE" | b"INFO") => {
                Verdict::Refuse(481, "Call/Transaction Does Not Exist")
            }
            (Style::Ios, b"REFER" | b"NOTIFY") => Verdict::Refuse(481, "Call/Transaction Does Not Exist"),
            (Style::Ios, _) => Verdict::Refuse(501, "Not Implemented"),
            // PJSIP's distributor challenges whoever it does not know before it looks at the method.
            (Style::Pjsip, _) => Verdict::Challenge,
        }
    }

    /// The value of `WWW-Authenticate`.
    fn challenge(&self, realm: &str, nonce: &str, stale: bool, opaque: &str) -> String {
        match self.style {
            Style::Pjsip => {
                let stale = if stale { ",stale=true" } else { "" };
                format!(
                    "Digest realm=\"{realm}\",nonce=\"{nonce}\",opaque=\"{opaque}\"{stale},algorithm=MD5,qop=\"auth\""
                )
            }
            Style::ChanSip => {
                let stale = if stale { ", stale=true" } else { "" };
                format!("Digest algorithm=MD5, realm=\"{realm}\", nonce=\"{nonce}\"{stale}")
            }
            Style::Ios => format!("Digest realm=\"{realm}\",nonce=\"{nonce}\",algorithm=MD5,qop=\"auth\""),
        }
    }

    /// The nonce where room is scarce.
    pub(super) const fn short_form(&self) -> Form {
        match self.form {
            Form::Seconds => Form::Digits(16),
            form => form,
        }
    }
}

/// How much is written of what every answer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Width {
    /// All of it.
    Full,
    /// A challenge without what need not be there.
    Short,
    /// Nothing that need not be there.
    Lean,
    /// The same with one-letter names.
    Tight,
}

/// What a request gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Silence,
    /// 200 with what the product can do.
    Capabilities,
    /// 401.
    Challenge,
    /// Another status.
    Refuse(u16, &'static str),
}

/// The rest of what an answer is made of.
pub(super) struct Answer<'a> {
    /// The product.
    pub persona: &'static Persona,
    /// The request.
    pub request: &'a Head,
    /// Who asked.
    pub peer: SocketAddr,
    /// Where the request came.
    pub local: SocketAddr,
    /// Whether over TCP.
    pub tcp: bool,
    /// The `Server` header.
    pub server: &'a str,
    /// Realm of a challenge.
    pub realm: &'a str,
    /// Sixteen random bytes.
    pub chance: [u8; 16],
    /// The `Date` header's value, for products that have one.
    pub date: &'a str,
    /// Bytes that it may have.
    pub room: Option<usize>,
}

/// What an answer says beyond the headers that every answer has.
#[derive(Clone, Copy, Debug)]
pub(super) enum Content<'a> {
    /// 200 to OPTIONS.
    Capabilities,
    /// 401.
    Challenge {
        /// The nonce.
        nonce: &'a str,
        /// The one for where room is scarce.
        short: &'a str,
        /// Whether the request's own was good once.
        stale: bool,
    },
    /// A bare status.
    Status(u16, &'static str),
}

/// Header lines, each with its rank; 0 always stays.
type Lines = Vec<(u8, Vec<u8>)>;

impl Answer<'_> {
    /// The bytes of the answer.
    pub(super) fn write(&self, content: Content<'_>) -> Vec<u8> {
        let full = self.lines(content, Width::Full);
        let Some(room) = self.room else { return joined(&full, u8::MAX) };
        let narrow = [Width::Short, Width::Lean, Width::Tight].map(|width| self.lines(content, width));
        let every = || std::iter::once(&full).chain(&narrow);
        // Whoever asks for capabilities reads the product out of the answer, so its name goes last.
        let least = u8::from(matches!(content, Content::Capabilities));
        let ways = every().flat_map(|lines| (least..=5).rev().map(move |most| (lines, most)));
        let mut last = Vec::new();
        for (lines, most) in ways.chain(every().map(|lines| (lines, 0))) {
            last = joined(lines, most);
            if last.len() <= room {
                break;
            }
        }
        last
    }

    fn lines(&self, content: Content<'_>, width: Width) -> Lines {
        let (code, reason) = match content {
            Content::Capabilities => (200, "OK"),
            Content::Challenge { .. } => (401, "Unauthorized"),
            Content::Status(code, reason) => (code, reason),
        };
        let mut lines: Lines = vec![(0, format!("SIP/2.0 {code} {reason}").into_bytes())];
        let lean = matches!(width, Width::Lean | Width::Tight);
        let name = |long: &'static str, short| if width == Width::Tight { short } else { long };
        lines.extend(self.vias(name("Via", "v"), lean).into_iter().map(|via| (0, via)));
        let from = self.echo(name("From", "f"), b"from");
        let to = self.to(name("To", "t"), lean);
        let call = self.echo(name("Call-ID", "i"), b"call-id");
        let sequence = self.echo("CSeq", b"cseq");
        let text = |rank, name: &str, value: &str| (rank, format!("{name}: {value}").into_bytes());
        // A datagram ends a message; a stream does not.
        let length = if lean { 2 } else { 0 };
        let server = text(1, "Server", self.server);
        let challenge = match content {
            Content::Challenge { nonce, stale, .. } if width == Width::Full => {
                let opaque = nonce::hex(self.chance.get(8..).unwrap_or_default());
                let value = self.persona.challenge(self.realm, nonce, stale, &opaque);
                Some(text(0, "WWW-Authenticate", &value))
            }
            Content::Challenge { nonce, short, .. } => {
                let nonce = if lean { short } else { nonce };
                Some(text(0, "WWW-Authenticate", &format!("Digest realm=\"{}\",nonce=\"{nonce}\"", self.realm)))
            }
            _ => None,
        };
        let capable = matches!(content, Content::Capabilities);
        match self.persona.style {
            Style::Pjsip => {
                lines.extend(call.into_iter().chain(from).chain(to).chain(sequence).chain(challenge));
                if capable {
                    lines.extend([
                        text(3, "Accept", PJSIP_ACCEPT),
                        text(2, "Allow", self.persona.allow),
                        text(4, "Supported", self.persona.supported),
                        text(5, "Accept-Encoding", "identity"),
                        text(5, "Accept-Language", "en"),
                    ]);
                }
                // Two spaces, as PJSIP writes its numbers.
                lines.extend([server, text(length, "Content-Length", " 0")]);
            }
            Style::ChanSip => {
                lines.extend(from.into_iter().chain(to).chain(call).chain(sequence));
                lines.push(server);
                lines.push(text(2, "Allow", self.persona.allow));
                lines.push(text(3, "Supported", self.persona.supported));
                lines.extend(challenge);
                if capable {
                    let transport = if self.tcp { ";transport=TCP" } else { "" };
                    lines.push(text(4, "Contact", &format!("<sip:{}{transport}>", self.local)));
                    lines.push(text(4, "Accept", "application/sdp"));
                }
                lines.push(text(length, "Content-Length", "0"));
            }
            Style::Ios => {
                lines.extend(from.into_iter().chain(to));
                lines.push(text(3, "Date", self.date));
                lines.extend(call);
                lines.push(server);
                lines.extend(sequence);
                lines.extend(challenge);
                if capable {
                    lines.extend([
                        text(2, "Allow", self.persona.allow),
                        text(4, "Allow-Events", "telephone-event"),
                        text(4, "Accept", "application/sdp"),
                        text(4, "Supported", self.persona.supported),
                    ]);
                }
                lines.push(text(length, "Content-Length", "0"));
            }
        }
        lines
    }

    fn echo(&self, name: &str, wanted: &[u8]) -> Option<(u8, Vec<u8>)> {
        let value = self.request.first(wanted)?;
        Some((0, [name.as_bytes(), b": ", value].concat()))
    }

    /// To with our tag, unless it has one.
    fn to(&self, name: &str, lean: bool) -> Option<(u8, Vec<u8>)> {
        let value = self.request.first(b"to")?;
        let mut line = [name.as_bytes(), b": ", value].concat();
        // A tag is a parameter of the header, and so stands behind the address.
        let behind = memchr::memrchr(b'>', value).and_then(|at| value.get(at..)).unwrap_or(value);
        if memchr::memmem::find(&behind.to_ascii_lowercase(), b";tag=").is_none() {
            line.extend_from_slice(b";tag=");
            line.extend_from_slice(&if lean { self.digits(0, 6).into_bytes() } else { self.tag() });
        }
        Some((0, line))
    }

    /// Hex digits of chance, from and up to these of 32.
    fn digits(&self, from: usize, to: usize) -> String {
        nonce::hex(&self.chance).get(from..to).unwrap_or_default().to_owned()
    }

    fn tag(&self) -> Vec<u8> {
        let branch = self.request.first(b"via").map(|value| Via::parse(first_hop(value).0));
        match (self.persona.style, branch.and_then(|via| via.get("branch").flatten())) {
            // PJSIP's answer without a dialog takes the branch for its tag, so that a repeated request
            // gets a repeated answer.
            (Style::Pjsip, Some(branch)) if !branch.is_empty() => branch.to_vec(),
            (Style::Pjsip, _) => self.digits(0, 32).into_bytes(),
            (Style::ChanSip, _) => format!("as{}", self.digits(0, 8)).into_bytes(),
            (Style::Ios, _) => {
                format!("{}-{}", self.digits(0, 6), self.digits(6, 10)).to_ascii_uppercase().into_bytes()
            }
        }
    }

    /// Every Via, the first with what the product saw.
    fn vias(&self, name: &str, lean: bool) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        for (at, value) in self.request.all(b"via").enumerate() {
            let mut line = [name.as_bytes(), b": "].concat();
            if at == 0 {
                let (hop, rest) = first_hop(value);
                line.extend_from_slice(&self.seen(&Via::parse(hop), lean));
                line.extend_from_slice(rest);
            } else {
                line.extend_from_slice(value);
            }
            lines.push(line);
        }
        lines
    }

    fn seen(&self, via: &Via<'_>, lean: bool) -> Vec<u8> {
        let received = self.peer.ip().to_canonical().to_string();
        // RFC 3261 wants `received` only where the sender names another address.
        let needless = lean && via.is_from(received.as_bytes());
        let port = self.peer.port().to_string();
        let mut out = via.sent.to_vec();
        let mut add = |name: &[u8], value: Option<&[u8]>| {
            out.push(b';');
            out.extend_from_slice(name);
            if let Some(value) = value {
                out.push(b'=');
                out.extend_from_slice(value);
            }
        };
        let is = |name: &[u8], wanted: &[&str]| wanted.iter().any(|w| name.eq_ignore_ascii_case(w.as_bytes()));
        match self.persona.style {
            Style::Pjsip => {
                if let Some(given) = via.get("rport") {
                    let asked = given.unwrap_or_default().is_empty();
                    add(b"rport", if asked { Some(port.as_bytes()) } else { given });
                }
                if !needless {
                    add(b"received", Some(received.as_bytes()));
                }
                if let Some(Some(branch)) = via.get("branch") {
                    add(b"branch", Some(branch));
                }
                for (name, value) in via.parameters.iter().filter(|(n, _)| !is(n, &["rport", "received", "branch"])) {
                    add(name, *value);
                }
            }
            Style::ChanSip | Style::Ios => {
                let asked = via.wants_port();
                for (name, value) in &via.parameters {
                    if !(is(name, &["received"]) || asked && is(name, &["rport"])) {
                        add(name, *value);
                    }
                }
                if !needless {
                    add(b"received", Some(received.as_bytes()));
                }
                if asked {
                    add(b"rport", Some(port.as_bytes()));
                }
            }
        }
        out
    }
}

/// The lines up to a rank.
fn joined(lines: &Lines, most: u8) -> Vec<u8> {
    let mut out = Vec::new();
    for (_, line) in lines.iter().filter(|(rank, _)| *rank <= most) {
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out
}
