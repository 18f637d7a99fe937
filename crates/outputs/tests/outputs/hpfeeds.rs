//! The hpfeeds output against brokers of our own; the real one is tried in `tests/clients`.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use aviary_event::Value;
use aviary_output::{DeliveryError, Output};
use serde_json::json;
use sha1::{Digest as _, Sha1};

use crate::bench::{Setup, deliver, deliver_all, event, event_with, events, temporary};

const NONCE: &[u8] = b"\x01\xfe\x00\x80";

fn frame(opcode: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 5).expect("short");
    [&length.to_be_bytes(), [opcode].as_slice(), body].concat()
}

fn error(text: &str) -> Vec<u8> {
    frame(0, text.as_bytes())
}

/// What a broker does with a connection.
#[derive(Clone)]
enum Play {
    /// Takes everything and closes.
    Take,
    /// Takes everything and says this before it closes.
    Complain(&'static str),
    /// Complains of one channel.
    Forbid(&'static str),
    /// Sends this instead of a greeting, and closes.
    Greet(Vec<u8>),
    /// Neither greets nor closes; or greets and then neither reads nor closes.
    Hang { greets: bool },
    /// Closes in the middle of what is sent, without reading the rest.
    Break,
    /// Reads what is there and closes in good order before the end is said.
    Leave,
}

/// What it published: channel and payload.
type Published = (String, String);

fn broker(plays: Vec<Play>) -> (u16, Receiver<Vec<Published>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let port = listener.local_addr().expect("an address").port();
    let (tell, told) = channel();
    thread::spawn(move || {
        for play in plays {
            let (stream, _) = listener.accept().expect("a connection");
            tell.send(serve(stream, &play)).expect("the test listens");
        }
    });
    (port, told)
}

fn serve(mut stream: TcpStream, play: &Play) -> Vec<Published> {
    let greeting = match play {
        Play::Greet(bytes) => {
            stream.write_all(bytes).expect("a greeting");
            return Vec::new();
        }
        Play::Hang { greets: false } => {
            std::mem::forget(stream);
            return Vec::new();
        }
        _ => frame(1, &[b"\x04test", NONCE].concat()),
    };
    // In two pieces, as networks do.
    for piece in greeting.chunks(7) {
        stream.write_all(piece).expect("a greeting");
        thread::sleep(std::time::Duration::from_millis(5));
    }
    if matches!(play, Play::Hang { greets: true }) {
        std::mem::forget(stream);
        return Vec::new();
    }
    if matches!(play, Play::Break) {
        stream.read_exact(&mut [0; 20]).expect("a beginning");
        return Vec::new();
    }
    if matches!(play, Play::Leave) {
        assert!(stream.read(&mut [0; 65_536]).is_ok_and(|count| count > 0));
        return Vec::new();
    }
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut piece) {
        bytes.extend_from_slice(&piece[..count]);
    }
    let proof = Sha1::new().chain_update(NONCE).chain_update(b"s3cret").finalize();
    let auth = frame(2, &[b"\x08canary-1".as_slice(), &proof].concat());
    let mut rest = bytes.strip_prefix(auth.as_slice()).expect("the proof");
    let mut published = Vec::new();
    while let Some((length, _)) = rest.split_first_chunk::<4>() {
        let (frame, later) = rest.split_at(u32::from_be_bytes(*length) as usize);
        rest = later;
        let body = frame.strip_prefix([&length[..], b"\x03\x08canary-1"].concat().as_slice()).expect("a publish frame");
        let (channel, payload) = body[1..].split_at(usize::from(body[0]));
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        published.push((text(channel), text(payload)));
    }
    match play {
        Play::Complain(text) => stream.write_all(&error(text)).expect("a complaint"),
        Play::Forbid(channel) if published.iter().any(|(known, _)| known == channel) => {
            stream.write_all(&error("Authkey not allowed to pub here")).expect("a complaint");
            published.clear();
        }
        _ => {}
    }
    published
}

fn output(port: u16, channels: &[&str]) -> Box<dyn Output> {
    let options =
        json!({"host": "127.0.0.1", "port": port, "ident": "canary-1", "secret": "s3cret", "channels": channels});
    Setup::new("opencanary.logger.HpfeedsHandler", options).build()
}

fn on(channel: &str, seqs: std::ops::RangeInclusive<u64>) -> Vec<Published> {
    seqs.map(|seq| (channel.to_owned(), event(seq).to_line(true))).collect()
}

#[tokio::test]
async fn publishes_each_event_to_each_channel() {
    let (port, told) = broker(vec![Play::Take; 2]);
    deliver_all(&mut output(port, &["a", "b"]), &events(1..=3)).await;
    assert_eq!(told.recv().expect("a connection"), on("a", 1..=3));
    assert_eq!(told.recv().expect("a connection"), on("b", 1..=3));
}

#[tokio::test]
async fn tries_again_what_a_broker_complains_of_and_quotes_it() {
    let plays = vec![Play::Complain("Authentication failed for canary-1"), Play::Break, Play::Take];
    let (port, told) = broker(plays);
    let mut output = output(port, &["a"]);
    let batch = events(1..=2);
    let (delivered, reason) = temporary(&mut output, &batch).await;
    assert_eq!(delivered, 0);
    let expected = format!("broker at `127.0.0.1` port {port}: it said: Authentication failed for canary-1");
    assert_eq!(reason, expected);
    let (_, reason) = temporary(&mut output, &batch).await;
    assert!(reason.contains("the connection broke") || reason.contains("cannot send"), "{reason}");
    deliver_all(&mut output, &batch).await;
    assert_eq!(told.iter().last().expect("a connection"), on("a", 1..=2));
}

#[tokio::test]
async fn publishes_nothing_twice_to_a_channel_while_another_is_forbidden() {
    let plays = vec![Play::Take, Play::Forbid("b"), Play::Forbid("b"), Play::Take];
    let (port, told) = broker(plays);
    let mut output = output(port, &["a", "b"]);
    let batch = events(1..=2);
    for _ in 0..2 {
        let (_, reason) = temporary(&mut output, &batch).await;
        assert!(reason.ends_with("it said: Authkey not allowed to pub here"), "{reason}");
    }
    deliver_all(&mut output, &batch).await;
    assert_eq!(told.iter().flatten().collect::<Vec<_>>(), [on("a", 1..=2), on("b", 1..=2)].concat());
}

#[tokio::test]
async fn stands_whatever_greets_it() {
    for (greeting, words) in [
        (b"".to_vec(), "ended the connection before its greeting"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), "it sent a frame of 1213486160 bytes"),
        (b"\0\0\0\x06\x01\x09".to_vec(), "it sent a frame of type 1 that makes no sense"),
        (b"\0\0\x40\x01\0".to_vec(), "it sent a frame of 16385 bytes"),
        (error("full"), "it said: full"),
    ] {
        let (port, _told) = broker(vec![Play::Greet(greeting)]);
        let (_, reason) = temporary(&mut output(port, &["a"]), &events(1..=1)).await;
        assert!(reason.contains(words), "{reason}");
    }
}

