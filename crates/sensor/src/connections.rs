//! The table of live connections: who has how many, who was quiet for how long, who goes first.
//!
//! There is no timer per connection. Once a second the table is walked; a connection that is over a
//! limit gets a verdict and its socket's read side is shut, which wakes its task like any other end
//! of input, so that the service still says what it says when it gives up on a peer.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::watch;

/// Seconds between a verdict and the moment when the socket is shut for writing too, in case the
/// task hangs in a reply that the peer does not read.
const GRACE: u32 = 3;

/// Why the frame ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Verdict {
    /// It lives.
    None = 0,
    /// Idle for too long.
    Idle = 1,
    /// Open for too long.
    Total = 2,
    /// Room was needed.
    Evicted = 3,
    /// The canary stops, or its service changed.
    Stopping = 4,
}

/// A live connection.
#[derive(Debug)]
pub(crate) struct Live {
    /// The socket.
    pub stream: TcpStream,
    source: IpAddr,
    endpoint: u32,
    opened: u32,
    active: AtomicU32,
    idle: AtomicU32,
    total: u32,
    verdict: AtomicU8,
    judged: AtomicU32,
}

impl Live {
    /// Notes that the peer did something.
    pub(crate) fn touch(&self, now: u32) {
        self.active.store(now, Ordering::Relaxed);
    }

    /// Changes the idle limit.
    pub(crate) fn set_idle(&self, limit: Duration) {
        self.idle.store(seconds(limit), Ordering::Relaxed);
    }

    /// The verdict.
    #[must_use]
    pub(crate) fn verdict(&self) -> Verdict {
        match self.verdict.load(Ordering::Acquire) {
            1 => Verdict::Idle,
            2 => Verdict::Total,
            3 => Verdict::Evicted,
            4 => Verdict::Stopping,
            _ => Verdict::None,
        }
    }

    /// Ends it, unless something else already did; whether this did.
    fn condemn(&self, verdict: Verdict, now: u32) -> bool {
        let first = self.verdict.compare_exchange(0, verdict as u8, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if first {
            self.judged.store(now, Ordering::Relaxed);
            let _ = socket2::SockRef::from(&self.stream).shutdown(std::net::Shutdown::Read);
        }
        first
    }
}

#[derive(Debug, Default)]
struct Table {
    live: HashMap<u64, Arc<Live>>,
    /// Those of `live` that already got a verdict. The counts below are without them: they are about
    /// to go, and would otherwise cost others their place once more.
    ending: usize,
    sources: HashMap<IpAddr, u32>,
    endpoints: HashMap<u32, u32>,
    limited: HashMap<IpAddr, Limited>,
    /// Connections that went because there were too many, by endpoint, since the start.
    evicted: HashMap<u32, u64>,
}

impl Table {
    fn condemn(&mut self, live: &Live, verdict: Verdict, now: u32) {
        if live.condemn(verdict, now) {
            self.ending += 1;
            self.uncount(live);
        }
    }

    fn uncount(&mut self, live: &Live) {
        if let Some(count) = self.sources.get_mut(&live.source) {
            *count -= 1;
            if *count == 0 {
                self.sources.remove(&live.source);
            }
        }
        if let Some(count) = self.endpoints.get_mut(&live.endpoint) {
            *count -= 1;
        }
    }
}

#[derive(Debug)]
struct Limited {
    count: u64,
    told: u32,
}

/// All live connections.
#[derive(Debug)]
pub(crate) struct Connections {
    table: Mutex<Table>,
    start: Instant,
    made: AtomicU64,
    stopping: watch::Sender<bool>,
    /// Connections at once, in all.
    pub cap: usize,
    /// Connections at once from one source.
    pub per_source: usize,
}

/// A place in the table; freed when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    connections: Arc<Connections>,
    number: u64,
    /// The connection.
    pub live: Arc<Live>,
}

impl Place {
    /// Seconds since the table was made.
    #[must_use]
    pub(crate) fn now(&self) -> u32 {
        self.connections.now()
    }

    /// Resolves when the canary stops.
    pub(crate) async fn stopping(&self) {
        let _ = self.connections.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.connections.lock();
        if table.live.remove(&self.number).is_some() {
            match self.live.verdict() {
                Verdict::None => table.uncount(&self.live),
                _ => table.ending -= 1,
            }
        }
        // A table that once was large gives its memory back.
        if table.live.is_empty() && table.live.capacity() > 1024 {
            table.live.shrink_to_fit();
            table.sources.shrink_to_fit();
        }
    }
}

