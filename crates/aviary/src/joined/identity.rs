//! Who a sensor is to its hub, and who the hub is to it: a few files in the state folder.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;
use serde_json::{Value, json};

/// Longest time for a connection.
const CONNECTING: Duration = Duration::from_secs(10);
/// Longest time for an answer: a hub that has nothing to say keeps a question for twenty seconds.
const ANSWERING: Duration = Duration::from_secs(60);

/// Who a sensor is to its hub.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    folder: PathBuf,
    /// Where the hub is.
    pub(super) url: String,
    /// The sensor's name there.
    pub(super) name: String,
    /// Whether the hub shows a certificate of its own authority, which is trusted for it and nobody else.
    pub(super) is_pinned: bool,
    /// When the certificate is to be renewed, microseconds since 1970.
    pub(super) renew_at: i64,
}

impl Identity {
    /// Reads it; `None` where nobody enrolled.
    pub(super) fn read(folder: &Path) -> anyhow::Result<Option<Self>> {
        let path = folder.join("hub.json");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("`{}` cannot be read", path.display())),
        };
        let value: Value =
            serde_json::from_str(&text).with_context(|| format!("`{}` is not JSON; enrol again", path.display()))?;
        let (Some(url), Some(name)) = (value["url"].as_str(), value["name"].as_str()) else {
            bail!("`{}` names no hub; enrol again with --force", path.display());
        };
        Ok(Some(Self {
            folder: folder.to_owned(),
            url: url.to_owned(),
            name: name.to_owned(),
            is_pinned: value["pinned"] == true,
            renew_at: value["renew_at"].as_i64().unwrap_or(0),
        }))
    }

    /// The file of the certificate and its key: one file, so that nobody sees one of another time than the other.
    pub(super) fn certificate(&self) -> PathBuf {
        self.folder.join("sensor.pem")
    }

    /// The file of the hub's authority.
    pub(super) fn authority(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// Writes a membership that the hub gave, in words of its answer, with the key that it was asked for.
    pub(super) fn write(
        folder: &Path,
        url: &str,
        is_pinned: bool,
        answer: &Value,
        key: &KeyPair,
    ) -> anyhow::Result<Self> {
        let text = |name: &str| match answer[name].as_str() {
            Some(text) => Ok(text),
            None => bail!("the hub's answer has no `{name}`; is it a hub of another version?"),
        };
        let now = aviary_sensor::now_micros();
        let until = aviary_event::Timestamp::parse_rfc3339(text("until")?).map_or(now, |until| until.as_micros());
        let identity = Self {
            folder: folder.to_owned(),
            url: url.to_owned(),
            name: text("name")?.to_owned(),
            is_pinned,
            // After two thirds, so that a hub may be away for weeks.
            renew_at: now.saturating_add(until.saturating_sub(now) / 3 * 2),
        };
        replace(&identity.authority(), text("authority")?)?;
        replace(&identity.certificate(), &format!("{}{}", text("certificate")?, key.serialize_pem()))?;
        let told = json!({
            "url": identity.url, "name": identity.name, "pinned": is_pinned, "renew_at": identity.renew_at,
        });
        replace(&folder.join("hub.json"), &format!("{told}\n"))?;
        Ok(identity)
    }

    /// A client that trusts the hub and shows the sensor's certificate.
    pub(super) fn client(&self) -> anyhow::Result<reqwest::Client> {
        let path = self.certificate();
        let pem = fs::read(&path).with_context(|| format!("`{}` cannot be read", path.display()))?;
        let chain = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
        let chain = chain.with_context(|| format!("`{}` is no certificate", path.display()))?;
        let key = PrivateKeyDer::from_pem_slice(&pem).with_context(|| format!("`{}` has no key", path.display()))?;
        let builder = builder()?;
        let config = if self.is_pinned {
            let path = self.authority();
            let authority = CertificateDer::from_pem_file(&path);
            let mut roots = RootCertStore::empty();
            roots.add(authority.with_context(|| format!("`{}` is no certificate", path.display()))?)?;
            builder.with_root_certificates(roots).with_client_auth_cert(chain, key)?
        } else {
            builder.with_platform_verifier()?.with_client_auth_cert(chain, key)?
        };
        client(config)
    }
}

/// The versions of TLS that are spoken with a hub.
pub(super) fn builder() -> anyhow::Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?)
}

pub(super) fn client(config: ClientConfig) -> anyhow::Result<reqwest::Client> {
    let builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECTING)
        .timeout(ANSWERING)
        .pool_max_idle_per_host(1)
        .tls_backend_preconfigured(config);
    Ok(builder.build()?)
}

/// A new key, and the request for its certificate.
pub(super) fn ask_for(name: &str) -> anyhow::Result<(KeyPair, String)> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let request = params.serialize_request(&key)?.pem()?;
    Ok((key, request))
}

/// Replaces a file whole, readable for nobody else.
pub(super) fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let beside = path.with_extension("new");
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&beside, path));
    written.with_context(|| format!("`{}` cannot be written", path.display()))
}
