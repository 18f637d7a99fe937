//! The GELF output against a decoder written from the specification.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

use aviary_event::Value;
use aviary_output::{DeliveryError, Output};
use miniz_oxide::inflate::{decompress_to_vec, decompress_to_vec_zlib};
use serde_json::{Value as Json, json};

use crate::bench::{Setup, deliver, deliver_all, event, event_with, events, temporary};
use crate::webhook::Receiver;

fn output(options: Json) -> Box<dyn Output> {
    Setup::new("aviary.gelf", options).build()
}

fn receiver() -> (UdpSocket, u16) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a time limit");
    let port = socket.local_addr().expect("an address").port();
    (socket, port)
}

/// Puts chunks together and takes the compression off; gives messages as they get whole, with how
/// many datagrams each was.
fn decode(datagrams: impl Iterator<Item = Vec<u8>>) -> Vec<(usize, Json)> {
    let mut messages = Vec::new();
    let mut parts: BTreeMap<[u8; 8], BTreeMap<u8, Vec<u8>>> = BTreeMap::new();
    for datagram in datagrams {
        assert!(datagram.len() <= 8192, "no receiver takes {} bytes", datagram.len());
        let (count, whole) = if datagram.starts_with(&[0x1e, 0x0f]) {
            let id = datagram[2..10].try_into().expect("eight bytes");
            let (number, count) = (datagram[10], datagram[11]);
            assert!(number < count && count <= 128, "{number} of {count}");
            let known = parts.entry(id).or_default();
            known.insert(number, datagram[12..].to_vec());
            if known.len() < usize::from(count) {
                continue;
            }
            (known.len(), parts.remove(&id).expect("all parts").into_values().flatten().collect())
        } else {
            (1, datagram)
        };
        let text = match whole.as_slice() {
            [0x1f, 0x8b, 8, 0, _, _, _, _, _, _, packed @ .., _, _, _, _, _, _, _, _] => {
                let text = decompress_to_vec(packed).expect("deflate");
                let length = u32::from_le_bytes(whole[whole.len() - 4..].try_into().expect("four bytes"));
                assert_eq!(text.len(), usize::try_from(length).expect("a length"));
                text
            }
            [0x78, ..] => decompress_to_vec_zlib(&whole).expect("zlib"),
            _ => whole,
        };
        messages.push((count, serde_json::from_slice(&text).expect("JSON")));
    }
    assert!(parts.is_empty(), "chunks are missing");
    messages
}

fn receive(socket: &UdpSocket, count: usize) -> impl Iterator<Item = Vec<u8>> {
    let mut buffer = vec![0; 65_536];
    let mut datagrams = Vec::new();
    let mut whole = 0;
    while whole < count {
        let length = socket.recv(&mut buffer).expect("a datagram");
        let datagram = buffer[..length].to_vec();
        whole += usize::from(!datagram.starts_with(&[0x1e, 0x0f]) || datagram[10] + 1 == datagram[11]);
        datagrams.push(datagram);
    }
    datagrams.into_iter()
}

/// Bytes that no compression makes smaller, as text.
fn noise(length: usize) -> String {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let step = |state: &mut u64| {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        char::from(b'!' + u8::try_from(*state % 90).expect("a small number"))
    };
    (0..length).map(|_| step(&mut state)).collect()
}

#[tokio::test]
async fn sends_a_message_for_each_event_however_compressed() {
    for compression in ["gzip", "zlib", "none"] {
        let (socket, port) = receiver();
        let mut output = output(json!({"address": ["127.0.0.1", port], "compression": compression}));
        deliver_all(&mut output, &events(1..=3)).await;
        let messages = decode(receive(&socket, 3));
        for ((_, message), seq) in messages.iter().zip(1_u64..) {
            assert_eq!(message["full_message"], event(seq).to_line(true));
            assert_eq!((&message["version"], &message["_seq"]), (&json!("1.1"), &json!(seq)), "{compression}");
            assert_eq!(message["_logdata_USERNAME"], "root");
        }
    }
}

#[tokio::test]
async fn splits_what_is_longer_than_a_datagram() {
    let (socket, port) = receiver();
    let mut output = output(json!({"address": ["127.0.0.1", port], "chunk_size": 500}));
    let long = event_with(1, Value::from(noise(9000)));
    deliver_all(&mut output, &[long.clone(), event(2)]).await;
    let messages = decode(receive(&socket, 2));
    assert!(messages[0].0 > 15, "{} chunks", messages[0].0);
    assert_eq!(messages[0].1["full_message"], long.to_line(true));
    assert_eq!(messages[1].1["_seq"], 2);
}

