//! The conversation: identification, key exchange, then authentication that never succeeds.
//!
//! Which message is handled when, and what an unexpected one brings, follows OpenSSH's dispatch
//! tables: numbers of the transport layer are answered with UNIMPLEMENTED (or end a strict key
//! exchange with a text), the others end the connection without a word until keys are in use.

use std::sync::Arc;

use aviary_service::{Dialogue, Facts, Outbox};

use super::Shared;
use super::auth::{self, Progress, Request, Verdict};
use super::cipher::Way;
use super::codec::{Identification, Reader, Writer, identification, is_c_string, message};
use super::entropy::Entropy;
use super::events::Versions;
use super::kex::{self, GroupRequest, Method, Outcome, Side, Task};
use super::negotiation::{self, Choice, KexInit, List};
use super::packet::{Fault, Inbound, Keys, Outbound, Received};
use super::personas::{self, TEXT_INVALID, TEXT_OTHER_MAJOR};

/// Messages beside key exchange and authentication that are reported one by one.
const MESSAGES_REPORTED: u32 = 16;

/// Bytes of a client's share that are kept for the event should it be impossible.
const KEPT: usize = 4096;

/// `SSH_DISCONNECT_PROTOCOL_ERROR`, the one reason that OpenSSH gives here.
const PROTOCOL_ERROR: u32 = 2;

/// Where the conversation stands.
enum Stage {
    /// The client's identification line is awaited.
    Identification,
    /// The client's KEXINIT is awaited; ours is out.
    Negotiation(Vec<u8>),
    /// The client's share is awaited.
    Exchange(Box<Exchange>),
    /// The share is being answered.
    Computing(Choice),
    /// The client's NEWKEYS is awaited; ours is out. These are its keys.
    NewKeys(Box<Keys>, Choice),
    /// Keys are in use.
    Login {
        /// `ssh-userauth` was accepted.
        accepted: bool,
    },
    /// Over.
    Closed,
}

/// A key exchange under way.
struct Exchange {
    choice: Choice,
    preamble: Vec<u8>,
    group: Option<GroupRequest>,
    drop_next: bool,
}

/// One client.
pub(crate) struct SshDialogue {
    shared: Arc<Shared>,
    versions: Versions,
    count: u64,
    entropy: Entropy,
    inbound: Inbound,
    outbound: Outbound,
    stage: Stage,
    progress: Progress,
    /// EXT_INFO may still come.
    ext_info_awaited: bool,
    /// The client wants EXT_INFO once more with its first request.
    ext_info_in_auth: bool,
    client_reported: bool,
    messages: u32,
    /// The client's share while it is computed with.
    share: Vec<u8>,
}

impl SshDialogue {
    pub(crate) fn new(shared: &Arc<Shared>, facts: &Facts) -> Self {
        Self {
            shared: Arc::clone(shared),
            versions: Versions { local: Arc::clone(&shared.banner), remote: Default::default() },
            count: facts.count,
            entropy: Entropy::new(facts.entropy),
            inbound: Inbound::default(),
            outbound: Outbound::default(),
            stage: Stage::Identification,
            progress: Progress::default(),
            ext_info_awaited: false,
            ext_info_in_auth: false,
            client_reported: false,
            messages: 0,
            share: Vec::new(),
        }
    }

    fn identify(&mut self, input: &[u8], out: &mut Outbox) -> usize {
        let (text, used, reason) = match identification(input) {
            Identification::Incomplete => return 0,
            Identification::Client { line, used } => {
                self.versions.remote = line.into();
                let withheld = personas::withheld(line);
                let init = negotiation::server_init(self.shared.persona, withheld, self.entropy.array());
                self.send(&init, out);
                self.stage = Stage::Negotiation(init);
                return used;
            }
            Identification::Invalid { used } => (TEXT_INVALID, used, "no identification line"),
            Identification::OtherMajor { used } => (TEXT_OTHER_MAJOR, used, "another protocol version"),
            Identification::KnownScanner { line, used } => {
                self.versions.remote = line.into();
                ("", used, "a scanner that OpenSSH does not answer")
            }
        };
        self.versions.violation(reason, input, out);
        if !text.is_empty() {
            out.reply(text);
        }
        self.stage = Stage::Closed;
        // The kernel resets when a socket is closed with bytes unread.
        if input.len() > used {
            out.reset()
        } else {
            out.close()
        }
        input.len()
    }

