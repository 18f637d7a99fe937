//! A connection that speaks HTTP/2, and ends with all its tasks when it is dropped.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use http::header::USER_AGENT;
use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use nix::sys::socket::{setsockopt, sockopt};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tonic::body::Body;
use tower_service::Service;

use crate::http::AGENT;
use crate::tls::{Identity, Trust, configure_as};

/// A connection on which nothing happens is asked after this time whether it still stands, seconds.
const QUIET: u32 = 60;

/// Where to connect to, and as whom.
pub(super) struct Door {
    pub(super) host: String,
    pub(super) port: u16,
    /// Whom to trust and who to be, over TLS.
    pub(super) tls: Option<(Trust, Option<Identity>)>,
}

/// Bytes both ways, in clear or not.
trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

impl Door {
    /// Connects; the error is for people.
    pub(super) async fn connect(&self) -> Result<Connection, String> {
        let cannot = |error: &dyn std::fmt::Display| format!("cannot connect: {error}");
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(|error| cannot(&error))?;
        stream.set_nodelay(true).map_err(|error| cannot(&error))?;
        setsockopt(&stream, sockopt::KeepAlive, &true).map_err(|error| cannot(&error))?;
        setsockopt(&stream, sockopt::TcpKeepIdle, &QUIET).map_err(|error| cannot(&error))?;
        let wire: Box<dyn Wire> = match &self.tls {
            None => Box::new(stream),
            Some((trust, identity)) => {
                let unready = |reason: &dyn std::fmt::Display| format!("cannot set up TLS: {reason}");
                let (trust, identity) = (trust.clone(), identity.clone());
                let made = tokio::task::spawn_blocking(move || configure_as(&trust, identity.as_ref())).await;
                let mut config = made.map_err(|error| unready(&error))?.map_err(|reason| unready(&reason))?;
                config.alpn_protocols = vec![b"h2".to_vec()];
                let name = ServerName::try_from(self.host.clone()).map_err(|error| unready(&error))?;
                let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
                let stream = stream.map_err(|error| cannot(&error))?;
                if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
                    return Err("cannot connect: the receiver does not speak HTTP/2, which gRPC needs".to_owned());
                }
                Box::new(stream)
            }
        };
        let tasks = Tasks::default();
        let made = Builder::new(tasks.clone()).handshake(TokioIo::new(wire)).await;
        let (requests, driver) = made.map_err(|error| cannot(&error))?;
        let connection = Connection { requests: Requests(requests), tasks };
        connection.tasks.execute(driver);
        Ok(connection)
    }
}

/// What hyper does in the background for a connection.
#[derive(Clone, Default)]
struct Tasks(Arc<Mutex<JoinSet<()>>>);

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, future: F) {
        let ended = async {
            // How it ended is told by the stream.
            let _ = future.await;
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).spawn(ended);
    }
}

pub(super) struct Connection {
    requests: Requests,
    tasks: Tasks,
}

impl Connection {
    pub(super) fn requests(&self) -> Requests {
        self.requests.clone()
    }

    /// Whether the receiver would take another request.
    pub(super) fn stands(&self) -> bool {
        !self.requests.0.is_closed()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The tasks hold each other; and a receiver that reads nothing could keep them for ever.
        self.tasks.0.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }
}

/// The connection as tonic wants it.
#[derive(Clone)]
pub(super) struct Requests(SendRequest<Body>);

impl Service<Request<Body>> for Requests {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(AGENT));
        Box::pin(self.0.send_request(request))
    }
}
