//! Whether a sensor proves that it detects: a state machine without clock and without I/O. All moments are microseconds
//! since 1970, by the hub's clock.

use std::collections::{BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

/// What a sensor has proven.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing yet.
    #[default]
    Never,
    /// Whatever it touched of itself arrived here as an event, in time.
    Alive,
    /// It answers, and touches of it did not become events.
    Blind,
    /// It answers, and its events come late.
    Late,
    /// It is not heard of.
    Silent,
}

impl State {
    /// The word in JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Alive => "alive",
            Self::Blind => "blind",
            Self::Late => "late",
            Self::Silent => "silent",
        }
    }

    /// Whether somebody should be told.
    #[must_use]
    pub const fn is_trouble(self) -> bool {
        matches!(self, Self::Blind | Self::Late | Self::Silent)
    }
}

/// How often, and how patient; microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// From one drill to the next.
    pub every: i64,
    /// How long events of a drill may take.
    pub deadline: i64,
    /// How long a sensor may be unheard of.
    pub silent: i64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { every: 300_000_000, deadline: 30_000_000, silent: 90_000_000 }
    }
}

/// A service that the sensor touched of itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Touch {
    /// The service.
    pub service: String,
    /// Its address.
    #[serde(default)]
    pub address: String,
    /// Its port.
    pub port: u16,
    /// The port that it was touched from, which tells the touches of a drill apart.
    #[serde(default)]
    pub source: u16,
    /// Why it could not be touched, if it could not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Words of drills that are remembered.
const PAST: usize = 16;

/// How often a word is given to a sensor that does nothing with it.
const TRIES: u32 = 3;

/// The moment of a drill that is not asked for, since nobody would answer.
const NEVER: i64 = i64::MAX;

/// A change of state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// When.
    pub at: i64,
    /// What it was before.
    pub before: State,
    /// What it is now.
    pub state: State,
    /// Why.
    pub why: String,
}

/// One proof that is under way.
#[derive(Clone, Debug)]
struct Drill {
    word: String,
    asked: i64,
    /// When the sensor took the word.
    given: Option<i64>,
    /// How often it was given: an answer may get lost on its way to the sensor.
    tries: u32,
    touches: Option<Vec<Touch>>,
    seen: BTreeSet<u16>,
    /// When the last event came that was not seen before.
    last: i64,
    /// Whether it was judged without all events; they may still come.
    overdue: bool,
}

/// What is known of a sensor's liveness.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch {
    state: State,
    why: String,
    heard: Option<i64>,
    next: i64,
    drill: Option<Drill>,
    /// Words of earlier drills, whose last events may still be on their way.
    past: VecDeque<String>,
    /// Since when the hub listens: before that nobody could be heard.
    since: i64,
    /// When the drill was asked for that was judged last, and whether all went well.
    verdict: Option<(i64, bool)>,
}

impl Watch {
    /// A sensor whose state is known from before, to be listened to from `now` on.
    #[must_use]
    pub(super) fn new(state: State, why: String, heard: Option<i64>, now: i64) -> Self {
        Self { state, why, heard, since: now, ..Self::default() }
    }

    /// What it has proven, and why it is so.
    #[must_use]
    pub(super) fn state(&self) -> (State, &str) {
        (self.state, &self.why)
    }

    /// When it was heard of last.
    #[must_use]
    pub(super) const fn heard(&self) -> Option<i64> {
        self.heard
    }

    /// Whether a drill that was asked for at `since` or later went well; `None` before one was judged.
    #[must_use]
    pub(super) fn proven_since(&self, since: i64) -> Option<bool> {
        self.verdict.filter(|(asked, _)| *asked >= since).map(|(_, well)| well)
    }

    /// Notes that the sensor was heard of. One that was silent has to prove itself at once.
    pub(super) fn hear(&mut self, now: i64) {
        self.heard = Some(now);
        if self.next == NEVER {
            self.next = now;
        }
    }

    /// Begins a drill, in place of one that is under way.
    pub(super) fn begin(&mut self, now: i64, word: String) {
        self.past.push_back(word.clone());
        if self.past.len() > PAST {
            self.past.pop_front();
        }
        self.drill = Some(Drill {
            word,
            asked: now,
            given: None,
            tries: 0,
            touches: None,
            seen: BTreeSet::new(),
            last: 0,
            overdue: false,
        });
    }

