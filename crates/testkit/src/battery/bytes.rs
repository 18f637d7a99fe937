//! What a service does with bytes: any bytes, in pieces of any size.

use aviary_event::{LogData, Value};
use aviary_service::Entry;

use super::declaration::undeclared;
use super::{Finding, Installation, Subject, converse, cut_off, segments};
use crate::{Line, Transcript};

/// Words that no reply may hold: they name what runs here, or what others of our kind say.
const TELLING: [&str; 13] = [
    "canary",
    "honeypot",
    "thinkst",
    "twisted",
    "conch",
    "python",
    "rust",
    "tokio",
    "hyper",
    "axum",
    "russh",
    "demosite",
    "synologynas",
];

/// Bytes that a service may send whatever it was sent, and for each byte that it was sent.
const ALLOWED: (usize, usize) = (512 * 1024, 64);

/// A stream has no pieces: byte by byte, halves and one piece give the same replies and events.
///
/// What a peer sends behind the byte that ends the conversation may be there or not: the last event
/// before a close may hold more or less of it or tell of nothing else, and it decides between FIN
/// and RST.
///
/// # Errors
/// With the first input whose pieces matter.
pub fn chunk_size_changes_nothing(subject: &Subject<'_>) -> Finding {
    let installation = subject.install()?;
    for input in &subject.inputs {
        let whole = in_pieces(&installation, &input.segments, usize::MAX);
        for size in [1, 2, 7, 64] {
            let cut = in_pieces(&installation, &input.segments, size);
            if let Some((a, b)) = whole.iter().zip(&cut).find(|(a, b)| !tell_the_same(a, b)) {
                let (a, b) = (answers(a), answers(b));
                return Err(format!(
                    "{}: {}: in pieces of {size} bytes\n{b}instead of\n{a}",
                    subject.entry.name, input.name
                ));
            }
        }
    }
    Ok(())
}

/// Only segments are cut: a peer may wait for a reply between two of them.
fn in_pieces(installation: &Installation, input: &[Vec<u8>], size: usize) -> Vec<Transcript> {
    let chunks: Vec<Vec<u8>> = input.iter().flat_map(|segment| segment.chunks(size)).map(<[u8]>::to_vec).collect();
    installation.streams(&chunks, |talk| talk.end())
}

/// The transcript without what the peer sent.
fn answers(transcript: &Transcript) -> String {
    let text = transcript.to_string();
    text.lines().filter(|line| !line.starts_with('>')).map(|line| format!("  {line}\n")).collect()
}

fn tell_the_same(a: &Transcript, b: &Transcript) -> bool {
    let notes = |transcript: &Transcript| -> Vec<String> {
        let lines = transcript.lines.iter().filter(|line| matches!(line, Line::Note(..) | Line::Tls | Line::NoTls));
        lines.map(|line| format!("{line:?}")).collect()
    };
    let (events_a, events_b) = (a.events(), b.events());
    let both = events_a.len().min(events_b.len());
    // What waits behind the last byte may even be an event of its own.
    let surplus = usize::from(a.closed());
    a.replies() == b.replies()
        && a.closed() == b.closed()
        && notes(a) == notes(b)
        && events_a.len().abs_diff(events_b.len()) <= surplus
        && events_a.iter().zip(&events_b).enumerate().all(|(n, (event_a, event_b))| {
            let is_last = n + 1 == both && a.closed();
            event_a.0 == event_b.0 && (event_a.1 == event_b.1 || is_last && nearly_the_same(event_a.1, event_b.1))
        })
}

/// The same keys, and values of which one begins the other.
fn nearly_the_same(a: &LogData, b: &LogData) -> bool {
    a.iter().count() == b.iter().count()
        && a.iter().zip(b.iter()).all(|((key_a, value_a), (key_b, value_b))| {
            key_a == key_b && (value_a == value_b || one_begins_the_other(value_a, value_b))
        })
}

fn one_begins_the_other(a: &Value, b: &Value) -> bool {
    let (Some(a), Some(b)) = (a.as_bytes(), b.as_bytes()) else { return false };
    a.starts_with(b) || b.starts_with(a)
}

/// Silence, garbage, an idle limit and too much waiting are all survived.
///
/// # Errors
/// When it cannot be built; a panic ends the test.
pub fn ends_whatever_comes(subject: &Subject<'_>) -> Finding {
    let installation = subject.install()?;
    for input in &subject.inputs {
        drop(installation.exchanges([0x42; 32], &input.segments));
        for overflow in [false, true] {
            installation.on_each_endpoint([0x42; 32], |_, dialogue| {
                cut_off(dialogue, &input.whole(), overflow);
                Ok(())
            })?;
        }
    }
    Ok(())
}

