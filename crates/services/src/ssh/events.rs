//! The kinds of event that SSH reports: OpenCanary's three, and ours from 30300.

use std::sync::Arc;

use aviary_event::{Class, KindInfo, LogData, PeerBytes, Value};
use aviary_service::Outbox;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use ring::digest;

use super::auth::{Change, Credential, Request};
use super::codec::{Reader, message};
use super::hassh;
use super::negotiation::{KexInit, LISTS};

/// Every kind, in order of numbers.
pub(crate) static KINDS: &[KindInfo] =
    &[CONNECTION, VERSIONS, PASSWORD, CLIENT, PUBLIC_KEY, KEYBOARD, AUTH_REQUEST, PASSWORD_CHANGE, MESSAGE, VIOLATION];

const CONNECTION: KindInfo = KindInfo {
    number: 4000,
    constant: "LOG_SSH_NEW_CONNECTION",
    class: Class::Connection,
    when: "a client connects",
    keys: &["SESSION"],
    technique: &[],
};

const VERSIONS: KindInfo = KindInfo {
    number: 4001,
    constant: "LOG_SSH_REMOTE_VERSION_SENT",
    class: Class::Connection,
    when: "a client asks for the service `ssh-userauth`, each time",
    keys: &["LOCALVERSION", "REMOTEVERSION"],
    technique: &[],
};

const PASSWORD: KindInfo = KindInfo {
    number: 4002,
    constant: "LOG_SSH_LOGIN_ATTEMPT",
    class: Class::Login,
    when: "a client tries a password",
    keys: &["LOCALVERSION", "PASSWORD", "REMOTEVERSION", "USERNAME"],
    technique: &["T1110"],
};

const CLIENT: KindInfo = KindInfo {
    number: 30300,
    constant: "LOG_SSH_CLIENT",
    class: Class::Connection,
    when: "a client's KEXINIT came, or it left after its identification line; \
           lists as sent, `GUESS` says whether a guessed packet follows",
    keys: &[
        "CIPHERS_CLIENT_TO_SERVER",
        "CIPHERS_SERVER_TO_CLIENT",
        "COMPRESSION_CLIENT_TO_SERVER",
        "COMPRESSION_SERVER_TO_CLIENT",
        "COOKIE",
        "GUESS",
        "HASSH",
        "HOST_KEY_ALGORITHMS",
        "KEX_ALGORITHMS",
        "LANGUAGES_CLIENT_TO_SERVER",
        "LANGUAGES_SERVER_TO_CLIENT",
        "LOCALVERSION",
        "MACS_CLIENT_TO_SERVER",
        "MACS_SERVER_TO_CLIENT",
        "REMOTEVERSION",
    ],
    technique: &[],
};

const PUBLIC_KEY: KindInfo = KindInfo {
    number: 30301,
    constant: "LOG_SSH_PUBLIC_KEY",
    class: Class::Login,
    when: "a client offers a public key; `KEY` is base64, `SIGNED` says whether it proved to hold \
           the private half (the signature is not checked)",
    keys: &[
        "ALGORITHM",
        "FINGERPRINT",
        "KEY",
        "KEYTYPE",
        "LOCALVERSION",
        "METHOD",
        "REMOTEVERSION",
        "SIGNATURE",
        "SIGNED",
        "USERNAME",
    ],
    technique: &["T1110"],
};

const KEYBOARD: KindInfo = KindInfo {
    number: 30302,
    constant: "LOG_SSH_KEYBOARD_INTERACTIVE",
    class: Class::Login,
    when: "a client answers the prompts of keyboard-interactive",
    keys: &["ANSWERS", "LOCALVERSION", "REMOTEVERSION", "USERNAME"],
    technique: &["T1110"],
};

const AUTH_REQUEST: KindInfo = KindInfo {
    number: 30303,
    constant: "LOG_SSH_AUTH_REQUEST",
    class: Class::Command,
    when: "a client asks for a method that shows no credential (`none`), that is not offered, or in \
           a form that has no event of its own; `DATA` is what follows the method's name",
    keys: &["DATA", "LOCALVERSION", "METHOD", "REMOTEVERSION", "SERVICE", "USERNAME"],
    technique: &[],
};

const PASSWORD_CHANGE: KindInfo = KindInfo {
    number: 30304,
    constant: "LOG_SSH_PASSWORD_CHANGE",
    class: Class::Login,
    when: "a client asks to replace a password, after 4002 for the old one",
    keys: &["LOCALVERSION", "NEWPASSWORD", "PASSWORD", "REMOTEVERSION", "USERNAME"],
    technique: &["T1110", "T1098"],
};

const MESSAGE: KindInfo = KindInfo {
    number: 30305,
    constant: "LOG_SSH_MESSAGE",
    class: Class::Command,
    when: "a client sends a message outside of key exchange and authentication; `DATA` is the whole \
           payload; the first 16 of a connection, then `COUNT` says how many more came",
    keys: &["COUNT", "DATA", "LOCALVERSION", "NAME", "REMOTEVERSION", "TYPE"],
    technique: &[],
};

