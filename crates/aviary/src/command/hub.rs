//! `aviary hub`: takes the events of many canaries and joins them into incidents.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use aviary_hub::{Certificate, Channels, Hub, Scope, Seal, Token, make_token, own_certificate, read_certificate};
use aviary_store::{Options, Sqlite};

use crate::process;

/// Start a hub: events of many canaries in, incidents out
///
/// Without a certificate of your own it makes one at its first start, and prints its fingerprint.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  aviary hub\n  aviary hub --listen 0.0.0.0:8443 --name hub.example\n  \
    aviary hub --certificate hub.crt --key hub.key")]
pub(super) struct Arguments {
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
    /// Lets channels write files and start programs on this machine
    #[arg(long)]
    local_channels: bool,
    /// State folder
    #[arg(long, value_name = "FOLDER")]
    state: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    process::start_logging();
    let folder = arguments.state.clone().unwrap_or_else(|| process::state_dir(None).join("hub"));
    process::make_private(&folder)?;
    let certificate = certificate(arguments, &folder)?;
    let store = Sqlite::open(Options::at(folder.join("hub.db")))?;
    let runtime = process::runtime()?;
    runtime.block_on(async {
        let channels =
            Channels { seal: Some(Seal::open(&folder.join("channels.key"))?), local: arguments.local_channels };
        let hub = Hub::new(Arc::new(store), aviary_hub::clock::now).await?.with_channels(channels);
        let hub = Arc::new(hub);
        let listener = tokio::net::TcpListener::bind(arguments.listen).await;
        let listener = listener.with_context(|| format!("`{}` cannot be listened on", arguments.listen))?;
        let address = listener.local_addr()?;
        println!("Aviary hub at https://{address} (state in {})", folder.display());
        println!("certificate SHA-256 {}", certificate.fingerprint);
        if let Some(token) = first_token(&hub).await? {
            println!("\nA token for everything, shown this once:\n  {token}");
        }
        let (router, _) = aviary_api::routes(Arc::clone(&hub));
        let (ended, end) = tokio::sync::oneshot::channel();
        let serve = async {
            aviary_api::serve(listener, Some(certificate.config), router, process::told_to_stop()).await;
            let _ = ended.send(());
        };
        let stop = async { drop(end.await) };
        tokio::join!(serve, aviary_hub::alert(hub, stop));
        anyhow::Ok(())
    })?;
    process::end(runtime);
    Ok(ExitCode::SUCCESS)
}

fn certificate(arguments: &Arguments, folder: &std::path::Path) -> anyhow::Result<Certificate> {
    if let (Some(certificate), Some(key)) = (&arguments.certificate, &arguments.key) {
        return Ok(read_certificate(certificate, key)?);
    }
    let mut names = arguments.name.clone();
    if names.is_empty() {
        names.extend(nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()));
        names.push("localhost".to_owned());
        let address = arguments.listen.ip();
        names.push(if address.is_unspecified() { "127.0.0.1".to_owned() } else { address.to_string() });
    }
    let year = i32::try_from(aviary_hub::clock::now().as_seconds() / 31_556_952 + 1970).unwrap_or(2026);
    if names.iter().any(String::is_empty) {
        bail!("`--name` is empty");
    }
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
