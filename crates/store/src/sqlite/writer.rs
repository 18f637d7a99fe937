//! The one thread that writes.

use std::collections::HashMap;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use aviary_event::Timestamp;
use aviary_insight::{Actor, Fact, Sighting, merge};
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::backlog::Held;
use super::rollup::Rollup;
use super::{deliveries, documents, events, expire, failed, incidents};
use crate::{
    Changed, Cursor, Decided, Decision, Document, Expired, IncidentRow, Note, PutError, Record, Settled, StoreError,
    Taken,
};

/// Jobs that share a transaction, at most.
const TOGETHER: usize = 1024;
/// Records that share a transaction; one job may bring more.
const RECORDS: usize = 8192;
/// Actors whose incidents stay in memory.
const ACTORS: usize = 4096;
/// Events that are looked at in one step, to remove them.
const REMOVED: usize = 5000;

/// Who waits for an answer.
type Asker<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the writer is asked for.
pub(super) enum Job {
    Take(Vec<Record>, Held, Asker<Taken>),
    Decide(i64, Decision, Asker<IncidentRow>),
    Told(i64, Vec<Fact>, Asker<()>),
    Put(Document, String, Timestamp, Asker<Result<Document, PutError>>),
    Remove(Document, String, Timestamp, Asker<Result<(), PutError>>),
    Keep(Document, Asker<Result<Document, PutError>>),
    Forget(Document, Asker<Result<(), PutError>>),
    Expire(Timestamp, Option<Cursor>, Asker<Expired>),
    Alert(Vec<Decided>, Timestamp, Asker<()>),
    Settle(Vec<Settled>, Asker<()>),
}

/// An answer that is given when the transaction is durable, or not.
type Later = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

pub(super) struct Writer {
    connection: Connection,
    window: Duration,
    /// Incidents by actor, so that a flood reads and parses its incident once.
    known: HashMap<Actor, Known>,
    /// What the transaction adds to the sums.
    sums: Rollup,
    /// What the transaction adds to the index of words.
    indexed: Vec<events::Indexed>,
}

/// An actor's incidents.
struct Known {
    /// All with an event from this moment on are here.
    since: i64,
    rows: Vec<IncidentRow>,
}

impl Writer {
    pub(super) fn new(connection: Connection, window: Duration) -> Self {
        Self { connection, window, known: HashMap::new(), sums: Rollup::default(), indexed: Vec::new() }
    }

    /// Works until there is nobody left to ask.
    pub(super) fn run(mut self, jobs: &Receiver<Job>) {
        while let Ok(first) = jobs.recv() {
            let mut count = first.records();
            let mut together = vec![first];
            while together.len() < TOGETHER
                && count < RECORDS
                && let Ok(job) = jobs.try_recv()
            {
                count = count.saturating_add(job.records());
                together.push(job);
            }
            self.transact(together);
        }
        if let Err(error) = self.connection.execute_batch("PRAGMA optimize; PRAGMA wal_checkpoint(TRUNCATE)") {
            tracing::debug!(%error, "store not checkpointed at its end");
        }
    }

    /// Does jobs in one transaction. When it fails, none of them was done, and what is in memory is forgotten.
    fn transact(&mut self, jobs: Vec<Job>) {
        // Not later: what changed in memory and is not written yet must not be forgotten.
        if self.known.len() >= ACTORS {
            self.known.clear();
        }
        let mut answers: Vec<Later> = Vec::new();
        let mut jobs = jobs.into_iter();
        let done = self.connection.execute_batch("BEGIN IMMEDIATE").map_err(|error| failed(&error)).and_then(|()| {
            for job in jobs.by_ref() {
                self.connection.execute_batch("SAVEPOINT job").map_err(|error| failed(&error))?;
                match self.work(job) {
                    Ok(answer) => answers.push(answer),
                    // On a full disk SQLite undoes everything by itself, and nobody else would fare better.
                    Err(error) if self.connection.is_autocommit() => return Err(failed(&error)),
                    // It has its answer, and the others go on without it.
                    Err(error) => {
                        tracing::error!(%error, "store did not do a job");
                        self.connection.execute_batch("ROLLBACK TO job").map_err(|error| failed(&error))?;
                        self.known.clear();
                    }
                }
                self.connection.execute_batch("RELEASE job").map_err(|error| failed(&error))?;
            }
            // Once for all, not once a job: the index writes a piece to the file at each savepoint.
            let (indexed, sums) = (std::mem::take(&mut self.indexed), std::mem::take(&mut self.sums));
            events::index(&self.connection, indexed).map_err(|error| failed(&error))?;
            sums.write(&self.connection).map_err(|error| failed(&error))?;
            self.connection.execute_batch("COMMIT").map_err(|error| failed(&error))
        });
        if let Err(error) = &done {
            let _ = self.connection.execute_batch("ROLLBACK");
            self.known.clear();
            self.sums = Rollup::default();
            self.indexed.clear();
            jobs.for_each(|job| job.refuse(error.clone()));
        }
        for answer in answers {
            answer(done.clone());
        }
    }

