//! Credentials in requests: forms, JSON, and the `Authorization` header's schemes.
//!
//! Values stay bytes from end to end: what a form hides behind `%ff` comes out as that byte.

use aviary_config::HoneyCreds;
use aviary_event::LogData;
use aviary_wire::{digest, guess, ntlm};
use base64::Engine as _;
use base64::engine::general_purpose::GeneralPurpose;
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};
use serde_json::Value;

use super::codec::{after, before, percent_decode};

/// Base64 as lenient as servers are: padding may be missing.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Fields read from one body; more are left in the body's sample only.
const MAX_FIELDS: usize = 256;

/// A field of a form or a leaf of a JSON document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    /// Its name; for JSON the key of the innermost object.
    pub(crate) name: Vec<u8>,
    /// Its value.
    pub(crate) value: Vec<u8>,
}

/// How a body was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// `application/x-www-form-urlencoded` or `multipart/form-data`.
    Form,
    /// JSON.
    Json,
}

/// The fields of a body, by its content type, or by its looks where that says nothing.
pub(crate) fn fields(content_type: Option<&[u8]>, body: &[u8]) -> (Encoding, Vec<Field>) {
    let kind = content_type.unwrap_or_default().to_ascii_lowercase();
    let start = body.trim_ascii_start().first();
    if kind.starts_with(b"multipart/") {
        (Encoding::Form, multipart(content_type.unwrap_or_default(), body))
    } else if memchr::memmem::find(&kind, b"json").is_some()
        || (!kind.starts_with(b"application/x-www-form") && matches!(start, Some(b'{' | b'[')))
    {
        (Encoding::Json, json(body))
    } else {
        (Encoding::Form, urlencoded(body))
    }
}

/// `a=b&c=d`, percent-decoded.
pub(crate) fn urlencoded(body: &[u8]) -> Vec<Field> {
    body.split(|b| *b == b'&')
        .filter(|pair| pair.contains(&b'='))
        .take(MAX_FIELDS)
        .map(|pair| Field {
            name: percent_decode(before(pair, b'='), true).unwrap_or_default(),
            value: percent_decode(after(pair, b'='), true).unwrap_or_default(),
        })
        .collect()
}

fn multipart(content_type: &[u8], body: &[u8]) -> Vec<Field> {
    let Some(boundary) = parameter(content_type, b"boundary") else { return Vec::new() };
    let delimiter = [b"--".as_slice(), &boundary].concat();
    let mut found = Vec::new();
    let mut starts = memchr::memmem::find_iter(body, &delimiter).peekable();
    while let Some(at) = starts.next() {
        if found.len() >= MAX_FIELDS {
            break;
        }
        let from = at.saturating_add(delimiter.len());
        let to = starts.peek().copied().unwrap_or(body.len());
        let part = body.get(from..to).unwrap_or_default();
        let part = part.strip_prefix(b"\r\n").or_else(|| part.strip_prefix(b"\n")).unwrap_or(part);
        let Some(split) = memchr::memmem::find(part, b"\r\n\r\n") else { continue };
        let (head, value) = part.split_at_checked(split).unwrap_or_default();
        let value = value.get(4..).unwrap_or_default();
        let name = head
            .split(|b| *b == b'\n')
            .filter(|line| line.to_ascii_lowercase().starts_with(b"content-disposition:"))
            .find_map(|line| parameter(line, b"name"));
        if let Some(name) = name {
            found.push(Field { name, value: value.strip_suffix(b"\r\n").unwrap_or(value).to_vec() });
        }
    }
    found
}

/// `; name="value"` of a header value.
fn parameter(header: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    header.split(|b| *b == b';').skip(1).find_map(|piece| {
        let piece = piece.trim_ascii();
        before(piece, b'=').trim_ascii().eq_ignore_ascii_case(name).then(|| {
            let value = after(piece, b'=').trim_ascii();
            value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value).to_vec()
        })
    })
}

