//! How many events of one kind an output takes: the key `rate` of any handler.
//!
//! Events are of one kind when log type, source and service are the same. The first so many of a period go out at once;
//! the others are counted, and one digest says how many there were when the period is over. The journal has them all.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aviary_event::{Class, Event, Kind, KindInfo, LogData, Value};
use serde_json::Value as Json;
use tokio::time::Instant;
use uuid::Uuid;

use crate::Rejection;

/// A digest of events that a rate held back.
pub static DIGEST: KindInfo = KindInfo {
    number: 30012,
    constant: "LOG_EVENTS_HELD_BACK",
    class: Class::Limit,
    when: "an output's `rate` held back events: how many more there were of a log type, a source and a service",
    keys: &["COUNT", "FIRST", "LAST", "LOGTYPE", "SERVICE", "TEXT"],
    technique: &[],
};

/// One marked event that an operator sends to an output to see what its receiver says.
pub static TEST: KindInfo = KindInfo {
    number: 30013,
    constant: "LOG_OUTPUT_TEST",
    class: Class::Lifecycle,
    when: "`aviary outputs test NAME` was run; goes to that output alone",
    keys: &["OUTPUT", "TEXT"],
    technique: &[],
};

/// Kinds that are counted at once; beyond, the oldest is told of early.
const KINDS: usize = 4096;

/// So many events of a kind in a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Events that go out at once.
    pub count: u64,
    /// The period.
    pub period: Duration,
}

impl Rate {
    /// Reads `10/m`: a number and `s`, `m`, `h` or `d`.
    ///
    /// # Errors
    /// Says what is accepted.
    pub fn read(value: &Json) -> Result<Self, Rejection> {
        let parsed = value.as_str().and_then(|text| {
            let (count, unit) = text.split_once('/')?;
            let seconds = match unit.trim() {
                "s" | "second" => 1,
                "m" | "min" | "minute" => 60,
                "h" | "hour" => 3600,
                "d" | "day" => 86_400,
                _ => return None,
            };
            let count = count.trim().parse().ok().filter(|count| (1..=1_000_000).contains(count))?;
            Some(Self { count, period: Duration::from_secs(seconds) })
        });
        parsed.ok_or_else(|| {
            Rejection::new("rate", format!("is {value}; it takes text such as \"10/m\": a number and s, m, h or d"))
        })
    }
}

/// What makes events one kind.
type Sort = (Option<i64>, String, String);

/// A kind in its period.
#[derive(Debug)]
struct Counted {
    begun: Instant,
    passed: u64,
    held: u64,
    first: Option<Arc<Event>>,
    last: Option<Arc<Event>>,
}

/// Counts events against a rate.
#[derive(Debug)]
pub(crate) struct Throttle {
    rate: Rate,
    kinds: HashMap<Sort, Counted>,
}

impl Throttle {
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, kinds: HashMap::new() }
    }

    /// Whether an event goes out now; otherwise it is counted.
    pub(crate) fn passes(&mut self, event: &Arc<Event>, now: Instant) -> bool {
        let host = event.src.as_ref().map(|src| src.host.clone()).unwrap_or_default();
        let sort = (event.logtype, host, event.service().unwrap_or_default().to_owned());
        let counted = self.kinds.entry(sort).or_insert_with(|| Counted::new(now));
        if now.duration_since(counted.begun) >= self.rate.period && counted.held == 0 {
            *counted = Counted::new(now);
        }
        if counted.held == 0 && counted.passed < self.rate.count {
            counted.passed = counted.passed.saturating_add(1);
            return true;
        }
        counted.held = counted.held.saturating_add(1);
        counted.first.get_or_insert_with(|| Arc::clone(event));
        counted.last = Some(Arc::clone(event));
        false
    }

    /// When the next digest is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        let waiting = self.kinds.values().filter(|counted| counted.held > 0);
        waiting.map(|counted| counted.begun + self.rate.period).min()
    }

    /// Digests that are due, in the order of what they tell of.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<Arc<Event>> {
        let period = self.rate.period;
        let mut over: Vec<Counted> = Vec::new();
        self.kinds.retain(|_, counted| {
            let is_over = now.duration_since(counted.begun) >= period;
            if is_over && counted.held > 0 {
                over.push(std::mem::replace(counted, Counted::new(now)));
                // What it told of counts for the next period, so that a flood gives one digest a period.
                counted.passed = u64::MAX;
                return true;
            }
            !is_over
        });
        while self.kinds.len() > KINDS {
            let Some(oldest) = self.kinds.iter().min_by_key(|(_, counted)| counted.begun).map(|(sort, _)| sort.clone())
            else {
                break;
            };
            over.extend(self.kinds.remove(&oldest).filter(|counted| counted.held > 0));
        }
        let mut digests: Vec<Arc<Event>> = over.iter().filter_map(Counted::digest).map(Arc::new).collect();
        digests.sort_by_key(|event| event.aviary.as_ref().map(|ours| ours.seq));
        digests
    }

    /// Everything that is held back, as when the canary stops.
    pub(crate) fn rest(&mut self) -> Vec<Arc<Event>> {
        let kinds = std::mem::take(&mut self.kinds);
        let mut digests: Vec<Arc<Event>> = kinds.values().filter_map(Counted::digest).map(Arc::new).collect();
        digests.sort_by_key(|event| event.aviary.as_ref().map(|ours| ours.seq));
        digests
    }
}

