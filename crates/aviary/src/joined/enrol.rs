//! Enrolling: with a token that works once, and that names the hub's authority.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_platform_verifier::BuilderVerifierExt as _;
use serde_json::{Value, json};

use super::identity::{Identity, ask_for, builder, client};

/// What somebody wants to enrol.
#[derive(Debug)]
pub(crate) struct Wish<'a> {
    /// The hub's address.
    pub(crate) url: &'a str,
    /// The token.
    pub(crate) token: &'a str,
    /// The name that the sensor shall have.
    pub(crate) name: &'a str,
    /// The canary's state folder.
    pub(crate) state: &'a Path,
    /// Whether another membership may be replaced.
    pub(crate) force: bool,
}

/// Enrols, and gives the name that the sensor has.
pub(crate) async fn enrol(wish: Wish<'_>) -> anyhow::Result<String> {
    let Wish { url, token, name, state, force } = wish;
    let folder = state.join("joined");
    if let (Ok(Some(known)), false) = (Identity::read(&folder), force) {
        bail!("this canary is `{}` at {} already; --force enrols it anew", known.name, known.url);
    }
    let Some((_, pin)) = token.split_once('.') else {
        bail!("the token is not whole: it begins with `ave_` and has a dot in it");
    };
    let url = url.trim_end_matches('/');
    if !url.starts_with("https://") {
        bail!("`{url}` is no address of a hub; it takes one such as `https://hub.example:8443`");
    }
    crate::process::make_private(&folder)?;
    let (key, request) = ask_for(name)?;
    let asked = client(trusting(pin)?)?
        .post(format!("{url}/api/v1/sensor/enrol"))
        .json(&json!({"token": token, "name": name, "request": request}))
        .send()
        .await;
    let answer = asked.map_err(|error| match chain(&error) {
        reason if reason.contains("ApplicationVerificationFailure") => anyhow::anyhow!(
            "what answers at {url} is not the hub that the token is of: it has another authority; nothing was sent to it"
        ),
        reason => anyhow::anyhow!("the hub at {url} cannot be reached: {reason}"),
    })?;
    let status = answer.status();
    let said: Value = answer.json().await.with_context(|| format!("what answers at {url} is no hub ({status})"))?;
    if !status.is_success() {
        bail!("the hub refused: {}", said["detail"].as_str().unwrap_or("without a reason"));
    }
    Ok(Identity::write(&folder, url, pin != "-", &said, &key)?.name)
}

/// Everything that went wrong, from the outside in.
pub(super) fn chain(error: &reqwest::Error) -> String {
    aviary_sensor::chain(error)
}

/// Whom to trust while enrolling: the authority that the token names, or whom the system trusts.
fn trusting(pin: &str) -> anyhow::Result<ClientConfig> {
    if pin == "-" {
        return Ok(builder()?.with_platform_verifier()?.with_no_client_auth());
    }
    let verifier = Pinned { pin: pin.to_ascii_lowercase(), provider: Arc::new(ring::default_provider()) };
    Ok(builder()?.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth())
}

/// Trusts one authority, known by its SHA-256, and what it signed. The server must show it.
#[derive(Debug)]
struct Pinned {
    pin: String,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let unknown = || Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
        let authority = intermediates.iter().find(|shown| aviary_hub::fingerprint(shown) == self.pin);
        let mut roots = RootCertStore::empty();
        roots.add(authority.ok_or_else(unknown)?.clone().into_owned())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider));
        let verifier = verifier.build().map_err(|_| unknown())?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