    fn packet(&mut self, input: &[u8], out: &mut Outbox) -> usize {
        match self.inbound.receive(input) {
            Ok(Received::Incomplete) => 0,
            Ok(Received::Packet { payload, used, sequence }) => {
                self.message(&payload, sequence, out);
                used
            }
            Err(fault) => {
                let reason = match fault {
                    Fault::Length(length) => format!("packet length {length}"),
                    Fault::Alignment(length) => format!("packet length {length} does not fit the block size"),
                    Fault::Tag => "wrong MAC".to_owned(),
                    Fault::ShortPadding(padding) => format!("padding of {padding} bytes"),
                    Fault::Empty => "packet without a message".to_owned(),
                };
                self.versions.violation(reason, input, out);
                if let Fault::ShortPadding(padding) = fault {
                    self.disconnect(format!("Corrupted padlen {padding} on input."), out);
                }
                self.leave(out);
                input.len()
            }
        }
    }

    /// Handles one payload, which is not empty.
    fn message(&mut self, payload: &[u8], sequence: u32, out: &mut Outbox) {
        let number = payload.first().copied().unwrap_or_default();
        let persona = self.shared.persona;
        if number == 0 || (number >= message::LOCAL_FIRST && persona.names_local_types) {
            self.versions.violation(format!("message {number}"), payload, out);
            return self.disconnect(format!("Invalid ssh2 packet type: {number}"), out);
        }
        let strict = match &self.stage {
            Stage::Exchange(exchange) => exchange.choice.strict,
            Stage::NewKeys(_, choice) | Stage::Computing(choice) => choice.strict,
            _ => false,
        };
        if number == message::DISCONNECT || (!strict && self.is_transparent(number)) {
            return self.transparent(number, payload, out);
        }
        match (std::mem::replace(&mut self.stage, Stage::Closed), number) {
            (Stage::Negotiation(init), message::KEXINIT) => self.negotiate(&init, payload, sequence, out),
            (Stage::Exchange(exchange), _) => self.exchange(exchange, number, payload, sequence, out),
            (Stage::NewKeys(keys, choice), message::NEWKEYS) if payload.len() == 1 => {
                self.inbound.set_keys(*keys, choice.strict);
                self.stage = Stage::Login { accepted: false };
            }
            (Stage::NewKeys(..), message::NEWKEYS) => {
                self.versions.violation("unreadable NEWKEYS", payload, out);
                self.leave(out);
            }
            (Stage::Login { accepted }, _) => {
                self.stage = Stage::Login { accepted };
                self.login(accepted, number, payload, sequence, out);
            }
            (stage, _) => {
                self.stage = stage;
                self.unexpected(strict, number, payload, sequence, out);
            }
        }
    }

    /// Whether OpenSSH handles a message below its dispatch tables.
    fn is_transparent(&self, number: u8) -> bool {
        match number {
            message::IGNORE | message::DEBUG | message::UNIMPLEMENTED => true,
            message::PING | message::PONG => self.shared.persona.knows_ping_and_ext_info,
            _ => false,
        }
    }

    fn transparent(&mut self, number: u8, payload: &[u8], out: &mut Outbox) {
        self.report_message(payload, out);
        let mut fields = Reader::new(payload.get(1..).unwrap_or_default());
        let readable = match number {
            message::DEBUG => fields.u8().and_then(|_| fields.string()).and_then(|_| fields.string()).is_some(),
            message::UNIMPLEMENTED => fields.u32().is_some(),
            message::PING => match fields.string() {
                Some(data) => {
                    self.send(&Writer::message(message::PONG).string(data).done(), out);
                    true
                }
                None => false,
            },
            message::DISCONNECT => false,
            _ => true,
        };
        if !readable {
            self.leave(out);
        }
    }

