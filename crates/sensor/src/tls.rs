//! Certificates of this installation, and TLS as a filter between socket and dialogue.

use std::io::{Read as _, Write as _};
use std::sync::{Arc, OnceLock};

use aviary_service::{Slot, TlsFacts, TlsKey, TlsProfile, TlsStart, Vault, Wrapping};
use aviary_wire::fingerprint::{ClientHello, Heard, HelloReader};
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, SanType};
use rsa::pkcs8::EncodePrivateKey as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection};

use crate::clock;

/// Bytes of an unfinished handshake kept for the report of its failure.
const HEARD: usize = 4096;
/// Longest frame of a wrapping.
const FRAME: usize = 64 * 1024;

/// Why a service has no TLS.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// The operator's certificate or key.
    #[error("`{path}` is not usable: {reason}")]
    File {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Our own certificate.
    #[error("certificate cannot be made")]
    Make(#[from] rcgen::Error),
    /// rustls.
    #[error("certificate is refused")]
    Rustls(#[from] rustls::Error),
}

/// TLS of one service, ready once its key is made.
#[derive(Debug, Clone)]
pub struct Tls {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    profile: TlsProfile,
    key: Slot,
    certificate: Slot,
    config: OnceLock<Config>,
    /// For TLS inside another protocol.
    wrapped: OnceLock<Config>,
}

type Config = Result<Arc<ServerConfig>, String>;

impl Tls {
    /// TLS by a profile. Nothing is made yet; see [`Tls::wait`].
    #[must_use]
    pub fn new(profile: TlsProfile, vault: &dyn Vault) -> Self {
        let kind = profile.key;
        let key = vault.slot(&format!("tls/{}.key", profile.name), Box::new(move || make_key(kind)));
        let certificate = {
            let (profile, key) = (profile.clone(), key.clone());
            vault.slot(
                &format!("tls/{}.crt", profile.name.clone()),
                Box::new(move || make_certificate(&profile, key.wait())),
            )
        };
        Self { inner: Arc::new(Inner { profile, key, certificate, config: OnceLock::new(), wrapped: OnceLock::new() }) }
    }

    /// The rustls configuration, for TLS bare or inside another protocol, if it is there already.
    #[must_use]
    pub fn ready(&self, wrapped: bool) -> Option<Arc<ServerConfig>> {
        let bare = self.inner.config.get()?;
        // Cheap once key and certificate are there.
        if wrapped { self.wait_for(true).ok() } else { bare.as_ref().ok().cloned() }
    }

    /// The rustls configuration for bare TLS; blocks while key and certificate are made.
    ///
    /// # Errors
    /// The reason why there is none, for people.
    pub fn wait(&self) -> Config {
        self.wait_for(false)
    }

    /// The rustls configuration for TLS bare or inside another protocol; blocks like [`Tls::wait`].
    ///
    /// # Errors
    /// The reason why there is none, for people.
    pub fn wait_for(&self, wrapped: bool) -> Config {
        let place = if wrapped { &self.inner.wrapped } else { &self.inner.config };
        place.get_or_init(|| self.configure(wrapped).map(Arc::new).map_err(|error| crate::chain(&error))).clone()
    }

    fn configure(&self, wrapped: bool) -> Result<ServerConfig, TlsError> {
        let profile = &self.inner.profile;
        let own = profile.files.as_ref().and_then(|(certificate, key)| match read_files(certificate, key) {
            Ok(pair) => Some(pair),
            Err(error) => {
                tracing::warn!(service = profile.name, %error, "the certificate of the configuration cannot be used; one of the canary's own is");
                None
            }
        });
        let (chain, key) = match own {
            Some(pair) => pair,
            None => (
                vec![CertificateDer::from(self.inner.certificate.wait().to_vec())],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.inner.key.wait().to_vec())),
            ),
        };
        let versions = if wrapped { &[&rustls::version::TLS12][..] } else { rustls::DEFAULT_VERSIONS };
        let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(versions)?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        if !wrapped {
            config.alpn_protocols.clone_from(&profile.alpn);
        }
        config.session_storage = rustls::server::ServerSessionMemoryCache::new(64);
        Ok(config)
    }
}

