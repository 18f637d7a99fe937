//! `aviary hub`: takes the events of many canaries and joins them into incidents.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use aviary_hub::sensors::Pace;
use aviary_hub::{Authority, Hub, Keep, Scope, Token, make_token, read_certificate};
use aviary_store::Networks;

use super::reset_password;
use super::standing::{Standing, certificate};
use super::upkeep;
use super::ways_in::{WaysIn, address};
use crate::process;

/// Start a hub: events of many canaries in, incidents out
///
/// Without a certificate of your own it makes one at its first start, and prints its fingerprint.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "Examples:\n  aviary hub\n  aviary hub --listen 0.0.0.0:8443 --name hub.example\n  \
    aviary hub --certificate hub.crt --key hub.key\n  \
    aviary hub --listen 0.0.0.0:8443 --lines 0.0.0.0:1514 --syslog-tls 0.0.0.0:6514\n  \
    aviary hub --proxy 10.0.0.5\n  aviary hub reset-password anna\n  aviary hub backup hub-2026-11-25.db")]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8443", value_parser = address)]
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
    #[command(flatten)]
    ways: WaysIn,
    /// Lets channels write files and start programs on this machine
    #[arg(long)]
    local_channels: bool,
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
    /// Remove events that are older, but for evidence: of incidents that are not closed, or were grave
    #[arg(long, value_name = "AGE", default_value = "1y", value_parser = upkeep::age)]
    keep: Duration,
    /// Remove the oldest events, but for evidence, when the store is larger
    #[arg(long, value_name = "SIZE", value_parser = upkeep::bytes)]
    keep_size: Option<u64>,
}

#[derive(clap::Subcommand)]
enum Command {
    #[command(flatten)]
    Upkeep(upkeep::Command),
    ResetPassword(reset_password::Arguments),
}

fn network(text: &str) -> Result<Networks, String> {
    Networks::parse(text).ok_or_else(|| "no address or network such as 10.0.0.0/8".to_owned())
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    match &arguments.command {
        Some(Command::ResetPassword(arguments)) => return reset_password::run(arguments),
        Some(Command::Upkeep(command)) => return upkeep::run(command),
        None => {}
    }
    process::start_logging();
    let folder = upkeep::folder(arguments.state.as_deref());
    process::make_private(&folder)?;
    let authority = Arc::new(Authority::open(&folder, aviary_hub::clock::now())?);
    let certificate = match (&arguments.certificate, &arguments.key) {
        (Some(certificate), Some(key)) => read_certificate(certificate, key, &authority)?,
        _ => certificate(&folder, &arguments.name, arguments.listen, &authority)?,
    };
    let runtime = process::runtime()?;
    runtime.block_on(async {
        let standing = Standing::open(&folder, certificate, arguments.listen, arguments.local_channels).await?;
        say(&format!("Aviary hub at https://{} (state in {})", standing.address, folder.display()));
        say(&format!("certificate SHA-256 {}", standing.certificate.fingerprint));
        let ways = arguments.ways.open().await?;
        for (way, address) in ways.addresses() {
            say(&format!("{} at {address}", way.word()));
        }
        if let Some(token) = first_token(&standing.hub).await? {
            say(&format!("\nA token for everything, shown this once:\n  {token}"));
        }
        let host = reached(arguments, standing.address);
        say(standing.set_up(&host).await?.trim_end());
        standing.command(authority, arguments.certificate.is_none(), pace(arguments));
        let keep = Keep { age: Some(arguments.keep), bytes: arguments.keep_size };
        let more =
            ways.run(Arc::clone(&standing.hub), Some(standing.certificate.config.clone()), process::told_to_stop());
        tokio::join!(standing.serve(arguments.proxy.clone(), keep, process::told_to_stop()), more);
        anyhow::Ok(())
    })?;
    process::end(runtime);
    Ok(ExitCode::SUCCESS)
}

/// Says something at the start. Who started it may read no further than they care to.
fn say(text: &str) {
    if !text.is_empty() {
        let _ = process::print_line(text);
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

fn pace(arguments: &Arguments) -> Pace {
    let micros = |seconds: u32| i64::from(seconds) * 1_000_000;
    Pace {
        every: micros(arguments.drill_every),
        deadline: micros(arguments.drill_deadline),
        silent: micros(arguments.silent_after),
    }
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
