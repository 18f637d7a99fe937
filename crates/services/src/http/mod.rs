//! HTTP and HTTPS: a web server with a login page, as nginx or Apache httpd on Debian would serve it.
//!
//! Two services share this folder; they differ in port, skin and TLS only. What is imitated is the
//! wire of nginx 1.22 and Apache 2.4.71, chosen by `http.banner`: which bytes are a request, header
//! order, error pages, methods, versions, `Host` rules, keep-alive, pipelining, `100-continue`,
//! conditions, ranges, Apache's gzip and folder listings, plain HTTP on the TLS port. About 330
//! requests a product were recorded from the real servers and are replayed in the tests. Above that
//! stand the skins: pages as data, `basicLogin` and `nasLogin` built in, or a folder in OpenCanary's
//! layout. No login ever succeeds.
//!
//! `GET /` shows the login page (OpenCanary redirects to `/index.html`); the events are the same.
//! Captured are forms, multipart and JSON anywhere, query strings, Basic, Digest, NTLM (with a
//! challenge and the hashcat line; also inside Negotiate), Bearer and unknown schemes.
//!
//! LIMIT: HTTP/1.1 and below; ALPN offers `http/1.1` only. A chunked body's trailer is not kept, and
//! credentials are looked for in the first 64 KiB of a body.
//!
//! Tried with curl (1.0, 1.1, pipelined, Basic, Digest, NTLM), Python requests and nmap.
//!
//! Events: 3000 to 3003 as OpenCanary writes them, 30200 every request, 30201 other credentials,
//! 30202 what is no request. The note `ja4h` is the fingerprint of the last whole head. Keys: `http.*` and `https.*` below.
//!
//! Specifications: [RFC 9110], [RFC 9112], [RFC 7616], [RFC 7617], [MS-NTHT].
//!
//! [RFC 9110]: https://www.rfc-editor.org/rfc/rfc9110
//! [RFC 9112]: https://www.rfc-editor.org/rfc/rfc9112
//! [RFC 7616]: https://www.rfc-editor.org/rfc/rfc7616
//! [RFC 7617]: https://www.rfc-editor.org/rfc/rfc7617
//! [MS-NTHT]: https://learn.microsoft.com/openspecs/windows_protocols/ms-ntht/

mod apache;
pub(crate) mod challenge;
pub(crate) mod codec;
pub(crate) mod credentials;
mod delivery;
mod dialogue;
mod events;
mod iis;
mod nginx;
mod personas;
mod report;
pub(crate) mod response;
mod skin;
#[cfg(test)]
pub(crate) mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use aviary_config::{Key, Shape};
use aviary_service::{
    Dialogue, Endpoint, Entry, Facts, Limits, Materials, Protocol, Rejection, Security, Service, Slot, TlsKey,
    TlsProfile,
};
use ring::rand::SecureRandom as _;

use challenge::Auth;
pub(crate) use dialogue::lenient_head;
use dialogue::{Http, Site};
use personas::Persona;
use skin::Skin;

/// Plain HTTP.
pub(crate) static HTTP: Entry = Entry {
    name: "http",
    summary: "web server with a login page",
    opencanary: "CanaryHTTP in opencanary.modules.http",
    keys: HTTP_KEYS,
    kinds: &events::KINDS,
    build: &|materials| build(materials, false),
};

/// The same over TLS. Banner, skin folder, authentication and logging are `http.*`.
pub(crate) static HTTPS: Entry = Entry {
    name: "https",
    summary: "web server with a login page, over TLS",
    opencanary: "CanaryHTTPS in opencanary.modules.https",
    keys: HTTPS_KEYS,
    kinds: &events::KINDS,
    build: &|materials| build(materials, true),
};

