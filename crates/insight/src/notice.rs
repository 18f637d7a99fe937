//! Who is told what of an incident, and when: decided from what each recipient was told before.
//!
//! A recipient hears of a fact once, whichever policy says so first. What follows closely is told together: a moment
//! passes before the first message, so that it holds the whole beginning, and the pauses between further messages
//! about one incident grow, so that a sweep over two hundred sensors is a handful of messages. Nothing is dropped by
//! this: what has to wait is in the next message. What raises the severity does not wait.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aviary_event::{Severity, Timestamp};

use crate::{Budget, Fact, Facts, Policy, news};

/// How long the first message waits for what follows closely.
const MOMENT: Duration = Duration::from_secs(2);

/// Messages about one incident that come without a pause.
const FREE: usize = 3;

/// The first pause; each further one is twice as long.
const PAUSE: Duration = Duration::from_secs(60);

/// The longest pause.
const LONGEST: Duration = Duration::from_secs(3600);

/// What a recipient was told of an incident, or is about to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Earlier {
    /// The row of the ledger.
    pub row: i64,
    /// The recipient.
    pub channel: String,
    /// When it was decided.
    pub at: Timestamp,
    /// When it goes out, or went.
    pub due: Timestamp,
    /// How grave the incident was.
    pub severity: Severity,
    /// Whether it has not gone out, so that more fits in.
    pub open: bool,
    /// Whether it goes out with others.
    pub together: bool,
    /// What was told.
    pub facts: Vec<Fact>,
}

/// What is known of an incident when it is decided.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    /// What is known.
    pub facts: &'a Facts,
    /// How grave it is.
    pub severity: Severity,
    /// What recipients were told before.
    pub earlier: &'a [Earlier],
    /// What a sensor belongs to.
    pub groups: &'a (dyn Fn(&str) -> Vec<String> + Sync),
    /// A recipient that is itself what is wrong, and must not be told so.
    pub except: Option<&'a str>,
}

/// What a recipient is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The policy that says so.
    pub policy: String,
    /// The recipient.
    pub channel: String,
    /// The open row that takes it in.
    pub into: Option<i64>,
    /// What is new.
    pub facts: Vec<Fact>,
    /// When it goes out.
    pub due: Timestamp,
    /// Whether it goes out with others.
    pub together: bool,
}

/// Decides who is told of an incident.
///
/// When no policy holds at this hour, what would have been told waits for the first schedule that begins: an hour that
/// nobody planned for loses no alert.
#[must_use]
pub fn decide(policies: &[Policy], known: &Known<'_>, now: Timestamp) -> Vec<Notice> {
    let about = |policy: &&Policy| policy.is_about(known.facts, known.severity, known.groups);
    let (on, off): (Vec<&Policy>, Vec<&Policy>) = policies.iter().filter(about).partition(|policy| policy.holds(now));
    let mut notices = BTreeMap::new();
    for policy in &on {
        tell(policy, known, now, None, &mut notices);
    }
    if on.is_empty() {
        let begins = |policy: &&&Policy| policy.schedule.as_ref().and_then(|hours| hours.next(now));
        let first = off.iter().filter_map(|policy| Some((begins(&policy)?, *policy))).min_by_key(|(begin, _)| *begin);
        if let Some((begin, policy)) = first {
            tell(policy, known, now, Some(begin), &mut notices);
        }
    }
    notices.into_values().collect()
}

/// Adds what a policy has to tell, where no other policy tells the same recipient already.
fn tell(
    policy: &Policy,
    known: &Known<'_>,
    now: Timestamp,
    begin: Option<Timestamp>,
    notices: &mut BTreeMap<String, Notice>,
) {
    for channel in &policy.channels {
        if notices.contains_key(channel) || known.except == Some(channel.as_str()) {
            continue;
        }
        let earlier: Vec<&Earlier> = known.earlier.iter().filter(|earlier| earlier.channel == *channel).collect();
        let told: BTreeSet<Fact> = earlier.iter().flat_map(|earlier| earlier.facts.iter().cloned()).collect();
        let facts = news(known.facts, &told);
        if facts.is_empty() {
            continue;
        }
        let digest = policy.digest.filter(|_| known.severity < Severity::Critical);
        let (due, together) = match (begin, digest) {
            (Some(begin), _) => (begin, true),
            (None, Some(length)) => (boundary(now, length), true),
            (None, None) => (when(&earlier, known.severity, now), false),
        };
        let open = earlier.iter().rev().find(|earlier| earlier.open);
        // What is being gathered already goes out no later than it would have.
        let (due, together) = match open {
            Some(open) if open.severity >= known.severity => (open.due, open.together),
            _ => (due, together),
        };
        let into = open.map(|open| open.row);
        let notice = Notice { policy: policy.name.clone(), channel: channel.clone(), into, facts, due, together };
        notices.insert(channel.clone(), notice);
    }
}

/// When a message goes out by itself.
fn when(earlier: &[&Earlier], severity: Severity, now: Timestamp) -> Timestamp {
    if severity >= Severity::Critical && earlier.iter().all(|earlier| earlier.severity < severity) {
        return now;
    }
    let soon = after(now, MOMENT);
    let gone = earlier.iter().filter(|earlier| !earlier.open);
    let (count, last) = gone.fold((0_usize, None), |(count, last), earlier| {
        (count.saturating_add(1), last.max(Some((earlier.at, earlier.severity))))
    });
    match last {
        Some((at, before)) if before >= severity && count >= FREE => {
            let doubled = u32::try_from(count.saturating_sub(FREE)).unwrap_or(u32::MAX).min(16);
            soon.max(after(at, PAUSE.saturating_mul(1 << doubled).min(LONGEST)))
        }
        _ => soon,
    }
}

/// The next moment that is a multiple of a length, so that all that is gathered is due together.
fn boundary(now: Timestamp, length: Duration) -> Timestamp {
    let length = micros(length).max(1);
    let past = now.as_micros().rem_euclid(length);
    Timestamp::from_micros(now.as_micros().saturating_sub(past).saturating_add(length))
}

/// When a recipient who got messages at these moments, in order, may get the next one; `None` if now. What is of the
/// gravest kind never waits.
#[must_use]
pub fn over_budget(
    sent: &[Timestamp],
    budget: Option<Budget>,
    severity: Severity,
    now: Timestamp,
) -> Option<Timestamp> {
    let budget = budget.filter(|_| severity < Severity::Critical)?;
    let begin = now.as_micros().saturating_sub(micros(budget.per));
    let recent: Vec<Timestamp> = sent.iter().copied().filter(|at| at.as_micros() > begin).collect();
    let first = recent.len().checked_sub(budget.messages)?;
    recent.get(first).map(|at| after(*at, budget.per))
}

fn after(at: Timestamp, length: Duration) -> Timestamp {
    Timestamp::from_micros(at.as_micros().saturating_add(micros(length)))
}

fn micros(length: Duration) -> i64 {
    i64::try_from(length.as_micros()).unwrap_or(i64::MAX)
}
