//! Destinations of scripts: what arrives at a receiver, and what is said of a destination that is none.

use std::net::UdpSocket;
use std::time::Duration;

use aviary_output::{Blueprint, Body, DeliveryError, Destination, Message};
use aviary_outputs::destination;
use serde_json::{Map, Value as Json, json};

use crate::bench::event;
use crate::webhook::Receiver;

fn try_build(options: &Json) -> Result<Box<dyn Destination>, String> {
    let handler = Map::new();
    let blueprint = Blueprint { name: "s", options: &handler, format: "%(message)s", extended: true, node_id: "n" };
    destination(&blueprint, "siem", options).map_err(|rejection| rejection.to_string())
}

fn message(number: usize, body: Body) -> Message {
    Message { event: event(7), number, body }
}

fn text(text: &str) -> Body {
    Body::Text(text.to_owned())
}

#[tokio::test]
async fn requests_have_the_kind_and_the_id_of_their_message() {
    let receiver = Receiver::default();
    let url = format!("http://127.0.0.1:{}/in?a=b", receiver.listen(None));
    let mut siem = try_build(&json!({"url": url, "method": "put", "headers": {"X-Key": "k"}})).expect("builds");
    assert_eq!(siem.batch_limit(), 1);
    let bodies = [Body::Json("{\"a\": 1}".to_owned()), text("one\ntwo")];
    for (body, number) in bodies.into_iter().zip(1..) {
        siem.send(&[message(number, body)]).await.expect("taken");
    }
    let requests = receiver.requests();
    let id = "01990000-0000-7000-8000-000000000007";
    for (request, kind, id, body) in [
        (&requests[0], "application/json", id.to_owned(), "{\"a\": 1}"),
        (&requests[1], "text/plain; charset=utf-8", format!("{id}/2"), "one\ntwo"),
    ] {
        assert_eq!(request.line, "PUT /in?a=b HTTP/1.1");
        assert_eq!((request.header("content-type"), request.header("x-key")), (Some(kind), Some("k")));
        assert_eq!((request.header("idempotency-key"), request.body.as_str()), (Some(id.as_str()), body));
    }
}

#[tokio::test]
async fn answers_count_as_for_a_webhook() {
    let answers =
        ["503 Busy\r\nretry-after: 7\r\ncontent-length: 4\r\n\r\nlate", "400 Bad\r\ncontent-length: 2\r\n\r\nno"];
    let receiver = Receiver::answering(&answers);
    let url = format!("http://127.0.0.1:{}/", receiver.listen(None));
    let mut siem = try_build(&json!({ "url": url })).expect("builds");
    match siem.send(&[message(1, text("x"))]).await.expect_err("busy").error {
        DeliveryError::Temporary { reason, retry_after } => {
            assert_eq!(
                (reason.as_str(), retry_after),
                ("the receiver answered 503: late", Some(Duration::from_secs(7)))
            );
        }
        other => panic!("{other}"),
    }
    let refused = siem.send(&[message(1, text("x")), message(2, text("y"))]).await.expect_err("refused");
    assert_eq!((refused.delivered, refused.error.to_string().as_str()), (0, "refused: the receiver answered 400: no"));
    assert_eq!(receiver.requests().len(), 2, "what comes after a refusal is not sent");
}

#[tokio::test]
async fn daemons_get_the_header_of_the_event_and_what_the_script_wrote() {
    let daemon = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    daemon.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
    let address = daemon.local_addr().expect("an address").to_string();
    let mut received = Vec::new();
    for (more, body) in [
        (json!({"syslog": address, "facility": "local0", "app_name": "mine"}), text("grüß")),
        (json!({"syslog": address, "protocol": "rfc3164"}), Body::Json("[1]".to_owned())),
        (json!({"syslog": address}), Body::Bytes(vec![b'a', 0xff])),
    ] {
        let mut siem = try_build(&more).expect("builds");
        assert!(siem.batch_limit() > 1);
        siem.send(&[message(1, body)]).await.expect("sent");
        let mut datagram = [0; 2048];
        let length = daemon.recv(&mut datagram).expect("a datagram");
        received.push(datagram[..length].to_vec());
    }
    let shown = |at: usize| String::from_utf8_lossy(&received[at]).into_owned();
    let pid = std::process::id();
    let first =
        format!("<131>1 2026-11-22T22:00:07.000000+00:00 opencanary-1 mine {pid} 2000 [aviary@32473 id=\"01990000-");
    assert!(shown(0).starts_with(&first) && shown(0).ends_with("user=\"root\"] \u{feff}grüß"), "{}", shown(0));
    assert!(shown(1).starts_with("<11>Nov 22 ") && shown(1).ends_with(&format!("[{pid}]: [1]")), "{}", shown(1));
    assert!(received[2].ends_with(b"] a\xff"), "{}", shown(2));
}

#[test]
fn destinations_say_what_is_wrong_with_them() {
    for (options, why) in [
        (json!("x"), "`siem`: is \"x\"; it takes an object, {"),
        (json!({}), "`siem`: has to have one of `url` and `syslog`"),
        (json!({"url": "http://h/", "syslog": "h"}), "`siem`: has to have one of"),
        (json!({"url": "ftp://h/"}), "`siem.url`: is no address"),
        (json!({"url": "http://h/", "metod": "GET"}), "`siem.metod`: is not known; beside `url` there are method, "),
        (json!({"url": "http://h/", "facility": "user"}), "`siem.facility`: is not known"),
        (json!({"url": "http://h/", "verify": 7}), "`siem.verify`: is 7"),
        (json!({"url": "http://h/", "headers": {"a b": "c"}}), "`siem.headers.a b`: is not a header's name"),
        (json!({"syslog": 7}), "`siem.syslog`: is 7; it takes"),
        (json!({"syslog": "h:port"}), "`siem.syslog`: is [\"h\",\"port\"]"),
        (json!({"syslog": "h", "transport": "sctp"}), "`siem.transport`: is \"sctp\"; it takes udp, tcp or tls"),
        (json!({"syslog": "h", "address": "h"}), "`siem.address`: is not known; beside `syslog` there are transport, "),
        (json!({"syslog": "h", "url_": 1}), "`siem.url_`: is not known"),
    ] {
        let error = try_build(&options).err().unwrap_or_default();
        assert!(error.starts_with(why), "{options}: {error}");
    }
    for address in [json!("h"), json!("h:514"), json!(["h", 514]), json!("/dev/log"), json!("[::1]:514"), json!("::1")]
    {
        assert!(try_build(&json!({ "syslog": address })).is_ok(), "{address}");
    }
}
