//! User authentication: what a client asks, and how OpenSSH judges it when nobody may enter.
//!
//! Layouts: [RFC 4252], keyboard-interactive [RFC 4256]. Counting, order of checks and texts are those
//! of OpenSSH's `auth2.c`.
//!
//! [RFC 4252]: https://www.rfc-editor.org/rfc/rfc4252
//! [RFC 4256]: https://www.rfc-editor.org/rfc/rfc4256

use std::time::Duration;

use ring::digest;

use super::codec::{Reader, Writer, is_c_string, message};
use super::entropy::Entropy;
use super::personas::{Delay, MAX_AUTH_TRIES, MAX_REQUESTS, TEXT_TOO_MANY};

/// `byte 50, string user, string service, string method`, and the method's own fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request<'a> {
    /// User name as sent.
    pub(crate) user: &'a [u8],
    /// Service to start.
    pub(crate) service: &'a [u8],
    /// Method by name.
    pub(crate) method: &'a [u8],
    /// What follows.
    pub(crate) fields: &'a [u8],
}

/// A credential in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Credential<'a> {
    /// `boolean change, string password[, string new]`
    Password { password: &'a [u8], change: Change<'a>, rest: &'a [u8] },
    /// `boolean signed, string algorithm, string key[, string signature]`
    PublicKey { algorithm: &'a [u8], key: &'a [u8], signature: Option<&'a [u8]>, rest: &'a [u8] },
}

/// Whether the password is to be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change<'a> {
    /// No.
    No,
    /// By this one.
    To(&'a [u8]),
    /// By one that is cut short.
    Unreadable,
}

impl<'a> Request<'a> {
    pub(crate) fn parse(payload: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(payload);
        reader.u8()?;
        let (user, service, method) = (reader.string()?, reader.string()?, reader.string()?);
        Some(Self { user, service, method, fields: reader.rest() })
    }

    /// The credential, when the method has one and its fields are there.
    pub(crate) fn credential(&self) -> Option<Credential<'a>> {
        let mut reader = Reader::new(self.fields);
        match self.method {
            b"password" => {
                let change = reader.u8()? != 0;
                let password = reader.string()?;
                let change = match (change, change.then(|| reader.string()).flatten()) {
                    (false, _) => Change::No,
                    (true, Some(new)) => Change::To(new),
                    (true, None) => Change::Unreadable,
                };
                Some(Credential::Password { password, change, rest: reader.rest() })
            }
            b"publickey" | PUBLIC_KEY_HOSTBOUND => {
                let signed = reader.u8()? != 0;
                let (algorithm, key) = (reader.string()?, reader.string()?);
                if self.method == PUBLIC_KEY_HOSTBOUND {
                    // The host key, which OpenSSH must be able to read.
                    Reader::new(reader.string()?).string()?;
                }
                let signature = if signed { reader.string() } else { None };
                Some(Credential::PublicKey { algorithm, key, signature, rest: reader.rest() })
            }
            _ => None,
        }
    }

    /// The user without `:style`.
    fn account(&self) -> &'a [u8] {
        self.user.split(|byte| *byte == b':').next().unwrap_or_default()
    }
}

/// OpenSSH's public key method that also names the host key.
const PUBLIC_KEY_HOSTBOUND: &[u8] = b"publickey-hostbound-v00@openssh.com";

/// How a request is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// USERAUTH_FAILURE, after the time that this takes.
    Failure(Effort),
    /// DISCONNECT with a text, likewise.
    Disconnect(Effort, Vec<u8>),
    /// INFO_REQUEST with a prompt.
    Prompt,
    /// The connection ends without a word: OpenSSH cannot read the request.
    Leave,
}

/// What costs time in a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    /// Nothing.
    None,
    /// OpenSSH's own least time.
    Least,
    /// A password was checked by PAM.
    Password,
}

/// How far a client has come.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    requests: u32,
    failures: u32,
    account: Vec<u8>,
    service: Vec<u8>,
    prompted: bool,
}

