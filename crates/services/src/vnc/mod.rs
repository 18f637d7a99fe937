//! VNC ([RFC 6143], with the types of the [community's specification]): a desktop that nobody gets to see.
//!
//! `vnc.server` selects the product: TigerVNC (3.8), RealVNC (5.0), TightVNC 2.8 (type 16) or macOS
//! (003.889, type 30). Clients of 3.3 to 3.8 and 003.889 are served up to the login, which always fails
//! with the product's words. TigerVNC is as measured, refusal of a source after five connections included.
//!
//! Captured: challenge and response, tried against the planted and the common passwords and the operator's
//! own (`vnc.wordlist`), else left as a line for John the Ripper; user name and password in clear with
//! VeNCrypt's Plain and X509Plain (`vnc.security_types`) and with Apple's type 30, whose key is ours.
//!
//! Events: 12001 for each answered challenge, 31201 for each login with all that is known of it, 31200
//! for a connection without one, 31202 for a source that is refused, 31203 for everything else.
//!
//! LIMIT: the TLS subtypes without a certificate are not offered: they need anonymous key exchange,
//! which the TLS library has no part of. A TLS handshake that fails ends without TigerVNC's text.
//! LIMIT: with all of a login in one segment TigerVNC waits for one byte more before it refuses; here
//! a stream has no pieces.
//!
//! Tried with TigerVNC's viewer, vncdotool, hydra, ncrack, nmap with its scripts, and Python sockets.
//!
//! [RFC 6143]: https://www.rfc-editor.org/rfc/rfc6143
//! [community's specification]: https://github.com/rfbproto/rfbproto/blob/master/rfbproto.rst

mod ard;
mod blacklist;
mod codec;
mod dialogue;
mod events;
mod persona;
#[cfg(test)]
mod tests;
mod words;

use std::sync::Arc;
use std::time::Duration;

use aviary_config::{Key, Settings, Shape};
use aviary_service::{
    Dialogue, Endpoint, Entry, Facts, Limits, Materials, Protocol, Rejection, Security, Service, TlsKey, TlsProfile,
};

use self::blacklist::Blacklist;
use self::dialogue::Vnc;
use self::persona::{PLAIN, Persona, VENCRYPT, VNC_AUTH, X509_PLAIN, X509_VNC};
use self::words::Words;

/// The registry's entry.
pub(crate) static ENTRY: Entry = Entry {
    name: "vnc",
    summary: "TigerVNC, RealVNC, TightVNC or macOS screen sharing",
    opencanary: "CanaryVNC in opencanary.modules.vnc",
    keys: KEYS,
    kinds: &[events::VNC, events::HANDSHAKE, events::LOGIN, events::REFUSED, events::OTHER_INPUT],
    build: &build,
};

static KEYS: &[Key] = &[
    Key { name: "vnc.enabled", shape: Shape::Flag, default: "false", doc: "Whether the VNC service runs." },
    Key { name: "vnc.port", shape: Shape::Port, default: "5900", doc: "Its TCP port." },
    Key {
        name: "vnc.server",
        shape: Shape::OneOf(persona::NAMES),
        default: "\"tigervnc\"",
        doc: "The product: TigerVNC, RealVNC, TightVNC, or the screen sharing of macOS.",
    },
    Key {
        name: "vnc.security_types",
        shape: Shape::Text,
        default: "\"VncAuth\"",
        doc: "TigerVNC's SecurityTypes, of X509Plain, X509Vnc, Plain and VncAuth; other products have their own.",
    },
    Key {
        name: "vnc.wordlist",
        shape: Shape::Path,
        default: "\"\"",
        doc: "File with further passwords to try on responses, one a line, 10,000 at most.",
    },
    Key {
        name: "vnc.blacklist",
        shape: Shape::Int { min: 0, max: 1_000_000 },
        default: "",
        doc: "Connections without success after which a source is refused for a while; 0 refuses none; as the product without it.",
    },
    Key {
        name: "vnc.login_delay",
        shape: Shape::Int { min: 0, max: 60_000 },
        default: "",
        doc: "Milliseconds before a wrong password is answered; as the product without it.",
    },
    Key {
        name: "vnc.honeycreds",
        shape: Shape::List,
        default: "",
        doc: "Planted credentials, whose use is marked in the event.",
    },
];

/// Longest word list of the operator, in bytes.
const LONGEST_LIST: u64 = 1024 * 1024;

/// What all connections share.
struct Server {
    persona: &'static Persona,
    /// Offered to clients of 3.7 and later.
    types: Vec<u8>,
    /// Offered inside VeNCrypt.
    subtypes: Vec<u32>,
    words: Words,
    blacklist: Blacklist,
    delay: Duration,
}

