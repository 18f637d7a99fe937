//! Turns what a session reports into events and hands them to the journal.
//!
//! Who, where and when are bound here, once; a service cannot name them. Never waits for an output.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aviary_config::{HoneyCreds, IgnoreRules};
use aviary_event::{Event, Kind, LogData, Origin, Port, Value};
use aviary_journal::{Journal, Receipt};
use aviary_service::{SessionId, Told};
use jiff::tz::TimeZone;
use uuid::{Builder, Uuid};

use crate::drills::Drills;
use crate::machine::Machine;
use crate::tally::Tally;
use crate::who::Who;
use crate::{clock, kinds};

/// Passwords up to this many bytes take much the same time to hash, whatever the hash; SHA-crypt's
/// time grows with longer ones, so those are hashed for every user.
const SHORT_PASSWORD: usize = 64;

/// The service of events that the frame itself reports.
const OWN: &str = "aviary";

/// Planted passwords that are hashed a second for datagrams, which are worked through one after the other.
const HURRIED_HASHES: u32 = 4;

/// What the reporter needs to know of the configuration; replaced whole at a reload.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The canary's name.
    pub node_id: String,
    /// Machines at addresses of their own, which have names of their own.
    pub hosts: Vec<Arc<Machine>>,
    /// What is not reported.
    pub ignore: IgnoreRules,
    /// Planted credentials by service: `ssh`, or `hosts.printer.ssh`.
    pub honeycreds: BTreeMap<String, HoneyCreds>,
    /// Local time zone.
    pub zone: TimeZone,
}

impl Rules {
    /// The name in events of a host, or of the canary.
    #[must_use]
    pub(crate) fn node_id_of(&self, host: Option<&str>) -> &str {
        let Some(host) = host else { return &self.node_id };
        let machine = self.hosts.iter().find(|machine| machine.host.as_deref() == Some(host));
        machine.map_or(&self.node_id, |machine| &machine.node_id)
    }

    /// The name in events of whoever plays at an address: a host, or the canary.
    #[must_use]
    pub(crate) fn node_id_at(&self, address: IpAddr) -> &str {
        let address = Some(address.to_canonical());
        let machine = self.hosts.iter().find(|machine| machine.addresses.contains(&address));
        machine.map_or(&self.node_id, |machine| &machine.node_id)
    }
}

/// Turns reports into events.
#[derive(Debug)]
pub(crate) struct Reporter {
    journal: Journal,
    who: Arc<Who>,
    drills: Drills,
    rules: std::sync::RwLock<Arc<Rules>>,
    ids: Ids,
    ignored: AtomicU64,
    tally: Tally,
    poise: Poise,
    /// Hashes of this second, where others wait behind.
    hashes: Mutex<(Instant, u32)>,
}

/// One session as events name it.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// Word in `aviary.service`.
    pub service: Arc<str>,
    /// The host whose service it is; `None` for the canary's own.
    pub host: Option<Arc<str>>,
    /// Name under which planted credentials are configured: `ssh`, or `hosts.printer.ssh`.
    pub entry: Arc<str>,
    /// The connection.
    pub session: SessionId,
    /// The peer.
    pub peer: SocketAddr,
    /// The address that it used.
    pub local: SocketAddr,
    /// Whether others wait behind it whose answers do not depend on it, as over UDP.
    pub hurried: bool,
}

impl Reporter {
    /// A reporter into a journal.
    #[must_use]
    pub(crate) fn new(journal: Journal, rules: Rules) -> Self {
        Self {
            journal,
            who: Arc::default(),
            drills: Drills::default(),
            rules: std::sync::RwLock::new(Arc::new(rules)),
            ids: Ids::new(),
            ignored: AtomicU64::new(0),
            tally: Tally::default(),
            poise: Poise::default(),
            hashes: Mutex::new((Instant::now(), 0)),
        }
    }

    /// Replaces the rules. A host that is gone leaves its name, without addresses, for what its last
    /// sessions have to report.
    pub(crate) fn set_rules(&self, mut rules: Rules) {
        let before = self.rules();
        let gone = before.hosts.iter().filter(|old| !rules.hosts.iter().any(|host| host.host == old.host));
        let gone: Vec<_> = gone.map(|old| Arc::new(Machine { addresses: Vec::new(), ..Machine::clone(old) })).collect();
        rules.hosts.extend(gone);
        *self.rules.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(rules);
    }

