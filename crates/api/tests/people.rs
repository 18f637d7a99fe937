//! People over HTTP: cookies, headers, limits, and what nobody is told.

use std::sync::Arc;

use aviary_hub::{Hub, Link, Role};
use aviary_store::{Networks, Options, Sqlite};
use data_encoding::BASE32_NOPAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const COOKIE: &str = "__Host-aviary";
const PASSWORD: &str = "correct horse battery";

/// A hub that is served as the program serves it, but without TLS.
pub(crate) struct Stand {
    _folder: TempDir,
    pub(crate) hub: Arc<Hub>,
    pub(crate) base: String,
    pub(crate) client: Client,
}

impl Stand {
    pub(crate) async fn new(proxies: Vec<Networks>) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().expect("a folder");
        let store = Arc::new(Sqlite::open(Options::at(folder.path().join("hub.db"))).expect("a store"));
        let hub = Arc::new(Hub::new(store, aviary_hub::clock::now).await.expect("a hub"));
        let authority = aviary_hub::Authority::open(folder.path(), hub.now()).expect("an authority");
        hub.sensors().open(Arc::new(authority), true, aviary_hub::sensors::Pace::default(), 90);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let (router, _) = aviary_api::routes(Arc::clone(&hub));
        let router = aviary_api::behind(router, proxies);
        drop(crate::spawn(aviary_api::serve(listener, None, router, std::future::pending())));
        Self { _folder: folder, hub, base, client: Client::new() }
    }

    /// Makes the admin anna.
    pub(crate) async fn set_up(&self) {
        let token = self.hub.people().first_link().await.expect("done").expect("a link");
        self.open(&token, Some("anna")).await;
    }

    /// Makes somebody else.
    pub(crate) async fn join(&self, name: &str, role: Role) {
        let (_, token) = self.hub.people().invite(name, role, "anna").await.expect("invited");
        self.open(&token, None).await;
    }

    async fn open(&self, token: &str, name: Option<&str>) {
        let address = [127, 0, 0, 1].into();
        self.hub.people().open_link(Link { token, name, password: PASSWORD, address }).await.expect("opened");
    }

    /// Signs in; gives what the cookie says.
    pub(crate) async fn sign_in(&self, name: &str) -> String {
        let answer =
            self.send(Method::POST, "/api/v1/session", None, json!({"name": name, "password": PASSWORD})).await;
        assert_eq!(answer.status(), StatusCode::OK);
        cookie(&answer).expect("a cookie")
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.client.get(format!("{}{path}", self.base)).send().await.expect("an answer")
    }

    fn request(&self, method: Method, path: &str, session: Option<&str>) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.base)).header("x-aviary", "console");
        match session {
            None => request,
            Some(session) => request.header("cookie", format!("other=1; {COOKIE}={session}")),
        }
    }

    async fn send(&self, method: Method, path: &str, session: Option<&str>, body: Value) -> Response {
        self.request(method, path, session).json(&body).send().await.expect("an answer")
    }

    async fn asks(&self, method: Method, path: &str, session: &str, body: Value) -> (StatusCode, Value) {
        let answer = self.send(method, path, Some(session), body).await;
        (answer.status(), answer.json().await.unwrap_or_default())
    }
}

fn cookie(answer: &Response) -> Option<String> {
    let text = answer.headers().get("set-cookie")?.to_str().ok()?;
    let (value, attributes) = text.strip_prefix(&format!("{COOKIE}="))?.split_once("; ")?;
    assert!(attributes.ends_with("Path=/; Secure; HttpOnly; SameSite=Strict"), "{attributes}");
    Some(value.to_owned())
}

/// The code of a secret, some steps from now.
fn code(secret: &str, steps: i64) -> String {
    let secret = BASE32_NOPAD.decode(secret.as_bytes()).expect("Base32");
    let mut mac = Hmac::<sha1::Sha1>::new_from_slice(&secret).expect("a key");
    mac.update(&(aviary_hub::clock::now().as_seconds() / 30 + steps).to_be_bytes());
    let digest = mac.finalize().into_bytes();
    let at = usize::from(digest[19] & 15);
    let number = u32::from_be_bytes([digest[at], digest[at + 1], digest[at + 2], digest[at + 3]]);
    format!("{:06}", (number & 0x7fff_ffff) % 1_000_000)
}