impl Connections {
    /// An empty table.
    #[must_use]
    pub(crate) fn new(cap: usize, per_source: usize) -> Arc<Self> {
        Arc::new(Self {
            table: Mutex::default(),
            start: Instant::now(),
            made: AtomicU64::new(0),
            stopping: watch::Sender::new(false),
            cap: cap.max(1),
            per_source: per_source.max(1),
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seconds since the table was made.
    #[must_use]
    pub(crate) fn now(&self) -> u32 {
        u32::try_from(self.start.elapsed().as_secs()).unwrap_or(u32::MAX)
    }

    /// Connections now.
    #[must_use]
    pub(crate) fn count(&self) -> usize {
        self.lock().live.len()
    }

    /// Connections that an endpoint has now, and those that it lost because there were too many.
    #[must_use]
    pub(crate) fn of_endpoint(&self, endpoint: u32) -> (u32, u64) {
        let table = self.lock();
        (table.endpoints.get(&endpoint).copied().unwrap_or(0), table.evicted.get(&endpoint).copied().unwrap_or(0))
    }

    /// Takes a connection in, with its idle and total limits. When that makes too many, of the source,
    /// of the endpoint or in all, those that were quiet for longest go: of this source, or of the
    /// source that has most.
    pub(crate) fn admit(
        self: &Arc<Self>,
        stream: TcpStream,
        source: IpAddr,
        endpoint: u32,
        endpoint_cap: usize,
        limits: (Duration, Duration),
    ) -> Place {
        let now = self.now();
        let live = Arc::new(Live {
            stream,
            source,
            endpoint,
            opened: now,
            active: AtomicU32::new(now),
            idle: AtomicU32::new(seconds(limits.0)),
            total: seconds(limits.1),
            verdict: AtomicU8::new(0),
            judged: AtomicU32::new(0),
        });
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let mut table = self.lock();
        table.live.insert(number, Arc::clone(&live));
        let of_source = count_one(table.sources.entry(source).or_default());
        let of_endpoint = count_one(table.endpoints.entry(endpoint).or_default());
        if of_source > self.per_source {
            evict(&mut table, of_source / 64 + 1, now, |live| live.source == source);
        } else if of_endpoint > endpoint_cap {
            evict(&mut table, of_endpoint / 64 + 1, now, |live| live.endpoint == endpoint);
        } else if table.live.len() - table.ending > self.cap {
            make_room(&mut table, now);
        }
        drop(table);
        Place { connections: Arc::clone(self), number, live }
    }

    /// Ends the quietest connections of the greediest source, unless some are ending already: the
    /// system is out of file descriptors.
    pub(crate) fn relieve(&self) {
        let mut table = self.lock();
        if table.ending == 0 {
            make_room(&mut table, self.now());
        }
    }

    /// Ends what is over its limits. To be called once a second.
    pub(crate) fn sweep(&self) {
        let now = self.now();
        let mut table = self.lock();
        let mut over = Vec::new();
        for live in table.live.values() {
            match live.verdict() {
                Verdict::None if now.saturating_sub(live.opened) >= live.total => {
                    over.push((Arc::clone(live), Verdict::Total));
                }
                Verdict::None => {
                    let quiet = now.saturating_sub(live.active.load(Ordering::Relaxed));
                    if quiet >= live.idle.load(Ordering::Relaxed) {
                        over.push((Arc::clone(live), Verdict::Idle));
                    }
                }
                _ if now.saturating_sub(live.judged.load(Ordering::Relaxed)) >= GRACE => {
                    let _ = socket2::SockRef::from(&live.stream).shutdown(std::net::Shutdown::Both);
                }
                _ => {}
            }
        }
        for (live, verdict) in over {
            table.condemn(&live, verdict, now);
        }
    }

    /// Ends all connections, or those of one endpoint.
    pub(crate) fn end(&self, endpoint: Option<u32>) {
        let now = self.now();
        if endpoint.is_none() {
            self.stopping.send_replace(true);
        }
        let mut table = self.lock();
        let all: Vec<Arc<Live>> = table
            .live
            .values()
            .filter(|live| endpoint.is_none_or(|one| one == live.endpoint))
            .map(Arc::clone)
            .collect();
        for live in all {
            table.condemn(&live, Verdict::Stopping, now);
        }
    }

    /// Cuts what did not end by itself, such as a session whose peer does not read.
    pub(crate) fn cut(&self) {
        for live in self.lock().live.values() {
            let _ = socket2::SockRef::from(&live.stream).shutdown(std::net::Shutdown::Both);
        }
    }

    /// Sources that were cut off at a limit and not yet told of in this minute, with how many
    /// connections that cost them. Forgets sources that were quiet for a minute.
    pub(crate) fn limited(&self) -> Vec<(IpAddr, u64)> {
        let now = self.now();
        let mut told = Vec::new();
        self.lock().limited.retain(|source, limited| {
            if limited.count > 0 && (limited.told == 0 || now.saturating_sub(limited.told) >= 60) {
                told.push((*source, std::mem::take(&mut limited.count)));
                limited.told = now.max(1);
            }
            limited.count > 0 || now.saturating_sub(limited.told) < 60
        });
        told
    }
}

/// Counts one more and gives the new count.
fn count_one(count: &mut u32) -> usize {
    *count += 1;
    usize::try_from(*count).unwrap_or(usize::MAX)
}

fn make_room(table: &mut Table, now: u32) {
    // Several at a time, so that a flood pays for one walk over the table with room for many.
    let share = table.live.len() / 64 + 1;
    evict(table, share, now, |_| true);
}

/// Ends the `share` quietest of the source that has most among these; those already ending count for
/// nobody. Sources that have equally many stand together, or a flood from everywhere would pay for
/// one walk over the table with room for one.
fn evict(table: &mut Table, share: usize, now: u32, among: impl Fn(&Live) -> bool) {
    let mut candidates: Vec<Arc<Live>> =
        table.live.values().filter(|live| live.verdict() == Verdict::None && among(live)).map(Arc::clone).collect();
    let mut held: HashMap<IpAddr, u32> = HashMap::new();
    for live in &candidates {
        *held.entry(live.source).or_default() += 1;
    }
    let most = held.values().copied().max().unwrap_or(0);
    candidates.retain(|live| held.get(&live.source) == Some(&most));
    let share = share.min(candidates.len());
    if share == 0 {
        return;
    }
    candidates.select_nth_unstable_by_key(share - 1, |live| (live.active.load(Ordering::Relaxed), live.opened));
    for live in candidates.iter().take(share) {
        table.condemn(live, Verdict::Evicted, now);
        *table.evicted.entry(live.endpoint).or_default() += 1;
        // LIMIT: sources remembered for the report; a wider flood is told of by its first ones.
        if table.limited.len() < 4096 || table.limited.contains_key(&live.source) {
            table.limited.entry(live.source).or_insert(Limited { count: 0, told: 0 }).count += 1;
        }
    }
}

fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests;
