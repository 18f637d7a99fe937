//! `aviary.hub`: a hub's ingest, over HTTP or gRPC.
//!
//! | key | meaning |
//! |---|---|
//! | `url` | `https://hub.example:8443` |
//! | `transport` | `http` or `grpc`; `http` |
//! | `token` | the canary's token |
//! | `cert`, `key` | the canary's certificate and its key, PEM files, instead of a token or beside it |
//! | `compression` | `gzip` or `none`; `gzip` |
//! | `batch` | most events a batch, 1 to 10000; 1000 |
//! | `verify`, `timeout` | as for every HTTP output; `verify` names the hub's own authority |
//!
//! The contract is `crates/proto/proto/aviary/ingest/v1/ingest.proto`. A batch is answered as a whole: what is stored
//! now, what was before, and which events are rejected, each with a reason. Rejected ones are refused here, and the
//! others count as delivered without being sent again. A batch that is too large goes in halves, and so does one
//! that the hub cannot read as such, until the event is found that it is to blame on. Everything else (a
//! wrong token, a hub that is full, stopping, older, or none at all) can be mended, and the events wait.
//!
//! Over gRPC one stream is kept, and one batch is on its way at a time. Certificates are read at each connection,
//! over HTTP after each failure, so that renewed ones need no restart.
//!
//! The line always has its `aviary` object, whatever `extended` says: its id is what makes a repetition harmless.
//!
//! Tried with Python's `http.server` and grpcio 1.85 as receivers.

mod settled;
mod stream;
mod web;

use std::sync::Arc;
use std::time::Duration;

use aviary_event::Event;
use aviary_output::{Blueprint, Delivery, DeliveryError, Entry, Failure, LineFormat, Output, Rejection};
use bytes::Bytes;
use reqwest::header::HeaderMap;

use crate::http::{Http, address, authorization, timeouts};
use crate::options::Options;
use crate::subject::strict_line;
use crate::tls::Identity;
use settled::{Settled, Verdict};
use stream::Stream;
use web::Web;

/// A hub.
pub(crate) static ENTRY: Entry = Entry {
    name: "hub",
    classes: &["aviary.hub"],
    summary: "batches to an Aviary hub over HTTP or gRPC, each event acknowledged",
    options: &["url", "transport", "token", "cert", "key", "compression", "batch", "verify", "timeout"],
    build,
};

/// Bytes of a batch after which no further event is added. A hub takes 4 MiB.
const FULL: usize = 3_000_000;

fn build(blueprint: &Blueprint<'_>) -> Result<Box<dyn Output>, Rejection> {
    let options = Options(blueprint.options);
    let example = "https://hub.example:8443";
    let base = address("url", options.needed_text("url", example)?, example)?;
    // Events go as lines of their own form, so the formatter is only checked.
    LineFormat::new(blueprint)?;
    let mut headers = HeaderMap::new();
    authorization(options, "token", "Bearer", &mut headers)?;
    let identity = Identity::read(options)?;
    let packed = options.choice("compression", &["gzip", "none"])? != Some("none");
    let batch = usize::try_from(options.whole("batch", 1000, 1, 10_000)?).unwrap_or(1000);
    let (connecting, answering) = timeouts(options)?;
    let way = match options.choice("transport", &["http", "grpc"])? {
        Some("grpc") => Way::Stream(Box::new(Stream::new(options, &base, headers, identity, packed)?)),
        _ => Way::Web(Box::new(Web::new(&base, headers, packed, Http::new(options)?.with_identity(identity)))),
    };
    // A batch may be sent in parts; the limit of each says what was slow.
    let limit = (connecting + answering + Duration::from_secs(5)) * 4;
    Ok(Box::new(Hub { way, settled: Settled::default(), batch, limit }))
}

/// How batches get there.
enum Way {
    Web(Box<Web>),
    Stream(Box<Stream>),
}

/// What became of a batch that was answered.
#[derive(Debug, PartialEq)]
enum Outcome {
    /// A verdict for each event.
    Settled(Vec<Verdict>),
    /// Nothing of it is taken together, be it for its size or since something in it makes no sense; in the hub's words.
    Indigestible(String),
}

struct Hub {
    way: Way,
    settled: Settled,
    batch: usize,
    limit: Duration,
}

impl Hub {
    async fn send(&mut self, lines: Vec<Bytes>) -> Result<Outcome, DeliveryError> {
        match &mut self.way {
            Way::Web(web) => web.send(&lines).await,
            Way::Stream(stream) => stream.send(lines).await,
        }
    }
}

/// Lines of the first events, at most `most` and as many as fit; one in any case.
fn encode(events: &[Arc<Event>], most: usize) -> Vec<Bytes> {
    let mut lines = Vec::new();
    let mut size = 0;
    for event in events.iter().take(most.max(1)) {
        let line = strict_line(event, true);
        size += line.len() + 1;
        if !lines.is_empty() && size > FULL {
            break;
        }
        lines.push(Bytes::from(line));
    }
    lines
}

impl Output for Hub {
    fn deliver<'a>(&'a mut self, batch: &'a [Arc<Event>]) -> Delivery<'a> {
        Box::pin(async move {
            let (mut delivered, mut most) = (0, usize::MAX);
            loop {
                let rest = batch.get(delivered..).unwrap_or_default();
                let (done, refusal) = self.settled.take(rest);
                delivered += done;
                if let Some(reason) = refusal {
                    return Err(Failure { delivered, error: DeliveryError::Refused { reason } });
                }
                let rest = batch.get(delivered..).unwrap_or_default();
                if rest.is_empty() {
                    return Ok(());
                }
                let lines = encode(rest, most);
                let count = lines.len();
                match self.send(lines).await.map_err(|error| Failure { delivered, error })? {
                    Outcome::Settled(verdicts) => self.settled.remember(rest, verdicts),
                    Outcome::Indigestible(_) if count > 1 => most = count / 2,
                    Outcome::Indigestible(reason) => {
                        return Err(Failure { delivered, error: DeliveryError::Refused { reason } });
                    }
                }
            }
        })
    }

    fn takes_drills(&self) -> bool {
        true
    }

    fn batch_limit(&self) -> usize {
        self.batch
    }

    fn time_limit(&self) -> Duration {
        self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(lines: &[&str]) -> Vec<Arc<Event>> {
        lines.iter().map(|line| Arc::new(Event::parse(line).expect("an event"))).collect()
    }

    #[test]
    fn a_line_is_the_canarys_own_as_strict_json() {
        let line = r#"{"aviary": {"id": "01990000-0000-7000-8000-000000000001", "kind": "login", "seq": 1, "service": "ftp", "time": "2026-11-22T22:00:01.000000+00:00"}, "logdata": {"USERNAME": "a\n\u2028"}, "logtype": 2000}"#;
        assert_eq!(encode(&events(&[line]), 9), [line]);
        let endless = encode(&events(&[r#"{"logdata": {"a": NaN}}"#]), 9);
        assert!(serde_json::from_slice::<serde_json::Value>(&endless[0]).is_ok(), "{endless:?}");
    }

    #[test]
    fn a_batch_ends_where_it_is_full_and_never_before_the_first_event() {
        let large = format!(r#"{{"logdata": "{}"}}"#, "x".repeat(FULL / 2));
        let events = events(&[&large, "{}", &large, "{}"]);
        assert_eq!((encode(&events, 9).len(), encode(&events, 1).len(), encode(&events, 0).len()), (2, 1, 1));
        assert_eq!(encode(&events[2..], 9).len(), 2);
    }
}
