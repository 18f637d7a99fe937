//! The conversation: what is negotiated, who logs in, and the refusal.

use std::sync::Arc;
use std::time::Duration;

use aviary_event::{LogData, Value};
use aviary_service::{Dialogue, Facts, Outbox, TlsFacts};
use aviary_wire::{guess, ntlm, spnego};
use sha2::{Digest as _, Sha256};

use super::Config;
use super::client_info::ClientInfo;
use super::credssp::{self, TsRequest};
use super::events;
use super::gcc::{Client, Server};
use super::little::Little;
use super::mcs::{self, Domain};
use super::security::{self, Ciphers, flag};
use super::x224::{self, Answer, Request, protocol};

/// ERRINFO_SERVER_DENIED_CONNECTION: the server refuses, and says nothing of the password.
const DENIED: u32 = 7;
/// What making a session takes at least.
const SESSION: Duration = Duration::from_millis(600);
/// Longest encrypted random of a client: a key of 2048 bits and the padding, with room.
const LONGEST_RANDOM: usize = 520;

/// What is due next.
enum Stage {
    /// The connection request.
    Request,
    /// CredSSP; the challenge once it was given.
    CredSsp(Option<[u8; 8]>),
    /// The settings of the client.
    Connect,
    /// The certificate for the answer to the settings.
    Certificate(Client),
    /// MCS packets and what they carry.
    Domain,
    /// The keys.
    Keys,
    /// Nothing more.
    Over,
}

impl Stage {
    const fn name(&self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::CredSsp(_) => "credssp",
            Self::Connect | Self::Certificate(_) => "connect",
            Self::Domain | Self::Keys => "domain",
            Self::Over => "over",
        }
    }
}

/// One connection.
pub(super) struct Rdp {
    config: Arc<Config>,
    entropy: [u8; 32],
    stage: Stage,
    /// What the connection request asked for, once there was one; empty when TLS came at once.
    request: Option<Request>,
    /// Whether TLS was agreed.
    secured: bool,
    /// Whether a login was reported.
    told: bool,
    /// The client's name, from its settings.
    client_name: Option<Vec<u8>>,
    channels: u16,
    /// Method of RDP's own encryption, where it is used.
    method: Option<u32>,
    ciphers: Option<Ciphers>,
}

impl Rdp {
    pub(super) fn new(config: Arc<Config>, facts: &Facts) -> Self {
        Self {
            config,
            entropy: facts.entropy,
            stage: Stage::Request,
            request: None,
            secured: false,
            told: false,
            client_name: None,
            channels: 0,
            method: None,
            ciphers: None,
        }
    }

    /// 32 random bytes of this connection for a purpose.
    fn random(&self, purpose: &[u8]) -> [u8; 32] {
        Sha256::new().chain_update(self.entropy).chain_update(purpose).finalize().into()
    }

    /// Reports a login. Empty values are told, unknown ones are not.
    fn login(&mut self, user: Value, known: &[(&str, Option<&[u8]>)], out: &mut Outbox) {
        self.told = true;
        let mut data = LogData::new().with("USERNAME", user);
        for (key, value) in known {
            if let Some(value) = value {
                data.insert(key, *value);
            }
        }
        out.report(&events::LOGIN, data);
    }

    /// Who asked for RDP and never logged in is told by the cookie.
    fn tell_rest(&mut self, out: &mut Outbox) {
        if self.told {
            return;
        }
        if let Some(request) = &self.request {
            let user = request.cookie.as_deref().map_or(Value::Null, Value::from);
            self.login(user, &[], out);
        }
    }

    /// Windows says nothing to what it cannot read.
    fn refuse(&mut self, reason: &str, bytes: &[u8], out: &mut Outbox) {
        self.tell_rest(out);
        out.report(&events::MALFORMED, events::malformed(self.stage.name(), reason, bytes));
        self.stage = Stage::Over;
        out.close();
    }

    // The connection request.

    fn choose(&self, request: &Request) -> (Answer, &'static str) {
        let flags = self.config.release.flags;
        let select = |protocol, name| (Answer::Selected(flags, protocol), name);
        let (negotiates, wanted) = (request.negotiation.is_some(), request.negotiation.map_or(0, |(_, bits)| bits));
        let wants = |bit| wanted & bit != 0;
        match self.config.nla {
            Nla::Optional | Nla::Required if wants(protocol::HYBRID_EX) => select(protocol::HYBRID_EX, "HYBRID_EX"),
            Nla::Optional | Nla::Required if wants(protocol::HYBRID) => select(protocol::HYBRID, "HYBRID"),
            Nla::Required => (Answer::Failure(x224::HYBRID_REQUIRED_BY_SERVER), "none"),
            _ if wants(protocol::SSL) => select(protocol::SSL, "SSL"),
            _ if negotiates => select(0, "RDP"),
            _ => (Answer::Silent, "RDP"),
        }
    }