impl Progress {
    /// Whether the next request is the first.
    pub(crate) const fn is_fresh(&self) -> bool {
        self.requests == 0
    }

    /// Whether an INFO_RESPONSE is awaited.
    pub(crate) const fn is_prompted(&self) -> bool {
        self.prompted
    }

    /// The user that was named first.
    pub(crate) fn account(&self) -> &[u8] {
        &self.account
    }

    /// Judges a request; with `keyboard` the method keyboard-interactive is offered.
    pub(crate) fn judge(&mut self, request: &Request<'_>, keyboard: bool) -> Verdict {
        if ![request.user, request.service, request.method].into_iter().all(is_c_string) {
            return Verdict::Leave;
        }
        if self.requests >= MAX_REQUESTS {
            return Verdict::Disconnect(Effort::None, TEXT_TOO_MANY.into());
        }
        self.prompted = false;
        self.requests = self.requests.saturating_add(1);
        if self.requests == 1 {
            self.account = request.account().to_vec();
            self.service = request.service.to_vec();
        } else if self.account != request.account() || self.service != request.service {
            return Verdict::Disconnect(Effort::None, self.changed(request));
        }
        match (request.method, request.credential()) {
            (b"none", _) if request.fields.is_empty() => self.fail(u32::from(self.requests > 1), Effort::None),
            (b"password", Some(Credential::Password { password, change, rest: [] })) if is_c_string(password) => {
                match change {
                    Change::No => self.fail(1, Effort::Password),
                    Change::To(_) => self.fail(1, Effort::Least),
                    Change::Unreadable => Verdict::Leave,
                }
            }
            (_, Some(Credential::PublicKey { algorithm, rest: [], .. })) if is_c_string(algorithm) => {
                self.fail(1, Effort::Least)
            }
            (b"none" | b"password" | b"publickey" | PUBLIC_KEY_HOSTBOUND, _) => Verdict::Leave,
            (b"keyboard-interactive", _) if keyboard => {
                self.prompted = true;
                Verdict::Prompt
            }
            _ => self.fail(1, Effort::Least),
        }
    }

    /// Judges the answers to the prompt; `None` when they cannot be read.
    pub(crate) fn judge_answers(&mut self, answers: Option<&[&[u8]]>) -> Verdict {
        self.prompted = false;
        match answers {
            // One prompt was sent.
            Some([_]) => self.fail(1, Effort::Password),
            _ => Verdict::Leave,
        }
    }

    fn fail(&mut self, failures: u32, effort: Effort) -> Verdict {
        self.failures = self.failures.saturating_add(failures);
        if self.failures >= MAX_AUTH_TRIES {
            Verdict::Disconnect(effort, TEXT_TOO_MANY.into())
        } else {
            Verdict::Failure(effort)
        }
    }

    fn changed(&self, request: &Request<'_>) -> Vec<u8> {
        let mut text = b"Change of username or service not allowed: (".to_vec();
        for (part, bytes) in [
            (&self.account[..], &b","[..]),
            (&self.service, b") -> ("),
            (request.account(), b","),
            (request.service, b")"),
        ] {
            text.extend_from_slice(part.strip_suffix(b"\0").unwrap_or(part));
            text.extend_from_slice(bytes);
        }
        // OpenSSH formats into a buffer of 1024 bytes.
        text.truncate(1023);
        text
    }
}

/// `byte 51, name-list methods, boolean partial success`
pub(crate) fn failure(methods: &str) -> Vec<u8> {
    Writer::message(message::USERAUTH_FAILURE).string(methods).u8(0).done()
}

/// The prompt that `pam_unix` has for a password: no name, no instruction, one prompt without echo.
pub(crate) fn prompt() -> Vec<u8> {
    Writer::message(message::INFO_REQUEST).string("").string("").string("").u32(1).string("Password: ").u8(0).done()
}

