//! The conversation: greeting, the client's answer, whatever its plugin asks for, refusal.

use std::sync::Arc;

use aviary_event::{LogData, PeerBytes};
use aviary_service::{Dialogue, Facts, Outbox, TlsFacts};

use super::Shared;
use super::codec::{self, Framed, Refusal, next_packet};
use super::events::{CONNECTION_MADE, HANDSHAKE, VIOLATION};
use super::handshake::{self, First, Handshake, flag};
use super::keys::CIPHER;
use super::login::{Login, Method};
use super::scramble::{self, Plugin, Salt, hex};

/// `caching_sha2_password`: the password itself is wanted.
const PERFORM_FULL_AUTHENTICATION: u8 = 4;

/// What the next packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The client's answer to the greeting, or a request for TLS.
    Answer,
    /// What the plugin's other half says first.
    Proof(Plugin),
    /// The password, in clear or encrypted, or a request for the key.
    Password(Plugin),
    /// Nothing: the key is read.
    Key(Plugin),
    /// Nothing: a password is decrypted.
    Decryption,
    /// Nothing more.
    Over,
}

/// One connection.
pub(super) struct MySql {
    shared: Arc<Shared>,
    entropy: [u8; 32],
    host: String,
    id: u32,
    salt: Salt,
    stage: Stage,
    /// Number of the next packet, whoever sends it.
    sequence: u8,
    /// Whether an error has a state; clients before 4.1 know none.
    with_state: bool,
    /// TLS was asked for.
    request: Vec<u8>,
    tls: Option<TlsFacts>,
    login: Option<Login>,
    /// The user name as the server takes it.
    user: Vec<u8>,
}

impl MySql {
    pub(super) fn new(shared: Arc<Shared>, facts: &Facts) -> Self {
        let [_, _, _, _, count @ ..] = facts.count.to_be_bytes();
        let count = u32::from_be_bytes(count);
        Self {
            entropy: facts.entropy,
            host: facts.peer.ip().to_canonical().to_string(),
            id: shared.persona.first_id.wrapping_add(count).wrapping_sub(1),
            salt: scramble::salt(&facts.entropy, "", shared.persona.graphic_salt),
            stage: Stage::Answer,
            sequence: 0,
            with_state: true,
            request: Vec::new(),
            tls: None,
            login: None,
            user: Vec::new(),
            shared,
        }
    }

    // Sending.

    fn send(&mut self, payload: &[u8], out: &mut Outbox) {
        out.reply(codec::packet(self.sequence, payload));
        self.sequence = self.sequence.wrapping_add(1);
    }

    /// Reports the login there is, refuses and closes. `unread` says whether bytes wait that the
    /// server would not have read.
    fn refuse(&mut self, refusal: &Refusal, unread: bool, out: &mut Outbox) {
        self.tell_login(out);
        self.stage = Stage::Over;
        self.send(&refusal.payload(self.with_state), out);
        if unread && self.shared.persona.resets { out.reset() } else { out.close() }
    }

    /// Refuses the login that failed, as every login does.
    fn deny(&mut self, with_password: bool, unread: bool, out: &mut Outbox) {
        let mut text = b"Access denied for user '".to_vec();
        text.extend_from_slice(shown(&self.user, self.shared.persona.name_shown));
        text.extend_from_slice(b"'@'");
        text.extend_from_slice(self.host.as_bytes());
        text.extend_from_slice(if with_password { b"' (using password: YES)" } else { b"' (using password: NO)" });
        self.refuse(&Refusal::access_denied(text), unread, out);
    }

    fn switch(&mut self, plugin: Plugin, out: &mut Outbox) {
        self.stage = Stage::Proof(plugin);
        let packet = codec::switch(plugin.name(), &self.salt);
        self.send(&packet, out);
    }

    // Events.

    fn violation(reason: &str, bytes: &[u8], out: &mut Outbox) {
        out.report(VIOLATION, LogData::new().with("REASON", reason).with("DATA", bytes));
    }

    fn tell_login(&mut self, out: &mut Outbox) {
        if let Some(login) = self.login.take() {
            login.report(&self.shared.planted, out);
        }
    }