const HTTP_KEYS: &[Key] = &[
    Key { name: "http.enabled", shape: Shape::Flag, default: "false", doc: "Whether the HTTP service runs." },
    Key { name: "http.port", shape: Shape::Port, default: "80", doc: "The TCP port of the HTTP service." },
    Key {
        name: "http.banner",
        shape: Shape::Text,
        default: "\"Apache/2.4.71 (Debian)\"",
        doc: "The product that HTTP and HTTPS play, as its `Server` header; nginx or Apache in it decides the manners.",
    },
    Key {
        name: "http.skin",
        shape: Shape::Text,
        default: "\"basicLogin\"",
        doc: "The pages: `basicLogin` or `nasLogin`, or with `http.skindir` any name for the events.",
    },
    Key {
        name: "http.skindir",
        shape: Shape::Path,
        default: "\"\"",
        doc: "A folder with pages of your own in OpenCanary's layout, used by HTTP and HTTPS when it exists.",
    },
    Key { name: "http.skin.list", shape: Shape::List, default: "[]", doc: "Accepted and not used." },
    Key {
        name: "http.log_unimplemented_method_requests",
        shape: Shape::Flag,
        default: "false",
        doc: "Whether other methods than GET and POST on the login page are reported as 3002.",
    },
    Key {
        name: "http.log_redirect_request",
        shape: Shape::Flag,
        default: "false",
        doc: "Whether requests for `/` are reported as 3003.",
    },
    Key {
        name: "http.log_requests",
        shape: Shape::Flag,
        default: "true",
        doc: "Whether every request of HTTP and HTTPS is reported whole as 30200.",
    },
    Key {
        name: "http.auth",
        shape: Shape::OneOf(&["none", "basic", "digest", "ntlm", "negotiate"]),
        default: "\"none\"",
        doc: "The authentication that HTTP and HTTPS demand for every page.",
    },
];

const HTTPS_KEYS: &[Key] = &[
    Key { name: "https.enabled", shape: Shape::Flag, default: "false", doc: "Whether the HTTPS service runs." },
    Key { name: "https.port", shape: Shape::Port, default: "443", doc: "The TCP port of the HTTPS service." },
    Key { name: "https.skin", shape: Shape::Text, default: "\"basicLogin\"", doc: "The pages, as in `http.skin`." },
    Key {
        name: "https.certificate",
        shape: Shape::Path,
        default: "\"\"",
        doc: "A certificate chain of your own (PEM); without one a self-signed one is made.",
    },
    Key { name: "https.key", shape: Shape::Path, default: "\"\"", doc: "The key of `https.certificate` (PEM)." },
    Key {
        name: "https.domain_name",
        shape: Shape::Text,
        default: "\"\"",
        doc: "The name in the made certificate; empty for the host name.",
    },
];

/// One of the two services.
struct Web {
    /// Filled in by the first connection, when the installation's secret is there.
    sites: Sites,
    port: u16,
    tls: Option<TlsProfile>,
}

/// Makes the site from this installation's seed.
type MakeSite = Box<dyn Fn(&[u8]) -> Site + Send + Sync>;

/// The site for this installation's seed.
struct Sites {
    seed: Slot,
    make: MakeSite,
    made: std::sync::OnceLock<Arc<Site>>,
    provisional: Arc<Site>,
}

impl Sites {
    /// The site; until the secret is made, one whose file times come from the host name.
    fn site(&self) -> Arc<Site> {
        match self.seed.ready() {
            Some(seed) => Arc::clone(self.made.get_or_init(|| Arc::new((self.make)(seed)))),
            None => Arc::clone(&self.provisional),
        }
    }
}

