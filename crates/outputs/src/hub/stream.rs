//! Batches over gRPC: one stream that is kept, on a connection of its own.

use std::collections::VecDeque;
use std::error::Error;
use std::time::Duration;

use aviary_output::{DeliveryError, Rejection};
use aviary_proto::ingest::v1::answer::Outcome as Said;
use aviary_proto::ingest::v1::ingest_client::IngestClient;
use aviary_proto::ingest::v1::{Answer, Batch};
use bytes::Bytes;
use http::{HeaderMap, Uri};
use reqwest::Url;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Status, Streaming};

use super::Outcome;
use super::settled::verdicts;
use connection::{Connection, Door};

mod connection;

use crate::http::timeouts;
use crate::options::Options;
use crate::tls::{Identity, Trust};
use crate::worker::temporary;

/// Bytes of a batch that every hub takes; what is not larger was not refused for its size.
const ANYHOW: usize = 1 << 20;

/// Longest answer, bytes: more than ten thousand rejections take.
const ANSWER: usize = 16 << 20;

pub(super) struct Stream {
    door: Door,
    origin: Uri,
    headers: HeaderMap,
    packed: bool,
    connecting: Duration,
    answering: Duration,
    link: Option<Link>,
}

/// A stream on which every batch so far was answered.
struct Link {
    batches: mpsc::Sender<Batch>,
    answers: Streaming<Answer>,
    sequence: u64,
    connection: Connection,
}

/// What came instead of an answer.
enum Trouble {
    /// A status, from the hub or from the library that lost the connection.
    Status(Status),
    /// The hub ended the stream without a complaint.
    Ended,
    /// Something else that another stream will not mend by itself.
    Else(DeliveryError),
}

impl Stream {
    pub(super) fn new(
        options: Options<'_>,
        base: &Url,
        headers: HeaderMap,
        identity: Option<Identity>,
        packed: bool,
    ) -> Result<Self, Rejection> {
        if !matches!(base.path(), "" | "/") || base.query().is_some() {
            return Err(Rejection::new(
                "url",
                "has a path; over gRPC it takes one without, `https://hub.example:8443`",
            ));
        }
        let no_address =
            || Rejection::new("url", "is no address for gRPC; it takes one such as `https://hub.example:8443`");
        let host = base.host_str().ok_or_else(no_address)?;
        let port = base.port_or_known_default().ok_or_else(no_address)?;
        let origin = Uri::builder().scheme(base.scheme()).authority(format!("{host}:{port}")).path_and_query("/");
        let (connecting, answering) = timeouts(options)?;
        Ok(Self {
            door: Door {
                host: host.trim_matches(['[', ']']).to_owned(),
                port,
                tls: (base.scheme() == "https").then_some((Trust::read(options)?, identity)),
            },
            origin: origin.build().map_err(|_| no_address())?,
            headers,
            packed,
            connecting,
            answering,
            link: None,
        })
    }

    pub(super) async fn send(&mut self, events: Vec<Bytes>) -> Result<Outcome, DeliveryError> {
        let count = events.len();
        let size: usize = events.iter().map(Bytes::len).sum();
        // Taken out, so that what is given up half way costs the stream, and no answer is taken for another's.
        let kept = self.link.take().filter(Link::stands);
        let again = kept.is_some();
        let mut answered = self.exchange(kept, events.clone()).await;
        // A kept stream may have ended while nobody looked. The hub knows what it has, so sending twice does no harm.
        if again && matches!(&answered, Err(Trouble::Ended | Trouble::Status(_))) && !is_about_size(&answered) {
            answered = self.exchange(None, events).await;
        }
        let answer = match answered {
            Ok(answer) => answer,
            Err(Trouble::Else(error)) => return Err(error),
            Err(Trouble::Ended) => return Err(temporary("the hub ended the stream without an answer".to_owned())),
            Err(Trouble::Status(status)) => return judge(&status, size),
        };
        self.read(answer, count)
    }

    fn read(&mut self, answer: Answer, count: usize) -> Result<Outcome, DeliveryError> {
        match answer.outcome {
            Some(Said::Taken(taken)) => {
                let settled = u64::from(taken.accepted).saturating_add(u64::from(taken.duplicate));
                let rejected: VecDeque<_> =
                    taken.rejected.into_iter().map(|one| (one.index.into(), one.reason)).collect();
                verdicts(count, settled, rejected.into_iter()).map(Outcome::Settled).map_err(|error| {
                    self.link = None;
                    temporary(format!("not an answer of a hub: {error}"))
                })
            }
            Some(Said::NotNow(not_now)) => Err(DeliveryError::Temporary {
                reason: format!("the hub takes nothing now: {}", not_now.reason.trim()),
                retry_after: (not_now.retry_after_ms > 0).then(|| Duration::from_millis(not_now.retry_after_ms.into())),
            }),
            None => Err(temporary("the hub gives an answer of a later version than this canary knows".to_owned())),
        }
    }

