//! What goes out next: of each channel one message at a time, in order.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aviary_event::Timestamp;
use aviary_store::{Delivery, Fate};

/// More than so many that wait for one channel go out together: after a receiver was away, nobody reads a hundred.
const FLOOD: usize = 10;

/// Most that go out in one message.
const TOGETHER: usize = 100;

/// The first wait after a failure, and the longest.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);

/// Longest wait that a receiver may ask for.
const ASKED: Duration = Duration::from_secs(3600);

/// How often a delivery is tried: for a day, as the waits are.
const TRIES: u32 = 300;

/// What goes out in one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shipment {
    pub(super) channel: String,
    /// One, or several that go out together.
    pub(super) rows: Vec<Delivery>,
    pub(super) together: bool,
}

/// What goes out now, and when to look again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) shipments: Vec<Shipment>,
    pub(super) next: Option<Timestamp>,
}

/// Plans, from what is open in order of rows, without channels that are busy. A channel whose last try failed is left
/// alone until that is tried again.
pub(super) fn plan(open: &[Delivery], busy: &BTreeSet<String>, now: Timestamp) -> Plan {
    let mut channels: BTreeMap<&str, Vec<&Delivery>> = BTreeMap::new();
    for row in open.iter().filter(|row| !busy.contains(&row.channel)) {
        channels.entry(&row.channel).or_default().push(row);
    }
    let mut plan = Plan { shipments: Vec::new(), next: None };
    for (channel, rows) in channels {
        // What was tried and is not due holds the others; what was put off for its budget was not tried.
        let pause = rows.iter().filter(|row| row.attempts > 0 && row.fate != Fate::OverBudget).map(|row| row.due).max();
        if let Some(pause) = pause.filter(|pause| *pause > now) {
            plan.look(pause);
            continue;
        }
        let due: Vec<&Delivery> = rows.iter().copied().filter(|row| row.due <= now).collect();
        if due.is_empty() {
            if let Some(next) = rows.iter().map(|row| row.due).min() {
                plan.look(next);
            }
            continue;
        }
        let alone: Vec<&Delivery> = due.iter().copied().filter(|row| row.fate == Fate::Waiting).collect();
        let (rows, together) = match alone.first() {
            Some(first) if alone.len() <= FLOOD => (vec![(*first).clone()], false),
            _ => (due.into_iter().take(TOGETHER).cloned().collect(), true),
        };
        plan.shipments.push(Shipment { channel: channel.to_owned(), rows, together });
    }
    plan
}

impl Plan {
    fn look(&mut self, at: Timestamp) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }
}

/// When something that failed at its `attempts`th try is tried again; `None` if it was tried for long enough.
pub(super) fn again(attempts: u32, asked: Option<Duration>, noise: u64, now: Timestamp) -> Option<Timestamp> {
    let after = |at: Timestamp, wait: Duration| {
        Timestamp::from_micros(at.as_micros().saturating_add(i64::try_from(wait.as_micros()).unwrap_or(i64::MAX)))
    };
    if attempts >= TRIES {
        return None;
    }
    let doubled = FIRST.saturating_mul(1 << attempts.saturating_sub(1).min(16)).min(LONGEST);
    // Between three quarters and all of it, so that channels do not come back in one moment.
    let share = u32::try_from(noise % 256).unwrap_or(0);
    let wait = doubled.saturating_mul(3) / 4 + doubled / 4 * share / 255;
    Some(after(now, wait.max(asked.unwrap_or_default().min(ASKED))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aviary_event::Severity;

    const SECOND: i64 = 1_000_000;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * SECOND)
    }

    fn row(row: i64, channel: &str, fate: Fate, due: i64, attempts: u32) -> Delivery {
        Delivery {
            row,
            at: at(0),
            policy: "all".to_owned(),
            channel: channel.to_owned(),
            incident: row,
            severity: Severity::High,
            fate,
            due: at(due),
            attempts,
            tried: None,
            answer: String::new(),
            facts: Vec::new(),
        }
    }

    fn shipped(plan: &Plan) -> Vec<(String, Vec<i64>, bool)> {
        let rows = |shipment: &Shipment| shipment.rows.iter().map(|row| row.row).collect();
        plan.shipments.iter().map(|one| (one.channel.clone(), rows(one), one.together)).collect()
    }

    #[test]
    fn each_channel_has_one_message_under_way_and_a_dead_one_holds_no_other() {
        let open = [
            row(1, "a", Fate::Waiting, 5, 0),
            row(2, "a", Fate::Waiting, 5, 0),
            row(3, "b", Fate::Waiting, 90, 3),
            row(4, "b", Fate::Waiting, 5, 0),
            row(5, "c", Fate::Gathering, 60, 0),
            row(6, "d", Fate::Waiting, 1, 0),
        ];
        let busy = BTreeSet::from(["d".to_owned()]);
        let plan_now = plan(&open, &busy, at(10));
        assert_eq!(shipped(&plan_now), [("a".to_owned(), vec![1], false)]);
        assert_eq!(plan_now.next, Some(at(60)));
        let later = plan(&open, &BTreeSet::new(), at(90));
        let b = ("b".to_owned(), vec![3], false);
        assert_eq!(shipped(&later)[1..3], [b, ("c".to_owned(), vec![5], true)]);
    }

    #[test]
    fn many_that_wait_go_out_together() {
        let open: Vec<Delivery> = (1..=150).map(|n| row(n, "a", Fate::Waiting, 0, 0)).collect();
        let shipments = plan(&open, &BTreeSet::new(), at(1)).shipments;
        assert_eq!((shipments.len(), shipments[0].rows.len(), shipments[0].together), (1, 100, true));
        let few = plan(&open[..10], &BTreeSet::new(), at(1)).shipments;
        assert_eq!((few[0].rows.len(), few[0].together), (1, false));
    }

    #[test]
    fn waits_grow_to_five_minutes_obey_the_receiver_and_end_after_a_day() {
        let wait = |attempts, asked, noise| {
            let next = again(attempts, asked, noise, at(100)).expect("again");
            (next.as_micros() - at(100).as_micros()) / SECOND
        };
        assert_eq!([1, 2, 3, 5].map(|attempts| wait(attempts, None, 255)), [1, 2, 4, 16]);
        assert_eq!((wait(40, None, 255), wait(40, None, 0)), (300, 225));
        assert_eq!(wait(1, Some(Duration::from_secs(77)), 0), 77);
        assert_eq!(wait(1, Some(Duration::from_secs(99_999)), 0), 3600);
        assert_eq!(again(TRIES, None, 0, at(0)), None);
        let day: i64 = (1..TRIES).map(|attempts| wait(attempts, None, 255)).sum();
        assert!((23 * 3600..25 * 3600).contains(&day), "{day}");
    }
}
