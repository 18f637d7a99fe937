//! Services that are wrong in one way each: every battery is seen to fail.

use std::sync::atomic::{AtomicU8, Ordering};

use aviary_config::{Key, Shape};
use aviary_event::{Class, Kind, KindInfo, LogData};
use aviary_service::{
    Build, Dialogue, Endpoint, Entry, Facts, Materials, Outbox, Protocol, Rejection, Security, Service, Slot,
};
use aviary_testkit::battery::{self, Finding, Subject};

static KINDS: [KindInfo; 2] = [
    KindInfo {
        number: 39_990,
        constant: "LOG_BROKEN",
        class: Class::Command,
        when: "something came",
        keys: &["DATA"],
        technique: &[],
    },
    KindInfo {
        number: 39_991,
        constant: "LOG_UNDECLARED",
        class: Class::Command,
        when: "something came",
        keys: &[],
        technique: &[],
    },
];
const SOMETHING: Kind = &KINDS[0];
const UNDECLARED: Kind = &KINDS[1];

const PORT: Key = Key { name: "broken.port", shape: Shape::Port, default: "9", doc: "The TCP port." };

/// What is wrong.
#[derive(Clone, Copy)]
enum Fault {
    Nothing,
    ListensNowhere,
    EventOfAnotherKind,
    EventWithAnotherKey,
    ReportsEachPiece,
    ForgetsInSilence,
    Floods,
    NamesItself,
    DrawsRandomness,
    SharesItsSecret,
    AnswersAlike,
    PanicsOnZero,
    TakesAStrangersWord,
}

/// Stands for a source of randomness that is not the facts.
static DRAWN: AtomicU8 = AtomicU8::new(0);

struct Broken {
    fault: Fault,
    secret: Slot,
}

impl Service for Broken {
    fn endpoints(&self) -> Vec<Endpoint> {
        let endpoint = Endpoint {
            port: 9,
            protocol: if matches!(self.fault, Fault::TakesAStrangersWord) { Protocol::Udp } else { Protocol::Tcp },
            label: "broken".to_owned(),
            security: Security::Plain,
            try_line: "",
        };
        if matches!(self.fault, Fault::ListensNowhere) { Vec::new() } else { vec![endpoint] }
    }

    fn datagram(&self, _endpoint: usize, _facts: &Facts, bytes: &[u8], out: &mut Outbox) {
        if bytes.first() == Some(&0) {
            out.proven();
        }
        out.reply(vec![b'x'; 4096]);
    }

    fn dialogue(&self, _endpoint: usize, facts: &Facts) -> Box<dyn Dialogue> {
        let nonce = if matches!(self.fault, Fault::AnswersAlike) { facts.entropy[0].min(0x18) } else { 0 };
        let _ = &self.secret;
        Box::new(Conversation { fault: self.fault, nonce })
    }
}

struct Conversation {
    fault: Fault,
    nonce: u8,
}

impl Dialogue for Conversation {
    fn open(&mut self, out: &mut Outbox) {
        match self.fault {
            Fault::NamesItself => out.reply("220 HoneyPot ready"),
            Fault::AnswersAlike => out.reply([self.nonce]),
            Fault::DrawsRandomness => out.reply([DRAWN.fetch_add(1, Ordering::Relaxed)]),
            _ => out.reply("220 trust us\r\n"),
        }
    }

    fn feed(&mut self, input: &[u8], out: &mut Outbox) -> usize {
        match self.fault {
            Fault::EventOfAnotherKind => out.report(UNDECLARED, LogData::new()),
            Fault::EventWithAnotherKey => out.report(SOMETHING, LogData::new().with("OTHER", 1)),
            Fault::ReportsEachPiece => out.report(SOMETHING, LogData::new().with("DATA", input)),
            Fault::Floods => out.reply(vec![b'x'; 1024 * 1024]),
            Fault::PanicsOnZero => assert_ne!(input[0], 0, "the fault"),
            Fault::ForgetsInSilence => return 0,
            _ => {}
        }
        input.len()
    }

    fn ended(&mut self, rest: &[u8], out: &mut Outbox) {
        if matches!(self.fault, Fault::ForgetsInSilence) {
            out.report(SOMETHING, LogData::new().with("DATA", rest));
        }
    }
}

fn build_with(fault: Fault, materials: &Materials<'_>) -> Result<Box<dyn Service>, Rejection> {
    let constant = matches!(fault, Fault::SharesItsSecret);
    let fresh = DRAWN.fetch_add(1, Ordering::Relaxed);
    let make = Box::new(move || vec![if constant { 0 } else { fresh }]);
    Ok(Box::new(Broken { fault, secret: materials.vault.slot("broken", make) }))
}

