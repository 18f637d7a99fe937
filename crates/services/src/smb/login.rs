//! SESSION_SETUP: NTLMSSP, bare or in SPNEGO, and what becomes of whoever logs in.

use aviary_event::LogData;
use aviary_service::Outbox;
use aviary_wire::ntlm::{self, Authenticate, Challenge, Negotiate};
use aviary_wire::{guess, spnego};

use super::codec::{Answer, Header, Put as _, short, slice, u16_at};
use super::events;
use super::sealing::Sealing;
use super::signing::{Signing, mechanism_check};
use super::state::{Connection, MECHANISMS, NAME, SESSIONS, Session};
use super::status;

/// The session is a guest's.
const IS_GUEST: u16 = 1;
/// The session is nobody's.
const IS_NULL: u16 = 2;

/// What a login comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Guest,
    Anonymous,
    /// One of `smb.honeycreds`.
    Known,
    Refused,
}

impl Outcome {
    const fn word(self) -> &'static str {
        match self {
            Self::Guest => "guest",
            Self::Anonymous => "anonymous",
            Self::Known => "accepted",
            Self::Refused => "refused",
        }
    }
}

/// What an SMB1 client says beside its login.
#[derive(Debug, Default)]
pub(super) struct Native {
    pub(super) os: Vec<u8>,
    pub(super) manager: Vec<u8>,
}

impl Connection {
    /// Answers SESSION_SETUP; the number is the session's for the response.
    pub(super) fn session_setup(&mut self, header: &Header, message: &[u8], out: &mut Outbox) -> (Answer, u64) {
        let buffer = || slice(message, u16_at(message, 76)?, u16_at(message, 78)?);
        let Some(token) = buffer() else {
            return (Answer::fail(status::INVALID_PARAMETER), header.session);
        };
        if header.session != 0 && !self.sessions.iter().any(|session| session.id == header.session) {
            return (Answer::fail(status::USER_SESSION_DELETED), header.session);
        }
        let (status, flags, token, session) = self.authenticate(header.session, token, None, out);
        if status != status::SUCCESS && status != status::MORE_PROCESSING_REQUIRED {
            return (Answer::fail(status), session);
        }
        let mut body = Vec::with_capacity(token.len().saturating_add(8));
        body.put16(9);
        body.put16(flags);
        body.put16(72);
        body.put16(short(token.len()));
        body.extend_from_slice(&token);
        (Answer { status, body }, session)
    }

    /// One step of SPNEGO or NTLMSSP: status, session flags, token, session.
    pub(super) fn authenticate(
        &mut self,
        session: u64,
        token: &[u8],
        native: Option<&Native>,
        out: &mut Outbox,
    ) -> (u32, u16, Vec<u8>, u64) {
        let bare = token.starts_with(ntlm::SIGNATURE);
        let wrap = |inner: Vec<u8>| if bare { inner } else { spnego::incomplete(&inner) };
        let more = status::MORE_PROCESSING_REQUIRED;
        let Some(message) = ntlm::find(token) else {
            let mechanisms = spnego::mechanisms(token);
            let Some(first) = mechanisms.first() else {
                super::state::violation("a login that is no SPNEGO", token, out);
                return (status::INVALID_PARAMETER, 0, Vec::new(), session);
            };
            let data = LogData::new().with("MECHANISM", first.as_str()).with("RESULT", "NTLM asked for");
            out.report(events::LOGIN, data);
            if !mechanisms.iter().any(|mechanism| mechanism == "1.3.6.1.4.1.311.2.2.10") {
                return (status::LOGON_FAILURE, 0, Vec::new(), session);
            }
            let Some(id) = self.begin(session, None) else {
                return (status::REQUEST_NOT_ACCEPTED, 0, Vec::new(), session);
            };
            return (more, 0, spnego::ntlm_instead(), id);
        };
        match ntlm::message_type(message) {
            Some(1) => {
                let offer = Negotiate::parse(message).unwrap_or_default();
                let number = self.count();
                let challenge = self.random("ntlm", number).first_chunk().copied().unwrap_or_default();
                let Some(id) = self.begin(session, Some(challenge)) else {
                    return (status::REQUEST_NOT_ACCEPTED, 0, Vec::new(), session);
                };
                if let Some(session) = self.sessions.iter_mut().find(|session| session.id == id) {
                    let listed = spnego::mechanism_list(token).filter(|listed| listed.len() <= MECHANISMS);
                    session.mechanisms = listed.unwrap_or_default().to_vec();
                }
                let target = self.server.target.clone();
                let answer = Challenge::answer(&offer, challenge, target, out.now().as_micros()).encode();
                (more, 0, wrap(answer), id)
            }
            Some(3) => self.respond(session, message, bare, native, out),
            _ => {
                super::state::violation("an NTLM message that does not belong here", message, out);
                (status::INVALID_PARAMETER, 0, Vec::new(), session)
            }
        }
    }

