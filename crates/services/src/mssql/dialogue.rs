//! The conversation: PRELOGIN, TLS, a login, its refusal.

use std::sync::Arc;

use aviary_event::LogData;
use aviary_service::{Dialogue, Facts, Outbox, TlsFacts, TlsStart};
use aviary_wire::ntlm::{Authenticate, Challenge, Negotiate, Target};
use aviary_wire::spnego;

use super::Config;
use super::codec::{self, InPackets, kind};
use super::events::{CLIENT, PRELOGIN, RESPONSE, SQL_LOGIN, VIOLATION, WINDOWS_LOGIN};
use super::login::Login;
use super::prelogin::{Encryption, Prelogin};
use super::report::{self, Secured};
use super::session::Inside;
use super::sspi::{self, Token};
use super::tokens::{Dialect, Message, Tokens};

/// Longest message before a login is through ([MS-TDS] 2.2.6.4).
const LONGEST: usize = 128 * 1024;
/// The lowest session that is a user's.
const FIRST_SPID: u16 = 51;
/// Sessions that a server of middling use has open.
const SPIDS: u16 = 37;
/// The record type of an alert of TLS.
const ALERT: u8 = 0x15;

/// What the server waits for.
pub(super) enum Stage {
    /// PRELOGIN, or TLS before it.
    Start,
    /// The first record of TLS inside TDS, or a login.
    Login,
    /// The answer to a challenge or to the wish for NTLM.
    Windows(Windows),
    /// Whether the login is a planted one, which is being hashed.
    Checking(Box<Login>),
    /// What somebody asks for who was let in.
    Inside(Inside),
    /// Nothing: it has closed.
    Closed,
}

/// A Windows login under way.
pub(super) struct Windows {
    /// What is known of it, reported when it goes no further.
    so_far: LogData,
    /// Whether the client speaks SPNEGO.
    wrapped: bool,
    /// Whether the client speaks TDS 7.2 or later.
    wide: bool,
    /// Whether the challenge was sent.
    challenged: bool,
}

/// One connection.
pub(super) struct Mssql {
    pub(super) config: Arc<Config>,
    pub(super) spid: u16,
    challenge: [u8; 8],
    pub(super) stage: Stage,
    prelogin: Option<Prelogin>,
    secured: Option<Secured>,
    /// Whether TLS came before everything.
    strict: bool,
    /// Whether TLS stands now.
    inside: bool,
    /// The message so far, when its last packet has not come.
    message: Vec<u8>,
    message_kind: u8,
    /// Whether anything was reported.
    told: bool,
}

impl Mssql {
    pub(super) fn new(config: Arc<Config>, facts: &Facts) -> Self {
        let [first, ..] = facts.entropy;
        let [.., a, b, c, d, e, f, g, h] = facts.entropy;
        Self {
            config,
            spid: FIRST_SPID.saturating_add(u16::from(first) % SPIDS),
            challenge: [a, b, c, d, e, f, g, h],
            stage: Stage::Start,
            prelogin: None,
            secured: None,
            strict: false,
            inside: false,
            message: Vec::new(),
            message_kind: 0,
            told: false,
        }
    }

    pub(super) fn report(&mut self, kind: aviary_event::Kind, data: LogData, out: &mut Outbox) {
        self.told = true;
        out.report(kind, data);
    }

    /// Reports what is out of order and closes without a word, as the server does.
    fn violation(&mut self, reason: &str, data: &[u8], out: &mut Outbox) {
        self.windows_ends(out);
        self.report(&VIOLATION, LogData::new().with("DATA", data).with("REASON", reason), out);
        self.close(out);
    }

    pub(super) fn close(&mut self, out: &mut Outbox) {
        self.stage = Stage::Closed;
        out.close();
    }

    fn encryption(&self) -> Encryption {
        self.prelogin.as_ref().map_or(Encryption::None, Prelogin::agreed)
    }

    /// TLS inside TDS begins with a packet that holds a record of it.
    fn begins_tls(&self, packet: &codec::Packet<'_>) -> bool {
        matches!(self.stage, Stage::Login)
            && !self.strict
            && self.secured.is_none()
            && self.encryption() != Encryption::None
            && self.message.is_empty()
            && codec::is_tls(packet)
    }

