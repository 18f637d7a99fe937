//! Chat and push services against receivers that answer as the vendors do, or as nobody should.

use std::net::TcpListener;
use std::time::Duration;

use aviary_output::{DeliveryError, Output};
use serde_json::{Value as Json, json};
use tokio::time::{Instant, timeout};

use crate::bench::{Setup, deliver, deliver_all, event, events, temporary};
use crate::webhook::Receiver;

/// The handler of each class for a receiver on that port.
fn options(class: &str, port: u16) -> Json {
    let server = format!("http://127.0.0.1:{port}");
    match class {
        "aviary.alertmanager" => json!({"url": server, "token": "0123456789abcdef"}),
        "aviary.ntfy" => json!({"server": server, "topic": "canary", "auth": ["user", "pass"]}),
        "aviary.pushover" => json!({"server": server, "token": "a".repeat(30), "user": "u".repeat(30)}),
        "aviary.telegram" => json!({"server": server, "token": "1:0123456789abcdef", "chat_id": "@alerts"}),
        _ => json!({"webhook_url": format!("{server}/hook/0123456789abcdef?key=fedcba9876543210")}),
    }
}

const CLASSES: &[&str] = &[
    "aviary.alertmanager",
    "aviary.dingtalk",
    "aviary.discord",
    "aviary.feishu",
    "aviary.lark",
    "aviary.mattermost",
    "aviary.ntfy",
    "aviary.pushover",
    "aviary.telegram",
    "aviary.wecom",
    "opencanary.logger.SlackHandler",
    "opencanary.logger.TeamsHandler",
];

fn output(class: &'static str, port: u16, more: Json) -> Box<dyn Output> {
    let mut options = options(class, port);
    for (key, value) in more.as_object().expect("an object") {
        options[key] = value.clone();
    }
    Setup::new(class, options).build()
}