    fn work(&mut self, job: Job) -> rusqlite::Result<Later> {
        match job {
            Job::Take(records, _held, asker) => later(self.take(&records), asker),
            Job::Decide(number, decision, asker) => match self.decide(number, decision)? {
                Some(row) => later(Ok(row), asker),
                None => missing(asker),
            },
            Job::Told(number, facts, asker) => match self.told(number, facts)? {
                Some(()) => later(Ok(()), asker),
                None => missing(asker),
            },
            Job::Put(document, by, at, asker) => later(documents::put(&self.connection, document, &by, at), asker),
            Job::Remove(document, by, at, asker) => {
                later(documents::remove(&self.connection, &document, &by, at), asker)
            }
            Job::Keep(document, asker) => later(documents::write(&self.connection, document), asker),
            Job::Forget(document, asker) => later(documents::erase(&self.connection, &document), asker),
            Job::Expire(before, from, asker) => later(self.expire(before, from), asker),
            Job::Alert(decided, at, asker) => later(self.alert(decided, at), asker),
            Job::Settle(settled, asker) => later(deliveries::settle(&self.connection, &settled), asker),
        }
    }

    fn take(&mut self, records: &[Record]) -> rusqlite::Result<Taken> {
        let mut taken = Taken::default();
        let mut sums = Rollup::default();
        let mut indexed = Vec::new();
        // Changed incidents by actor and place in memory; those are stable within one transaction.
        let mut changed: HashMap<(Actor, i64), (bool, Vec<i64>)> = HashMap::new();
        for record in records {
            let found = events::insert(&self.connection, record)?;
            let fresh = found.is_some();
            taken.fresh.push(fresh);
            if fresh {
                sums.add(record);
                indexed.extend(found);
            }
            let shown = record.sighting.as_ref().filter(|_| fresh && record.hidden.is_none());
            if let Some(sighting) = shown {
                let (number, born, absorbed) = self.merge(sighting)?;
                let mut earlier = Vec::new();
                let mut was_born = born;
                for other in &absorbed {
                    if let Some((born, more)) = changed.remove(&(sighting.actor.clone(), *other)) {
                        was_born |= born;
                        earlier.extend(more);
                    }
                }
                let entry = changed.entry((sighting.actor.clone(), number)).or_insert((was_born, Vec::new()));
                entry.1.extend(absorbed);
                entry.1.extend(earlier);
            }
        }
        let fresh = records.iter().zip(&taken.fresh).filter(|(_, fresh)| **fresh);
        deliveries::count(&self.connection, fresh.map(|(record, _)| record))?;
        for ((actor, number), (born, absorbed)) in changed {
            let row = self.known.get_mut(&actor).and_then(|known| known.rows.iter_mut().find(|r| r.number == number));
            let Some(row) = row else { continue };
            row.judge();
            incidents::write(&self.connection, row)?;
            taken.changed.push(Changed { now: row.clone(), born, absorbed });
        }
        taken.changed.sort_by_key(|changed| changed.now.number);
        self.sums.merge(sums);
        self.indexed.append(&mut indexed);
        Ok(taken)
    }

