//! What a packet costs: reading its frame, and judging it among a million others.
//!
//! Half of the mix is connections in both directions, as a busy host has them. The other half looks for ports: from
//! 4,096 sources to 65,000 ports, and from one source to all. What is measured is time on the processor, since others
//! may share the machine.

use std::hint::black_box;
use std::time::Duration;

use aviary_scan::{Detector, Direction, Moment, Packet, Rules};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// Packets of a round.
const PACKETS: u32 = 1_000_000;
/// Frames that are repeated, so many that they are in no cache.
const FRAMES: u32 = 250_000;

/// A random number that is the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % u64::from(below)) as u32
    }
}

/// A frame of 74 bytes with a TCP segment: 20 bytes of options, as Linux sends them in a SYN.
fn segment(from: u32, to: u32, ports: (u16, u16), flags: u8) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 9, 8, 0, 0x45, 0, 0, 60, 1, 2, 0x40, 0, 64, 6, 0, 0];
    frame.extend(from.to_be_bytes());
    frame.extend(to.to_be_bytes());
    frame.extend(ports.0.to_be_bytes());
    frame.extend(ports.1.to_be_bytes());
    frame.extend([0, 0, 0, 1, 0, 0, 0, 0, 0xa0, flags, 0xfa, 0xf0, 0, 0, 0, 0]);
    frame.extend([2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 7, 0, 0, 0, 0, 1, 3, 3, 7]);
    frame
}

fn datagram(from: u32, to: u32, ports: (u16, u16)) -> Vec<u8> {
    let mut frame = segment(from, to, ports, 0);
    frame[23] = 17;
    frame[38..40].copy_from_slice(&[0, 40]);
    frame
}

/// Time that this thread had a processor: the first number of Linux's `schedstat`, in nanoseconds.
fn on_processor() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    Duration::from_nanos(text.split_whitespace().next().and_then(|nanos| nanos.parse().ok()).expect("a number"))
}

const US: u32 = 0x0a4d_0002;

/// Scans from 4,096 sources, most of them with SYN.
fn scans(dice: &mut Dice) -> (Direction, Vec<u8>) {
    let (from, to) = (0x0b00_0000 + dice.roll(4096), US + dice.roll(4));
    let ports = (40_000, dice.roll(65_000) as u16);
    let frame = match dice.roll(10) {
        0 => segment(from, to, ports, 0),
        1 => segment(from, to, ports, 0x10),
        2 => datagram(from, to, ports),
        _ => segment(from, to, ports, 2),
    };
    (Direction::Incoming, frame)
}

/// One source that tries every port.
fn one_scan(dice: &mut Dice) -> (Direction, Vec<u8>) {
    (Direction::Incoming, segment(0x0b00_9999, US, (40_000, dice.roll(65_536) as u16), 2))
}

/// Connections: four packets of data and acknowledgements for each that begins.
fn connections(dice: &mut Dice) -> (Direction, Vec<u8>) {
    let (peer, port) = (0x0c00_0000 + dice.roll(500), 30_000 + dice.roll(200) as u16);
    match dice.roll(5) {
        0 => (Direction::Incoming, segment(peer, US, (port, 80), 2)),
        1 | 2 => (Direction::Outgoing, segment(US, peer, (80, port), 0x18)),
        _ => (Direction::Incoming, segment(peer, US, (port, 80), 0x10)),
    }
}

fn mixed(dice: &mut Dice) -> (Direction, Vec<u8>) {
    match dice.roll(20) {
        0..10 => connections(dice),
        10..15 => scans(dice),
        _ => one_scan(dice),
    }
}

fn packets(c: &mut Criterion) {
    let mut group = c.benchmark_group("packets");
    group.throughput(Throughput::Elements(PACKETS.into())).sample_size(10);
    type Make = fn(&mut Dice) -> (Direction, Vec<u8>);
    let mixes: [(&str, Make); 4] =
        [("mixed", mixed), ("connections", connections), ("4,096 sources", scans), ("one source", one_scan)];
    for (name, make) in mixes {
        let mut dice = Dice(1);
        let frames: Vec<(Direction, Vec<u8>)> = (0..FRAMES).map(|_| make(&mut dice)).collect();
        let mut detector = Detector::new(Rules::default());
        let mut number = 0_u64;
        group.bench_function(format!("read and judge, {name}"), |b| {
            b.iter_custom(|rounds| {
                let before = on_processor();
                for _ in 0..rounds {
                    for (direction, frame) in frames.iter().cycle().take(PACKETS as usize) {
                        number += 1;
                        let moment = Moment { now: number / 100, wall: number as i64 * 10 };
                        let Some(packet) = Packet::parse(black_box(frame)) else { continue };
                        black_box(detector.observe(&packet, *direction, |_, _, port| port == 80, moment));
                        if number.is_multiple_of(100_000) {
                            black_box(detector.due(moment));
                        }
                    }
                }
                on_processor() - before
            });
        });
        println!("{name}: {} bytes are held", detector.memory());
        if name == "mixed" {
            group.bench_function("read, mixed", |b| {
                b.iter_custom(|rounds| {
                    let before = on_processor();
                    for _ in 0..rounds {
                        for (_, frame) in frames.iter().cycle().take(PACKETS as usize) {
                            black_box(Packet::parse(black_box(frame)));
                        }
                    }
                    on_processor() - before
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, packets);
criterion_main!(benches);