    fn requested(&mut self, request: Request, out: &mut Outbox) {
        let (answer, name) = self.choose(&request);
        out.report(&events::CONNECTION, events::connection(&request, name));
        let negotiates = request.negotiation.is_some();
        self.request = Some(request);
        match answer {
            Answer::Selected(_, selected) => {
                out.reply(x224::confirm(answer));
                self.stage = match selected {
                    protocol::HYBRID | protocol::HYBRID_EX => Stage::CredSsp(None),
                    _ => Stage::Connect,
                };
                self.secured = selected != 0;
                if self.secured {
                    out.start_tls();
                }
            }
            Answer::Silent => {
                out.reply(x224::confirm(answer));
                self.stage = Stage::Connect;
            }
            Answer::Failure(_) => {
                self.tell_rest(out);
                if negotiates {
                    out.reply(x224::confirm(answer));
                }
                self.stage = Stage::Over;
                out.close();
            }
        }
    }

    // CredSSP.

    fn credssp(&mut self, request: &TsRequest<'_>, bytes: &[u8], out: &mut Outbox) {
        let Some(token) = request.token else { return self.refuse("no token in the TSRequest", bytes, out) };
        let Some(message) = ntlm::find(token) else {
            // Kerberos or nothing known: NTLM is all that a machine alone can do.
            if spnego::offers_ntlm(token) {
                return out.reply(credssp::answer(&spnego::ntlm_chosen()));
            }
            return self.refuse("no NTLM in the token", bytes, out);
        };
        match (ntlm::message_type(message), &self.stage) {
            (Some(1), Stage::CredSsp(None)) => match ntlm::Negotiate::parse(message) {
                Ok(offer) => self.challenge(&offer, token.len() != message.len(), out),
                Err(error) => self.refuse(&error.to_string(), bytes, out),
            },
            (Some(3), Stage::CredSsp(Some(challenge))) => {
                let challenge = *challenge;
                match ntlm::Authenticate::parse(message) {
                    Ok(proof) => self.authenticated(request.version, &proof, &challenge, out),
                    Err(error) => self.refuse(&error.to_string(), bytes, out),
                }
            }
            _ => self.refuse("an NTLM message that was not due", bytes, out),
        }
    }

    fn challenge(&mut self, offer: &ntlm::Negotiate, wrapped: bool, out: &mut Outbox) {
        let challenge = self.random(b"ntlm").first_chunk().copied().unwrap_or_default();
        let target = self.config.target.clone();
        let message = ntlm::Challenge::answer(offer, challenge, target, out.now().as_micros()).encode();
        let token = if wrapped { spnego::incomplete(&message) } else { message };
        out.reply(credssp::answer(&token));
        self.stage = Stage::CredSsp(Some(challenge));
    }

    fn authenticated(&mut self, version: i64, proof: &ntlm::Authenticate, challenge: &[u8; 8], out: &mut Outbox) {
        let guessed = guess::ntlm(proof, challenge, self.config.planted.plain_passwords());
        let known = [
            ("DOMAIN", Some(proof.domain.as_slice())),
            ("HOSTNAME", Some(proof.workstation.as_slice())),
            ("PASSWORD", guessed.as_deref()),
        ];
        self.login(Value::from(proof.user.as_slice()), &known, out);
        let mut data = LogData::new()
            .with("CREDSSP_VERSION", version)
            .with("DOMAIN", proof.domain.as_slice())
            .with("USERNAME", proof.user.as_slice())
            .with("WORKSTATION", proof.workstation.as_slice());
        if let Some((line, mode)) = proof.hashcat(challenge).zip(proof.mode()) {
            data.insert("HASHCAT", line);
            data.insert("HASHCAT_MODE", mode);
        }
        if let Some((major, minor, build)) = proof.version {
            data.insert("WINDOWS_VERSION", format!("{major}.{minor}.{build}"));
        }
        if let Some(guessed) = guessed {
            data.insert("GUESSED", guessed);
        }
        out.report(&events::NTLM, data);
        if let Some(refusal) = credssp::refusal(version, credssp::LOGON_FAILURE) {
            out.reply(refusal);
        }
        self.stage = Stage::Over;
        out.close();
    }

    // Settings.