    fn negotiate(&mut self, server_init: &[u8], payload: &[u8], sequence: u32, out: &mut Outbox) {
        let Some(init) = KexInit::parse(payload) else {
            self.versions.violation("unreadable KEXINIT", payload, out);
            return self.leave(out);
        };
        self.versions.client(Some(&init), out);
        self.client_reported = true;
        let withheld = personas::withheld(self.versions.remote.as_bytes());
        match negotiation::choose(&init, self.shared.persona, withheld) {
            Ok(choice) if choice.strict && sequence != 0 => {
                self.versions.violation("KEXINIT was not the first packet", payload, out);
                self.disconnect("strict KEX violation: KEXINIT was not the first packet", out);
            }
            Ok(choice) => {
                self.ext_info_awaited = choice.ext_info && self.shared.persona.knows_ping_and_ext_info;
                let preamble =
                    kex::preamble(self.versions.remote.as_bytes(), self.shared.banner.as_bytes(), payload, server_init);
                let exchange = Exchange { choice, preamble, group: None, drop_next: choice.drop_guess };
                self.stage = Stage::Exchange(Box::new(exchange));
            }
            Err(list) => {
                let what = match list {
                    List::Kex => "key exchange method",
                    List::HostKey => "host key algorithm",
                    List::CipherIn | List::CipherOut => "cipher",
                    List::MacIn | List::MacOut => "MAC",
                    List::CompressionIn | List::CompressionOut => "compression",
                    List::LanguageIn | List::LanguageOut => "language",
                };
                self.versions.violation(format!("no common {what}"), payload, out);
                self.leave(out);
            }
        }
    }

    fn exchange(&mut self, mut exchange: Box<Exchange>, number: u8, payload: &[u8], sequence: u32, out: &mut Outbox) {
        let Choice { method, strict, .. } = exchange.choice;
        let grouped = method == Method::GroupExchange;
        let expected = match (grouped, exchange.group) {
            (false, _) => message::KEX_INIT,
            (true, None) => message::GEX_REQUEST,
            (true, Some(_)) => message::GEX_INIT,
        };
        if number <= message::TRANSPORT_LAST && std::mem::take(&mut exchange.drop_next) {
            // The guess, for another method than the one agreed on.
            self.report_message(payload, out);
            self.stage = Stage::Exchange(exchange);
            return;
        }
        if number == message::KEXINIT && !self.shared.persona.is_strict() {
            // Before strict key exchange a second KEXINIT had no handler at all.
            self.versions.violation("second KEXINIT", payload, out);
            return self.leave(out);
        }
        if number != expected {
            self.stage = Stage::Exchange(exchange);
            return self.unexpected(strict, number, payload, sequence, out);
        }
        if expected == message::GEX_REQUEST {
            let Some(request) = GroupRequest::parse(payload) else {
                self.versions.violation("impossible group", payload, out);
                return self.leave(out);
            };
            exchange.group = Some(request);
            self.stage = Stage::Exchange(exchange);
            return self.send(&request.reply(), out);
        }
        let mut fields = Reader::new(payload.get(1..).unwrap_or_default());
        let Some(share) = fields.string().filter(|_| fields.end().is_some()) else {
            self.versions.violation("unreadable key exchange", payload, out);
            return self.leave(out);
        };
        let task = Task {
            method,
            host_key: exchange.choice.host_key,
            preamble: exchange.preamble,
            group: exchange.group,
            client_share: share.to_vec(),
            host_keys: Arc::clone(&self.shared.host_keys),
            entropy: self.entropy.fork(),
        };
        self.stage = Stage::Computing(exchange.choice);
        self.share = share.get(..KEPT).unwrap_or(share).to_vec();
        out.compute(move || Outcome::to_bytes(task.run()));
    }

    fn new_keys(&mut self, choice: Choice, outcome: &Outcome, out: &mut Outbox) -> Option<()> {
        let keys = |suite, writer, way| kex::keys(choice.method, outcome, &outcome.hash, suite, writer, way);
        let inbound = keys(choice.inbound, Side::Client, Way::Open)?;
        let outbound = keys(choice.outbound, Side::Server, Way::Seal)?;
        self.send(&outcome.reply, out);
        self.send(&[message::NEWKEYS], out);
        self.outbound.set_keys(outbound, choice.strict);
        if choice.ext_info {
            self.send(&ext_info(self.shared.persona.extensions), out);
        }
        self.stage = Stage::NewKeys(Box::new(inbound), choice);
        Some(())
    }

