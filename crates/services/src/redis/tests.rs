//! Conversations with Redis, as captured from real servers.

use aviary_event::Value;
use aviary_testkit::{Line, Talk, Transcript, build, exchange, facts};
use proptest::prelude::*;

use super::ENTRY;

const OPEN: (&str, &str) = ("redis.mode", r#""open""#);

fn talk(given: &[(&str, &str)], chunks: &[&[u8]]) -> Transcript {
    exchange(&mut *build(&ENTRY, given).dialogue(0, &facts(6379)), chunks)
}

fn end(transcript: &Transcript) -> &'static str {
    match transcript.lines.iter().find(|line| matches!(line, Line::Close { .. })) {
        Some(Line::Close { reset: true }) => "RST",
        Some(_) => "FIN",
        None => "-",
    }
}

/// An array of words, given as a line.
fn array(line: &str) -> Vec<u8> {
    let words: Vec<_> = line.split(' ').collect();
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}

fn replies(given: &[(&str, &str)], lines: &[&str]) -> String {
    let all: Vec<u8> = lines.iter().flat_map(|line| array(line)).collect();
    talk(given, &[&all]).replies().escape_ascii().to_string()
}

fn texts<'a>(transcript: &'a Transcript, number: i64, key: &str) -> Vec<String> {
    let text = |value: &'a Value| match value {
        Value::List(items) => items.iter().filter_map(Value::as_bytes).collect::<Vec<_>>().join(&b'|'),
        other => other.as_bytes().unwrap_or_default().to_vec(),
    };
    let data = transcript.events_of(number).into_iter().filter_map(|data| data.get(key));
    data.map(|value| text(value).escape_ascii().to_string()).collect()
}

/// Probes with replies and ends, one a line, escaped as Rust escapes bytes.
fn compare(golden: &str, given: &[(&str, &str)], least: usize) {
    let mut wrong = Vec::new();
    let mut probes = 0;
    for line in golden.lines().filter(|line| !line.starts_with('#')) {
        let [probe, reply, close] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let got = talk(given, &[&unescape(probe)]);
        let got = (got.replies().escape_ascii().to_string(), end(&got));
        if got != (reply.to_owned(), close) {
            wrong.push(format!("{probe}\n  golden {reply} {close}\n  ours   {} {}", got.0, got.1));
        }
        probes += 1;
    }
    assert!(wrong.is_empty() && probes >= least, "{} of {probes}\n{}", wrong.len(), wrong.join("\n"));
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        bytes.push(match c {
            '\\' => match rest.next() {
                Some('x') => u8::from_str_radix(&rest.by_ref().take(2).collect::<String>(), 16).unwrap(),
                Some('r') => b'\r',
                Some('n') => b'\n',
                Some('t') => b'\t',
                other => u8::try_from(other.unwrap()).unwrap(),
            },
            c => u8::try_from(c).unwrap(),
        });
    }
    bytes
}

#[test]
fn answers_as_7_0_does() {
    compare(include_str!("fixtures/golden-7.0.15.txt"), &[], 130);
}