#[tokio::test]
async fn the_first_admin_is_made_with_the_link_and_stays_signed_in() {
    let stand = Stand::new(Vec::new()).await;
    let needed: Value = stand.get("/api/v1/setup").await.json().await.expect("JSON");
    assert_eq!(needed, json!({"needed": true}));
    let token = stand.hub.people().first_link().await.expect("done").expect("a link");
    let body = json!({"token": token, "name": "Anna", "password": PASSWORD});
    let answer = stand.send(Method::POST, "/api/v1/setup", None, body.clone()).await;
    assert_eq!(answer.status(), StatusCode::CREATED);
    let session = cookie(&answer).expect("a cookie");
    let mut who: Value = answer.json().await.expect("JSON");
    let expires = who.as_object_mut().expect("an object").remove("expires");
    let expires = expires.and_then(|text| aviary_event::Timestamp::parse_rfc3339(text.as_str()?)).expect("a time");
    let seconds = expires.as_seconds() - aviary_hub::clock::now().as_seconds();
    assert!((3000..=3600).contains(&seconds), "{seconds}");
    let said = json!({"name": "anna", "role": "admin", "scopes": ["read", "act", "administer"], "totp": false});
    assert_eq!(who, said);
    let (status, now) = stand.asks(Method::GET, "/api/v1/session", &session, json!({})).await;
    assert_eq!((status, &now["name"]), (StatusCode::OK, &json!("anna")));
    let again = stand.send(Method::POST, "/api/v1/setup", None, body).await;
    assert_eq!(again.status(), StatusCode::GONE);
    let needed: Value = stand.get("/api/v1/setup").await.json().await.expect("JSON");
    assert_eq!(needed, json!({"needed": false}));
    let out = stand.request(Method::DELETE, "/api/v1/session", Some(&session)).send().await.expect("an answer");
    assert_eq!((out.status(), cookie(&out)), (StatusCode::NO_CONTENT, Some(String::new())));
    let (status, why) = stand.asks(Method::GET, "/api/v1/session", &session, json!({})).await;
    assert_eq!((status, &why["detail"]), (StatusCode::UNAUTHORIZED, &json!("the session has ended; sign in again")));
}

#[tokio::test]
async fn who_is_wrong_is_told_nothing_and_after_some_tries_to_wait() {
    let stand = Stand::new(Vec::new()).await;
    stand.set_up().await;
    let mut told = Vec::new();
    for (name, password) in [("anna", "wrong"), ("nobody", PASSWORD)] {
        let answer =
            stand.send(Method::POST, "/api/v1/session", None, json!({"name": name, "password": password})).await;
        assert_eq!((answer.status(), cookie(&answer)), (StatusCode::UNAUTHORIZED, None));
        told.push(answer.text().await.expect("a text"));
    }
    assert_eq!(told[0], told[1]);
    let last = loop {
        let body = json!({"name": "nobody", "password": "wrong"});
        let answer = stand.send(Method::POST, "/api/v1/session", None, body).await;
        if answer.status() != StatusCode::UNAUTHORIZED {
            break answer;
        }
    };
    assert_eq!(last.status(), StatusCode::TOO_MANY_REQUESTS);
    let seconds: u64 = last.headers()["retry-after"].to_str().expect("text").parse().expect("a number");
    assert!((1..=61).contains(&seconds), "{seconds}");
    stand.sign_in("anna").await;
}

