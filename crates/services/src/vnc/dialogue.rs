//! The conversation: versions, a security type, a login that fails.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use aviary_event::LogData;
use aviary_service::{Dialogue, Facts, Outbox, TlsFacts};
use sha2::{Digest as _, Sha256};

use super::codec::{self, CHALLENGE, Plain, VERSION};
use super::events::{HANDSHAKE, LOGIN, OTHER_INPUT, REFUSED, VNC};
use super::persona::{ARD, PLAIN, TIGHT, VENCRYPT, VNC_AUTH, X509_PLAIN, X509_VNC};
use super::{Server, ard};

/// OpenCanary's text for a password that it does not know.
const NOT_IN_THE_LIST: &str = "<Password was not in the common list>";
/// TigerVNC's text for a refused source, without a version of its own.
const TOO_MANY: &str = "Too many security failures";
/// How long a client of PAM waits for its refusal: `pam_unix` asks for two seconds.
const PAM_DELAY: Duration = Duration::from_secs(2);

/// What comes next from the client.
enum Stage {
    /// Nothing: the connection is over.
    Over,
    /// Its version.
    Version,
    /// The end of the TLS handshake.
    Tls,
    /// One of the security types.
    Type,
    /// The response to a challenge.
    Response,
    /// VeNCrypt's version.
    VencryptVersion,
    /// VeNCrypt's subtype.
    Subtype,
    /// User name and password.
    Plain,
    /// The authentication inside Tight.
    Tight,
    /// Our public value for Apple's key exchange is being made.
    ArdOffer,
    /// Apple's answer.
    Ard,
}

/// One connection.
pub(super) struct Vnc {
    server: Arc<Server>,
    peer: IpAddr,
    entropy: [u8; 32],
    stage: Stage,
    /// 3, 7 or 8.
    minor: u8,
    version: Vec<u8>,
    /// Name of the security type that was chosen.
    security: &'static str,
    /// Subtype to go on with when TLS stands.
    inside: u32,
}

impl Vnc {
    pub(super) fn new(server: Arc<Server>, facts: &Facts) -> Self {
        Self {
            server,
            peer: facts.peer.ip().to_canonical(),
            entropy: facts.entropy,
            stage: Stage::Version,
            minor: 8,
            version: Vec::new(),
            security: "",
            inside: 0,
        }
    }

    /// Data with what is known of the client.
    fn data(&self) -> LogData {
        let mut data = LogData::new().with("SERVER", self.server.persona.name);
        if !self.version.is_empty() {
            let text = self.version.strip_suffix(b"\n").unwrap_or(&self.version);
            data.insert("CLIENT_VERSION", text);
        }
        if !self.security.is_empty() {
            data.insert("SECURITY_TYPE", self.security);
        }
        data
    }

    /// Reports what is no part of any login, and closes without a word.
    fn wrong(&mut self, reason: &str, bytes: &[u8], out: &mut Outbox) {
        out.report(&OTHER_INPUT, self.data().with("REASON", reason).with("DATA", bytes));
        self.stage = Stage::Over;
        out.close();
    }

    fn version(&mut self, version: &[u8], input: &[u8], out: &mut Outbox) {
        let Some((major, minor)) = codec::version(version) else {
            return self.wrong("no RFB version", input, out);
        };
        self.version = version.to_vec();
        let persona = self.server.persona;
        let greatest = persona.speaks.map_or(3, |(greatest, _)| greatest);
        if !(3..=greatest).contains(&major) {
            if let Some((_, ours)) = persona.speaks {
                out.report(&OTHER_INPUT, self.data().with("REASON", "version").with("DATA", input));
                let text = format!("Client needs protocol version {major}.{minor}, server has {ours}");
                out.reply(codec::no_types(8, &text));
                self.stage = Stage::Over;
                return out.close();
            }
            return self.wrong("version", input, out);
        }
        self.minor = match (major, minor) {
            (3, 7) => 7,
            (3, ..7) => 3,
            _ => 8,
        };
        if self.minor > 3 {
            self.stage = Stage::Type;
            return out.reply(codec::types(&self.server.types));
        }
        if !self.server.types.contains(&VNC_AUTH) {
            out.report(&HANDSHAKE, self.data().with("REASON", "no security type for 3.3"));
            out.reply(codec::no_types(3, &format!("No supported security type for 3.{minor} client")));
            self.stage = Stage::Over;
            return out.close();
        }
        self.security = "VncAuth";
        out.reply(u32::from(VNC_AUTH).to_be_bytes());
        self.challenge(out);
    }