    fn settings(&mut self, client: Client, bytes: &[u8], out: &mut Outbox) {
        out.report(&events::CLIENT, events::client(&client));
        self.client_name = Some(client.name.clone());
        self.channels = u16::try_from(client.channels.len()).unwrap_or(0).saturating_add(client.message_channel.into());
        if self.secured {
            return self.connected(&client, None, out);
        }
        let Some(method) = security::choose(client.methods) else {
            return self.refuse("no encryption method in common", bytes, out);
        };
        self.method = Some(method);
        self.stage = Stage::Certificate(client);
        let config = Arc::clone(&self.config);
        out.compute(move || config.key.certificate());
    }

    fn connected(&mut self, client: &Client, certificate: Option<&[u8]>, out: &mut Outbox) {
        let random = self.random(b"server");
        let server = Server {
            version: self.config.release.protocol,
            requested: self.request.as_ref().and_then(|request| request.negotiation).map_or(0, |(_, bits)| bits),
            channels: u16::try_from(client.channels.len()).unwrap_or(0),
            message_channel: client.message_channel,
            encryption: self.method.map_or((0, 0), |method| (method, security::CLIENT_COMPATIBLE)),
            key: certificate.map(|certificate| (&random, certificate)),
        };
        out.reply(x224::data_packet(&server.encode()));
        self.stage = Stage::Domain;
    }

    // MCS.

    fn domain(&mut self, content: &[u8], bytes: &[u8], out: &mut Outbox) {
        match mcs::domain(content) {
            Some(Domain::Erect) => {}
            Some(Domain::Attach) => out.reply(mcs::attached(self.channels)),
            Some(Domain::Join(user, channel)) => out.reply(mcs::joined(user, channel)),
            Some(Domain::Data(data)) => self.data(data, bytes, out),
            Some(Domain::Disconnect) => {
                self.tell_rest(out);
                self.stage = Stage::Over;
                out.close();
            }
            None => self.refuse("not an MCS packet that is due", bytes, out),
        }
    }

    fn data(&mut self, data: &[u8], bytes: &[u8], out: &mut Outbox) {
        let mut rest = Little(data);
        let Some((flags, _)) = rest.u16().zip(rest.u16()) else {
            return self.refuse("no security header", bytes, out);
        };
        if flags & flag::EXCHANGE != 0 && self.method.is_some() && self.ciphers.is_none() {
            let encrypted = rest.u32().and_then(|length| rest.take(usize::try_from(length).ok()?));
            let Some(encrypted) = encrypted.filter(|encrypted| encrypted.len() <= LONGEST_RANDOM) else {
                return self.refuse("the client's random does not fit its packet", bytes, out);
            };
            self.stage = Stage::Keys;
            let (config, encrypted) = (Arc::clone(&self.config), encrypted.to_vec());
            return out
                .compute(move || config.key.decrypt(&encrypted).map(|random| random.to_vec()).unwrap_or_default());
        }
        if flags & flag::INFO == 0 {
            // What a client sends on other channels before it logs in changes nothing.
            return;
        }
        let plain = if flags & flag::ENCRYPT == 0 {
            rest.0.to_vec()
        } else {
            let opened = self.ciphers.as_mut().and_then(|ciphers| ciphers.open(flags, rest.0));
            match opened {
                Some((plain, true)) => plain,
                Some((_, false)) => return self.refuse("the signature of the Client Info is wrong", bytes, out),
                None => return self.refuse("the Client Info is encrypted without keys", bytes, out),
            }
        };
        match ClientInfo::parse(&plain) {
            Some(info) => self.logged_in(&info, out),
            None => self.refuse("the Client Info does not fit its packet", &plain, out),
        }
    }

    /// Windows would draw its login screen now and say there that the password is wrong. That takes a
    /// session; here the licence is waived, and the server denies the connection.
    fn logged_in(&mut self, info: &ClientInfo, out: &mut Outbox) {
        let name = self.client_name.clone();
        let known = [
            ("DOMAIN", Some(info.domain.as_slice())),
            ("HOSTNAME", name.as_deref()),
            ("PASSWORD", Some(info.password.as_slice())),
        ];
        self.login(Value::from(info.user.as_slice()), &known, out);
        out.report(&events::CLIENT_INFO, events::client_info(info));
        out.reply(mcs::data(mcs::NO_LICENCE));
        let delay = self.random(b"delay").first_chunk().map_or(0, |bytes| u16::from_le_bytes(*bytes));
        out.pause(SESSION.saturating_add(Duration::from_millis(u64::from(delay % 700))));
        let denied = mcs::error_info(DENIED);
        out.reply(mcs::data(&match &mut self.ciphers {
            Some(ciphers) => ciphers.seal(&denied),
            None => denied,
        }));
        out.reply(mcs::disconnect());
        self.stage = Stage::Over;
        out.close();
    }