    /// Sends a batch on a stream that is kept or on a new one, and waits for its answer.
    async fn exchange(&mut self, kept: Option<Link>, events: Vec<Bytes>) -> Result<Answer, Trouble> {
        let sequence = kept.as_ref().map_or(0, |link| link.sequence).saturating_add(1);
        let batch = Batch { sequence, events };
        let late = |_| Trouble::Else(temporary("no answer within the time limit".to_owned()));
        let connection = match &kept {
            Some(_) => None,
            None => match timeout(self.connecting, self.door.connect()).await {
                Ok(made) => Some(made.map_err(|reason| Trouble::Else(temporary(reason)))?),
                Err(_) => return Err(Trouble::Else(temporary("no connection within the time limit".to_owned()))),
            },
        };
        let attempt = async {
            let mut link = match (kept, connection) {
                (Some(link), _) => {
                    link.batches.try_send(batch).map_err(|_| Trouble::Ended)?;
                    link
                }
                (None, Some(connection)) => self.open(connection, batch).await.map_err(Trouble::Status)?,
                (None, None) => return Err(Trouble::Ended),
            };
            let answer = link.answers.message().await.map_err(Trouble::Status)?.ok_or(Trouble::Ended)?;
            if answer.sequence != sequence {
                let reason =
                    format!("not an answer of a hub: batch {sequence} was sent, batch {} answered", answer.sequence);
                return Err(Trouble::Else(temporary(reason)));
            }
            Ok((Link { sequence, ..link }, answer))
        };
        let (link, answer) = timeout(self.answering, attempt).await.map_err(late)??;
        self.link = Some(link);
        Ok(answer)
    }

    /// Opens a stream; its first batch goes with it, since some hubs say nothing before they have read one.
    async fn open(&self, connection: Connection, batch: Batch) -> Result<Link, Status> {
        let (batches, queue) = mpsc::channel(1);
        let sequence = batch.sequence;
        let _ = batches.try_send(batch);
        let client = IngestClient::with_origin(connection.requests(), self.origin.clone());
        let mut client = client.max_decoding_message_size(ANSWER);
        if self.packed {
            client = client.send_compressed(CompressionEncoding::Gzip);
        }
        let mut request = Request::new(ReceiverStream::new(queue));
        *request.metadata_mut() = MetadataMap::from_headers(self.headers.clone());
        let answers = client.deliver(request).await?.into_inner();
        Ok(Link { batches, answers, sequence, connection })
    }
}

impl Link {
    fn stands(&self) -> bool {
        self.connection.stands() && !self.batches.is_closed()
    }
}

fn is_about_size(answered: &Result<Answer, Trouble>) -> bool {
    matches!(answered, Err(Trouble::Status(status)) if matches!(status.code(), Code::OutOfRange | Code::ResourceExhausted))
}

fn judge(status: &Status, size: usize) -> Result<Outcome, DeliveryError> {
    let reason = words(status);
    match status.code() {
        Code::OutOfRange | Code::ResourceExhausted if size > ANYHOW => Ok(Outcome::Indigestible(reason)),
        Code::InvalidArgument => Ok(Outcome::Indigestible(reason)),
        _ => {
            // gRPC's own word for it (proposal A6).
            let asked =
                status.metadata().get("grpc-retry-pushback-ms").and_then(|asked| asked.to_str().ok()?.parse().ok());
            Err(DeliveryError::Temporary { reason, retry_after: asked.map(Duration::from_millis) })
        }
    }
}

/// What a status says, for people.
fn words(status: &Status) -> String {
    // A cause means that nobody said so: the connection was lost, or what came was not gRPC.
    let mut cause = status.source();
    let mut last = None;
    while let Some(error) = cause {
        last = Some(error.to_string());
        cause = error.source();
    }
    match (last, status.message().trim()) {
        (Some(last), _) => format!("the connection to the hub broke: {last}"),
        (None, "") => format!("the hub answered {:?}", status.code()),
        (None, said) => format!("the hub answered {:?}: {said}", status.code()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_concerns_the_events_is_not_tried_again() {
        let judged = |code, size| {
            let status = Status::new(code, "why");
            judge(&status, size).map_err(|error| error.to_string())
        };
        let said = |code: &str| format!("the hub answered {code}: why");
        assert_eq!(judged(Code::InvalidArgument, 10), Ok(Outcome::Indigestible(said("InvalidArgument"))));
        assert_eq!(judged(Code::OutOfRange, ANYHOW + 1), Ok(Outcome::Indigestible(said("OutOfRange"))));
        assert_eq!(judged(Code::ResourceExhausted, ANYHOW + 1), Ok(Outcome::Indigestible(said("ResourceExhausted"))));
        assert_eq!(judged(Code::ResourceExhausted, ANYHOW), Err(said("ResourceExhausted")));
        for code in [Code::Unauthenticated, Code::PermissionDenied, Code::Unimplemented, Code::Internal, Code::Ok] {
            assert_eq!(judged(code, 10), Err(said(&format!("{code:?}"))));
        }
    }

    #[test]
    fn a_hub_may_say_how_long_to_wait() {
        let mut status = Status::unavailable("");
        status.metadata_mut().insert("grpc-retry-pushback-ms", "1500".parse().expect("a value"));
        let Err(DeliveryError::Temporary { reason, retry_after }) = judge(&status, 1) else { panic!("not temporary") };
        assert_eq!((reason.as_str(), retry_after), ("the hub answered Unavailable", Some(Duration::from_millis(1500))));
    }
}
