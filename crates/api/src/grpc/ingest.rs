//! `aviary.ingest.v1.Ingest`: batches one way, answers the other.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aviary_hub::{Hub, Scope, Source, Word};
use aviary_proto::ingest::v1::answer::Outcome;
use aviary_proto::ingest::v1::ingest_server::{Ingest, IngestServer};
use aviary_proto::ingest::v1::{Answer, Batch, NotNow, Rejection, Taken};
use futures_core::Stream;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use super::status::{AGAIN, of_store, token};
use crate::unfold::unfold;

/// Largest message, bytes, unpacked.
const LARGEST: usize = 16 << 20;
/// Most events of a batch.
const EVENTS: usize = 10_000;
/// How long a token that was revoked still holds a stream open.
const TRUSTED: Duration = Duration::from_secs(2);

/// The service, with what it reads and how much.
pub(super) fn server(hub: Arc<Hub>) -> IngestServer<Door> {
    IngestServer::new(Door { hub }).accept_compressed(CompressionEncoding::Gzip).max_decoding_message_size(LARGEST)
}

/// The way in.
pub(super) struct Door {
    hub: Arc<Hub>,
}

/// A stream of one sender.
struct Conversation {
    hub: Arc<Hub>,
    metadata: MetadataMap,
    source: Source,
    /// When the token was looked up last.
    known: Instant,
    batches: Streaming<Batch>,
    /// The sequence of the batch before.
    last: u64,
    ended: bool,
}

#[tonic::async_trait]
impl Ingest for Door {
    type DeliverStream = Pin<Box<dyn Stream<Item = Result<Answer, Status>> + Send>>;

    async fn deliver(&self, request: Request<Streaming<Batch>>) -> Result<Response<Self::DeliverStream>, Status> {
        let (metadata, _, batches) = request.into_parts();
        let source = source(&self.hub, &metadata).await?;
        let hub = Arc::clone(&self.hub);
        let known = Instant::now();
        let conversation = Conversation { hub, metadata, source, known, batches, last: 0, ended: false };
        let answers = unfold(conversation, |mut conversation| {
            Box::pin(async move {
                let answer = conversation.next().await?;
                conversation.ended = answer.is_err();
                Some((answer, conversation))
            })
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

async fn source(hub: &Hub, metadata: &MetadataMap) -> Result<Source, Status> {
    let token = token(hub, metadata, Scope::Ingest).await?;
    token.source().ok_or_else(|| Status::permission_denied("the token stands for no sensor"))
}

impl Conversation {
    /// The answer to the next batch; nothing when the sender has no more.
    async fn next(&mut self) -> Option<Result<Answer, Status>> {
        if self.ended {
            return None;
        }
        match self.batches.message().await {
            Ok(Some(batch)) => Some(self.answer(batch).await),
            Ok(None) => None,
            Err(status) => Some(Err(status)),
        }
    }

    async fn answer(&mut self, batch: Batch) -> Result<Answer, Status> {
        if batch.sequence <= self.last {
            let words =
                format!("`sequence` is {}, and was {} before; accepted: what is greater", batch.sequence, self.last);
            return Err(Status::invalid_argument(words));
        }
        if batch.events.is_empty() || batch.events.len() > EVENTS {
            let words = format!("a batch has {} events; accepted: 1 to {EVENTS}", batch.events.len());
            return Err(Status::invalid_argument(words));
        }
        self.last = batch.sequence;
        if self.known.elapsed() > TRUSTED {
            self.source = source(&self.hub, &self.metadata).await?;
            self.known = Instant::now();
        }
        let bytes = batch.events.iter().map(bytes::Bytes::len).fold(0, usize::saturating_add);
        let mut place = self.hub.room().place(&self.source.sensor);
        if !place.grow(bytes) {
            let reason = "too much of this sensor waits to be stored".to_owned();
            let outcome = Outcome::NotNow(NotNow { retry_after_ms: AGAIN, reason });
            return Ok(Answer { sequence: batch.sequence, outcome: Some(outcome) });
        }
        let outcome = match self.hub.take(&self.source, &batch.events).await {
            Ok(words) => Outcome::Taken(taken(&words)),
            Err(error) => {
                let status = of_store(&error);
                if status.code() != tonic::Code::Unavailable {
                    return Err(status);
                }
                Outcome::NotNow(NotNow { retry_after_ms: AGAIN, reason: error.to_string() })
            }
        };
        Ok(Answer { sequence: batch.sequence, outcome: Some(outcome) })
    }
}

fn taken(words: &[Word]) -> Taken {
    let mut taken = Taken::default();
    for (index, word) in (0..).zip(words) {
        match word {
            Word::Accepted(_) => taken.accepted = taken.accepted.saturating_add(1),
            Word::Duplicate(_) => taken.duplicate = taken.duplicate.saturating_add(1),
            Word::Refused(why) => {
                taken.rejected.push(Rejection { index, id: String::new(), reason: why.to_string() });
            }
        }
    }
    taken
}
