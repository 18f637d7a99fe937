//! `aviary.metrics.listen`: what Prometheus reads, and whether all is well, over HTTP on this machine alone.
//!
//! `GET /metrics` reads counters that there are anyway; `GET /health` says with 200 or 503 whether all is well, and
//! `GET /health/live` that the canary runs. Nothing else is there. Few clients at once, short requests, short lives.

mod families;
mod gather;
mod health;
mod process;
mod snapshot;

use std::convert::Infallible;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aviary_config::MetricsPlace;
use aviary_service::Protocol;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

pub use families::{FAMILIES, Family, Sort};

use crate::canary::Canary;
use crate::listener;
use crate::privileges::Resolved;

/// Clients at once; more wait in the kernel.
const CLIENTS: usize = 8;
/// Bytes of a request's head, and the lines in it.
const HEAD: usize = 16 << 10;
const LINES: usize = 64;
/// How long a request's head may take, and a client in all.
const ASKING: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(20);
/// Pause after a client that could not be accepted.
const RELIEF: Duration = Duration::from_millis(100);

/// The page: bound, served, or why it is neither.
pub(crate) struct Page {
    /// Where it is.
    pub place: MetricsPlace,
    /// Why nothing is served there.
    pub failure: Option<String>,
    socket: Option<Socket>,
    stop: Option<watch::Sender<bool>>,
}

enum Socket {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

impl Page {
    /// Binds a place; a socket in the file system goes to whom the canary becomes.
    #[must_use]
    pub(crate) fn open(place: MetricsPlace, identity: Option<Resolved>) -> Self {
        let bound = match &place {
            MetricsPlace::Loopback(address) => listener::bind(Some(address.ip()), address.port())
                .map(Socket::Tcp)
                .map_err(|error| listener::explain(Some(address.ip()), address.port(), Protocol::Tcp, &error)),
            MetricsPlace::Socket(path) => bind_path(path, identity)
                .map(Socket::Unix)
                .map_err(|error| format!("socket `{}` cannot be made: {error}", path.display())),
        };
        let (socket, failure) = match bound {
            Ok(socket) => (Some(socket), None),
            Err(why) => (None, Some(why)),
        };
        if let Some(why) = &failure {
            tracing::error!(place = %place, "no page of metrics: {why}");
        }
        Self { place, failure, socket, stop: None }
    }

    /// Begins to serve. Inside the runtime.
    pub(crate) fn begin(&mut self, canary: &Arc<Canary>) {
        let Some(socket) = self.socket.take() else { return };
        let (stop, stopped) = watch::channel(false);
        let runtime = tokio::runtime::Handle::current();
        let canary = Arc::clone(canary);
        let begun = match socket {
            Socket::Tcp(socket) => tokio::net::TcpListener::from_std(socket).map(|listener| {
                drop(runtime.spawn(serve(listener, canary, stopped)));
            }),
            Socket::Unix(socket) => tokio::net::UnixListener::from_std(socket).map(|listener| {
                drop(runtime.spawn(serve(listener, canary, stopped)));
            }),
        };
        match begun {
            Ok(()) => self.stop = Some(stop),
            Err(error) => self.failure = Some(format!("{} cannot be watched: {error}", self.place)),
        }
    }

    /// Ends it, and takes its socket out of the file system. Waits until the place is free.
    pub(crate) fn end(mut self) {
        if let (MetricsPlace::Socket(path), None) = (&self.place, &self.failure) {
            let _ = std::fs::remove_file(path);
        }
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(true);
            crate::post::wait_until_free(std::slice::from_ref(&stop));
        }
    }
}

/// A socket in the file system, for its owner and group. One that a killed canary left behind is replaced.
fn bind_path(path: &Path, identity: Option<Resolved>) -> io::Result<std::os::unix::net::UnixListener> {
    if let Ok(found) = std::fs::symlink_metadata(path) {
        if !found.file_type().is_socket() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "something else is there"));
        }
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there"));
        }
        std::fs::remove_file(path)?;
    }
    let listener = std::os::unix::net::UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    if let Some(identity) = identity {
        nix::unistd::chown(path, Some(identity.uid), Some(identity.gid))?;
    }
    Ok(listener)
}

/// Where clients come from.
trait Clients {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    fn next(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Clients for tokio::net::TcpListener {
    type Stream = tokio::net::TcpStream;

    async fn next(&self) -> io::Result<Self::Stream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

impl Clients for tokio::net::UnixListener {
    type Stream = tokio::net::UnixStream;

    async fn next(&self) -> io::Result<Self::Stream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

/// Serves until told to stop.
async fn serve(clients: impl Clients, canary: Arc<Canary>, mut stop: watch::Receiver<bool>) {
    let room = Arc::new(Semaphore::new(CLIENTS));
    let filing = Arc::new(Semaphore::new(1));
    loop {
        let next = async {
            let permit = Arc::clone(&room).acquire_owned().await.map_err(io::Error::other)?;
            clients.next().await.map(|stream| (stream, permit))
        };
        let accepted = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = next => accepted,
        };
        match accepted {
            Ok((stream, permit)) => {
                let (canary, filing) = (Arc::clone(&canary), Arc::clone(&filing));
                drop(tokio::runtime::Handle::current().spawn(attend(stream, permit, canary, filing)));
            }
            Err(error) => {
                tracing::debug!(%error, "client of the metrics lost before it was accepted");
                tokio::time::sleep(RELIEF).await;
            }
        }
    }
    // The place is free before whoever holds the other end of `stop` sees that this has ended.
    drop(clients);
    drop(stop);
}

/// Answers one client.
async fn attend(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    permit: OwnedSemaphorePermit,
    canary: Arc<Canary>,
    filing: Arc<Semaphore>,
) {
    let service = hyper::service::service_fn(|request| {
        let (canary, filing) = (Arc::clone(&canary), Arc::clone(&filing));
        async move { Ok::<_, Infallible>(answer(&request, &canary, &filing).await) }
    });
    let client = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(ASKING)
        .keep_alive(false)
        .max_headers(LINES)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(LONGEST, client).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "client of the metrics lost"),
        Err(_) => tracing::debug!("client of the metrics took too long"),
    }
    drop(permit);
}

async fn answer(request: &Request<Incoming>, canary: &Arc<Canary>, filing: &Arc<Semaphore>) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    if !["/metrics", "/health", "/health/live"].contains(&path) {
        return text(StatusCode::NOT_FOUND, "not found; there are /metrics, /health and /health/live\n");
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match path {
        "/metrics" => {
            let accept = request.headers().get_all(ACCEPT);
            let open = accept
                .iter()
                .any(|value| value.to_str().is_ok_and(|value| value.contains("application/openmetrics-text")));
            let (page, kind) = gather::gather(canary, filing).await.page(open);
            respond(StatusCode::OK, kind, page)
        }
        "/health" => {
            let (status, body) = health::answer(canary);
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            respond(status, "application/json", format!("{body}\n"))
        }
        _ => respond(StatusCode::OK, "application/json", format!("{}\n", json!({"status": "alive"}))),
    }
}

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    respond(status, "text/plain; charset=utf-8", body)
}

fn respond(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
