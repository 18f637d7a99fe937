//! Channels, policies, suppressions and the ledger over HTTP.

use std::sync::Arc;

use aviary_api::routes;
use aviary_hub::{Channels, Hub, Scope, Seal, Token, make_token};
use aviary_store::{Options, Sqlite};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{line, spawn};

struct Desk {
    _folder: TempDir,
    base: String,
    client: Client,
    admin: String,
    analyst: String,
    viewer: String,
    sensor: String,
}

async fn desk() -> Desk {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().expect("a folder");
    let store = Arc::new(Sqlite::open(Options::at(folder.path().join("hub.db"))).expect("a store"));
    let channels = Channels { seal: Some(Seal::new(&[7; 32]).expect("a key")), local: false };
    let hub = Hub::new(store, aviary_hub::clock::now).await.expect("a hub").with_channels(channels);
    let token = async |name: &str, scopes: &[Scope]| {
        let sensor = scopes.contains(&Scope::Ingest).then(|| "north".to_owned());
        let (name, scopes) = (name.to_owned(), scopes.to_vec());
        let token = Token { name, scopes, sensor, site: String::new(), nodes: Vec::new() };
        make_token(hub.store().as_ref(), &token, "test", hub.now()).await.expect("a token")
    };
    let admin = token("admin", &[Scope::Read, Scope::Act, Scope::Administer]).await;
    let analyst = token("analyst", &[Scope::Read, Scope::Act]).await;
    let viewer = token("viewer", &[Scope::Read]).await;
    let sensor = token("sensor", &[Scope::Ingest]).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let base = format!("http://{}/api/v1", listener.local_addr().expect("an address"));
    let (router, _) = routes(Arc::new(hub));
    drop(spawn(async move { axum::serve(listener, router).await }));
    Desk { _folder: folder, base, client: Client::new(), admin, analyst, viewer, sensor }
}

impl Desk {
    async fn ask(&self, token: &str, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let mut request = self.client.request(method, format!("{}{path}", self.base)).bearer_auth(token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.expect("an answer");
        let status = answer.status();
        let text = answer.text().await.expect("text");
        (status, if text.is_empty() { Value::Null } else { serde_json::from_str(&text).expect("JSON") })
    }

    async fn get(&self, path: &str) -> Value {
        let (status, answer) = self.ask(&self.viewer, Method::GET, path, None).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer
    }

    async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.ask(&self.admin, Method::POST, path, Some(body)).await
    }

    async fn take(&self, lines: &[String]) {
        let request = self.client.post(format!("{}/events", self.base)).bearer_auth(&self.sensor);
        let answer = request.body(lines.join("\n")).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK);
    }
}

fn hook() -> Value {
    json!({"name": "hook", "class": "webhook", "options": {"url": "http://127.0.0.1:9/secret-path", "timeout": 1}})
}

fn rule(name: &str) -> Value {
    json!({"name": name, "reason": "ours", "expires": "2099-01-01T00:00:00Z",
           "match": {"sources": ["10.0.0.1"], "hours": {"from": "00:00", "to": "00:00", "zone": "UTC"}}})
}

