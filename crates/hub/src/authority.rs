//! The hub's own authority: it certifies the hub for its sensors, and each sensor for the hub.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use aviary_event::Timestamp;
use jiff::tz::TimeZone;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SerialNumber,
};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use sha2::{Digest as _, Sha256};

use crate::CertificateError;
use crate::certificate::write;

/// Days that the authority and the hub's own certificate are good for: as long as a hub stands.
const LONG: i64 = 3650;

/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;

/// Signs certificates with a key that never leaves the hub.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
    pem: String,
}

/// A certificate that the authority gave.
#[derive(Clone, Debug)]
pub struct Issued {
    /// In PEM.
    pub pem: String,
    /// SHA-256, hexadecimal.
    pub fingerprint: String,
    /// Until when it is good, microseconds since 1970.
    pub until: i64,
}

impl Authority {
    /// Reads the authority of a folder, or makes one there.
    ///
    /// # Errors
    /// When it cannot be made, written or read.
    pub fn open(folder: &Path, now: Timestamp) -> Result<Self, CertificateError> {
        let (certificate, key) = (folder.join("ca.crt"), folder.join("ca.key"));
        if !certificate.exists() {
            let made = make(now).map_err(cannot)?;
            write(&key, &made.1, 0o600)?;
            write(&certificate, &made.0, 0o644)?;
        }
        let read = |path: &Path| {
            let reason =
                |error| CertificateError::File { path: path.into(), reason: format!("cannot be read: {error}") };
            fs::read_to_string(path).map_err(reason)
        };
        let broken = |path: &Path, error: &dyn std::fmt::Display| CertificateError::File {
            path: path.into(),
            reason: format!("is not what the hub wrote there: {error}"),
        };
        let (pem, secret) = (read(&certificate)?, read(&key)?);
        let pair = KeyPair::from_pem(&secret).map_err(|error| broken(&key, &error))?;
        let issuer = Issuer::from_ca_cert_pem(&pem, pair).map_err(|error| broken(&certificate, &error))?;
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| broken(&certificate, &error))?;
        Ok(Self { issuer, der, pem })
    }

    /// Its certificate in PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// SHA-256 of its certificate, hexadecimal: what an enrolling sensor compares.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.der)
    }

    /// A certificate for the hub under these names, with the authority's own after it, and its key.
    pub(crate) fn for_hub(&self, names: &[String], now: Timestamp) -> Result<(String, String), CertificateError> {
        let mut params = CertificateParams::new(names.to_vec()).map_err(cannot)?;
        // Nothing that tells a stranger what this is.
        params.distinguished_name = called(names.first().map_or("", String::as_str));
        validity(&mut params, now, LONG);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().map_err(cannot)?;
        let signed = params.signed_by(&key, &self.issuer).map_err(cannot)?;
        Ok((format!("{}{}", signed.pem(), self.pem), key.serialize_pem()))
    }

    /// A certificate for a sensor's key. What else the request asks for is not given.
    ///
    /// # Errors
    /// When the request is none, or its signature does not fit its key.
    pub fn for_sensor(&self, request: &str, name: &str, now: Timestamp, days: i64) -> Result<Issued, CertificateError> {
        let mut request = CertificateSigningRequestParams::from_pem(request).map_err(cannot)?;
        let mut params = CertificateParams::new(Vec::new()).map_err(cannot)?;
        params.distinguished_name = called(name);
        validity(&mut params, now, days);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let mut serial = [0; 16];
        getrandom::fill(&mut serial).map_err(cannot)?;
        // A serial number is positive.
        if let Some(first) = serial.first_mut() {
            *first = *first & 0x7f | 1;
        }
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        request.params = params;
        let signed = request.signed_by(&self.issuer).map_err(cannot)?;
        let until = now.as_micros().saturating_add(days.saturating_mul(DAY));
        Ok(Issued { pem: signed.pem(), fingerprint: fingerprint(signed.der()), until })
    }

    /// Asks clients for a certificate of this authority; whoever has none may still come with a token.
    pub(crate) fn verifier(&self) -> Result<Arc<dyn ClientCertVerifier>, CertificateError> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).map_err(cannot)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        builder.allow_unauthenticated().build().map_err(cannot)
    }
}

/// SHA-256 of a certificate, hexadecimal.
#[must_use]
pub fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    crate::access::hex(&Sha256::digest(certificate))
}

fn make(now: Timestamp) -> Result<(String, String), rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = called("authority");
    validity(&mut params, now, LONG);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}

fn called(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

/// From the day before, for clocks that are behind, to the day after the last.
fn validity(params: &mut CertificateParams, now: Timestamp, days: i64) {
    let date = |days: i64| {
        let micros = now.as_micros().saturating_add(days.saturating_mul(DAY));
        let date = jiff::Timestamp::from_microsecond(micros).unwrap_or_default().to_zoned(TimeZone::UTC).date();
        let part = |value: i8| u8::try_from(value).unwrap_or(1);
        rcgen::date_time_ymd(date.year().into(), part(date.month()), part(date.day()))
    };
    params.not_before = date(-1);
    params.not_after = date(days.saturating_add(1));
}

fn cannot(error: impl std::fmt::Display) -> CertificateError {
    CertificateError::Make { reason: error.to_string() }
}
