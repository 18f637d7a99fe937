//! The hub's certificate: one's own, or one that is made at the first start.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};

/// Years that a certificate of ours is good for: as long as a hub stands, since nobody but its own sensors and people
/// trusts it, by its fingerprint.
const YEARS: i32 = 10;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file of it.
    #[error("`{path}` {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// It cannot be made.
    #[error("the certificate cannot be made: {reason}")]
    Make {
        /// Why.
        reason: String,
    },
}

/// A certificate with its key, ready for a listener.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// For the listener.
    pub config: Arc<ServerConfig>,
    /// SHA-256 of the certificate, in pairs of hexadecimal digits: what a person compares at the first visit.
    pub fingerprint: String,
}

/// Reads a certificate and key in PEM.
///
/// # Errors
/// Names the file and what is wrong with it.
pub fn read_certificate(certificate: &Path, key: &Path) -> Result<Certificate, CertificateError> {
    let file = |path: &Path, reason: String| CertificateError::File { path: path.to_owned(), reason };
    let text = fs::read(certificate).map_err(|error| file(certificate, format!("cannot be read: {error}")))?;
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| file(certificate, format!("is no certificate in PEM: {error}")))?;
    let Some(first) = chain.first() else {
        return Err(file(certificate, "holds no certificate in PEM".to_owned()));
    };
    let fingerprint = Sha256::digest(first).iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":");
    let text = fs::read(key).map_err(|error| file(key, format!("cannot be read: {error}")))?;
    let secret = PrivateKeyDer::from_pem_slice(&text)
        .map_err(|error| file(key, format!("is no private key in PEM: {error}")))?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(|error| file(key, format!("does not go with `{}`: {error}", certificate.display())))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Certificate { config: Arc::new(config), fingerprint })
}

/// Reads the certificate in a folder, or makes one there that signs itself for these names.
///
/// # Errors
/// When it cannot be made, written or read.
pub fn own_certificate(folder: &Path, names: &[String], year: i32) -> Result<Certificate, CertificateError> {
    let (certificate, key) = (folder.join("hub.crt"), folder.join("hub.key"));
    if !certificate.exists() {
        let made = make(names, year).map_err(|error| CertificateError::Make { reason: error.to_string() })?;
        write(&key, &made.1, 0o600)?;
        write(&certificate, &made.0, 0o644)?;
    }
    read_certificate(&certificate, &key)
}

fn make(names: &[String], year: i32) -> Result<(String, String), rcgen::Error> {
    let mut params = CertificateParams::new(names.to_vec())?;
    params.distinguished_name = DistinguishedName::new();
    // Nothing that tells a stranger what this is.
    params.distinguished_name.push(DnType::CommonName, names.first().cloned().unwrap_or_default());
    params.not_before = rcgen::date_time_ymd(year - 1, 1, 1);
    params.not_after = rcgen::date_time_ymd(year + YEARS, 1, 1);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), CertificateError> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    written.map_err(|error| CertificateError::File {
        path: path.to_owned(),
        reason: format!("cannot be written: {error}"),
    })
}
