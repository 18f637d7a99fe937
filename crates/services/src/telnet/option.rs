//! Which options are on: the Q method of RFC 1143, which neither loops nor loses a change of mind.

/// WILL, WONT, DO or DONT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// 251: the sender does it, or offers to.
    Will,
    /// 252: the sender does not.
    Wont,
    /// 253: the receiver may, or shall.
    Do,
    /// 254: the receiver must not.
    Dont,
}

impl Verb {
    /// The verb of a code.
    pub(super) const fn of_code(code: u8) -> Option<Self> {
        match code {
            251 => Some(Self::Will),
            252 => Some(Self::Wont),
            253 => Some(Self::Do),
            254 => Some(Self::Dont),
            _ => None,
        }
    }

    /// Its code.
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Will => 251,
            Self::Wont => 252,
            Self::Do => 253,
            Self::Dont => 254,
        }
    }
}

/// Who performs an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// We do.
    Ours,
    /// The peer does.
    Theirs,
}

impl Side {
    /// What we say to switch an option of this side on or off.
    const fn say(self, on: bool) -> Verb {
        match (self, on) {
            (Self::Ours, true) => Verb::Will,
            (Self::Ours, false) => Verb::Wont,
            (Self::Theirs, true) => Verb::Do,
            (Self::Theirs, false) => Verb::Dont,
        }
    }
}

/// RFC 1143, section 7. The opposite is asked for as soon as the answer is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    No,
    Yes,
    WantNo { opposite: bool },
    WantYes { opposite: bool },
}

/// Options of one connection. Only those that were asked for or agreed to take room.
#[derive(Debug)]
pub(super) struct Options {
    known: Vec<(Side, u8, State)>,
    ours: &'static [u8],
    theirs: &'static [u8],
}

impl Options {
    /// All off; `ours` and `theirs` are agreed to when the peer asks.
    pub(super) const fn new(ours: &'static [u8], theirs: &'static [u8]) -> Self {
        Self { known: Vec::new(), ours, theirs }
    }

    fn state(&self, side: Side, option: u8) -> State {
        self.known.iter().find(|(s, o, _)| (*s, *o) == (side, option)).map_or(State::No, |(_, _, state)| *state)
    }

    fn set(&mut self, side: Side, option: u8, state: State) {
        match self.known.iter_mut().find(|(s, o, _)| (*s, *o) == (side, option)) {
            Some(entry) => entry.2 = state,
            None if state == State::No => {}
            None => self.known.push((side, option, state)),
        }
    }

    /// Whether an option is on, or was asked for and not refused so far.
    pub(super) fn is_on(&self, side: Side, option: u8) -> bool {
        matches!(self.state(side, option), State::Yes | State::WantYes { opposite: false })
    }

    /// Asks for an option to be on or off; gives what to send, if anything.
    pub(super) fn ask(&mut self, side: Side, option: u8, on: bool) -> Option<Verb> {
        let (next, send) = match (self.state(side, option), on) {
            (State::No, true) => (State::WantYes { opposite: false }, true),
            (State::Yes, false) => (State::WantNo { opposite: false }, true),
            (State::WantNo { .. }, _) => (State::WantNo { opposite: on }, false),
            (State::WantYes { .. }, _) => (State::WantYes { opposite: !on }, false),
            (same, _) => (same, false),
        };
        self.set(side, option, next);
        send.then(|| side.say(on))
    }

