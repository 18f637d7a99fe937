//! Which events of a batch a broker has acknowledged, when acknowledgements come one by one and later than the events.

use std::collections::HashMap;
use std::sync::Arc;

use aviary_event::Event;
use aviary_output::{DeliveryError, Failure};

use crate::worker::temporary;

/// Events that the broker has, while one before them is still to be delivered: they are not sent again
/// with it. Events are the same when they are the same in memory.
#[derive(Default)]
pub(crate) struct Taken(HashMap<usize, Arc<Event>>);

impl Taken {
    fn place(event: &Arc<Event>) -> usize {
        Arc::as_ptr(event).addr()
    }
}

/// The acknowledgements of one try.
pub(crate) struct Receipts {
    fates: Vec<Option<Result<(), DeliveryError>>>,
    /// The next event to be sent.
    next: usize,
    /// Events that were sent and whose fate is not known.
    waiting: usize,
    /// Whether something failed; nothing further is sent then.
    failed: bool,
}

impl Receipts {
    pub(crate) fn of(batch: &[Arc<Event>], taken: &Taken) -> Self {
        let fate = |event: &Arc<Event>| taken.0.contains_key(&Taken::place(event)).then_some(Ok(()));
        Self { fates: batch.iter().map(fate).collect(), next: 0, waiting: 0, failed: false }
    }

    /// The place of the next event to send; it counts as sent.
    pub(crate) fn send(&mut self) -> Option<usize> {
        while !self.failed {
            let place = self.next;
            let fate = self.fates.get(place)?;
            self.next += 1;
            if fate.is_none() {
                self.waiting += 1;
                return Some(place);
            }
        }
        None
    }

    /// What became of an event that was sent. Only the first word counts.
    pub(crate) fn settle(&mut self, place: usize, fate: Result<(), DeliveryError>) {
        let sent = place < self.next;
        let Some(open) = self.fates.get_mut(place).filter(|known| sent && known.is_none()) else { return };
        self.failed |= matches!(fate, Err(DeliveryError::Temporary { .. }));
        *open = Some(fate);
        self.waiting -= 1;
    }

    /// All that were sent and of which nothing else is known have arrived.
    pub(crate) fn settle_rest(&mut self) {
        for place in 0..self.next {
            self.settle(place, Ok(()));
        }
    }

    pub(crate) const fn waiting(&self) -> usize {
        self.waiting
    }

    /// Whether nothing is left to send.
    pub(crate) fn all_sent(&self) -> bool {
        self.failed || !self.fates.iter().skip(self.next).any(Option::is_none)
    }

    /// What the delivery came to; `reason` is why events without an answer have none.
    pub(crate) fn close(self, batch: &[Arc<Event>], taken: &mut Taken, reason: String) -> Result<(), Failure> {
        let delivered = self.fates.iter().take_while(|fate| matches!(fate, Some(Ok(())))).count();
        let mut error = None;
        for (place, (event, fate)) in batch.iter().zip(self.fates).enumerate() {
            match fate {
                _ if place < delivered => {
                    taken.0.remove(&Taken::place(event));
                }
                Some(Ok(())) => {
                    taken.0.insert(Taken::place(event), Arc::clone(event));
                }
                fate if place == delivered => error = Some(fate.and_then(Result::err)),
                _ => {}
            }
        }
        match error {
            None => Ok(()),
            Some(known) => Err(Failure { delivered, error: known.unwrap_or_else(|| temporary(reason)) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(count: usize) -> Vec<Arc<Event>> {
        (0..count).map(|n| Arc::new(Event::parse(&format!(r#"{{"logtype": {n}}}"#)).expect("an event"))).collect()
    }

    fn sent(receipts: &mut Receipts) -> Vec<usize> {
        std::iter::from_fn(|| receipts.send()).collect()
    }

    fn closed(receipts: Receipts, batch: &[Arc<Event>], taken: &mut Taken) -> Option<(usize, String)> {
        let failure = receipts.close(batch, taken, "gone".to_owned()).err()?;
        Some((failure.delivered, failure.error.to_string()))
    }

    #[test]
    fn what_has_arrived_behind_a_failure_is_not_sent_again() {
        let (batch, mut taken) = (events(5), Taken::default());
        let mut receipts = Receipts::of(&batch, &taken);
        assert_eq!(sent(&mut receipts), [0, 1, 2, 3, 4]);
        for place in [3, 0, 4] {
            receipts.settle(place, Ok(()));
        }
        receipts.settle(3, Err(temporary("too late".to_owned())));
        assert_eq!(receipts.waiting(), 2);
        assert_eq!(closed(receipts, &batch, &mut taken), Some((1, "gone".to_owned())));
        let rest = &batch[1..];
        let mut receipts = Receipts::of(rest, &taken);
        assert_eq!(sent(&mut receipts), [0, 1]);
        receipts.settle_rest();
        assert!(receipts.all_sent() && receipts.waiting() == 0);
        assert_eq!(closed(receipts, rest, &mut taken), None);
        assert!(taken.0.is_empty());
    }

    #[test]
    fn a_failure_stops_the_sending_and_a_refusal_does_not() {
        let (batch, mut taken) = (events(4), Taken::default());
        let mut receipts = Receipts::of(&batch, &taken);
        assert_eq!(receipts.send(), Some(0));
        receipts.settle(0, Err(DeliveryError::Refused { reason: "too large".to_owned() }));
        assert_eq!(receipts.send(), Some(1));
        // One that was not sent has no fate.
        receipts.settle(2, Ok(()));
        assert!(!receipts.all_sent());
        receipts.settle(1, Err(temporary("full".to_owned())));
        assert_eq!((receipts.send(), receipts.all_sent()), (None, true));
        assert_eq!(closed(receipts, &batch, &mut taken), Some((0, "refused: too large".to_owned())));
        let receipts = Receipts::of(&batch[1..], &taken);
        assert_eq!(closed(receipts, &batch[1..], &mut taken), Some((0, "gone".to_owned())));
    }
}