impl Counted {
    const fn new(now: Instant) -> Self {
        Self { begun: now, passed: 0, held: 0, first: None, last: None }
    }

    /// An event that tells of those held back.
    fn digest(&self) -> Option<Event> {
        let (first, last) = (self.first.as_deref()?, self.last.as_deref()?);
        let mut event = last.clone();
        let (kind, held): (Kind, i64) = (&DIGEST, i64::try_from(self.held).unwrap_or(i64::MAX));
        let text = |time: &Option<String>| time.clone().unwrap_or_default();
        let data = LogData::new()
            .with("COUNT", held)
            .with("FIRST", text(&first.utc_time))
            .with("LAST", text(&last.utc_time))
            .with("LOGTYPE", last.logtype.unwrap_or(-1))
            .with("SERVICE", last.service().unwrap_or_default())
            .with("TEXT", format!("{held} more of the same kind"));
        event.logdata = Value::from(data);
        event.logtype = Some(kind.number);
        event.honeycred = None;
        if let Some(ours) = &mut event.aviary {
            ours.id = digest_id(first, last, self.held);
            ours.kind = kind.class.word().to_owned();
            ours.technique.clear();
            ours.session = None;
            ours.more.remove("fingerprint");
        }
        Some(event)
    }
}

/// The id of a digest: of its own, since a receiver that drops what it has seen may know the last event held back from
/// a replay or from another canary's output, and the same each time, since this one may come again. UUID version 8
/// (RFC 9562, section 5.8): the last event's, its time first, with the first one's and the count mixed into its tail.
fn digest_id(first: &Event, last: &Event, held: u64) -> Uuid {
    let id = |event: &Event| event.aviary.as_ref().map_or(0, |ours| ours.id.as_u128());
    let mut tail = 0;
    for part in [id(first) >> 64, id(first), id(last), u128::from(held)] {
        // The finaliser of SplitMix64, over what came before and eight bytes more.
        let mut mixed = tail ^ u64::try_from(part & u128::from(u64::MAX)).unwrap_or(0);
        mixed = mixed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        tail = mixed ^ (mixed >> 31);
    }
    let head = id(last) >> 64 << 64;
    let builder = uuid::Builder::from_u128(head | u128::from(tail));
    builder.with_variant(uuid::Variant::RFC4122).with_version(uuid::Version::Custom).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(seq: u64, source: &str) -> Arc<Event> {
        let line = json!({
            "logtype": 4002, "src_host": source, "src_port": 1, "logdata": {"PASSWORD": "x"}, "utc_time": seq.to_string(),
            "aviary": {"id": format!("01a2104a-506e-77e5-a548-{seq:012x}"), "seq": seq, "service": "ssh",
                       "time": "2026-11-25T01:20:35Z", "kind": "login"},
        });
        Arc::new(Event::parse(&line.to_string()).unwrap())
    }

    fn counts(digests: &[Arc<Event>]) -> Vec<(String, Option<i64>)> {
        let count = |event: &Arc<Event>| match event.logdata.get("COUNT") {
            Some(Value::Int(count)) => Some(*count),
            _ => None,
        };
        digests.iter().map(|event| (event.src.as_ref().unwrap().host.clone(), count(event))).collect()
    }

    #[test]
    fn rates_are_a_number_and_a_unit() {
        let rate = |text: &str| Rate::read(&json!(text)).map(|rate| (rate.count, rate.period.as_secs())).ok();
        assert_eq!(rate("10/m"), Some((10, 60)));
        assert_eq!(rate(" 1 / day "), Some((1, 86_400)));
        for bad in ["", "10", "0/m", "10/w", "-1/m", "m/10"] {
            assert_eq!(rate(bad), None, "{bad}");
        }
        let error = Rate::read(&json!(10)).unwrap_err().to_string();
        assert!(error.contains("is 10; it takes text such as \"10/m\""), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_go_out_and_a_digest_tells_of_the_others() {
        let mut throttle = Throttle::new(Rate { count: 2, period: Duration::from_secs(60) });
        let begin = Instant::now();
        let passed = (1..=40).filter(|seq| throttle.passes(&event(*seq, "10.0.0.1"), begin)).count();
        assert_eq!(passed, 2);
        assert!(throttle.passes(&event(41, "10.0.0.2"), begin), "another source is another kind");
        assert_eq!(throttle.next(), Some(begin + Duration::from_secs(60)));
        assert_eq!(throttle.due(begin + Duration::from_secs(59)).len(), 0);
        let digests = throttle.due(begin + Duration::from_secs(60));
        assert_eq!(counts(&digests), [("10.0.0.1".to_owned(), Some(38))]);
        let digest = &digests[0];
        assert_eq!((digest.logtype, digest.service()), (Some(30012), Some("ssh")));
        assert_eq!(digest.logdata.get("TEXT").and_then(Value::as_str), Some("38 more of the same kind"));
        assert_eq!(digest.logdata.get("FIRST").and_then(Value::as_str), Some("3"));
        assert_eq!(throttle.next(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_digest_has_an_id_of_its_own_that_is_always_the_same() {
        let id = |event: &Event| event.aviary.as_ref().unwrap().id;
        let digest = |count: u64, seqs: std::ops::RangeInclusive<u64>| {
            let mut throttle = Throttle::new(Rate { count, period: Duration::from_secs(60) });
            let now = Instant::now();
            let held: Vec<_> =
                seqs.map(|seq| event(seq, "10.0.0.1")).filter(|event| !throttle.passes(event, now)).collect();
            let [digest] = &throttle.rest()[..] else { panic!("one digest") };
            assert!(held.iter().all(|event| id(event) != id(digest)), "the id of an event");
            id(digest)
        };
        let first = digest(1, 1..=9);
        assert_eq!((first.get_version_num(), first.get_variant()), (8, uuid::Variant::RFC4122));
        assert_eq!(first, digest(1, 1..=9), "the same events, the same id");
        // The same last event and another number of them, or another first: another digest.
        let others = [digest(2, 1..=9), digest(1, 2..=9), digest(1, 1..=8), digest(3, 1..=9)];
        let ids: std::collections::BTreeSet<_> = others.into_iter().chain([first]).collect();
        assert_eq!(ids.len(), 4, "{ids:?}");
        assert!(ids.iter().all(|id| id.to_string().starts_with("01a2104a-506e-8")), "in the order of time: {ids:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_goes_on_gives_one_digest_a_period_and_a_pause_begins_anew() {
        let mut throttle = Throttle::new(Rate { count: 1, period: Duration::from_secs(60) });
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        assert!(throttle.passes(&event(1, "10.0.0.1"), begin));
        assert!(!throttle.passes(&event(2, "10.0.0.1"), after(1)));
        assert_eq!(throttle.due(after(60)).len(), 1);
        assert!(!throttle.passes(&event(3, "10.0.0.1"), after(61)), "it goes on");
        assert_eq!(throttle.due(after(119)).len(), 0);
        assert_eq!(throttle.due(after(120)).len(), 1);
        assert_eq!(throttle.due(after(180)).len(), 0);
        assert!(throttle.passes(&event(4, "10.0.0.1"), after(181)), "after a pause");
        assert_eq!(throttle.rest().len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn kinds_are_bounded_and_nothing_is_left_untold() {
        let mut throttle = Throttle::new(Rate { count: 1, period: Duration::from_secs(60) });
        let now = Instant::now();
        for host in 0..5000_u64 {
            let source = format!("10.0.{}.{}", host / 256, host % 256);
            throttle.passes(&event(host, &source), now);
            throttle.passes(&event(host, &source), now);
        }
        let early = throttle.due(now).len();
        assert_eq!(early, 5000 - KINDS);
        assert_eq!(throttle.rest().len(), KINDS);
    }
}
