//! The NATS output against servers of our own; the real one is tried in `tests/clients`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use aviary_output::{DeliveryError, Output};
use serde_json::{Value as Json, json};

use crate::bench::{Setup, deliver, deliver_all, event, events, temporary};

/// A message as a server sees it.
#[derive(Clone, Debug)]
struct Message {
    subject: String,
    reply: String,
    header: String,
    payload: String,
}

impl Message {
    fn seq(&self) -> u64 {
        serde_json::from_str::<Json>(&self.payload).expect("JSON")["aviary"]["seq"].as_u64().expect("a number")
    }
}

/// What a server says to the message of that place in the connection; `None` ends the connection.
type Script = Box<dyn FnMut(usize, &Message) -> Option<String> + Send>;

const INFO: &str = "INFO {\"server_id\":\"S\",\"headers\":true,\"max_payload\":1048576,\"nonce\":\"n0nce\"} \r\n";

fn stored(message: &Message) -> String {
    said(message, "{\"stream\":\"S\", \"seq\":1}")
}

fn said(message: &Message, answer: &str) -> String {
    format!("MSG {} 1 {}\r\n{answer}\r\n", message.reply, answer.len())
}

/// A server that plays one script a connection, and tells what was published on it.
fn server(scripts: Vec<Script>) -> (u16, Receiver<Vec<Message>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let port = listener.local_addr().expect("an address").port();
    let (tell, told) = channel();
    thread::spawn(move || {
        for script in scripts {
            let (stream, _) = listener.accept().expect("a connection");
            let _ = tell.send(serve(stream, INFO, script));
        }
    });
    (port, told)
}

fn serve(mut stream: TcpStream, greeting: &str, mut script: Script) -> Vec<Message> {
    let mut got = Vec::new();
    stream.write_all(greeting.as_bytes()).expect("a greeting");
    let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
    let mut line = String::new();
    while matches!(reader.read_line(&mut line), Ok(1..)) {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        match words[0].as_str() {
            "CONNECT" => {
                let options: Json = serde_json::from_str(line.trim_start_matches("CONNECT ")).expect("JSON");
                assert!(options["verbose"] == false && options["headers"] == true, "{line}");
            }
            "SUB" => assert!(words[1].starts_with("_INBOX.") && words[1].ends_with(".*"), "{line}"),
            "PING" => stream.write_all(b"PONG\r\n").expect("an answer"),
            "PONG" => {}
            "HPUB" => {
                let reply = if words.len() == 5 { words[2].clone() } else { String::new() };
                let number = |at: usize| words[words.len() - at].parse::<usize>().expect("a number");
                let mut bytes = vec![0; number(1) + 2];
                reader.read_exact(&mut bytes).expect("a message");
                let text = String::from_utf8(bytes).expect("UTF-8");
                let (header, payload) = text.split_at(number(2));
                let payload = payload.strip_suffix("\r\n").expect("an end").to_owned();
                let message = Message { subject: words[1].clone(), reply, header: header.to_owned(), payload };
                got.push(message.clone());
                match script(got.len() - 1, &message) {
                    Some(answer) => stream.write_all(answer.as_bytes()).expect("an answer"),
                    None => return got,
                }
            }
            other => panic!("what is {other}?"),
        }
        line.clear();
    }
    got
}

fn output(port: u16, more: Json) -> Box<dyn Output> {
    let mut options = json!({"url": format!("nats://127.0.0.1:{port}"), "timeout": 1});
    options.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    Setup::new("aviary.nats", options).build()
}

fn sequence(messages: &[Message]) -> Vec<u64> {
    messages.iter().map(Message::seq).collect()
}

#[tokio::test]
async fn publishes_with_the_id_and_a_reply_of_its_own_on_one_connection() {
    let mut held = String::new();
    // Acknowledgements come late and in another order, with a question in between.
    let script = move |at: usize, message: &Message| {
        held = format!("{}{held}", stored(message));
        Some(if at % 3 == 2 { format!("PING\r\n{}+OK\r\n", std::mem::take(&mut held)) } else { String::new() })
    };
    let (port, told) = server(vec![Box::new(script)]);
    let mut output = output(port, json!({"stream": "S", "subject": "canary.{node_id}.{service}"}));
    deliver_all(&mut output, &events(1..=3)).await;
    deliver_all(&mut output, &events(4..=6)).await;
    drop(output);
    let got = told.recv().expect("a connection");
    assert_eq!(sequence(&got), [1, 2, 3, 4, 5, 6]);
    for (message, seq) in got.iter().zip(1..) {
        let id = event(seq).aviary.as_ref().expect("ours").id;
        assert_eq!(message.header, format!("NATS/1.0\r\nNats-Msg-Id: {id}\r\nNats-Expected-Stream: S\r\n\r\n"));
        assert_eq!(
            (message.subject.as_str(), &message.payload),
            ("canary.opencanary-1.ftp", &event(seq).to_line(true))
        );
    }
    let replies: std::collections::BTreeSet<_> = got.iter().map(|message| &message.reply).collect();
    assert_eq!(replies.len(), 6);
}

