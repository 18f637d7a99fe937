//! The control socket: how `aviary status`, `reload` and `tail` talk to a running canary.
//!
//! A Unix socket in the state folder, mode 0600. A request is one line of JSON, `{"ask": "status"}`;
//! the answer is one line, or for `tail` one line an event until the client goes away.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aviary_output::State;
use aviary_service::Protocol;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};

use crate::canary::Canary;
use crate::errand::Trouble;
use crate::{clock, outlets, privileges};

/// Longest request in bytes.
const REQUEST: u64 = 4096;
/// Longest answer to one question in bytes: some 300 for each of the services of a rack of hosts.
const ANSWER: u64 = 16 << 20;
/// How long a client may take to ask, and a canary to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the system may take to clear away a process that was killed.
const ENDING: Duration = Duration::from_millis(300);
/// Requests at once.
const CLIENTS: usize = 16;

/// Applies the configuration anew: the lines to show, or the reason why nothing changed.
pub type Reload = Arc<dyn Fn() -> Result<Vec<String>, String> + Send + Sync>;

/// Why a running canary could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nobody listens.
    #[error(
        "no canary runs with the state folder `{path}`; start one with `aviary up`, or name its folder with --state"
    )]
    NotRunning {
        /// The folder.
        path: PathBuf,
    },
    /// The socket belongs to somebody else.
    #[error("the canary in `{path}` runs as another user; ask as that user or as root")]
    NotPermitted {
        /// The folder.
        path: PathBuf,
    },
    /// The connection broke.
    #[error("the canary did not answer")]
    Connection(#[from] io::Error),
    /// The answer is not what a canary of this version says.
    #[error("the canary's answer cannot be read")]
    Answer(#[from] serde_json::Error),
    /// The canary refused.
    #[error("{reason}")]
    Refused {
        /// Its words.
        reason: String,
    },
}

/// The socket's path in a state folder.
#[must_use]
pub fn socket_path(state_dir: &Path) -> PathBuf {
    state_dir.join("control.sock")
}

async fn connect(state_dir: &Path) -> Result<UnixStream, ControlError> {
    UnixStream::connect(socket_path(state_dir)).await.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            ControlError::NotRunning { path: state_dir.to_owned() }
        }
        io::ErrorKind::PermissionDenied => ControlError::NotPermitted { path: state_dir.to_owned() },
        _ => ControlError::Connection(error),
    })
}

/// Asks a running canary one question.
///
/// # Errors
/// When there is none, it does not answer, or it refuses.
pub async fn ask(state_dir: &Path, question: Value) -> Result<Value, ControlError> {
    let line = match ask_once(state_dir, &question).await {
        // It ended while it was asked: a moment later the system says that nobody is there, or another is.
        Err(ControlError::Connection(error)) if is_cut(&error) => {
            tokio::time::sleep(ENDING).await;
            ask_once(state_dir, &question).await?
        }
        line => line?,
    };
    let mut answer: Map<String, Value> = serde_json::from_str(&line)?;
    match answer.remove("refused") {
        Some(reason) => Err(ControlError::Refused { reason: reason.as_str().unwrap_or("refused").to_owned() }),
        None => Ok(Value::Object(answer)),
    }
}

