//! Who comes when, and what each does.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::net::IpAddr;

use aviary_event::{Event, LogData, Origin, Port, Timestamp};
use jiff::tz::TimeZone;
use uuid::Uuid;

use crate::fleet::{Offer, Sensor, fleet, insider, stranger};
use crate::lines::{self, Said};
use crate::random::Random;
use crate::{Options, Sent};

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

/// Ports that a scan of one machine asks for first.
const PORTS: [u16; 20] =
    [21, 22, 23, 25, 53, 80, 110, 111, 135, 139, 143, 443, 445, 993, 1433, 3306, 3389, 5432, 6379, 8080];
/// Users that a spray tries.
const SPRAYED: usize = 50;
/// Machines that a worm takes at most, and tries of each.
const TAKEN: usize = 60;
const TRIES: usize = 6;

/// Somebody's next step.
#[derive(Clone, Debug)]
enum Step {
    /// A stranger comes, and after him the next.
    Stranger,
    /// Somebody guesses passwords.
    Guess { who: IpAddr, sensor: usize, offer: Offer, left: u32, session: u64 },
    /// Somebody asks all sensors for one port, and the last one for many.
    Sweep { who: IpAddr, next: usize },
    /// Somebody tries one password for many users, a sensor each time.
    Spray { who: [IpAddr; 3], password: &'static str, next: usize },
    /// A machine that a worm has taken tries others.
    Worm { who: IpAddr, left: usize },
    /// Scenes begin.
    Scenes,
}

/// The events, in order of time, without end.
#[derive(Debug)]
pub struct Simulation {
    options: Options,
    random: Random,
    fleet: Vec<Sensor>,
    /// By time, and of one time by the order in which they were planned.
    steps: BinaryHeap<Reverse<(i64, u64)>>,
    /// What is planned under a number.
    planned: HashMap<u64, Step>,
    count: u64,
    /// Machines that the worm of the hour has taken.
    taken: usize,
    ready: VecDeque<Sent>,
}

impl Simulation {
    /// A simulation from its beginning.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let mut random = Random::new(options.seed);
        let fleet = fleet(options.sensors, &mut random);
        let start = options.start.as_micros();
        let mut simulation = Self {
            random,
            fleet,
            steps: BinaryHeap::new(),
            planned: HashMap::new(),
            count: 0,
            taken: 0,
            ready: VecDeque::new(),
            options,
        };
        simulation.plan(start, Step::Stranger);
        if simulation.options.scenes {
            simulation.plan(start, Step::Scenes);
        }
        simulation
    }

    /// The names of the sensors, by number.
    pub fn sensors(&self) -> impl Iterator<Item = &str> {
        self.fleet.iter().map(|sensor| sensor.name.as_str())
    }

    fn plan(&mut self, at: i64, step: Step) {
        self.count += 1;
        self.steps.push(Reverse((at, self.count)));
        self.planned.insert(self.count, step);
    }

    fn step(&mut self, at: i64, step: Step) {
        match step {
            Step::Scenes => {
                let who = [insider(&mut self.random), stranger(&mut self.random), insider(&mut self.random)];
                let sweeper = insider(&mut self.random);
                self.plan(at + 2 * MINUTE, Step::Sweep { who: sweeper, next: 0 });
                self.plan(at + 5 * MINUTE, Step::Spray { who, password: "Winter2026!", next: 0 });
                let first = insider(&mut self.random);
                self.taken = 1;
                self.plan(at + 10 * MINUTE, Step::Worm { who: first, left: TRIES });
                let later = self.random.pause(1.0 / 3600.0).min(6 * HOUR);
                self.plan(at + HOUR + later, Step::Scenes);
            }
            Step::Stranger => self.visit(at),
            Step::Guess { who, sensor, offer, left, session } => {
                let (user, password) = (lines::user(&mut self.random), lines::password(&mut self.random));
                let said = lines::login(offer.service, &user, &password, &mut self.random);
                self.say(at, who, sensor, offer, session, said);
                if left > 0 {
                    let pause = self.random.pause(0.7);
                    self.plan(at + pause, Step::Guess { who, sensor, offer, left: left - 1, session });
                }
            }
            Step::Sweep { who, next } => self.sweep(at, who, next),
            Step::Spray { who, password, next } => {
                let sensor = self.random.index(self.fleet.len());
                let offers = self.fleet.get(sensor).map(|sensor| sensor.offers).unwrap_or_default();
                let offer = offers.iter().find(|offer| matches!(offer.service, "ssh" | "rdp" | "smb" | "telnet"));
                let source = who.get(next % who.len()).copied();
                if let (Some(offer), Some(source)) = (offer, source) {
                    let user = format!("employee{:02}", next % SPRAYED);
                    let session = self.random.next();
                    let said = lines::login(offer.service, &user, password, &mut self.random);
                    self.say(at, source, sensor, *offer, session, said);
                }
                if next + 1 < SPRAYED * 2 {
                    let pause = self.random.pause(0.2);
                    self.plan(at + pause, Step::Spray { who, password, next: next + 1 });
                }
            }
            Step::Worm { who, left } => self.spread(at, who, left),
        }
    }

