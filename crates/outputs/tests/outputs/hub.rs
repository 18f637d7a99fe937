//! `aviary.hub` against hubs of our own, over both transports, and against what is no hub.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use aviary_event::Value;
use aviary_output::{DeliveryError, Failure, Output};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde_json::{Value as Json, json};
use tonic::Code;

use crate::bench::{Setup, deliver, deliver_all, event_with, events, temporary};
use crate::hub_server::{Act, GrpcHub};
use crate::webhook::{Receiver, Request};

const SECRET: &str = "t0k-secret";

fn output(url: &str, mut options: Json) -> Box<dyn Output> {
    options["url"] = json!(url);
    if options.get("token").is_none() {
        options["token"] = json!(SECRET);
    }
    Setup::new("aviary.hub", options).build()
}

fn grpc(hub: &GrpcHub, mut options: Json) -> Box<dyn Output> {
    options["transport"] = json!("grpc");
    output(&format!("http://127.0.0.1:{}", hub.port), options)
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("{status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

fn taken(accepted: u64, rejected: &[(u64, &str)]) -> String {
    let list: Vec<_> =
        rejected.iter().map(|(index, reason)| json!({"index": index, "id": "", "reason": reason})).collect();
    let status = if rejected.is_empty() { "200 OK" } else { "422 Unprocessable Content" };
    answer(status, "", &json!({"accepted": accepted, "duplicate": 0, "rejected": list}).to_string())
}

fn web(answers: &[String], mut options: Json) -> (Receiver, Box<dyn Output>) {
    let answers: Vec<_> = answers.iter().map(String::as_str).collect();
    let receiver = Receiver::answering(&answers);
    options["compression"] = json!("none");
    let url = format!("http://127.0.0.1:{}/behind/proxy", receiver.listen(None));
    (receiver, output(&url, options))
}

/// The `seq` of each event in a request.
fn sent(request: &Request) -> Vec<u64> {
    request.body.lines().map(seq).collect()
}

fn seq(line: &str) -> u64 {
    serde_json::from_str::<Json>(line).expect("JSON")["aviary"]["seq"].as_u64().expect("a number")
}

async fn refused(output: &mut Box<dyn Output>, batch: &[Arc<aviary_event::Event>]) -> (usize, String) {
    match deliver(output, batch).await {
        Some(Err(Failure { delivered, error: DeliveryError::Refused { reason } })) => (delivered, reason),
        other => panic!("not a refusal: {other:?}"),
    }
}

async fn asked_to_wait(output: &mut Box<dyn Output>) -> (String, Option<Duration>) {
    match deliver(output, &events(1..=2)).await {
        Some(Err(Failure { delivered: 0, error: DeliveryError::Temporary { reason, retry_after } })) => {
            (reason, retry_after)
        }
        other => panic!("not temporary: {other:?}"),
    }
}

#[tokio::test]
async fn over_http_a_batch_is_lines_in_a_request() {
    let (receiver, mut output) = web(&[taken(3, &[]), taken(1, &[])], json!({}));
    let batch = events(1..=4);
    deliver_all(&mut output, &batch[..3]).await;
    deliver_all(&mut output, &batch[3..]).await;
    let requests = receiver.requests();
    assert_eq!(requests[0].line, "POST /behind/proxy/api/v1/events HTTP/1.1");
    assert_eq!(requests[0].header("authorization"), Some("Bearer t0k-secret"));
    assert_eq!(requests[0].header("content-type"), Some("application/x-ndjson"));
    assert_eq!(requests[0].header("content-encoding"), None);
    let lines: String = batch[..3].iter().map(|event| event.to_line(true) + "\n").collect();
    assert_eq!((requests[0].body.as_str(), sent(&requests[1])), (lines.as_str(), vec![4]));
}

#[tokio::test]
async fn over_grpc_batches_go_on_one_stream_in_order() {
    let hub = GrpcHub::start(&[]).await;
    let mut output = grpc(&hub, json!({}));
    let batch = events(1..=6);
    for part in batch.chunks(2) {
        deliver_all(&mut output, part).await;
    }
    let got = hub.batches();
    assert_eq!(got.iter().map(|batch| (batch.stream, batch.sequence)).collect::<Vec<_>>(), [(1, 1), (1, 2), (1, 3)]);
    let lines: Vec<_> = got.iter().flat_map(|batch| batch.lines.clone()).collect();
    assert_eq!(lines, batch.iter().map(|event| event.to_line(true)).collect::<Vec<_>>());
    let header = |name: &str| got[0].headers.get(name).and_then(|value| value.to_str().ok().map(str::to_owned));
    assert_eq!(header("authorization").as_deref(), Some("Bearer t0k-secret"));
    assert_eq!(header("grpc-encoding").as_deref(), Some("gzip"));
    assert_eq!(header("user-agent").as_deref(), Some(concat!("aviary/", env!("CARGO_PKG_VERSION"))));
}

#[tokio::test]
async fn one_bad_event_holds_no_other_and_nothing_is_sent_twice() {
    let (receiver, web) = web(&[taken(3, &[(1, "too odd"), (3, "not yours")])], json!({}));
    let hub = GrpcHub::start(&[Act::Reject(vec![(1, "too odd"), (3, "not yours")])]).await;
    for mut output in [web, grpc(&hub, json!({}))] {
        let batch = events(1..=5);
        // As the loop does it: what is delivered or refused leaves, the rest comes again.
        assert_eq!(refused(&mut output, &batch).await, (1, "too odd".to_owned()));
        assert_eq!(refused(&mut output, &batch[2..]).await, (1, "not yours".to_owned()));
        deliver_all(&mut output, &batch[4..]).await;
    }
    assert_eq!(receiver.requests().iter().map(sent).collect::<Vec<_>>(), [vec![1, 2, 3, 4, 5]]);
    assert_eq!(hub.seqs(), [vec![1, 2, 3, 4, 5]]);
}

#[tokio::test]
async fn what_is_too_large_goes_in_halves() {
    let large = answer("413 Content Too Large", "", "at most 2 events");
    let answers = [large.clone(), taken(2, &[]), taken(2, &[]), large];
    let (receiver, mut output) = web(&answers, json!({}));
    deliver_all(&mut output, &events(1..=4)).await;
    assert_eq!(refused(&mut output, &events(5..=5)).await.1, "the receiver answered 413: at most 2 events");
    let got: Vec<_> = receiver.requests().iter().map(sent).collect();
    assert_eq!(got, [vec![1, 2, 3, 4], vec![1, 2], vec![3, 4], vec![5]]);

    // The server takes messages up to 1.2 MB, and says so by itself.
    let hub = GrpcHub::start(&[]).await;
    let mut output = grpc(&hub, json!({}));
    let with = |seq, size| event_with(seq, Value::from("x".repeat(size)));
    deliver_all(&mut output, &(1..=4).map(|seq| with(seq, 500_000)).collect::<Vec<_>>()).await;
    assert_eq!(hub.seqs(), [vec![1, 2], vec![3, 4]]);
    let (delivered, reason) = refused(&mut output, &[with(5, 2_000_000), with(6, 10)]).await;
    assert!(
        delivered == 0 && reason.starts_with("the hub answered ResourceExhausted: ") && reason.contains("1200000"),
        "{reason}"
    );
    deliver_all(&mut output, &[with(6, 10)]).await;
}

#[tokio::test]
async fn what_makes_no_sense_as_a_batch_is_looked_for_in_halves() {
    let bad = answer("400 Bad Request", "", "line 2 is no UTF-8");
    let (receiver, mut output) = web(&[bad.clone(), bad, taken(1, &[])], json!({}));
    let batch = events(1..=2);
    assert_eq!(refused(&mut output, &batch).await, (0, "the receiver answered 400: line 2 is no UTF-8".to_owned()));
    deliver_all(&mut output, &batch[1..]).await;
    assert_eq!(receiver.requests().iter().map(sent).collect::<Vec<_>>(), [vec![1, 2], vec![1], vec![2]]);
    let bad = || Act::Status(Code::InvalidArgument, "line 2 is no UTF-8");
    let hub = GrpcHub::start(&[bad(), bad()]).await;
    let mut output = grpc(&hub, json!({}));
    assert_eq!(
        refused(&mut output, &batch).await,
        (0, "the hub answered InvalidArgument: line 2 is no UTF-8".to_owned())
    );
    deliver_all(&mut output, &batch[1..]).await;
    assert_eq!(hub.seqs(), [vec![1, 2], vec![1], vec![2]]);
}

#[tokio::test]
async fn a_hub_says_when_to_come_again() {
    let answers =
        [answer("429 Slow", "retry-after: 7\r\n", "slower"), answer("503 Full", "retry-after: 90\r\n", "full")];
    let (_, mut output) = web(&answers, json!({}));
    let after = |seconds| Some(Duration::from_secs(seconds));
    assert_eq!(asked_to_wait(&mut output).await, ("the receiver answered 429: slower".to_owned(), after(7)));
    assert_eq!(asked_to_wait(&mut output).await, ("the receiver answered 503: full".to_owned(), after(90)));
    let hub = GrpcHub::start(&[Act::NotNow(7000), Act::NotNow(0), Act::Take]).await;
    let mut output = grpc(&hub, json!({}));
    assert_eq!(asked_to_wait(&mut output).await, ("the hub takes nothing now: full".to_owned(), after(7)));
    assert_eq!(asked_to_wait(&mut output).await, ("the hub takes nothing now: full".to_owned(), None));
    deliver_all(&mut output, &events(1..=2)).await;
    let streams: Vec<_> = hub.batches().iter().map(|batch| (batch.stream, batch.sequence)).collect();
    assert_eq!(streams, [(1, 1), (1, 2), (1, 3)], "the stream outlives it");
}

#[tokio::test]
async fn a_web_server_that_is_no_hub_or_lets_nobody_in_is_told_as_it_is() {
    for (answer, said) in [
        (answer("401 No", "", "who are you?"), "the receiver answered 401: who are you?"),
        (answer("403 No", "", "not from there"), "the receiver answered 403: not from there"),
        (answer("404 Not Found", "", "no such page"), "the receiver answered 404: no such page"),
        (answer("302 Found", "location: /login\r\n", ""), "the receiver answered 302"),
        (answer("200 OK", "", "<html>welcome</html>"), "not an answer of a hub (no JSON"),
        (taken(1, &[]), "not an answer of a hub (it speaks of 1 taken and 0 rejected events, and 2 were sent)"),
        (
            taken(1, &[(2, "x")]),
            "not an answer of a hub (it rejects event 2, and 2 were sent): the receiver answered 422",
        ),
        (
            "200 OK\r\nconnection: close\r\ncontent-length: 50\r\n\r\n{\"acc".to_owned(),
            "not an answer of a hub (no JSON",
        ),
        ("garbage\r\n\r\n".to_owned(), "cannot send"),
        (String::new(), "no answer within the time limit"),
    ] {
        let seconds = if answer.is_empty() { 1 } else { 60 };
        let (_receiver, mut output) = web(&[answer], json!({"timeout": seconds}));
        let failure = deliver(&mut output, &events(1..=2)).await;
        match failure {
            Some(Err(Failure { delivered: 0, error: DeliveryError::Temporary { reason, .. } })) => {
                assert!(reason.starts_with(said) && !reason.contains(SECRET), "{said}: {reason}");
            }
            other => panic!("{said}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_grpc_server_that_is_no_hub_or_lets_nobody_in_is_told_as_it_is() {
    for (act, said) in [
        (Act::Status(Code::Unauthenticated, "who are you?"), "the hub answered Unauthenticated: who are you?"),
        (Act::Status(Code::PermissionDenied, "not from there"), "the hub answered PermissionDenied: not from there"),
        (Act::Status(Code::Unimplemented, ""), "the hub answered Unimplemented"),
        (Act::Status(Code::Unavailable, "stopping"), "the hub answered Unavailable: stopping"),
        (Act::Status(Code::ResourceExhausted, "quota"), "the hub answered ResourceExhausted: quota"),
        (Act::End, "the hub ended the stream without an answer"),
        (Act::Hang, "no answer within the time limit"),
        (Act::Sequence(7), "not an answer of a hub: batch 1 was sent, batch 8 answered"),
        (Act::Count(3), "not an answer of a hub: it speaks of 3 taken and 0 rejected events, and 2 were sent"),
        (Act::Reject(vec![(9, "x")]), "not an answer of a hub: it rejects event 9, and 2 were sent"),
        (Act::Reject(vec![(1, "x"), (1, "y")]), "not an answer of a hub: it rejects event 1 twice"),
        (Act::Unknown, "the hub gives an answer of a later version than this canary knows"),
        (Act::Drop, "the connection to the hub broke: "),
    ] {
        let hub = GrpcHub::start(&[act]).await;
        let mut output = grpc(&hub, json!({"timeout": 1}));
        let (delivered, reason) = temporary(&mut output, &events(1..=2)).await;
        assert!(delivered == 0 && reason.starts_with(said) && !reason.contains(SECRET), "{said}: {reason}");
        deliver_all(&mut output, &events(1..=2)).await;
        assert_eq!(hub.seqs().last(), Some(&vec![1, 2]), "{said}");
    }
}

/// Answers each connection with bytes and then closes it, or keeps it open and reads.
fn raw(bytes: &'static [u8], close: bool) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(bytes);
            while !close && stream.read(&mut [0; 65536]).is_ok_and(|count| count > 0) {}
        }
    });
    port
}

#[tokio::test]
async fn what_speaks_no_grpc_is_told_as_it_is() {
    let settings = b"\0\0\0\x04\0\0\0\0\0";
    // GOAWAY (RFC 9113, section 6.8): last stream 0, error ENHANCE_YOUR_CALM; RST_STREAM (6.4) of stream 1, INTERNAL_ERROR.
    let goaway: &[u8] = b"\0\0\0\x04\0\0\0\0\0\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0b";
    let reset: &[u8] = b"\0\0\0\x04\0\0\0\0\0\0\0\x04\x03\0\0\0\0\x01\0\0\0\x02";
    // A frame that claims 16 MiB, and one of no type that there is.
    let huge: &[u8] = b"\0\0\0\x04\0\0\0\0\0\xff\xff\xff\0\0\0\0\0\x01xxxx";
    for (bytes, close, said) in [
        (&b"\x16\x03\x01 what is this \0\0\0\0\0\0\0\0"[..], false, "the connection to the hub broke: "),
        (b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n", false, "the connection to the hub broke: "),
        (b"", true, "the connection to the hub broke: "),
        (b"", false, "no answer within the time limit"),
        (settings, false, "no answer within the time limit"),
        (settings, true, "the connection to the hub broke: "),
        (goaway, false, "the connection to the hub broke: "),
        (reset, false, "the connection to the hub broke: "),
        (huge, false, "the connection to the hub broke: "),
    ] {
        let options = json!({"transport": "grpc", "timeout": 2});
        let mut output = output(&format!("http://127.0.0.1:{}", raw(bytes, close)), options);
        for _ in 0..2 {
            let (delivered, reason) = temporary(&mut output, &events(1..=2)).await;
            assert!(delivered == 0 && reason.starts_with(said) && !reason.contains(SECRET), "{bytes:?}: {reason}");
        }
    }
}

#[tokio::test]
async fn a_stream_that_ended_while_nobody_looked_costs_nothing() {
    // After a GOAWAY an open stream goes on until the hub ends it (RFC 9113, section 6.8).
    for (end, then) in [(Act::TakeAndEnd, (2, 1)), (Act::TakeAndDrop, (2, 1)), (Act::TakeAndGoAway, (1, 2))] {
        let name = format!("{end:?}");
        let hub = GrpcHub::start(&[end]).await;
        let mut output = grpc(&hub, json!({}));
        deliver_all(&mut output, &events(1..=2)).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        deliver_all(&mut output, &events(3..=4)).await;
        let streams: Vec<_> = hub.batches().iter().map(|batch| (batch.stream, batch.sequence)).collect();
        assert_eq!(streams, [(1, 1), then], "{name}");
    }
}

/// An authority, what a hub that asks for certificates needs, and options of a canary that has one.
fn mutual(folder: &std::path::Path) -> (Arc<ServerConfig>, Json) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut params = rcgen::CertificateParams::new(vec![]).expect("no names");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_key = rcgen::KeyPair::generate().expect("a key");
    let authority = params.self_signed(&authority_key).expect("a certificate");
    let issuer = rcgen::Issuer::new(params, &authority_key);
    let signed = |name: &str| {
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let key = rcgen::KeyPair::generate().expect("a key");
        (params.signed_by(&key, &issuer).expect("a certificate"), key)
    };
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("a file");
        json!(path)
    };
    let (canary, canary_key) = signed("canary-7");
    let options = json!({
        "verify": write("ca.pem", authority.pem()),
        "cert": write("canary.pem", canary.pem()),
        "key": write("canary.key", canary_key.serialize_pem()),
    });
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).expect("an authority");
    let (server, server_key) = signed("localhost");
    let mut tls = ServerConfig::builder()
        .with_client_cert_verifier(WebPkiClientVerifier::builder(Arc::new(roots)).build().expect("a verifier"))
        .with_single_cert(vec![server.der().clone()], PrivatePkcs8KeyDer::from(server_key.serialize_der()).into())
        .expect("a TLS server");
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    (Arc::new(tls), options)
}

