//! What was tried to get in.

use aviary_event::{Class, Event, Value};

/// Longest user name or password, in bytes. Nobody's is longer; what is longer is in the event.
const LONGEST: usize = 512;

/// A user name and a password that somebody tried, as bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Credential {
    /// The user name; empty where the protocol has none.
    pub username: Vec<u8>,
    /// The password.
    pub password: Vec<u8>,
}

impl Credential {
    /// What an event tried; `None` for one that is no login, or does not tell the password.
    ///
    /// LIMIT: a user name or password of more than 512 bytes is no credential.
    #[must_use]
    pub fn of(event: &Event) -> Option<Self> {
        if event.class() != Class::Login {
            return None;
        }
        let bytes = |key: &str| event.logdata.get(key).and_then(Value::as_bytes);
        let username = crate::sighting::USERS.iter().find_map(|key| bytes(key)).unwrap_or_default();
        let password = bytes("PASSWORD")?;
        let fits = username.len() <= LONGEST && password.len() <= LONGEST;
        fits.then(|| Self { username: username.to_vec(), password: password.to_vec() })
    }
}