#[tokio::test]
async fn who_may_do_what_with_alerts() {
    let desk = desk().await;
    let policy = json!({"name": "all", "channels": ["hook"]});
    let proposal = json!({"match": {"ports": [22]}});
    // In this order each finds what it needs; the least role that may, and the status for it.
    let routes = [
        (Method::GET, "/channels", None, "viewer", StatusCode::OK),
        (Method::GET, "/channels/classes", None, "viewer", StatusCode::OK),
        (Method::POST, "/channels", Some(hook()), "admin", StatusCode::CREATED),
        (Method::PUT, "/channels/hook", Some(hook()), "admin", StatusCode::OK),
        (Method::POST, "/channels/hook/test", None, "analyst", StatusCode::OK),
        (Method::GET, "/policies", None, "viewer", StatusCode::OK),
        (Method::POST, "/policies", Some(policy.clone()), "admin", StatusCode::CREATED),
        (Method::GET, "/policies/all", None, "viewer", StatusCode::OK),
        (Method::PUT, "/policies/all", Some(policy), "admin", StatusCode::OK),
        (Method::DELETE, "/policies/all", None, "admin", StatusCode::NO_CONTENT),
        (Method::DELETE, "/channels/hook", None, "admin", StatusCode::NO_CONTENT),
        (Method::GET, "/deliveries", None, "viewer", StatusCode::OK),
        (Method::GET, "/suppressions", None, "viewer", StatusCode::OK),
        (Method::POST, "/suppressions/preview", Some(proposal), "viewer", StatusCode::OK),
        (Method::POST, "/suppressions", Some(rule("r")), "analyst", StatusCode::CREATED),
        (Method::PUT, "/suppressions/r", Some(rule("r")), "analyst", StatusCode::OK),
        (Method::DELETE, "/suppressions/r", None, "analyst", StatusCode::NO_CONTENT),
    ];
    let rank = |role: &str| ["sensor", "viewer", "analyst", "admin"].iter().position(|known| *known == role);
    for (method, path, body, least, success) in routes {
        let callers = [("sensor", &desk.sensor), ("viewer", &desk.viewer), ("analyst", &desk.analyst)];
        for (role, token) in callers.into_iter().filter(|(role, _)| rank(role) < rank(least)) {
            let (status, _) = desk.ask(token, method.clone(), path, body.clone()).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{role}: {method} {path}");
        }
        let (status, _) = desk.ask("avt_unknown", method.clone(), path, body.clone()).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{method} {path}");
        let token = match least {
            "viewer" => &desk.viewer,
            "analyst" => &desk.analyst,
            _ => &desk.admin,
        };
        let (status, answer) = desk.ask(token, method.clone(), path, body).await;
        assert_eq!(status, success, "{least}: {method} {path}: {answer}");
    }
}