/// What an event tells of a peer that ends in the middle, one tells of a peer that falls silent there.
///
/// # Errors
/// With the first input of which silence loses something.
pub fn silence_loses_nothing(subject: &Subject<'_>) -> Finding {
    let installation = subject.install()?;
    for input in &subject.inputs {
        let Some((last, before)) = input.segments.split_last() else { continue };
        for cut in [last.len() / 2, last.len().saturating_sub(1)] {
            let sent = [before, &[last.get(..cut).unwrap_or_default().to_vec()]].concat();
            // In this order, since a service may refuse a peer that came too often.
            let silent = installation.streams(&sent, |talk| talk.expire());
            let ended = installation.streams(&sent, |talk| talk.end());
            let sent = sent.concat();
            for (ended, silent) in ended.iter().zip(&silent) {
                let heard = peer_bytes(silent);
                let lost = peer_bytes(ended).into_iter().find(|told| {
                    let of_peer = contains(&sent, told) || contains(told, &ended.unused);
                    of_peer && !heard.contains(told)
                });
                if let Some(lost) = lost {
                    let lost = lost.escape_ascii();
                    return Err(format!("{}: {}: silence loses `{lost}`", subject.entry.name, input.name));
                }
            }
        }
    }
    Ok(())
}

/// The bytes of the peer in all events.
fn peer_bytes(transcript: &Transcript) -> Vec<&[u8]> {
    let values = transcript.events().into_iter().flat_map(|(_, data)| data.iter());
    let bytes = values.map(|(_, value)| if let Value::Bytes(bytes) = value { bytes.as_bytes() } else { &[] });
    bytes.filter(|bytes| !bytes.is_empty()).collect()
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    !part.is_empty() && text.windows(part.len()).any(|window| window == part)
}

/// What it sends is bounded by what it was sent.
///
/// # Errors
/// With the input that draws too much.
pub fn answers_are_bounded(subject: &Subject<'_>) -> Finding {
    let installation = subject.install()?;
    for input in &subject.inputs {
        for transcript in installation.exchanges([0x42; 32], &input.segments) {
            bounded(&transcript).map_err(|what| format!("{}: {}: {what}", subject.entry.name, input.name))?;
        }
    }
    Ok(())
}

fn bounded(transcript: &Transcript) -> Finding {
    let sent: usize = transcript.lines.iter().map(|l| if let Line::Sent(bytes) = l { bytes.len() } else { 0 }).sum();
    let (got, most) = (transcript.replies().len(), ALLOWED.0 + ALLOWED.1 * sent);
    if got > most { Err(format!("{got} bytes for {sent}, more than {most}")) } else { Ok(()) }
}

/// No reply holds a word that gives the game away, unless the peer said it first.
///
/// # Errors
/// With the word and what drew it.
pub fn names_nothing_of_ours(subject: &Subject<'_>) -> Finding {
    let installation = subject.install()?;
    for input in &subject.inputs {
        let said = input.whole().to_ascii_lowercase();
        for transcript in installation.exchanges([0x42; 32], &input.segments) {
            let replies = transcript.replies().to_ascii_lowercase();
            if let Some(word) = TELLING.iter().find(|word| holds(&replies, word) && !holds(&said, word)) {
                return Err(format!("{}: {}: a reply says `{word}`", subject.entry.name, input.name));
            }
        }
    }
    Ok(())
}

/// Whether a word stands in text with no letter before it: `trust` does not say `rust`.
fn holds(text: &[u8], word: &str) -> bool {
    text.windows(word.len()).enumerate().any(|(at, window)| {
        let starts = at == 0 || !text[at - 1].is_ascii_alphabetic();
        window == word.as_bytes() && starts
    })
}

/// What a fuzz target and the replay of its findings hold every input to: no panic, replies
/// bounded, and only declared kinds and keys.
///
/// # Panics
/// When the service breaks one of them.
pub fn fuzz_oracle(entry: &Entry, installation: &Installation, data: &[u8]) {
    let segments = segments(data);
    let checked = installation.on_each_endpoint([0x42; 32], |label, dialogue| {
        let transcript = converse(dialogue, segments.iter().map(Vec::as_slice));
        let found = bounded(&transcript).and_then(|()| undeclared(entry, &transcript));
        found.map_err(|what| format!("{label}: {what}"))
    });
    assert!(checked.is_ok(), "{checked:?}");
    for transcript in installation.overheard([0x42; 32], &segments) {
        let checked = undeclared(entry, &transcript);
        assert!(checked.is_ok(), "{checked:?}");
    }
}
