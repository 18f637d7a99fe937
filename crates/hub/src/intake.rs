//! The way of lines into the store.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use aviary_event::{Event, Port, Timestamp};
use aviary_store::{Record, Store, StoreError};
use uuid::Uuid;

use crate::sensors::Sensors;
use crate::{Arrival, Feed, News, Refusal, Source, Suppressions, rules};

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
    sensors: Sensors,
    rules: RwLock<Arc<Suppressions>>,
    clock: fn() -> Timestamp,
}

impl Hub {
    /// A hub over a store.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn new(store: Arc<dyn Store>, clock: fn() -> Timestamp) -> Result<Self, StoreError> {
        let sensors = Sensors::read(Arc::clone(&store), clock).await?;
        let hub = Self { store, sensors, feed: Feed::default(), rules: RwLock::default(), clock };
        hub.reload().await?;
        Ok(hub)
    }

    /// Reads what people decided anew.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn reload(&self) -> Result<(), StoreError> {
        let rules = Suppressions::read(&self.store.documents(rules::KIND).await?);
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
        Ok(())
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

    /// The hub's own sensors.
    #[must_use]
    pub const fn sensors(&self) -> &Sensors {
        &self.sensors
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
        let mut drills: Vec<(String, u16)> = Vec::new();
        let mut words: Vec<Word> = Vec::with_capacity(lines.len());
        for line in lines {
            match Arrival::read(line.as_ref(), source, now) {
                Ok(Arrival { mut record, event }) => {
                    let sighting = record.sighting.as_ref();
                    let rule = sighting.and_then(|sighting| rules.hiding(&event, sighting, now));
                    record.hidden = rule.map(|rule| rule.name.clone());
                    if let Some((word, port)) =
                        drill_of(&event).filter(|(word, _)| self.sensors.is_drill(&source.sensor, word))
                    {
                        record.hidden = Some(DRILL.to_owned());
                        drills.push((word.to_owned(), port));
                    }
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
        for (word, port) in &drills {
            self.sensors.saw(&source.sensor, word, *port);
        }
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
        for changed in taken.changed {
            self.feed.tell(News::Incident(Arc::new(changed)));
        }
        Ok(words)
    }
}

/// The rule under which events of drills are hidden from people, and the member of `aviary` that says of which drill.
const DRILL: &str = "drill";

/// The word of the drill that an event is of, and the port that the touch came from.
fn drill_of(event: &Event) -> Option<(&str, u16)> {
    let word = event.aviary.as_ref()?.more.get(DRILL)?.as_str()?;
    match event.src.as_ref()?.port {
        Port::Number(port) => Some((word, u16::try_from(port).ok()?)),
        Port::Text(_) => None,
    }
}
