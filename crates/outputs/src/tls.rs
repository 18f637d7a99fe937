//! Whom an output trusts, and TLS over its own connections.

use std::path::PathBuf;
use std::sync::Arc;

use aviary_output::Rejection;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
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
        let make = async || {
            let trust = self.trust.clone();
            // Reading certificates takes milliseconds or, on a bad disk, longer.
            match tokio::task::spawn_blocking(move || configure(&trust)).await {
                Ok(made) => made.map_err(|reason| format!("cannot set up TLS: {reason}")),
                Err(error) => Err(format!("cannot set up TLS: {error}")),
            }
        };
        let config = self.config.get_or_try_init(make).await?;
        Ok((TlsConnector::from(Arc::clone(config)), name))
    }
}

fn configure(trust: &Trust) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let config = match trust {
        Trust::System => builder.with_platform_verifier().map_err(|error| error.to_string())?.with_no_client_auth(),
        Trust::Anybody => {
            let verifier = Arc::new(Indifferent(provider));
            builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
        }
        Trust::File(path) => {
            let shown = path.display();
            let pem = std::fs::read(path).map_err(|error| format!("`{shown}`: {error}"))?;
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let certificate = certificate.map_err(|error| format!("`{shown}`: {error}"))?;
                roots.add(certificate).map_err(|error| format!("`{shown}`: {error}"))?;
            }
            if roots.is_empty() {
                return Err(format!("`{shown}` holds no PEM certificate"));
            }
            builder.with_root_certificates(roots).with_no_client_auth()
        }
    };
    Ok(Arc::new(config))
}

/// `verify: false`: any certificate, as long as the peer holds its key.
#[derive(Debug)]
struct Indifferent(Arc<CryptoProvider>);

impl ServerCertVerifier for Indifferent {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
