//! HTTP as outputs speak it: one client each, its time limits and trusted certificates, and what an
//! answer means.

mod answer;
mod collector;

use std::time::Duration;

use aviary_output::{DeliveryError, Rejection};
use reqwest::header::HeaderMap;
use reqwest::{Client, RequestBuilder, Url};
use serde_json::Value;

use crate::options::{Options, seconds_of};
use crate::tls::{Identity, Trust, configure_as};
use crate::worker::temporary;
pub(crate) use answer::{QUOTED, judge, retry_after};
pub(crate) use collector::{authorization, below, headers, judge_access, login, quoted, try_again, with_login};

/// Times that a request may take, when the file does not say.
const CONNECTING: Duration = Duration::from_secs(5);
const ANSWERING: Duration = Duration::from_secs(10);

/// Bytes of an answer that are kept; the rest is not read.
const READ: usize = 64 * 1024;

/// The same where an answer has a part for each event.
const READ_LARGE: usize = 16 << 20;

/// Who we say we are, unless a handler's headers say otherwise.
pub(crate) const AGENT: &str = concat!("aviary/", env!("CARGO_PKG_VERSION"));

/// A client in the making; it is made at the first delivery, since that reads certificates.
pub(crate) struct Http {
    trust: Trust,
    identity: Option<Identity>,
    connecting: Duration,
    answering: Duration,
    client: Option<Client>,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// At most 64 KiB and a piece, or so much more as was asked for.
    pub(crate) body: Vec<u8>,
}

impl Http {
    /// Reads the handler's `verify` and `timeout`.
    pub(crate) fn new(options: Options<'_>) -> Result<Self, Rejection> {
        let (connecting, answering) = timeouts(options)?;
        Ok(Self { trust: Trust::read(options)?, identity: None, connecting, answering, client: None })
    }

    /// The same with a certificate of the canary's own.
    pub(crate) fn with_identity(self, identity: Option<Identity>) -> Self {
        Self { identity, ..self }
    }

    /// Reads the certificates again for the next request.
    pub(crate) fn renew(&mut self) {
        self.client = None;
    }

    /// More than a request may take, so that the request's own limit says what was slow.
    pub(crate) fn time_limit(&self) -> Duration {
        self.connecting + self.answering + Duration::from_secs(5)
    }

    pub(crate) async fn client(&mut self) -> Result<Client, DeliveryError> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        let builder = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(AGENT)
            .connect_timeout(self.connecting)
            .timeout(self.connecting + self.answering)
            .tcp_keepalive(Duration::from_secs(60))
            .pool_max_idle_per_host(1);
        let (trust, identity) = (self.trust.clone(), self.identity.clone());
        let made = tokio::task::spawn_blocking(move || {
            let config = configure_as(&trust, identity.as_ref())?;
            builder.tls_backend_preconfigured(config).build().map_err(|error| error.to_string())
        });
        let client = match made.await {
            Ok(Ok(client)) => client,
            Ok(Err(error)) => return Err(temporary(format!("cannot set up TLS: {error}"))),
            Err(error) => return Err(temporary(format!("cannot set up TLS: {error}"))),
        };
        self.client = Some(client.clone());
        Ok(client)
    }

    /// Sends a request that [`Http::client`] began, and reads the answer.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Answer, DeliveryError> {
        self.send_for(request, READ).await
    }

    /// The same for an answer that says something of each event of a batch: up to 16 MiB.
    pub(crate) async fn send_large(&self, request: RequestBuilder) -> Result<Answer, DeliveryError> {
        self.send_for(request, READ_LARGE).await
    }

    async fn send_for(&self, request: RequestBuilder, most: usize) -> Result<Answer, DeliveryError> {
        let mut answer = request.send().await.map_err(|error| unsent(&error))?;
        let status = answer.status().as_u16();
        let mut body = Vec::new();
        // The body only explains; an answer that breaks off in it is an answer all the same.
        while let Ok(Some(piece)) = answer.chunk().await {
            body.extend_from_slice(&piece);
            if body.len() >= most {
                break;
            }
        }
        Ok(Answer { status, headers: std::mem::take(answer.headers_mut()), body })
    }
}

/// An address, `http` or `https`. What the file says is not repeated, since it often holds a secret.
pub(crate) fn address(key: &str, text: &str, example: &str) -> Result<Url, Rejection> {
    Url::parse(text.trim())
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| Rejection::new(key, format!("is no address; it takes one such as `{example}`")))
}

/// Why no answer came. The address is left out, since it often holds a secret.
fn unsent(error: &reqwest::Error) -> DeliveryError {
    let mut reason = match (error.is_timeout(), error.is_connect()) {
        (true, true) => "no connection within the time limit".to_owned(),
        (true, false) => "no answer within the time limit".to_owned(),
        (false, true) => "cannot connect".to_owned(),
        (false, false) => "cannot send".to_owned(),
    };
    // The last of the causes is the one that people can act on.
    let mut cause = std::error::Error::source(error);
    let mut last = None;
    while let Some(error) = cause {
        last = Some(error.to_string());
        cause = error.source();
    }
    if let Some(last) = last {
        reason.push_str(": ");
        reason.push_str(&last);
    }
    temporary(reason)
}

pub(crate) fn timeouts(options: Options<'_>) -> Result<(Duration, Duration), Rejection> {
    match options.get("timeout").and_then(Value::as_array).map(Vec::as_slice) {
        Some([connecting, answering]) => Ok((seconds_of("timeout", connecting)?, seconds_of("timeout", answering)?)),
        _ => {
            let answering = options.seconds("timeout")?.unwrap_or(ANSWERING);
            Ok((answering.min(CONNECTING), answering))
        }
    }
}