    fn security_type(&mut self, chosen: u8, input: &[u8], out: &mut Outbox) {
        if !self.server.types.contains(&chosen) {
            return self.wrong("security type that was not offered", input, out);
        }
        match chosen {
            VNC_AUTH => {
                self.security = "VncAuth";
                self.challenge(out);
            }
            TIGHT => {
                self.security = "Tight";
                self.stage = Stage::Tight;
                out.reply(codec::TIGHT);
            }
            VENCRYPT => {
                self.security = "VeNCrypt";
                self.stage = Stage::VencryptVersion;
                out.reply([0, 2]);
            }
            ARD => {
                self.security = "ARD";
                self.stage = Stage::ArdOffer;
                let exponent = ard::exponent(&self.entropy);
                out.compute(move || ard::offer(&exponent));
            }
            _ => self.wrong("security type that is not spoken", input, out),
        }
    }

    fn secret(&self) -> [u8; CHALLENGE] {
        let digest: [u8; 32] = Sha256::new().chain_update(self.entropy).chain_update(b"vnc").finalize().into();
        digest.first_chunk().copied().unwrap_or_default()
    }

    fn challenge(&mut self, out: &mut Outbox) {
        self.stage = Stage::Response;
        out.reply(self.secret());
    }

    fn response(&mut self, response: &[u8; CHALLENGE], out: &mut Outbox) {
        let challenge = self.secret();
        let found = self.server.words.find(&challenge, response);
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let mut line = LogData::new()
            .with("VNC Client Response", hex(response))
            .with("VNC Password", NOT_IN_THE_LIST)
            .with("VNC Server Challenge", hex(&challenge));
        let mut login = self.data().with("HASHCAT", codec::hash_line(&challenge, response));
        if let Some(word) = found {
            line.insert("VNC Password", word);
            login.insert("PASSWORD", word);
        }
        out.report(&VNC, line);
        out.report(&LOGIN, login);
        self.fail(self.server.delay, self.server.persona.failed, out);
    }

    fn clear(&mut self, user: &[u8], password: &[u8], out: &mut Outbox) {
        out.report(&LOGIN, self.data().with("USERNAME", user).with("PASSWORD", password));
    }

    fn fail(&mut self, delay: Duration, reason: &str, out: &mut Outbox) {
        self.stage = Stage::Over;
        if !delay.is_zero() {
            out.pause(delay);
        }
        out.reply(codec::failure(self.minor, reason));
        out.close();
    }

    /// Fails inside VeNCrypt after what is no login.
    fn fail_vencrypt(&mut self, reason: &str, input: &[u8], out: &mut Outbox) {
        out.report(&OTHER_INPUT, self.data().with("REASON", reason).with("DATA", input));
        self.fail(self.server.delay, &format!("Authentication failure: {reason}"), out);
    }

    fn vencrypt_version(&mut self, version: [u8; 2], input: &[u8], out: &mut Outbox) {
        if version == [0, 2] {
            self.stage = Stage::Subtype;
            return out.reply(codec::subtypes(&self.server.subtypes));
        }
        out.reply([0xff]);
        let reason = match version {
            [0, 0 | 1] => "The client cannot support the server's VeNCrypt version",
            _ => "The client returned an unsupported VeNCrypt version",
        };
        self.fail_vencrypt(reason, input, out);
    }

    fn subtype(&mut self, chosen: u32, input: &[u8], out: &mut Outbox) {
        if !self.server.subtypes.contains(&chosen) {
            return self.fail_vencrypt("No valid VeNCrypt sub-type", input, out);
        }
        self.security = match chosen {
            PLAIN => "Plain",
            X509_PLAIN => "X509Plain",
            X509_VNC => "X509Vnc",
            _ => "VncAuth",
        };
        match chosen {
            PLAIN => self.stage = Stage::Plain,
            X509_PLAIN | X509_VNC => {
                self.inside = chosen;
                self.stage = Stage::Tls;
                out.reply([1]);
                out.start_tls();
            }
            _ => self.challenge(out),
        }
    }

