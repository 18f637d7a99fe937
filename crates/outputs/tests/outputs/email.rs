//! The e-mail output against a mail server of our own; aiosmtpd is tried in `tests/clients`.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use aviary_output::{DeliveryError, Output};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value as Json, json};

use crate::bench::{Setup, deliver, deliver_all, event, events, temporary};

/// A mail server that answers each command as `script` says: the first entry whose command begins the
/// line is taken and used up. Everything else goes well.
#[derive(Clone, Default)]
struct Server {
    script: Arc<Mutex<VecDeque<(&'static str, &'static str)>>>,
    /// Commands as they came, `<` before each connection.
    heard: Arc<Mutex<Vec<String>>>,
    mails: Arc<Mutex<Vec<String>>>,
    tls: Option<Arc<ServerConfig>>,
    /// TLS from the first byte.
    implicit: bool,
}

impl Server {
    fn scripted(script: &[(&'static str, &'static str)]) -> Self {
        let made = Self::default();
        made.script.lock().expect("no panic").extend(script);
        made
    }

    fn listen(&self) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
        let port = listener.local_addr().expect("an address").port();
        let server = self.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                server.heard.lock().expect("no panic").push("<".to_owned());
                match &server.tls {
                    Some(tls) if server.implicit => {
                        server.converse(secure(tls, stream), true);
                    }
                    _ => server.begin(stream),
                }
            }
        });
        port
    }

    fn begin(&self, stream: TcpStream) {
        let plain = stream.try_clone().expect("a handle");
        if let (true, Some(tls)) = (self.converse(plain, false), &self.tls) {
            self.converse(secure(tls, stream), true);
        }
    }

    /// Serves a connection; says whether STARTTLS ended it.
    fn converse(&self, stream: impl Read + Write, inside: bool) -> bool {
        let mut stream = BufReader::new(stream);
        // Inside of STARTTLS nobody greets again.
        if (self.implicit || !inside) && !say(&mut stream, "220 test") {
            return false;
        }
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).unwrap_or(0) == 0 {
                return false;
            }
            let line = line.trim_end().to_owned();
            self.heard.lock().expect("no panic").push(line.clone());
            let answer = {
                let mut script = self.script.lock().expect("no panic");
                let place = script.iter().position(|(command, _)| line.starts_with(command));
                place.and_then(|place| script.remove(place)).map(|(_, answer)| answer)
            };
            if answer == Some("hang") {
                thread::park();
            }
            if answer == Some("close") {
                return false;
            }
            let ordinary = match line.split([' ', ':']).next().unwrap_or_default() {
                "EHLO" if self.tls.is_some() && !inside => "250-test\r\n250-STARTTLS\r\n250 AUTH PLAIN LOGIN XOAUTH2",
                "EHLO" => "250-test\r\n250 AUTH PLAIN LOGIN XOAUTH2",
                "DATA" => "354 go",
                "AUTH" => "235 welcome",
                "QUIT" => "221 bye",
                "STARTTLS" => "220 go",
                _ => "250 ok",
            };
            if !say(&mut stream, answer.unwrap_or(ordinary)) {
                return false;
            }
            match line.as_str() {
                "STARTTLS" if answer.is_none() => return true,
                "QUIT" => return false,
                "DATA" if answer.is_none() => {
                    let mut mail = String::new();
                    while !mail.ends_with("\r\n.\r\n") {
                        if stream.read_line(&mut mail).unwrap_or(0) == 0 {
                            return false;
                        }
                    }
                    let verdict = {
                        let mut script = self.script.lock().expect("no panic");
                        let place = script.iter().position(|(command, _)| *command == "mail");
                        place.and_then(|place| script.remove(place)).map(|(_, answer)| answer)
                    };
                    if verdict == Some("close") {
                        return false;
                    }
                    if verdict.is_none() {
                        self.mails.lock().expect("no panic").push(mail);
                    }
                    if !say(&mut stream, verdict.unwrap_or("250 taken")) {
                        return false;
                    }
                }
                _ => {}
            }
        }
    }

    fn heard(&self, command: &str) -> Vec<String> {
        let heard = self.heard.lock().expect("no panic");
        heard.iter().filter(|line| line.starts_with(command)).cloned().collect()
    }

    /// Which events were mailed, in order, by their message ids.
    fn ids(&self) -> Vec<String> {
        let mails = self.mails.lock().expect("no panic");
        let id = |mail: &String| mail.split("Message-ID: <").nth(1)?.split('@').next().map(str::to_owned);
        mails.iter().filter_map(id).collect()
    }
}