    /// The rules in force.
    #[must_use]
    pub(crate) fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Events that ignore rules kept out, since the start.
    #[must_use]
    pub(crate) fn ignored(&self) -> u64 {
        self.ignored.load(Ordering::Relaxed)
    }

    /// Events since the start, by service and kind.
    #[must_use]
    pub(crate) const fn tally(&self) -> &Tally {
        &self.tally
    }

    /// What is known of those behind addresses; the capture feeds it.
    #[must_use]
    pub(crate) const fn who(&self) -> &Arc<Who> {
        &self.who
    }

    /// Touches that the canary makes of itself.
    #[must_use]
    pub(crate) const fn drills(&self) -> &Drills {
        &self.drills
    }

    /// An id for an event that does not go through the journal.
    #[must_use]
    pub(crate) fn next_id(&self, now: aviary_event::Timestamp) -> Uuid {
        self.ids.next(now.as_micros())
    }

    /// The journal.
    #[must_use]
    pub(crate) const fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Reports an event of a session; `None` if an ignore rule keeps it out.
    pub(crate) async fn report(
        &self,
        context: &Context,
        kind: Kind,
        data: LogData,
        notes: &BTreeMap<String, Value>,
    ) -> Option<Receipt> {
        let event = self.make(context, kind, data, notes).await?;
        Some(self.journal.append(event).await)
    }

    /// Reports what a line of another program's file tells of; `None` if an ignore rule keeps it out.
    pub(crate) async fn report_told(&self, service: &str, host: Option<&str>, told: Told) -> Option<Receipt> {
        let Told { kind, data, source, target } = told;
        let rules = self.rules();
        if rules.ignore.passes_over(source.host.parse().ok(), kind.number) {
            self.ignored.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let now = clock::now();
        let (id, zone, node_id) = (self.ids.next(now.as_micros()), &rules.zone, rules.node_id_of(host));
        let mut event = Event::new(kind, data, id, now, zone, node_id, service, None, source, target);
        self.tally.count(service, kind);
        self.tell_who(&mut event);
        Some(self.journal.append(event).await)
    }

    /// The same without waiting, for the end of a session that panicked.
    pub(crate) fn report_now(&self, context: &Context, kind: Kind, data: LogData, notes: &BTreeMap<String, Value>) {
        let rules = self.rules();
        if let Some(event) = self.stamp(&rules, context, kind, data, notes) {
            drop(self.journal.append_now(event));
        }
    }

    /// Reports that connections of a source were cut off at a limit.
    pub(crate) fn report_limited(&self, source: IpAddr, count: u64) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let data = LogData::new().with("COUNT", count).with("LIMIT", "connections");
        let origin = Origin { host: source.to_canonical().to_string(), port: Port::Number(-1) };
        if !self.rules().ignore.passes_over(Some(source), kinds::LIMITED.number) {
            drop(self.report_frame(&kinds::LIMITED, data, origin));
        }
    }