/// A bad byte while JSON is read: it stands for U+F700 and its own value, in the private use area.
const STAND_IN: u32 = 0xf700;

fn json(body: &[u8]) -> Vec<Field> {
    let mut text = String::with_capacity(body.len());
    for chunk in body.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().filter_map(|b| char::from_u32(STAND_IN | u32::from(*b))));
    }
    let mut found = Vec::new();
    if let Ok(value) = serde_json::from_str::<Value>(&text) {
        leaves(&value, "", &mut found);
    }
    found
}

fn leaves(value: &Value, name: &str, found: &mut Vec<Field>) {
    if found.len() >= MAX_FIELDS {
        return;
    }
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| leaves(value, name, found)),
        Value::Array(items) => items.iter().for_each(|value| leaves(value, name, found)),
        Value::Null => {}
        leaf => {
            let text = leaf.as_str().map_or_else(|| leaf.to_string(), str::to_owned);
            found.push(Field { name: restore(name), value: restore(&text) });
        }
    }
}

/// Text back to the bytes that it came from.
fn restore(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for c in text.chars() {
        match u32::from(c).checked_sub(STAND_IN).and_then(|n| u8::try_from(n).ok()).filter(|b| *b >= 0x80) {
            Some(byte) => out.push(byte),
            None => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out
}

/// What user fields are called, best first, in the field's last word: `j_username`, `user[login]`.
const USERS: &[&str] = &[
    "username", "user", "login", "email", "userid", "account", "uname", "loginfmt", "log", "uid", "mail", "name", "id",
    "usr", "u",
];

/// What password fields are called, best first.
const PASSWORDS: &[&str] = &["password", "passwd", "pass", "pwd", "passphrase", "secret", "psw", "pw", "pin", "p"];

/// User and password among fields. `users` and `passwords` are the form's own names, tried first
/// and exactly; after them whatever looks like one.
pub(crate) fn login<'a>(
    fields: &'a [Field],
    users: &[&str],
    passwords: &[&str],
) -> (Option<&'a [u8]>, Option<&'a [u8]>) {
    let own = |names: &[&str]| names.iter().find_map(|name| fields.iter().find(|f| f.name == name.as_bytes()));
    let password = own(passwords).or_else(|| alike(fields, PASSWORDS));
    let user = own(users).or_else(|| {
        let rest: Vec<&Field> = fields.iter().filter(|f| password.is_none_or(|p| !std::ptr::eq(p, *f))).collect();
        best(&rest, USERS)
    });
    (user.map(|f| f.value.as_slice()), password.map(|f| f.value.as_slice()))
}

fn alike<'a>(fields: &'a [Field], names: &[&str]) -> Option<&'a Field> {
    best(&fields.iter().collect::<Vec<_>>(), names)
}

/// The field whose name is, or else ends or begins with, the first of `names` that any matches.
/// Names of one to three letters must match a whole word.
fn best<'a>(fields: &[&'a Field], names: &[&str]) -> Option<&'a Field> {
    let words = |field: &Field| -> Vec<Vec<u8>> {
        let lower = field.name.to_ascii_lowercase();
        lower.split(|b| !b.is_ascii_alphanumeric()).filter(|w| !w.is_empty()).map(<[u8]>::to_vec).collect()
    };
    let exact = |field: &Field, name: &str| words(field).last().is_some_and(|word| word == name.as_bytes());
    let near = |field: &Field, name: &str| {
        let name = name.as_bytes();
        name.len() > 3 && words(field).iter().any(|word| word.ends_with(name) || word.starts_with(name))
    };
    names
        .iter()
        .find_map(|name| fields.iter().find(|f| exact(f, name)))
        .or_else(|| names.iter().find_map(|name| fields.iter().find(|f| near(f, name))))
        .copied()
}

