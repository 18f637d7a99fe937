//! `aviary hub`: takes the events of many canaries and joins them into incidents.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use aviary_hub::sensors::{CERTIFICATE_DAYS, Pace};
use aviary_hub::{Authority, Certificate, Hub, Scope, Token, make_token, own_certificate, read_certificate};
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
    /// Seconds from one proof of each sensor that it detects to the next
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u32).range(5..=86_400))]
    drill_every: u32,
    /// Seconds that the events of a proof may take
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(5..=3600))]
    drill_deadline: u32,
    /// Seconds after which a sensor that is not heard of is silent
    #[arg(long, value_name = "SECONDS", default_value_t = 90, value_parser = clap::value_parser!(u32).range(6..=86_400))]
    silent_after: u32,
    /// State folder
    #[arg(long, value_name = "FOLDER")]
    state: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    process::start_logging();
    let folder = arguments.state.clone().unwrap_or_else(|| process::state_dir(None).join("hub"));
    process::make_private(&folder)?;
    let authority = Arc::new(Authority::open(&folder, aviary_hub::clock::now())?);
    let certificate = certificate(arguments, &folder, &authority)?;
    let store = Sqlite::open(Options::at(folder.join("hub.db")))?;
    let runtime = process::runtime()?;
    runtime.block_on(async {
        let hub = Arc::new(Hub::new(Arc::new(store), aviary_hub::clock::now).await?);
        let listener = tokio::net::TcpListener::bind(arguments.listen).await;
        let listener = listener.with_context(|| format!("`{}` cannot be listened on", arguments.listen))?;
        let address = listener.local_addr()?;
        println!("Aviary hub at https://{address} (state in {})", folder.display());
        println!("certificate SHA-256 {}", certificate.fingerprint);
        if let Some(token) = first_token(&hub).await? {
            println!("\nA token for everything, shown this once:\n  {token}");
        }
        hub.sensors().open(authority, arguments.certificate.is_none(), pace(arguments), CERTIFICATE_DAYS);
        let watched = Arc::clone(&hub);
        let watch = tokio::runtime::Handle::current().spawn(async move { watched.watch().await });
        let (router, _) = aviary_api::routes(hub);
        aviary_api::serve(listener, Some(certificate.config), router, process::told_to_stop()).await;
        watch.abort();
        anyhow::Ok(())
    })?;
    process::end(runtime);
    Ok(ExitCode::SUCCESS)
}

fn pace(arguments: &Arguments) -> Pace {
    let micros = |seconds: u32| i64::from(seconds) * 1_000_000;
    Pace {
        every: micros(arguments.drill_every),
        deadline: micros(arguments.drill_deadline),
        silent: micros(arguments.silent_after),
    }
}

fn certificate(arguments: &Arguments, folder: &std::path::Path, authority: &Authority) -> anyhow::Result<Certificate> {
    if let (Some(certificate), Some(key)) = (&arguments.certificate, &arguments.key) {
        return Ok(read_certificate(certificate, key, authority)?);
    }
    let mut names = arguments.name.clone();
    if names.is_empty() {
        names.extend(nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()));
        names.push("localhost".to_owned());
        let address = arguments.listen.ip();
        names.push(if address.is_unspecified() { "127.0.0.1".to_owned() } else { address.to_string() });
    }
    if names.iter().any(String::is_empty) {
        bail!("`--name` is empty");
    }
    Ok(own_certificate(folder, &names, authority, aviary_hub::clock::now())?)
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
