//! The listener: TLS, limits and an orderly end around the routes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

/// Connections at once; more wait before they are accepted.
const CONNECTIONS: usize = 2048;
/// Longest handshake, and longest wait for a request's head.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long requests in flight may take at the end.
const GRACE: Duration = Duration::from_secs(5);
/// Pause after the system has no descriptor left.
const BREATH: Duration = Duration::from_millis(100);

/// The address that a request came from; a part of each request.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// SHA-256 of the certificate that a client showed, which the hub's authority signed; a part of its requests.
#[derive(Clone, Debug)]
pub struct Shown(pub Arc<str>);

/// Serves until `stop` is done; then gives requests in flight a moment to end. Without `tls` it speaks plain HTTP, which is
/// for loopback and for a proxy on the same machine.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    router: Router,
    stop: impl Future<Output = ()>,
) {
    let acceptor = tls.map(TlsAcceptor::from);
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    tokio::pin!(stop);
    loop {
        let permit = tokio::select! {
            () = &mut stop => break,
            permit = Arc::clone(&permits).acquire_owned() => permit,
        };
        let Ok(permit) = permit else { break };
        let (stream, address) = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "no connection can be accepted");
                    sleep(BREATH).await;
                    continue;
                }
            },
        };
        let (acceptor, router, watcher) = (acceptor.clone(), router.clone(), graceful.watcher());
        connections.spawn(async move {
            let _permit = permit;
            let _ = stream.set_nodelay(true);
            one(stream, address, acceptor, router, watcher).await;
        });
        // What has ended is let go.
        while connections.try_join_next().is_some() {}
    }
    // What has not ended then is cut off when its tasks are dropped.
    let _ = timeout(GRACE, graceful.shutdown()).await;
}

async fn one(
    stream: TcpStream,
    address: SocketAddr,
    acceptor: Option<TlsAcceptor>,
    router: Router,
    watcher: hyper_util::server::graceful::Watcher,
) {
    match acceptor {
        None => speak(stream, address, None, router, watcher).await,
        Some(acceptor) => match timeout(PATIENCE, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => {
                let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                let shown = shown.map(|shown| Shown(Arc::from(aviary_hub::fingerprint(shown))));
                speak(stream, address, shown, router, watcher).await;
            }
            Ok(Err(error)) => tracing::debug!(%address, %error, "handshake failed"),
            Err(_) => tracing::debug!(%address, "handshake took too long"),
        },
    }
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    address: SocketAddr,
    shown: Option<Shown>,
    router: Router,
    watcher: hyper_util::server::graceful::Watcher,
) {
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let (mut router, shown) = (router.clone(), shown.clone());
        async move {
            let mut request = request.map(axum::body::Body::new);
            request.extensions_mut().insert(Peer(SocketAddr::new(address.ip().to_canonical(), address.port())));
            if let Some(shown) = shown {
                request.extensions_mut().insert(shown);
            }
            tower_service::Service::call(&mut router, request).await
        }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(Some(PATIENCE)).max_concurrent_streams(128);
    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%address, error, "connection ended");
    }
}