    /// The word of a drill that the sensor does not know of yet.
    pub(super) fn order(&mut self, now: i64) -> Option<String> {
        let drill = self.drill.as_mut().filter(|drill| drill.given.is_none())?;
        drill.given = Some(now);
        drill.tries += 1;
        Some(drill.word.clone())
    }

    /// Notes what the sensor touched. A turn without that says that the word never reached it.
    pub(super) fn touched(&mut self, touched: Option<(String, Vec<Touch>)>) {
        let Some(drill) = &mut self.drill else { return };
        match touched {
            Some((word, touches)) if word == drill.word => drill.touches = Some(touches),
            _ if drill.touches.is_none() && drill.tries < TRIES => drill.given = None,
            _ => {}
        }
    }

    /// Whether a word is one of this sensor's drills.
    #[must_use]
    pub(super) fn knows(&self, word: &str) -> bool {
        self.past.iter().any(|known| known == word)
    }

    /// Notes an event with a word, of a touch from a port.
    pub(super) fn saw(&mut self, word: &str, source: u16, now: i64) {
        if let Some(drill) = self.drill.as_mut().filter(|drill| drill.word == word)
            && drill.seen.insert(source)
        {
            drill.last = now;
        }
    }

    /// Whether the next drill is due.
    #[must_use]
    pub(super) fn is_due(&self, now: i64) -> bool {
        self.heard.is_some() && self.drill.is_none() && now >= self.next
    }

    /// Judges. `waiting` are events that the sensor says it could not deliver yet.
    pub(super) fn judge(&mut self, now: i64, pace: Pace, waiting: u64) -> Option<Change> {
        let heard = self.heard?;
        if now.saturating_sub(heard.max(self.since)) > pace.silent {
            (self.drill, self.next) = (None, NEVER);
            let seconds = pace.silent / 1_000_000;
            return self.become_(now, State::Silent, format!("not heard of for more than {seconds} s"));
        }
        let drill = self.drill.as_mut()?;
        let given = drill.given?;
        let late = given.saturating_add(pace.deadline);
        let missing = drill.missing();
        if missing.as_ref().is_some_and(Vec::is_empty) {
            let in_time = drill.last <= late;
            let asked = drill.asked;
            self.drill = None;
            // What came late is asked again at once.
            self.next = if in_time { asked.saturating_add(pace.every) } else { now };
            self.verdict = Some((asked, in_time));
            let (state, why) = match in_time {
                true => (State::Alive, String::new()),
                false => (State::Late, format!("events of a drill took longer than {} s", pace.deadline / 1_000_000)),
            };
            return self.become_(now, state, why);
        }
        if now <= late {
            return None;
        }
        if drill.overdue {
            // Whatever has not come by now is asked for anew.
            if now > late.saturating_add(pace.every.max(pace.deadline)) {
                self.drill = None;
                self.next = now;
            }
            return None;
        }
        let (state, why) = match missing {
            // Whether it is there at all shows later.
            None if heard <= given => return None,
            _ if waiting > 0 => (State::Late, format!("{waiting} events wait at the sensor")),
            None => (State::Blind, "it did not touch its services".to_owned()),
            Some(missing) => (State::Blind, missing.join(", ")),
        };
        drill.overdue = true;
        self.verdict = Some((drill.asked, false));
        self.become_(now, state, why)
    }

    fn become_(&mut self, now: i64, state: State, why: String) -> Option<Change> {
        let before = std::mem::replace(&mut self.state, state);
        self.why.clone_from(&why);
        (before != state).then_some(Change { at: now, before, state, why })
    }
}