fn answer(status: &str, body: &str) -> String {
    format!("{status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// An answer that every one of these vendors would give to a message that it took.
const TAKEN: &str = r#"{"ok": true, "errcode": 0, "code": 0, "status": 1}"#;

#[tokio::test]
async fn posts_one_message_an_event_and_tries_again_what_failed() {
    for class in CLASSES {
        let taken = answer("200 OK", TAKEN);
        let answers = [
            answer("503 Busy", "come back"),
            "429 Slow\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n".to_owned(),
            answer("403 No", "who are you, 0123456789abcdef or fedcba9876543210"),
            taken.clone(),
            taken,
        ];
        let receiver = Receiver::answering(&answers.each_ref().map(String::as_str));
        let mut output = output(class, receiver.listen(None), json!({}));
        let (_, reason) = temporary(&mut output, &events(1..=1)).await;
        assert_eq!(reason, "the receiver answered 503: come back", "{class}");
        let Some(Err(failure)) = deliver(&mut output, &events(1..=1)).await else {
            panic!("{class}: 429 is no success")
        };
        match failure.error {
            DeliveryError::Temporary { retry_after, .. } => {
                assert_eq!(retry_after, Some(Duration::from_secs(7)), "{class}");
            }
            refused => panic!("{class}: {refused}"),
        }
        let (_, reason) = temporary(&mut output, &events(1..=1)).await;
        assert!(reason.starts_with("the receiver answered 403: who are you, "), "{class}: {reason}");
        let own = options(class, 1).to_string();
        for secret in ["0123456789abcdef", "fedcba9876543210"] {
            assert!(!own.contains(secret) || !reason.contains(secret), "{class}: {reason}");
        }
        deliver_all(&mut output, &events(1..=2)).await;
        let requests = receiver.requests();
        assert_eq!(requests.len(), 5, "{class}");
        let id = |n: usize| requests[n].header("idempotency-key").expect("an id").to_owned();
        assert_eq!((id(0), id(1), id(2)), (id(3), id(3), id(3)), "{class}: the same event until it is taken");
        assert_ne!(id(3), id(4), "{class}");
        assert!(requests.iter().all(|request| request.line.starts_with("POST /")), "{class}");
        assert!(requests.iter().all(|request| request.body.contains("192.0.2.7")), "{class}: {}", requests[0].body);
    }
}

#[tokio::test]
async fn sends_where_and_as_the_vendor_wants() {
    for (class, line, kind) in [
        ("aviary.alertmanager", "POST /api/v2/alerts HTTP/1.1", "application/json"),
        ("aviary.ntfy", "POST / HTTP/1.1", "application/json"),
        ("aviary.pushover", "POST /1/messages.json HTTP/1.1", "application/x-www-form-urlencoded"),
        ("aviary.telegram", "POST /bot1:0123456789abcdef/sendMessage HTTP/1.1", "application/json"),
        ("aviary.wecom", "POST /hook/0123456789abcdef?key=fedcba9876543210 HTTP/1.1", "application/json"),
    ] {
        let receiver = Receiver::answering(&[&answer("200 OK", TAKEN)]);
        let mut output = output(class, receiver.listen(None), json!({}));
        deliver_all(&mut output, &events(1..=1)).await;
        let request = &receiver.requests()[0];
        assert_eq!((request.line.as_str(), request.header("content-type")), (line, Some(kind)), "{class}");
        let authorization = match class {
            "aviary.ntfy" => Some("Basic dXNlcjpwYXNz"),
            "aviary.alertmanager" => Some("Bearer 0123456789abcdef"),
            _ => None,
        };
        assert_eq!(request.header("authorization"), authorization, "{class}");
    }
}

#[tokio::test]
async fn passes_over_what_the_vendor_will_never_take() {
    let long = r#"{"ok": false, "error_code": 400, "description": "message is too long", "errcode": 40058, "code": 9499, "status": 0}"#;
    for class in CLASSES {
        let receiver = Receiver::answering(&[&answer("400 Bad", long)]);
        let mut output = output(class, receiver.listen(None), json!({}));
        let Some(Err(failure)) = deliver(&mut output, &events(1..=1)).await else {
            panic!("{class}: 400 is no success")
        };
        assert!(matches!(failure.error, DeliveryError::Refused { .. }), "{class}: {}", failure.error);
    }
}

#[tokio::test]
async fn believes_nobody_who_is_not_the_vendor() {
    for class in ["aviary.dingtalk", "aviary.feishu", "aviary.wecom", "aviary.telegram", "aviary.pushover"] {
        for page in
            ["<html>please log in</html>", "", "[]", "null", "{\"errcode\": \"x\", \"code\": null}", "\u{0}\u{1b}[2J"]
        {
            let receiver = Receiver::answering(&[&answer("200 OK", page)]);
            let mut output = output(class, receiver.listen(None), json!({}));
            let (_, reason) = temporary(&mut output, &events(1..=1)).await;
            assert!(reason.starts_with("the receiver answered 200"), "{class}: {reason}");
        }
    }
}

#[tokio::test]
async fn gives_up_on_silence_garbage_and_a_connection_that_breaks() {
    for class in CLASSES {
        let half = "200 OK\r\ncontent-length: 500\r\n\r\n{\"ok\": tr";
        let receiver = Receiver::answering(&["", half]);
        let mut output = output(class, receiver.listen(None), json!({"timeout": [0.2, 0.1]}));
        let (_, reason) = temporary(&mut output, &events(1..=1)).await;
        assert!(reason.starts_with("no answer within the time limit"), "{class}: {reason}");
        // Half an answer is one where the status says all, and none where the body does.
        let body_decides = ["dingtalk", "feishu", "lark", "pushover", "telegram", "wecom"];
        if body_decides.iter().any(|name| class.ends_with(name)) {
            let (_, reason) = temporary(&mut output, &events(1..=1)).await;
            assert_eq!(reason, "the receiver answered 200: {\"ok\": tr", "{class}");
        } else {
            deliver_all(&mut output, &events(1..=1)).await;
        }
        assert_eq!(receiver.requests().len(), 2, "{class}");
    }
    // Whoever closes at once, and whoever speaks another protocol.
    for greeting in ["", "SSH-2.0-OpenSSH_9.2\r\n"] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
        let port = listener.local_addr().expect("an address").port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                use std::io::Write as _;
                let _ = stream.map(|mut stream| stream.write_all(greeting.as_bytes()));
            }
        });
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut output = output("aviary.discord", port, json!({}));
        let (_, reason) = temporary(&mut output, &events(1..=1)).await;
        assert!(reason.starts_with("cannot send"), "{reason}");
    }
}

#[tokio::test]
async fn keeps_to_so_many_messages_a_minute() {
    let receiver = Receiver::default();
    let mut output = output("aviary.discord", receiver.listen(None), json!({"per_minute": 2}));
    assert!(output.time_limit() > Duration::from_secs(60));
    let begun = Instant::now();
    deliver_all(&mut output, &events(1..=2)).await;
    // The third waits for the first to be a minute old; giving up loses nothing.
    let third = events(3..=3);
    timeout(Duration::from_millis(300), output.deliver(&third)).await.expect_err("too early");
    assert_eq!(receiver.requests().len(), 2);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(60).saturating_sub(begun.elapsed())).await;
    tokio::time::resume();
    deliver_all(&mut output, &third).await;
    assert_eq!(receiver.requests().len(), 3);
}

#[test]
fn life_cycle_lines_only_on_request() {
    for class in CLASSES {
        assert!(!output(class, 9, json!({})).takes_lifecycle(), "{class}");
        assert!(output(class, 9, json!({"lifecycle": true})).takes_lifecycle(), "{class}");
        assert!(output(class, 9, json!({})).wants(&event(1)), "{class}");
    }
}

