//! The way of lines into the store.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use aviary_event::{Event, Port, Timestamp};
use aviary_insight::news;
use aviary_store::{Record, Store, StoreError};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::sensors::Sensors;
use crate::{
    Arrival, Channels, Feed, News, People, Refusal, Room, SUPPRESSION, Senders, Source, Suppressions, Tally, senders,
};

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
    people: People,
    senders: RwLock<Arc<Senders>>,
    tally: Tally,
    room: Room,
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
        let sensors = Sensors::read(Arc::clone(&store), clock).await?;
        let people = People::new(Arc::clone(&store), clock);
        let hub = Self {
            store,
            people,
            sensors,
            feed: Feed::default(),
            rules: RwLock::default(),
            senders: RwLock::default(),
            tally: Tally::default(),
            room: Room::default(),
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
        let senders = Senders::read(self.store.documents(senders::KIND).await?);
        *self.senders.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(senders);
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

    /// The people who may sign in.
    #[must_use]
    pub const fn people(&self) -> &People {
        &self.people
    }

    /// Who may send without a token.
    #[must_use]
    pub fn senders(&self) -> Arc<Senders> {
        Arc::clone(&self.senders.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What came in since the start.
    #[must_use]
    pub const fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Room for what is read and not stored yet.
    #[must_use]
    pub const fn room(&self) -> &Room {
        &self.room
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
        let mut newest = None;
        for line in lines {
            match Arrival::read(line.as_ref(), source, now) {
                Ok(Arrival { mut record, event }) => {
                    newest = newest.max(Some(record.at).filter(|at| *at != now));
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
            self.tally.took(&source.sensor, &words, None, now);
            return Ok(words);
        }
        // Copies only where somebody listens.
        let listened = if self.feed.is_heard() { records.as_slice() } else { &[] };
        let told: HashMap<Uuid, Arc<Record>> =
            listened.iter().map(|record| (record.id, Arc::new(record.clone()))).collect();
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
        if taken.changed.iter().any(|changed| !news(&changed.now.incident.facts, &changed.now.told).is_empty()) {
            self.wake();
        }
        for changed in taken.changed {
            self.feed.tell(News::Incident(Arc::new(changed)));
        }
        self.tally.took(&source.sensor, &words, newest, now);
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
