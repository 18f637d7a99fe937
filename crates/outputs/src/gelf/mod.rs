//! `aviary.gelf`: Graylog's own format, GELF 1.1.
//!
//! | key | meaning |
//! |---|---|
//! | `address` | `["host", port]` or `"host"` (port 12201); `["localhost", 12201]` if missing |
//! | `transport` | `udp`, `tcp` or `tls`; `udp` if missing |
//! | `url` | instead of both: the HTTP input, `https://graylog.example:12201/gelf` |
//! | `compression` | over UDP and HTTP: `gzip`, `zlib` or `none`; `gzip` over UDP, `none` over HTTP |
//! | `chunk_size` | over UDP: largest datagram, 100 to 8192 bytes; 1420 |
//! | `verify` | `false` trusts any certificate, a path names the only trusted ones (PEM); `true` |
//! | `headers` | over HTTP: an object of names and texts |
//! | `timeout` | over HTTP: seconds, or `[connecting, answering]`; 10 |
//!
//! `short_message` is a line for people, `full_message` the formatted line, which is the whole event.
//! What a search asks for has a field of its own: `_logtype`, `_kind`, `_service`, `_src_ip`,
//! `_dst_port`, `_event_id`, `_seq`, and `_logdata_NAME` for every member of `logdata`, always as text.
//! `level` is 6 for the canary's own events, 1 for a planted credential, else 4.
//!
//! Over UDP chunks grow beyond `chunk_size` before there would be more than 128 of them. A message
//! sent again has the same message id. Over TCP a NUL ends each message, and nothing is compressed,
//! since Graylog does not take it there. Over HTTP each message is a request, and 202 says that
//! Graylog has stored it in its own journal: the one way with an answer.
//!
//! LIMIT: 1 MiB compressed over UDP. Not tried with a Graylog server: the messages were read by a
//! decoder written from the specification. Reference: <https://go2docs.graylog.org/current/getting_in_log_data/gelf.html>.

mod chunks;
mod message;

use std::sync::Arc;
use std::time::Duration;

use aviary_event::Event;
use aviary_output::{Blueprint, Delivery, DeliveryError, Entry, Failure, Output, Rejection, Someday};
use aviary_wire::gzip::gzip;
use reqwest::Url;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};

use crate::http::{Http, address, headers, judge_access};
use crate::options::Options;
use crate::syslog::link::{Framing, Kind, Message, Sender, Target};
use crate::syslog::target;
use crate::tls::{Tls, Trust};
use message::Encoder;

/// Graylog.
pub(crate) static ENTRY: Entry = Entry {
    name: "gelf",
    classes: &["aviary.gelf"],
    summary: "GELF messages to Graylog over UDP, TCP, TLS or HTTP",
    options: &["address", "transport", "url", "compression", "chunk_size", "verify", "headers", "timeout", "template"],
    build,
};

/// GELF's port, whatever it runs over.
const PORT: u16 = 12_201;

/// What a datagram may have without a network on the way that cuts it up, bytes.
const CHUNK: u64 = 1420;

fn build(blueprint: &Blueprint<'_>) -> Result<Box<dyn Output>, Rejection> {
    let options = Options(blueprint.options);
    let encoder = Encoder::new(blueprint)?;
    let http = Http::new(options)?;
    let headers = headers(options)?;
    let trust = Trust::read(options)?;
    let largest = u64::try_from(chunks::LARGEST).unwrap_or(u64::MAX);
    let size = usize::try_from(options.whole("chunk_size", CHUNK, 100, largest)?).unwrap_or(chunks::LARGEST);
    let compression = match options.choice("compression", &["gzip", "zlib", "none"])? {
        Some("gzip") => Some(Compression::Gzip),
        Some("zlib") => Some(Compression::Zlib),
        Some(_) => Some(Compression::None),
        None => None,
    };
    let transport = options.choice("transport", &["udp", "tcp", "tls"])?;
    let target = target(options, PORT)?;
    if matches!(target, Target::Path(_)) {
        return Err(Rejection::new("address", "is a path; it takes `[\"host\", port]` or `\"host\"`"));
    }
    if let Some(url) = options.text("url")? {
        if options.get("address").is_some() || transport.is_some() {
            return Err(Rejection::new("url", "is given, and so is `address` or `transport`; one of both is enough"));
        }
        let url = address("url", url, "https://graylog.example:12201/gelf")?;
        let compression = compression.unwrap_or(Compression::None);
        return Ok(Box::new(OverHttp { encoder, url, headers, http, compression }));
    }
    let sender = match transport {
        None | Some("udp") => Sender::new("GELF", target, Kind::Datagram),
        Some(stream) => {
            if compression.is_some_and(|compression| compression != Compression::None) {
                return Err(Rejection::new("compression", "is given, but Graylog takes none over TCP"));
            }
            let tls = (stream == "tls").then(|| Tls::new(trust));
            let sender = Sender::new("GELF", target, Kind::Stream).with(Framing::Nul, tls);
            return Ok(Box::new(OverStream { encoder, sender }));
        }
    };
    let compression = compression.unwrap_or(Compression::Gzip);
    Ok(Box::new(OverDatagrams { encoder, sender, size, compression, unnamed: 0 }))
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Compression {
    Gzip,
    Zlib,
    None,
}

impl Compression {
    fn apply(self, text: String) -> Vec<u8> {
        match self {
            Self::Gzip => gzip(text.as_bytes()),
            Self::Zlib => miniz_oxide::deflate::compress_to_vec_zlib(text.as_bytes(), 6),
            Self::None => text.into_bytes(),
        }
    }
}

struct OverStream {
    encoder: Encoder,
    sender: Sender,
}

impl Output for OverStream {
    fn deliver<'a>(&'a mut self, batch: &'a [Arc<Event>]) -> Delivery<'a> {
        Box::pin(async move { self.sender.send(batch.iter().map(|event| self.encoder.encode(event))).await })
    }

    fn in_doubt(&mut self) -> Someday<'_> {
        Box::pin(self.sender.in_doubt())
    }

    fn batch_limit(&self) -> usize {
        self.sender.batch_limit()
    }
}