#[test]
fn names_what_it_does_not_take_and_repeats_no_secret() {
    for (class, option, value) in [
        ("opencanary.logger.SlackHandler", "webhook_url", json!("hooks.slack.com/services/SECRET")),
        ("opencanary.logger.TeamsHandler", "card", json!("pretty")),
        ("aviary.discord", "thread_id", json!("general")),
        ("aviary.mattermost", "channel", json!("a\nb")),
        ("aviary.telegram", "token", json!("bot SECRET")),
        ("aviary.telegram", "chat_id", json!("alerts")),
        ("aviary.telegram", "chat_id", Json::Null),
        ("aviary.ntfy", "topic", json!("SECRET/topic")),
        ("aviary.ntfy", "priority", json!(6)),
        ("aviary.ntfy", "auth", json!(["SECRET"])),
        ("aviary.pushover", "user", json!("SECRET")),
        ("aviary.pushover", "retry", json!(10)),
        ("aviary.pushover", "priority", json!(3)),
        ("aviary.alertmanager", "url", Json::Null),
        ("aviary.wecom", "template", json!("%(nothing)s")),
        ("aviary.wecom", "per_minute", json!(-1)),
    ] {
        let mut options = options(class, 9);
        options[option] = value;
        let rejection = Setup::new(class, options).try_build().map(|_| ()).expect_err(option);
        assert_eq!(rejection.option, option, "{class}");
        assert!(!rejection.to_string().contains("SECRET"), "{rejection}");
    }
    let mut options = options("aviary.alertmanager", 9);
    options["labels"] = json!({"no-name": "x"});
    let rejection = Setup::new("aviary.alertmanager", options).try_build().map(|_| ()).expect_err("a bad label");
    assert_eq!(rejection.option, "labels.no-name");
}

/// The DShield output's submissions: the kind, and what was submitted.
fn submissions(receiver: &Receiver) -> Vec<(String, Json)> {
    let submission = |request: &crate::webhook::Request| {
        assert_eq!(request.line, "POST /submitapi/ HTTP/1.1");
        let body: Json = serde_json::from_str(&request.body).expect("JSON");
        assert_eq!(request.header("x-isc-authorization"), body["authheader"].as_str());
        assert_eq!(request.header("x-isc-logtype"), body["type"].as_str());
        (body["type"].as_str().expect("a kind").to_owned(), body["logs"].clone())
    };
    receiver.requests().iter().map(submission).collect()
}

#[tokio::test]
async fn dshield_gets_each_login_and_each_connection_once() {
    let taken = answer("200 OK", "OK");
    let receiver = Receiver::answering(&[
        &answer("200 OK", "ERROR: no authinfo"),
        &taken,
        &answer("503 Busy", ""),
        &taken,
        &taken,
    ]);
    let server = format!("http://127.0.0.1:{}", receiver.listen(None));
    let options = json!({"server": server, "userid": 7, "auth_key": "key", "interval": 0.001});
    let mut output = Setup::new("aviary.dshield", options).build();
    let mut batch = events(1..=3);
    // The second is a login at SSH; first and third are of one connection.
    let mut ssh = (*batch[1]).clone();
    ssh.logtype = Some(4002);
    ssh.logdata = aviary_event::LogData::new().with("USERNAME", "root").with("PASSWORD", "x").into();
    batch[1] = std::sync::Arc::new(ssh);
    let (delivered, reason) = temporary(&mut output, &batch).await;
    assert_eq!((delivered, reason.as_str()), (0, "the receiver answered: ERROR: no authinfo"));
    // The logins arrive, the rest does not, and only the rest comes again.
    temporary(&mut output, &batch).await;
    deliver_all(&mut output, &batch).await;
    deliver_all(&mut output, &events(4..=4)).await;
    let sent = submissions(&receiver);
    let kinds: Vec<&str> = sent.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["cowrie", "cowrie", "firewall", "firewall"], "the fourth event's connection is known");
    assert_eq!((&sent[1].1[0]["user"], &sent[1].1[0]["password"]), (&json!("root"), &json!("x")));
    assert_eq!(sent[3].1.as_array().map(Vec::len), Some(1), "{}", sent[3].1);
    assert_eq!((&sent[3].1[0]["sip"], &sent[3].1[0]["dport"]), (&json!("192.0.2.7"), &json!(21)));
    assert!(output.wants(&event(1)) && !output.takes_lifecycle());
    let mut test = (*event(5)).clone();
    test.logtype = Some(aviary_output::TEST.number);
    let Some(Err(failure)) = deliver(&mut output, &[test.into()]).await else { panic!("a test is not submitted") };
    assert!(matches!(failure.error, DeliveryError::Refused { .. }), "{}", failure.error);
    assert_eq!(receiver.requests().len(), 4);
}
