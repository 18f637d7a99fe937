//! What an event costs before any output sees it: making it, printing it, reading it back.

use std::hint::black_box;
use std::net::SocketAddr;

use aviary_event::{Class, Event, KindInfo, LogData, Timestamp};
use criterion::{Criterion, criterion_group, criterion_main};
use jiff::tz::TimeZone;
use uuid::Uuid;

static KIND: KindInfo = KindInfo {
    number: 4002,
    constant: "LOG_SSH_LOGIN_ATTEMPT",
    class: Class::Login,
    when: "each password",
    keys: &["LOCALVERSION", "PASSWORD", "REMOTEVERSION", "USERNAME"],
    technique: &["T1110"],
};

fn event(zone: &TimeZone, password: &[u8]) -> Event {
    let data = LogData::new()
        .with("LOCALVERSION", "SSH-2.0-OpenSSH_9.6p1 Ubuntu-3ubuntu13.5")
        .with("REMOTEVERSION", b"SSH-2.0-libssh2_1.11.0".as_slice())
        .with("USERNAME", b"root".as_slice())
        .with("PASSWORD", password);
    let moment = Timestamp::from_micros(1_795_384_800_123_456);
    let src = SocketAddr::from(([192, 0, 2, 7], 40000)).into();
    let dst = SocketAddr::from(([192, 0, 2, 1], 22)).into();
    let session = Some("00000000000000ab");
    Event::new(&KIND, data, Uuid::from_u128(7), moment, zone, "opencanary-1", "ssh", session, src, dst)
}

fn line(c: &mut Criterion) {
    let zone = TimeZone::get("Asia/Shanghai").unwrap_or(TimeZone::UTC);
    c.bench_function("new and to_line, UTC", |b| {
        b.iter(|| event(black_box(&TimeZone::UTC), black_box(b"123456")).to_line(true));
    });
    c.bench_function("new and to_line, local zone", |b| {
        b.iter(|| event(black_box(&zone), black_box(b"123456")).to_line(true));
    });
    c.bench_function("new and to_line, bytes that are not UTF-8", |b| {
        b.iter(|| event(black_box(&zone), black_box(b"caf\xe9\xe9")).to_line(true));
    });
    let made = event(&zone, b"123456");
    c.bench_function("to_line", |b| b.iter(|| black_box(&made).to_line(true)));
    let text = made.to_line(true);
    c.bench_function("parse", |b| b.iter(|| Event::parse(black_box(&text))));
    c.bench_function("to_ecs", |b| b.iter(|| black_box(&made).to_ecs()));
}

criterion_group!(benches, line);
criterion_main!(benches);