fn build(materials: &Materials<'_>, secure: bool) -> Result<Box<dyn Service>, Rejection> {
    let settings = materials.settings;
    let prefix = if secure { "https" } else { "http" };
    let text_or = |name: &str, default: &str| {
        let text = settings.text(name);
        if text.is_empty() { default.to_owned() } else { text }
    };
    // HTTPS may be built over a key space without HTTP's keys, so their defaults stand here too.
    let banner = text_or("http.banner", "Apache/2.4.71 (Debian)");
    let skin_key = format!("{prefix}.skin");
    let skin_name = text_or(&skin_key, "basicLogin");
    let persona = Persona::of(&banner);
    let family = persona.family;
    let folder = PathBuf::from(settings.text("http.skindir"));
    let from_folder = folder.is_dir();
    let skin = if from_folder {
        Skin::from_folder(&skin_name, family, &folder).map_err(|reason| Rejection::new("http.skindir", reason))?
    } else {
        Skin::built_in(&skin_name, family, materials.host_name.as_bytes()).ok_or_else(|| {
            let known = skin::names().join("`, `");
            Rejection::new(skin_key, format!("no skin is called `{skin_name}`; there are `{known}`"))
        })?
    };
    let provisional = Site {
        persona,
        skin,
        host_name: materials.host_name.to_owned(),
        auth: match settings.text("http.auth").as_str() {
            "basic" => Auth::Basic,
            "digest" => Auth::Digest,
            "ntlm" => Auth::Ntlm,
            "negotiate" => Auth::Negotiate,
            _ => Auth::None,
        },
        secure,
        log_requests: settings.value("http.log_requests").is_none() || settings.flag("http.log_requests"),
        log_redirects: settings.flag("http.log_redirect_request"),
        log_unimplemented: settings.flag("http.log_unimplemented_method_requests"),
        planted: settings.honeycreds(prefix),
    };
    let template = provisional.clone();
    let sites = Sites {
        seed: materials.vault.slot("http-seed", Box::new(seed)),
        make: Box::new(move |seed| {
            let mut site = template.clone();
            if !from_folder && let Some(skin) = Skin::built_in(&site.skin.name, family, seed) {
                site.skin = skin;
            }
            site
        }),
        made: std::sync::OnceLock::new(),
        provisional: Arc::new(provisional),
    };
    let tls = secure.then(|| certificate(materials));
    Ok(Box::new(Web { sites, port: settings.port(&format!("{prefix}.port")), tls }))
}

/// Sixteen random bytes, drawn once for an installation.
fn seed() -> Vec<u8> {
    let mut bytes = vec![0; 16];
    // Without randomness the times are those of every installation without; no secret depends on them.
    let _ = ring::rand::SystemRandom::new().fill(&mut bytes);
    bytes
}

/// What Debian's `make-ssl-cert` writes: the host name as the only subject attribute and only
/// alternative name, RSA 2048, ten years.
fn certificate(materials: &Materials<'_>) -> TlsProfile {
    let settings = materials.settings;
    let given = settings.text("https.domain_name");
    let name = if given.is_empty() { materials.host_name.to_owned() } else { given };
    let (certificate, key) = (settings.text("https.certificate"), settings.text("https.key"));
    let both = !certificate.is_empty() && !key.is_empty();
    TlsProfile {
        name: "https".to_owned(),
        subject: vec![("CN", name.clone())],
        issuer: Vec::new(),
        names: vec![name],
        key: TlsKey::Rsa2048,
        days: 3650,
        alpn: vec![b"http/1.1".to_vec()],
        server_auth: false,
        files: both.then(|| (certificate.into(), key.into())),
    }
}

impl Service for Web {
    fn endpoints(&self) -> Vec<Endpoint> {
        let secure = self.tls.is_some();
        vec![Endpoint {
            port: self.port,
            protocol: Protocol::Tcp,
            label: if secure { "https" } else { "http" }.to_owned(),
            security: if secure { Security::Tls } else { Security::Plain },
            try_line: if secure { "curl -k https://{host}:{port}/" } else { "curl http://{host}:{port}/" },
        }]
    }

    fn dialogue(&self, _endpoint: usize, facts: &Facts) -> Box<dyn Dialogue> {
        Box::new(Http::new(self.sites.site(), facts.clone()))
    }

    fn tls(&self) -> Option<TlsProfile> {
        self.tls.clone()
    }

    fn limits(&self) -> Limits {
        Limits { idle: self.sites.provisional.persona.patience, ..Limits::default() }
    }
}