fn say(stream: &mut BufReader<impl Read + Write>, text: &str) -> bool {
    let out = stream.get_mut();
    write!(out, "{text}\r\n").and_then(|()| out.flush()).is_ok()
}

fn secure(tls: &Arc<ServerConfig>, stream: TcpStream) -> StreamOwned<ServerConnection, TcpStream> {
    StreamOwned::new(ServerConnection::new(Arc::clone(tls)).expect("a TLS server"), stream)
}

/// A certificate for `localhost`: the server's side, and PEM for who shall trust it.
fn certificate() -> (Arc<ServerConfig>, String) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .expect("a server");
    (Arc::new(config), made.cert.pem())
}

fn output(port: u16, change: Json) -> Box<dyn Output> {
    let mut options = json!({
        "mailhost": ["localhost", port], "fromaddr": "canary@example.org", "toaddrs": ["a@example.org"], "timeout": 5,
    });
    options.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
    Setup::new("logging.handlers.SMTPHandler", options).build()
}

fn id(seq: u64) -> String {
    event(seq).aviary.as_ref().expect("ours").id.hyphenated().to_string()
}

#[tokio::test]
async fn mails_each_event_over_one_connection() {
    let server = Server::default();
    let mut output = output(server.listen(), json!({"subject": "%(service)s %(kind)s from %(src_host)s"}));
    deliver_all(&mut output, &events(1..=3)).await;
    assert_eq!(server.ids(), [id(1), id(2), id(3)]);
    assert_eq!(server.heard("<").len(), 1);
    assert_eq!(server.heard("MAIL")[0], "MAIL FROM:<canary@example.org>");
    let mail = server.mails.lock().expect("no panic")[0].clone();
    assert!(mail.contains("Subject: ftp login from 192.0.2.7\r\n"), "{mail}");
    assert!(!output.takes_lifecycle());
}

#[tokio::test]
async fn ends_a_connection_that_is_not_needed_any_more() {
    let server = Server::default();
    let mut output = output(server.listen(), json!({}));
    deliver_all(&mut output, &events(1..=1)).await;
    crate::bench::until("QUIT", || (!server.heard("QUIT").is_empty()).then_some(())).await;
    deliver_all(&mut output, &events(2..=2)).await;
    assert_eq!((server.ids(), server.heard("<").len()), (vec![id(1), id(2)], 2));
}

#[tokio::test]
async fn tries_again_with_the_servers_own_words() {
    for (script, words) in [
        (("EHLO", "421 too busy"), "cannot connect: it answered 421: too busy"),
        (("MAIL", "550 who are you"), "the sender: it answered 550: who are you"),
        (("RCPT", "450 greylisted"), "`a@example.org`: it answered 450: greylisted"),
        (("RCPT", "550 relaying denied"), "`a@example.org`: it answered 550: relaying denied"),
        (("DATA", "451 later"), "the mail: it answered 451: later"),
        (("mail", "452 disk full"), "the mail: it answered 452: disk full"),
        (("mail", "close"), "the mail: incomplete response"),
        (("RCPT", "rubbish"), "`a@example.org`: "),
    ] {
        let server = Server::scripted(&[script]);
        let port = server.listen();
        let mut output = output(port, json!({}));
        let (delivered, reason) = temporary(&mut output, &events(1..=1)).await;
        assert_eq!(delivered, 0);
        assert!(reason.starts_with(&format!("mail server `localhost` port {port}: {words}")), "{reason}");
        deliver_all(&mut output, &events(1..=1)).await;
        assert_eq!(server.ids(), [id(1)]);
    }
}