#[tokio::test]
async fn a_page_of_another_site_changes_nothing() {
    let stand = Stand::new(Vec::new()).await;
    stand.set_up().await;
    let session = stand.sign_in("anna").await;
    let cookie = format!("{COOKIE}={session}");
    let tries = [(None, "application/json"), (Some("other"), "application/json"), (None, "text/plain")];
    for (mark, kind) in tries {
        let request = stand.client.post(format!("{}/api/v1/people", stand.base)).header("cookie", &cookie);
        let request = request.header("content-type", kind).body(r#"{"name": "eve", "role": "admin"}"#);
        let request = if let Some(mark) = mark { request.header("x-aviary", mark) } else { request };
        assert_eq!(request.send().await.expect("an answer").status(), StatusCode::FORBIDDEN);
    }
    assert_eq!(stand.hub.people().list().await.expect("a list").len(), 1);
    // Nor does it sign anybody in: what a form can send is not read.
    let request = stand.client.post(format!("{}/api/v1/session", stand.base)).header("content-type", "text/plain");
    let answer =
        request.body(format!(r#"{{"name": "anna", "password": "{PASSWORD}"}}"#)).send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn every_answer_tells_browsers_what_they_may_not_do() {
    let stand = Stand::new(Vec::new()).await;
    for path in ["/health", "/api/v1/openapi.json", "/api/v1/events", "/nothing", "/api/v1/setup"] {
        let answer = stand.get(path).await;
        let headers = answer.headers();
        let policy = headers["content-security-policy"].to_str().expect("text");
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(headers["x-frame-options"], "DENY");
        assert_eq!(headers["referrer-policy"], "no-referrer");
        assert_eq!(headers["strict-transport-security"], "max-age=31536000");
        assert_eq!(headers["cache-control"], "no-store");
    }
}

#[tokio::test]
async fn who_is_refused_hears_so_though_the_body_comes_later_and_may_ask_again_on_the_same_connection() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let stand = Stand::new(Vec::new()).await;
    let mut peer = tokio::net::TcpStream::connect(stand.base.trim_start_matches("http://")).await.expect("connected");
    for _ in 0..3 {
        let head =
            "POST /api/v1/people HTTP/1.1\r\nHost: hub\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n\r\n";
        peer.write_all(head.as_bytes()).await.expect("sent");
        // Whoever answers now has not read the body.
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        peer.write_all(b"0123456789").await.expect("sent");
        let mut heard = Vec::new();
        while !heard.ends_with(b"}") {
            let count = peer.read_buf(&mut heard).await.expect("an answer");
            assert!(count > 0, "closed after {}", String::from_utf8_lossy(&heard));
        }
        assert!(heard.starts_with(b"HTTP/1.1 401"), "{}", String::from_utf8_lossy(&heard));
    }
}

#[tokio::test]
async fn only_a_proxy_that_was_named_says_who_asks() {
    let local = Networks::parse("127.0.0.0/8").expect("a network");
    for (proxies, limited) in [(vec![], true), (vec![local], false)] {
        let stand = Stand::new(proxies).await;
        let mut statuses = Vec::new();
        for number in 0..31 {
            let body = json!({"token": "none", "name": "anna", "password": PASSWORD});
            let request = stand.request(Method::POST, "/api/v1/setup", None).json(&body);
            let request = request.header("x-forwarded-for", format!("127.0.0.9, 192.0.2.{number}"));
            statuses.push(request.send().await.expect("an answer").status());
        }
        assert_eq!(statuses[..30], [StatusCode::GONE; 30]);
        assert_eq!(statuses[30] == StatusCode::TOO_MANY_REQUESTS, limited);
    }
}

#[tokio::test]
async fn a_second_factor_is_asked_for_once_it_is_on() {
    let stand = Stand::new(Vec::new()).await;
    stand.set_up().await;
    let session = stand.sign_in("anna").await;
    let (status, factor) = stand.asks(Method::POST, "/api/v1/session/totp", &session, json!({})).await;
    assert_eq!(status, StatusCode::OK);
    let secret = factor["secret"].as_str().expect("a secret").to_owned();
    assert!(factor["uri"].as_str().is_some_and(|uri| uri.contains(&secret)));
    let on = |code: String| stand.asks(Method::PUT, "/api/v1/session/totp", &session, json!({"code": code}));
    assert_eq!(on("12345".to_owned()).await.0, StatusCode::FORBIDDEN);
    assert_eq!(on(code(&secret, 0)).await.0, StatusCode::NO_CONTENT);
    let sign_in = |code: Option<String>| {
        let mut body = json!({"name": "anna", "password": PASSWORD});
        if let Some(code) = code {
            body["code"] = code.into();
        }
        stand.send(Method::POST, "/api/v1/session", None, body)
    };
    let answer = sign_in(None).await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(answer.json::<Value>().await.expect("JSON")["code_needed"], true);
    // The code of the step after the one that turned it on: a telephone's clock may be that far ahead.
    let next = code(&secret, 1);
    assert_eq!(sign_in(Some(next.clone())).await.status(), StatusCode::OK);
    let again = sign_in(Some(next)).await;
    assert_eq!(again.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(again.json::<Value>().await.expect("JSON").get("code_needed"), None);
    let off =
        |password: &str| stand.asks(Method::DELETE, "/api/v1/session/totp", &session, json!({"password": password}));
    assert_eq!(off("wrong").await.0, StatusCode::FORBIDDEN);
    assert_eq!(off(PASSWORD).await.0, StatusCode::NO_CONTENT);
    assert_eq!(off(PASSWORD).await.0, StatusCode::CONFLICT);
    assert_eq!(sign_in(None).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn an_admin_invites_changes_resets_and_removes() {
    let stand = Stand::new(Vec::new()).await;
    stand.set_up().await;
    let anna = stand.sign_in("anna").await;
    let (status, made) =
        stand.asks(Method::POST, "/api/v1/people", &anna, json!({"name": "Bert", "role": "viewer"})).await;
    assert_eq!((status, &made["name"]), (StatusCode::CREATED, &json!("bert")));
    let token =
        |made: &Value| made["link"].as_str().and_then(|link| link.strip_prefix("#/setup/")).expect("a link").to_owned();
    let open = |token: String, password: &str| {
        stand.send(Method::POST, "/api/v1/setup", None, json!({"token": token, "name": "bert", "password": password}))
    };
    assert_eq!(open(token(&made), "short").await.status(), StatusCode::BAD_REQUEST);
    let bert = cookie(&open(token(&made), PASSWORD).await).expect("a cookie");
    let (_, people) = stand.asks(Method::GET, "/api/v1/people", &anna, json!({})).await;
    let bert_said = &people["people"][1];
    assert_eq!(
        (&bert_said["name"], &bert_said["role"], &bert_said["joined"], &bert_said["locked"], &bert_said["totp"]),
        (&json!("bert"), &json!("viewer"), &json!(true), &json!(false), &json!(false))
    );
    assert!(bert_said["last_sign_in"].is_string());
    let (status, _) = stand.asks(Method::GET, "/api/v1/people", &bert, json!({})).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let (status, _) = stand.asks(Method::PATCH, "/api/v1/people/bert", &anna, json!({"role": "admin"})).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let (status, _) = stand.asks(Method::GET, "/api/v1/people", &bert, json!({})).await;
    assert_eq!(status, StatusCode::OK, "the role counts at once");
    let (status, _) = stand.asks(Method::PUT, "/api/v1/session/password", &bert, json!({"old": "x", "new": "y"})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let change = json!({"old": PASSWORD, "new": "another horse battery"});
    let (status, _) = stand.asks(Method::PUT, "/api/v1/session/password", &bert, change.clone()).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let (status, _) = stand.asks(Method::PUT, "/api/v1/session/password", &bert, change).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "the old one is gone");
    let (status, made) = stand.asks(Method::POST, "/api/v1/people/bert/reset", &anna, json!({})).await;
    assert_eq!(status, StatusCode::OK);
    let (status, _) = stand.asks(Method::GET, "/api/v1/session", &bert, json!({})).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(open(token(&made), PASSWORD).await.status(), StatusCode::CREATED);
    for (expected, name) in [(204, "bert"), (404, "bert"), (409, "anna")] {
        let (status, why) = stand.asks(Method::DELETE, &format!("/api/v1/people/{name}"), &anna, json!({})).await;
        assert_eq!(status.as_u16(), expected, "{why}");
    }
}

#[tokio::test]
async fn tokens_are_made_used_and_removed() {
    let stand = Stand::new(Vec::new()).await;
    stand.set_up().await;
    let anna = stand.sign_in("anna").await;
    for (body, word) in [
        (json!({"name": "n", "scopes": []}), "`scopes`"),
        (json!({"name": "n", "scopes": ["ingest"]}), "`sensor`"),
        (json!({"name": " ", "scopes": ["read"]}), "`name`"),
        (json!({"name": "n", "scopes": ["read"], "nodes": ["\u{7}"]}), "`nodes`"),
    ] {
        let (status, why) = stand.asks(Method::POST, "/api/v1/tokens", &anna, body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(why["detail"].as_str().is_some_and(|detail| detail.contains(word)), "{why}");
    }
    let wanted = json!({"name": "north", "scopes": ["ingest", "read", "read"], "sensor": "north", "site": "Berlin"});
    let (status, made) = stand.asks(Method::POST, "/api/v1/tokens", &anna, wanted).await;
    assert_eq!((status, &made["scopes"]), (StatusCode::CREATED, &json!(["ingest", "read"])));
    let token = made["token"].as_str().expect("a token");
    let ask = || stand.client.get(format!("{}/api/v1/incidents", stand.base)).bearer_auth(token).send();
    assert_eq!(ask().await.expect("an answer").status(), StatusCode::OK);
    let (_, listed) = stand.asks(Method::GET, "/api/v1/tokens", &anna, json!({})).await;
    assert_eq!(listed["tokens"][0]["key"], made["key"]);
    assert!(listed["tokens"][0]["last_used"].is_string() && listed["tokens"][0]["created"].is_string());
    assert!(!listed.to_string().contains(token));
    let path = format!("/api/v1/tokens/{}", made["key"].as_str().expect("a key"));
    let (status, _) = stand.asks(Method::DELETE, &path, &anna, json!({})).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(ask().await.expect("an answer").status(), StatusCode::UNAUTHORIZED);
    let (status, _) = stand.asks(Method::DELETE, &path, &anna, json!({})).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn who_signs_out_hears_no_more() {
    let stand = Stand::new(Vec::new()).await;
    stand.set_up().await;
    let anna = stand.sign_in("anna").await;
    let mut live = stand.request(Method::GET, "/api/v1/live", Some(&anna)).send().await.expect("an answer");
    assert_eq!(live.status(), StatusCode::OK);
    stand.request(Method::DELETE, "/api/v1/session", Some(&anna)).send().await.expect("an answer");
    let end = async { while live.chunk().await.expect("an orderly end").is_some() {} };
    tokio::time::timeout(std::time::Duration::from_secs(60), end).await.expect("an end");
}

#[tokio::test]
async fn the_audit_log_names_who_did_what_and_no_secret() {
    let stand = Stand::new(Vec::new()).await;
    stand.set_up().await;
    let anna = stand.sign_in("anna").await;
    let (_, factor) = stand.asks(Method::POST, "/api/v1/session/totp", &anna, json!({})).await;
    let secret = factor["secret"].as_str().expect("a secret");
    let (status, _) = stand.asks(Method::PUT, "/api/v1/session/totp", &anna, json!({"code": code(secret, 0)})).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let (_, made) = stand.asks(Method::POST, "/api/v1/people", &anna, json!({"name": "bert", "role": "viewer"})).await;
    stand.asks(Method::PATCH, "/api/v1/people/bert", &anna, json!({"role": "admin"})).await;
    let mut all = String::new();
    let mut after = String::new();
    loop {
        let path = format!("/api/v1/audit?limit=2{after}");
        let (status, page) = stand.asks(Method::GET, &path, &anna, json!({})).await;
        assert_eq!(status, StatusCode::OK);
        all += &page["entries"].to_string();
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    let link = made["link"].as_str().and_then(|link| link.rsplit('/').next()).expect("a link");
    for hidden in ["argon2", secret, link, &*anna] {
        assert!(!all.contains(hidden), "{hidden} in {all}");
    }
    assert!(all.contains(r#""totp":"***""#) && all.contains(r#""password":"***""#), "{all}");
    let (_, page) = stand.asks(Method::GET, "/api/v1/audit?kind=person&who=anna&limit=1", &anna, json!({})).await;
    let entry = &page["entries"][0];
    assert_eq!(
        (&entry["by"], &entry["key"], &entry["change"], &entry["before"]["role"], &entry["after"]["role"]),
        (&json!("anna"), &json!("bert"), &json!("changed"), &json!("viewer"), &json!("admin"))
    );
}
