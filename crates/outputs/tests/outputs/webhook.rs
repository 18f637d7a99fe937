//! The webhook output against a receiver of our own, against TLS, and against Python's http.server.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aviary_event::Value;
use aviary_output::{DeliveryError, Output};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value as Json, json};

use crate::bench::{Setup, deliver, deliver_all, event, event_with, events, have, start, temporary, until};

const CLASS: &str = "opencanary.logger.WebhookHandler";

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) line: String,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
    /// Which connection it came on, from 0.
    connection: usize,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// A receiver with answers prepared; then it answers 200. An empty answer is none, ever; one that says
/// `connection: close` is the last on its connection.
#[derive(Clone, Default)]
pub(crate) struct Receiver {
    answers: Arc<Mutex<VecDeque<String>>>,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Receiver {
    pub(crate) fn answering(answers: &[&str]) -> Self {
        let made = Self::default();
        made.answers.lock().expect("no panic").extend(answers.iter().map(|answer| (*answer).to_owned()));
        made
    }

    /// Listens, with TLS when given; gives the port.
    pub(crate) fn listen(&self, tls: Option<Arc<ServerConfig>>) -> u16 {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
        let port = listener.local_addr().expect("an address").port();
        let receiver = self.clone();
        std::thread::spawn(move || {
            for (connection, stream) in listener.incoming().enumerate() {
                let Ok(stream) = stream else { return };
                let (receiver, tls) = (receiver.clone(), tls.clone());
                std::thread::spawn(move || match tls {
                    None => receiver.serve(stream, connection),
                    Some(tls) => {
                        let tls = ServerConnection::new(tls).expect("a TLS server");
                        receiver.serve(StreamOwned::new(tls, stream), connection);
                    }
                });
            }
        });
        port
    }

    fn serve(&self, stream: impl Read + Write, connection: usize) {
        let mut stream = BufReader::new(stream);
        while let Some(request) = read(&mut stream, connection) {
            self.requests.lock().expect("no panic").push(request);
            let answer = self.answers.lock().expect("no panic").pop_front();
            let answer = answer.unwrap_or_else(|| "200 OK\r\ncontent-length: 2\r\n\r\nok".to_owned());
            if answer.is_empty() {
                std::thread::park();
            }
            let written = write!(stream.get_mut(), "HTTP/1.1 {answer}");
            if written.is_err() || answer.contains("connection: close") {
                return;
            }
        }
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no panic").clone()
    }
}

fn read(stream: &mut BufReader<impl Read>, connection: usize) -> Option<Request> {
    let mut line = || {
        let mut line = String::new();
        stream.read_line(&mut line).ok().filter(|count| *count > 0)?;
        Some(line.trim_end().to_owned())
    };
    let first = line()?;
    let mut headers = Vec::new();
    while let Some((name, value)) = line()?.split_once(": ") {
        headers.push((name.to_owned(), value.to_owned()));
    }
    let mut request = Request { line: first, headers, body: String::new(), connection };
    let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    request.body = String::from_utf8(body).ok()?;
    Some(request)
}

fn output(port: u16, mut options: Json) -> Box<dyn Output> {
    options["url"] = json!(format!("http://127.0.0.1:{port}/hook?k=v"));
    Setup::new(CLASS, options).build()
}

#[tokio::test]
async fn sends_what_opencanary_sends() {
    let receiver = Receiver::default();
    let port = receiver.listen(None);
    let mut form = output(port, json!({}));
    deliver_all(&mut form, &events(1..=2)).await;
    let mut body = output(port, json!({"headers": {"Content-Type": "application/json"}, "method": "put"}));
    deliver_all(&mut body, &events(3..=3)).await;
    let requests = receiver.requests();
    assert_eq!(requests[0].line, "POST /hook?k=v HTTP/1.1");
    assert_eq!(requests[0].header("content-type"), Some("application/x-www-form-urlencoded"));
    assert!(requests[0].body.starts_with("message=%7B%22aviary%22%3A+%7B%22id%22%3A+%22"), "{}", requests[0].body);
    assert_eq!(requests[0].header("idempotency-key"), Some("01990000-0000-7000-8000-000000000001"));
    assert_eq!(requests[2].line, "PUT /hook?k=v HTTP/1.1");
    assert_eq!(requests[2].header("content-type"), Some("application/json"));
    let sent: Json = serde_json::from_str(&requests[2].body).expect("JSON");
    assert_eq!(sent, json!({"message": event(3).to_line(true)}));
    assert_eq!((requests[0].connection, requests[1].connection), (0, 0), "one connection, used again");
}

#[tokio::test]
async fn sends_headers_parameters_cookies_and_credentials() {
    let receiver = Receiver::default();
    let options = json!({
        "headers": {"X-Token": "t", "content-type": "application/json; charset=utf-8", "User-Agent": "me"},
        "params": {"a": "1 2", "n": 5, "l": ["x", "y"]},
        "cookies": {"c": "d", "e": 1},
        "auth": ["user", "pass"],
        "data": {"text": "100% %(message)s", "nested": [{"deep": "%(message)s"}]},
    });
    let mut output = output(receiver.listen(None), options);
    deliver_all(&mut output, &events(1..=2)).await;
    let requests = receiver.requests();
    let request = &requests[1];
    assert_eq!(request.line, "POST /hook?k=v&a=1+2&n=5&l=x&l=y HTTP/1.1");
    assert_eq!((request.header("x-token"), request.header("user-agent")), (Some("t"), Some("me")));
    assert_eq!(request.header("content-type"), Some("application/json; charset=utf-8"));
    assert_eq!(request.header("cookie"), Some("c=d; e=1"));
    assert_eq!(request.header("authorization"), Some("Basic dXNlcjpwYXNz"));
    for (request, seq) in requests.iter().zip(1..) {
        let line = event(seq).to_line(true);
        let expected = json!({"text": format!("100% {line}"), "nested": [{"deep": line}]});
        assert_eq!(serde_json::from_str::<Json>(&request.body).expect("JSON"), expected);
    }
}

#[tokio::test]
async fn tells_refusals_from_failures() {
    let receiver = Receiver::answering(&[
        "503 Busy\r\nretry-after: 17\r\ncontent-length: 4\r\n\r\nbusy",
        "429 Slow\r\nretry-after: 0.5\r\ncontent-length: 0\r\n\r\n",
        "500 Oops\r\ncontent-length: 0\r\n\r\n",
        "302 Found\r\nlocation: http://192.0.2.1/\r\ncontent-length: 0\r\n\r\n",
        "400 Bad\r\ncontent-length: 11\r\n\r\nno\x1b[2Jthanks",
        "204 None\r\n\r\n",
    ]);
    let mut output = output(receiver.listen(None), json!({}));
    for (seconds, text) in [(Some(17.0), "503: busy"), (Some(0.5), "429"), (None, "500"), (None, "302")] {
        match deliver(&mut output, &events(1..=1)).await {
            Some(Err(failure)) => match failure.error {
                DeliveryError::Temporary { reason, retry_after } => {
                    assert!(reason.ends_with(text), "{reason}");
                    assert_eq!(retry_after, seconds.map(Duration::from_secs_f64));
                }
                refused => panic!("{refused}"),
            },
            other => panic!("{other:?}"),
        }
    }
    let Some(Err(failure)) = deliver(&mut output, &events(1..=1)).await else { panic!("400 is no success") };
    assert!(matches!(failure.error, DeliveryError::Refused { .. }));
    deliver_all(&mut output, &events(1..=1)).await;
}

#[tokio::test]
async fn takes_the_status_codes_that_the_file_names() {
    for (codes, good) in [(json!(202), false), (json!([200, 204]), true), (json!("204"), true)] {
        let receiver = Receiver::answering(&["204 None\r\n\r\n"]);
        let mut output = output(receiver.listen(None), json!({"status_code": codes}));
        let result = deliver(&mut output, &events(1..=1)).await.expect("an answer");
        match result {
            Ok(()) => assert!(good),
            // It has the event, so sending it again would double it.
            Err(failure) => assert!(!good && matches!(failure.error, DeliveryError::Refused { .. })),
        }
    }
}

#[tokio::test]
async fn gives_up_on_silence_after_its_own_limit() {
    let receiver = Receiver::answering(&[""]);
    let mut output = output(receiver.listen(None), json!({"timeout": [0.2, 0.3]}));
    let (_, reason) = temporary(&mut output, &events(1..=1)).await;
    assert!(reason.starts_with("no answer within the time limit"), "{reason}");
    deliver_all(&mut output, &events(1..=1)).await;
    let (first, second) = (receiver.requests()[0].clone(), receiver.requests()[1].clone());
    assert_eq!(first.header("idempotency-key"), second.header("idempotency-key"));
}

#[test]
fn leaves_out_what_is_ignored_and_lifecycle() {
    let options = json!({"url": "http://h/", "ignore": ["\"logtype\": 3000", "192.0.2.9"]});
    let output = Setup::new(CLASS, options).build();
    assert!(output.wants(&event(1)) && !output.takes_lifecycle());
    assert!(!output.wants(&event_with(1, Value::from("from 192.0.2.9"))));
    let output = Setup::new(CLASS, json!({"url": "http://h/", "ignore": ["\"kind\": \"login\""]})).build();
    assert!(output.wants(&event(1)), "our own object hides nothing");
    let output = Setup::new(CLASS, json!({"url": "http://h/", "ignore": "root", "lifecycle": true})).build();
    assert!(!output.wants(&event(1)) && output.takes_lifecycle());
}

#[test]
fn names_what_it_does_not_take() {
    for (option, value) in [
        ("url", json!("ftp://h/")),
        ("url", json!("")),
        ("proxies", json!({"https": "http://p"})),
        ("cert", json!("/x.pem")),
        ("allow_redirects", json!(true)),
        ("status_code", json!([])),
        ("status_code", json!(99)),
        ("ignore", json!([""])),
        ("auth", json!(["user"])),
        ("timeout", json!([1])),
        ("data", json!([1])),
        ("method", json!("P ST")),
    ] {
        let mut options = json!({"url": "http://h/"});
        options[option] = value;
        let rejection = Setup::new(CLASS, options).try_build().map(|_| ()).expect_err(option);
        assert_eq!(rejection.option, option);
    }
    let options = json!({"url": "http://h/", "headers": {"A": "b\nc"}});
    assert_eq!(Setup::new(CLASS, options).try_build().map(|_| ()).expect_err("two lines").option, "headers.A");
}

#[tokio::test]
async fn trusts_whom_the_file_says() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ca.pem");
    std::fs::write(&path, made.cert.pem()).expect("a file");
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let tls = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .expect("a TLS server");
    let receiver = Receiver::default();
    let port = receiver.listen(Some(Arc::new(tls)));
    let trusting = |verify: Json| {
        Setup::new(CLASS, json!({"url": format!("https://localhost:{port}/"), "verify": verify})).build()
    };
    let (_, reason) = temporary(&mut trusting(json!(true)), &events(1..=1)).await;
    assert!(reason.starts_with("cannot connect: invalid peer certificate"), "{reason}");
    let (_, reason) = temporary(&mut trusting(json!("/no/such.pem")), &events(1..=1)).await;
    assert!(reason.contains("`/no/such.pem`: No such file"), "{reason}");
    deliver_all(&mut trusting(json!(false)), &events(1..=1)).await;
    deliver_all(&mut trusting(json!(path)), &events(2..=2)).await;
    assert_eq!(receiver.requests().len(), 2);
}