    /// Reports what was observed on the wire rather than said to a service, from one address to another of
    /// this machine's, whose origins as events name them these are. The
    /// event is of the machine that plays at the second.
    pub(crate) fn report_observed(
        &self,
        kind: Kind,
        data: LogData,
        service: &str,
        (source, destination): (IpAddr, IpAddr),
        (src, dst): (Origin, Origin),
    ) {
        let rules = self.rules();
        if rules.ignore.passes_over(Some(source), kind.number) {
            self.ignored.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let now = clock::now();
        let id = self.ids.next(now.as_micros());
        let node_id = rules.node_id_at(destination);
        let mut event = Event::new(kind, data, id, now, &rules.zone, node_id, service, None, src, dst);
        self.tally.count(service, kind);
        self.tell_who(&mut event);
        drop(self.journal.append_now(event));
    }

    /// Reports an event about the canary itself.
    pub(crate) fn report_own(&self, kind: Kind, data: LogData) {
        drop(self.report_frame(kind, data, Origin::none()));
    }

    /// The same as the last word: completes when it is in the journal, and all before it.
    pub(crate) async fn report_last(&self, kind: Kind, data: LogData) {
        match self.report_frame(kind, data, Origin::none()) {
            Some(receipt) => receipt.wait().await,
            // The rules keep this one out; others may be on their way all the same.
            None => self.journal.settled().await,
        }
    }

    fn report_frame(&self, kind: Kind, data: LogData, src: Origin) -> Option<Receipt> {
        let rules = self.rules();
        if rules.ignore.passes_over(None, kind.number) {
            return None;
        }
        let now = clock::now();
        let mut event = Event::new(
            kind,
            data,
            self.ids.next(now.as_micros()),
            now,
            &rules.zone,
            &rules.node_id,
            OWN,
            None,
            src,
            Origin::none(),
        );
        self.tally.count(OWN, kind);
        self.tell_who(&mut event);
        Some(self.journal.append_now(event))
    }

    async fn make(
        &self,
        context: &Context,
        kind: Kind,
        data: LogData,
        notes: &BTreeMap<String, Value>,
    ) -> Option<Event> {
        let rules = self.rules();
        let mut event = self.stamp(&rules, context, kind, data, notes)?;
        if let Some(creds) = rules.honeycreds.get(&*context.entry) {
            let poise = (!context.hurried).then_some(&self.poise);
            if !context.hurried || creds.is_cheap() || self.may_hash() {
                event.honeycred = judge(creds, &event.logdata, &rules, &context.entry, poise).await;
            }
        }
        Some(event)
    }

    /// Whether one more planted password may be hashed while others wait. Where not, the event has no flag.
    fn may_hash(&self) -> bool {
        let mut hashes = self.hashes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if hashes.0.elapsed() > Duration::from_secs(1) {
            *hashes = (Instant::now(), 0);
        }
        hashes.1 += 1;
        hashes.1 <= HURRIED_HASHES
    }

    fn stamp(
        &self,
        rules: &Rules,
        context: &Context,
        kind: Kind,
        data: LogData,
        notes: &BTreeMap<String, Value>,
    ) -> Option<Event> {
        if rules.ignore.passes_over(Some(context.peer.ip()), kind.number) {
            self.ignored.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let now = clock::now();
        let mut event = Event::new(
            kind,
            data,
            self.ids.next(now.as_micros()),
            now,
            &rules.zone,
            rules.node_id_of(context.host.as_deref()),
            &context.service,
            Some(&context.session.to_string()),
            context.peer.into(),
            context.local.into(),
        );
        self.tally.count(&context.service, kind);
        if !notes.is_empty()
            && let Some(ours) = &mut event.aviary
        {
            ours.more.insert("fingerprint".to_owned(), Value::Map(notes.clone()));
        }
        self.who.describe(context.peer, context.local.port()).write(&mut event);
        self.drills.mark(&mut event, context.peer);
        Some(event)
    }

    /// Writes who the peer is into an event that is no session's, if it has a peer.
    fn tell_who(&self, event: &mut Event) {
        let Some(src) = &event.src else { return };
        let Ok(address) = src.host.parse() else { return };
        let local = event.dst.as_ref().map_or(0, |dst| number(&dst.port));
        self.who.describe(SocketAddr::new(address, number(&src.port)), local).write(event);
    }
}

/// The port, or 0 where there is none.
fn number(port: &Port) -> u16 {
    match port {
        Port::Number(number) => u16::try_from(*number).unwrap_or(0),
        Port::Text(text) => text.parse().unwrap_or(0),
    }
}

/// Keys that hold a user name or a password, where OpenCanary's services spell them in their own ways.
const NAMES: [&[&str]; 2] = [&["USERNAME", "UserName", "username"], &["PASSWORD", "Password"]];

/// OpenCanary's rule: the flag stands where the service has planted credentials and the event a
/// non-empty user name or password. Its MSSQL and MongoDB never get the flag, since they spell the keys
/// otherwise; ours do.
async fn judge(
    creds: &HoneyCreds,
    data: &Value,
    rules: &Arc<Rules>,
    entry: &str,
    poise: Option<&Poise>,
) -> Option<bool> {
    let bytes = |keys: &[&str]| {
        let value = keys.iter().find_map(|key| data.get(key).and_then(Value::as_bytes));
        value.unwrap_or_default().to_vec()
    };
    let [username, password] = NAMES.map(bytes);
    if username.is_empty() && password.is_empty() {
        return None;
    }
    if creds.is_cheap() {
        return Some(creds.matches(&username, &password));
    }
    let wait = match poise {
        Some(poise) => poise.of(entry, rules).await,
        None => Duration::ZERO,
    };
    let begun = tokio::time::Instant::now();
    let fits = creds.hashes_for(&username);
    let verdict = if fits || poise.is_some() && password.len() > SHORT_PASSWORD {
        let (rules, entry) = (Arc::clone(rules), entry.to_owned());
        let hashed = tokio::task::spawn_blocking(move || {
            let Some(creds) = rules.honeycreds.get(&entry) else { return false };
            if !fits {
                creds.rehearse(&password);
            }
            creds.matches(&username, &password)
        });
        hashed.await.ok()
    } else {
        Some(creds.matches(&username, &password))
    };
    if !wait.is_zero() {
        tokio::time::sleep_until(begun + wait).await;
    }
    verdict
}

/// How long each login waits where planted passwords are hashed, whatever comes of it. Only users who
/// are planted cost a hash, and a reply that took as long as one would name them.
#[derive(Debug, Default)]
struct Poise(tokio::sync::Mutex<BTreeMap<String, (Arc<Rules>, Duration)>>);

impl Poise {
    /// What a service's logins wait: twice what it takes to hash for all planted users, measured once
    /// for each set of rules.
    async fn of(&self, entry: &str, rules: &Arc<Rules>) -> Duration {
        let mut measured = self.0.lock().await;
        let Some(creds) = rules.honeycreds.get(entry) else { return Duration::ZERO };
        if let Some((known, wait)) = measured.get(entry)
            && Arc::ptr_eq(known, rules)
        {
            return *wait;
        }
        let rehearsed = creds.clone();
        let wait = tokio::task::spawn_blocking(move || {
            let begun = Instant::now();
            rehearsed.rehearse(&[b'x'; SHORT_PASSWORD]);
            begun.elapsed() * 2
        });
        let wait = wait.await.unwrap_or_default();
        measured.insert(entry.to_owned(), (Arc::clone(rules), wait));
        wait
    }
}

/// Makes UUIDs of version 7: 48 bits of milliseconds, then bits that never repeat within this
/// process and differ between processes.
#[derive(Debug)]
struct Ids {
    seed: [u64; 2],
    count: AtomicU64,
}

impl Ids {
    fn new() -> Self {
        let mut seed = [0; 16];
        // Without randomness from the system, ids still differ by time and counter.
        let _ = getrandom::fill(&mut seed);
        let (a, b) = seed.split_at(8);
        let word = |half: &[u8]| half.iter().fold(0u64, |word, byte| (word << 8) | u64::from(*byte));
        Self { seed: [word(a), word(b)], count: AtomicU64::new(0) }
    }

    fn next(&self, micros: i64) -> Uuid {
        let n = self.count.fetch_add(1, Ordering::Relaxed);
        let mut tail = [0; 10];
        let words = [mix(self.seed[0] ^ n), mix(self.seed[1].wrapping_add(n))];
        for (place, byte) in tail.iter_mut().zip(words.iter().flat_map(|word| word.to_be_bytes())) {
            *place = byte;
        }
        let millis = u64::try_from(micros / 1000).unwrap_or(0);
        Builder::from_unix_timestamp_millis(millis, &tail).into_uuid()
    }
}

/// The finaliser of SplitMix64, a bijection: distinct inputs give distinct outputs.
const fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Rules with one planted user whose password is hashed, and one whose password is not.
    fn planted() -> Arc<Rules> {
        // 20,000 rounds of PBKDF2 with SHA-512 of a password that nobody here knows.
        let hash = format!("$pbkdf2-sha512$20000$c2FsdHNhbHQ${}", "A".repeat(86));
        let items = [
            serde_json::json!({"username": "planted", "password": hash}),
            serde_json::json!({"username": "plain", "password": "secret"}),
        ];
        let (creds, faults) = HoneyCreds::parse(&items);
        assert!(faults.is_empty(), "{faults:?}");
        let honeycreds = [("ftp".to_owned(), creds)].into();
        Arc::new(Rules {
            node_id: String::new(),
            hosts: Vec::new(),
            ignore: IgnoreRules::default(),
            honeycreds,
            zone: TimeZone::UTC,
        })
    }

    #[tokio::test]
    async fn no_login_is_answered_sooner_than_one_of_a_planted_user() {
        let (rules, poise) = (planted(), Poise::default());
        let creds = &rules.honeycreds["ftp"];
        let wait = poise.of("ftp", &rules).await;
        assert!(wait > Duration::from_millis(2), "{wait:?}");
        for (user, password, verdict) in
            [("planted", "x", false), ("nobody", "x", false), ("plain", "secret", true), ("plain", "x", false)]
        {
            let data = LogData::new().with("PASSWORD", password).with("USERNAME", user);
            let begun = Instant::now();
            assert_eq!(judge(creds, &data.into(), &rules, "ftp", Some(&poise)).await, Some(verdict), "{user}");
            assert!(begun.elapsed() >= wait, "{user}: {:?} of {wait:?}", begun.elapsed());
        }
        // A long password costs more with some hashes, so it is hashed whoever gives it.
        let long = LogData::new().with("PASSWORD", "x".repeat(4000)).with("USERNAME", "nobody");
        assert_eq!(judge(creds, &long.into(), &rules, "ftp", Some(&poise)).await, Some(false));
        // What is no login waits for nothing and gets no verdict.
        assert_eq!(judge(creds, &LogData::new().into(), &rules, "ftp", Some(&poise)).await, None);
    }

    #[tokio::test]
    async fn a_login_counts_however_its_service_spells_the_keys() {
        let (creds, _) = HoneyCreds::parse(&[serde_json::json!({"username": "sa", "password": "planted"})]);
        let rules = planted();
        for (user, password) in [("USERNAME", "PASSWORD"), ("UserName", "Password")] {
            let data = LogData::new().with(user, "sa").with(password, "planted");
            assert_eq!(
                judge(&creds, &data.into(), &rules, "mssql", Some(&Poise::default())).await,
                Some(true),
                "{user}"
            );
        }
        let data = LogData::new().with("username", "sa");
        assert_eq!(judge(&creds, &data.into(), &rules, "mongodb", Some(&Poise::default())).await, Some(false));
    }

    #[test]
    fn ids_are_version_7_and_never_repeat() {
        let ids = Ids::new();
        let made: HashSet<Uuid> = (0..10_000).map(|_| ids.next(1_700_000_000_000_000)).collect();
        assert_eq!(made.len(), 10_000);
        assert!(made.iter().all(|id| id.get_version_num() == 7));
    }

    fn host(name: &str, address: &str) -> Arc<Machine> {
        let addresses = vec![Some(address.parse().unwrap())];
        Arc::new(Machine {
            host: Some(Arc::from(name)),
            node_id: format!("n/{name}"),
            host_name: String::new(),
            addresses,
        })
    }

    #[tokio::test]
    async fn an_event_is_of_the_machine_at_its_address() {
        let rig = crate::testing::Rig::new(aviary_service::Security::Plain);
        let reporter = rig.reporter();
        let before =
            Rules { hosts: vec![host("a", "10.0.0.7"), host("b", "2001:db8::8")], ..(*reporter.rules()).clone() };
        reporter.set_rules(before.clone());
        let rules = reporter.rules();
        let at = |text: &str| rules.node_id_at(text.parse().unwrap()).to_owned();
        assert_eq!([at("10.0.0.7"), at("::ffff:10.0.0.7"), at("2001:db8::8")], ["n/a", "n/a", "n/b"]);
        assert_eq!([at("10.0.0.8"), rules.node_id_of(None).to_owned()], ["node", "node"]);
        let origin = |host: &str| Origin { host: host.to_owned(), port: Port::Number(1) };
        for (port, target) in [("x", "10.0.0.7"), ("y", "10.0.0.9")] {
            let data = LogData::new().with("WHAT", port);
            let addresses = ("192.0.2.1".parse().unwrap(), target.parse().unwrap());
            let ends = (origin("192.0.2.1"), origin(target));
            reporter.report_observed(&crate::testing::KIND, data, "portscan", addresses, ends);
        }
        assert_eq!(rig.told("x").await.node_id.as_deref(), Some("n/a"));
        assert_eq!(rig.told("y").await.node_id.as_deref(), Some("node"));
        // What is left of a host that goes is its name; its address is anybody's.
        reporter.set_rules(Rules { hosts: vec![host("b", "10.0.0.7")], ..before });
        let rules = reporter.rules();
        assert_eq!([rules.node_id_of(Some("a")), rules.node_id_at("10.0.0.7".parse().unwrap())], ["n/a", "n/b"]);
    }
}