/// `byte 61, uint32 count, count × string`; a count that the bytes do not bear out is refused.
pub(crate) fn answers(payload: &[u8]) -> Option<Vec<&[u8]>> {
    let mut reader = Reader::new(payload);
    reader.u8()?;
    let count = reader.u32()?;
    let mut answers = Vec::new();
    for _ in 0..count {
        answers.push(reader.string()?);
    }
    reader.end()?;
    Some(answers)
}

/// How long a failure takes.
///
/// OpenSSH waits a time that depends on the user name and its host keys, 5 to 9.3 ms, doubled as often
/// as the work needs; the work of a wrong password is PAM's delay.
pub(crate) fn delay(delay: &Delay, effort: Effort, secret: [u8; 8], user: &[u8], entropy: &mut Entropy) -> Duration {
    let work = match effort {
        Effort::None => return Duration::ZERO,
        Effort::Least => Duration::ZERO,
        Effort::Password => {
            // PAM: a mean of three even draws, from half to one and a half.
            let [a, b, c, d, e, f] = entropy.array::<6>();
            let draws = [[a, b], [c, d], [e, f]].map(|bytes| u32::from(u16::from_be_bytes(bytes)));
            let sum = draws.into_iter().fold(0_u32, u32::saturating_add);
            let part = delay.pam.checked_div(3 << 16).unwrap_or_default();
            (delay.pam.checked_div(2).unwrap_or_default()).saturating_add(part.saturating_mul(sum))
        }
    };
    let hashed = [u64::from_be_bytes(secret).to_string().as_bytes(), user].concat();
    let hash = digest::digest(&digest::SHA512, &hashed);
    let picoseconds = hash.as_ref().first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
    let mut total = delay.least.saturating_add(Duration::from_nanos(u64::from(picoseconds).wrapping_div(1000)));
    while total < work && !total.is_zero() {
        total = total.saturating_mul(2);
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssh::personas::DEFAULT;

    fn request(user: &str, method: &str, fields: Vec<u8>) -> Vec<u8> {
        Writer::message(message::USERAUTH_REQUEST)
            .string(user)
            .string("ssh-connection")
            .string(method)
            .bytes(fields)
            .done()
    }

    fn password(user: &str, password: &[u8]) -> Vec<u8> {
        request(user, "password", Writer::new().u8(0).string(password).done())
    }

    fn judge(progress: &mut Progress, payload: &[u8]) -> Verdict {
        progress.judge(&Request::parse(payload).expect("a request"), false)
    }

    #[test]
    fn reads_passwords_and_what_replaces_them() {
        let fields = Writer::new().u8(1).string("old").string("new").done();
        let payload = request("r\u{f6}t", "password", fields);
        let read = Request::parse(&payload).expect("a request");
        assert_eq!(read.user, "r\u{f6}t".as_bytes());
        assert_eq!(
            read.credential(),
            Some(Credential::Password { password: b"old", change: Change::To(b"new"), rest: b"" })
        );
        for end in 1..payload.len() {
            let cut = Request::parse(&payload[..end]).and_then(|r| r.credential());
            assert!(matches!(cut, None | Some(Credential::Password { change: Change::Unreadable, .. })));
        }
    }

    #[test]
    fn reads_keys_with_and_without_a_signature() {
        for (method, host) in [("publickey", None), ("publickey-hostbound-v00@openssh.com", Some("\0\0\0\x01k"))] {
            for signature in [None, Some("sig")] {
                let mut fields = Writer::new().u8(signature.is_some().into()).string("alg").string("key");
                for more in [host, signature].into_iter().flatten() {
                    fields = fields.string(more);
                }
                let payload = request("u", method, fields.done());
                let credential = Request::parse(&payload).and_then(|r| r.credential());
                // The host key stands before the signature in the hostbound form.
                let signature = signature.map(str::as_bytes);
                let expected = Credential::PublicKey { algorithm: b"alg", key: b"key", signature, rest: b"" };
                assert_eq!(credential, Some(expected));
            }
        }
    }

    #[test]
    fn the_first_none_is_free_and_the_sixth_failure_is_the_last() {
        let mut progress = Progress::default();
        assert_eq!(judge(&mut progress, &request("root", "none", vec![])), Verdict::Failure(Effort::None));
        for _ in 0..5 {
            assert_eq!(judge(&mut progress, &password("root", b"x")), Verdict::Failure(Effort::Password));
        }
        let last = Verdict::Disconnect(Effort::Password, TEXT_TOO_MANY.into());
        assert_eq!(judge(&mut progress, &password("root", b"x")), last);
    }

    #[test]
    fn another_user_ends_it_but_a_style_does_not() {
        let mut progress = Progress::default();
        judge(&mut progress, &password("root", b"x"));
        assert_eq!(judge(&mut progress, &password("root:style", b"x")), Verdict::Failure(Effort::Password));
        let text = b"Change of username or service not allowed: (root,ssh-connection) -> (admin,ssh-connection)";
        let verdict = judge(&mut progress, &password("admin", b"x"));
        assert_eq!(verdict, Verdict::Disconnect(Effort::None, text.to_vec()));
    }

    #[test]
    fn what_openssh_cannot_read_ends_it_without_a_word() {
        for payload in [
            password("ro\0ot", b"x"),
            password("root", b"a\0b"),
            request("root", "password", vec![]),
            request("root", "password", Writer::new().u8(0).string("x").u8(0).done()),
            request("root", "password", Writer::new().u8(1).string("x").done()),
            request("root", "none", vec![0]),
            request("root", "publickey", vec![0]),
            request("root", "publickey", Writer::new().u8(0).string("alg").string("key").u8(0).done()),
            request("root", "publickey", Writer::new().u8(0).string("a\0b").string("key").done()),
            request("root", "publickey-hostbound-v00@openssh.com", Writer::new().u8(0).string("a").string("k").done()),
        ] {
            assert_eq!(judge(&mut Progress::default(), &payload), Verdict::Leave);
        }
    }

    #[test]
    fn keyboard_interactive_prompts_only_where_offered() {
        let payload = request("root", "keyboard-interactive", Writer::new().string("").string("").done());
        assert_eq!(judge(&mut Progress::default(), &payload), Verdict::Failure(Effort::Least));
        let mut progress = Progress::default();
        assert_eq!(progress.judge(&Request::parse(&payload).expect("a request"), true), Verdict::Prompt);
        let answer = Writer::message(message::INFO_RESPONSE).u32(1).string("secret").done();
        let read = answers(&answer);
        assert_eq!(read.as_deref(), Some(&[&b"secret"[..]][..]));
        assert_eq!(progress.judge_answers(read.as_deref()), Verdict::Failure(Effort::Password));
        let lie = Writer::message(message::INFO_RESPONSE).u32(u32::MAX).string("a").done();
        assert_eq!(answers(&lie), None);
    }

    #[test]
    fn delays_are_stable_for_a_user_and_differ_between_users_and_installations() {
        let least = |secret: u8, user: &[u8]| {
            delay(&DEFAULT.delay, Effort::Least, [secret; 8], user, &mut Entropy::new([0; 32]))
        };
        assert_eq!(least(1, b"root"), least(1, b"root"));
        assert_ne!(least(1, b"root"), least(1, b"admin"));
        assert_ne!(least(1, b"root"), least(2, b"root"));
        let mut entropy = Entropy::new([7; 32]);
        for _ in 0..100 {
            let total = delay(&DEFAULT.delay, Effort::Password, [1; 8], b"root", &mut entropy);
            assert!((Duration::from_secs(1)..Duration::from_secs(6)).contains(&total), "{total:?}");
            // Some power of two of the least time.
            let steps = total.as_nanos() / least(1, b"root").as_nanos();
            assert!(steps.is_power_of_two());
        }
        assert!((Duration::from_millis(5)..Duration::from_millis(10)).contains(&least(1, b"root")));
    }
}