type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn read_files(certificate: &std::path::Path, key: &std::path::Path) -> Result<Pair, TlsError> {
    let refuse = |path: &std::path::Path, reason: String| TlsError::File { path: path.display().to_string(), reason };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| refuse(certificate, error.to_string()))?;
    if chain.is_empty() {
        return Err(refuse(certificate, "no PEM certificate in it".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| refuse(key, error.to_string()))?;
    Ok((chain, key))
}

/// PKCS#8. An RSA key takes about a second; ring has no generator for it.
fn make_key(kind: TlsKey) -> Vec<u8> {
    match kind {
        TlsKey::EcdsaP256 => KeyPair::generate().map(|pair| pair.serialize_der()).unwrap_or_default(),
        TlsKey::Rsa2048 => rsa::RsaPrivateKey::new(&mut rand_core::OsRng, 2048)
            .ok()
            .and_then(|key| key.to_pkcs8_der().ok())
            .map(|der| der.as_bytes().to_vec())
            .unwrap_or_default(),
    }
}

fn make_certificate(profile: &TlsProfile, key: &[u8]) -> Vec<u8> {
    try_make_certificate(profile, key).unwrap_or_else(|error| {
        tracing::error!(service = profile.name, %error, "certificate cannot be made");
        Vec::new()
    })
}

fn try_make_certificate(profile: &TlsProfile, key: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
    let der = PrivatePkcs8KeyDer::from(key.to_vec());
    let pair = match profile.key {
        TlsKey::EcdsaP256 => KeyPair::from_pkcs8_der_and_sign_algo(&der, &rcgen::PKCS_ECDSA_P256_SHA256)?,
        TlsKey::Rsa2048 => KeyPair::from_pkcs8_der_and_sign_algo(&der, &rcgen::PKCS_RSA_SHA256)?,
    };
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished(&profile.subject);
    params.subject_alt_names =
        profile.names.iter().filter_map(|name| name.as_str().try_into().ok().map(SanType::DnsName)).collect();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    if profile.server_auth {
        params.key_usages = vec![KeyUsagePurpose::KeyEncipherment, KeyUsagePurpose::DataEncipherment];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    }
    // It began between one and nine months ago: a certificate as old as the process betrays it.
    let mut random = [0; 20];
    let _ = getrandom::fill(&mut random);
    // A short one is in the first third of its life.
    let age_days = (30 + i64::from(random[0])).min(i64::from(profile.days / 3));
    let begin = clock::now().as_seconds() - age_days * 86_400 - i64::from(random[1]) * 331;
    let moment = |seconds: i64| {
        let date = jiff::Timestamp::from_second(seconds).unwrap_or_default().to_zoned(jiff::tz::TimeZone::UTC).date();
        rcgen::date_time_ymd(i32::from(date.year()), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    params.not_before = moment(begin);
    params.not_after = moment(begin + i64::from(profile.days) * 86_400);
    random[0] = random[0] & 0x3f | 0x40;
    params.serial_number = Some(rcgen::SerialNumber::from_slice(&random));
    if profile.issuer.is_empty() {
        return Ok(params.self_signed(&pair)?.der().to_vec());
    }
    let mut issuer = CertificateParams::default();
    issuer.distinguished_name = distinguished(&profile.issuer);
    let issuer_key = KeyPair::generate()?;
    let issuer = rcgen::Issuer::new(issuer, issuer_key);
    Ok(params.signed_by(&pair, &issuer)?.der().to_vec())
}

fn distinguished(attributes: &[(&'static str, String)]) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    for (attribute, value) in attributes {
        let kind = match *attribute {
            "C" => DnType::CountryName,
            "ST" => DnType::StateOrProvinceName,
            "L" => DnType::LocalityName,
            "O" => DnType::OrganizationName,
            "OU" => DnType::OrganizationalUnitName,
            _ => DnType::CommonName,
        };
        name.push(kind, value.as_str());
    }
    name
}

/// One TLS connection, without a socket.
pub(crate) struct Filter {
    connection: ServerConnection,
    told: bool,
    heard: Vec<u8>,
    /// Gone once the client's hello is whole, or known to be none.
    hello: Option<Box<HelloReader>>,
    /// What was heard of the handshake before the filter was there.
    first: Vec<u8>,
    /// Carries the handshake; gone once that is finished.
    wrapping: Option<Box<dyn Wrapping>>,
    /// The part of a frame that has come.
    frame: Vec<u8>,
    /// For the socket.
    ready: Vec<u8>,
}

/// What came of bytes from the peer.
#[derive(Debug, Default)]
pub(crate) struct Decrypted {
    /// What the peer said inside.
    pub plain: Vec<u8>,
    /// The client's first message has just become whole.
    pub hello: Option<Box<ClientHello>>,
    /// The handshake has just been completed.
    pub secured: Option<TlsFacts>,
    /// The peer broke TLS; an alert waits in [`Filter::outgoing`].
    pub error: Option<String>,
    /// The peer closed TLS in good order.
    pub closed: bool,
}

impl Filter {
    /// A new server side.
    ///
    /// # Errors
    /// When rustls refuses the configuration.
    pub(crate) fn new(config: Arc<ServerConfig>, start: TlsStart) -> Result<Self, rustls::Error> {
        let mut connection = ServerConnection::new(config)?;
        connection.set_buffer_limit(None);
        let TlsStart { heard: first, wrapping } = start;
        let (heard, frame, ready) = (Vec::new(), Vec::new(), Vec::new());
        let hello = Some(Box::default());
        Ok(Self { connection, told: false, heard, hello, first, wrapping, frame, ready })
    }

    /// Takes bytes from the peer. `plain` is bounded by the input's length, since TLS expands.
    pub(crate) fn receive(&mut self, bytes: &[u8]) -> Decrypted {
        let mut result = Decrypted::default();
        let first = std::mem::take(&mut self.first);
        if self.connection.is_handshaking() {
            for bytes in [&first, bytes] {
                let room = HEARD.saturating_sub(self.heard.len());
                self.heard.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
            }
        }
        self.take(&first, &mut result);
        if self.wrapping.is_none() {
            self.take(bytes, &mut result);
        } else {
            self.frame.extend_from_slice(bytes);
            self.unwrap_frames(&mut result);
        }
        if !self.told && !self.connection.is_handshaking() {
            self.told = true;
            self.heard = Vec::new();
            self.hello = None;
            result.secured = Some(self.facts());
        }
        result
    }

    /// Takes in whole frames while the handshake goes on. What follows it is bare TLS.
    fn unwrap_frames(&mut self, result: &mut Decrypted) {
        let waiting = std::mem::take(&mut self.frame);
        let mut rest = waiting.as_slice();
        while result.error.is_none() {
            let Some(wrapping) = &mut self.wrapping else { break };
            match wrapping.take_out(rest) {
                Ok(Some((used @ 1.., tls))) => {
                    rest = rest.get(used..).unwrap_or_default();
                    self.take(tls, result);
                    // The last flight of the handshake is wrapped too.
                    self.collect();
                    if !self.connection.is_handshaking() {
                        self.wrapping = None;
                    }
                }
                Ok(_) if rest.len() < FRAME => {
                    self.frame = rest.to_vec();
                    return;
                }
                Ok(_) => result.error = Some("a frame that does not end".to_owned()),
                Err(reason) => result.error = Some(reason),
            }
        }
        if result.error.is_none() {
            self.take(rest, result);
        }
    }

    /// Takes in TLS.
    fn take(&mut self, mut bytes: &[u8], result: &mut Decrypted) {
        if let Some(reader) = &mut self.hello {
            match reader.push(bytes) {
                Heard::Part => {}
                Heard::Whole(hello) => (self.hello, result.hello) = (None, Some(hello)),
                Heard::Other => self.hello = None,
            }
        }
        while !bytes.is_empty() {
            match self.connection.read_tls(&mut bytes) {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
            match self.connection.process_new_packets() {
                Ok(state) => {
                    let waiting = state.plaintext_bytes_to_read();
                    let from = result.plain.len();
                    result.plain.resize(from + waiting, 0);
                    let read = match result.plain.get_mut(from..) {
                        Some(space) => self.connection.reader().read(space).unwrap_or(0),
                        None => 0,
                    };
                    result.plain.truncate(from + read);
                    result.closed = state.peer_has_closed();
                }
                Err(error) => {
                    // Whole records before the broken one are what the peer said.
                    let mut chunk = [0; 4096];
                    while let Ok(n @ 1..) = self.connection.reader().read(&mut chunk) {
                        result.plain.extend_from_slice(chunk.get(..n).unwrap_or_default());
                    }
                    result.error = Some(error.to_string());
                    break;
                }
            }
        }
    }

    /// What the peer sent in a handshake that did not end, as far as it was kept.
    pub(crate) fn take_heard(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.heard)
    }

    /// Encrypts a reply; what is to be sent comes from [`Filter::outgoing`].
    pub(crate) fn send(&mut self, plain: &[u8]) {
        let _ = self.connection.writer().write_all(plain);
    }

    /// Says goodbye in TLS.
    pub(crate) fn close(&mut self) {
        self.connection.send_close_notify();
    }

    /// Bytes for the socket.
    pub(crate) fn outgoing(&mut self) -> Vec<u8> {
        self.collect();
        std::mem::take(&mut self.ready)
    }

    fn collect(&mut self) {
        let mut bytes = Vec::new();
        while self.connection.wants_write() {
            if self.connection.write_tls(&mut bytes).is_err() {
                break;
            }
        }
        match &mut self.wrapping {
            Some(wrapping) if !bytes.is_empty() => self.ready.extend(wrapping.put_in(&bytes)),
            _ => self.ready.append(&mut bytes),
        }
    }

    /// Whether the handshake is still going on.
    #[must_use]
    pub(crate) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    fn facts(&self) -> TlsFacts {
        TlsFacts {
            server_name: self.connection.server_name().map(|name| AsRef::<str>::as_ref(name).to_owned()),
            alpn: self.connection.alpn_protocol().map(<[u8]>::to_vec),
            version: match self.connection.protocol_version() {
                Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
                _ => "TLSv1.2",
            },
            cipher: self
                .connection
                .negotiated_cipher_suite()
                .map(|suite| format!("{:?}", suite.suite()))
                .unwrap_or_default(),
        }
    }
}

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Filter").field("handshaking", &self.is_handshaking()).finish_non_exhaustive()
    }
}