    fn plain(&mut self, input: &[u8], out: &mut Outbox) -> usize {
        match codec::plain(input) {
            Plain::Incomplete => return 0,
            Plain::LongUser => self.fail_vencrypt("Too long username", input, out),
            Plain::LongPassword => self.fail_vencrypt("Too long password", input, out),
            Plain::Login(user, password, used) => {
                self.clear(user, password, out);
                let delay = if self.server.delay.is_zero() { Duration::ZERO } else { PAM_DELAY };
                self.fail(delay, "Authentication failure: invalid password or username", out);
                return used;
            }
        }
        input.len()
    }

    /// Takes one message; gives the bytes it took.
    fn take(&mut self, input: &[u8], out: &mut Outbox) -> usize {
        match self.stage {
            Stage::Over | Stage::Tls | Stage::ArdOffer => input.len(),
            Stage::Version => {
                let Some(version) = input.get(..VERSION) else { return 0 };
                self.version(version, input, out);
                VERSION
            }
            Stage::Type => {
                let Some(chosen) = input.first() else { return 0 };
                self.security_type(*chosen, input, out);
                1
            }
            Stage::Response => {
                let Some(response) = input.first_chunk() else { return 0 };
                self.response(response, out);
                CHALLENGE
            }
            Stage::VencryptVersion => {
                let Some(version) = input.first_chunk() else { return 0 };
                self.vencrypt_version(*version, input, out);
                2
            }
            Stage::Subtype => {
                let Some(chosen) = codec::u32_at(input, 0) else { return 0 };
                self.subtype(chosen, input, out);
                4
            }
            Stage::Tight => {
                let Some(chosen) = codec::u32_at(input, 0) else { return 0 };
                if chosen == u32::from(VNC_AUTH) {
                    self.challenge(out);
                } else {
                    self.wrong("authentication that was not offered", input, out);
                }
                4
            }
            Stage::Plain => self.plain(input, out),
            Stage::Ard => {
                let Some(answer) = input.get(..ard::ANSWER).map(<[u8]>::to_vec) else { return 0 };
                let exponent = ard::exponent(&self.entropy);
                out.compute(move || ard::decrypt(&exponent, &answer));
                ard::ANSWER
            }
        }
    }

    /// The client will say no more.
    fn leave(&mut self, rest: &[u8], out: &mut Outbox) {
        let (reason, before) = match self.stage {
            Stage::Over => return,
            Stage::Version => ("before its version", "inside its version"),
            Stage::Type => ("before it chose a security type", ""),
            Stage::VencryptVersion | Stage::Subtype | Stage::Tight => {
                ("before it chose a security type", "inside its choice of a security type")
            }
            Stage::Response => ("before its response", "inside its response"),
            Stage::Tls => ("before TLS stood", "inside the TLS handshake"),
            Stage::Plain | Stage::ArdOffer | Stage::Ard => ("before its login", "inside its login"),
        };
        self.stage = Stage::Over;
        if rest.is_empty() {
            out.report(&HANDSHAKE, self.data().with("REASON", format!("left {reason}")));
        } else {
            out.report(&OTHER_INPUT, self.data().with("REASON", format!("left {before}")).with("DATA", rest));
        }
    }
}

impl Dialogue for Vnc {
    fn open(&mut self, out: &mut Outbox) {
        if let Some(seconds) = self.server.blacklist.refuses(self.peer, out.now()) {
            out.report(&REFUSED, self.data().with("SECONDS", seconds));
            out.reply(codec::refusal(TOO_MANY));
            self.stage = Stage::Over;
            return out.close();
        }
        out.reply(self.server.persona.version);
    }

    fn feed(&mut self, input: &[u8], out: &mut Outbox) -> usize {
        self.take(input, out)
    }

    fn ended(&mut self, rest: &[u8], out: &mut Outbox) {
        self.leave(rest, out);
    }

    fn expired(&mut self, rest: &[u8], out: &mut Outbox) {
        self.leave(rest, out);
        out.close();
    }

    fn overflowed(&mut self, input: &[u8], out: &mut Outbox) {
        self.leave(input, out);
    }

    fn secured(&mut self, _tls: &TlsFacts, out: &mut Outbox) {
        if self.inside == X509_VNC {
            self.challenge(out);
        } else {
            self.stage = Stage::Plain;
        }
    }

    fn computed(&mut self, result: Vec<u8>, out: &mut Outbox) {
        if matches!(self.stage, Stage::ArdOffer) {
            self.stage = Stage::Ard;
            return out.reply(result);
        }
        let (user, password) = ard::login(&result);
        self.clear(user, password, out);
        self.fail(self.server.delay, self.server.persona.failed, out);
    }
}
