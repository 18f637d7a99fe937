//! What it costs to have an event safe in the file: one who reports alone, and many at once.

use std::hint::black_box;
use std::net::SocketAddr;

use aviary_event::{Class, Event, KindInfo, LogData, Timestamp};
use aviary_journal::{Journal, Options};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use jiff::tz::TimeZone;
use uuid::Uuid;

/// Who report at once.
const CROWD: usize = 64;
/// Events that each of them reports, one after the other.
const EACH: usize = 16;

static KIND: KindInfo = KindInfo {
    number: 2000,
    constant: "LOG_FTP_LOGIN_ATTEMPT",
    class: Class::Login,
    when: "each password",
    keys: &["PASSWORD", "USERNAME"],
    technique: &["T1110"],
};

fn event() -> Event {
    let data = LogData::new().with("USERNAME", b"admin".as_slice()).with("PASSWORD", b"hunter2".as_slice());
    let moment = Timestamp::from_micros(1_795_384_800_123_456);
    let src = SocketAddr::from(([192, 0, 2, 7], 40000)).into();
    let dst = SocketAddr::from(([192, 0, 2, 1], 21)).into();
    let session = Some("00000000000000ab");
    Event::new(&KIND, data, Uuid::from_u128(7), moment, &TimeZone::UTC, "opencanary-1", "ftp", session, src, dst)
}

fn append(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options::at(folder.path().join("journal.db"));
    let (journal, guard) = Journal::open(&options, || 1_795_384_800_000_000).expect("a journal");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
    let made = event();

    c.bench_function("append and wait, one at a time", |b| {
        b.iter(|| runtime.block_on(async { journal.append(black_box(made.clone())).await.wait().await }));
    });

    let mut group = c.benchmark_group("crowd");
    group.throughput(Throughput::Elements(u64::try_from(CROWD * EACH).unwrap_or(1)));
    group.bench_function("append and wait, 64 at once", |b| {
        b.iter(|| {
            runtime.block_on(async {
                let mut tasks = tokio::task::JoinSet::new();
                for _ in 0..CROWD {
                    let (journal, made) = (journal.clone(), made.clone());
                    tasks.spawn(async move {
                        for _ in 0..EACH {
                            journal.append(made.clone()).await.wait().await;
                        }
                    });
                }
                tasks.join_all().await
            })
        });
    });
    group.finish();
    drop(guard);
}

criterion_group!(benches, append);
criterion_main!(benches);
