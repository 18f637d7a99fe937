//! Sensors over mutual TLS: what they may with their certificate, and nobody without.

use std::sync::Arc;

use aviary_api::{routes, serve};
use aviary_hub::sensors::Pace;
use aviary_hub::{Authority, Hub, Scope, Token, make_token, own_certificate};
use aviary_store::{Options, Sqlite};
use rcgen::{CertificateParams, KeyPair};
use reqwest::{Certificate, Client, Identity, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{both, line, spawn};

struct Secure {
    _folder: TempDir,
    base: String,
    authority: String,
    /// For people: read, and everything.
    tokens: [String; 2],
}

async fn run() -> Secure {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().expect("a folder");
    let store = Arc::new(Sqlite::open(Options::at(folder.path().join("hub.db"))).expect("a store"));
    let hub = Arc::new(Hub::new(store, aviary_hub::clock::now).await.expect("a hub"));
    let now = aviary_hub::clock::now();
    let authority = Arc::new(Authority::open(folder.path(), now).expect("an authority"));
    let names = ["127.0.0.1".to_owned()];
    let certificate = own_certificate(folder.path(), &names, &authority, now).expect("a certificate");
    let pem = authority.pem().to_owned();
    hub.sensors().open(authority, true, Pace { silent: 3_000_000, ..Pace::default() }, 90);
    let mut tokens = Vec::new();
    for scopes in [vec![Scope::Read], vec![Scope::Read, Scope::Act, Scope::Administer]] {
        let token = Token { name: "anna".to_owned(), scopes, sensor: None, site: String::new(), nodes: Vec::new() };
        tokens.push(make_token(hub.store().as_ref(), &token, "test", now).await.expect("a token"));
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let base = format!("https://{}/api/v1", listener.local_addr().expect("an address"));
    let (router, _) = routes(hub);
    drop(spawn(serve(listener, Some(certificate.config), router, std::future::pending())));
    Secure { _folder: folder, base, authority: pem, tokens: tokens.try_into().expect("two") }
}

impl Secure {
    fn client(&self, identity: Option<&str>) -> Client {
        let trusted = Certificate::from_pem(self.authority.as_bytes()).expect("a certificate");
        let builder = Client::builder().tls_certs_only([trusted]);
        match identity {
            Some(pem) => builder.identity(Identity::from_pem(pem.as_bytes()).expect("an identity")),
            None => builder,
        }
        .build()
        .expect("a client")
    }

    async fn ask(&self, who: usize, method: &str, path: &str, body: Value) -> (StatusCode, Value) {
        let method = method.parse().expect("a method");
        let request = self.client(None).request(method, format!("{}{path}", self.base)).bearer_auth(&self.tokens[who]);
        both(request.json(&body).send().await.expect("an answer")).await
    }

    /// Enrols a sensor; certificate and key.
    async fn enrol(&self, name: &str) -> String {
        let (status, ticket) = self.ask(1, "POST", "/sensors/tokens", json!({"group": "racks"})).await;
        assert_eq!(status, StatusCode::CREATED, "{ticket}");
        assert_eq!(
            ticket["command"],
            format!(
                "aviary sensor enrol {} {}",
                self.base.trim_end_matches("/api/v1"),
                ticket["token"].as_str().expect("a token")
            )
        );
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(Vec::new()).expect("parameters");
        let request = params.serialize_request(&key).and_then(|request| request.pem()).expect("a request");
        let body = json!({"token": ticket["token"], "name": name, "request": request});
        let asked = self.client(None).post(format!("{}/sensor/enrol", self.base)).json(&body);
        let (status, given) = both(asked.send().await.expect("an answer")).await;
        assert_eq!((status, &given["name"]), (StatusCode::CREATED, &json!(name)), "{given}");
        format!("{}{}", given["certificate"].as_str().expect("a certificate"), key.serialize_pem())
    }
}

#[tokio::test]
async fn a_certificate_lets_a_sensor_send_and_ask_until_it_is_revoked() {
    let hub = run().await;
    let client = hub.client(Some(&hub.enrol("north").await));
    let turn = async || {
        let body = json!({"version": "9", "services": [{"service": "ftp", "port": 21}], "time": 1});
        let asked = client.post(format!("{}/sensor/turn", hub.base)).json(&body);
        both(asked.send().await.expect("an answer")).await
    };
    let (status, orders) = turn().await;
    assert_eq!((status, orders), (StatusCode::OK, json!({"renew": false})));
    let send = async || {
        let sent = client.post(format!("{}/events", hub.base)).body(line("10.0.0.1"));
        both(sent.send().await.expect("an answer")).await
    };
    let (status, answer) = send().await;
    assert_eq!((status, &answer["accepted"]), (StatusCode::OK, &json!(1)));
    let (_, found) = hub.ask(0, "GET", "/events?sensor=north", json!({})).await;
    assert_eq!(found["events"].as_array().map(Vec::len), Some(1), "{found}");
    let (_, shown) = hub.ask(0, "GET", "/sensors/north", json!({})).await;
    assert_eq!((&shown["version"], &shown["state"], &shown["group"]), (&json!("9"), &json!("never"), &json!("racks")));
    assert!(shown["clock_skew_seconds"].is_null(), "no number of seconds is as wrong as that clock: {shown}");
    let listed = client.get(format!("{}/sensors", hub.base)).send().await.expect("an answer");
    assert_eq!(listed.status(), StatusCode::FORBIDDEN, "a sensor sees nothing of others");
    let (status, _) = hub.ask(1, "POST", "/sensors/north/revoke", json!({})).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!((send().await.0, turn().await.0), (StatusCode::UNAUTHORIZED, StatusCode::UNAUTHORIZED));
}

#[tokio::test]
async fn nobody_is_a_sensor_without_a_certificate_and_nobody_administers_by_reading() {
    let hub = run().await;
    hub.enrol("north").await;
    for path in ["/sensor/turn", "/sensor/renew"] {
        let (status, why) = hub.ask(1, "POST", path, json!({"request": ""})).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{path}: {why}");
    }
    for (method, path, body) in [
        ("POST", "/sensors/tokens", json!({})),
        ("PATCH", "/sensors/north", json!({"site": "x"})),
        ("POST", "/sensors/north/revoke", json!({})),
        ("POST", "/sensors/north/renew", json!({})),
        ("POST", "/sensors/north/drill", json!({})),
        ("GET", "/sensors/north/config", json!({})),
        ("GET", "/configs/racks", json!({})),
        ("PUT", "/configs/racks", json!({"text": "x"})),
        ("GET", "/configs/racks/diff", json!({})),
        ("POST", "/configs/racks/push", json!({"version": 1})),
    ] {
        let (status, why) = hub.ask(0, method, path, body).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{method} {path}: {why}");
    }
    for (method, path, body, wanted) in [
        ("POST", "/sensors/tokens", json!({"group": "a/b"}), StatusCode::BAD_REQUEST),
        ("POST", "/sensors/tokens", json!({"expires": "2020-01-01T00:00:00Z"}), StatusCode::BAD_REQUEST),
        ("PATCH", "/sensors/north", json!({"site": "a\nb"}), StatusCode::BAD_REQUEST),
        ("PATCH", "/sensors/south", json!({"site": "b"}), StatusCode::NOT_FOUND),
        ("POST", "/sensors/north/drill", json!({}), StatusCode::CONFLICT),
        ("PUT", "/configs/racks", json!({"text": " "}), StatusCode::BAD_REQUEST),
        ("PUT", "/configs/racks", json!({"text": "x".repeat(300_000)}), StatusCode::PAYLOAD_TOO_LARGE),
        ("GET", "/configs/racks", json!({}), StatusCode::NOT_FOUND),
        ("POST", "/configs/racks/push", json!({"version": 1}), StatusCode::NOT_FOUND),
    ] {
        let (status, why) = hub.ask(1, method, path, body).await;
        assert_eq!(status, wanted, "{method} {path}: {why}");
    }
    let (_, put) = hub.ask(1, "PUT", "/configs/racks", json!({"text": "a = 1\n"})).await;
    assert_eq!((&put["version"], &put["state"], &put["by"]), (&json!(1), &json!("draft"), &json!("anna")));
    let (status, _) = hub.ask(1, "POST", "/configs/racks/push", json!({"version": 1})).await;
    assert_eq!(status, StatusCode::CONFLICT, "no sensor detects");
}