const VIOLATION: KindInfo = KindInfo {
    number: 30306,
    constant: "LOG_SSH_VIOLATION",
    class: Class::Violation,
    when: "a client breaks the protocol, speaks another one, or leaves in the middle of a packet",
    keys: &["DATA", "LOCALVERSION", "REASON", "REMOTEVERSION"],
    technique: &[],
};

/// What both sides called themselves, which stands in nearly every event.
#[derive(Clone, Debug)]
pub(crate) struct Versions {
    /// Our identification line.
    pub(crate) local: Arc<str>,
    /// The client's, without CR and LF; empty before it came.
    pub(crate) remote: PeerBytes,
}

impl Versions {
    fn data(&self) -> LogData {
        LogData::new().with("LOCALVERSION", &*self.local).with("REMOTEVERSION", &self.remote)
    }

    /// 4000. `count` counts connections from 1; OpenCanary's sessions count from 0.
    pub(crate) fn connection(count: u64, out: &mut Outbox) {
        out.report(&CONNECTION, LogData::new().with("SESSION", count.saturating_sub(1).to_string()));
    }

    /// 4001.
    pub(crate) fn service_requested(&self, out: &mut Outbox) {
        out.report(&VERSIONS, self.data());
    }

    /// 30300, and the note `hassh` for later events.
    pub(crate) fn client(&self, init: Option<&KexInit>, out: &mut Outbox) {
        let mut data = self.data();
        if let Some(init) = init {
            for (list, key) in LISTS {
                data.insert(key, init.list(list));
            }
            let hassh = hassh::digest(&hassh::client_text(init));
            out.note("hassh", hassh.as_str());
            data.insert("HASSH", hassh);
            data.insert("COOKIE", hassh::hex(&init.cookie));
            data.insert("GUESS", init.guess_follows);
        }
        out.report(&CLIENT, data);
    }

    /// The event or events of a USERAUTH_REQUEST: nothing of it is left out.
    pub(crate) fn request(&self, request: &Request<'_>, out: &mut Outbox) {
        let data = self.data().with("USERNAME", request.user);
        let whole = match request.credential() {
            Some(Credential::Password { password, change, rest }) => {
                out.report(&PASSWORD, data.clone().with("PASSWORD", password));
                if let Change::To(new) = change {
                    let data = data.clone().with("PASSWORD", password).with("NEWPASSWORD", new);
                    out.report(&PASSWORD_CHANGE, data);
                }
                rest.is_empty() && change != Change::Unreadable
            }
            Some(Credential::PublicKey { algorithm, key, signature, rest }) => {
                let fingerprint = digest::digest(&digest::SHA256, key);
                let data = data
                    .clone()
                    .with("METHOD", request.method)
                    .with("ALGORITHM", algorithm)
                    .with("FINGERPRINT", format!("SHA256:{}", STANDARD_NO_PAD.encode(fingerprint)))
                    .with("KEY", STANDARD.encode(key))
                    .with("KEYTYPE", Reader::new(key).string().unwrap_or_default())
                    .with("SIGNED", signature.is_some())
                    .with("SIGNATURE", signature.map_or(Value::Null, |s| Value::Text(STANDARD.encode(s))));
                out.report(&PUBLIC_KEY, data);
                rest.is_empty()
            }
            None => false,
        };
        if !whole || request.service != b"ssh-connection" {
            let data =
                data.with("DATA", request.fields).with("METHOD", request.method).with("SERVICE", request.service);
            out.report(&AUTH_REQUEST, data);
        }
    }

    /// 30302.
    pub(crate) fn answers(&self, user: &[u8], answers: &[&[u8]], out: &mut Outbox) {
        let answers: Vec<_> = answers.iter().map(|answer| PeerBytes::from(*answer)).collect();
        out.report(&KEYBOARD, self.data().with("USERNAME", user).with("ANSWERS", answers));
    }

    /// 30305 for a payload.
    pub(crate) fn message(&self, payload: &[u8], out: &mut Outbox) {
        let number = payload.first().copied().unwrap_or_default();
        let data = self.data().with("TYPE", number).with("NAME", message_name(number)).with("DATA", payload);
        out.report(&MESSAGE, data);
    }

    /// 30305 for those that were not reported one by one.
    pub(crate) fn more_messages(&self, count: u32, out: &mut Outbox) {
        out.report(&MESSAGE, self.data().with("COUNT", count));
    }

    /// 30306.
    pub(crate) fn violation(&self, reason: impl Into<String>, bytes: &[u8], out: &mut Outbox) {
        out.report(&VIOLATION, self.data().with("REASON", reason.into()).with("DATA", bytes));
    }
}

fn message_name(number: u8) -> &'static str {
    match number {
        message::DISCONNECT => "DISCONNECT",
        message::IGNORE => "IGNORE",
        message::UNIMPLEMENTED => "UNIMPLEMENTED",
        message::DEBUG => "DEBUG",
        message::EXT_INFO => "EXT_INFO",
        message::KEXINIT => "KEXINIT",
        message::PING => "PING",
        message::PONG => "PONG",
        _ => "",
    }
}