#[tokio::test]
async fn does_not_take_an_early_end_for_delivery() {
    let (port, told) = broker(vec![Play::Leave, Play::Take]);
    let mut output = output(port, &["a"]);
    let (delivered, reason) = temporary(&mut output, &events(1..=2)).await;
    assert!(delivered == 0 && reason.ends_with("it ended the connection before the batch was over"), "{reason}");
    deliver_all(&mut output, &events(1..=2)).await;
    assert_eq!(told.iter().flatten().collect::<Vec<_>>(), on("a", 1..=2));
}

#[tokio::test]
async fn does_not_take_silence_for_delivery() {
    for (greets, words) in [(false, "no greeting within 0.3 s"), (true, "it did not end the connection within 0.3 s")] {
        let (port, told) = broker(vec![Play::Hang { greets }, Play::Take]);
        let options = json!({
            "host": "127.0.0.1", "port": port, "ident": "canary-1", "secret": "s3cret", "channels": "a", "timeout": 0.3,
        });
        let mut output = Setup::new("opencanary.logger.HpfeedsHandler", options).build();
        let (delivered, reason) = temporary(&mut output, &events(1..=2)).await;
        assert_eq!(delivered, 0);
        assert!(reason.ends_with(words), "{reason}");
        deliver_all(&mut output, &events(1..=2)).await;
        assert_eq!(told.iter().flatten().collect::<Vec<_>>(), on("a", 1..=2));
    }
}

#[tokio::test]
async fn refuses_what_no_broker_takes_and_goes_on() {
    let (port, told) = broker(vec![Play::Take; 2]);
    let mut output = output(port, &["a"]);
    let batch = [event(1), event_with(2, Value::from("x".repeat(1 << 20))), event(3)];
    let Some(Err(failure)) = deliver(&mut output, &batch).await else { panic!("it cannot fit") };
    assert_eq!(failure.delivered, 1);
    assert!(matches!(failure.error, DeliveryError::Refused { .. }), "{}", failure.error);
    deliver_all(&mut output, &batch[2..]).await;
    let all: Vec<_> = told.iter().flatten().collect();
    assert_eq!(all, [on("a", 1..=1), on("a", 3..=3)].concat());
}
