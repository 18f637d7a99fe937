//! Splunk, Elasticsearch and ClickHouse outputs against receivers that answer as those do.

use std::time::Duration;

use aviary_output::{DeliveryError, Failure, Output};
use serde_json::{Value as Json, json};

use crate::bench::{Setup, deliver, deliver_all, event, events, temporary};
use crate::webhook::{Receiver, Request};

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("{status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

fn ok(body: &str) -> String {
    answer("200 OK", "", body)
}

/// A receiver with these answers prepared, and an output that sends to it.
fn prepared(class: &'static str, answers: &[String], mut options: Json) -> (Receiver, Box<dyn Output>) {
    let answers: Vec<_> = answers.iter().map(String::as_str).collect();
    let receiver = Receiver::answering(&answers);
    options["url"] = json!(format!("http://127.0.0.1:{}", receiver.listen(None)));
    let output = Setup::new(class, options).build();
    (receiver, output)
}

async fn refused(output: &mut Box<dyn Output>, seqs: std::ops::RangeInclusive<u64>) -> (usize, String) {
    match deliver(output, &events(seqs)).await {
        Some(Err(Failure { delivered, error: DeliveryError::Refused { reason } })) => (delivered, reason),
        other => panic!("not a refusal: {other:?}"),
    }
}

fn splunk(answers: &[String], mut options: Json) -> (Receiver, Box<dyn Output>) {
    options["token"] = json!("0f0f-secret");
    prepared("aviary.splunk", answers, options)
}

/// The `seq` of each event in a collector's request.
fn objects(request: &Request) -> Vec<u64> {
    let objects = serde_json::Deserializer::from_str(&request.body).into_iter::<Json>();
    objects.map(|object| object.expect("JSON")["event"]["aviary"]["seq"].as_u64().expect("a number")).collect()
}

#[tokio::test]
async fn splunk_gets_a_batch_in_a_request() {
    let (receiver, mut output) = splunk(&[ok(r#"{"text":"Success","code":0}"#)], json!({"index": "canary"}));
    deliver_all(&mut output, &events(1..=3)).await;
    let requests = receiver.requests();
    assert_eq!(requests[0].line, "POST /services/collector/event HTTP/1.1");
    assert_eq!(requests[0].header("authorization"), Some("Splunk 0f0f-secret"));
    assert_eq!(requests[0].header("x-splunk-request-channel"), None);
    assert_eq!(objects(&requests[0]), [1, 2, 3]);
    let first: Json = serde_json::Deserializer::from_str(&requests[0].body).into_iter().next().unwrap().unwrap();
    assert_eq!(first["event"], serde_json::from_str::<Json>(&event(1).to_line(true)).unwrap());
    assert_eq!((&first["host"], &first["index"]), (&json!("opencanary-1"), &json!("canary")));
}

#[tokio::test]
async fn splunk_is_asked_until_events_are_indexed() {
    let answers = [
        ok(r#"{"text":"Success","code":0,"ackId":7}"#),
        ok(r#"{"acks":{"7":false}}"#),
        ok(r#"{"acks":{"7":true}}"#),
        ok(r#"{"text":"Success","code":0,"ackId":8}"#),
        ok(r#"{"acks":{"8":true}}"#),
    ];
    let (receiver, mut output) = splunk(&answers, json!({"ack": true}));
    deliver_all(&mut output, &events(1..=2)).await;
    deliver_all(&mut output, &events(3..=3)).await;
    let requests = receiver.requests();
    let channel = requests[0].header("x-splunk-request-channel").expect("a channel").to_owned();
    assert!(uuid::Uuid::parse_str(&channel).is_ok(), "{channel}");
    for question in [1, 2, 4] {
        assert_eq!(requests[question].line, format!("POST /services/collector/ack?channel={channel} HTTP/1.1"));
        assert_eq!(requests[question].header("authorization"), Some("Splunk 0f0f-secret"));
    }
    assert_eq!((requests[1].body.as_str(), requests[4].body.as_str()), (r#"{"acks": [7]}"#, r#"{"acks": [8]}"#));
    assert_eq!(requests[3].header("x-splunk-request-channel"), Some(channel.as_str()));
}

#[tokio::test]
async fn splunk_that_does_not_acknowledge_gets_the_events_again() {
    let never = ok(r#"{"acks":{"7":false}}"#);
    let mut answers = vec![ok(r#"{"text":"Success","code":0,"ackId":7}"#)];
    answers.extend(std::iter::repeat_n(never, 20));
    let (receiver, mut output) = splunk(&answers, json!({"ack": true, "ack_timeout": 0.4}));
    let (delivered, reason) = temporary(&mut output, &events(1..=2)).await;
    assert_eq!((delivered, reason.as_str()), (0, "not acknowledged within 0.4 s"));
    assert!(receiver.requests().len() > 2);
    let (_, mut output) = splunk(&[ok(r#"{"text":"Success","code":0}"#)], json!({"ack": true}));
    let (_, reason) = temporary(&mut output, &events(1..=1)).await;
    assert!(reason.contains("no `ackId` came"), "{reason}");
}

#[tokio::test]
async fn splunk_gets_the_others_of_a_batch_that_it_cannot_read() {
    let bad = answer("400 Bad Request", "", r#"{"text":"Invalid data format","code":6,"invalid-event-number":1}"#);
    let fine = ok(r#"{"text":"Success","code":0}"#);
    let answers = [bad.clone(), fine.clone(), bad, fine.clone()];
    let (receiver, mut output) = splunk(&answers, json!({}));
    let (delivered, reason) = refused(&mut output, 1..=3).await;
    assert!(delivered == 1 && reason.contains("Invalid data format"), "{reason}");
    deliver_all(&mut output, &events(3..=3)).await;
    let sent: Vec<_> = receiver.requests().iter().map(objects).collect();
    assert_eq!(sent, [vec![1, 2, 3], vec![1], vec![2], vec![3]]);
}

#[tokio::test]
async fn splunk_may_be_busy_or_not_let_us_in() {
    let answers = [
        answer("503 Busy", "retry-after: 3\r\n", r#"{"text":"Server is busy","code":9}"#),
        answer("403 Forbidden", "", r#"{"text":"Invalid token","code":4}"#),
        answer("400 Bad Request", "", r#"{"text":"Incorrect index","code":7}"#),
        answer("400 Bad Request", "", "<html>not Splunk</html>"),
        "200 OK\r\ncontent-length: 50\r\n\r\n{\"text\"".to_owned(),
    ];
    let (_, mut output) = splunk(&answers, json!({"timeout": 1}));
    for said in ["Server is busy", "Invalid token", "Incorrect index", "not Splunk"] {
        let (_, reason) = temporary(&mut output, &events(1..=1)).await;
        assert!(reason.contains(said) && !reason.contains("0f0f"), "{reason}");
    }
}

fn bulk(answers: &[String], options: Json) -> (Receiver, Box<dyn Output>) {
    prepared("aviary.elasticsearch", answers, options)
}

fn items(statuses: &[u16]) -> String {
    let item = |status: &u16| match status {
        200..300 => json!({"create": {"_id": "x", "status": status}}),
        _ => {
            json!({"create": {"_id": "x", "status": status, "error": {"type": "some_exception", "reason": "why not"}}})
        }
    };
    let errors = statuses.iter().any(|status| *status >= 300);
    ok(&json!({"took": 3, "errors": errors, "items": statuses.iter().map(item).collect::<Vec<_>>()}).to_string())
}

/// The ids' last digits in a bulk request.
fn ids(request: &Request) -> Vec<u64> {
    let actions = request.body.lines().step_by(2).map(|line| serde_json::from_str::<Json>(line).expect("JSON"));
    let number = |action: Json| {
        let id = action["create"]["_id"].as_str().expect("an id").to_owned();
        u64::from_str_radix(id.rsplit('-').next().expect("digits"), 16).expect("a number")
    };
    actions.map(number).collect()
}

#[tokio::test]
async fn elasticsearch_gets_two_lines_an_event() {
    let (receiver, mut output) = bulk(&[items(&[201, 409])], json!({"auth": ["u", "p"], "pipeline": "geo"}));
    deliver_all(&mut output, &events(1..=2)).await;
    let requests = receiver.requests();
    assert_eq!(requests[0].line, "POST /logs-aviary-default/_bulk?pipeline=geo HTTP/1.1");
    assert_eq!(requests[0].header("content-type"), Some("application/x-ndjson"));
    assert_eq!(requests[0].header("authorization"), Some("Basic dTpw"));
    assert_eq!(ids(&requests[0]), [1, 2]);
    let documents: Vec<_> = requests[0].body.lines().skip(1).step_by(2).collect();
    assert_eq!(documents, [event(1).to_ecs(), event(2).to_ecs()]);
    assert!(requests[0].body.ends_with('\n'));
}

#[tokio::test]
async fn elasticsearch_judges_item_by_item() {
    let answers = [items(&[201, 429, 201]), items(&[201, 409]), items(&[400]), items(&[201, 400, 201]), items(&[409])];
    let (receiver, mut output) = bulk(&answers, json!({"api_key": "a2V5"}));
    let (delivered, reason) = temporary(&mut output, &events(1..=3)).await;
    assert_eq!((delivered, reason.as_str()), (1, "429 some_exception: why not"));
    deliver_all(&mut output, &events(2..=3)).await;
    assert_eq!(refused(&mut output, 4..=4).await, (0, "400 some_exception: why not".to_owned()));
    assert_eq!(refused(&mut output, 5..=7).await.0, 1);
    deliver_all(&mut output, &events(7..=7)).await;
    assert_eq!(receiver.requests()[0].header("authorization"), Some("ApiKey a2V5"));
}

#[tokio::test]
async fn elasticsearch_gets_halves_of_what_is_too_large() {
    let large = answer("413 Too Large", "", "");
    let answers = [large.clone(), large.clone(), items(&[201]), items(&[201]), items(&[201]), items(&[201]), large];
    let (receiver, mut output) = bulk(&answers, json!({}));
    deliver_all(&mut output, &events(1..=4)).await;
    let sent: Vec<_> = receiver.requests().iter().map(ids).collect();
    assert_eq!(sent, [vec![1, 2, 3, 4], vec![1, 2], vec![1], vec![2], vec![3], vec![4]]);
    assert_eq!(refused(&mut output, 5..=5).await.0, 0);
}

#[tokio::test]
async fn elasticsearch_may_not_let_us_in_or_not_be_elasticsearch() {
    let answers = [
        answer("401 No", "", r#"{"error":{"type":"security_exception"},"status":401}"#),
        answer("403 No", "", "{}"),
        answer("429 Slow", "retry-after: 7\r\n", ""),
        ok("<html>hello</html>"),
        ok(r#"{"errors":true,"items":[]}"#),
    ];
    let (_, mut output) = bulk(&answers, json!({}));
    for said in ["answered 401", "answered 403", "answered 429", "not an answer of `_bulk`", "not an answer of `_bulk`"]
    {
        let (delivered, reason) = temporary(&mut output, &events(1..=2)).await;
        assert!(delivered == 0 && reason.contains(said), "{reason}");
    }
}

fn clickhouse(answers: &[String], options: Json) -> (Receiver, Box<dyn Output>) {
    prepared("aviary.clickhouse", answers, options)
}

fn exception(status: &str, code: u32) -> String {
    answer(
        status,
        &format!("X-ClickHouse-Exception-Code: {code}\r\n"),
        &format!("Code: {code}. DB::Exception: why not"),
    )
}

/// The `seq` of each row of an insert.
fn rows(request: &Request) -> Vec<u64> {
    let row = |line: &str| serde_json::from_str::<Json>(line).expect("JSON")["seq"].as_u64().expect("a number");
    request.body.lines().map(row).collect()
}

#[tokio::test]
async fn clickhouse_gets_an_insert_with_a_token() {
    let options = json!({"database": "db", "user": "u", "password": "secret", "settings": {"async_insert": true}});
    let (receiver, mut output) = clickhouse(&[ok(""), ok("")], options);
    deliver_all(&mut output, &events(1..=3)).await;
    deliver_all(&mut output, &events(1..=3)).await;
    let requests = receiver.requests();
    let line = &requests[0].line;
    let start = "POST /?query=INSERT+INTO+%60db%60.%60aviary_events%60+%28id%2C+seq%2C";
    assert!(line.starts_with(start) && line.contains("+FORMAT+JSONEachRow&"), "{line}");
    assert!(line.contains("&async_insert=1&insert_deduplication_token=01990000-0000-7000-8000-000000000001-01990000-0000-7000-8000-000000000003 "), "{line}");
    assert_eq!((line, rows(&requests[0])), (&requests[1].line, vec![1, 2, 3]));
    assert_eq!(requests[0].header("x-clickhouse-user"), Some("u"));
    assert_eq!(requests[0].header("x-clickhouse-key"), Some("secret"));
}

#[tokio::test]
async fn clickhouse_gets_the_others_of_rows_that_it_cannot_read() {
    let bad = exception("400 Bad Request", 27);
    let (receiver, mut output) = clickhouse(&[bad.clone(), ok(""), bad, ok("")], json!({}));
    let (delivered, reason) = refused(&mut output, 1..=3).await;
    assert!(delivered == 1 && reason.contains("Code: 27. DB::Exception: why not"), "{reason}");
    deliver_all(&mut output, &events(3..=3)).await;
    assert_eq!(receiver.requests().iter().map(rows).collect::<Vec<_>>(), [vec![1, 2, 3], vec![1], vec![2], vec![3]]);
}

#[tokio::test]
async fn clickhouse_may_lack_the_table_or_have_no_room() {
    let answers = [
        exception("404 Not Found", 60),
        exception("500 Internal", 252),
        exception("403 Forbidden", 516),
        exception("200 OK", 241),
    ];
    let (_, mut output) = clickhouse(&answers, json!({"password": "secret"}));
    for code in ["Code: 60", "Code: 252", "Code: 516", "Code: 241"] {
        let (delivered, reason) = temporary(&mut output, &events(1..=2)).await;
        assert!(delivered == 0 && reason.contains(code) && !reason.contains("secret"), "{reason}");
    }
}

#[tokio::test]
async fn none_of_them_waits_longer_than_its_own_limit() {
    for class in ["aviary.splunk", "aviary.elasticsearch", "aviary.clickhouse"] {
        let options = json!({"timeout": [0.2, 0.3]});
        let mut options = options;
        if class == "aviary.splunk" {
            options["token"] = json!("t");
        }
        let (_, mut output) = prepared(class, &[String::new()], options);
        let begun = std::time::Instant::now();
        let (_, reason) = temporary(&mut output, &events(1..=2)).await;
        assert!(reason.starts_with("no answer within the time limit"), "{reason}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{class}");
    }
}

#[test]
fn name_what_they_do_not_take_and_no_secret() {
    for (class, options, option) in [
        ("aviary.splunk", json!({"url": "http://h"}), "token"),
        ("aviary.splunk", json!({"url": "http://h", "token": ["0f0f"]}), "token"),
        ("aviary.splunk", json!({"url": "h:8088", "token": "0f0f"}), "url"),
        ("aviary.splunk", json!({"url": "http://h", "token": "0f0f", "format": "cef"}), "format"),
        ("aviary.elasticsearch", json!({}), "url"),
        ("aviary.elasticsearch", json!({"url": "http://h", "auth": ["0f0f"]}), "auth"),
        ("aviary.elasticsearch", json!({"url": "http://h", "auth": ["u", "p"], "api_key": "0f0f"}), "api_key"),
        ("aviary.opensearch", json!({"url": "http://h", "index": ""}), "index"),
        ("aviary.clickhouse", json!({"url": "http://h", "password": ["0f0f"]}), "password"),
        ("aviary.clickhouse", json!({"url": "http://h", "table": "a`; DROP TABLE b"}), "table"),
        ("aviary.clickhouse", json!({"url": "http://h", "settings": {"a": []}}), "settings"),
        ("aviary.clickhouse", json!({"url": "http://h", "batch": 0}), "batch"),
    ] {
        let rejection = Setup::new(class, options).try_build().map(|_| ()).expect_err(option);
        assert_eq!(rejection.option, option, "{class}: {rejection}");
        assert!(!rejection.to_string().contains("0f0f"), "{rejection}");
    }
}
