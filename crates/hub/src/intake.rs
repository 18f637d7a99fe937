//! The way of lines into the store.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use aviary_event::Timestamp;
use aviary_insight::news;
use aviary_store::{Record, Store, StoreError};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::{Arrival, Channels, Feed, News, Refusal, SUPPRESSION, Source, Suppressions};

/// What became of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// It is stored.
    Accepted(Uuid),
    /// It was there already.
    Duplicate(Uuid),
    /// It is not taken.
    Refused(Refusal),
}

/// A running hub.
pub struct Hub {
    store: Arc<dyn Store>,
    feed: Feed,
    rules: RwLock<Arc<Suppressions>>,
    clock: fn() -> Timestamp,
    channels: Channels,
    alarm: Notify,
}

impl Hub {
    /// A hub over a store.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn new(store: Arc<dyn Store>, clock: fn() -> Timestamp) -> Result<Self, StoreError> {
        let hub = Self {
            store,
            feed: Feed::default(),
            rules: RwLock::default(),
            clock,
            channels: Channels::default(),
            alarm: Notify::new(),
        };
        hub.reload().await?;
        Ok(hub)
    }

    /// Reads what people decided anew.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn reload(&self) -> Result<(), StoreError> {
        let rules = Suppressions::read(&self.store.documents(SUPPRESSION).await?);
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
        Ok(())
    }

    /// The same hub with these ways of keeping channels.
    #[must_use]
    pub fn with_channels(self, channels: Channels) -> Self {
        Self { channels, ..self }
    }

    /// How channels are kept.
    #[must_use]
    pub const fn channels(&self) -> &Channels {
        &self.channels
    }

    /// Wakes the alerting: there is something to decide or to deliver.
    pub fn wake(&self) {
        self.alarm.notify_one();
    }

    /// Waits until somebody wakes the alerting.
    pub(crate) async fn woken(&self) {
        self.alarm.notified().await;
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// What happens, as it happens.
    #[must_use]
    pub const fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Now, by the hub's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Takes lines of one source, and gives a word on each. What is accepted is durable; a line that is refused does not
    /// hold the others.
    ///
    /// # Errors
    /// When the store cannot take them; then none was taken.
    pub async fn take<L: AsRef<[u8]>>(&self, source: &Source, lines: &[L]) -> Result<Vec<Word>, StoreError> {
        let now = self.now();
        let rules = Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner));
        let mut records: Vec<Record> = Vec::with_capacity(lines.len());
        let mut words: Vec<Word> = Vec::with_capacity(lines.len());
        for line in lines {
            match Arrival::read(line.as_ref(), source, now) {
                Ok(Arrival { mut record, event }) => {
                    let sighting = record.sighting.as_ref();
                    let rule = sighting.and_then(|sighting| rules.hiding(&event, sighting, now));
                    record.hidden = rule.map(|rule| rule.name.clone());
                    words.push(Word::Accepted(record.id));
                    records.push(record);
                }
                Err(refusal) => words.push(Word::Refused(refusal)),
            }
        }
        if records.is_empty() {
            return Ok(words);
        }
        let told: HashMap<Uuid, Arc<Record>> =
            records.iter().map(|record| (record.id, Arc::new(record.clone()))).collect();
        let taken = self.store.take(records).await?;
        let mut fresh = taken.fresh.into_iter();
        for word in &mut words {
            let Word::Accepted(id) = *word else { continue };
            if fresh.next() == Some(true) {
                if let Some(record) = told.get(&id) {
                    self.feed.tell(News::Event(Arc::clone(record)));
                }
            } else {
                *word = Word::Duplicate(id);
            }
        }
        if taken.changed.iter().any(|changed| !news(&changed.now.incident.facts, &changed.now.told).is_empty()) {
            self.wake();
        }
        for changed in taken.changed {
            self.feed.tell(News::Incident(Arc::new(changed)));
        }
        Ok(words)
    }
}