    /// A new session, or the old one again, waiting for its response.
    fn begin(&mut self, id: u64, challenge: Option<[u8; 8]>) -> Option<u64> {
        let preauth = self.preauth.clone();
        if let Some(session) = self.sessions.iter_mut().find(|session| session.id == id) {
            session.challenge = challenge;
            return Some(id);
        }
        if self.sessions.len() >= SESSIONS {
            return None;
        }
        let number = self.count();
        // Windows numbers sessions from a start that differs between boots.
        let id = self.random_number("session", 0) & 0x0000_fc00_0000_0000 | number.saturating_mul(4).saturating_add(1);
        self.sessions.push(Session { id, challenge, preauth, ..Session::default() });
        Some(id)
    }

    fn respond(
        &mut self,
        id: u64,
        message: &[u8],
        bare: bool,
        native: Option<&Native>,
        out: &mut Outbox,
    ) -> (u32, u16, Vec<u8>, u64) {
        let waiting = self.sessions.iter().find(|session| session.id == id).and_then(|session| session.challenge);
        let (Some(challenge), Ok(response)) = (waiting, Authenticate::parse(message)) else {
            super::state::violation("an NTLM response that cannot be read, or to no challenge", message, out);
            return (status::INVALID_PARAMETER, 0, Vec::new(), id);
        };
        let server = std::sync::Arc::clone(&self.server);
        let known = server
            .known
            .iter()
            .find_map(|known| known.key(&response, &challenge, message).map(|key| (key, known.password.as_str())));
        let password = known.map(|(_, password)| password);
        let outcome = self.judge(&response, &challenge, native, password, out);
        let dialect = self.dialect;
        let (algorithm, cipher) = (self.algorithm, self.cipher);
        let Some(session) = self.sessions.iter_mut().find(|session| session.id == id) else {
            return (status::USER_SESSION_DELETED, 0, Vec::new(), id);
        };
        session.challenge = None;
        let flags = match outcome {
            Outcome::Refused => {
                self.sessions.retain(|session| session.id != id);
                return (status::LOGON_FAILURE, 0, Vec::new(), id);
            }
            Outcome::Guest => IS_GUEST,
            Outcome::Anonymous => IS_NULL,
            Outcome::Known => 0,
        };
        session.stands = true;
        session.anonymous = outcome == Outcome::Anonymous;
        let flags_agreed = response.flags;
        session.user = kept(response.user);
        session.domain = kept(response.domain);
        session.workstation = kept(response.workstation);
        let mut token = if bare { Vec::new() } else { spnego::completed() };
        if let Some((key, _)) = known {
            if let (false, Some(sum)) = (bare, mechanism_check(&key, flags_agreed, &session.mechanisms)) {
                token = spnego::completed_with(&sum);
            }
            session.sealing = dialect.and_then(|dialect| Sealing::new(dialect, cipher, &key, &session.preauth));
            session.signing = dialect.map(|dialect| Signing::new(dialect, algorithm, &key, &session.preauth));
        }
        (status::SUCCESS, flags, token, id)
    }

    /// Reports a login and says what it comes to.
    pub(super) fn judge(
        &mut self,
        response: &Authenticate,
        challenge: &[u8; 8],
        native: Option<&Native>,
        password: Option<&str>,
        out: &mut Outbox,
    ) -> Outcome {
        let outcome = match () {
            () if password.is_some() => Outcome::Known,
            () if response.is_anonymous() => Outcome::Anonymous,
            () if self.server.guest => Outcome::Guest,
            () => Outcome::Refused,
        };
        self.report_login(response, challenge, native, password, outcome.word(), out);
        outcome
    }

    /// Reports a login.
    pub(super) fn report_login(
        &mut self,
        response: &Authenticate,
        challenge: &[u8; 8],
        native: Option<&Native>,
        password: Option<&str>,
        result: &str,
        out: &mut Outbox,
    ) {
        let mut data = LogData::new()
            .with("USERNAME", response.user.as_slice())
            .with("DOMAIN", response.domain.as_slice())
            .with("WORKSTATION", response.workstation.as_slice())
            .with("MECHANISM", "NTLM")
            .with("RESULT", result);
        if let (Some(line), Some(mode)) = (response.hashcat(challenge), response.mode()) {
            data = data.with("HASHCAT", line).with("HASHCAT_MODE", i64::from(mode));
            let password = password.map(|known| known.as_bytes().to_vec());
            if let Some(password) =
                password.or_else(|| guess::ntlm(response, challenge, self.server.planted.plain_passwords()))
            {
                data = data.with("PASSWORD", password);
            }
        }
        if let Some((major, minor, build)) = response.version {
            data = data.with("CLIENT_VERSION", format!("{major}.{minor}.{build}"));
            if (major, minor, build) == (6, 1, 0) && self.client.arch == "Vista" {
                // The version that Samba's own clients tell.
                self.client.arch = "Samba";
            }
        }
        if let Some(native) = native {
            data = data.with("NATIVE_OS", native.os.as_slice()).with("NATIVE_LM", native.manager.as_slice());
        }
        out.report(events::LOGIN, data);
    }
}

/// A name as later events tell it: the login told it whole.
pub(super) fn kept(mut name: Vec<u8>) -> Vec<u8> {
    name.truncate(NAME);
    name.shrink_to_fit();
    name
}
