//! The console over HTTP: where it is, and what guards it.

use reqwest::StatusCode;

use super::run;

#[tokio::test]
async fn the_root_leads_to_the_console_and_nothing_of_it_needs_a_token() {
    let hub = run().await;
    let answer = hub.client.get(format!("{}/", hub.base)).send().await.expect("an answer");
    assert_eq!((answer.status(), answer.url().path()), (StatusCode::OK, "/console/"));
    let policy = answer.headers()["content-security-policy"].to_str().expect("text").to_owned();
    assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
    let page = answer.text().await.expect("text");
    assert!(page.contains("<title>Aviary</title>") && !page.contains("<style"), "{page}");
    // What the page names is there: a built console names its script, a hub without one names the API.
    let named = page.split('"').find(|word| word.starts_with("./assets/") && word.ends_with(".js"));
    let address = named.map_or_else(|| "/health".to_owned(), |word| word.replacen("./", "/console/", 1));
    let answer = hub.client.get(format!("{}{address}", hub.base)).send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::OK, "{address}");
}

#[tokio::test]
async fn no_path_leads_out_of_the_console() {
    let hub = run().await;
    for path in ["/console/%2e%2e/Cargo.toml", "/console/..%2f..%2fetc/passwd", "/console/nothing"] {
        let answer = hub.client.get(format!("{}{path}", hub.base)).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
    }
}
