//! A hub's gRPC side that does what a test tells it, batch by batch.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use aviary_proto::ingest::v1::answer::Outcome;
use aviary_proto::ingest::v1::ingest_server::{Ingest, IngestServer};
use aviary_proto::ingest::v1::{Answer, Batch, NotNow, Rejection, Taken};
use http::HeaderMap;
use hyper::rt::Executor as _;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::CompressionEncoding;
use tonic::{Code, Request, Response, Status, Streaming};
use tower_service::Service as _;

/// What the hub does with one batch. Without any left it takes all.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Take,
    Reject(Vec<(u32, &'static str)>),
    /// Milliseconds to wait.
    NotNow(u32),
    Status(Code, &'static str),
    /// Ends the stream without an answer.
    End,
    Hang,
    /// Answers for a batch so many later.
    Sequence(u64),
    /// Says that it took so many.
    Count(u32),
    /// An outcome that nobody knows yet.
    Unknown,
    /// Closes the connection.
    Drop,
    TakeAndEnd,
    TakeAndDrop,
    TakeAndGoAway,
}

/// A batch as it came.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    /// Which stream it came on, from 1.
    pub(crate) stream: usize,
    pub(crate) sequence: u64,
    pub(crate) lines: Vec<String>,
    pub(crate) headers: HeaderMap,
}

#[derive(Clone)]
pub(crate) struct GrpcHub {
    pub(crate) port: u16,
    acts: Arc<Mutex<VecDeque<Act>>>,
    got: Arc<Mutex<Vec<Got>>>,
    streams: Arc<Mutex<usize>>,
    /// Says to connections that they end: at once, or politely.
    ends: watch::Sender<(usize, bool)>,
}

impl GrpcHub {
    pub(crate) async fn start(acts: &[Act]) -> Self {
        Self::start_with(acts, None).await
    }

    pub(crate) async fn start_with(acts: &[Act], tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let hub = Self {
            port: listener.local_addr().expect("an address").port(),
            acts: Arc::new(Mutex::new(acts.iter().cloned().collect())),
            got: Arc::default(),
            streams: Arc::default(),
            ends: watch::Sender::new((0, false)),
        };
        let serving = hub.clone();
        TokioExecutor::new().execute(async move {
            while let Ok((stream, _)) = listener.accept().await {
                TokioExecutor::new().execute(serving.clone().welcome(stream, tls.clone()));
            }
        });
        hub
    }

    async fn welcome(self, stream: TcpStream, tls: Option<Arc<ServerConfig>>) {
        match tls {
            None => self.serve(stream).await,
            Some(tls) => {
                if let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await {
                    self.serve(stream).await;
                }
            }
        }
    }

    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
        let mut ends = self.ends.subscribe();
        ends.mark_unchanged();
        let server = IngestServer::new(self).max_decoding_message_size(1_200_000);
        let server = server.accept_compressed(CompressionEncoding::Gzip);
        let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
            let mut server = server.clone();
            async move { server.call(request).await }
        });
        let connection = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        loop {
            tokio::select! {
                _ = &mut connection => return,
                _ = ends.changed() => match ends.borrow_and_update().1 {
                    true => connection.as_mut().graceful_shutdown(),
                    false => return,
                }
            }
        }
    }

    pub(crate) fn batches(&self) -> Vec<Got> {
        self.got.lock().expect("no panic").clone()
    }

    /// The `seq` of each event of each batch.
    pub(crate) fn seqs(&self) -> Vec<Vec<u64>> {
        let seq = |line: &String| {
            serde_json::from_str::<serde_json::Value>(line).expect("JSON")["aviary"]["seq"].as_u64().expect("a number")
        };
        self.batches().iter().map(|batch| batch.lines.iter().map(seq).collect()).collect()
    }

    fn end(&self, politely: bool) {
        self.ends.send_modify(|(count, how)| (*count, *how) = (*count + 1, politely));
    }

    /// Reads a stream's batches and acts.
    async fn act(
        self,
        mut batches: Streaming<Batch>,
        headers: HeaderMap,
        answers: mpsc::Sender<Result<Answer, Status>>,
    ) {
        let stream = {
            let mut streams = self.streams.lock().expect("no panic");
            *streams += 1;
            *streams
        };
        loop {
            let batch = match batches.message().await {
                Ok(Some(batch)) => batch,
                Ok(None) => return,
                Err(status) => {
                    let _ = answers.send(Err(status)).await;
                    return;
                }
            };
            let count = u32::try_from(batch.events.len()).expect("few");
            let lines = batch.events.iter().map(|line| String::from_utf8(line.to_vec()).expect("text")).collect();
            let got = Got { stream, sequence: batch.sequence, lines, headers: headers.clone() };
            self.got.lock().expect("no panic").push(got);
            let taken = |accepted| Some(Outcome::Taken(Taken { accepted, duplicate: 0, rejected: Vec::new() }));
            let act = self.acts.lock().expect("no panic").pop_front().unwrap_or(Act::Take);
            let (outcome, later) = match &act {
                Act::Take | Act::TakeAndEnd | Act::TakeAndDrop | Act::TakeAndGoAway => (taken(count), 0),
                Act::Sequence(later) => (taken(count), *later),
                Act::Count(count) => (taken(*count), 0),
                Act::Unknown => (None, 0),
                Act::NotNow(retry_after_ms) => {
                    (Some(Outcome::NotNow(NotNow { retry_after_ms: *retry_after_ms, reason: "full".to_owned() })), 0)
                }
                Act::Reject(list) => {
                    let rejection = |(index, reason): &(u32, &str)| Rejection {
                        index: *index,
                        id: String::new(),
                        reason: (*reason).to_owned(),
                    };
                    let rejected: Vec<_> = list.iter().map(rejection).collect();
                    let accepted = count - u32::try_from(rejected.len()).expect("few");
                    (Some(Outcome::Taken(Taken { accepted, duplicate: 0, rejected })), 0)
                }
                Act::Status(code, words) => {
                    let _ = answers.send(Err(Status::new(*code, *words))).await;
                    return;
                }
                Act::End => return,
                Act::Hang => std::future::pending().await,
                Act::Drop => return self.end(false),
            };
            let _ = answers.send(Ok(Answer { sequence: batch.sequence + later, outcome })).await;
            match act {
                Act::TakeAndEnd => return,
                Act::TakeAndDrop | Act::TakeAndGoAway => {
                    // Not before the answer is out.
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                    self.end(matches!(act, Act::TakeAndGoAway));
                }
                _ => {}
            }
        }
    }
}

#[tonic::async_trait]
impl Ingest for GrpcHub {
    type DeliverStream = ReceiverStream<Result<Answer, Status>>;

    async fn deliver(&self, request: Request<Streaming<Batch>>) -> Result<Response<Self::DeliverStream>, Status> {
        let headers = request.metadata().clone().into_headers();
        let (sender, answers) = mpsc::channel(4);
        TokioExecutor::new().execute(self.clone().act(request.into_inner(), headers, sender));
        Ok(Response::new(ReceiverStream::new(answers)))
    }
}