    /// Merges a sighting into the incidents of its actor; gives the incident's number, whether it is new, and the numbers
    /// of those that went into it.
    fn merge(&mut self, sighting: &Sighting) -> rusqlite::Result<(i64, bool, Vec<i64>)> {
        let window = i64::try_from(self.window.as_micros()).unwrap_or(i64::MAX);
        let since = sighting.at.as_micros().saturating_sub(window);
        if self.known.get(&sighting.actor).is_none_or(|known| known.since > since) {
            let rows = incidents::of_actor(&self.connection, &sighting.actor, since)?;
            // INVARIANT: what changed in this transaction and is not written yet is kept.
            let known = self.known.entry(sighting.actor.clone()).or_insert(Known { since, rows: Vec::new() });
            known.since = since;
            for row in rows {
                if known.rows.iter().all(|other| other.number != row.number) {
                    known.rows.push(row);
                }
            }
        }
        let Some(known) = self.known.get_mut(&sighting.actor) else { return Ok((0, false, Vec::new())) };
        let merged = merge(&mut known.rows, sighting, self.window, IncidentRow::new);
        let Some(row) = known.rows.get_mut(merged.place) else { return Ok((0, false, Vec::new())) };
        let mut numbers: Vec<i64> = merged.absorbed.iter().map(|other| other.number).collect();
        numbers.push(row.number);
        for other in merged.absorbed {
            row.absorb(other);
        }
        if merged.born {
            row.number = incidents::write(&self.connection, row)?;
        }
        numbers.retain(|number| *number != row.number && *number != 0);
        for number in &numbers {
            incidents::forward(&self.connection, *number, row.number)?;
        }
        Ok((row.number, merged.born, numbers))
    }

    fn decide(&mut self, number: i64, decision: Decision) -> rusqlite::Result<Option<IncidentRow>> {
        let Some(mut row) = self.incident(number)? else { return Ok(None) };
        if let Some(state) = decision.state {
            row.state = state;
            // Whoever decides has seen what there is: it is no news any more.
            row.told.extend(row.incident.facts.iter().map(|(fact, _)| fact.clone()));
        }
        row.notes.insert(Note {
            at: decision.at.as_micros(),
            by: decision.by,
            state: decision.state.map(|state| state.word().to_owned()),
            text: decision.text,
        });
        self.save(row).map(Some)
    }

    fn alert(&mut self, decided: Vec<Decided>, at: Timestamp) -> rusqlite::Result<()> {
        for Decided { number, facts, drafts } in decided {
            let Some(mut row) = self.incident(number)? else { continue };
            row.told.extend(facts);
            let row = self.save(row)?;
            deliveries::draft(&self.connection, row.number, &drafts, at)?;
        }
        Ok(())
    }

    fn expire(&self, before: Timestamp, from: Option<Cursor>) -> rusqlite::Result<Expired> {
        if from.is_none() {
            deliveries::forget(&self.connection, before)?;
        }
        expire::expire(&self.connection, before, from, REMOVED)
    }

    fn told(&mut self, number: i64, facts: Vec<Fact>) -> rusqlite::Result<Option<()>> {
        let Some(mut row) = self.incident(number)? else { return Ok(None) };
        row.told.extend(facts);
        self.save(row).map(|_| Some(()))
    }

    fn incident(&self, number: i64) -> rusqlite::Result<Option<IncidentRow>> {
        incidents::one(&self.connection, number)
    }

    fn save(&mut self, row: IncidentRow) -> rusqlite::Result<IncidentRow> {
        incidents::write(&self.connection, &row)?;
        // The next event of the actor reads it anew.
        self.known.remove(&row.incident.actor);
        Ok(row)
    }
}

impl Job {
    const fn records(&self) -> usize {
        match self {
            Self::Take(records, _, _) => records.len(),
            _ => 1,
        }
    }

    /// Answers that nothing was done.
    fn refuse(self, error: StoreError) {
        match self {
            Self::Take(_, _, asker) => drop(asker.send(Err(error))),
            Self::Decide(_, _, asker) => drop(asker.send(Err(error))),
            Self::Told(_, _, asker) => drop(asker.send(Err(error))),
            Self::Put(_, _, _, asker) => drop(asker.send(Err(error))),
            Self::Remove(_, _, _, asker) => drop(asker.send(Err(error))),
            Self::Expire(_, _, asker) => drop(asker.send(Err(error))),
            Self::Alert(_, _, asker) => drop(asker.send(Err(error))),
            Self::Settle(_, asker) => drop(asker.send(Err(error))),
            Self::Keep(_, asker) => drop(asker.send(Err(error))),
            Self::Forget(_, asker) => drop(asker.send(Err(error))),
        }
    }
}

fn later<T: Send + 'static>(value: rusqlite::Result<T>, asker: Asker<T>) -> rusqlite::Result<Later> {
    match value {
        Ok(value) => Ok(Box::new(move |done: Result<(), StoreError>| drop(asker.send(done.map(|()| value))))),
        Err(error) => {
            let _ = asker.send(Err(failed(&error)));
            Err(error)
        }
    }
}

fn missing<T: Send + 'static>(asker: Asker<T>) -> rusqlite::Result<Later> {
    Ok(Box::new(move |_| drop(asker.send(Err(StoreError::Missing { what: "such incident" })))))
}
