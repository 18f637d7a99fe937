//! What it costs an event to say who it was, and the capture to remember a SYN.

use std::hint::black_box;
use std::net::SocketAddr;

use aviary_event::{Class, Event, KindInfo, LogData, Timestamp};
use aviary_sensor::{Frame, Sighting, Who};
use aviary_wire::names::NameSource;
use criterion::{Criterion, criterion_group, criterion_main};
use jiff::tz::TimeZone;
use uuid::Uuid;

static KIND: KindInfo = KindInfo {
    number: 2000,
    constant: "LOG_FTP_LOGIN_ATTEMPT",
    class: Class::Login,
    when: "each password",
    keys: &["PASSWORD", "USERNAME"],
    technique: &["T1110"],
};
const MAC: [u8; 6] = [0xd8, 0x3a, 0xdd, 1, 2, 3];

fn sighting() -> Sighting {
    let tcp = "4:62+2:0:1460:mss*44,7:mss,sok,ts,nop,ws:df,id+:0".to_owned();
    let frame = Frame { mac: Some(MAC), ttl: Some(62), hops: Some(2) };
    Sighting { frame, tcp: Some(tcp), ja4t: Some("64240_2-4-8-1-3_1460_7".to_owned()) }
}

fn who(c: &mut Criterion) {
    let (peer, local) = (SocketAddr::from(([192, 0, 2, 66], 40000)), SocketAddr::from(([192, 0, 2, 1], 21)));
    let who = Who::default();
    who.saw_syn(peer, local, sighting());
    who.saw_name(Some(MAC), Some(peer.ip()), "LAPTOP-7", NameSource::Dhcp);
    let moment = Timestamp::from_micros(1_795_384_800_123_456);
    let zone = TimeZone::UTC;
    let event =
        || Event::new(&KIND, LogData::new(), Uuid::nil(), moment, &zone, "n", "ftp", None, peer.into(), local.into());
    c.bench_function("describe", |b| b.iter(|| who.describe(black_box(peer), local.port())));
    c.bench_function("event", |b| b.iter(event));
    c.bench_function("event that says who", |b| {
        b.iter(|| {
            let mut event = event();
            who.describe(peer, local.port()).write(&mut event);
            event
        });
    });
    c.bench_function("vendor", |b| b.iter(|| aviary_wire::vendor::of(black_box(MAC))));
    c.bench_function("syn", |b| b.iter(|| who.saw_syn(peer, local, sighting())));
}

criterion_group!(benches, who);
criterion_main!(benches);
