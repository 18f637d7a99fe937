//! The two further forms, as receivers see them.

use aviary_event::{Class, Event, KindInfo, LogData, Origin, Timestamp, Value};
use insta::assert_snapshot;
use jiff::tz::TimeZone;
use uuid::Uuid;

static LOGIN: KindInfo = KindInfo {
    number: 4002,
    constant: "LOG_SSH_LOGIN_ATTEMPT",
    class: Class::Login,
    when: "each password",
    keys: &["PASSWORD", "USERNAME"],
    technique: &["T1110"],
};
static STARTED: KindInfo = KindInfo {
    number: 1001,
    constant: "LOG_BASE_MSG",
    class: Class::Lifecycle,
    when: "the canary starts",
    keys: &["msg"],
    technique: &[],
};

fn login() -> Event {
    let data = LogData::new().with("USERNAME", b"ro\xffot".as_slice()).with("PASSWORD", "123456");
    let (src, dst) = (([192, 0, 2, 7], 40000), ([192, 0, 2, 1], 22));
    let moment = Timestamp::from_micros(1_795_384_800_000_001);
    let zone = TimeZone::fixed(jiff::tz::offset(2));
    let id = Uuid::from_u128(0x019a_0000_0000_7000_8000_0000_0000_0001);
    let (src, dst) = (std::net::SocketAddr::from(src).into(), std::net::SocketAddr::from(dst).into());
    let session = Some("00000000000000ab");
    let mut event = Event::new(&LOGIN, data, id, moment, &zone, "opencanary-1", "ssh", session, src, dst);
    event.honeycred = Some(false);
    let ours = event.aviary.as_mut().unwrap();
    ours.seq = 7;
    ours.more.insert("src_mac".to_owned(), "08:00:27:da:4c:e2".into());
    ours.more.insert("src_name".to_owned(), "LAPTOP-7".into());
    ours.more.insert("src_ttl".to_owned(), 62_i64.into());
    ours.more.insert("fingerprint".to_owned(), Value::from(LogData::new().with("hassh", "aabb")));
    event
}

fn started() -> Event {
    let (src, dst) = (Origin::none(), Origin::none());
    let moment = Timestamp::from_micros(1_795_384_800_000_001);
    let data = LogData::new().with("msg", "started");
    Event::new(&STARTED, data, Uuid::nil(), moment, &TimeZone::UTC, "opencanary-1", "aviary", None, src, dst)
}

/// A line of another canary: no `aviary`, ports as text.
fn foreign() -> Event {
    let lines = include_str!("../fixtures/article-events.jsonl");
    Event::parse(lines.lines().find(|line| line.contains("\"logtype\": 5001")).unwrap()).unwrap()
}

fn pretty(json: &str) -> String {
    serde_json::to_string_pretty(&serde_json::from_str::<serde_json::Value>(json).unwrap()).unwrap()
}

#[test]
fn ecs_of_a_login() {
    assert_snapshot!(pretty(&login().to_ecs()));
}

#[test]
fn ecs_of_a_start() {
    assert_snapshot!(pretty(&started().to_ecs()));
}

#[test]
fn ecs_of_a_foreign_scan() {
    assert_snapshot!(pretty(&foreign().to_ecs()));
}

#[test]
fn ocsf_of_a_login() {
    assert_snapshot!(pretty(&login().to_ocsf()));
}

#[test]
fn ocsf_of_a_start() {
    assert_snapshot!(pretty(&started().to_ocsf()));
}

#[test]
fn ocsf_of_a_foreign_scan() {
    assert_snapshot!(pretty(&foreign().to_ocsf()));
}

#[test]
fn the_line_of_a_login() {
    assert_snapshot!(login().to_line(true));
}

#[test]
fn a_routers_mac_address_is_not_the_sources() {
    let mut event = login();
    event.aviary.as_mut().unwrap().more.insert("src_mac_router".to_owned(), true.into());
    for (form, source, ours) in [(event.to_ecs(), "source", "aviary"), (event.to_ocsf(), "src_endpoint", "unmapped")] {
        let form: serde_json::Value = serde_json::from_str(&form).unwrap();
        assert_eq!(form[source].get("mac"), None, "{form}");
        assert_eq!(form[ours]["src_mac"], "08:00:27:da:4c:e2", "{form}");
        assert_eq!(form[ours]["src_mac_router"], true, "{form}");
    }
}

#[test]
fn every_class_has_a_word_of_its_own() {
    for class in Class::ALL {
        assert_eq!(Class::from_word(class.word()), Some(class));
        assert_eq!(class.to_string(), class.word());
    }
    assert_eq!(Class::from_word("other"), None);
}