#[tokio::test]
async fn what_a_stream_has_no_room_for_is_sent_again_and_nothing_else() {
    let full = r#"{"error":{"code":503,"err_code":10077,"description":"maximum bytes exceeded"},"stream":"S","seq":0}"#;
    let script = move |at: usize, message: &Message| Some(if at == 1 { said(message, full) } else { stored(message) });
    let (port, told) = server(vec![Box::new(script)]);
    let mut output = output(port, json!({}));
    let batch = events(1..=4);
    let (delivered, reason) = temporary(&mut output, &batch).await;
    assert_eq!(delivered, 1);
    assert_eq!(reason, format!("NATS at `127.0.0.1` port {port}: it said: maximum bytes exceeded (10077)"));
    deliver_all(&mut output, &batch[1..]).await;
    drop(output);
    assert_eq!(sequence(&told.recv().expect("a connection")), [1, 2, 3, 4, 2]);
}

#[tokio::test]
async fn refuses_what_is_too_large_for_stream_or_server() {
    let large = r#"{"error":{"code":400,"err_code":10054,"description":"message size exceeds maximum allowed"}}"#;
    let script = move |at: usize, message: &Message| Some(if at == 0 { said(message, large) } else { stored(message) });
    let (port, _told) = server(vec![Box::new(script)]);
    let mut output = output(port, json!({}));
    let mut batch = events(1..=3);
    batch[1] = crate::bench::event_with(2, aviary_event::Value::from("x".repeat(1 << 20)));
    for (rest, start) in [
        (&batch[..], "it said: message size exceeds maximum allowed (10054)"),
        (&batch[1..], "1049139 bytes are more than the server's max_payload of 1048576"),
    ] {
        match deliver(&mut output, rest).await {
            Some(Err(failure)) => {
                assert_eq!(failure.delivered, 0);
                let DeliveryError::Refused { reason } = failure.error else { panic!("{}", failure.error) };
                assert!(
                    reason.split(char::is_numeric).eq(start.split(char::is_numeric)) || reason == start,
                    "{reason}"
                );
            }
            other => panic!("{other:?}"),
        }
    }
    deliver_all(&mut output, &batch[2..]).await;
}

#[tokio::test]
async fn says_what_is_wrong_in_the_servers_words() {
    let no_stream =
        |_: usize, message: &Message| Some(format!("HMSG {} 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n", message.reply));
    let denied = |_: usize, message: &Message| {
        Some(format!("-ERR 'Permissions Violation for Publish to \"{}\"'\r\n", message.subject))
    };
    let leaves = |_: usize, _: &Message| Some("-ERR 'Authorization Violation'\r\n".to_owned());
    let answers = |_: usize, message: &Message| Some(said(message, "thanks"));
    let silent = |_: usize, _: &Message| Some(String::new());
    let scripts: Vec<(Script, &str)> = vec![
        (Box::new(no_stream), "no stream takes `canary.ftp.login` (no responders)"),
        (Box::new(denied), "it said: Permissions Violation for Publish to \"canary.ftp.login\""),
        (Box::new(leaves), "it said: Authorization Violation"),
        (Box::new(answers), "what answers on `canary.ftp.login` is no stream"),
        (Box::new(silent), "no acknowledgement within 1 s; is there a stream for the subject?"),
        (Box::new(|_, _| Some("MSG x\r\n".to_owned())), "it sent a line that makes no sense: MSG x"),
        (Box::new(|_, _| None), "the connection"),
    ];
    for (script, expected) in scripts {
        let (port, _told) = server(vec![script]);
        let (delivered, reason) = temporary(&mut output(port, json!({})), &events(1..=2)).await;
        assert!(delivered == 0 && reason.starts_with(&format!("NATS at `127.0.0.1` port {port}: ")), "{reason}");
        // A connection that is closed with unread bytes in it is reset.
        assert!(reason.contains(expected) || (expected == "the connection" && reason.contains("reset")), "{reason}");
    }
}

