//! What the hub holds, looked at.

use reqwest::StatusCode;
use serde_json::json;

use super::{INGEST, READ, line, run};

#[tokio::test]
async fn the_overview_says_what_there_is_to_see_first() {
    let hub = run().await;
    let body = format!("{}\n{}\n{}", line("10.0.0.1"), line("10.0.0.12"), r#"{"logtype": 1001, "logdata": {}}"#);
    hub.post(INGEST, "/api/v1/events", "identity", body.into_bytes()).await;
    let (status, found) = hub.get(READ, "/api/v1/overview").await;
    assert_eq!(status, StatusCode::OK, "{found}");
    let open = json!({"critical": 0, "high": 2, "informational": 0, "low": 0, "medium": 0});
    assert_eq!(found["incidents"], json!({"open": open, "new_24h": 2}));
    assert_eq!(found["latest"].as_array().map(Vec::len), Some(2));
    assert_eq!(found["sensors"], json!({"total": 1, "alive": 1, "blind": 0, "late": 0, "silent": 0}));
    let trend = found["trend"].as_array().expect("a list");
    assert_eq!((trend.len(), &trend[47]["kinds"]), (48, &json!({"login_attempt": 2})));
    assert_eq!(found["top_sources"].as_array().map(Vec::len), Some(2));
    assert_eq!(found["top_sources"][0], json!({"source": "10.0.0.1", "realm": "", "events": 1}));
    assert_eq!(found["top_services"], json!([{"service": "ssh", "events": 2}]), "though OpenCanary does not say it");
    let (status, _) = hub.get(INGEST, "/api/v1/overview").await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}

fn login(id: usize, source: &str, user: &str, password: &str) -> String {
    json!({
        "logtype": 4002, "src_host": source, "src_port": id, "dst_host": "10.9.0.1", "dst_port": 22,
        "node_id": "=cmd|'/C calc'!A0", "logdata": {"USERNAME": user, "PASSWORD": password},
    })
    .to_string()
}

#[tokio::test]
async fn a_source_tells_its_story() {
    let hub = run().await;
    let lines = [
        login(1, "10.0.0.1", "root", "toor"),
        login(2, "10.0.0.1", "root", "toor"),
        login(3, "10.0.0.1", "<img src=x onerror=alert(1)>", "\u{202e}x"),
        login(4, "10.0.0.12", "root", "toor"),
        login(5, "2001:db8::1", "admin", ""),
    ];
    hub.post(INGEST, "/api/v1/events", "identity", lines.join("\n").into_bytes()).await;
    let (status, found) = hub.get(READ, "/api/v1/sources?cidr=10.0.0.0/8&limit=1").await;
    assert_eq!((status, found["sources"].as_array().map(Vec::len)), (StatusCode::OK, Some(1)), "{found}");
    let next = found["next"].as_str().expect("a next page");
    let (_, rest) = hub.get(READ, &format!("/api/v1/sources?cidr=10.0.0.0/8&after={next}")).await;
    assert_eq!((rest["sources"].as_array().map(Vec::len), &rest["next"]), (Some(1), &json!(null)));
    let (status, story) = hub.get(READ, "/api/v1/sources/10.0.0.1").await;
    assert_eq!(status, StatusCode::OK, "{story}");
    assert_eq!(
        (&story["events"], &story["severity"], &story["sensors"]),
        (&json!(3), &json!("high"), &json!(["north"]))
    );
    assert_eq!((story["incidents"].as_array().map(Vec::len), &story["incidents"][0]["events"]), (Some(1), &json!(3)));
    assert_eq!(story["timeline"][0]["events"], 3);
    assert_eq!((&story["credentials"][0]["password"], &story["credentials"][0]["count"]), (&json!("toor"), &json!(2)));
    let (status, _) = hub.get(READ, "/api/v1/sources/10.0.0.99").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, _) = hub.get(READ, "/api/v1/sources/10.0.0.1?realm=berlin").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, why) = hub.get(READ, "/api/v1/sources/10.0.0").await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{why}");
    let (_, tried) = hub.get(READ, "/api/v1/credentials").await;
    let first = &tried["credentials"][0];
    assert_eq!((&first["username"], &first["count"], &first["sources"]), (&json!("root"), &json!(3), &json!(2)));
    // printf toor | sha256sum
    assert_eq!(first["sha256"], "ce5ca673d13b36118d54a7cf13aeb0ca012383bf771e713421b4d1fd841f539a");
    let (_, latest) = hub.get(READ, "/api/v1/credentials?order=last&limit=2").await;
    assert_eq!(latest["credentials"].as_array().map(Vec::len), Some(2));
    let (status, _) = hub.get(READ, "/api/v1/credentials?order=name").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn what_is_exported_is_whole_and_inert() {
    let hub = run().await;
    let mut lines: Vec<String> = (0..2500).map(|id| login(id, "10.0.0.1", "root", "toor")).collect();
    lines.push(login(9999, "10.0.0.2", "=cmd()", "a\r\n\"b\u{202e}"));
    hub.post(INGEST, "/api/v1/events", "identity", lines.join("\n").into_bytes()).await;
    let get = |path: &str| hub.client.get(format!("{}{path}", hub.base)).bearer_auth(&hub.tokens[READ]).send();
    let answer = get("/api/v1/events/export").await.expect("an answer");
    assert_eq!(answer.headers()["content-type"], "application/x-ndjson");
    let text = answer.text().await.expect("text");
    let ids: std::collections::BTreeSet<String> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["id"].to_string())
        .collect();
    assert_eq!(ids.len(), 2501);
    let answer = get("/api/v1/events/export?limit=1200&format=csv&source=10.0.0.1").await.expect("an answer");
    assert_eq!(answer.text().await.expect("text").lines().count(), 1201);
    let answer = get("/api/v1/events/export?format=csv&source=10.0.0.2").await.expect("an answer");
    assert_eq!(answer.headers()["content-disposition"], "attachment; filename=\"events.csv\"");
    let text = answer.text().await.expect("text");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[1].contains(r#""'=cmd()","a\u{d}\u{a}""b\u{202e}","#), "{text}");
    assert!(lines[1].contains(r#""'=cmd|'/C calc'!A0""#), "{text}");
    for bad in ["format=xml", "sauce=1", "limit=x", "source=10"] {
        let answer = get(&format!("/api/v1/events/export?{bad}")).await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{bad}");
    }
    let answer = hub.client.get(format!("{}/api/v1/events/export", hub.base)).bearer_auth(&hub.tokens[INGEST]).send();
    assert_eq!(answer.await.expect("an answer").status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_search_is_kept_under_its_name() {
    let hub = run().await;
    let path = "/api/v1/searches/root%20over%20ssh";
    let put = |body: serde_json::Value| {
        let request = hub.client.put(format!("{}{path}", hub.base)).bearer_auth(&hub.tokens[READ]).json(&body);
        async { super::both(request.send().await.expect("an answer")).await }
    };
    let (status, _) = hub.get(READ, path).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    for query in [json!({"service": "ssh"}), json!({"service": "ssh", "text": "root", "port": 22})] {
        let (status, kept) = put(json!({"query": query})).await;
        assert_eq!((status, &kept), (StatusCode::OK, &json!({"name": "root over ssh", "query": query})));
        assert_eq!(hub.get(READ, path).await.1, kept);
        assert_eq!(hub.get(READ, "/api/v1/searches").await.1, json!({"searches": [kept]}));
    }
    let (status, _) = put(json!({"query": {"service": ["ssh"]}})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let (status, _) = put(json!({"name": "other", "query": {}})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let (status, _) = put(json!({"query": {"text": "x".repeat(20_000)}})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let remove = || hub.client.delete(format!("{}{path}", hub.base)).bearer_auth(&hub.tokens[READ]).send();
    assert_eq!(remove().await.expect("an answer").status(), StatusCode::NO_CONTENT);
    assert_eq!(remove().await.expect("an answer").status(), StatusCode::NOT_FOUND);
    assert_eq!(hub.get(READ, "/api/v1/searches").await.1, json!({"searches": []}));
}