    /// A stranger knocks, looks, or stays to guess.
    fn visit(&mut self, at: i64) {
        let who = if self.random.below(20) == 0 { insider(&mut self.random) } else { stranger(&mut self.random) };
        let sensor = self.random.index(self.fleet.len());
        let offers = self.fleet.get(sensor).map(|sensor| sensor.offers).unwrap_or_default();
        let session = self.random.next();
        if let Some(offer) = offers.get(self.random.index(offers.len())).copied() {
            match self.random.below(10) {
                0..4 => {
                    let port = PORTS.get(self.random.index(PORTS.len())).copied().unwrap_or(0);
                    self.knock(at, who, sensor, port);
                }
                4..8 => {
                    let said = lines::look(offer.service, &mut self.random);
                    self.say(at, who, sensor, offer, session, said);
                }
                _ => {
                    // Most give up soon, and some have a list.
                    let left = if self.random.below(15) == 0 { 300 } else { self.random.below(12) };
                    let left = u32::try_from(left).unwrap_or(0);
                    self.plan(at, Step::Guess { who, sensor, offer, left, session });
                }
            }
        }
        let pause = self.random.pause(self.options.pace);
        self.plan(at + pause, Step::Stranger);
    }

    /// One port of each sensor, then the ports of one.
    fn sweep(&mut self, at: i64, who: IpAddr, next: usize) {
        let sensors = self.fleet.len();
        if next < sensors {
            self.knock(at, who, next, 445);
        } else {
            let port = PORTS.get(next - sensors).copied().unwrap_or_else(|| u16::try_from(next - sensors).unwrap_or(0));
            self.knock(at, who, sensors - 1, port);
        }
        if next + 1 < sensors + 100 {
            let pause = self.random.pause(20.0);
            self.plan(at + pause, Step::Sweep { who, next: next + 1 });
        }
    }

    /// A taken machine puts its file on a sensor; others, which are no sensors, are taken, too, and go on themselves.
    fn spread(&mut self, at: i64, who: IpAddr, left: usize) {
        let sensor = self.random.index(self.fleet.len());
        let session = self.random.next();
        let offer = Offer { service: "smb", port: 445 };
        let reached = self.fleet.get(sensor).is_some_and(|sensor| sensor.offers.contains(&offer));
        if reached {
            let said = lines::login("smb", "administrator", "Winter2026!", &mut self.random);
            self.say(at, who, sensor, offer, session, said);
            let said = lines::infection(&mut self.random);
            self.say(at + SECOND / 5, who, sensor, offer, session, said);
        } else {
            self.knock(at, who, sensor, 445);
        }
        if self.taken < TAKEN && self.random.below(2) == 0 {
            self.taken += 1;
            let next = insider(&mut self.random);
            let pause = self.random.pause(0.1);
            self.plan(at + pause, Step::Worm { who: next, left: TRIES });
        }
        if left > 0 {
            let pause = self.random.pause(0.5);
            self.plan(at + pause, Step::Worm { who, left: left - 1 });
        }
    }

    fn knock(&mut self, at: i64, who: IpAddr, sensor: usize, port: u16) {
        let said = lines::knock(&mut self.random);
        let session = self.random.next();
        self.say(at, who, sensor, Offer { service: "portscan", port }, session, said);
    }

    fn say(&mut self, at: i64, who: IpAddr, sensor: usize, offer: Offer, session: u64, said: Option<Said>) {
        let Some((kind, data)): Option<(_, LogData)> = said else { return };
        let bytes: [u8; 10] = self.random.bytes();
        let Some(from) = self.fleet.get_mut(sensor) else { return };
        from.seq += 1;
        let time = Timestamp::from_micros(at);
        let millis = u64::try_from(at / 1000).unwrap_or(0);
        let id: Uuid = uuid::Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid();
        let port = i64::try_from(1024 + session % 64_000).unwrap_or(1024);
        let src = Origin { host: who.to_string(), port: Port::Number(port) };
        let dst = Origin { host: from.address.to_string(), port: Port::Number(i64::from(offer.port)) };
        let session = format!("{session:016x}");
        let mut event =
            Event::new(kind, data, id, time, &TimeZone::UTC, &from.name, offer.service, Some(&session), src, dst);
        if let Some(ours) = &mut event.aviary {
            ours.seq = from.seq;
        }
        self.ready.push_back(Sent { sensor, event });
    }
}

impl Iterator for Simulation {
    type Item = Sent;

    fn next(&mut self) -> Option<Sent> {
        while self.ready.is_empty() {
            let Reverse((at, number)) = self.steps.pop()?;
            if let Some(step) = self.planned.remove(&number) {
                self.step(at, step);
            }
        }
        self.ready.pop_front()
    }
}