    fn on_message(&mut self, kind: u8, message: &[u8], out: &mut Outbox) {
        match (&self.stage, kind) {
            (Stage::Start, kind::PRELOGIN) => self.on_prelogin(message, out),
            (Stage::Inside(_), kind::BATCH | kind::RPC | kind::TRANSACTION | kind::ATTENTION) => {
                self.on_request(kind, message, out);
            }
            (Stage::Login | Stage::Start, kind::LOGIN) => self.on_login(message, out),
            (Stage::Login | Stage::Start, kind::OLD_LOGIN) => self.on_old_login(message, out),
            // Python's TDS library leaves the login's type on its second message.
            (Stage::Windows(_), kind::SSPI | kind::LOGIN) => self.on_token(message, out),
            _ => {
                let what = codec::name(kind).unwrap_or("message");
                self.violation(&format!("{what} out of order"), message, out);
            }
        }
    }

    fn on_prelogin(&mut self, message: &[u8], out: &mut Outbox) {
        match Prelogin::parse(message) {
            Ok(prelogin) => {
                let answer = prelogin.answer(self.config.version, &self.config.instance);
                out.reply(codec::message(kind::RESPONSE, 0, &answer));
                self.prelogin = Some(prelogin);
                self.stage = Stage::Login;
            }
            Err(reason) => self.violation(reason, message, out),
        }
    }

    fn on_login(&mut self, message: &[u8], out: &mut Outbox) {
        let login = match Login::parse(message) {
            Ok(login) => login,
            Err(reason) => return self.violation(reason, message, out),
        };
        self.tell(&login, out);
        if let Some(fault) = login.fault {
            self.begin_windows(&login);
            return self.violation(fault, message, out);
        }
        // [MS-TDS] 3.3.5.1 has a server close on a login without PRELOGIN. Up to TDS 7.1 it does not, and
        // nmap's scripts live on it. A plain login where TLS was agreed is read by none.
        let expected = match self.stage {
            Stage::Start => !self.strict && !login.is_wide(),
            _ => self.strict || self.secured.is_some() || self.encryption() == Encryption::None,
        };
        if !expected {
            self.begin_windows(&login);
            self.windows_ends(out);
            return self.close(out);
        }
        if self.inside && !self.strict && self.encryption() == Encryption::Login {
            self.inside = false;
            out.stop_tls();
        }
        if login.is_integrated() {
            self.begin_windows(&login);
            self.on_token(&login.sspi, out);
        } else if self.config.planted.is_cheap() {
            let planted = self.config.planted.matches(&login.user, &login.password);
            self.judge(planted, &login, out);
        } else {
            let (config, user, password) = (Arc::clone(&self.config), login.user.clone(), login.password.clone());
            self.stage = Stage::Checking(Box::new(login));
            out.compute(move || vec![u8::from(config.planted.matches(&user, &password))]);
        }
    }

    /// Lets a planted login in and refuses any other. TDS 7.0 has no collations, which ours name.
    fn judge(&mut self, planted: bool, login: &Login, out: &mut Outbox) {
        if planted && login.tds >> 24 != 0x70 {
            return self.let_in(login, out);
        }
        let user = String::from_utf8_lossy(&login.user);
        self.refuse(18456, &format!("Login failed for user '{user}'."), login.is_wide(), out);
    }

    /// A server since 2005 closes on a login record of TDS 4.2.
    fn on_old_login(&mut self, message: &[u8], out: &mut Outbox) {
        match Login::parse_old(message) {
            Ok(login) => {
                self.tell(&login, out);
                self.close(out);
            }
            Err(reason) => self.violation(reason, message, out),
        }
    }

    /// Reports a login.
    fn tell(&mut self, login: &Login, out: &mut Outbox) {
        let data = report::prelogin(self.prelogin.as_ref(), self.secured.as_ref());
        if !login.is_integrated() {
            self.report(&SQL_LOGIN, report::sql_login(login), out);
        }
        self.report(&CLIENT, report::client(data, login), out);
    }