    fn tell_handshake(&self, handshake: &Handshake<'_>, out: &mut Outbox) {
        let attributes: Vec<PeerBytes> = handshake
            .attributes
            .iter()
            .map(|(name, value)| {
                if value.is_empty() {
                    PeerBytes::from(*name)
                } else {
                    PeerBytes::from([name, &b"="[..], value].concat())
                }
            })
            .collect();
        let mut data = LogData::new()
            .with("USERNAME", handshake.user)
            .with("CAPABILITIES", handshake.capabilities)
            .with("CHARSET", handshake.charset)
            .with("MAX_PACKET", handshake.max_packet);
        if !attributes.is_empty() {
            data.insert("ATTRIBUTES", attributes);
        }
        if handshake.further != 0 {
            data.insert("MARIADB_CAPABILITIES", handshake.further);
        }
        if let Some(database) = handshake.database {
            data.insert("DATABASE", database);
        }
        if let Some(plugin) = handshake.plugin {
            data.insert("PLUGIN", plugin);
        }
        if !handshake.response.is_empty() {
            data.insert("RESPONSE", hex(handshake.response));
        }
        if let Some(tls) = &self.tls {
            data.insert("TLS_VERSION", tls.version);
            data.insert("TLS_CIPHER", tls.cipher.as_str());
            if let Some(name) = &tls.server_name {
                data.insert("TLS_SERVER_NAME", name.as_str());
            }
        }
        out.report(HANDSHAKE, data);
    }

    // The handshake.

    fn answered(&mut self, payload: &[u8], packet: Packet<'_>, out: &mut Outbox) {
        let capabilities = handshake::capabilities(payload);
        if payload.len() >= 2 {
            self.with_state = capabilities & flag::PROTOCOL_41 != 0;
        }
        let offers_tls = self.shared.persona.certificate.is_some();
        let mut handshake = match handshake::read(payload, self.shared.persona.assumes_length) {
            First::SslRequest if offers_tls && self.tls.is_none() => {
                self.request = packet.whole.to_vec();
                out.start_tls();
                return;
            }
            First::Nothing | First::SslRequest => {
                Self::violation("no handshake", packet.whole, out);
                return self.refuse(&Refusal::bad_handshake(), packet.unread, out);
            }
            First::Handshake(handshake) => handshake,
        };
        // A server that hears of TLS begins it, or refuses; what else is in the packet it never reads.
        if handshake.can(flag::SSL) && self.tls.is_none() {
            if offers_tls {
                self.tell_handshake(&handshake, out);
                self.begin_login(&handshake);
                self.tell_login(out);
                self.request = packet.whole.to_vec();
                out.start_tls();
                return;
            }
            handshake.flaw = Some("TLS was asked for where there is none");
        }
        if packet.cut {
            handshake.flaw = Some("packet too long");
        }
        self.tell_handshake(&handshake, out);
        self.begin_login(&handshake);
        if let Some(flaw) = handshake.flaw {
            Self::violation(flaw, packet.whole, out);
            return self.refuse(&Refusal::bad_handshake(), packet.unread, out);
        }
        self.choose_plugin(&handshake, packet, out);
    }

    fn begin_login(&mut self, handshake: &Handshake<'_>) {
        self.user = accepted_name(handshake.user, handshake.charset);
        let mut login = Login::new(handshake.user, handshake.database);
        let response = handshake.response;
        let plugin = handshake.plugin.unwrap_or(match response.len() {
            20 => b"mysql_native_password",
            _ => b"mysql_old_password",
        });
        match plugin {
            b"mysql_clear_password" | b"dialog" if !response.is_empty() => login.gave(Method::Clear, response),
            // Inside TLS it needs no key and comes at once; [1] would ask for the key.
            b"sha256_password" if self.tls.is_some() && response.len() > 1 => login.gave(Method::Clear, response),
            b"sha256_password" => {}
            _ => login.shown(plugin, &self.salt, response),
        }
        self.login = Some(login);
    }