const fn entry(build: &'static Build) -> Entry {
    let (kinds, _) = KINDS.split_at(1);
    Entry { name: "broken", summary: "is wrong", opencanary: "", keys: &[PORT], kinds, build }
}

/// What a check says of a service with this fault.
macro_rules! finding {
    ($fault:ident, $check:path) => {{
        static ENTRY: Entry = entry(&|materials| build_with(Fault::$fault, materials));
        $check(&Subject::plain(&ENTRY))
    }};
}

fn assert_finds(finding: Finding, words: &str) {
    let said = finding.expect_err("the check passed");
    assert!(said.contains(words), "{said}");
}

#[test]
fn a_sound_service_passes() {
    for check in [
        battery::declaration_is_whole,
        battery::reports_what_it_declares,
        battery::chunk_size_changes_nothing,
        battery::ends_whatever_comes,
        battery::silence_loses_nothing,
        battery::answers_are_bounded,
        battery::names_nothing_of_ours,
        battery::same_facts_same_answers,
        battery::installations_share_nothing,
        battery::strangers_get_no_more_than_they_send,
    ] {
        assert_eq!(finding!(Nothing, check), Ok(()));
    }
}

#[test]
fn a_service_that_listens_nowhere_is_found() {
    assert_finds(finding!(ListensNowhere, battery::declaration_is_whole), "listens nowhere");
}

#[test]
fn wrong_declarations_are_found() {
    let sound = || entry(&|materials| build_with(Fault::Nothing, materials));
    let strange = Key { name: "other.port", ..PORT };
    let text = Key { default: "no JSON", ..PORT };
    let silent = Key { doc: "", ..PORT };
    for (keys, words) in [
        ([strange, PORT], "does not begin"),
        ([text, PORT], "is not JSON"),
        ([silent, PORT], "not documented"),
        ([PORT, PORT], "declared twice"),
    ] {
        let entry = Entry { keys: Box::leak(Box::new(keys)), ..sound() };
        assert_finds(battery::declaration_is_whole(&Subject::plain(&entry)), words);
    }
    let refusing = entry(&|_| Err(Rejection::new("broken.port", "no")));
    assert_finds(battery::declaration_is_whole(&Subject::plain(&refusing)), "do not build it");
    for (entry, words) in
        [(Entry { summary: "", ..sound() }, "no summary"), (Entry { kinds: &[], ..sound() }, "no kinds")]
    {
        assert_finds(battery::declaration_is_whole(&Subject::plain(&entry)), words);
    }
}

#[test]
fn undeclared_events_are_found() {
    assert_finds(finding!(EventOfAnotherKind, battery::reports_what_it_declares), "39991 is not declared");
    assert_finds(finding!(EventWithAnotherKey, battery::reports_what_it_declares), "`OTHER`");
}

#[test]
fn pieces_that_matter_are_found() {
    assert_finds(finding!(ReportsEachPiece, battery::chunk_size_changes_nothing), "in pieces of 1");
}

#[test]
fn what_silence_loses_is_found() {
    assert_finds(finding!(ForgetsInSilence, battery::silence_loses_nothing), "silence loses");
}

#[test]
fn a_flood_is_found() {
    assert_finds(finding!(Floods, battery::answers_are_bounded), "more than");
}

#[test]
fn a_strangers_word_is_found() {
    assert_finds(finding!(TakesAStrangersWord, battery::strangers_get_no_more_than_they_send), "passes for a proof");
}

#[test]
fn a_telling_word_is_found() {
    assert_finds(finding!(NamesItself, battery::names_nothing_of_ours), "`honeypot`");
}

#[test]
fn randomness_of_its_own_is_found() {
    assert_finds(finding!(DrawsRandomness, battery::same_facts_same_answers), "in two ways");
}

#[test]
fn shared_secrets_are_found() {
    assert_finds(finding!(SharesItsSecret, battery::installations_share_nothing), "`broken` is the same");
    assert_finds(finding!(AnswersAlike, battery::installations_share_nothing), "answer alike");
}

#[test]
#[should_panic]
fn a_panic_is_not_survived() {
    let _ = finding!(PanicsOnZero, battery::ends_whatever_comes);
}

#[test]
#[should_panic(expected = "39991 is not declared")]
fn the_fuzz_oracle_finds_what_the_batteries_find() {
    static ENTRY: Entry = entry(&|materials| build_with(Fault::EventOfAnotherKind, materials));
    let installation = Subject::plain(&ENTRY).install().unwrap();
    battery::fuzz_oracle(&ENTRY, &installation, b"x");
}