    fn begin_windows(&mut self, login: &Login) {
        if login.is_integrated() {
            self.stage = Stage::Windows(Windows {
                so_far: LogData::new(),
                wrapped: false,
                wide: login.is_wide(),
                challenged: false,
            });
        }
    }

    /// The security package's token in a LOGIN7 or in a message of its own.
    fn on_token(&mut self, token: &[u8], out: &mut Outbox) {
        let Stage::Windows(windows) = &mut self.stage else { return };
        let wide = windows.wide;
        match sspi::classify(token) {
            Token::Ntlm { message, wrapped } if !windows.challenged => match Negotiate::parse(message) {
                Ok(offer) => {
                    windows.challenged = true;
                    windows.wrapped |= wrapped;
                    windows.so_far = report::negotiate(&offer);
                    let answer = self.challenge(&offer, out);
                    self.answer_sspi(&answer, wide, out);
                }
                Err(error) => self.violation(&error.to_string(), token, out),
            },
            Token::Ntlm { message, .. } => match Authenticate::parse(message) {
                Ok(response) => self.on_response(&response, wide, out),
                Err(error) => self.violation(&error.to_string(), token, out),
            },
            Token::Kerberos { ticket, or_ntlm } if !windows.challenged => {
                windows.so_far = report::ticket(ticket.as_ref(), token);
                // What is no member of the domain cannot read the ticket.
                if or_ntlm && !windows.wrapped { self.ask_for_ntlm(wide, out) } else { self.refuse_windows(wide, out) }
            }
            Token::Offer if !windows.challenged && !windows.wrapped => self.ask_for_ntlm(wide, out),
            _ => self.violation("unknown token of a security package", token, out),
        }
    }

    fn ask_for_ntlm(&mut self, wide: bool, out: &mut Outbox) {
        if let Stage::Windows(windows) = &mut self.stage {
            windows.wrapped = true;
        }
        self.answer_sspi(&spnego::ntlm_chosen(), wide, out);
    }

    fn answer_sspi(&self, token: &[u8], wide: bool, out: &mut Outbox) {
        let mut tokens = Tokens::new(Dialect { wide }, &self.config.server);
        tokens.sspi(token);
        self.answer(&tokens.into_bytes(), out);
    }

    fn challenge(&self, offer: &Negotiate, out: &Outbox) -> Vec<u8> {
        let version = self.config.version.windows();
        let target = Target { version, ..Target::standalone(&self.config.host_name) };
        let challenge = Challenge::answer(offer, self.challenge, target, out.now().as_micros()).encode();
        match &self.stage {
            Stage::Windows(Windows { wrapped: true, .. }) => spnego::incomplete(&challenge),
            _ => challenge,
        }
    }

    fn on_response(&mut self, response: &Authenticate, wide: bool, out: &mut Outbox) {
        let (data, guessed) = report::authenticate(response, &self.challenge, &self.config.planted);
        self.report(&WINDOWS_LOGIN, report::windows_login(&response.user, &guessed.unwrap_or_default()), out);
        self.report(&RESPONSE, data, out);
        self.stage = Stage::Login;
        self.refuse_windows(wide, out);
    }

    fn refuse_windows(&mut self, wide: bool, out: &mut Outbox) {
        self.windows_ends(out);
        let text = format!(
            "Login failed. The login is from an untrusted domain and cannot be used with {}.",
            self.config.version.windows_login()
        );
        self.refuse(18452, &text, wide, out);
    }

    /// Reports a Windows login that goes no further.
    fn windows_ends(&mut self, out: &mut Outbox) {
        if !matches!(self.stage, Stage::Windows(_)) {
            return;
        }
        if let Stage::Windows(windows) = std::mem::replace(&mut self.stage, Stage::Login) {
            self.report(&WINDOWS_LOGIN, report::windows_login(b"", b""), out);
            if windows.so_far.iter().next().is_some() {
                self.report(&RESPONSE, windows.so_far, out);
            }
        }
    }

    fn refuse(&mut self, number: u32, text: &str, wide: bool, out: &mut Outbox) {
        let mut tokens = Tokens::new(Dialect { wide }, &self.config.server);
        // State and class are those of every refused login: more would tell what was wrong.
        tokens.error(&Message::new(number, 1, 14, text)).done(true, None, false);
        self.answer(&tokens.into_bytes(), out);
        self.close(out);
    }

