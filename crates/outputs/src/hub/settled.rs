//! What a hub said of the events of a batch, until the loop has heard of each.
//!
//! The loop takes one refusal at a time and comes back with what is left of the batch. What is known of that
//! is not asked again.

use std::collections::VecDeque;
use std::sync::Arc;

use aviary_event::Event;
use serde_json::Value;

use crate::subject::bounded;

/// Bytes of a reason that are kept.
const REASON: usize = 250;

/// What a hub says of one event: nothing against it, or why it never takes it.
pub(super) type Verdict = Option<String>;

/// Answered events that the loop still holds, in its order.
#[derive(Default)]
pub(super) struct Settled(VecDeque<(Arc<Event>, Verdict)>);

impl Settled {
    /// Keeps the verdicts on the first of these events.
    pub(super) fn remember(&mut self, events: &[Arc<Event>], verdicts: Vec<Verdict>) {
        self.0 = events.iter().cloned().zip(verdicts).collect();
    }

    /// How many events at the head of the batch are taken, and why the one after is not, if that is known. All that
    /// is forgotten here.
    pub(super) fn take(&mut self, batch: &[Arc<Event>]) -> (usize, Option<String>) {
        let mut taken = 0;
        for event in batch {
            match self.0.front() {
                Some((known, _)) if Arc::ptr_eq(known, event) => {}
                _ => {
                    // Not the events that were sent before: nothing is known of these.
                    self.0.clear();
                    break;
                }
            }
            match self.0.pop_front() {
                Some((_, Some(reason))) => return (taken, Some(reason)),
                _ => taken += 1,
            }
        }
        (taken, None)
    }
}

/// An answer's numbers and rejections as a verdict for each of `count` events.
///
/// # Errors
/// Says what does not fit: then nothing in the answer can be believed.
pub(super) fn verdicts(
    count: usize,
    settled: u64,
    rejected: impl ExactSizeIterator<Item = (u64, String)>,
) -> Result<Vec<Verdict>, String> {
    let rejections = rejected.len();
    let sum = settled.checked_add(u64::try_from(rejections).unwrap_or(u64::MAX));
    if sum != u64::try_from(count).ok() {
        return Err(format!("it speaks of {settled} taken and {rejections} rejected events, and {count} were sent"));
    }
    let mut verdicts: Vec<Verdict> = vec![None; count];
    for (index, reason) in rejected {
        let verdict = usize::try_from(index).ok().and_then(|index| verdicts.get_mut(index));
        match verdict {
            Some(verdict @ None) => {
                let reason = if reason.trim().is_empty() { "rejected without a reason" } else { reason.trim() };
                *verdict = Some(bounded(reason, REASON).to_owned());
            }
            Some(Some(_)) => return Err(format!("it rejects event {index} twice")),
            None => return Err(format!("it rejects event {index}, and {count} were sent")),
        }
    }
    Ok(verdicts)
}

/// The same of the JSON object of `POST /api/v1/events`.
pub(super) fn verdicts_of_json(count: usize, body: &[u8]) -> Result<Vec<Verdict>, String> {
    let said: Value = serde_json::from_slice(body).map_err(|error| format!("no JSON: {error}"))?;
    let number = |key: &str| {
        let number = said.get(key).and_then(Value::as_u64);
        number.ok_or_else(|| format!("`{key}` is no number"))
    };
    let settled = number("accepted")?.saturating_add(number("duplicate")?);
    let rejected = said.get("rejected").and_then(Value::as_array).ok_or("`rejected` is no list")?;
    let rejected: Option<Vec<_>> = rejected
        .iter()
        .map(|one| {
            let reason = one.get("reason").and_then(Value::as_str).unwrap_or_default();
            Some((one.get("index")?.as_u64()?, reason.to_owned()))
        })
        .collect();
    verdicts(count, settled, rejected.ok_or("a rejection has no `index`")?.into_iter())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(body: &str) -> Result<Vec<Verdict>, String> {
        verdicts_of_json(3, body.as_bytes())
    }

    #[test]
    fn an_answer_gives_a_verdict_for_each_event() {
        assert_eq!(said(r#"{"accepted": 1, "duplicate": 2, "rejected": [], "more": {}}"#), Ok(vec![None; 3]));
        let mixed =
            r#"{"accepted": 1, "duplicate": 0, "rejected": [{"index": 2, "id": "x", "reason": " no "}, {"index": 0}]}"#;
        let expected = vec![Some("rejected without a reason".to_owned()), None, Some("no".to_owned())];
        assert_eq!(said(mixed), Ok(expected));
        let long = format!(
            r#"{{"accepted": 2, "duplicate": 0, "rejected": [{{"index": 1, "reason": "{}"}}]}}"#,
            "é".repeat(999)
        );
        assert_eq!(said(&long).unwrap()[1], Some("é".repeat(125)));
    }

    #[test]
    fn an_answer_that_does_not_add_up_is_none() {
        for (body, complaint) in [
            ("", "no JSON"),
            ("<html>", "no JSON"),
            ("[]", "`accepted` is no number"),
            ("{}", "`accepted` is no number"),
            (r#"{"accepted": -1, "duplicate": 4, "rejected": []}"#, "`accepted` is no number"),
            (r#"{"accepted": 3, "rejected": []}"#, "`duplicate` is no number"),
            (r#"{"accepted": 3, "duplicate": 0}"#, "`rejected` is no list"),
            (r#"{"accepted": 2, "duplicate": 0, "rejected": []}"#, "it speaks of 2 taken and 0 rejected"),
            (
                r#"{"accepted": 18446744073709551615, "duplicate": 4, "rejected": []}"#,
                "it speaks of 18446744073709551615",
            ),
            (r#"{"accepted": 2, "duplicate": 0, "rejected": [{}]}"#, "a rejection has no `index`"),
            (r#"{"accepted": 2, "duplicate": 0, "rejected": [{"index": 3}]}"#, "it rejects event 3, and 3 were sent"),
            (
                r#"{"accepted": 1, "duplicate": 0, "rejected": [{"index": 1}, {"index": 1}]}"#,
                "it rejects event 1 twice",
            ),
        ] {
            let error = said(body).expect_err(body);
            assert!(error.starts_with(complaint), "{body}: {error}");
        }
    }

    #[test]
    fn what_is_known_is_told_once_and_only_of_the_same_events() {
        let events: Vec<_> = (0..4).map(|_| Arc::new(Event::parse("{}").expect("an event"))).collect();
        let mut settled = Settled::default();
        let no = |reason: &str| Some(reason.to_owned());
        settled.remember(&events, vec![None, no("a"), no("b"), None]);
        assert_eq!(settled.take(&events), (1, no("a")));
        assert_eq!(settled.take(&events[2..]), (0, no("b")));
        assert_eq!(settled.take(&events[3..]), (1, None));
        assert_eq!(settled.take(&events), (0, None));
        settled.remember(&events, vec![None, no("a"), None, None]);
        assert_eq!(settled.take(&events[1..]), (0, None), "others, though equal");
        assert_eq!(settled.take(&events), (0, None), "forgotten");
    }
}
