//! The hub's certificate: one's own, or one that is made at the first start.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aviary_event::Timestamp;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};

use crate::Authority;

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

/// Reads a certificate and key in PEM. Clients may come with a certificate of the hub's authority.
///
/// # Errors
/// Names the file and what is wrong with it.
pub fn read_certificate(
    certificate: &Path,
    key: &Path,
    authority: &Authority,
) -> Result<Certificate, CertificateError> {
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
        .with_client_cert_verifier(authority.verifier()?)
        .with_single_cert(chain, secret)
        .map_err(|error| file(key, format!("does not go with `{}`: {error}", certificate.display())))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Certificate { config: Arc::new(config), fingerprint })
}

/// Reads the certificate in a folder, or has the authority give one for these names.
///
/// # Errors
/// When it cannot be made, written or read.
pub fn own_certificate(
    folder: &Path,
    names: &[String],
    authority: &Authority,
    now: Timestamp,
) -> Result<Certificate, CertificateError> {
    let (certificate, key) = (folder.join("hub.crt"), folder.join("hub.key"));
    if !certificate.exists() {
        let made = authority.for_hub(names, now)?;
        write(&key, &made.1, 0o600)?;
        write(&certificate, &made.0, 0o644)?;
    }
    read_certificate(&certificate, &key, authority)
}

pub(crate) fn write(path: &Path, text: &str, mode: u32) -> Result<(), CertificateError> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    written.map_err(|error| CertificateError::File {
        path: path.to_owned(),
        reason: format!("cannot be written: {error}"),
    })
}
