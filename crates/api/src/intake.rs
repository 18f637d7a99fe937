//! `POST /api/v1/events`: the way in for events.

use std::future::poll_fn;
use std::io::Read;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use aviary_hub::{Hub, Place, Scope, Source, Word};
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::Json;
use bytes::BytesMut;
use futures_core::Stream as _;
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;

use crate::Problem;
use crate::access::Caller;

/// Longest body, bytes, as it comes and unpacked.
const LONGEST: usize = 16 << 20;

/// Longest pause within a body.
const PATIENCE: Duration = Duration::from_secs(30);

/// Most events of one request.
const EVENTS: usize = 10_000;

/// What became of a batch.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Answer {
    /// Events that are stored now, and durable.
    accepted: usize,
    /// Events that were there already.
    duplicate: usize,
    /// Events that are not taken, and why. Sending them again is of no use.
    rejected: Vec<Rejected>,
}

/// An event that is not taken.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Rejected {
    /// Its line in the body, from 0.
    index: usize,
    /// Why.
    reason: String,
}

/// Takes events, a JSON object a line
///
/// Each is stored once: by `aviary.id`, or by its bytes where it has none. What is answered for is durable. A line that is
/// no event is named in `rejected` and holds up no other; when no line is taken, the status is 400.
#[utoipa::path(
    post, path = "/api/v1/events", tag = "events", security(("token" = ["ingest"])),
    request_body(content = String, content_type = "application/x-ndjson", description = "Lines; `Content-Encoding` may be gzip or zstd"),
    responses(
        (status = 200, body = Answer),
        (status = 400, body = Answer, description = "No line is an event"),
        (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 408, body = Problem, description = "The body does not go on"),
        (status = 413, body = Problem, description = "More than 16 MiB or 10,000 lines"),
        (status = 415, body = Problem, description = "An encoding that is not known"),
        (status = 429, body = Problem, description = "Too much waits to be stored; nothing was taken. `Retry-After` says when to ask again"),
        (status = 503, body = Problem, description = "Nothing can be stored now; nothing was taken"),
    ),
)]
pub(crate) async fn post(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    request: Request,
) -> Result<(StatusCode, Json<Answer>), Problem> {
    let Some(source) = caller.may(Scope::Ingest)?.source() else {
        return Err(Problem::new(StatusCode::FORBIDDEN, "the token stands for no sensor"));
    };
    let (body, _place) = read(&hub, &source, request, LONGEST).await?;
    // Empty lines count, so that an index is a line's number.
    let lines: Vec<&[u8]> = body.split(|byte| *byte == b'\n').collect();
    if lines.len() > EVENTS + 1 {
        return Err(too_large(LONGEST));
    }
    let numbered: Vec<(usize, &[u8])> =
        lines.into_iter().enumerate().filter(|(_, line)| !line.trim_ascii().is_empty()).collect();
    let events: Vec<&[u8]> = numbered.iter().map(|(_, line)| *line).collect();
    let words = hub.take(&source, &events).await?;
    Ok(Answer::new(numbered.iter().map(|(index, _)| *index).zip(words)))
}

impl Answer {
    /// What is said of lines, each with its number.
    pub(crate) fn new(words: impl Iterator<Item = (usize, Word)>) -> (StatusCode, Json<Self>) {
        let mut answer = Self { accepted: 0, duplicate: 0, rejected: Vec::new() };
        for (index, word) in words {
            match word {
                Word::Accepted(_) => answer.accepted += 1,
                Word::Duplicate(_) => answer.duplicate += 1,
                Word::Refused(why) => answer.rejected.push(Rejected { index, reason: why.to_string() }),
            }
        }
        let nothing = answer.accepted + answer.duplicate == 0 && !answer.rejected.is_empty();
        (if nothing { StatusCode::BAD_REQUEST } else { StatusCode::OK }, Json(answer))
    }
}

/// Reads a body of up to `longest` bytes and unpacks it, and gives it with the room that it takes until it is stored.
pub(crate) async fn read(
    hub: &Hub,
    source: &Source,
    request: Request,
    longest: usize,
) -> Result<(Bytes, Place), Problem> {
    let encoding = request.headers().get(header::CONTENT_ENCODING).cloned();
    let mut place = hub.room().place(&source.sensor);
    let mut stream = request.into_body().into_data_stream();
    let mut body = BytesMut::new();
    loop {
        let piece = timeout(PATIENCE, poll_fn(|context| Pin::new(&mut stream).poll_next(context))).await;
        let Some(piece) = piece.map_err(|_| Problem::new(StatusCode::REQUEST_TIMEOUT, "the body does not go on"))?
        else {
            break;
        };
        let piece = piece.map_err(|_| Problem::bad("the body broke off"))?;
        if body.len().saturating_add(piece.len()) > longest {
            return Err(too_large(longest));
        }
        if !place.grow(piece.len()) {
            return Err(busy());
        }
        body.extend_from_slice(&piece);
    }
    let body = body.freeze();
    match encoding.as_ref().map(axum::http::HeaderValue::as_bytes) {
        None | Some(b"identity") => Ok((body, place)),
        // Unpacking is work for a thread of its own.
        Some(b"gzip") => {
            unpack(body, place, move |body, place| inflate(flate2::read::MultiGzDecoder::new(body), place, longest))
                .await
        }
        Some(b"zstd") => {
            unpack(body, place, move |body, place| match ruzstd::decoding::StreamingDecoder::new(body) {
                Ok(decoder) => inflate(decoder, place, longest),
                Err(error) => Err(Problem::bad(format!("the body is not zstd: {error}"))),
            })
            .await
        }
        Some(_) => {
            let detail = "`Content-Encoding` is none of gzip, zstd, identity";
            Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail))
        }
    }
}

fn too_large(longest: usize) -> Problem {
    let detail = format!("a request takes up to {} MiB, unpacked, and {EVENTS} lines", longest >> 20);
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

fn busy() -> Problem {
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "too much of this sensor waits to be stored; nothing was taken")
}

async fn unpack(
    body: Bytes,
    mut place: Place,
    work: impl FnOnce(&[u8], &mut Place) -> Result<Vec<u8>, Problem> + Send + 'static,
) -> Result<(Bytes, Place), Problem> {
    let done =
        tokio::task::spawn_blocking(move || work(&body, &mut place).map(|body| (Bytes::from(body), place))).await;
    done.map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the body could not be unpacked"))?
}

/// Reads all that is packed, up to the limit.
fn inflate(mut decoder: impl Read, place: &mut Place, longest: usize) -> Result<Vec<u8>, Problem> {
    let mut out = Vec::new();
    let mut piece = [0; 16 << 10];
    loop {
        match decoder.read(&mut piece) {
            Ok(0) => return Ok(out),
            Ok(count) if out.len().saturating_add(count) > longest => return Err(too_large(longest)),
            Ok(count) if !place.grow(count) => return Err(busy()),
            Ok(count) => out.extend_from_slice(piece.get(..count).unwrap_or_default()),
            Err(error) => return Err(Problem::bad(format!("the body cannot be unpacked: {error}"))),
        }
    }
}