/// An `Authorization` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Authorization {
    /// RFC 7617.
    Basic {
        /// What stands before the first colon.
        user: Vec<u8>,
        /// What stands behind it; `None` without a colon.
        password: Option<Vec<u8>>,
    },
    /// RFC 7616.
    Digest(digest::Credentials),
    /// NTLMSSP, in `NTLM` or in `Negotiate`.
    Ntlm {
        /// The message.
        message: Vec<u8>,
        /// Whether it came inside SPNEGO and wants an answer inside it.
        wrapped: bool,
        /// The scheme's word to answer with.
        scheme: &'static str,
    },
    /// Anything else, `Bearer` most of all.
    Token {
        /// The scheme as sent.
        scheme: Vec<u8>,
        /// The rest as sent.
        token: Vec<u8>,
    },
}

impl Authorization {
    /// Reads a header's value.
    pub(crate) fn parse(value: &[u8]) -> Self {
        let scheme = before(value, b' ');
        let rest = after(value, b' ').trim_ascii();
        let other = || Self::Token { scheme: scheme.to_vec(), token: rest.to_vec() };
        match scheme.to_ascii_lowercase().as_slice() {
            b"basic" => match BASE64.decode(rest) {
                Ok(pair) => Self::Basic {
                    user: before(&pair, b':').to_vec(),
                    password: pair.contains(&b':').then(|| after(&pair, b':').to_vec()),
                },
                Err(_) => other(),
            },
            b"digest" => digest::Credentials::parse(value).map_or_else(other, Self::Digest),
            word @ (b"ntlm" | b"negotiate") => {
                let token = BASE64.decode(rest).unwrap_or_default();
                match ntlm::find(&token) {
                    Some(message) => Self::Ntlm {
                        message: message.to_vec(),
                        wrapped: message.len() != token.len(),
                        scheme: if word == b"ntlm" { "NTLM" } else { "Negotiate" },
                    },
                    None => other(),
                }
            }
            _ => other(),
        }
    }
}

