//! What a module costs: a line of the manual's example, from bytes to event and reply; a whole connection; and a
//! script that runs away, which is what a module can cost the canary at most in one call.

use std::hint::black_box;
use std::time::Duration;

use aviary_config::Settings;
use aviary_event::Timestamp;
use aviary_script::{entries, limits};
use aviary_service::{Dialogue, Materials, MemoryVault, Outbox, Service};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use serde_json::json;

const EXAMPLE: &str = include_str!("../../../docs/modules/example0.rhai");

/// Calls that a script makes until its operations are used up, each for the dearest thing of its sort.
const RUNAWAYS: [(&str, &str); 5] = [
    ("loop", "while true {}"),
    ("array copied", "let a = []; a.pad(2048, 1); loop { let b = a; b[0] = 2; }"),
    ("text searched", "let s = \"\"; s.pad(60000, 'x'); loop { s.contains(\"y\"); }"),
    ("text replaced", "let s = \"\"; s.pad(60000, 'x'); loop { s.replace(\"x\", \"z\"); }"),
    ("text split", "let s = \"\"; s.pad(2000, ' '); loop { s.split(' '); }"),
];

fn build(name: &str, script: &str) -> Box<dyn Service> {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join(format!("{name}.rhai")), script).expect("written");
    let values = [("usermodule.path".to_owned(), json!(folder.path().to_str().expect("UTF-8")))];
    let settings = Settings::new([], values.into_iter().collect());
    let entry = entries(&settings, &|_| false)[0];
    let vault = MemoryVault::default();
    (entry.build)(&Materials { settings: &settings, vault: &vault, host_name: "srv01" }).expect("builds")
}

fn outbox() -> Outbox {
    Outbox::new(Timestamp::from_micros(aviary_testkit::NOW))
}

fn open(service: &dyn Service) -> Box<dyn Dialogue> {
    let mut dialogue = service.dialogue(0, &aviary_testkit::facts(8007));
    dialogue.open(&mut outbox());
    dialogue
}

/// Time that this thread had a processor: the first number of Linux's `schedstat`, in nanoseconds.
fn on_processor() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    Duration::from_nanos(text.split_whitespace().next().and_then(|nanos| nanos.parse().ok()).expect("a number"))
}

fn bench_runaway(group: &mut BenchmarkGroup<'_, WallTime>, what: &str, body: &str) {
    let about = "fn about() { #{ name: \"away\", port: 7000 } }";
    let service = build("away", &format!("{about}\nfn on_line(session, line) {{ {body} }}"));
    group.bench_function(what, |bench| {
        bench.iter(|| {
            let mut out = outbox();
            open(&*service).feed(b"x\n", &mut out);
            assert!(out.is_closing());
        });
    });
}

fn calls(criterion: &mut Criterion) {
    // Never "Bad passwords": each line is an event and a prompt.
    let service = build("example0", &EXAMPLE.replace("attempts: 3", "attempts: 1000000000"));
    let mut dialogue = open(&*service);
    criterion.bench_function("a line with its event", |bench| {
        bench.iter(|| {
            let mut out = outbox();
            black_box(dialogue.feed(black_box(b"password1\r\n"), &mut out));
            out.into_steps()
        });
    });
    let service = build("example0", EXAMPLE);
    criterion.bench_function("a connection with three", |bench| {
        bench.iter(|| {
            let mut dialogue = open(&*service);
            for _ in 0..3 {
                black_box(dialogue.feed(black_box(b"password1\r\n"), &mut outbox()));
            }
        });
    });
    let mut group = criterion.benchmark_group(format!("{} operations", limits::OPERATIONS));
    group.sample_size(10).measurement_time(Duration::from_secs(3));
    for (what, body) in RUNAWAYS {
        bench_runaway(&mut group, what, body);
    }
    group.finish();
    // As in the canary, where a clock says when it is enough.
    aviary_script::lend_clock(on_processor);
    let mut group = criterion.benchmark_group(format!("{} ms at most", limits::TIME.as_millis()));
    group.sample_size(10).measurement_time(Duration::from_secs(2));
    for (what, body) in RUNAWAYS {
        bench_runaway(&mut group, what, body);
    }
    group.finish();
}

criterion_group!(benches, calls);
criterion_main!(benches);
