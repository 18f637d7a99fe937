//! A module as a service.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aviary_config::Settings;
use aviary_service::{Dialogue, Endpoint, Facts, Limits, Outbox, Protocol, Security, Service, TlsKey, TlsProfile};
use rhai::{Blob, Map};

use crate::dialogue::Scripted;
use crate::limits;
use crate::manifest::Transport;
use crate::module::Module;
use crate::session::{Session, report_failure};
use crate::values::from_json;

/// A module with its settings.
pub(crate) struct Running {
    pub(crate) module: Module,
    port: u16,
    config: Arc<Map>,
    host_name: String,
    failures: AtomicU64,
}

impl Running {
    pub(crate) fn new(module: Module, settings: &Settings, host_name: &str) -> Self {
        let manifest = &module.manifest;
        let key = |name: &str| format!("{}.{name}", manifest.name);
        let port = match settings.port(&key("port")) {
            0 => manifest.port,
            port => port,
        };
        let value = |name: &str, default| from_json(settings.get(&key(name)).unwrap_or(default), 0);
        let config = manifest.config.iter().map(|(name, default)| (name.as_str().into(), value(name, default)));
        let config = Arc::new(config.collect());
        Self { port, config, host_name: host_name.to_owned(), failures: AtomicU64::new(0), module }
    }

    pub(crate) fn session(&self, facts: &Facts) -> Session {
        Session::new(facts, Arc::clone(&self.config), self.module.manifest.logtype)
    }

    /// Writes to the log that the module failed, ever more seldom: strangers cause these lines.
    pub(crate) fn note_failure(&self, error: &str) {
        let times = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if times.is_power_of_two() {
            let name = self.module.manifest.name.as_str();
            tracing::warn!(module = name, times, "a module failed, its session ended: {}", error.escape_debug());
        }
    }
}

/// The service.
pub(crate) struct ScriptService(pub(crate) Arc<Running>);

impl Service for ScriptService {
    fn endpoints(&self) -> Vec<Endpoint> {
        let manifest = &self.0.module.manifest;
        let (protocol, security, try_line) = match manifest.transport {
            Transport::Tcp => (Protocol::Tcp, Security::Plain, "nc {host} {port}"),
            Transport::Tls => (Protocol::Tcp, Security::Tls, "openssl s_client -connect {host}:{port}"),
            Transport::Udp => (Protocol::Udp, Security::Plain, "nc -u {host} {port}"),
        };
        vec![Endpoint { port: self.0.port, protocol, label: manifest.name.clone(), security, try_line }]
    }

    fn dialogue(&self, _endpoint: usize, facts: &Facts) -> Box<dyn Dialogue> {
        Box::new(Scripted::new(Arc::clone(&self.0), facts))
    }

    fn datagram(&self, _endpoint: usize, facts: &Facts, bytes: &[u8], out: &mut Outbox) {
        let session = self.0.session(facts);
        let (seen, unseen) = bytes.split_at_checked(limits::WINDOW).unwrap_or((bytes, b""));
        session.begin(out.now());
        session.set_unused(unseen);
        let called = self.0.module.call("on_datagram", (session.clone(), Blob::from(seen)));
        session.finish(called.is_err(), out);
        if let Err(error) = called {
            self.0.note_failure(&error);
            report_failure(&error, bytes, out);
        }
    }

    fn tls(&self) -> Option<TlsProfile> {
        let manifest = &self.0.module.manifest;
        (manifest.transport == Transport::Tls).then(|| TlsProfile {
            name: manifest.name.clone(),
            subject: vec![("CN", self.0.host_name.clone())],
            issuer: Vec::new(),
            names: vec![self.0.host_name.clone()],
            key: TlsKey::EcdsaP256,
            days: 3650,
            server_auth: false,
            alpn: Vec::new(),
            files: None,
        })
    }

    fn limits(&self) -> Limits {
        Limits {
            idle: Duration::from_secs(self.0.module.manifest.idle),
            unconsumed: limits::WINDOW.saturating_mul(2),
            received: limits::RECEIVED,
            connections: limits::CONNECTIONS,
            ..Limits::default()
        }
    }
}
