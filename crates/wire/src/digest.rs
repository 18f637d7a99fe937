//! Digest authentication ([RFC 7616], [RFC 8760]), which HTTP and SIP share: the parameters of an
//! `Authorization` header, the line that hashcat cracks, and a guess at the password.
//!
//! [RFC 7616]: https://www.rfc-editor.org/rfc/rfc7616
//! [RFC 8760]: https://www.rfc-editor.org/rfc/rfc8760

use md5::{Digest as _, Md5};

use crate::guess;

/// hashcat's mode for the line of [`Credentials::hashcat`].
pub const HASHCAT_MODE: i64 = 11400;

/// Bytes that user, realm, nonces, count and address have together at most where passwords are tried: each
/// costs two hashes over nearly all of it, and what clients send is shorter by far.
const LONGEST: usize = 1024;

/// Parameters read from one header.
const MOST: usize = 64;

/// The parameters of a `Digest` scheme, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials(Vec<(Vec<u8>, Vec<u8>)>);

impl Credentials {
    /// Reads a header's value; `None` when its scheme is another.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (scheme, rest) = value.trim_ascii().split_at_checked(6)?;
        let apart = rest.first().is_none_or(|byte| matches!(byte, b' ' | b'\t'));
        (scheme.eq_ignore_ascii_case(b"digest") && apart).then(|| Self(parameters(rest)))
    }

    /// All parameters, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(name, value)| (name.as_slice(), value.as_slice()))
    }

    /// The value of a parameter, without its quotes.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value.as_slice())
    }

    /// The same as if they named another address; some clients compute with the request's own target.
    #[must_use]
    pub fn over(&self, uri: &[u8]) -> Self {
        let other = |(name, _): &&(Vec<u8>, Vec<u8>)| !name.eq_ignore_ascii_case(b"uri");
        let mut parameters: Vec<_> = self.0.iter().filter(other).cloned().collect();
        parameters.push((b"uri".to_vec(), uri.to_vec()));
        Self(parameters)
    }

    fn field(&self, name: &str) -> &[u8] {
        self.get(name).unwrap_or_default()
    }

    /// Whether the response is the MD5 of RFC 2617 without `-sess` or a body's hash, which is what
    /// hashcat knows.
    fn is_plain_md5(&self) -> bool {
        let (algorithm, qop, response) = (self.field("algorithm"), self.field("qop"), self.field("response"));
        (algorithm.is_empty() || algorithm.eq_ignore_ascii_case(b"MD5"))
            && (qop.is_empty() || qop.eq_ignore_ascii_case(b"auth"))
            && response.len() == 32
            && response.iter().all(u8::is_ascii_hexdigit)
    }

    /// The line for hashcat mode 11400: `$sip$` and 14 fields between stars, of which the first two, the
    /// addresses, may be empty. `None` where a field cannot stand there or the hash is not MD5.
    #[must_use]
    pub fn hashcat(&self, method: &[u8]) -> Option<Vec<u8>> {
        if !self.is_plain_md5() {
            return None;
        }
        let uri = self.field("uri");
        let (scheme, rest) = match memchr::memchr(b':', uri) {
            Some(at) => (uri.get(..at).unwrap_or_default(), uri.get(at.saturating_add(1)..).unwrap_or_default()),
            None => (&[][..], uri),
        };
        let parts: [&[u8]; 14] = [
            b"",
            b"",
            self.field("username"),
            self.field("realm"),
            method,
            scheme,
            rest,
            b"",
            self.field("nonce"),
            self.field("cnonce"),
            self.field("nc"),
            self.field("qop"),
            b"MD5",
            self.field("response"),
        ];
        let clean = parts.iter().all(|part| !part.contains(&b'*'));
        clean.then(|| [b"$sip$*".as_slice(), &parts.join(&b'*')].concat())
    }

    /// Which of these passwords gives the response; none where the response is not MD5, or where it is made of
    /// more than a kibibyte.
    pub fn find<'w>(&self, method: &[u8], passwords: impl IntoIterator<Item = &'w [u8]>) -> Option<&'w [u8]> {
        let trial = self.trial(method)?;
        passwords.into_iter().find(|password| trial.fits(password))
    }

    /// The password, when it is a common one or made of the user's name. Some 250 passwords are tried, within
    /// the bounds of [`Self::find`].
    #[must_use]
    pub fn guess(&self, method: &[u8]) -> Option<Vec<u8>> {
        let trial = self.trial(method)?;
        let of_user = guess::of_user(self.field("username"));
        let words = guess::WORDS.iter().map(|word| word.as_bytes());
        of_user.iter().map(Vec::as_slice).chain(words).find(|word| trial.fits(word)).map(<[u8]>::to_vec)
    }

    fn trial(&self, method: &[u8]) -> Option<Trial> {
        let parts = ["username", "realm", "nonce", "nc", "cnonce", "uri"].map(|name| self.field(name));
        let length = parts.iter().fold(0_usize, |sum, part| sum.saturating_add(part.len()));
        if !self.is_plain_md5() || length > LONGEST {
            return None;
        }
        let [user, realm, nonce, count, theirs, uri] = parts;
        let request = joined(&[method, uri]);
        let qop = self.field("qop");
        let behind: &[&[u8]] =
            if qop.is_empty() { &[b"", nonce, &request] } else { &[b"", nonce, count, theirs, qop, &request] };
        Some(Trial {
            secret: Md5::new().chain_update([user, realm, b""].join(&b':')),
            behind: behind.join(&b':'),
            response: self.field("response").to_ascii_lowercase(),
        })
    }
}

