//! The hub over gRPC: real calls against a real socket.

use std::pin::Pin;
use std::task::{Context, Poll};

use aviary_proto::ingest::v1::answer::Outcome;
use aviary_proto::ingest::v1::ingest_client::IngestClient;
use aviary_proto::ingest::v1::{Answer, Batch, Taken};
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tonic::body::Body;
use tonic::codec::CompressionEncoding;
use tonic::{Code, Request, Response, Status, Streaming};

use crate::{INGEST, READ, Running, line, run, spawn};

/// A connection as tonic wants it.
#[derive(Clone)]
pub(crate) struct Wire(SendRequest<Body>);

impl tower_service::Service<hyper::Request<Body>> for Wire {
    type Response = hyper::Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: hyper::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

impl Running {
    pub(crate) async fn wire(&self) -> Wire {
        let address = self.base.strip_prefix("http://").expect("a base");
        let stream = tokio::net::TcpStream::connect(address).await.expect("a connection");
        let (requests, driver) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
        drop(spawn(driver));
        Wire(requests)
    }

    pub(crate) fn call<T>(&self, who: usize, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let value = format!("Bearer {}", self.tokens[who]).parse().expect("a value");
        request.metadata_mut().insert("authorization", value);
        request
    }

    async fn deliver(&self, who: usize, batches: Vec<Batch>) -> Result<Response<Streaming<Answer>>, Status> {
        let client = IngestClient::with_origin(self.wire().await, self.base.parse().expect("an address"));
        let mut client = client.send_compressed(CompressionEncoding::Gzip);
        client.deliver(self.call(who, tokio_stream::iter(batches))).await
    }
}

fn batch(sequence: u64, lines: &[&str]) -> Batch {
    Batch { sequence, events: lines.iter().map(|line| line.as_bytes().to_vec().into()).collect() }
}

fn taken(answer: Option<Answer>) -> (u64, Taken) {
    let answer = answer.expect("an answer");
    match answer.outcome {
        Some(Outcome::Taken(taken)) => (answer.sequence, taken),
        other => panic!("not taken: {other:?}"),
    }
}

#[tokio::test]
async fn batches_of_a_stream_are_answered_one_by_one() {
    let hub = run().await;
    let (one, two) = (line("10.0.0.1"), line("10.0.0.2"));
    let batches = vec![batch(1, &[&one, "nonsense", &two]), batch(5, &[&one])];
    let mut answers = hub.deliver(INGEST, batches).await.expect("a stream").into_inner();
    let (sequence, first) = taken(answers.message().await.expect("an answer"));
    assert_eq!((sequence, first.accepted, first.duplicate), (1, 2, 0));
    assert_eq!((first.rejected[0].index, first.rejected[0].reason.as_str()), (1, "not JSON"));
    let (sequence, second) = taken(answers.message().await.expect("an answer"));
    assert_eq!((sequence, second.accepted, second.duplicate), (5, 0, 1));
    assert_eq!(answers.message().await.expect("an end"), None);
    let (_, found) = hub.get(READ, "/api/v1/events").await;
    assert_eq!(found["events"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn a_batch_that_makes_no_sense_ends_the_stream_and_what_was_taken_stays() {
    let hub = run().await;
    let one = line("10.0.0.1");
    for bad in [batch(1, &[&one]), batch(2, &[])] {
        let mut answers = hub.deliver(INGEST, vec![batch(1, &[&one]), bad]).await.expect("a stream").into_inner();
        taken(answers.message().await.expect("an answer"));
        assert_eq!(answers.message().await.expect_err("an error").code(), Code::InvalidArgument);
    }
    let long = format!("{{\"a\": \"{}\"}}", "x".repeat(17 << 20));
    // Whether the stream begins before it fails is a matter of luck.
    let why = match hub.deliver(INGEST, vec![batch(1, &[&long])]).await {
        Ok(answers) => answers.into_inner().message().await.expect_err("an error"),
        Err(why) => why,
    };
    assert_eq!(why.code(), Code::ResourceExhausted, "{why}");
}

#[tokio::test]
async fn a_stream_takes_the_right_token() {
    let hub = run().await;
    let batches = || vec![batch(1, &["{}"])];
    assert_eq!(hub.deliver(READ, batches()).await.expect_err("refused").code(), Code::PermissionDenied);
    let mut client = IngestClient::with_origin(hub.wire().await, hub.base.parse().expect("an address"));
    let nobody = client.deliver(Request::new(tokio_stream::iter(batches()))).await;
    assert_eq!(nobody.expect_err("refused").code(), Code::Unauthenticated);
}