/// The line that it answers.
async fn ask_once(state_dir: &Path, question: &Value) -> Result<String, ControlError> {
    let mut stream = connect(state_dir).await?;
    stream.write_all(format!("{question}\n").as_bytes()).await?;
    let mut line = String::new();
    let mut reader = BufReader::new(stream.take(ANSWER));
    let length = tokio::time::timeout(PATIENCE, reader.read_line(&mut line)).await.map_err(io::Error::from)??;
    if length == 0 {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok(line)
}

fn is_cut(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

/// Follows the events of a running canary, from the `history` newest on; `line` gets each and says
/// whether to go on.
///
/// # Errors
/// When there is none or it stops.
pub async fn follow(state_dir: &Path, history: u64, mut line: impl FnMut(&str) -> bool) -> Result<(), ControlError> {
    let mut stream = connect(state_dir).await?;
    stream.write_all(format!("{}\n", json!({"ask": "tail", "history": history})).as_bytes()).await?;
    let mut reader = BufReader::new(stream);
    let mut text = String::new();
    loop {
        text.clear();
        if reader.read_line(&mut text).await? == 0 || !line(text.trim_end()) {
            return Ok(());
        }
    }
}

/// Opens the socket. One that a killed canary left behind is replaced: the journal's lock, which is
/// taken before, has shown that nobody runs here.
pub(crate) fn open(state_dir: &Path) -> io::Result<UnixListener> {
    let path = socket_path(state_dir);
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Answers until dropped.
pub(crate) async fn serve(listener: UnixListener, canary: Arc<Canary>, config: String, reload: Reload) {
    let room = Arc::new(tokio::sync::Semaphore::new(CLIENTS));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (canary, config, reload) = (Arc::clone(&canary), config.clone(), Arc::clone(&reload));
        drop(tokio::runtime::Handle::current().spawn(async move {
            if let Err(error) = answer(stream, &canary, &config, &reload).await {
                tracing::debug!(%error, "control client lost");
            }
            drop(permit);
        }));
    }
}

async fn answer(mut stream: UnixStream, canary: &Arc<Canary>, config: &str, reload: &Reload) -> io::Result<()> {
    let mut line = String::new();
    {
        let mut reader = BufReader::new((&mut stream).take(REQUEST));
        tokio::time::timeout(PATIENCE, reader.read_line(&mut line)).await.map_err(io::Error::from)??;
    }
    let question: Value = serde_json::from_str(&line).unwrap_or(Value::Null);
    let answer = match question.get("ask").and_then(Value::as_str) {
        Some("status") => status(canary, config).await,
        Some("reload") => {
            let reload = Arc::clone(reload);
            match tokio::task::spawn_blocking(move || reload()).await {
                Ok(Ok(changes)) => json!({ "changes": changes }),
                Ok(Err(reason)) => json!({ "refused": reason }),
                Err(error) => json!({ "refused": error.to_string() }),
            }
        }
        Some("tail") => {
            let history = question.get("history").and_then(Value::as_u64).unwrap_or(0);
            return tail(stream, canary, history).await;
        }
        _ => outlets::answer(canary, &question)
            .await
            .unwrap_or_else(|| json!({ "refused": "unknown question; client and canary are of different versions" })),
    };
    stream.write_all(format!("{answer}\n").as_bytes()).await
}

async fn tail(mut stream: UnixStream, canary: &Canary, history: u64) -> io::Result<()> {
    let journal = canary.reporter().journal();
    let mut reader = journal.peek(journal.stats().head.saturating_sub(history));
    let mut gone = [0; 1];
    loop {
        let events = tokio::select! {
            events = reader.next(64) => events,
            _ = stream.read(&mut gone) => return Ok(()),
        };
        let mut text = String::new();
        for event in events {
            event.write_line(&mut text, true);
            text.push('\n');
        }
        stream.write_all(text.as_bytes()).await?;
    }
}

pub(crate) async fn status(canary: &Arc<Canary>, config: &str) -> Value {
    let stats = canary.reporter().journal().stats();
    let rules = canary.reporter().rules();
    let mut outputs = Vec::new();
    let (services, found) = canary.inspect(|posts, rejected, outlets| {
        let mut services: Vec<Value> = posts
            .iter()
            .map(|post| {
                json!({
                    "host": post.host.as_deref(),
                    "node_id": rules.node_id_of(post.host.as_deref()),
                    "service": post.label,
                    "address": post.address.map_or_else(|| "*".to_owned(), |address| address.to_string()),
                    "protocol": if post.endpoint.protocol == Protocol::Udp { "udp" } else { "tcp" },
                    "port": post.port,
                    "configured_port": post.endpoint.port,
                    "state": if post.failure.is_some() { "failed" } else { "listening" },
                    "reason": post.failure,
                    "connections": post.taken(),
                })
            })
            .collect();
        services.extend(rejected.iter().map(|service| {
            json!({
                "host": service.host.as_deref(), "service": service.label, "state": "failed",
                "reason": service.why, "connections": 0,
            })
        }));
        services.extend(canary.scanner().filter(|_| canary.scans()).map(|scanner| {
            let (state, reason, seen) = match scanner {
                Ok(scanner) => ("watching", None, scanner.seen().packets),
                Err(why) => ("failed", Some(why), 0),
            };
            json!({"service": aviary_scan::NAME, "state": state, "reason": reason, "connections": seen})
        }));
        services.extend(canary.errands(|errand| {
            let (state, reason) = match errand.trouble() {
                None => (errand.word, None),
                Some(Trouble::Waiting(what)) => (errand.word, Some(what.to_owned())),
                Some(Trouble::Failed(why)) => ("failed", Some(why)),
            };
            let (host, events) = (errand.host.as_deref(), errand.events());
            json!({"host": host, "service": errand.entry, "state": state, "reason": reason, "connections": events})
        }));
        let outlets: Vec<_> = outlets
            .iter()
            .map(|outlet| {
                (
                    outlet.name.clone(),
                    outlet.class.clone(),
                    outlet.file.clone(),
                    outlet.failure.clone(),
                    outlet.health.report(),
                )
            })
            .collect();
        (services, outlets)
    });
    let dead = outlets::dead_counts(canary).await;
    let now = clock::now();
    for (name, class, file, failure, report) in found {
        let cursor = stats.cursors.get(&name).copied().unwrap_or(stats.head);
        let queued = stats.head.saturating_sub(cursor);
        let oldest = if queued > 0 && failure.is_none() { outlets::oldest_after(canary, cursor).await } else { None };
        let waited = oldest.map(|oldest| now.as_micros().saturating_sub(oldest.as_micros()).max(0) / 1_000_000);
        let (activity, next_try) = match report.state {
            State::Idle => ("idle", None),
            State::Delivering => ("delivering", None),
            State::BackingOff { until } => ("waiting", Some(until)),
        };
        let (error_time, error) = report.last_error.clone().map_or((None, None), |(t, e)| (Some(t), Some(e)));
        let state = match (&failure, report.failing) {
            (Some(_), _) => "failed",
            (None, true) => "failing",
            (None, false) => "working",
        };
        outputs.push(json!({
            "output": name,
            "class": class,
            "file": file,
            "state": state,
            "reason": failure,
            "delivered": report.delivered,
            "refused": report.refused,
            "passed_over": report.passed_over,
            "retries": report.retries,
            "queued": queued,
            "position": cursor,
            "oldest_undelivered": oldest.map(text_of),
            "oldest_seconds": waited,
            "activity": activity,
            "next_try": next_try.map(text_of),
            "dead": dead.get(&name).copied().unwrap_or(0),
            "last_success": report.last_success.map(text_of),
            "last_error": error,
            "last_error_time": error_time.map(text_of),
            "lost": stats.lost.get(&name).copied().unwrap_or(0),
        }));
    }
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "node_id": rules.node_id,
        "pid": std::process::id(),
        "config": config,
        "state_dir": canary.state_dir().display().to_string(),
        "uptime_seconds": canary.started().elapsed().as_secs(),
        "services": services,
        "outputs": outputs,
        "dead": dead,
        "journal": {
            "head": stats.head,
            "stored": stats.stored,
            "bytes": stats.bytes,
            "unsaved": stats.unsaved,
            "trouble": stats.trouble,
        },
        "capture": canary.scanner().map(|scanner| match scanner {
            Ok(scanner) => {
                let seen = scanner.seen();
                json!({"packets": seen.packets, "dropped": seen.dropped, "untold_scans": seen.untold})
            }
            Err(why) => json!({"reason": why}),
        }),
        "metrics": canary.page(|page| json!({
            "listen": page.place.to_string(),
            "state": if page.failure.is_some() { "failed" } else { "listening" },
            "reason": page.failure,
        })),
        "connections": canary.connections().count(),
        "withheld": canary.datagrams().withheld(),
        "ignored": canary.reporter().ignored(),
        "privileges": privileges::held(),
        "time": text_of(now),
    })
}

fn text_of(time: aviary_event::Timestamp) -> String {
    time.to_rfc3339(&jiff::tz::TimeZone::UTC)
}