    pub(super) fn answer(&self, tokens: &[u8], out: &mut Outbox) {
        out.reply(codec::message(kind::RESPONSE, self.spid, tokens));
    }

    /// Reports what was never reported, when the conversation ends.
    fn finish(&mut self, reason: &str, rest: &[u8], out: &mut Outbox) {
        let left = [self.message.as_slice(), rest].concat();
        self.windows_ends(out);
        if self.prelogin.is_some() && !self.told {
            let mut data = report::prelogin(self.prelogin.as_ref(), self.secured.as_ref());
            data.insert("REASON", reason);
            if !left.is_empty() {
                data.insert("DATA", left);
            }
            self.report(&PRELOGIN, data, out);
        } else if !left.is_empty() && !matches!(self.stage, Stage::Closed) {
            self.report(&VIOLATION, LogData::new().with("DATA", left).with("REASON", reason), out);
        }
    }
}

impl Dialogue for Mssql {
    fn open(&mut self, _out: &mut Outbox) {}

    fn feed(&mut self, input: &[u8], out: &mut Outbox) -> usize {
        let first = input.first().copied();
        if matches!(self.stage, Stage::Closed) {
            return input.len();
        }
        let starts = matches!(self.stage, Stage::Start) && !self.strict && self.message.is_empty();
        if starts && first == Some(0x16) && self.config.version.is_strict_capable() {
            return match codec::record(input) {
                Ok(Some(length)) => {
                    self.strict = true;
                    let heard = input.get(..length).unwrap_or_default().to_vec();
                    out.start_tls_with(TlsStart { heard, wrapping: None });
                    length
                }
                Ok(None) => 0,
                Err(reason) => {
                    self.violation(reason, input, out);
                    input.len()
                }
            };
        }
        // A client may say goodbye to TLS that was for the login alone.
        if self.secured.is_some()
            && !self.inside
            && first == Some(ALERT)
            && let Ok(record) = codec::record(input)
        {
            return record.unwrap_or(0);
        }
        let packet = match codec::packet(input) {
            Ok(Some(packet)) => packet,
            Ok(None) => return 0,
            Err(reason) => {
                let all = [self.message.as_slice(), input].concat();
                self.violation(reason, &all, out);
                return input.len();
            }
        };
        if self.begins_tls(&packet) {
            out.start_tls_with(TlsStart { heard: packet.payload.to_vec(), wrapping: Some(Box::new(InPackets)) });
            return packet.used;
        }
        if !self.message.is_empty() && packet.kind != self.message_kind {
            let all = [self.message.as_slice(), packet.payload].concat();
            self.violation("another message inside a message", &all, out);
            return packet.used;
        }
        let mut message = std::mem::take(&mut self.message);
        message.extend_from_slice(packet.payload);
        self.message_kind = packet.kind;
        if message.len() > LONGEST {
            self.violation("message too long", &message, out);
        } else if packet.last {
            self.on_message(packet.kind, &message, out);
        } else {
            self.message = message;
        }
        packet.used
    }

    fn ended(&mut self, rest: &[u8], out: &mut Outbox) {
        self.finish("ended by the client", rest, out);
    }

    fn expired(&mut self, rest: &[u8], out: &mut Outbox) {
        self.finish("silence", rest, out);
    }

    fn overflowed(&mut self, input: &[u8], out: &mut Outbox) {
        self.finish("too many bytes", input, out);
    }

    fn computed(&mut self, result: Vec<u8>, out: &mut Outbox) {
        if let Stage::Checking(login) = std::mem::replace(&mut self.stage, Stage::Login) {
            self.judge(result.first() == Some(&1), &login, out);
        }
    }

    fn secured(&mut self, tls: &TlsFacts, _out: &mut Outbox) {
        let scope = match (self.strict, self.encryption()) {
            (true, _) => "strict",
            (false, Encryption::Login) => "login",
            (false, _) => "connection",
        };
        self.inside = true;
        self.secured = Some(Secured { facts: tls.clone(), scope });
    }
}