#[tokio::test]
async fn refuses_what_128_chunks_do_not_hold_and_sends_the_rest() {
    let (socket, port) = receiver();
    let mut output = output(json!({"address": ["127.0.0.1", port], "compression": "none"}));
    let batch = [event(1), event_with(2, Value::from(noise(1_100_000)))];
    let Some(Err(failure)) = deliver(&mut output, &batch).await else { panic!("it cannot fit") };
    assert_eq!(failure.delivered, 1);
    assert!(failure.error.to_string().contains("128 chunks"), "{}", failure.error);
    assert!(matches!(failure.error, DeliveryError::Refused { .. }));
    assert_eq!(decode(receive(&socket, 1))[0].1["_seq"], 1);
}

#[tokio::test]
async fn notices_that_nobody_takes_its_datagrams() {
    let (socket, port) = receiver();
    drop(socket);
    let mut output = output(json!({"address": ["127.0.0.1", port]}));
    let (_, reason) = temporary(&mut output, &events(1..=1)).await;
    assert!(reason.starts_with("GELF at `127.0.0.1` port") && reason.contains("refused"), "{reason}");
}

#[tokio::test]
async fn ends_messages_of_a_stream_with_a_nul() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let port = listener.local_addr().expect("an address").port();
    let mut output = output(json!({"address": ["127.0.0.1", port], "transport": "tcp"}));
    deliver_all(&mut output, &events(1..=2)).await;
    // Killed with the messages unread: they come again on the next connection.
    drop(listener.accept().expect("a connection"));
    deliver_all(&mut output, &events(3..=3)).await;
    drop(output);
    let mut text = String::new();
    let (mut stream, _) = listener.accept().expect("a connection");
    stream.read_to_string(&mut text).expect("text");
    let messages: Vec<Json> =
        text.split_terminator('\0').map(|message| serde_json::from_str(message).expect("JSON")).collect();
    assert_eq!(
        messages.iter().map(|message| message["_seq"].as_u64()).collect::<Vec<_>>(),
        [Some(1), Some(2), Some(3)]
    );
}

#[tokio::test]
async fn posts_to_the_http_input() {
    let receiver = Receiver::answering(&[
        "202 Accepted\r\ncontent-length: 0\r\n\r\n",
        "503 Busy\r\nretry-after: 2\r\ncontent-length: 0\r\n\r\n",
        "401 No\r\ncontent-length: 0\r\n\r\n",
        "413 Large\r\ncontent-length: 0\r\n\r\n",
        "202 Accepted\r\ncontent-length: 0\r\n\r\n",
    ]);
    let port = receiver.listen(None);
    let options = json!({"url": format!("http://127.0.0.1:{port}/gelf"), "headers": {"Authorization": "secret"}});
    let mut output = output(options);
    deliver_all(&mut output, &events(1..=1)).await;
    for status in ["503", "401"] {
        let (_, reason) = temporary(&mut output, &events(2..=2)).await;
        assert!(reason.contains(status) && !reason.contains("secret"), "{reason}");
    }
    let Some(Err(failure)) = deliver(&mut output, &events(2..=2)).await else { panic!("413 is no success") };
    assert!(matches!(failure.error, DeliveryError::Refused { .. }), "{}", failure.error);
    deliver_all(&mut output, &events(3..=3)).await;
    let requests = receiver.requests();
    assert_eq!(requests[0].line, "POST /gelf HTTP/1.1");
    assert_eq!(requests[0].header("authorization"), Some("secret"));
    let message: Json = serde_json::from_str(&requests[4].body).expect("JSON");
    assert_eq!(message["_seq"], 3);
}

#[test]
fn names_what_it_does_not_take() {
    for (options, option) in [
        (json!({"url": "http://h/gelf", "address": ["h", 1]}), "url"),
        (json!({"url": "udp://h/"}), "url"),
        (json!({"transport": "quic"}), "transport"),
        (json!({"transport": "tcp", "compression": "gzip"}), "compression"),
        (json!({"address": "/dev/log"}), "address"),
        (json!({"chunk_size": 9000}), "chunk_size"),
    ] {
        let rejection = Setup::new("aviary.gelf", options).try_build().map(|_| ()).expect_err(option);
        assert_eq!(rejection.option, option, "{rejection}");
    }
}

#[tokio::test]
async fn a_template_is_the_short_message_alone() {
    let (socket, port) = receiver();
    let template = "%(kind)s by %(username)s";
    let options = json!({"address": ["127.0.0.1", port], "compression": "none", "template": template});
    deliver_all(&mut output(options), &[event(1)]).await;
    let mut buffer = [0; 9000];
    let length = socket.recv(&mut buffer).expect("a datagram");
    let (_, message) = decode(std::iter::once(buffer[..length].to_vec())).remove(0);
    assert_eq!(message["short_message"], "login by root");
    assert_eq!(message["full_message"], event(1).to_line(true));
}
