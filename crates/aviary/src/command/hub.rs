//! `aviary hub`: takes the events of many canaries and joins them into incidents.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use aviary_hub::{Certificate, Hub, Scope, Token, make_token, own_certificate, read_certificate};
use aviary_store::{Networks, Options, Sqlite};
use tokio::net::TcpListener;

use super::reset_password;
use crate::process;

/// Start a hub: events of many canaries in, incidents out
///
/// Without a certificate of your own it makes one at its first start, and prints its fingerprint.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "Examples:\n  aviary hub\n  aviary hub --listen 0.0.0.0:8443 --name hub.example\n  \
    aviary hub --certificate hub.crt --key hub.key\n  \
    aviary hub --proxy 10.0.0.5\n  aviary hub reset-password anna")]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8443")]
    listen: SocketAddr,
    /// Names and addresses by which sensors and people reach it, for the certificate that it makes
    #[arg(long, value_name = "NAME")]
    name: Vec<String>,
    /// A certificate in PEM, with its chain
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// An address or network of proxies whose X-Forwarded-For is believed
    #[arg(long, value_name = "CIDR", value_parser = network)]
    proxy: Vec<Networks>,
    /// State folder
    #[arg(long, value_name = "FOLDER")]
    state: Option<PathBuf>,
}

#[derive(clap::Subcommand)]
enum Command {
    ResetPassword(reset_password::Arguments),
}

fn network(text: &str) -> Result<Networks, String> {
    Networks::parse(text).ok_or_else(|| "no address or network such as 10.0.0.0/8".to_owned())
}

/// Where a hub's state is.
pub(super) fn folder(given: Option<&PathBuf>) -> PathBuf {
    given.cloned().unwrap_or_else(|| process::state_dir(None).join("hub"))
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if let Some(Command::ResetPassword(arguments)) = &arguments.command {
        return reset_password::run(arguments);
    }
    process::start_logging();
    let folder = folder(arguments.state.as_ref());
    process::make_private(&folder)?;
    let certificate = match (&arguments.certificate, &arguments.key) {
        (Some(certificate), Some(key)) => read_certificate(certificate, key)?,
        _ => certificate(&folder, &arguments.name, arguments.listen)?,
    };
    let runtime = process::runtime()?;
    runtime.block_on(async {
        let standing = Standing::open(&folder, certificate, arguments.listen).await?;
        println!("Aviary hub at https://{} (state in {})", standing.address, folder.display());
        println!("certificate SHA-256 {}", standing.certificate.fingerprint);
        if let Some(token) = first_token(&standing.hub).await? {
            println!("\nA token for everything, shown this once:\n  {token}");
        }
        let host = reached(arguments, standing.address);
        print!("{}", standing.set_up(&host).await?);
        standing.serve(arguments.proxy.clone(), process::told_to_stop()).await;
        anyhow::Ok(())
    })?;
    process::end(runtime);
    Ok(ExitCode::SUCCESS)
}

/// A hub that listens, and serves nobody yet.
pub(super) struct Standing {
    pub(super) hub: Arc<Hub>,
    pub(super) address: SocketAddr,
    pub(super) certificate: Certificate,
    listener: TcpListener,
}

impl Standing {
    pub(super) async fn open(folder: &Path, certificate: Certificate, listen: SocketAddr) -> anyhow::Result<Self> {
        let store = Sqlite::open(Options::at(folder.join("hub.db")))?;
        let hub = Arc::new(Hub::new(Arc::new(store), aviary_hub::clock::now).await?);
        let listener = TcpListener::bind(listen).await;
        let listener = listener.with_context(|| format!("`{listen}` cannot be listened on"))?;
        Ok(Self { hub, address: listener.local_addr()?, certificate, listener })
    }

    /// How to make the first admin; nothing when there is one.
    pub(super) async fn set_up(&self, host: &str) -> anyhow::Result<String> {
        let Some(token) = self.hub.people().first_link().await? else { return Ok(String::new()) };
        let said = "Nobody can sign in yet. Make the first admin here, within a day; the link works once:";
        Ok(format!("\n{said}\n  https://{host}/console/#/setup/{token}\n"))
    }

    pub(super) async fn serve(self, proxies: Vec<Networks>, stop: impl Future<Output = ()>) {
        let (router, _) = aviary_api::routes(self.hub);
        let router = aviary_api::behind(router, proxies);
        aviary_api::serve(self.listener, Some(self.certificate.config), router, stop).await;
    }
}

/// Host and port by which people reach the hub.
fn reached(arguments: &Arguments, address: SocketAddr) -> String {
    match arguments.name.first() {
        Some(name) => format!("{name}:{}", address.port()),
        None if address.ip().is_unspecified() => format!("localhost:{}", address.port()),
        None => address.to_string(),
    }
}

/// The hub's own certificate. This machine reaches it by it whatever its names are.
pub(super) fn certificate(folder: &Path, names: &[String], listen: SocketAddr) -> anyhow::Result<Certificate> {
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
    let year = i32::try_from(aviary_hub::clock::now().as_seconds() / 31_556_952 + 1970).unwrap_or(2026);
    Ok(own_certificate(folder, &names, year)?)
}

/// A token of a hub that has none yet.
async fn first_token(hub: &Hub) -> anyhow::Result<Option<String>> {
    let store = hub.store().as_ref();
    if !store.documents("token").await?.is_empty() {
        return Ok(None);
    }
    let token = Token {
        name: "first".to_owned(),
        scopes: vec![Scope::Ingest, Scope::Read, Scope::Act, Scope::Administer],
        sensor: Some("first".to_owned()),
        site: String::new(),
        nodes: Vec::new(),
    };
    Ok(Some(make_token(store, &token, "hub", hub.now()).await?))
}