#[tokio::test]
async fn over_tls_both_sides_show_who_they_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let (tls, options) = mutual(folder.path());
    let hub = GrpcHub::start_with(&[], Some(Arc::clone(&tls))).await;
    let receiver = Receiver::answering(&[&taken(2, &[])]);
    let plain = receiver.listen(Some(Arc::new({
        let mut tls = ServerConfig::clone(&tls);
        tls.alpn_protocols.clear();
        tls
    })));
    for (transport, port) in [("grpc", hub.port), ("http", plain)] {
        let with = |change: &dyn Fn(&mut Json)| {
            let mut options = options.clone();
            options["transport"] = json!(transport);
            options["compression"] = json!("none");
            change(&mut options);
            output(&format!("https://localhost:{port}"), options)
        };
        let mut nameless = with(&|options| {
            options["cert"] = Json::Null;
            options["key"] = Json::Null;
        });
        let (_, reason) = temporary(&mut nameless, &events(1..=2)).await;
        assert!(reason.contains("CertificateRequired"), "{transport}: {reason}");
        let (_, reason) = temporary(&mut with(&|options| options["verify"] = json!(true)), &events(1..=2)).await;
        assert!(reason.starts_with("cannot connect: invalid peer certificate"), "{transport}: {reason}");
        let (_, reason) = temporary(&mut with(&|options| options["key"] = json!("/no/such.key")), &events(1..=2)).await;
        assert!(reason.starts_with("cannot set up TLS: `/no/such.key`: No such file"), "{transport}: {reason}");
        let mut swapped = with(&|options| options["cert"] = options["verify"].clone());
        let (_, reason) = temporary(&mut swapped, &events(1..=2)).await;
        assert!(reason.starts_with("cannot set up TLS: ") && reason.contains("canary.key"), "{transport}: {reason}");
        deliver_all(&mut with(&|_| {}), &events(1..=2)).await;
    }
    assert_eq!((hub.seqs(), sent(&receiver.requests()[0])), (vec![vec![1, 2]], vec![1, 2]));
    let options = {
        let mut options = options.clone();
        options["transport"] = json!("grpc");
        options
    };
    let (_, reason) = temporary(&mut output(&format!("https://localhost:{plain}"), options), &events(1..=2)).await;
    assert!(reason.contains("does not speak HTTP/2"), "{reason}");
}

#[test]
fn names_what_it_does_not_take_and_no_secret() {
    for (options, option) in [
        (json!({}), "url"),
        (json!({"url": "hub.example:8443"}), "url"),
        (json!({"url": "https://h/prefix", "transport": "grpc"}), "url"),
        (json!({"url": "https://h", "transport": "carrier pigeon"}), "transport"),
        (json!({"url": "https://h", "token": ["t0k-secret"]}), "token"),
        (json!({"url": "https://h", "token": "t0k-secret\n"}), "token"),
        (json!({"url": "https://h", "cert": "/c.pem"}), "key"),
        (json!({"url": "https://h", "key": "/k.pem"}), "cert"),
        (json!({"url": "https://h", "compression": "zstd"}), "compression"),
        (json!({"url": "https://h", "batch": 0}), "batch"),
        (json!({"url": "https://h", "verify": 7}), "verify"),
    ] {
        let rejection = Setup::new("aviary.hub", options).try_build().map(|_| ()).expect_err(option);
        assert_eq!(rejection.option, option, "{rejection}");
        assert!(!rejection.to_string().contains(SECRET), "{rejection}");
    }
}
