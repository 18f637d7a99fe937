//! One whole FTP login without a socket: what the dialogue alone costs, its events made but not written.

use std::hint::black_box;

use aviary_services::ALL;
use aviary_testkit::{build, exchange, facts};
use criterion::{Criterion, criterion_group, criterion_main};

fn ftp_login(c: &mut Criterion) {
    let entry = ALL.iter().find(|entry| entry.name == "ftp").expect("the FTP service");
    for (name, commands) in [("one event", "false"), ("an event a command", "true")] {
        let service = build(entry, &[("ftp.log_commands", commands), ("ftp.login_delay", "0")]);
        let facts = facts(21);
        c.bench_function(&format!("FTP login, {name}"), |b| {
            b.iter(|| {
                let mut dialogue = service.dialogue(0, &facts);
                let chunks: &[&[u8]] = &[b"USER admin\r\n", b"PASS hunter2\r\n", b"QUIT\r\n"];
                exchange(&mut *dialogue, black_box(chunks))
            });
        });
    }
}

criterion_group!(benches, ftp_login);
criterion_main!(benches);