#[tokio::test]
async fn passes_over_an_event_whose_mail_is_refused() {
    let server = Server::scripted(&[("mail", "554 5.7.1 looks like spam")]);
    let mut output = output(server.listen(), json!({}));
    match deliver(&mut output, &events(1..=1)).await {
        Some(Err(failure)) if matches!(failure.error, DeliveryError::Refused { .. }) => {
            assert_eq!(failure.error.to_string(), "refused: it answered 554: 5.7.1 looks like spam");
        }
        other => panic!("{other:?}"),
    }
    deliver_all(&mut output, &events(2..=2)).await;
    assert_eq!(server.ids(), [id(2)]);
}

#[tokio::test]
async fn mails_nobody_twice_while_another_recipient_is_put_off() {
    let server = Server::scripted(&[("RCPT TO:<b@", "450 greylisted"), ("RCPT TO:<c@", "550 nobody")]);
    let recipients = json!({"toaddrs": "a@example.org, b@example.org, c@example.org"});
    let mut output = output(server.listen(), recipients);
    let batch = events(1..=1);
    let (_, reason) = temporary(&mut output, &batch).await;
    assert!(reason.ends_with("`b@example.org`: it answered 450: greylisted"), "{reason}");
    server.script.lock().expect("no panic").push_back(("RCPT TO:<c@", "550 nobody"));
    deliver_all(&mut output, &batch).await;
    let to = |name: &str| server.heard(&format!("RCPT TO:<{name}@")).len();
    assert_eq!((to("a"), to("b"), to("c"), server.ids()), (1, 2, 2, vec![id(1), id(1)]));
}

#[tokio::test]
async fn does_not_wait_for_ever() {
    for command in ["EHLO", "RCPT", "AUTH"] {
        let server = Server::scripted(&[(command, "hang")]);
        let options = json!({"timeout": 0.3, "credentials": ["u", "p"]});
        let (_, reason) = temporary(&mut output(server.listen(), options), &events(1..=1)).await;
        assert!(reason.contains("no answer within 0.3 s") || reason.contains("deadline"), "{reason}");
    }
}

#[tokio::test]
async fn logs_in_by_the_mechanism_asked_for_and_never_says_the_secret() {
    let proof = |heard: Vec<String>| heard.first().cloned().unwrap_or_default();
    for (options, expected) in [
        (json!({"credentials": ["u", "p"]}), "AUTH PLAIN AHUAcA=="),
        (json!({"credentials": ["u", "p"], "auth": "plain"}), "AUTH PLAIN AHUAcA=="),
        (json!({"credentials": ["u", "p"], "auth": "login"}), "AUTH LOGIN"),
        (
            json!({"credentials": ["u"], "oauth": {"access_token": "t0k"}}),
            "AUTH XOAUTH2 dXNlcj11AWF1dGg9QmVhcmVyIHQwawEB",
        ),
    ] {
        let server = Server::default();
        deliver_all(&mut output(server.listen(), options), &events(1..=1)).await;
        assert_eq!(proof(server.heard("AUTH")), expected);
        assert_eq!(server.ids(), [id(1)]);
    }
    let server = Server::scripted(&[("AUTH", "535 5.7.8 no such user")]);
    let options = json!({"credentials": ["u", "secret-word"]});
    let (_, reason) = temporary(&mut output(server.listen(), options), &events(1..=1)).await;
    assert!(reason.ends_with("cannot log in: it answered 535: 5.7.8 no such user"), "{reason}");
}

