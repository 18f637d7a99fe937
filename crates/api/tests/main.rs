//! The hub over HTTP: real requests against a real socket.

mod alerts;
mod console;
mod document;
mod grpc;
mod looking;
mod matrix;
mod people;
mod questions;
mod sensors;
mod ways;

use std::sync::Arc;

use aviary_api::routes;
use aviary_hub::{Hub, Scope, Token, make_token};
use aviary_store::{Options, Sqlite};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

struct Running {
    _folder: TempDir,
    hub: Arc<Hub>,
    base: String,
    client: Client,
    tokens: [String; 3],
}

const INGEST: usize = 0;
const READ: usize = 1;
const ACT: usize = 2;

async fn run() -> Running {
    run_on(|options| options).await
}

async fn run_on(change: impl FnOnce(Options) -> Options) -> Running {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().expect("a folder");
    let store = Arc::new(Sqlite::open(change(Options::at(folder.path().join("hub.db")))).expect("a store"));
    let hub = Arc::new(Hub::new(store, aviary_hub::clock::now).await.expect("a hub"));
    let mut tokens = Vec::new();
    for scopes in [vec![Scope::Ingest], vec![Scope::Read], vec![Scope::Read, Scope::Act]] {
        let sensor = scopes.contains(&Scope::Ingest).then(|| "north".to_owned());
        let token = Token { name: "test".to_owned(), scopes, sensor, site: String::new(), nodes: Vec::new() };
        let made = make_token(hub.store().as_ref(), &token, "test", hub.now()).await;
        tokens.push(made.expect("a token"));
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    let (router, _) = routes(Arc::clone(&hub));
    drop(spawn(aviary_api::serve(listener, None, router, std::future::pending())));
    Running { _folder: folder, hub, base, client: Client::new(), tokens: tokens.try_into().expect("three") }
}

#[expect(clippy::disallowed_methods, reason = "ends with the test's runtime")]
fn spawn<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> tokio::task::JoinHandle<T> {
    tokio::spawn(work)
}

impl Running {
    async fn get(&self, who: usize, path: &str) -> (StatusCode, Value) {
        let request = self.client.get(format!("{}{path}", self.base)).bearer_auth(&self.tokens[who]);
        both(request.send().await.expect("an answer")).await
    }

    async fn post(&self, who: usize, path: &str, encoding: &str, body: Vec<u8>) -> (StatusCode, Value) {
        let request = self.client.post(format!("{}{path}", self.base)).bearer_auth(&self.tokens[who]);
        let request = request.header("content-type", "application/json").header("content-encoding", encoding);
        both(request.body(body).send().await.expect("an answer")).await
    }
}

async fn both(response: Response) -> (StatusCode, Value) {
    (response.status(), response.json().await.expect("JSON"))
}

fn line(source: &str) -> String {
    format!(
        r#"{{"logtype": 4002, "src_host": "{source}", "src_port": 1, "logdata": {{"USERNAME": "root", "n": "{source}"}}}}"#
    )
}

#[tokio::test]
async fn events_come_in_once_and_are_found_as_an_incident() {
    let hub = run().await;
    let body = format!("{}\n\nnonsense\n{}\n", line("10.0.0.1"), line("10.0.0.12"));
    let (status, answer) = hub.post(INGEST, "/api/v1/events", "identity", body.clone().into_bytes()).await;
    assert_eq!((status, &answer["accepted"], &answer["duplicate"]), (StatusCode::OK, &json!(2), &json!(0)));
    assert_eq!(answer["rejected"], json!([{"index": 2, "reason": "not JSON"}]));
    let (_, again) = hub.post(INGEST, "/api/v1/events", "identity", body.into_bytes()).await;
    assert_eq!((&again["accepted"], &again["duplicate"]), (&json!(0), &json!(2)));
    let (status, found) = hub.get(READ, "/api/v1/events?source=10.0.0.1&field=USERNAME%3Droot").await;
    assert_eq!((status, found["events"].as_array().map(Vec::len)), (StatusCode::OK, Some(1)));
    assert_eq!(found["events"][0]["stage"], "login_attempt");
    let id = found["events"][0]["id"].as_str().expect("an id");
    let (_, one) = hub.get(READ, &format!("/api/v1/events/{id}")).await;
    assert_eq!(one, found["events"][0]);
    let (_, incidents) = hub.get(READ, "/api/v1/incidents?severity=high&state=open").await;
    let sources: Vec<&str> =
        incidents["incidents"].as_array().expect("a list").iter().filter_map(|i| i["source"].as_str()).collect();
    assert_eq!(sources, ["10.0.0.12", "10.0.0.1"]);
}

#[tokio::test]
async fn bodies_may_be_packed_and_are_bounded() {
    use std::io::Write as _;
    let hub = run().await;
    let pack = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("packed");
        encoder.finish().expect("packed")
    };
    let (status, answer) = hub.post(INGEST, "/api/v1/events", "gzip", pack(line("10.0.0.1").as_bytes())).await;
    assert_eq!((status, &answer["accepted"]), (StatusCode::OK, &json!(1)));
    let zstd =
        ruzstd::encoding::compress_to_vec(line("10.0.0.2").as_bytes(), ruzstd::encoding::CompressionLevel::Fastest);
    let (status, answer) = hub.post(INGEST, "/api/v1/events", "zstd", zstd).await;
    assert_eq!((status, &answer["accepted"]), (StatusCode::OK, &json!(1)));
    let bomb = pack(&vec![b' '; 64 << 20]);
    let (status, _) = hub.post(INGEST, "/api/v1/events", "gzip", bomb).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let (status, why) = hub.post(INGEST, "/api/v1/events", "gzip", b"not packed".to_vec()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{why}");
    let (status, _) = hub.post(INGEST, "/api/v1/events", "br", Vec::new()).await;
    assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let (status, _) = hub.post(INGEST, "/api/v1/events", "identity", b"{}\n".repeat(20_000)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn nobody_does_what_a_token_does_not_allow() {
    let hub = run().await;
    let (status, _) = hub.get(INGEST, "/api/v1/events").await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let (status, why) = hub.post(READ, "/api/v1/events", "identity", line("10.0.0.1").into_bytes()).await;
    assert_eq!(
        (status, &why["detail"]),
        (StatusCode::FORBIDDEN, &json!("the token `test` does not allow this; it takes the scope `ingest`"))
    );
    let (status, _) = hub.post(READ, "/api/v1/incidents/1/decisions", "identity", b"{\"text\": \"x\"}".to_vec()).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    for token in ["", "avt_0", "Basic x"] {
        let request = hub.client.get(format!("{}/api/v1/incidents", hub.base)).bearer_auth(token);
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(answer.headers()["www-authenticate"], "Bearer");
    }
    let answer = hub.client.get(format!("{}/api/v1/live", hub.base)).send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn an_incident_is_decided_with_a_reason() {
    let hub = run().await;
    hub.post(INGEST, "/api/v1/events", "identity", line("10.0.0.1").into_bytes()).await;
    let decide =
        |body: Value| hub.post(ACT, "/api/v1/incidents/1/decisions", "identity", body.to_string().into_bytes());
    let (status, why) = decide(json!({"state": "closed"})).await;
    assert_eq!(
        (status, &why["detail"]),
        (StatusCode::BAD_REQUEST, &json!("`text` is empty: an incident is closed for a reason"))
    );
    let (status, _) = decide(json!({"state": "gone", "text": "x"})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let (status, _) = decide(json!({"stat": "closed", "text": "x"})).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let (status, incident) = decide(json!({"state": "closed", "text": "the yearly test"})).await;
    assert_eq!((status, &incident["state"]), (StatusCode::OK, &json!("closed")));
    assert_eq!(
        (&incident["notes"][0]["by"], &incident["notes"][0]["text"]),
        (&json!("test"), &json!("the yearly test"))
    );
    let (status, _) = hub.post(ACT, "/api/v1/incidents/9/decisions", "identity", b"{\"text\": \"x\"}".to_vec()).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn bad_questions_say_what_is_wrong() {
    let hub = run().await;
    for (path, word) in [
        ("/api/v1/events?source=10.0.0", "`source`"),
        ("/api/v1/events?since=yesterday", "`since`"),
        ("/api/v1/events?kind=scans", "`kind`"),
        ("/api/v1/events?field=USERNAME", "`field`"),
        ("/api/v1/events?after=1", "`after`"),
        ("/api/v1/events?limit=many", "limit"),
        ("/api/v1/events?sauce=10.0.0.1", "sauce"),
        ("/api/v1/events/1", "id"),
        ("/api/v1/incidents?state=shut", "`state`"),
        ("/api/v1/incidents/one", "`one`"),
    ] {
        let (status, why) = hub.get(READ, path).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}: {why}");
        assert!(why["detail"].as_str().is_some_and(|detail| detail.contains(word)), "{path}: {why}");
    }
    let (status, _) = hub.get(READ, "/api/v1/nothing").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn whoever_listens_hears_events_and_incidents_at_once() {
    let hub = run().await;
    let request = hub.client.get(format!("{}/api/v1/live", hub.base)).bearer_auth(&hub.tokens[READ]);
    let mut answer = request.send().await.expect("an answer");
    hub.post(INGEST, "/api/v1/events", "identity", line("10.0.0.1").into_bytes()).await;
    let mut heard = String::new();
    while !heard.contains("event: incident") || !heard.ends_with("\n\n") {
        let piece = tokio::time::timeout(std::time::Duration::from_secs(10), answer.chunk());
        let piece = piece.await.expect("in time").expect("a piece").expect("not the end");
        heard.push_str(&String::from_utf8_lossy(&piece));
    }
    assert!(heard.starts_with("event: event\ndata: {"), "{heard}");
    assert!(heard.contains(r#""severity":"high""#), "{heard}");
}