struct OverDatagrams {
    encoder: Encoder,
    sender: Sender,
    size: usize,
    compression: Compression,
    /// Messages sent of events that have no name of their own.
    unnamed: u64,
}

impl OverDatagrams {
    fn pieces(&mut self, event: &Event) -> Result<Message, DeliveryError> {
        let id = match &event.aviary {
            // The random half of a UUID of version 7.
            Some(ours) => ours.id.as_u64_pair().1,
            None => {
                self.unnamed = self.unnamed.wrapping_add(1);
                self.unnamed
            }
        };
        let message = self.compression.apply(self.encoder.encode(event));
        let length = message.len();
        match chunks::split(message, id.to_be_bytes(), self.size) {
            Some(pieces) => Ok(Message::Pieces(pieces)),
            None => {
                let reason = format!("{length} bytes do not fit into 128 chunks, which is the most that GELF has");
                Err(DeliveryError::Refused { reason })
            }
        }
    }
}

impl Output for OverDatagrams {
    fn deliver<'a>(&'a mut self, batch: &'a [Arc<Event>]) -> Delivery<'a> {
        Box::pin(async move {
            let mut messages = Vec::with_capacity(batch.len());
            let mut refusal = None;
            for event in batch {
                match self.pieces(event) {
                    Ok(pieces) => messages.push(pieces),
                    Err(error) => {
                        refusal = Some(error);
                        break;
                    }
                }
            }
            self.sender.send_messages(&messages).await?;
            match refusal {
                Some(error) => Err(Failure { delivered: messages.len(), error }),
                None => Ok(()),
            }
        })
    }

    fn batch_limit(&self) -> usize {
        // A burst of datagrams that no receiver's buffer holds would be lost.
        16
    }
}

struct OverHttp {
    encoder: Encoder,
    url: Url,
    headers: HeaderMap,
    http: Http,
    compression: Compression,
}

impl OverHttp {
    async fn send(&mut self, event: &Event) -> Result<(), DeliveryError> {
        let mut request = self.http.client().await?.post(self.url.clone()).headers(self.headers.clone());
        request = request.header(CONTENT_TYPE, "application/json");
        request = match self.compression {
            Compression::Gzip => request.header(CONTENT_ENCODING, "gzip"),
            Compression::Zlib => request.header(CONTENT_ENCODING, "deflate"),
            Compression::None => request,
        };
        let answer = self.http.send(request.body(self.compression.apply(self.encoder.encode(event)))).await?;
        if (200..300).contains(&answer.status) { Ok(()) } else { Err(judge_access(&answer)) }
    }
}

impl Output for OverHttp {
    fn deliver<'a>(&'a mut self, batch: &'a [Arc<Event>]) -> Delivery<'a> {
        Box::pin(async move {
            for (delivered, event) in batch.iter().enumerate() {
                self.send(event).await.map_err(|error| Failure { delivered, error })?;
            }
            Ok(())
        })
    }

    /// One, so that a time limit never cuts between events that arrived and events that did not.
    fn batch_limit(&self) -> usize {
        1
    }

    fn time_limit(&self) -> Duration {
        self.http.time_limit()
    }
}