#[tokio::test]
async fn says_why_a_token_is_refused() {
    // {"status":"400","schemes":"Bearer"}
    let challenge = "334 eyJzdGF0dXMiOiI0MDAiLCJzY2hlbWVzIjoiQmVhcmVyIn0=";
    let server = Server::scripted(&[("AUTH", challenge), ("", "535 5.7.8 not accepted")]);
    server.script.lock().expect("no panic").push_front(("EHLO", "250-test\r\n250 AUTH XOAUTH2"));
    let options = json!({"credentials": ["u"], "oauth": {"access_token": "old"}});
    let (_, reason) = temporary(&mut output(server.listen(), options), &events(1..=1)).await;
    let words = r#"cannot log in: it answered 535: 5.7.8 not accepted ({"status":"400","schemes":"Bearer"})"#;
    assert!(reason.ends_with(words), "{reason}");
}

/// An issuer of tokens: counts up, and says what it was asked.
fn issuer() -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let port = listener.local_addr().expect("an address").port();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&asked);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = BufReader::new(stream);
            let (mut line, mut length) = (String::new(), 0);
            while stream.read_line(&mut line).unwrap_or(0) > 2 {
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().expect("a length");
                }
                line.clear();
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).expect("a form");
            heard.lock().expect("no panic").push(String::from_utf8(body).expect("text"));
            let count = heard.lock().expect("no panic").len();
            let body = format!(r#"{{"access_token": "t{count}", "expires_in": 3600, "token_type": "Bearer"}}"#);
            let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json";
            let _ = write!(stream.get_mut(), "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        }
    });
    (port, asked)
}

#[tokio::test]
async fn fetches_a_token_and_another_when_it_is_not_taken() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (port, asked) = issuer();
    let server = Server::scripted(&[("AUTH", "535 old")]);
    let oauth = json!({
        "token_url": format!("http://127.0.0.1:{port}/token"), "client_id": "c", "client_secret": "s",
        "refresh_token": "r/1",
    });
    let mut output = output(server.listen(), json!({"credentials": ["u"], "oauth": oauth}));
    temporary(&mut output, &events(1..=1)).await;
    deliver_all(&mut output, &events(1..=2)).await;
    let form = "client_id=c&client_secret=s&refresh_token=r%2F1&grant_type=refresh_token";
    assert_eq!(*asked.lock().expect("no panic"), [form, form]);
    assert_eq!(server.ids(), [id(1), id(2)]);
    // user=u^Aauth=Bearer t2^A^A
    assert_eq!(server.heard("AUTH")[1], "AUTH XOAUTH2 dXNlcj11AWF1dGg9QmVhcmVyIHQyAQE=");
}

#[tokio::test]
async fn speaks_tls_from_the_beginning_and_by_starttls() {
    let (tls, pem) = certificate();
    let folder = tempfile::tempdir().expect("a folder");
    let trusted = folder.path().join("ca.pem");
    std::fs::write(&trusted, pem).expect("a file");
    for (implicit, way) in [(true, json!({"tls": "tls"})), (false, json!({"secure": []}))] {
        let server = Server { tls: Some(Arc::clone(&tls)), implicit, ..Server::default() };
        let port = server.listen();
        for (verify, good) in [(json!(trusted), true), (json!(false), true), (json!(true), false)] {
            let mut options = way.clone();
            options["verify"] = verify.clone();
            options["credentials"] = json!(["u", "p"]);
            let mut output = output(port, options);
            let before = server.heard("AUTH").len();
            if good {
                deliver_all(&mut output, &events(1..=1)).await;
            } else {
                let (_, reason) = temporary(&mut output, &events(1..=1)).await;
                assert!(reason.contains("certificate"), "{reason}");
                assert_eq!(server.heard("AUTH").len(), before, "no password for whom nobody vouches");
            }
        }
        assert_eq!(server.ids().len(), 2);
    }
}

#[tokio::test]
async fn sends_no_password_in_clear_when_starttls_is_not_offered() {
    let server = Server::default();
    let options = json!({"tls": "starttls", "credentials": ["u", "p"]});
    let (_, reason) = temporary(&mut output(server.listen(), options), &events(1..=1)).await;
    assert!(reason.ends_with("STARTTLS: it does not offer it"), "{reason}");
    assert!(server.heard("AUTH").is_empty());
}
