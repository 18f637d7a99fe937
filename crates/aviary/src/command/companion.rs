//! The hub beside the canary of `aviary up`: on the same machine, in the same process, joined by a token of its own.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use aviary_config::{Handler, Settings};
use aviary_hub::sensors::Pace;
use aviary_hub::{Authority, Hub, Keep, Scope, Token, find_token, make_token};
use serde_json::{Map, json};

use super::standing::{Standing, certificate};
use crate::process;

/// The class of an output to a hub.
const CLASS: &str = "aviary.hub";
/// The name of the output to it; an output of the config that is called `hub` is another one.
const OUTPUT: &str = "hub (here)";
/// Where the console is, unless that port is taken.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8443);

/// How long it keeps events that are no evidence, as `aviary hub` does.
const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// A hub that knows this machine's canary.
pub(super) struct Companion {
    standing: Standing,
    folder: PathBuf,
    token: String,
}

/// Whether a configuration names a hub of its own.
pub(super) fn has_hub(settings: &Settings) -> bool {
    settings.handlers().iter().any(|handler| handler.class == CLASS)
}

impl Companion {
    /// Opens it in `hub` below the canary's state folder.
    ///
    /// # Errors
    /// When another one has its store, the port is taken, or the folder cannot be written.
    pub(super) async fn open(state: &Path, listen: Option<SocketAddr>) -> anyhow::Result<Self> {
        let folder = state.join("hub");
        process::make_private(&folder)?;
        let authority = Arc::new(Authority::open(&folder, aviary_hub::clock::now())?);
        let certificate = certificate(&folder, &[], listen.unwrap_or(LISTEN), &authority)?;
        let standing = match listen {
            Some(listen) => Standing::open(&folder, certificate, listen, false).await,
            None if is_free(LISTEN) => Standing::open(&folder, certificate, LISTEN, false).await,
            None => Standing::open(&folder, certificate, SocketAddr::new(LISTEN.ip(), 0), false).await,
        };
        let standing = standing.context("the hub cannot start; `--canary-only` does without")?;
        standing.command(authority, true, Pace::default());
        let token = token(&standing.hub, &folder.join("canary.token")).await?;
        Ok(Self { standing, folder, token })
    }

    /// The output that leads there.
    pub(super) fn output(&self) -> Handler {
        let mut options = Map::new();
        options.insert("url".to_owned(), json!(format!("https://{}", self.here())));
        options.insert("token".to_owned(), json!(self.token));
        options.insert("verify".to_owned(), json!(self.folder.join("ca.crt")));
        Handler::beside(OUTPUT, CLASS, options)
    }

    /// Where it is, as this machine says it.
    fn here(&self) -> SocketAddr {
        let address = self.standing.address;
        let ip = if address.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { address.ip() };
        SocketAddr::new(ip, address.port())
    }

    /// Where the console is, and how to make the first admin.
    pub(super) async fn greeting(&self) -> anyhow::Result<String> {
        let here = self.here();
        let mut out = format!("console  https://{here}/console/\n");
        let fingerprint = &self.standing.certificate.fingerprint;
        out.push_str(&format!("         the certificate is its own; its SHA-256 is {fingerprint}\n"));
        out.push_str(&self.standing.set_up(&here.to_string()).await?);
        Ok(out)
    }

    /// Serves until `stop` is done.
    pub(super) async fn serve(self, stop: impl Future<Output = ()>) {
        let keep = Keep { age: Some(YEAR), bytes: None };
        self.standing.serve(Vec::new(), keep, stop).await;
    }
}

fn is_free(address: SocketAddr) -> bool {
    std::net::TcpListener::bind(address).is_ok()
}

/// The canary's token, kept beside the store. One that the hub does not know, since it was revoked or the store is
/// another one, is made anew.
async fn token(hub: &Hub, path: &Path) -> anyhow::Result<String> {
    let store = hub.store().as_ref();
    let kept = std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    if find_token(store, &kept).await?.is_some_and(|token| token.scopes.contains(&Scope::Ingest)) {
        return Ok(kept);
    }
    let token = Token {
        name: "canary of this machine".to_owned(),
        scopes: vec![Scope::Ingest],
        sensor: Some("this-machine".to_owned()),
        site: String::new(),
        nodes: Vec::new(),
    };
    let made = make_token(store, &token, "hub", hub.now()).await?;
    let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| writeln!(file, "{made}").and_then(|()| file.sync_all()));
    written.with_context(|| format!("`{}` cannot be written", path.display()))?;
    Ok(made)
}
