//! Whom an output trusts, and TLS over its own connections.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aviary_output::Rejection;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WantsClientCert, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_platform_verifier::BuilderVerifierExt as _;
use serde_json::Value;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;

use crate::options::{Options, wrong};

/// Whose certificates are trusted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Trust {
    System,
    Anybody,
    File(PathBuf),
}

impl Trust {
    /// Reads `verify`.
    pub(crate) fn read(options: Options<'_>) -> Result<Self, Rejection> {
        match options.get("verify") {
            None | Some(Value::Bool(true)) => Ok(Self::System),
            Some(Value::Bool(false)) => Ok(Self::Anybody),
            Some(Value::String(path)) if is_path(path) => Ok(Self::File(PathBuf::from(path))),
            Some(other) => Err(wrong("verify", other, "true, false, or the path of a PEM file")),
        }
    }
}

/// Who the canary is to a receiver that asks for a certificate, too.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Identity {
    cert: PathBuf,
    key: PathBuf,
}

impl Identity {
    /// Reads `cert` and `key`: paths of PEM files, both or none.
    pub(crate) fn read(options: Options<'_>) -> Result<Option<Self>, Rejection> {
        let path = |key| match options.get(key) {
            None => Ok(None),
            Some(Value::String(path)) if is_path(path) => Ok(Some(PathBuf::from(path))),
            Some(other) => Err(wrong(key, other, "the path of a PEM file")),
        };
        match (path("cert")?, path("key")?) {
            (Some(cert), Some(key)) => Ok(Some(Self { cert, key })),
            (None, None) => Ok(None),
            (Some(_), None) => Err(Rejection::new("key", "is missing; with `cert` it takes the path of a PEM file")),
            (None, Some(_)) => Err(Rejection::new("cert", "is missing; with `key` it takes the path of a PEM file")),
        }
    }

    fn load(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
        let named = |path: &Path, reason: &dyn fmt::Display| format!("`{}`: {reason}", path.display());
        let pem = std::fs::read(&self.cert).map_err(|error| named(&self.cert, &error))?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        let chain = chain.map_err(|error| named(&self.cert, &error))?;
        if chain.is_empty() {
            return Err(format!("`{}` holds no PEM certificate", self.cert.display()));
        }
        let pem = std::fs::read(&self.key).map_err(|error| named(&self.key, &error))?;
        let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| named(&self.key, &error))?;
        Ok((chain, key))
    }
}

fn is_path(text: &str) -> bool {
    !text.is_empty() && !text.contains('\0')
}

/// TLS as a client. The certificates are read at the first connection, and then no more.
#[derive(Debug)]
pub(crate) struct Tls {
    trust: Trust,
    config: OnceCell<Arc<ClientConfig>>,
}

impl Tls {
    pub(crate) fn new(trust: Trust) -> Self {
        Self { trust, config: OnceCell::new() }
    }

    /// What to connect with, and the name that the certificate must have.
    pub(crate) async fn connector(&self, host: &str) -> Result<(TlsConnector, ServerName<'static>), String> {
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|_| format!("cannot set up TLS: `{host}` is no name that a certificate has"))?;
        Ok((TlsConnector::from(self.config().await?), name))
    }

    /// What to connect with, for who makes connections himself.
    pub(crate) async fn config(&self) -> Result<Arc<ClientConfig>, String> {
        let make = async || {
            let trust = self.trust.clone();
            match tokio::task::spawn_blocking(move || configure(&trust)).await {
                Ok(made) => made.map(Arc::new).map_err(|reason| format!("cannot set up TLS: {reason}")),
                Err(error) => Err(format!("cannot set up TLS: {error}")),
            }
        };
        self.config.get_or_try_init(make).await.map(Arc::clone)
    }
}

/// What [`Trust`] comes to. Reads files, which takes milliseconds or, on a bad disk, longer.
pub(crate) fn configure(trust: &Trust) -> Result<ClientConfig, String> {
    configure_as(trust, None)
}

/// The same, with a certificate of the canary's own where there is one.
pub(crate) fn configure_as(trust: &Trust, identity: Option<&Identity>) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let known = match trust {
        Trust::System => {
            let builder = builder.with_platform_verifier().map_err(|error| error.to_string())?;
            return present(builder, identity);
        }
        Trust::Anybody => None,
        Trust::File(path) => Some(Known::read(path, &provider)?),
    };
    let verifier = Arc::new(OwnChoice { provider, known });
    present(builder.dangerous().with_custom_certificate_verifier(verifier), identity)
}

fn present(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    identity: Option<&Identity>,
) -> Result<ClientConfig, String> {
    let Some(identity) = identity else { return Ok(builder.with_no_client_auth()) };
    let (chain, key) = identity.load()?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|error| format!("`{}` and `{}`: {error}", identity.cert.display(), identity.key.display()))
}

/// The certificates that a handler's `verify` names.
#[derive(Debug)]
struct Known {
    certificates: Vec<CertificateDer<'static>>,
    signers: Arc<WebPkiServerVerifier>,
}

impl Known {
    fn read(path: &Path, provider: &Arc<CryptoProvider>) -> Result<Self, String> {
        let named = |reason: &dyn fmt::Display| format!("`{}`: {reason}", path.display());
        let pem = std::fs::read(path).map_err(|error| named(&error))?;
        let mut roots = RootCertStore::empty();
        let mut certificates = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|error| named(&error))?;
            roots.add(certificate.clone()).map_err(|error| named(&error))?;
            certificates.push(certificate);
        }
        if certificates.is_empty() {
            return Err(format!("`{}` holds no PEM certificate", path.display()));
        }
        let signers = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build();
        Ok(Self { certificates, signers: signers.map_err(|error| named(&error))? })
    }
}

/// Trusts those that the operator chose; without a choice (`verify: false`) anybody who holds the key of
/// the certificate that is shown.
///
/// A certificate that is in the file itself is taken as it is, whatever names and uses it states:
/// most self-signed ones say that they are an authority, which a server's certificate must not be.
#[derive(Debug)]
struct OwnChoice {
    provider: Arc<CryptoProvider>,
    known: Option<Known>,
}

impl ServerCertVerifier for OwnChoice {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.known {
            Some(known) if !known.certificates.contains(certificate) => {
                known.signers.verify_server_cert(certificate, intermediates, name, ocsp, now)
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