/// Adds what an NTLM message says to the event of an attempt: the names, the line for hashcat over the
/// connection's challenge, and the password when it is a planted or a common one. `None` when it only opens NTLM.
pub(crate) fn with_ntlm(
    data: LogData,
    message: &[u8],
    challenge: Option<[u8; 8]>,
    planted: &HoneyCreds,
) -> Option<LogData> {
    let Ok(parsed) = ntlm::Authenticate::parse(message) else {
        let opens = ntlm::message_type(message) == Some(1);
        return (!opens).then(|| data.with("TOKEN", message));
    };
    let mut data = data
        .with("USERNAME", parsed.user.as_slice())
        .with("DOMAIN", parsed.domain.as_slice())
        .with("WORKSTATION", parsed.workstation.as_slice());
    let line = challenge.and_then(|challenge| Some((challenge, parsed.hashcat(&challenge)?, parsed.mode()?)));
    match line {
        Some((challenge, line, mode)) => {
            data.insert("HASHCAT", line);
            data.insert("HASHCAT_MODE", mode);
            if let Some(password) = guess::ntlm(&parsed, &challenge, planted.plain_passwords()) {
                data.insert("PASSWORD", password);
            }
        }
        // A response to no challenge of this connection: kept whole.
        None => data.insert("TOKEN", message),
    }
    Some(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(content_type: &str, body: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let (_, fields) = fields(Some(content_type.as_bytes()), body);
        let (user, password) = login(&fields, &["username"], &["password"]);
        (user.unwrap_or_default().to_vec(), password.unwrap_or_default().to_vec())
    }

    #[test]
    fn reads_forms_of_every_kind() {
        let expected = (b"ad\xff".to_vec(), b"p w=1".to_vec());
        assert_eq!(found("application/x-www-form-urlencoded", b"a=1&username=ad%ff&password=p+w%3D1"), expected);
        let body = b"--B\r\nContent-Disposition: form-data; name=\"username\"\r\n\r\nad\xff\r\n--B\r\n\
                     content-disposition: form-data; name=password\r\nX: y\r\n\r\np w=1\r\n--B--\r\n";
        assert_eq!(found("multipart/form-data; boundary=\"B\"", body), expected);
        assert_eq!(found("application/json", b"{\"d\":{\"username\":\"ad\xff\",\"password\":\"p w=1\"}}"), expected);
        assert_eq!(found("text/plain", b"{\"user\":\"ad\xff\",\"passwd\":\"p w=1\"}"), expected);
    }

    #[test]
    fn finds_fields_by_their_looks() {
        for body in [
            "j_username=u&j_password=p",
            "log=u&pwd=p&wp-submit=Log+In",
            "user%5Blogin%5D=u&user%5Bpassword%5D=p",
            "pma_username=u&pma_password=p&server=1",
            "loginfmt=u&passwd=p",
            "email=u&passwordField=p",
            "csrf=1&txtUser=u&txtPass=p",
            "id=u&pw=p",
        ] {
            assert_eq!(
                found("application/x-www-form-urlencoded", body.as_bytes()),
                (b"u".to_vec(), b"p".to_vec()),
                "{body}"
            );
        }
    }

    #[test]
    fn prefers_the_form_s_own_names() {
        let fields = urlencoded(b"user=x&username=y&passwd=1&password=2");
        assert_eq!(login(&fields, &["username"], &["password"]), (Some(b"y".as_slice()), Some(b"2".as_slice())));
    }

    #[test]
    fn sees_no_password_where_there_is_none() {
        let fields = urlencoded(b"q=x&page=1&speed=3");
        assert_eq!(login(&fields, &[], &[]).1, None);
    }

    #[test]
    fn reads_basic_without_padding_or_colon() {
        let basic = |user: &[u8], password: Option<&[u8]>| Authorization::Basic {
            user: user.to_vec(),
            password: password.map(<[u8]>::to_vec),
        };
        assert_eq!(Authorization::parse(b"basic YTpiOmM="), basic(b"a", Some(b"b:c")));
        assert_eq!(Authorization::parse(b"Basic YTpiOmM"), basic(b"a", Some(b"b:c")));
        assert_eq!(Authorization::parse(b"Basic YQ=="), basic(b"a", None));
        assert!(matches!(Authorization::parse(b"Basic !!"), Authorization::Token { .. }));
    }

    #[test]
    fn reads_digest_with_quotes_and_writes_its_line() {
        let header = b"Digest username=\"a\\\"b, c\", realm=\"R\", nonce=\"n\", uri=\"/x?y=1\", cnonce=\"c\", nc=00000001, qop=auth, response=\"0123456789abcdef0123456789abcdef\", algorithm=MD5";
        let Authorization::Digest(credentials) = Authorization::parse(header) else { panic!() };
        assert_eq!(credentials.get("username"), Some(b"a\"b, c".as_slice()));
        assert_eq!(
            credentials.hashcat(b"GET").unwrap().escape_ascii().to_string(),
            "$sip$***a\\\"b, c*R*GET**/x?y=1**n*c*00000001*auth*MD5*0123456789abcdef0123456789abcdef"
        );
    }

    #[test]
    fn knows_ntlm_bare_and_wrapped() {
        let bare = Authorization::parse(b"NTLM TlRMTVNTUAABAAAAB4IIogAAAAAAAAAAAAAAAAAAAAA=");
        assert!(matches!(bare, Authorization::Ntlm { wrapped: false, scheme: "NTLM", .. }));
        let wrapped = Authorization::parse(b"Negotiate YAROVExNU1NQAAEAAAAHggii");
        assert!(matches!(wrapped, Authorization::Ntlm { wrapped: true, scheme: "Negotiate", .. }));
        assert!(matches!(Authorization::parse(b"Negotiate YII="), Authorization::Token { .. }));
        assert!(matches!(Authorization::parse(b"Bearer a.b.c"), Authorization::Token { .. }));
    }
}
