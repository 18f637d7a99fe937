//! Python's HTTP forms against a receiver of our own.

use serde_json::json;

use crate::bench::{Setup, deliver_all, event, events, temporary};
use crate::webhook::Receiver;

const CLASS: &str = "logging.handlers.HTTPHandler";

/// The value of a field in a form, decoded.
fn field(form: &str, name: &str) -> String {
    let url = reqwest::Url::parse(&format!("http://h/?{form}")).expect("a form");
    url.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned()).expect("the field")
}

#[tokio::test]
async fn fills_in_the_query_or_the_body() {
    let receiver = Receiver::default();
    let host = format!("127.0.0.1:{}", receiver.listen(None));
    let options = json!({"host": host, "url": "/log?k=v"});
    deliver_all(&mut Setup::new(CLASS, options).build(), &events(1..=2)).await;
    let options = json!({"host": host, "url": "/log", "method": "post", "credentials": ["u", "p"]});
    deliver_all(&mut Setup { extended: false, ..Setup::new(CLASS, options) }.build(), &events(3..=3)).await;
    let requests = receiver.requests();
    let begin = "GET /log?k=v&name=opencanary-1&msg=%7B%22aviary%22%3A+%7B%22id";
    assert!(requests[0].line.starts_with(begin), "{}", requests[0].line);
    let query = requests[1].line.split(['?', ' ']).nth(2).expect("a query");
    assert_eq!(field(query, "msg"), event(2).to_line(true));
    assert_eq!(field(query, "created"), "1795384802.0");
    assert_eq!(requests[1].header("authorization"), None);
    let ours = event(2).aviary.as_ref().map(|ours| ours.id.hyphenated().to_string());
    assert_eq!(requests[1].header("idempotency-key"), ours.as_deref());
    assert_eq!(requests[2].line, "POST /log HTTP/1.1");
    assert_eq!(requests[2].header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(requests[2].header("authorization"), Some("Basic dTpw"));
    assert_eq!(field(&requests[2].body, "message"), event(3).to_line(false));
}

#[tokio::test]
async fn tries_again_until_it_is_taken() {
    let receiver = Receiver::answering(&["503 Busy\r\ncontent-length: 4\r\n\r\nbusy"]);
    let host = format!("127.0.0.1:{}", receiver.listen(None));
    let mut output = Setup::new(CLASS, json!({"host": host, "url": "/"})).build();
    let (_, reason) = temporary(&mut output, &events(1..=1)).await;
    assert_eq!(reason, "the receiver answered 503: busy");
    deliver_all(&mut output, &events(1..=1)).await;
    assert_eq!(receiver.requests().len(), 2);
}