    /// One packet, whose bytes are all of `bytes`.
    fn packet(&mut self, tpdu: &[u8], bytes: &[u8], out: &mut Outbox) {
        if matches!(self.stage, Stage::Request) {
            return match Request::parse(tpdu) {
                Ok(request) => self.requested(request, out),
                Err(error) => self.refuse(&error.to_string(), bytes, out),
            };
        }
        let content = match x224::data(tpdu) {
            Ok(content) => content,
            Err(error) => return self.refuse(&error.to_string(), bytes, out),
        };
        if matches!(self.stage, Stage::Connect) {
            return match Client::parse(content) {
                Ok(client) => self.settings(client, bytes, out),
                Err(error) => self.refuse(&error.to_string(), bytes, out),
            };
        }
        self.domain(content, bytes, out);
    }

    /// TLS with the first byte, [MS-RDPBCGR] 5.4.2.2: CredSSP comes in it. What waits is the handshake.
    fn direct(&mut self, out: &mut Outbox) {
        out.report(&events::CONNECTION, LogData::new().with("DIRECT", true).with("SELECTED", "HYBRID"));
        self.request = Some(Request::default());
        self.stage = Stage::CredSsp(None);
        out.start_tls();
    }

    fn take_packet(&mut self, input: &[u8], out: &mut Outbox) -> usize {
        match x224::packet(input) {
            Ok(None) => 0,
            Ok(Some((tpdu, used))) => {
                self.packet(tpdu, input.get(..used).unwrap_or(input), out);
                used
            }
            Err(error) => {
                self.refuse(&error.to_string(), input, out);
                input.len()
            }
        }
    }

    fn take_credssp(&mut self, input: &[u8], out: &mut Outbox) -> usize {
        match credssp::whole(input) {
            Ok(None) => 0,
            Ok(Some((bytes, used))) => {
                match TsRequest::parse(bytes) {
                    Ok(request) => self.credssp(&request, bytes, out),
                    Err(error) => self.refuse(&error.to_string(), bytes, out),
                }
                used
            }
            Err(error) => {
                self.refuse(&error.to_string(), input, out);
                input.len()
            }
        }
    }
}

impl Dialogue for Rdp {
    fn open(&mut self, _out: &mut Outbox) {}

    fn feed(&mut self, input: &[u8], out: &mut Outbox) -> usize {
        match self.stage {
            Stage::CredSsp(_) => self.take_credssp(input, out),
            Stage::Request if matches!(input, [0x16] | [0x16, 3, ..]) => {
                if input.len() > 1 {
                    self.direct(out);
                }
                0
            }
            Stage::Request | Stage::Connect | Stage::Domain => self.take_packet(input, out),
            Stage::Certificate(_) | Stage::Keys | Stage::Over => 0,
        }
    }

    fn ended(&mut self, rest: &[u8], out: &mut Outbox) {
        self.tell_rest(out);
        if !rest.is_empty() && !matches!(self.stage, Stage::Over) {
            out.report(&events::MALFORMED, events::malformed(self.stage.name(), "the packet never ended", rest));
        }
    }

    fn expired(&mut self, rest: &[u8], out: &mut Outbox) {
        self.ended(rest, out);
    }

    fn overflowed(&mut self, input: &[u8], out: &mut Outbox) {
        self.ended(input, out);
    }

    fn secured(&mut self, _tls: &TlsFacts, _out: &mut Outbox) {}

    fn computed(&mut self, result: Vec<u8>, out: &mut Outbox) {
        match std::mem::replace(&mut self.stage, Stage::Domain) {
            Stage::Certificate(client) => self.connected(&client, Some(&result), out),
            Stage::Keys => {
                let random: Option<[u8; 32]> = result.try_into().ok();
                let server = self.random(b"server");
                let keys = random.zip(self.method).and_then(|(random, method)| Ciphers::new(method, &random, &server));
                match keys {
                    Some(ciphers) => self.ciphers = Some(ciphers),
                    None => self.refuse("the client's random is encrypted to another key", &[], out),
                }
            }
            other => self.stage = other,
        }
    }
}

/// What `rdp.nla` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nla {
    /// CredSSP with those who ask for it.
    Optional,
    /// CredSSP or nothing.
    Required,
    /// TLS without it, so that passwords come in clear text.
    Off,
}