    /// Goes on with the account's plugin; asks the client to change to it where it used another.
    fn choose_plugin(&mut self, handshake: &Handshake<'_>, packet: Packet<'_>, out: &mut Outbox) {
        let persona = &self.shared.persona;
        let plugin = self.shared.keys.plugin_of(&self.user, &self.host, persona.plugins);
        if !handshake.can(flag::PLUGIN_AUTH) {
            // A client that cannot change makes SHA-1 responses, or those of before 4.1.
            let is_old = !handshake.can(flag::PROTOCOL_41 | flag::SECURE_CONNECTION) && persona.has_plugins();
            if is_old || plugin != Plugin::Native {
                return self.refuse(&Refusal::client_too_old(), packet.unread, out);
            }
            return self.prove(Plugin::Native, handshake.response, packet, out);
        }
        let used = handshake.plugin.unwrap_or_default();
        let is_default = persona.plugins.first() == Some(&plugin);
        if is_default && (!persona.has_plugins() || Plugin::of_name(used) == Some(plugin)) {
            return self.prove(plugin, handshake.response, packet, out);
        }
        if plugin == Plugin::Sha256 {
            self.salt = scramble::salt(&self.entropy, "sha256", persona.graphic_salt);
        }
        self.switch(plugin, out);
    }

    // The plugins.

    /// The plugin's first word from the client, which the login knows already.
    fn prove(&mut self, plugin: Plugin, response: &[u8], packet: Packet<'_>, out: &mut Outbox) {
        if response.is_empty() || response == [0] && plugin != Plugin::Native {
            return self.deny(false, packet.unread, out);
        }
        match plugin {
            Plugin::Native if response.len() != 20 && self.shared.persona.has_plugins() => {
                self.refuse(&Refusal::bad_handshake(), packet.unread, out);
            }
            Plugin::CachingSha2 if response.len() == 32 => {
                self.stage = Stage::Password(plugin);
                self.send(&codec::more(&[PERFORM_FULL_AUTHENTICATION]), out);
            }
            Plugin::Sha256 => self.password(plugin, response, packet, out),
            Plugin::Native | Plugin::CachingSha2 => self.deny(true, packet.unread, out),
        }
    }

    /// The password itself, or a request for the key to hide it.
    fn password(&mut self, plugin: Plugin, payload: &[u8], packet: Packet<'_>, out: &mut Outbox) {
        let asks_for_key = payload == if plugin == Plugin::Sha256 { [1] } else { [2] };
        let is_clear = self.tls.is_some() || payload.last() == Some(&0) && payload.len() < CIPHER;
        if is_clear {
            if let Some(login) = &mut self.login {
                login.gave(Method::Clear, payload);
            }
            return self.deny(true, packet.unread, out);
        }
        let shared = Arc::clone(&self.shared);
        if asks_for_key && self.stage != Stage::Key(plugin) {
            self.stage = Stage::Key(plugin);
            out.compute(move || shared.keys.public().to_vec());
            return;
        }
        if payload.len() != CIPHER {
            if let Some(login) = &mut self.login {
                login.shown(plugin.name().as_bytes(), &self.salt, payload);
            }
            return self.deny(true, packet.unread, out);
        }
        let (cipher, salt) = (payload.to_vec(), self.salt);
        self.stage = Stage::Decryption;
        out.compute(move || match shared.keys.decrypt(&cipher, &salt) {
            Some(password) => [&[1], &password[..]].concat(),
            None => [&[0], &cipher[..]].concat(),
        });
    }

    /// Everything that the peer sent and no event holds yet.
    fn leave(&mut self, rest: &[u8], out: &mut Outbox) {
        if !self.request.is_empty() && self.login.is_none() && self.stage == Stage::Answer {
            let request = std::mem::take(&mut self.request);
            Self::violation("TLS was asked for and no login followed", &request, out);
        }
        self.tell_login(out);
        if !rest.is_empty() && self.stage != Stage::Over {
            Self::violation("unfinished packet", rest, out);
        }
    }

    /// The end of input while a packet was expected.
    fn stop_reading(&mut self, refusal: &Refusal, out: &mut Outbox) {
        if self.shared.persona.tells_of_read_errors && self.stage != Stage::Over {
            let payload = refusal.payload(self.with_state);
            self.send(&payload, out);
        }
        self.stage = Stage::Over;
    }
}

/// A packet beside its payload.
#[derive(Clone, Copy)]
struct Packet<'a> {
    /// With its header.
    whole: &'a [u8],
    /// Whether it is longer than what is here.
    cut: bool,
    /// Whether more waits behind it.
    unread: bool,
}