#[tokio::test]
async fn channels_show_no_secrets_and_say_what_they_need() {
    let desk = desk().await;
    let classes = desk.get("/channels/classes").await;
    let classes = classes["classes"].as_array().expect("a list");
    let of = |class: &str| classes.iter().find(|known| known["class"] == class);
    let keys = of("ntfy").expect("ntfy")["keys"].as_array().expect("a list").clone();
    let topic = keys.iter().find(|key| key["name"] == "topic").expect("a topic");
    assert_eq!((&topic["required"], &topic["secret"]), (&json!(true), &json!(true)));
    assert!(of("exec").is_none() && of("file").is_none() && classes.len() > 20, "{}", classes.len());
    let (status, made) = desk.post("/channels", hook()).await;
    assert_eq!(
        (status, &made["state"], &made["options"]["url"]),
        (StatusCode::CREATED, &json!("never used"), &json!("***"))
    );
    let (status, _) = desk.post("/channels", hook()).await;
    assert_eq!(status, StatusCode::CONFLICT);
    let (_, tested) = desk.ask(&desk.admin, Method::POST, "/channels/hook/test", None).await;
    assert_eq!(tested["delivered"], false);
    assert!(
        !tested.to_string().contains("secret-path") && !desk.get("/channels").await.to_string().contains("secret-path")
    );
    let stale = Some(json!({"name": "hook", "class": "null"}));
    let (status, why) = desk.ask(&desk.admin, Method::PUT, "/channels/hook?version=7", stale.clone()).await;
    assert_eq!(
        (status, &why["detail"]),
        (StatusCode::CONFLICT, &json!("it was changed in between; its version is now 1"))
    );
    let (status, changed) = desk.ask(&desk.admin, Method::PUT, "/channels/hook?version=1", stale).await;
    assert_eq!((status, &changed["version"]), (StatusCode::OK, &json!(2)));
    let (status, _) = desk.ask(&desk.admin, Method::POST, "/channels/nobody/test", None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn policies_come_back_as_they_were_written() {
    let desk = desk().await;
    desk.post("/channels", json!({"name": "none", "class": "null"})).await;
    let policy = json!({
        "name": "night", "version": 1, "severity": "high", "kinds": ["login_attempt", "5001"], "groups": ["berlin"],
        "schedule": {"days": ["mon"], "from": "22:00", "to": "06:00", "zone": "Europe/Berlin"}, "channels": ["none"],
        "budget": {"messages": 3, "per": "1h"}, "digest": "15m", "enabled": false,
    });
    let (status, made) = desk.post("/policies", policy.clone()).await;
    assert_eq!((status, &made), (StatusCode::CREATED, &policy));
    assert_eq!(desk.get("/policies").await, json!({"policies": [policy], "next": null}));
    for (change, words) in [
        (json!({"name": "x", "channels": ["nowhere"]}), "`channels` names `nowhere`"),
        (json!({"name": "x", "channels": ["none"], "digest": "soon"}), "`digest` says `soon`"),
        (json!({"name": "a/b", "channels": ["none"]}), "`name` takes"),
    ] {
        let (status, why) = desk.post("/policies", change).await;
        let detail = why["detail"].as_str().unwrap_or_default();
        assert!(status == StatusCode::BAD_REQUEST && detail.starts_with(words), "{why}");
    }
    let (status, why) = desk.ask(&desk.admin, Method::DELETE, "/channels/none", None).await;
    assert_eq!(
        (status, &why["detail"]),
        (StatusCode::CONFLICT, &json!("the policy `night` sends to it; change that first"))
    );
}

#[tokio::test]
async fn a_rule_is_previewed_hides_counts_and_lets_go() {
    let desk = desk().await;
    let count = async || desk.get("/incidents").await["incidents"].as_array().map_or(0, Vec::len);
    desk.take(&[line("10.0.0.1"), line("10.0.0.12")]).await;
    let preview = |text: Value| desk.post("/suppressions/preview", json!({ "match": text }));
    let (status, seen) = preview(json!({"sources": ["10.0.0.1"]})).await;
    assert_eq!((status, &seen["events"], &seen["complete"]), (StatusCode::OK, &json!(1), &json!(true)));
    assert_eq!((&seen["incidents"], seen["sample"].as_array().map(Vec::len)), (&json!([1]), Some(1)));
    let (_, both) = preview(json!({"sources": ["10.0.0.0/24"], "kinds": ["login"]})).await;
    assert_eq!((&both["events"], &both["incidents"]), (&json!(2), &json!([1, 2])));
    let (status, why) = preview(json!({})).await;
    assert!(
        status == StatusCode::BAD_REQUEST && why["detail"].as_str().unwrap_or_default().contains("hide everything")
    );
    let (status, made) = desk.post("/suppressions", rule("scanner")).await;
    assert_eq!((status, &made["owner"], &made["hits"]), (StatusCode::CREATED, &json!("admin"), &json!(0)));
    assert_eq!(
        made["match"]["hours"],
        rule("x")["match"]["hours"]
            .as_object()
            .map(|hours| {
                let mut hours = hours.clone();
                hours.insert("days".to_owned(), json!([]));
                Value::Object(hours)
            })
            .expect("hours")
    );
    desk.take(&[line("10.0.0.1").replace("root", "second"), line("10.0.0.3")]).await;
    let list = desk.get("/suppressions").await;
    assert_eq!((&list["suppressions"][0]["hits"], list["suppressions"][0]["last_hit"].is_string()), (&json!(1), true));
    assert_eq!(count().await, 3);
    assert_eq!(desk.get("/events?hidden=true").await["events"].as_array().map(Vec::len), Some(1), "nothing is deleted");
    let (status, _) = desk.ask(&desk.analyst, Method::DELETE, "/suppressions/scanner", None).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    desk.take(&[line("10.0.0.1").replace("root", "third")]).await;
    let first = desk.get("/incidents/1").await;
    assert_eq!(first["events"], 2, "what comes is shown again");
}
