//! Recorded answers of mongod 3.6.8 replayed, logins of every mechanism, and what is reported.

use aviary_service::Dialogue;
use aviary_testkit::{Talk, Transcript, build, exchange, facts};
use insta::assert_snapshot;

use super::ENTRY;
use super::bson::{Bson, Document};
use super::codec::{Frame, Message, frame, message, opcode, read_compressed, read_msg};
use super::compress::Compressor;

fn dialogue(version: &str) -> Box<dyn Dialogue> {
    build(&ENTRY, &[("mongodb.version", &format!("\"{version}\""))]).dialogue(0, &facts(27017))
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// An OP_MSG with this command.
fn msg(command: &Document) -> Vec<u8> {
    message(7, 0, opcode::MSG, &[b"\0\0\0\0\0".as_slice(), &command.encode()].concat())
}

fn query(collection: &str, command: &Document) -> Vec<u8> {
    let head = [b"\0\0\0\0".as_slice(), collection.as_bytes(), b"\0\0\0\0\0\xff\xff\xff\xff"].concat();
    message(7, 0, opcode::QUERY, &[head, command.encode()].concat())
}

fn command(name: &str) -> Document {
    Document::default().with(name, 1).with("$db", "admin")
}

/// The document of an answer.
fn answer(bytes: &[u8]) -> Document {
    let Frame::Message(Message { opcode, body, request: _ }) = frame(bytes) else { panic!("{bytes:x?}") };
    match opcode {
        opcode::MSG => read_msg(body).unwrap().document,
        opcode::REPLY => Document::read(&body[20..]).unwrap().0,
        other => panic!("{other}"),
    }
}

fn ask(version: &str, request: &[u8]) -> Document {
    answer(&exchange(dialogue(version).as_mut(), &[request]).replies())
}

fn names(document: &Document) -> Vec<&str> {
    document.0.iter().map(|(name, _)| std::str::from_utf8(name).unwrap()).collect()
}

fn errmsg(document: &Document) -> String {
    String::from_utf8(document.text("errmsg").unwrap().to_vec()).unwrap()
}

#[test]
fn answers_as_the_recorded_server_did() {
    let fixture = include_str!("fixtures/mongod-3.6.8.txt");
    let mut lines = fixture.lines();
    let mut compared = 0;
    while let Some(name) = lines.next() {
        let mut next = |mark| lines.next().unwrap().strip_prefix(mark).unwrap();
        let (sent, mut expected, end) = (hex(next("> ")), hex(next("< ")), next("= "));
        let (length, end) = end.split_once(' ').unwrap();
        let mut dialogue = dialogue("3.6.8");
        let mut talk = Talk::open(dialogue.as_mut());
        let mut got = talk.send(&sent);
        assert_eq!(talk.transcript().closed(), end == "FIN", "{name}");
        compared += 1;
        if name.contains("uild") {
            // Debian's build has flags of its own; the recording shows the beginning.
            let upto = memchr::memmem::find(&expected, b"buildEnvironment").unwrap();
            let at = if name.contains("nuclei") { 36 } else { 21 };
            assert_eq!(got[at + 4..upto], expected[at + 4..upto], "{name}");
            continue;
        }
        assert_eq!(expected.len(), length.parse::<usize>().unwrap(), "{name}: the recording is whole");
        for bytes in [&mut got, &mut expected] {
            // The answer's number, the time, and the peer's address.
            if bytes.len() > 16 && !bytes.starts_with(b"HTTP") {
                bytes[4..8].fill(0);
            }
            if let Some(at) = memchr::memmem::find(bytes, b"localTime\0") {
                bytes[at + 10..at + 18].fill(0);
            }
            if let Some(at) = memchr::memmem::find(bytes, b"\x02you\0") {
                let document = Document::read(&bytes[21..]).unwrap().0;
                assert_eq!(names(&document), ["you", "ok"]);
                bytes.truncate(at);
                bytes[..4].fill(0);
                bytes[21..25].fill(0);
            }
        }
        assert_eq!(got.escape_ascii().to_string(), expected.escape_ascii().to_string(), "{name}");
    }
    assert_eq!(compared, 16);
}

#[test]
fn hello_is_that_of_the_version() {
    let asked = command("hello")
        .with("helloOk", true)
        .with("compression", ["zstd", "other", "snappy", "zstd"].into_iter().collect::<Bson>())
        .with("saslSupportedMechs", "admin.root");
    let new = ask("7.0.14", &msg(&asked));
    assert_eq!(
        names(&new),
        [
            "helloOk",
            "isWritablePrimary",
            "topologyVersion",
            "maxBsonObjectSize",
            "maxMessageSizeBytes",
            "maxWriteBatchSize",
            "localTime",
            "logicalSessionTimeoutMinutes",
            "connectionId",
            "minWireVersion",
            "maxWireVersion",
            "readOnly",
            "compression",
            "saslSupportedMechs",
            "ok",
        ]
    );
    assert_eq!(new.get("localTime"), Some(&Bson::Date(aviary_testkit::NOW / 1000)));
    assert_eq!(new.get("compression"), Some(&["zstd", "snappy"].into_iter().collect()));
    assert_eq!(new.get("maxWireVersion"), Some(&Bson::Int(21)));
    let old = ask("4.4.29", &query("admin.$cmd", &Document::default().with("ismaster", 1)));
    assert_eq!(names(&old)[..2], ["ismaster", "topologyVersion"]);
    assert!(old.get("helloOk").is_none() && old.get("compression").is_none() && old.get("version").is_none());
}

#[test]
fn a_monitor_waits_as_long_as_it_asks_to() {
    let mut dialogue = dialogue("7.0.14");
    let mut talk = Talk::open(dialogue.as_mut());
    let first = answer(&talk.send(&msg(&command("hello"))));
    let version = first.document("topologyVersion").unwrap().clone();
    let waiting = command("hello").with("topologyVersion", version).with("maxAwaitTimeMS", Bson::Long(10_000));
    let second = answer(&talk.send(&msg(&waiting)));
    assert!(talk.end().to_string().contains("(10000 ms)"));
    assert_eq!(second.get("localTime"), Some(&Bson::Date(aviary_testkit::NOW / 1000 + 10_000)));
    let other = command("hello")
        .with("topologyVersion", Document::default().with("processId", Bson::ObjectId([1; 12])))
        .with("maxAwaitTimeMS", 10_000);
    assert!(!exchange(self::dialogue("7.0.14").as_mut(), &[&msg(&other)]).to_string().contains("ms)"));
}

#[test]
fn refusals_are_in_the_words_of_the_version() {
    let text = |version: &str, request: &[u8]| errmsg(&ask(version, request));
    let drop = Document::default().with("dropDatabase", 1).with("$db", "shop");
    assert_eq!(text("7.0.14", &msg(&drop)), "command dropDatabase requires authentication");
    assert_eq!(text("7.0.14", &msg(&command("atlasVersion"))), "no such command: 'atlasVersion'");
    let list = Document::default().with("listDatabases", 1).with("$db", "shop");
    assert_eq!(text("7.0.14", &msg(&list)), "listDatabases may only be run against the admin database.");
    assert_eq!(
        text("7.0.14", &query("test.$cmd", &Document::default().with("serverStatus", 1.0))),
        "Unsupported OP_QUERY command: serverStatus. The client driver may require an upgrade. For more details see \
         https://dochub.mongodb.org/core/legacy-opcode-removal"
    );
    assert_eq!(
        text("3.6.8", &query("test.$cmd", &Document::default().with("serverStatus", 1.0))),
        "not authorized on test to execute command { serverStatus: 1.0, $db: \"test\" }"
    );
    assert_eq!(text("7.0.14", &msg(&Document::default().with("ping", 1))), "OP_MSG requests require a $db argument");
    assert_eq!(text("7.0.14", &msg(&command("saslContinue"))), "No SASL session state found");
    let find = query("shop.orders", &Document::default());
    let reply = exchange(dialogue("4.4.6").as_mut(), &[&find]).replies();
    assert_eq!(reply[16], 2, "QueryFailure");
    assert_eq!(answer(&reply).text("$err"), Some(b"not authorized for query on shop.orders".as_slice()));
}

#[test]
fn an_old_opcode_is_taken_without_an_answer() {
    let transcript =
        exchange(dialogue("7.0.14").as_mut(), &[&message(1, 0, 2002, b"\0\0\0\0a.b\0"), &msg(&command("ping"))]);
    assert_eq!(answer(&transcript.replies()), Document::default().with("ok", 1.0));
}

fn start(mechanism: &str, payload: &[u8]) -> Document {
    Document::default()
        .with("saslStart", 1)
        .with("mechanism", mechanism)
        .with("payload", Bson::Binary(0, payload.to_vec()))
        .with("$db", "admin")
}

fn proceed(payload: &[u8]) -> Document {
    Document::default()
        .with("saslContinue", 1)
        .with("conversationId", 1)
        .with("payload", Bson::Binary(0, payload.to_vec()))
        .with("$db", "admin")
}

/// A login of `bob` by SCRAM-SHA-256 up to its failure.
fn login(first: impl FnOnce(&mut Talk<'_>) -> Document, password: &[u8]) -> Transcript {
    login_of("bob", dialogue("7.0.14"), first, password)
}

fn login_of(
    user: &str,
    mut dialogue: Box<dyn Dialogue>,
    first: impl FnOnce(&mut Talk<'_>) -> Document,
    password: &[u8],
) -> Transcript {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use ring::{digest, hmac, pbkdf2};
    let mut talk = Talk::open(dialogue.as_mut());
    let begun = first(&mut talk);
    let first = String::from_utf8(begun.payload("payload").unwrap()).unwrap();
    let fields: Vec<&str> = first.split(',').map(|field| &field[2..]).collect();
    assert_eq!(fields[2], "15000");
    let salt = STANDARD.decode(fields[1]).unwrap();
    assert_eq!(salt.len(), 28);
    let mut salted = [0; 32];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, 15_000.try_into().unwrap(), &salt, password, &mut salted);
    let sign = |key: &[u8], text: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref().to_vec();
    let key = sign(&salted, b"Client Key");
    let last = format!("c=biws,r={}", fields[0]);
    let agreed = format!("n={user},r=abcdefgh,{first},{last}");
    let signature = sign(digest::digest(&digest::SHA256, &key).as_ref(), agreed.as_bytes());
    let proof: Vec<u8> = key.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
    let failed = answer(&talk.send(&msg(&proceed(format!("{last},p={}", STANDARD.encode(&proof)).as_bytes()))));
    assert_eq!(failed, super::persona::failed_login());
    talk.end()
}

fn scram_start(talk: &mut Talk<'_>) -> Document {
    let begun = answer(&talk.send(&msg(&start("SCRAM-SHA-256", b"n,,n=bob,r=abcdefgh"))));
    assert_eq!(names(&begun), ["conversationId", "done", "payload", "ok"]);
    begun
}

#[test]
fn a_proof_is_reported_with_its_common_password() {
    let transcript = login(scram_start, b"bob123");
    let events = transcript.events_of(31300);
    assert_eq!(events.len(), 1);
    let text = |key: &str| events[0].get(key).unwrap().as_str().unwrap();
    assert_eq!((text("USERNAME"), text("PASSWORD"), text("DATABASE")), ("bob", "bob123", "admin"));
    assert!(text("AUTH_MESSAGE").starts_with("n=bob,r=abcdefgh,r=abcdefgh"));
    assert!(text("AUTH_MESSAGE").contains(&format!("s={},i=15000,c=biws,r=", text("SALT"))));
    let other = login(scram_start, b"nobody guesses this");
    assert!(other.events_of(31300)[0].get("PASSWORD").is_none());
}

#[test]
fn so_many_new_users_are_guessed_in_a_second() {
    let service = build(&super::ENTRY, &[]);
    let is_guessed = |user: &str| {
        let message = format!("n,,n={user},r=abcdefgh");
        let first = |talk: &mut Talk<'_>| answer(&talk.send(&msg(&start("SCRAM-SHA-256", message.as_bytes()))));
        let transcript = login_of(user, service.dialogue(0, &facts(27017)), first, user.as_bytes());
        let [credential] = transcript.events_of(31300)[..] else { panic!("{transcript}") };
        assert!(credential.get("PROOF").is_some(), "{transcript}");
        credential.get("PASSWORD").is_some()
    };
    let most = usize::from(super::server::GUESSES);
    assert_eq!((0..most + 4).filter(|number| is_guessed(&format!("user{number}"))).count(), most);
    assert!(is_guessed("user0"), "whose keys are there");
}

#[test]
fn a_planted_password_is_found_in_a_proof() {
    let given = [("mongodb.honeycreds", r#"[{"username": "bob", "password": "Zebra-Quartz-77"}]"#)];
    let dialogue = build(&ENTRY, &given).dialogue(0, &facts(27017));
    let transcript = login_of("bob", dialogue, scram_start, b"Zebra-Quartz-77");
    assert_eq!(transcript.events_of(31300)[0].get("PASSWORD").unwrap().as_str(), Some("Zebra-Quartz-77"));
}

#[test]
fn a_login_may_begin_in_hello() {
    let transcript = login(
        |talk| {
            let speculation = Document::default()
                .with("saslStart", 1)
                .with("mechanism", "SCRAM-SHA-256")
                .with("payload", Bson::Binary(0, b"n,,n=bob,r=abcdefgh".to_vec()))
                .with("db", "shop");
            let asked = command("hello").with("speculativeAuthenticate", speculation);
            let hello = answer(&talk.send(&msg(&asked)));
            let begun = hello.document("speculativeAuthenticate").unwrap().clone();
            assert_eq!(names(&begun), ["conversationId", "done", "payload"]);
            begun
        },
        b"123456",
    );
    let credential = transcript.events_of(31300)[0];
    assert_eq!(credential.get("DATABASE").unwrap().as_str(), Some("shop"));
    assert_eq!(credential.get("PASSWORD").unwrap().as_str(), Some("123456"));
    assert_eq!(transcript.events_of(20001).len(), 4, "connection, attempt, saslContinue, disconnect");
}

#[test]
fn the_salt_of_a_user_stays() {
    let service = build(&ENTRY, &[]);
    let salt = |user: &str| {
        let mut dialogue = service.dialogue(0, &facts(27017));
        let first = format!("n,,n={user},r=abcdefgh");
        let begun = answer(&exchange(dialogue.as_mut(), &[&msg(&start("SCRAM-SHA-1", first.as_bytes()))]).replies());
        let first = String::from_utf8(begun.payload("payload").unwrap()).unwrap();
        first.split(',').nth(1).unwrap().to_owned()
    };
    assert_eq!(salt("a"), salt("a"));
    assert_ne!(salt("a"), salt("b"));
}

#[test]
fn other_mechanisms_are_reported_and_refused() {
    let certificate = Document::default()
        .with("authenticate", 1)
        .with("mechanism", "MONGODB-X509")
        .with("user", "CN=admin,O=Example")
        .with("$db", "$external");
    let plain = start("PLAIN", b"\0ann\xff\0pass word\0x");
    let transcript = exchange(dialogue("7.0.14").as_mut(), &[&msg(&plain), &msg(&certificate)]);
    assert_snapshot!(transcript);
}

#[test]
fn the_oldest_mechanism_is_that_of_3_6() {
    let mut dialogue = dialogue("3.6.8");
    let mut talk = Talk::open(dialogue.as_mut());
    let nonce = answer(&talk.send(&msg(&command("getnonce"))));
    let login = Document::default()
        .with("authenticate", 1)
        .with("user", "ann")
        .with("nonce", "x")
        .with("key", "0123456789abcdef")
        .with("$db", "admin");
    assert_eq!(errmsg(&answer(&talk.send(&msg(&login)))), "auth failed");
    let transcript = talk.end();
    let credential = transcript.events_of(31300)[0];
    assert_eq!(credential.get("NONCE").unwrap().as_str().unwrap().as_bytes(), nonce.text("nonce").unwrap());
    assert_eq!(errmsg(&ask("7.0.14", &msg(&command("getnonce")))), "no such command: 'getnonce'");
}

#[test]
fn reports_what_opencanary_reports_and_the_driver() {
    let client = Document::default()
        .with("application", Document::default().with("name", "robot"))
        .with("driver", Document::default().with("name", "PyMongo").with("version", "4.20"))
        .with("os", Document::default().with("type", "Linux").with("name", "Linux").with("architecture", "x86_64"))
        .with("platform", "CPython 3.11");
    let hello = Document::default().with("ismaster", 1).with("client", client);
    let chunks =
        [query("admin.$cmd", &hello), msg(&command("listDatabases")), msg(&command("hello")), b"\x05\0\0\0".repeat(4)];
    let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
    let transcript = exchange(dialogue("7.0.14").as_mut(), &chunks);
    let events: String =
        transcript.to_string().lines().filter(|line| line.starts_with("! ")).map(|l| format!("{l}\n")).collect();
    assert_snapshot!(events);
}

#[test]
fn a_packed_request_gets_a_packed_answer() {
    for compressor in Compressor::ALL {
        let body = [b"\0\0\0\0\0".as_slice(), &command("ping").encode()].concat();
        let mut packed = opcode::MSG.to_le_bytes().to_vec();
        packed.extend_from_slice(&u32::try_from(body.len()).unwrap().to_le_bytes());
        packed.push(compressor.number());
        packed.extend_from_slice(&compressor.pack(&body));
        let request = message(9, 0, opcode::COMPRESSED, &packed);
        let reply = exchange(dialogue("7.0.14").as_mut(), &[&request]).replies();
        let Frame::Message(Message { opcode: opcode::COMPRESSED, body, .. }) = frame(&reply) else { panic!() };
        let (_, length, _, packed) = read_compressed(body).unwrap();
        let answer = read_msg(&compressor.unpack(packed, length).unwrap()).unwrap().document;
        assert_eq!(answer, Document::default().with("ok", 1.0), "{compressor:?}");
        let old = exchange(dialogue("3.6.8").as_mut(), &[&request]);
        assert_eq!(old.closed(), compressor != Compressor::Snappy, "3.6 offers snappy alone");
    }
}

#[test]
fn what_is_too_long_or_ends_early_is_an_event() {
    let mut out = aviary_service::Outbox::new(aviary_event::Timestamp::from_micros(aviary_testkit::NOW));
    let mut one = dialogue("7.0.14");
    one.overflowed(&[0; 100], &mut out);
    assert!(format!("{out:?}").contains("Buffer overflow attempt"));
    let mut silent = dialogue("7.0.14");
    assert_eq!(silent.feed(&msg(&command("ping"))[..20], &mut out), 0);
    silent.expired(&msg(&command("ping"))[..20], &mut out);
    assert!(format!("{out:?}").contains("The message does not go on"));
    let early = exchange(dialogue("7.0.14").as_mut(), &[&msg(&command("ping"))[..20]]);
    let errors: Vec<_> = early.events_of(20001).into_iter().filter_map(|e| e.get("error")).collect();
    assert_eq!(errors[0].as_str(), Some("The message ends early"));
}