impl Dialogue for MySql {
    fn open(&mut self, out: &mut Outbox) {
        if self.shared.log_connection_made {
            out.report(CONNECTION_MADE, LogData::new());
        }
        out.reply(codec::greeting(self.shared.banner.as_bytes(), &self.shared.persona, self.id, &self.salt));
        self.sequence = 1;
    }

    fn feed(&mut self, input: &[u8], out: &mut Outbox) -> usize {
        if self.stage == Stage::Over {
            return input.len();
        }
        let (payload, cut, used) = match next_packet(input, self.sequence) {
            Framed::Partial => return 0,
            Framed::OutOfOrder => {
                self.tell_login(out);
                Self::violation("packet out of order", input, out);
                self.refuse(&Refusal::out_of_order(), input.len() > codec::HEADER, out);
                return input.len();
            }
            Framed::Packet { payload, cut, used } => (payload, cut, used),
        };
        self.sequence = self.sequence.wrapping_add(1);
        let packet = Packet { whole: input.get(..used).unwrap_or(input), cut, unread: cut || input.len() > used };
        match self.stage {
            Stage::Answer => self.answered(payload, packet, out),
            Stage::Proof(plugin) => {
                if let Some(login) = &mut self.login
                    && plugin != Plugin::Sha256
                {
                    login.shown(plugin.name().as_bytes(), &self.salt, payload);
                }
                self.prove(plugin, payload, packet, out);
            }
            Stage::Password(plugin) | Stage::Key(plugin) => self.password(plugin, payload, packet, out),
            Stage::Decryption | Stage::Over => {}
        }
        used
    }

    fn secured(&mut self, tls: &TlsFacts, _out: &mut Outbox) {
        self.tls = Some(tls.clone());
    }

    fn computed(&mut self, result: Vec<u8>, out: &mut Outbox) {
        match (self.stage, result.split_first()) {
            (Stage::Key(_), Some(_)) => self.send(&codec::more(&result), out),
            (Stage::Decryption, Some((&1, password))) => {
                if let Some(login) = &mut self.login {
                    login.gave(Method::Rsa, password);
                }
                self.deny(true, false, out);
            }
            (Stage::Decryption, Some((_, cipher))) => {
                if let Some(login) = &mut self.login {
                    login.shown(b"rsa", &self.salt, cipher);
                }
                self.deny(true, false, out);
            }
            // Without a key a server refuses.
            _ => self.deny(true, false, out),
        }
    }

    fn ended(&mut self, rest: &[u8], out: &mut Outbox) {
        self.leave(rest, out);
        self.stop_reading(&Refusal::read_error(), out);
    }

    fn expired(&mut self, rest: &[u8], out: &mut Outbox) {
        self.leave(rest, out);
        self.stop_reading(&Refusal::read_timeout(), out);
    }

    fn overflowed(&mut self, input: &[u8], out: &mut Outbox) {
        self.leave(input, out);
    }
}

/// A user name as the server takes it from the wire: in UTF-8, without quotes around it.
fn accepted_name(user: &[u8], charset: u8) -> Vec<u8> {
    let name = match std::str::from_utf8(user) {
        _ if is_latin1(charset) => user.iter().map(|byte| char::from(*byte)).collect::<String>().into_bytes(),
        Ok(_) => user.to_vec(),
        // What cannot be converted becomes a question mark.
        Err(_) => String::from_utf8_lossy(user).replace('\u{fffd}', "?").into_bytes(),
    };
    let inner = name.strip_prefix(b"'").and_then(|rest| rest.strip_suffix(b"'"));
    inner.map(<[u8]>::to_vec).unwrap_or(name)
}

/// Collations of latin1, the default of clients up to MySQL 5.7.
const fn is_latin1(charset: u8) -> bool {
    matches!(charset, 5 | 8 | 15 | 31 | 47..=49 | 94)
}

/// As much of UTF-8 text as fits into so many bytes.
fn shown(text: &[u8], most: usize) -> &[u8] {
    let cut = text.get(..most).unwrap_or(text);
    match std::str::from_utf8(cut) {
        Ok(_) => cut,
        Err(error) => cut.get(..error.valid_up_to()).unwrap_or_default(),
    }
}