    /// Takes in what the peer said; gives what to send, if anything.
    pub(super) fn received(&mut self, verb: Verb, option: u8) -> Option<Verb> {
        let (side, on) = match verb {
            Verb::Will => (Side::Theirs, true),
            Verb::Wont => (Side::Theirs, false),
            Verb::Do => (Side::Ours, true),
            Verb::Dont => (Side::Ours, false),
        };
        let agreeable = if side == Side::Ours { self.ours } else { self.theirs };
        let (next, send) = match (self.state(side, option), on) {
            (State::No, true) if agreeable.contains(&option) => (State::Yes, Some(true)),
            (State::No, true) => (State::No, Some(false)),
            (State::Yes, false) => (State::No, Some(false)),
            // Answered a refusal with its opposite: taken as refused, as the RFC says.
            (State::WantNo { opposite }, true) => (if opposite { State::Yes } else { State::No }, None),
            (State::WantNo { opposite: false }, false) => (State::No, None),
            (State::WantNo { opposite: true }, false) => (State::WantYes { opposite: false }, Some(true)),
            (State::WantYes { opposite: false }, true) => (State::Yes, None),
            (State::WantYes { opposite: true }, true) => (State::WantNo { opposite: false }, Some(false)),
            (State::WantYes { .. }, false) => (State::No, None),
            (same, _) => (same, None),
        };
        self.set(side, option, next);
        send.map(|on| side.say(on))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn options() -> Options {
        Options::new(&[1, 3], &[24])
    }

    #[test]
    fn agrees_to_what_it_has_and_refuses_the_rest() {
        let mut o = options();
        assert_eq!(o.received(Verb::Do, 1), Some(Verb::Will));
        assert_eq!(o.received(Verb::Do, 1), None);
        assert_eq!(o.received(Verb::Do, 99), Some(Verb::Wont));
        assert_eq!(o.received(Verb::Will, 24), Some(Verb::Do));
        assert_eq!(o.received(Verb::Will, 99), Some(Verb::Dont));
        assert_eq!(o.received(Verb::Wont, 99), None);
        assert_eq!(o.received(Verb::Dont, 99), None);
    }

    #[test]
    fn takes_the_answer_to_its_own_offer_in_silence() {
        let mut o = options();
        assert_eq!(o.ask(Side::Ours, 1, true), Some(Verb::Will));
        assert!(o.is_on(Side::Ours, 1));
        assert_eq!(o.received(Verb::Do, 1), None);
        assert_eq!(o.ask(Side::Ours, 1, true), None);
        assert_eq!(o.received(Verb::Dont, 1), Some(Verb::Wont));
        assert!(!o.is_on(Side::Ours, 1));
        assert_eq!(o.ask(Side::Theirs, 24, true), Some(Verb::Do));
        assert_eq!(o.received(Verb::Wont, 24), None);
        assert!(!o.is_on(Side::Theirs, 24));
    }

    #[test]
    fn keeps_a_change_of_mind_until_the_answer() {
        let mut o = options();
        assert_eq!(o.ask(Side::Theirs, 24, true), Some(Verb::Do));
        assert_eq!(o.ask(Side::Theirs, 24, false), None);
        assert_eq!(o.received(Verb::Will, 24), Some(Verb::Dont));
        assert_eq!(o.ask(Side::Theirs, 24, true), None);
        assert_eq!(o.received(Verb::Wont, 24), Some(Verb::Do));
        assert_eq!(o.received(Verb::Will, 24), None);
        assert!(o.is_on(Side::Theirs, 24));
        assert_eq!(o.ask(Side::Theirs, 24, false), Some(Verb::Dont));
        assert_eq!(o.received(Verb::Will, 24), None);
        assert!(!o.is_on(Side::Theirs, 24));
    }

    proptest! {
        #[test]
        fn two_of_them_fall_silent(asks in prop::collection::vec((any::<bool>(), 0..4_u8, any::<bool>()), 0..20)) {
            let (mut a, mut b) = (Options::new(&[0, 1], &[1, 2]), Options::new(&[1], &[0, 1]));
            let (mut to_a, mut to_b) = (Vec::new(), Vec::new());
            for (ours, option, on) in asks {
                let side = if ours { Side::Ours } else { Side::Theirs };
                to_b.extend(a.ask(side, option, on).map(|verb| (verb, option)));
            }
            for _ in 0..100 {
                for (verb, option) in std::mem::take(&mut to_b) {
                    to_a.extend(b.received(verb, option).map(|verb| (verb, option)));
                }
                for (verb, option) in std::mem::take(&mut to_a) {
                    to_b.extend(a.received(verb, option).map(|verb| (verb, option)));
                }
            }
            prop_assert!(to_a.is_empty() && to_b.is_empty());
        }
    }
}