    fn login(&mut self, accepted: bool, number: u8, payload: &[u8], sequence: u32, out: &mut Outbox) {
        match number {
            message::SERVICE_REQUEST => self.service(payload, out),
            message::EXT_INFO if self.ext_info_awaited => {
                self.ext_info_awaited = false;
                self.report_message(payload, out);
                match wants_ext_info_in_auth(payload) {
                    Some(wants) => self.ext_info_in_auth = wants,
                    None => self.leave(out),
                }
            }
            message::USERAUTH_REQUEST if accepted => self.request(payload, out),
            message::INFO_RESPONSE if self.progress.is_prompted() => {
                let answers = auth::answers(payload);
                match &answers {
                    Some(answers) => self.versions.answers(self.progress.account(), answers, out),
                    None => self.versions.violation("unreadable answers", payload, out),
                }
                let verdict = self.progress.judge_answers(answers.as_deref());
                self.answer(verdict, out);
            }
            _ => self.unexpected(false, number, payload, sequence, out),
        }
    }

    fn service(&mut self, payload: &[u8], out: &mut Outbox) {
        let mut fields = Reader::new(payload.get(1..).unwrap_or_default());
        match fields.string().filter(|_| fields.end().is_some()) {
            Some(b"ssh-userauth") => {
                self.versions.service_requested(out);
                self.stage = Stage::Login { accepted: true };
                self.send(&Writer::message(message::SERVICE_ACCEPT).string("ssh-userauth").done(), out);
            }
            Some(service) if is_c_string(service) => {
                self.versions.violation("unknown service", payload, out);
                let mut text = b"bad service request ".to_vec();
                text.extend_from_slice(service.strip_suffix(b"\0").unwrap_or(service));
                text.truncate(1023);
                self.disconnect(text, out);
            }
            _ => {
                self.versions.violation("unreadable service request", payload, out);
                self.leave(out);
            }
        }
    }

    fn request(&mut self, payload: &[u8], out: &mut Outbox) {
        let Some(request) = Request::parse(payload) else {
            self.versions.violation("unreadable authentication request", payload, out);
            return self.leave(out);
        };
        self.versions.request(&request, out);
        let first = self.progress.is_fresh();
        let verdict = self.progress.judge(&request, self.shared.keyboard);
        if first && verdict != Verdict::Leave {
            if let Some(banner) = &self.shared.preauth_banner {
                self.send(&Writer::message(message::USERAUTH_BANNER).string(banner).string("").done(), out);
            }
            if self.ext_info_in_auth {
                let signatures = self.shared.persona.extensions.get(..1).unwrap_or_default();
                self.send(&ext_info(signatures), out);
            }
        }
        self.answer(verdict, out);
    }

    fn answer(&mut self, verdict: Verdict, out: &mut Outbox) {
        let methods = &self.shared.persona.methods;
        let methods = if self.shared.keyboard { methods.with_keyboard } else { methods.plain };
        match verdict {
            Verdict::Failure(effort) => {
                self.pause(effort, out);
                self.send(&auth::failure(methods), out);
            }
            Verdict::Disconnect(effort, text) => {
                self.pause(effort, out);
                self.disconnect(text, out);
            }
            Verdict::Prompt => self.send(&auth::prompt(), out),
            Verdict::Leave => self.leave(out),
        }
    }

    fn pause(&mut self, effort: auth::Effort, out: &mut Outbox) {
        let secret = self.shared.host_keys.timing_secret();
        let user = self.progress.account();
        let time = auth::delay(&self.shared.persona.delay, effort, secret, user, &mut self.entropy);
        if !time.is_zero() {
            out.pause(time);
        }
    }

    /// A message that nobody waits for.
    fn unexpected(&mut self, strict: bool, number: u8, payload: &[u8], sequence: u32, out: &mut Outbox) {
        self.versions.violation(format!("unexpected message {number}"), payload, out);
        let keyed = matches!(self.stage, Stage::Login { .. });
        if number > message::TRANSPORT_LAST && !keyed {
            self.leave(out);
        } else if strict {
            let text = format!("strict KEX violation: unexpected packet type {number} (seqnr {sequence})");
            self.disconnect(text, out);
        } else {
            self.send(&Writer::message(message::UNIMPLEMENTED).u32(sequence).done(), out);
        }
    }