impl Drill {
    /// What did not arrive, in words; `None` before the sensor said what it touched.
    fn missing(&self) -> Option<Vec<String>> {
        let touches = self.touches.as_ref()?;
        if touches.is_empty() {
            return Some(vec!["no service listens".to_owned()]);
        }
        let missing = touches.iter().filter_map(|Touch { service, port, source, error, .. }| match error {
            Some(error) => Some(format!("{service} on port {port} cannot be touched: {error}")),
            None => {
                (!self.seen.contains(source)).then(|| format!("{service} on port {port} was touched and not reported"))
            }
        });
        Some(missing.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { every: 100, deadline: 10, silent: 50 };

    fn touch(port: u16) -> Touch {
        Touch { service: "ftp".to_owned(), address: String::new(), port, source: port, error: None }
    }

    /// A sensor that took a drill at 1 and touched ports 21 and 22.
    fn drilled() -> Watch {
        let mut watch = Watch::default();
        assert!(!watch.is_due(0), "nobody is there to ask");
        watch.hear(0);
        assert!(watch.is_due(0));
        watch.begin(0, "word".to_owned());
        assert_eq!((watch.order(1).as_deref(), watch.order(1)), (Some("word"), None));
        watch.touched(Some(("word".to_owned(), vec![touch(21), touch(22)])));
        watch
    }

    fn state(change: Option<Change>) -> Option<State> {
        change.map(|change| change.state)
    }

    #[test]
    fn alive_is_who_reports_every_touch_in_time() {
        let mut watch = drilled();
        assert!(watch.knows("word") && !watch.knows("other"));
        watch.saw("word", 21, 2);
        watch.saw("other", 22, 2);
        assert_eq!(watch.judge(3, PACE, 0), None, "one has not come");
        watch.saw("word", 22, 3);
        assert_eq!(state(watch.judge(4, PACE, 0)), Some(State::Alive));
        assert_eq!(watch.proven_since(0), Some(true));
        assert_eq!((watch.proven_since(1), watch.is_due(99), watch.is_due(100)), (None, false, true));
        assert_eq!(watch.judge(5, PACE, 0), None, "told once");
    }

    #[test]
    fn blind_is_who_touches_and_does_not_report() {
        let mut watch = drilled();
        watch.saw("word", 21, 2);
        assert_eq!(watch.judge(11, PACE, 0), None, "there is time yet");
        watch.hear(12);
        let change = watch.judge(12, PACE, 0).expect("a change");
        assert_eq!((change.state, change.why.as_str()), (State::Blind, "ftp on port 22 was touched and not reported"));
        assert_eq!(watch.judge(13, PACE, 0), None, "told once");
        assert_eq!(watch.proven_since(0), Some(false));
    }

    #[test]
    fn late_is_who_says_that_events_wait_and_whose_events_come_after_all() {
        let mut watch = drilled();
        watch.hear(12);
        assert_eq!(state(watch.judge(12, PACE, 7)), Some(State::Late));
        let mut watch = drilled();
        watch.hear(12);
        assert_eq!(state(watch.judge(12, PACE, 0)), Some(State::Blind));
        watch.saw("word", 21, 20);
        watch.saw("word", 22, 21);
        assert_eq!(state(watch.judge(21, PACE, 0)), Some(State::Late));
        assert!(watch.is_due(21), "asked again at once");
    }

    #[test]
    fn silent_is_who_is_not_heard_of_and_it_proves_itself_when_it_is_back() {
        let mut watch = drilled();
        assert_eq!(state(watch.judge(51, PACE, 0)), Some(State::Silent));
        assert!(!watch.is_due(60), "nobody is there to ask");
        watch.hear(70);
        assert!(watch.is_due(70));
        watch.begin(70, "again".to_owned());
        assert_eq!(watch.order(71).as_deref(), Some("again"));
        watch.touched(Some(("again".to_owned(), vec![touch(21)])));
        assert_eq!(watch.judge(72, PACE, 0), None, "being there proves nothing");
        watch.saw("again", 21, 73);
        assert_eq!(state(watch.judge(73, PACE, 0)), Some(State::Alive));
    }

    #[test]
    fn who_touches_nothing_or_cannot_is_blind() {
        let mut watch = drilled();
        watch.touched(Some(("word".to_owned(), Vec::new())));
        watch.hear(12);
        assert_eq!(watch.judge(12, PACE, 0).map(|change| change.why).as_deref(), Some("no service listens"));
        let mut watch = drilled();
        watch.touched(Some(("word".to_owned(), vec![Touch { error: Some("refused".to_owned()), ..touch(21) }])));
        watch.hear(12);
        let why = watch.judge(12, PACE, 0).map(|change| change.why);
        assert_eq!(why.as_deref(), Some("ftp on port 21 cannot be touched: refused"));
    }

    #[test]
    fn a_word_that_got_lost_is_given_again_and_who_is_gone_is_not_blind() {
        let mut watch = Watch::default();
        watch.hear(0);
        watch.begin(0, "word".to_owned());
        assert!(watch.order(1).is_some());
        assert_eq!(watch.judge(20, PACE, 0), None, "it was not heard of since");
        for now in [21, 22] {
            watch.hear(now);
            watch.touched(None);
            assert!(watch.order(now).is_some(), "it did not get it");
        }
        watch.hear(23);
        watch.touched(None);
        assert_eq!(watch.order(23), None, "it got it often enough");
        let why = watch.judge(33, PACE, 0).map(|change| change.why);
        assert_eq!(why.as_deref(), Some("it did not touch its services"));
    }
}
