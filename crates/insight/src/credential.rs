//! What was tried to get in.

use aviary_event::{Class, Event, Value};

/// Longest user name or password, in bytes. Nobody's is longer; what is longer is in the event.
const LONGEST: usize = 512;

/// Keys of `logdata` under which services write user names.
const USERS: [&str; 5] = ["USERNAME", "UserName", "username", "USER", "LOGINNAME"];

/// Keys of `logdata` under which services write passwords.
const PASSWORDS: [&str; 3] = ["PASSWORD", "Password", "VNC Password"];

/// Log types whose password is empty where it is not known: a proxy's login by a proof, and Windows logins at SQL Server,
/// Remote Desktop and SMB.
const EMPTY_IF_UNKNOWN: [i64; 5] = [7001, 9002, 12001, 14001, 31101];

/// MySQL's login as OpenCanary writes it: its password is the response of a challenge.
const RESPONSE: i64 = 8001;

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
        if event.class() != Class::Login || event.logtype == Some(RESPONSE) {
            return None;
        }
        let bytes = |keys: &[&str]| keys.iter().find_map(|key| event.logdata.get(key).and_then(Value::as_bytes));
        let username = bytes(&USERS).unwrap_or_default();
        let password = bytes(&PASSWORDS)?;
        if password.is_empty() && event.logtype.is_some_and(|number| EMPTY_IF_UNKNOWN.contains(&number)) {
            return None;
        }
        let fits = username.len() <= LONGEST && password.len() <= LONGEST;
        fits.then(|| Self { username: username.to_vec(), password: password.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(logtype: i64, logdata: &str) -> Option<(String, String)> {
        let line = format!(r#"{{"logtype": {logtype}, "logdata": {logdata}}}"#);
        let credential = Credential::of(&Event::parse(&line).expect("an event"))?;
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Some((text(credential.username), text(credential.password)))
    }

    #[test]
    fn passwords_are_found_under_the_keys_of_each_service() {
        let found = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(tried(4002, r#"{"USERNAME": "root", "PASSWORD": "toor"}"#), found("root", "toor"));
        assert_eq!(tried(2000, r#"{"USERNAME": "root", "PASSWORD": ""}"#), found("root", ""));
        assert_eq!(tried(9001, r#"{"UserName": "sa", "Password": "sa"}"#), found("sa", "sa"));
        assert_eq!(tried(12001, r#"{"VNC Password": "secret"}"#), found("", "secret"));
    }

    #[test]
    fn what_is_no_password_is_no_credential() {
        assert_eq!(tried(4002, r#"{"USERNAME": "root"}"#), None);
        assert_eq!(tried(4002, r#"{"USERNAME": "root", "PASSWORD": null}"#), None);
        assert_eq!(tried(9002, r#"{"USERNAME": "root", "PASSWORD": ""}"#), None, "not known");
        assert_eq!(tried(8001, r#"{"USERNAME": "root", "PASSWORD": "a94a8fe5"}"#), None, "a response");
        assert_eq!(tried(3000, r#"{"USERNAME": "root", "PASSWORD": "x"}"#), None, "no login");
        assert_eq!(tried(4002, &format!(r#"{{"PASSWORD": "{}"}}"#, "x".repeat(513))), None);
    }
}