#[tokio::test]
async fn greetings_that_are_none_are_tried_again() {
    for (greeting, expected) in [
        ("HTTP/1.1 400 Bad Request\r\n", "it sent a line that makes no sense"),
        ("INFO {\r\n", "its greeting is no JSON"),
        ("INFO {}\r\n", "it is older than 2.2"),
        ("-ERR 'maximum connections exceeded'\r\n", "it said: maximum connections exceeded"),
        ("INFO {\"headers\":true,\"tls_required\":true}\r\n", "TLS: "),
        ("INFO {\"headers\":true}\r\n-ERR 'Authorization Violation'\r\n", "it said: Authorization Violation"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
        let port = listener.local_addr().expect("an address").port();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            stream.write_all(greeting.as_bytes()).expect("a greeting");
            let _ = stream.read(&mut [0; 512]);
            let _ = stream.write_all(b"no TLS here\r\n");
            let _ = stream.read(&mut [0; 512]);
        });
        let (delivered, reason) = temporary(&mut output(port, json!({})), &events(1..=1)).await;
        assert!(delivered == 0 && reason.contains(expected), "{reason}");
    }
}

#[tokio::test]
async fn a_break_in_the_middle_costs_only_what_was_not_acknowledged() {
    let breaks = |at: usize, message: &Message| (at < 3).then(|| if at == 1 { String::new() } else { stored(message) });
    let (port, told) = server(vec![Box::new(breaks), Box::new(|_, message| Some(stored(message)))]);
    let mut output = output(port, json!({}));
    let batch = events(1..=6);
    let (delivered, _) = temporary(&mut output, &batch).await;
    assert_eq!(delivered, 1);
    let first = told.recv().expect("a connection");
    assert_eq!(sequence(&first), [1, 2, 3, 4]);
    deliver_all(&mut output, &batch[1..]).await;
    drop(output);
    assert_eq!(sequence(&told.recv().expect("a connection")), [2, 4, 5, 6], "3 was acknowledged");
}

#[tokio::test]
async fn an_idle_connection_that_ended_is_no_failure() {
    // The server leaves between two batches.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let port = listener.local_addr().expect("an address").port();
    let (tell, told) = channel();
    let handle = thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a connection");
        let closer = stream.try_clone().expect("a socket");
        let first = thread::spawn(move || serve(stream, INFO, Box::new(|_, message| Some(stored(message)))));
        tell.send(closer).expect("the test listens");
        let (stream, _) = listener.accept().expect("a connection");
        (first.join().expect("no panic"), serve(stream, INFO, Box::new(|_, message| Some(stored(message)))))
    });
    let mut output = output(port, json!({}));
    deliver_all(&mut output, &events(1..=1)).await;
    told.recv().expect("a connection").shutdown(std::net::Shutdown::Both).expect("an end");
    deliver_all(&mut output, &events(2..=3)).await;
    drop(output);
    let (first, second) = handle.join().expect("no panic");
    assert_eq!((sequence(&first), sequence(&second)), (vec![1], vec![2, 3]));
}

#[tokio::test]
async fn without_jetstream_a_pong_proves_the_batch() {
    let denies = |_: usize, message: &Message| {
        assert!(message.reply.is_empty(), "{message:?}");
        let denied = message.subject == "canary.2000" && message.seq() == 2;
        Some(if denied {
            format!("-ERR 'Permissions Violation for Publish to \"{}\"'\r\n", message.subject)
        } else {
            String::new()
        })
    };
    let (port, told) = server(vec![Box::new(denies)]);
    let mut output = output(port, json!({"jetstream": false, "subject": "canary.{logtype}"}));
    deliver_all(&mut output, &events(1..=1)).await;
    let (delivered, reason) = temporary(&mut output, &events(2..=3)).await;
    assert!(delivered == 0 && reason.contains("Permissions Violation"), "{reason}");
    deliver_all(&mut output, &events(4..=5)).await;
    drop(output);
    assert_eq!(sequence(&told.recv().expect("a connection")), [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn asks_each_server_until_one_answers() {
    let (port, told) = server(vec![Box::new(|_, message| Some(stored(message)))]);
    let options = json!({"servers": ["127.0.0.1:9", format!("nats://127.0.0.1:{port}")]});
    let mut output = Setup::new("aviary.nats", options).build();
    deliver_all(&mut output, &events(1..=2)).await;
    drop(output);
    assert_eq!(sequence(&told.recv().expect("a connection")), [1, 2]);
}