struct VncService {
    server: Arc<Server>,
    port: u16,
    host_name: String,
}

impl VncService {
    fn has_tls(&self) -> bool {
        self.server.subtypes.iter().any(|subtype| matches!(*subtype, X509_PLAIN | X509_VNC))
    }
}

impl Service for VncService {
    fn endpoints(&self) -> Vec<Endpoint> {
        vec![Endpoint {
            port: self.port,
            protocol: Protocol::Tcp,
            label: "vnc".to_owned(),
            security: if self.has_tls() { Security::OnDemand } else { Security::Plain },
            try_line: "printf 'RFB 003.008\\n\\2AAAAAAAAAAAAAAAA' | nc -w 2 {host} {port}",
        }]
    }

    fn dialogue(&self, _endpoint: usize, facts: &Facts) -> Box<dyn Dialogue> {
        Box::new(Vnc::new(Arc::clone(&self.server), facts))
    }

    fn tls(&self) -> Option<TlsProfile> {
        self.has_tls().then(|| TlsProfile {
            name: "vnc".to_owned(),
            subject: vec![("CN", self.host_name.clone())],
            issuer: Vec::new(),
            names: vec![self.host_name.clone()],
            server_auth: false,
            key: TlsKey::Rsa2048,
            days: 3650,
            alpn: Vec::new(),
            files: None,
        })
    }

    fn limits(&self) -> Limits {
        Limits { idle: Duration::from_secs(60), unconsumed: 4096, ..Limits::default() }
    }
}

fn build(materials: &Materials<'_>) -> Result<Box<dyn Service>, Rejection> {
    let settings = materials.settings;
    let persona = Persona::of_name(&settings.text("vnc.server"));
    let (types, subtypes) = if persona.choosable {
        chosen(&settings.text("vnc.security_types"))?
    } else {
        (persona.types.to_vec(), Vec::new())
    };
    let number = |key: &str| settings.value(key).and_then(|_| u64::try_from(settings.int(key)).ok());
    let threshold = number("vnc.blacklist").and_then(|threshold| u32::try_from(threshold).ok());
    let server = Server {
        persona,
        types,
        subtypes,
        words: Words::new(settings.honeycreds("vnc").plain_passwords(), &word_list(settings)?),
        blacklist: Blacklist::new(threshold.unwrap_or(persona.threshold)),
        delay: Duration::from_millis(number("vnc.login_delay").unwrap_or(persona.delay)),
    };
    Ok(Box::new(VncService {
        server: Arc::new(server),
        port: settings.port("vnc.port"),
        host_name: materials.host_name.to_owned(),
    }))
}

/// Types and VeNCrypt subtypes of TigerVNC's `SecurityTypes`. VeNCrypt comes first, and its list
/// holds all of them.
fn chosen(text: &str) -> Result<(Vec<u8>, Vec<u32>), Rejection> {
    let mut subtypes = Vec::new();
    for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let subtype = match name.to_ascii_lowercase().as_str() {
            "vncauth" => u32::from(VNC_AUTH),
            "plain" => PLAIN,
            "x509vnc" => X509_VNC,
            "x509plain" => X509_PLAIN,
            _ => {
                let accepted = "accepted are X509Plain, X509Vnc, Plain and VncAuth, with commas between";
                return Err(Rejection::new("vnc.security_types", format!("there is no `{name}`; {accepted}")));
            }
        };
        if !subtypes.contains(&subtype) {
            subtypes.push(subtype);
        }
    }
    let mut types = Vec::new();
    if subtypes.iter().any(|subtype| *subtype >= PLAIN) {
        types.push(VENCRYPT);
    } else if subtypes.is_empty() {
        return Err(Rejection::new("vnc.security_types", "names none; VncAuth is the usual one"));
    }
    types.extend(subtypes.contains(&u32::from(VNC_AUTH)).then_some(VNC_AUTH));
    if types == [VNC_AUTH] {
        subtypes.clear();
    }
    Ok((types, subtypes))
}

fn word_list(settings: &Settings) -> Result<Vec<u8>, Rejection> {
    let Some(path) = settings.path("vnc.wordlist") else { return Ok(Vec::new()) };
    let refused = |why: String| Rejection::new("vnc.wordlist", format!("`{}` {why}", path.display()));
    let unreadable = |error: std::io::Error| refused(format!("cannot be read: {error}"));
    if std::fs::metadata(&path).map_err(unreadable)?.len() > LONGEST_LIST {
        return Err(refused("is longer than 1 MiB".to_owned()));
    }
    std::fs::read(&path).map_err(unreadable)
}