    /// Reports a message beside the conversation, or counts it when there were many.
    fn report_message(&mut self, payload: &[u8], out: &mut Outbox) {
        self.messages = self.messages.saturating_add(1);
        if self.messages <= MESSAGES_REPORTED {
            self.versions.message(payload, out);
        }
    }

    fn send(&mut self, payload: &[u8], out: &mut Outbox) {
        match self.outbound.seal(payload, &mut self.entropy) {
            Some(packet) => out.reply(packet),
            None => self.leave(out),
        }
    }

    /// DISCONNECT with a text, then a FIN.
    fn disconnect(&mut self, text: impl AsRef<[u8]>, out: &mut Outbox) {
        self.send(&Writer::message(message::DISCONNECT).u32(PROTOCOL_ERROR).string(text).string("").done(), out);
        self.leave(out);
    }

    /// A FIN without a word.
    fn leave(&mut self, out: &mut Outbox) {
        if !out.is_closing() {
            self.tally(out);
            out.close();
        }
        self.stage = Stage::Closed;
    }

    /// What only the end of a connection tells.
    fn tally(&mut self, out: &mut Outbox) {
        if !self.client_reported && !self.versions.remote.is_empty() {
            self.client_reported = true;
            self.versions.client(None, out);
        }
        let more = std::mem::take(&mut self.messages).saturating_sub(MESSAGES_REPORTED);
        if more > 0 {
            self.versions.more_messages(more, out);
        }
    }

    fn stopped(&mut self, rest: &[u8], reason: &str, out: &mut Outbox) {
        if matches!(self.stage, Stage::Closed) {
            return;
        }
        if !rest.is_empty() {
            self.versions.violation(reason, rest, out);
        }
        self.tally(out);
        self.stage = Stage::Closed;
    }
}

/// `byte 7, uint32 count, count × (string name, string value)`
fn ext_info(extensions: &[(&str, &str)]) -> Vec<u8> {
    let count = u32::try_from(extensions.len()).unwrap_or_default();
    let start = Writer::message(message::EXT_INFO).u32(count);
    extensions.iter().fold(start, |writer, (name, value)| writer.string(name).string(value)).done()
}

/// Whether a client's EXT_INFO names `ext-info-in-auth@openssh.com`; `None` when it is unreadable.
fn wants_ext_info_in_auth(payload: &[u8]) -> Option<bool> {
    let mut reader = Reader::new(payload);
    reader.u8()?;
    let mut wants = false;
    for _ in 0..reader.u32()? {
        let (name, value) = (reader.string()?, reader.string()?);
        wants |= name == b"ext-info-in-auth@openssh.com" && value == b"0";
    }
    reader.end()?;
    Some(wants)
}

impl Dialogue for SshDialogue {
    fn open(&mut self, out: &mut Outbox) {
        Versions::connection(self.count, out);
        out.reply(self.shared.banner.as_bytes());
        out.reply("\r\n");
    }

    fn feed(&mut self, input: &[u8], out: &mut Outbox) -> usize {
        match self.stage {
            Stage::Closed => input.len(),
            Stage::Identification => self.identify(input, out),
            _ => self.packet(input, out),
        }
    }

    fn ended(&mut self, rest: &[u8], out: &mut Outbox) {
        self.stopped(rest, "the client left in the middle", out);
    }

    fn expired(&mut self, rest: &[u8], out: &mut Outbox) {
        self.stopped(rest, "the client fell silent in the middle", out);
    }

    fn overflowed(&mut self, input: &[u8], out: &mut Outbox) {
        self.stopped(input, "more bytes than a line or packet may have", out);
    }

    fn computed(&mut self, result: Vec<u8>, out: &mut Outbox) {
        let share = std::mem::take(&mut self.share);
        let Stage::Computing(choice) = self.stage else { return };
        let done = Outcome::from_bytes(&result).and_then(|outcome| self.new_keys(choice, &outcome, out));
        if done.is_none() {
            self.versions.violation("impossible share", &share, out);
            self.leave(out);
        }
    }
}