#[test]
fn answers_as_6_0_does() {
    compare(include_str!("fixtures/golden-6.0.16.txt"), &[("redis.version", r#""6.0.16""#)], 50);
}

#[test]
fn answers_as_6_2_does() {
    compare(include_str!("fixtures/golden-6.2.5.txt"), &[("redis.version", r#""6.2.5""#)], 130);
}

#[test]
fn answers_as_8_0_does() {
    compare(include_str!("fixtures/golden-8.0.2.txt"), &[("redis.version", r#""8.0.2""#)], 50);
}

const EMPTY: (&str, &str) = ("redis.decoys", "{}");

#[test]
fn answers_as_an_open_7_0_does() {
    compare(include_str!("fixtures/open-7.0.15.txt"), &[OPEN, EMPTY], 90);
}

#[test]
fn answers_as_an_open_6_2_does() {
    compare(include_str!("fixtures/open-6.2.5.txt"), &[OPEN, EMPTY, ("redis.version", r#""6.2.5""#)], 90);
}

#[test]
fn answers_nothing_before_a_browsers_request() {
    let got = talk(&[], &[b"GET / HTTP/1.1\r\nHost: x\r\nCookie: secret\r\n\r\n"]);
    assert_eq!((got.replies(), end(&got)), (Vec::new(), "FIN"));
    assert_eq!(texts(&got, 17001, "CMD"), ["GET", "Host:"]);
    assert_eq!(texts(&got, 30503, "DATA"), ["Cookie: secret\\r\\n\\r\\n"]);
    // What was sent before the rest came cannot be taken back.
    let got = talk(&[], &[b"GET / HTTP/1.1\r\n", b"Host: x\r\n"]);
    assert_eq!(got.replies(), b"-ERR wrong number of arguments for 'get' command\r\n");
}

#[test]
fn reports_commands_as_opencanary_does() {
    let lines =
        ["get a", "config get *", "CLIENT setinfo x y", "command list", "set x 0123456789012345678901234567890"];
    let all: Vec<u8> = lines.iter().flat_map(|line| array(line)).collect();
    let got = talk(&[], &[&all, b"set k \"a\\r\\nb \\xff\"\r\n"]);
    // Subcommands that 6.0 has stand in CMD, others in ARGS.
    assert_eq!(texts(&got, 17001, "CMD"), ["get", "config get", "CLIENT", "command", "set", "set"]);
    let arguments = ["a", "*", "setinfo x y", "list", "x 0123456789012345678901234567", "k a  b \\xff"];
    assert_eq!(texts(&got, 17001, "ARGS"), arguments);
    let whole = ["set|x|0123456789012345678901234567890", "set|k|a\\r\\nb \\xff"];
    assert_eq!(texts(&got, 30500, "ARGUMENTS"), whole);
    assert_eq!(texts(&got, 30500, "COMMAND"), ["set", "set"]);
}

#[test]
fn leaves_words_out_where_told_to() {
    let got = talk(&[("redis.max_arg_length", "0")], &[b"AUTH secret\r\n"]);
    assert_eq!((texts(&got, 17001, "CMD"), texts(&got, 17001, "ARGS")), (vec![String::new()], vec![String::new()]));
    assert_eq!(texts(&got, 30500, "ARGUMENTS"), ["AUTH|secret"]);
}

#[test]
fn reports_every_password() {
    let got = talk(&[], &[b"AUTH pw\r\nauth bob pw2\r\nHELLO 3 AUTH eve \"p\\xff\" SETNAME x\r\nAUTH a b c\r\n"]);
    assert_eq!(texts(&got, 30501, "USERNAME"), ["default", "bob", "eve", "a"]);
    assert_eq!(texts(&got, 30501, "PASSWORD"), ["pw", "pw2", "p\\xff", "b"]);
}

#[test]
fn reports_protocol_errors_with_what_was_sent() {
    let got = talk(&[], &[b"*1\r\nPING\r\n"]);
    assert_eq!(texts(&got, 17001, "ERROR"), ["expected \\'$\\', got \\'P\\'"]);
    let got = talk(&[], &[b"*12\r\n$6\r\nCONFIG\r\n$3\r\nSET\r\n$3\r\ndir\r\n"]);
    assert_eq!(texts(&got, 17001, "ERROR"), ["unauthenticated multibulk length"]);
    assert_eq!(
        (texts(&got, 17001, "CMD"), texts(&got, 17001, "ARGS")),
        (vec!["CONFIG SET".into()], vec!["dir".into()])
    );
    let got = talk(&[], &[b"*2\r\n$4\r\nAUTH\r\n$6\r\nsec"]);
    assert_eq!(texts(&got, 30503, "ARGUMENTS"), ["AUTH|sec"]);
}

#[test]
fn reports_steps_of_attacks_and_takes_none() {
    let lines =
        ["flushall", "config set dir /var/spool/cron", "config set dbfilename root", "slaveof 192.0.2.66 6379", "save"];
    let all: Vec<u8> = lines.iter().flat_map(|line| array(line)).collect();
    let got = talk(&[OPEN], &[&all]);
    assert_eq!(got.replies(), b"+OK\r\n".repeat(5));
    assert_eq!(texts(&got, 30502, "TECHNIQUE").len(), 4);
    // Before a login the attempt is reported just the same.
    assert_eq!(texts(&talk(&[], &[&all]), 30502, "TECHNIQUE").len(), 4);
}

#[test]
fn long_commands_keep_a_hash_of_what_is_cut() {
    let value = vec![b'x'; 200_000];
    let request = [format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n", value.len()).as_bytes(), &value, b"\r\n"].concat();
    let got = talk(&[OPEN], &[&request]);
    let [data] = got.events_of(30500)[..] else { panic!("no event") };
    assert_eq!(data.get("SIZE"), Some(&Value::Int(200_004)));
    assert_eq!(texts(&got, 30500, "SHA256")[0].len(), 64);
    assert!(texts(&got, 30500, "ARGUMENTS")[0].len() <= 64 * 1024 + 16);
}

#[test]
fn an_open_server_shows_decoys_of_its_own() {
    let first = replies(&[OPEN], &["keys *"]);
    assert!(first.starts_with("*8\\r\\n") && first.contains("app:session:"), "{first}");
    assert_ne!(first, replies(&[OPEN], &["keys *"]), "two installations show the same keys");
    let given = [OPEN, ("redis.decoys", r#"{"aws:key": "AKIA"}"#)];
    assert_eq!(
        replies(&given, &["scan 0 match aws* count 10", "get aws:key", "dbsize"]),
        "*2\\r\\n$1\\r\\n0\\r\\n*1\\r\\n$7\\r\\naws:key\\r\\n$4\\r\\nAKIA\\r\\n:1\\r\\n"
    );
}

#[test]
fn an_open_server_tells_of_itself() {
    let info = replies(&[OPEN], &["info"]);
    for part in [
        "redis_version:7.0.15\\r\\n",
        "tcp_port:6379",
        "role:master",
        "db0:keys=8,",
        "# CPU",
        "config_file:/etc/redis/redis.conf",
    ] {
        assert!(info.contains(part), "{part} is not in {info}");
    }
    assert!(!info.contains('{') && !info.contains("# Commandstats"), "{info}");
    let given = [OPEN, ("redis.version", r#""6.2.14""#)];
    assert!(replies(&given, &["info server"]).contains("redis_version:6.2.14"));
    let master = replies(&[OPEN], &["slaveof 192.0.2.66 6380", "info replication", "role"]);
    assert!(
        master.contains("role:slave\\r\\nmaster_host:192.0.2.66\\r\\nmaster_port:6380")
            && master.contains("connecting")
    );
    let set = replies(&[OPEN], &["config set dir /root/.ssh", "config get dir", "config set requirepass x", "auth y"]);
    assert!(
        set.contains("/root/.ssh")
            && set.ends_with("-WRONGPASS invalid username-password pair or user is disabled.\\r\\n"),
        "{set}"
    );
}

#[test]
fn an_open_server_keeps_what_the_connection_writes() {
    let lines = [
        "set a 1",
        "incr a",
        "append a 5",
        "getrange a 0 0",
        "mset b 2 c 3",
        "del b x",
        "rename c d",
        "mget a b d",
        "select 3",
        "dbsize",
    ];
    let expected = "+OK\\r\\n:2\\r\\n:2\\r\\n$1\\r\\n2\\r\\n+OK\\r\\n:1\\r\\n+OK\\r\\n*3\\r\\n$2\\r\\n25\\r\\n$-1\\r\\n$1\\r\\n3\\r\\n+OK\\r\\n:0\\r\\n";
    assert_eq!(replies(&[OPEN, EMPTY], &lines), expected);
    let lines = ["multi", "set a 1", "get a", "exec", "multi", "set b", "exec"];
    let expected = "+OK\\r\\n+QUEUED\\r\\n+QUEUED\\r\\n*2\\r\\n+OK\\r\\n$1\\r\\n1\\r\\n+OK\\r\\n-ERR wrong number of arguments for \\'set\\' command\\r\\n-EXECABORT Transaction discarded because of previous errors.\\r\\n";
    assert_eq!(replies(&[OPEN, EMPTY], &lines), expected);
}

#[test]
fn speaks_resp3_after_hello() {
    let got =
        replies(&[OPEN, EMPTY], &["hello 3 SETNAME me", "client getname", "get x", "hgetall x", "reset", "get x"]);
    assert!(got.starts_with("%7\\r\\n$6\\r\\nserver\\r\\n$5\\r\\nredis\\r\\n"), "{got}");
    assert!(got.ends_with("*0\\r\\n$2\\r\\nme\\r\\n_\\r\\n%0\\r\\n+RESET\\r\\n$-1\\r\\n"), "{got}");
}

#[test]
fn chunks_change_nothing() {
    let golden = include_str!("fixtures/golden-7.0.15.txt");
    for line in golden.lines().filter(|line| !line.starts_with('#')) {
        let probe = unescape(line.split('\t').next().unwrap());
        let rude =
            probe.windows(4).any(|part| part.eq_ignore_ascii_case(b"host") || part.eq_ignore_ascii_case(b"post"));
        // What waits behind the end is reported if it is there, as is what follows a bad count.
        if rude || line.ends_with("FIN") {
            continue;
        }
        let (whole, bytes) = (talk(&[], &[&probe]), talk(&[], &probe.chunks(1).collect::<Vec<_>>()));
        assert_eq!(whole.replies(), bytes.replies(), "{line}");
        assert_eq!(whole.events(), bytes.events(), "{line}");
    }
}

#[test]
fn silence_after_half_a_request_is_reported() {
    let service = build(&ENTRY, &[]);
    let mut dialogue = service.dialogue(0, &facts(6379));
    let mut out = aviary_service::Outbox::new(aviary_event::Timestamp::from_micros(0));
    assert_eq!(dialogue.feed(b"*2\r\n$4\r\nAUTH\r\n$6\r\nse", &mut out), 20);
    assert!(out.is_empty());
    dialogue.expired(&[], &mut out);
    assert_eq!(out.into_steps().len(), 1);
}

proptest! {
    #[test]
    fn garbage_never_panics(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..5), open in any::<bool>()) {
        let slices: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
        let given = if open { vec![OPEN] } else { vec![] };
        drop(talk(&given, &slices));
    }

    #[test]
    fn commands_with_any_words_are_answered(
        name in prop::sample::select(vec!["set", "scan", "config", "eval", "info", "client", "getrange", "hello", "acl", "xadd", "subscribe", "command", "exec", "multi", "incrby", "select"]),
        words in prop::collection::vec(".{0,12}", 0..6),
    ) {
        let all: Vec<&str> = std::iter::once(name).chain(words.iter().map(String::as_str)).collect();
        let mut request = format!("*{}\r\n", all.len());
        for word in all {
            request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        let service = build(&ENTRY, &[OPEN]);
        let mut dialogue = service.dialogue(0, &facts(6379));
        let mut talk = Talk::open(&mut *dialogue);
        let reply = talk.send(request.as_bytes());
        prop_assert!(!reply.is_empty() || name == "client", "{request:?}");
        prop_assert_eq!(talk.transcript().events_of(17001).len(), 1);
    }
}
