//! A hub in this process: its store, its listener, its certificate.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use aviary_hub::sensors::{CERTIFICATE_DAYS, Pace};
use aviary_hub::{Authority, Certificate, Channels, Hub, Keep, Seal, own_certificate, retain};
use aviary_store::{Networks, Options, Sqlite};
use tokio::net::TcpListener;

/// A hub that listens, and serves nobody yet.
pub(super) struct Standing {
    pub(super) hub: Arc<Hub>,
    pub(super) address: SocketAddr,
    pub(super) certificate: Certificate,
    listener: TcpListener,
}

impl Standing {
    pub(super) async fn open(
        folder: &Path,
        certificate: Certificate,
        listen: SocketAddr,
        local_channels: bool,
    ) -> anyhow::Result<Self> {
        let store = Sqlite::open(Options::at(folder.join("hub.db")))?;
        let channels = Channels { seal: Some(Seal::open(&folder.join("channels.key"))?), local: local_channels };
        let hub = Arc::new(Hub::new(Arc::new(store), aviary_hub::clock::now).await?.with_channels(channels));
        let listener = TcpListener::bind(listen).await;
        let listener = listener.with_context(|| format!("`{listen}` cannot be listened on"))?;
        Ok(Self { hub, address: listener.local_addr()?, certificate, listener })
    }

    /// Takes the sensors that the authority knows, and more; `pinned` when the hub's certificate is of the authority, too.
    pub(super) fn command(&self, authority: Arc<Authority>, pinned: bool, pace: Pace) {
        self.hub.sensors().open(authority, pinned, pace, CERTIFICATE_DAYS);
    }

    /// How to make the first admin; nothing when there is one.
    pub(super) async fn set_up(&self, host: &str) -> anyhow::Result<String> {
        let Some(token) = self.hub.people().first_link().await? else { return Ok(String::new()) };
        let said = "Nobody can sign in yet. Make the first admin here, within a day; the link works once:";
        Ok(format!("\n{said}\n  https://{host}/console/#/setup/{token}\n"))
    }

    /// Serves, alerts and removes what is too old until `stop` is done.
    pub(super) async fn serve(self, proxies: Vec<Networks>, keep: Keep, stop: impl Future<Output = ()>) {
        let (router, _) = aviary_api::routes(Arc::clone(&self.hub));
        let router = aviary_api::behind(router, proxies);
        let (ended, end) = tokio::sync::oneshot::channel();
        let serve = async {
            aviary_api::serve(self.listener, Some(self.certificate.config), router, stop).await;
            let _ = ended.send(());
        };
        let work = async { tokio::join!(serve, aviary_hub::alert(Arc::clone(&self.hub), async { drop(end.await) })) };
        tokio::select! {
            _ = work => {}
            () = retain(&self.hub, keep) => {}
            () = self.hub.watch() => {}
        }
    }
}

/// The hub's own certificate. This machine reaches it by it whatever its names are.
pub(super) fn certificate(
    folder: &Path,
    names: &[String],
    listen: SocketAddr,
    authority: &Authority,
) -> anyhow::Result<Certificate> {
    if names.iter().any(String::is_empty) {
        bail!("`--name` is empty");
    }
    let mut names = names.to_vec();
    if names.is_empty() {
        names.extend(nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()));
        names.extend((!listen.ip().is_unspecified()).then(|| listen.ip().to_string()));
    }
    names.extend(["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()]);
    names.sort();
    names.dedup();
    Ok(own_certificate(folder, &names, authority, aviary_hub::clock::now())?)
}
