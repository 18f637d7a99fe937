//! Ways in for canaries that are not ours, and what a hub says that cannot take more.

use aviary_hub::{Scope, Token, make_token};
use aviary_store::Options;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{INGEST, READ, Running, both, line, run, run_on};

impl Running {
    async fn administrator(&self) -> String {
        let scopes = vec![Scope::Read, Scope::Administer];
        let token = Token { name: "boss".to_owned(), scopes, sensor: None, site: String::new(), nodes: Vec::new() };
        make_token(self.hub.store().as_ref(), &token, "test", self.hub.now()).await.expect("a token")
    }

    async fn change(&self, token: &str, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        let request = self.client.request(method, format!("{}{path}", self.base)).bearer_auth(token);
        let answer = request.json(&body).send().await.expect("an answer");
        (answer.status(), answer.json().await.unwrap_or_default())
    }
}

#[tokio::test]
async fn a_webhook_of_opencanary_is_taken_as_form_and_as_json() {
    let hub = run().await;
    let post = |kind: &'static str, body: String| {
        let request = hub.client.post(format!("{}/api/v1/opencanary", hub.base)).bearer_auth(&hub.tokens[INGEST]);
        async move { both(request.header("content-type", kind).body(body).send().await.expect("an answer")).await }
    };
    let form = form_urlencoded::Serializer::new(String::new()).append_pair("message", &line("10.0.0.1")).finish();
    let (status, answer) = post("application/x-www-form-urlencoded", form).await;
    assert_eq!((status, &answer["accepted"]), (StatusCode::OK, &json!(1)), "{answer}");
    let body = json!({"text": format!("canary: {}", line("10.0.0.2")), "channel": "#alerts"});
    let (status, answer) = post("application/json", body.to_string()).await;
    assert_eq!((status, &answer["accepted"]), (StatusCode::OK, &json!(1)), "{answer}");
    let (status, answer) = post("application/json", line("10.0.0.2")).await;
    assert_eq!((status, &answer["duplicate"]), (StatusCode::OK, &json!(1)), "{answer}");
    let (status, why) = post("application/json", "{\"message\": \"hello\"}".to_owned()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(why["detail"].as_str().is_some_and(|detail| detail.contains("`logtype`")), "{why}");
    let (status, _) = post("application/json", " ".repeat(3 << 20)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let (status, answer) = post("application/json", "{\"logtype\": \"x\"}".to_owned()).await;
    assert_eq!((status, &answer["rejected"][0]["index"]), (StatusCode::BAD_REQUEST, &json!(0)), "{answer}");
}

#[tokio::test]
async fn what_is_sent_to_opencanary_web_is_taken_with_a_token_only() {
    let hub = run().await;
    let post = |user: Option<String>| {
        let mut request = hub.client.post(format!("{}/log/", hub.base)).body(line("10.0.0.1"));
        if let Some(token) = user {
            request = request.basic_auth("canary", Some(token));
        }
        async move { both(request.send().await.expect("an answer")).await }
    };
    assert_eq!(post(None).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(post(Some("avt_0".to_owned())).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(post(Some(hub.tokens[READ].clone())).await.0, StatusCode::FORBIDDEN);
    let (status, answer) = post(Some(hub.tokens[INGEST].clone())).await;
    assert_eq!((status, &answer["accepted"]), (StatusCode::OK, &json!(1)), "{answer}");
    let (_, again) = hub.post(INGEST, "/log/", "identity", line("10.0.0.1").into_bytes()).await;
    assert_eq!(again["duplicate"], json!(1), "{again}");
}

#[tokio::test]
async fn senders_are_named_by_administrators_and_checked() {
    let hub = run().await;
    let boss = hub.administrator().await;
    let (there, sender) = (&hub, &boss);
    let put = async |name: &str, body: Value| {
        there.change(sender, Method::PUT, &format!("/api/v1/senders/{name}"), body).await
    };
    let (status, row) = put("north", json!({"networks": ["10.0.0.7"], "nodes": ["north-1"]})).await;
    assert_eq!((status, &row["networks"]), (StatusCode::OK, &json!(["10.0.0.7"])), "{row}");
    let (status, _) = put("north", json!({"networks": ["10.0.0.8"]})).await;
    assert_eq!(status, StatusCode::OK);
    for (body, word) in [
        (json!({"networks": ["0.0.0.0/0"]}), "everybody"),
        (json!({"networks": ["ten"]}), "`ten`"),
        (json!({"networks": ["10.0.0.8"]}), "`north`"),
    ] {
        let (status, why) = put("south", body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(why["detail"].as_str().is_some_and(|detail| detail.contains(word)), "{why}");
    }
    let (_, all) = hub.get(READ, "/api/v1/senders").await;
    assert_eq!(all["senders"], json!([{"name": "north", "networks": ["10.0.0.8"], "site": "", "nodes": []}]));
    assert!(hub.hub.senders().find("10.0.0.8".parse().expect("an address")).is_some());
    let (status, _) = hub.change(&hub.tokens[READ], Method::DELETE, "/api/v1/senders/north", json!({})).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let (status, _) = hub.change(&boss, Method::DELETE, "/api/v1/senders/north", json!({})).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert!(hub.hub.senders().find("10.0.0.8".parse().expect("an address")).is_none());
    let (status, _) = hub.change(&boss, Method::DELETE, "/api/v1/senders/north", json!({})).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_clock_that_is_wrong_and_what_was_refused_are_shown() {
    let hub = run().await;
    let behind = aviary_event::Timestamp::from_micros(hub.hub.now().as_micros() - 7200 * 1_000_000);
    let time = behind.to_rfc3339(&jiff::tz::TimeZone::UTC).replace('T', " ").replace('Z', "");
    let late = format!(r#"{{"logtype": 1000, "src_host": "10.0.0.1", "utc_time": "{time}"}}"#);
    let body = format!("{late}\nnonsense\n");
    hub.post(INGEST, "/api/v1/events", "identity", body.into_bytes()).await;
    let (status, shown) = hub.get(READ, "/api/v1/intake").await;
    assert_eq!(status, StatusCode::OK);
    let sensor = &shown["sensors"][0];
    assert_eq!(
        (&sensor["name"], &sensor["accepted"], &sensor["refused"], &sensor["refusal"]["reason"]),
        (&json!("north"), &json!(1), &json!(1), &json!("not JSON")),
        "{shown}"
    );
    let skew = sensor["clock_skew_seconds"].as_i64().expect("a number");
    assert!((-7260..=-7199).contains(&skew), "{skew}");
}

#[tokio::test]
async fn a_full_disk_is_503_and_the_hub_goes_on_reading() {
    let hub = run_on(|options| Options { largest: Some(600_000), ..options }).await;
    let mut taken = 0;
    let full = loop {
        let body: String = (0..200).map(|number| line(&format!("10.0.{taken}.{number}")) + "\n").collect();
        let request = hub.client.post(format!("{}/api/v1/events", hub.base)).bearer_auth(&hub.tokens[INGEST]);
        let answer = request.body(body).send().await.expect("an answer");
        if answer.status() != StatusCode::OK {
            break answer;
        }
        taken += 1;
        assert!(taken < 200, "it is never full");
    };
    assert_eq!(full.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(full.headers().contains_key("retry-after"));
    let query = "/api/v1/events?limit=1000";
    let (mut found, mut next) = (0, hub.get(READ, query).await.1);
    loop {
        found += next["events"].as_array().map_or(0, Vec::len);
        let Some(after) = next["next"].as_str().map(str::to_owned) else { break };
        next = hub.get(READ, &format!("{query}&after={after}")).await.1;
    }
    assert_eq!(found, taken * 200, "what was answered for is there, and nothing else");
}

#[tokio::test]
async fn a_sensor_that_sends_too_much_is_429_and_others_are_taken() {
    let hub = run().await;
    let mut place = hub.hub.room().place("north");
    while place.grow(1 << 20) {}
    let long = format!("{}\n{}", line("10.0.0.1"), " ".repeat(2 << 20));
    let request = hub.client.post(format!("{}/api/v1/events", hub.base)).bearer_auth(&hub.tokens[INGEST]);
    let answer = request.body(long.clone()).send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(answer.headers().contains_key("retry-after"));
    drop(place);
    let (status, _) = hub.post(INGEST, "/api/v1/events", "identity", long.into_bytes()).await;
    assert_eq!(status, StatusCode::OK);
}