#[tokio::test]
async fn does_not_wait_for_ever_for_a_tls_handshake() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let port = listener.local_addr().expect("an address").port();
    let silent = std::thread::spawn(move || listener.accept());
    let url = format!("https://127.0.0.1:{port}/");
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut output = Setup::new(CLASS, json!({"url": url, "timeout": 0.3})).build();
    let (_, reason) = temporary(&mut output, &events(1..=1)).await;
    assert!(reason.contains("within the time limit"), "{reason}");
    drop(silent.join());
}

/// Python's own server: 503 with `Retry-After`, then 429, then silence, then 200 for good.
const SERVER: &str = r#"
import http.server, sys, time
count = 0
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        global count
        count += 1
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if count == 3:
            time.sleep(2)
        code = {1: 503, 2: 429}.get(count, 200)
        self.send_response(code)
        if code != 200:
            self.send_header("Retry-After", "3")
        else:
            with open(sys.argv[2], "ab") as f:
                f.write(self.headers["Idempotency-Key"].encode() + b" " + body + b"\n")
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"#;

#[tokio::test]
async fn pythons_server_gets_every_event() {
    if !have("python3") {
        return;
    }
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().expect("a folder");
    let got = folder.path().join("got");
    let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
    let arguments = ["-c", SERVER, &port.to_string(), &got.display().to_string()];
    let _server = start("python3", &arguments);
    until("the server", || TcpStream::connect(("127.0.0.1", port)).ok()).await;
    let options = json!({"data": {"content": "%(message)s"}, "timeout": 0.5});
    let mut output = output(port, options);
    for expected in ["answered 503", "answered 429", "no answer within"] {
        let (_, reason) = temporary(&mut output, &events(1..=1)).await;
        assert!(reason.contains(expected), "{reason}");
    }
    deliver_all(&mut output, &events(1..=20)).await;
    let text = std::fs::read_to_string(&got).expect("the server's file");
    let ids: std::collections::BTreeSet<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(ids.len(), 20, "{text}");
    assert!(text.lines().all(|line| line.contains(" content=%7B%22aviary")));
}
