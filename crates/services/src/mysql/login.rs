//! One login: what was shown of a password, and the events that tell of it.

use aviary_event::{LogData, Value};
use aviary_service::Outbox;
use aviary_wire::guess;

use super::events::{LOGIN, LOGIN_ATTEMPT};
use super::scramble::{self, Plugin, Salt, hex};

/// hashcat's mode for `mysql_native_password`.
const NATIVE_MODE: i64 = 11_200;

/// A response and what it was made with.
#[derive(Debug)]
struct Proof {
    /// The plugin's name as the client gave it, or as it was asked for.
    plugin: Vec<u8>,
    salt: Salt,
    response: Vec<u8>,
}

impl Proof {
    /// The plugin, when the response has the length that it makes.
    fn kind(&self) -> Option<Plugin> {
        match (Plugin::of_name(&self.plugin)?, self.response.len()) {
            (Plugin::Native, 20) => Some(Plugin::Native),
            (Plugin::CachingSha2, 32) => Some(Plugin::CachingSha2),
            _ => None,
        }
    }
}

/// How a password came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// In clear, inside TLS or not.
    Clear,
    /// Under our RSA key.
    Rsa,
}

/// A login under way.
#[derive(Debug, Default)]
pub(super) struct Login {
    user: Vec<u8>,
    database: Option<Vec<u8>>,
    proofs: Vec<Proof>,
    clear: Option<(Method, Vec<u8>)>,
}

impl Login {
    /// Of a user who may want a database.
    pub(super) fn new(user: &[u8], database: Option<&[u8]>) -> Self {
        Self { user: user.to_vec(), database: database.map(<[u8]>::to_vec), proofs: Vec::new(), clear: None }
    }

    /// The client showed this; an empty response is no password.
    pub(super) fn shown(&mut self, plugin: &[u8], salt: &Salt, response: &[u8]) {
        if !response.is_empty() && response != [0] {
            self.proofs.push(Proof { plugin: plugin.to_vec(), salt: *salt, response: response.to_vec() });
        }
    }

    /// The client gave its password away. The NUL at its end is none of it.
    pub(super) fn gave(&mut self, method: Method, password: &[u8]) {
        self.clear = Some((method, password.strip_suffix(b"\0").unwrap_or(password).to_vec()));
    }

    /// What a cracker has the least work with: SHA-1 before SHA-256 before anything else.
    fn best(&self) -> Option<&Proof> {
        let of = |kind| self.proofs.iter().find(|proof| proof.kind() == Some(kind));
        of(Plugin::Native).or_else(|| of(Plugin::CachingSha2)).or(self.proofs.last())
    }

    /// The two events of a login: OpenCanary's, which it has for named users only, and ours.
    /// `planted` are passwords that were laid out as a lure, and are worth a guess.
    pub(super) fn report(&self, planted: &[Vec<u8>], out: &mut Outbox) {
        if !self.user.is_empty() {
            let password = match (&self.clear, self.proofs.last()) {
                (Some((_, clear)), _) => Value::from(clear.as_slice()),
                (None, Some(proof)) => Value::from(hex(&proof.response)),
                (None, None) => Value::Null,
            };
            let data = LogData::new().with("USERNAME", self.user.as_slice()).with("PASSWORD", password);
            out.report(LOGIN_ATTEMPT, data);
        }
        out.report(LOGIN, self.data(planted));
    }

    fn data(&self, planted: &[Vec<u8>]) -> LogData {
        let mut data = LogData::new().with("USERNAME", self.user.as_slice());
        if let Some(database) = &self.database {
            data.insert("DATABASE", database.as_slice());
        }
        let method = match (&self.clear, &self.proofs[..]) {
            (Some((Method::Clear, _)), _) => "clear",
            (Some((Method::Rsa, _)), _) => "rsa",
            (None, []) => "none",
            (None, _) => "response",
        };
        data.insert("METHOD", method);
        match &self.clear {
            Some((_, password)) => data.insert("PASSWORD", password.as_slice()),
            None if self.proofs.is_empty() => data.insert("PASSWORD", ""),
            None => {}
        }
        let Some(proof) = self.best() else { return data };
        let (salt, response) = (hex(&proof.salt), hex(&proof.response));
        data.insert("PLUGIN", proof.plugin.as_slice());
        match proof.kind() {
            Some(Plugin::Native) => {
                data.insert("HASHCAT", format!("$mysqlna${salt}*{response}"));
                data.insert("HASHCAT_MODE", NATIVE_MODE);
            }
            // hashcat has no mode for it; the formula is in `scramble.rs` and in the documentation.
            Some(Plugin::CachingSha2) => data.insert("HASH", format!("$mysqlsha2${salt}*{response}")),
            _ => {}
        }
        if self.clear.is_none()
            && let Some(kind) = proof.kind()
        {
            let further: Vec<Vec<u8>> = guess::of_user(&self.user).into_iter().chain(planted.iter().cloned()).collect();
            if let Some(word) = scramble::guess(kind, &proof.response, &proof.salt, &further) {
                data.insert("GUESSED", word.as_slice());
                data.insert("PASSWORD", word);
            }
        }
        data.insert("SALT", salt);
        data.insert("RESPONSE", response);
        data
    }
}