/// A response `MD5(MD5(user:realm:password):nonce[:nc:cnonce:qop]:request)`, for any number of passwords.
struct Trial {
    /// What has read `user:realm:`.
    secret: Md5,
    /// From the colon before the nonce.
    behind: Vec<u8>,
    /// In lower-case hex.
    response: Vec<u8>,
}

impl Trial {
    fn fits(&self, password: &[u8]) -> bool {
        let secret = hex(&self.secret.clone().chain_update(password).finalize());
        hex(&Md5::new().chain_update(secret).chain_update(&self.behind).finalize()).as_slice() == self.response
    }
}

/// The MD5 in hex of these with colons between.
fn joined(parts: &[&[u8]]) -> [u8; 32] {
    hex(&Md5::digest(parts.join(&b':')))
}

/// The digits of an MD5, in lower case.
fn hex(hash: &[u8]) -> [u8; 32] {
    let digit = |nibble: u8| b"0123456789abcdef".get(usize::from(nibble)).copied().unwrap_or(b'0');
    let mut text = [b'0'; 32];
    for (to, digit) in text.iter_mut().zip(hash.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])) {
        *to = digit;
    }
    text
}

/// `a=b, c="d, \"e"`.
fn parameters(text: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let (mut found, mut name, mut value) = (Vec::new(), Vec::new(), Vec::new());
    let (mut quoted, mut escaped, mut in_value) = (false, false, false);
    for byte in text.iter().copied().chain([b',']) {
        match byte {
            _ if escaped => {
                escaped = false;
                value.push(byte);
            }
            b'\\' if quoted => escaped = true,
            b'"' if in_value => quoted = !quoted,
            b',' if !quoted => {
                let (name, value) = (std::mem::take(&mut name), std::mem::take(&mut value));
                if in_value && found.len() < MOST {
                    found.push((name.trim_ascii().to_vec(), value));
                }
                in_value = false;
            }
            b'=' if !in_value => in_value = true,
            b' ' | b'\t' if !quoted => {}
            _ if in_value => value.push(byte),
            _ => name.push(byte),
        }
    }
    if quoted && in_value {
        found.push((name.trim_ascii().to_vec(), value));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 2617, section 3.5, as its errata have it.
    const RFC: &[u8] = b"Digest username=\"Mufasa\", realm=\"testrealm@host.com\", \
        nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", uri=\"/dir/index.html\", qop=auth, nc=00000001, \
        cnonce=\"0a4f113b\", response=\"6629fae49393a05397450978507c4ef1\", opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"";

    /// The example of hashcat's mode 11400, whose password is `hashcat`.
    const EXAMPLE: &[u8] = b"Digest username=\"username\",realm=\"asterisk\",nonce=\"2b01df0b\",\
        uri=\"sip:192.168.100.121\",response=\"ad0520061ca07c120d7e8ce696a6df2d\",algorithm=MD5";

    fn fits(credentials: &Credentials, method: &[u8], password: &[u8]) -> bool {
        credentials.find(method, [b"".as_slice(), password]) == Some(password)
    }

    #[test]
    fn computes_the_response_of_the_specification() {
        let credentials = Credentials::parse(RFC).unwrap();
        assert!(fits(&credentials, b"GET", b"Circle Of Life"));
        assert!(!fits(&credentials, b"GET", b"Circle of Life"));
        assert!(!fits(&credentials, b"POST", b"Circle Of Life"));
        let capitals = String::from_utf8(RFC.to_vec()).unwrap().replace("6629fae4", "6629FAE4");
        assert!(fits(&Credentials::parse(capitals.as_bytes()).unwrap(), b"GET", b"Circle Of Life"));
    }

    #[test]
    fn writes_the_line_of_hashcat() {
        let credentials = Credentials::parse(EXAMPLE).unwrap();
        assert!(fits(&credentials, b"REGISTER", b"hashcat"));
        let line = credentials.hashcat(b"REGISTER").unwrap();
        let expected = b"$sip$***username*asterisk*REGISTER*sip*192.168.100.121**2b01df0b****MD5*\
            ad0520061ca07c120d7e8ce696a6df2d";
        assert_eq!(line.escape_ascii().to_string(), expected.escape_ascii().to_string());
    }

    #[test]
    fn another_address_gives_another_response() {
        let named = String::from_utf8(EXAMPLE.to_vec()).unwrap().replace("sip:192.168.100.121", "sip:asterisk");
        let credentials = Credentials::parse(named.as_bytes()).unwrap();
        assert!(!fits(&credentials, b"REGISTER", b"hashcat"));
        assert!(fits(&credentials.over(b"sip:192.168.100.121"), b"REGISTER", b"hashcat"));
    }

    #[test]
    fn guesses_common_passwords_and_those_of_the_user() {
        for (user, password, word) in
            [(&b"100"[..], &b"100"[..], true), (b"1001", b"1234", true), (b"a", b"zq7!k", false)]
        {
            let mut credentials = Credentials(vec![
                (b"username".to_vec(), user.to_vec()),
                (b"realm".to_vec(), b"asterisk".to_vec()),
                (b"nonce".to_vec(), b"n".to_vec()),
                (b"uri".to_vec(), b"sip:pbx".to_vec()),
            ]);
            let secret = joined(&[user, b"asterisk", password]);
            let response = joined(&[&secret, b"n", &joined(&[b"REGISTER", b"sip:pbx"])]);
            credentials.0.push((b"response".to_vec(), response.to_vec()));
            assert_eq!(credentials.guess(b"REGISTER"), word.then(|| password.to_vec()));
        }
    }

    #[test]
    fn guesses_nothing_where_each_word_would_cost_much() {
        let guess = |length: usize| {
            let nonce = "n".repeat(length);
            let secret = joined(&[b"100", b"asterisk", b"1234"]);
            let response = joined(&[&secret, nonce.as_bytes(), &joined(&[b"REGISTER", b"sip:pbx"])]);
            let value = format!(
                "Digest username=\"100\",realm=\"asterisk\",nonce=\"{nonce}\",uri=\"sip:pbx\",response=\"{}\"",
                String::from_utf8(response.to_vec()).unwrap()
            );
            Credentials::parse(value.as_bytes()).unwrap().guess(b"REGISTER")
        };
        // User, realm and address have 18 bytes.
        assert_eq!(guess(1024 - 18).as_deref(), Some(&b"1234"[..]));
        assert_eq!(guess(1024 - 17), None);
    }

    #[test]
    fn gives_no_line_that_hashcat_would_misread() {
        for bad in [
            &b"Digest username=\"a*b\",realm=\"r\",nonce=\"n\",uri=\"sip:x\",response=\"ad0520061ca07c120d7e8ce696a6df2d\""[..],
            b"Digest username=\"a\",realm=\"r\",nonce=\"n\",uri=\"sip:x\",response=\"ad05\"",
            b"Digest username=\"a\",algorithm=SHA-256,uri=\"sip:x\",response=\"ad0520061ca07c120d7e8ce696a6df2d\"",
            b"Digest username=\"a\",qop=auth-int,uri=\"sip:x\",response=\"ad0520061ca07c120d7e8ce696a6df2d\"",
            b"Digest username=\"a\",uri=\"sip:x\",response=\"zz0520061ca07c120d7e8ce696a6df2d\"",
        ] {
            let credentials = Credentials::parse(bad).unwrap();
            assert_eq!((credentials.hashcat(b"REGISTER"), credentials.guess(b"REGISTER")), (None, None));
        }
    }

    #[test]
    fn takes_quotes_escapes_and_what_never_ends() {
        let credentials = Credentials::parse(b"digest\ta=\"b, \\\"c\" , D = e,f=\"never").unwrap();
        assert_eq!(credentials.get("a"), Some(b"b, \"c".as_slice()));
        assert_eq!(credentials.get("d"), Some(b"e".as_slice()));
        assert_eq!(credentials.get("F"), Some(b"never,".as_slice()));
        assert_eq!(credentials.get("g"), None);
        assert_eq!(Credentials::parse(b"Basic YTpi"), None);
        assert_eq!(Credentials::parse(b"Digests a=b"), None);
        assert_eq!(Credentials::parse(b"Dig"), None);
    }
}
