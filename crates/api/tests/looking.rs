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
    let (status, _) = hub.get(INGEST, "/api/v1/overview").await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}
