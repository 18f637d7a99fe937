//! Alerting: looks at incidents of which there is something new, decides who is told, and delivers until it arrives.
//!
//! INVARIANT: nothing is remembered here that matters after a crash. What is to be decided is marked in the store with
//! the incident itself, and what is to be delivered stands in the ledger; a message that was under way when the hub
//! died goes out again under the same id.

mod message;
mod plan;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use aviary_event::{Event, LogData, Origin, Port, Severity, TROUBLE, Timestamp};
use aviary_insight::{Actor, Earlier, Known, Notice, Policy, PolicyText, Sort, decide, news, over_budget};
use aviary_output::TEST;
use aviary_store::{Decided, Delivery, DeliveryQuery, Document, Draft, Fate, IncidentRow, Settled, StoreError};
use jiff::tz::TimeZone;
use sha2::{Digest as _, Sha256};
use tokio::task::{Id, JoinSet};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::channels::{CHANNEL, ChannelError, Ready, Tried};
use crate::{Hub, Source};
use plan::{Plan, Shipment, again, plan};

/// The kind of policies' documents.
pub const POLICY: &str = "policy";

/// What stands in the ledger when a receiver took something and said no more.
pub const DELIVERED: &str = "taken";

/// The kind of sensors' documents, which say to what groups they belong.
const SENSOR: &str = "sensor";

/// Incidents that are decided together.
const DECIDED: usize = 200;

/// Rows of an incident's past that are looked at.
const PAST: usize = 1000;

/// Tries that fail before the channel itself is an incident: some fifteen seconds.
const TROUBLED: u32 = 5;

/// Longest sleep; whatever changed without a word is seen after it.
const SLEEP: Duration = Duration::from_secs(30);

/// Pause after the store failed.
const BREATH: Duration = Duration::from_secs(2);

/// How long what is under way may take at the end.
const GRACE: Duration = Duration::from_secs(5);

/// Decides and delivers until `stop` is done.
pub async fn alert(hub: Arc<Hub>, stop: impl Future<Output = ()>) {
    let mut desk =
        Desk { hub, ready: HashMap::new(), busy: BTreeMap::new(), tasks: JoinSet::new(), under_way: HashMap::new() };
    tokio::pin!(stop);
    loop {
        let wait = match desk.round().await {
            Ok(wait) => wait,
            Err(error) => {
                tracing::error!(%error, "alerting cannot use the store");
                BREATH
            }
        };
        tokio::select! {
            biased;
            () = &mut stop => break,
            Some(done) = desk.tasks.join_next_with_id() => desk.done(done).await,
            () = desk.hub.woken() => {}
            () = sleep(wait) => {}
        }
    }
    let rest = async {
        while let Some(done) = desk.tasks.join_next_with_id().await {
            desk.done(done).await;
        }
    };
    let _ = timeout(GRACE, rest).await;
}

/// What is known while it runs.
struct Desk {
    hub: Arc<Hub>,
    /// Channels that have sent, for their connections.
    ready: HashMap<String, Ready>,
    /// Rows under way, by channel.
    busy: BTreeMap<String, Vec<i64>>,
    tasks: JoinSet<(Option<Ready>, Tried)>,
    under_way: HashMap<Id, Shipment>,
}

type Joined = Result<(Id, (Option<Ready>, Tried)), tokio::task::JoinError>;

impl Desk {
    /// Decides what there is to decide, sends what is due, and says how long nothing else is.
    async fn round(&mut self) -> Result<Duration, StoreError> {
        let policies = self.policies().await?;
        while self.decide(&policies).await? == DECIDED {}
        let now = self.hub.now();
        let busy: BTreeSet<String> = self.busy.keys().cloned().collect();
        let Plan { shipments, next } = plan(&self.hub.store().open_deliveries().await?, &busy, now);
        let mut wait = next.map_or(SLEEP, |next| {
            let micros = u64::try_from(next.as_micros().saturating_sub(now.as_micros())).unwrap_or(0);
            Duration::from_micros(micros).min(SLEEP)
        });
        for shipment in shipments {
            if !self.begin(&policies, shipment, now).await? {
                wait = Duration::ZERO;
            }
        }
        Ok(wait.max(Duration::from_millis(5)))
    }

    async fn policies(&mut self) -> Result<Vec<Policy>, StoreError> {
        let documents = self.hub.store().documents(POLICY).await?;
        let read = |document: &Document| {
            let text: PolicyText = serde_json::from_value(document.body.clone()).map_err(|error| error.to_string())?;
            Policy::new(&document.key, &text).map_err(|error| error.to_string())
        };
        let mut policies = Vec::new();
        for document in &documents {
            match read(document) {
                Ok(policy) => policies.push(policy),
                Err(error) => tracing::error!(policy = document.key, error, "a policy cannot be read"),
            }
        }
        Ok(policies)
    }

    /// Decides on incidents with something new; gives how many there were.
    async fn decide(&mut self, policies: &[Policy]) -> Result<usize, StoreError> {
        let store = Arc::clone(self.hub.store());
        let undecided = store.undecided(DECIDED).await?;
        if undecided.is_empty() {
            return Ok(0);
        }
        let now = self.hub.now();
        let mut decided = Vec::with_capacity(undecided.len());
        let groups = groups(&store.documents(SENSOR).await?);
        for row in &undecided {
            let query = DeliveryQuery { incident: Some(row.number), limit: PAST, ..DeliveryQuery::default() };
            let mut past = store.deliveries(query).await?.rows;
            past.reverse();
            let earlier: Vec<Earlier> = past.iter().map(|delivery| self.earlier(delivery)).collect();
            let except = troubled(row);
            let known = Known {
                facts: &row.incident.facts,
                severity: row.severity,
                earlier: &earlier,
                groups: &|sensor| groups.get(sensor).cloned().unwrap_or_default(),
                except: except.as_deref(),
            };
            let drafts = decide(policies, &known, now).into_iter().map(|notice| draft(notice, row.severity)).collect();
            let facts = news(&row.incident.facts, &row.told);
            decided.push(Decided { number: row.number, facts, drafts });
        }
        store.alert(decided, now).await?;
        Ok(undecided.len())
    }

    fn earlier(&self, delivery: &Delivery) -> Earlier {
        let under_way = self.busy.values().any(|rows| rows.contains(&delivery.row));
        Earlier {
            row: delivery.row,
            channel: delivery.channel.clone(),
            at: delivery.at,
            due: delivery.due,
            severity: delivery.severity,
            open: !delivery.fate.is_final() && !under_way,
            together: delivery.fate != Fate::Waiting,
            facts: delivery.facts.clone(),
        }
    }

    /// Sends a shipment, or puts it off; says whether it is under way.
    async fn begin(&mut self, policies: &[Policy], shipment: Shipment, now: Timestamp) -> Result<bool, StoreError> {
        let store = Arc::clone(self.hub.store());
        let severity = shipment.rows.iter().map(|row| row.severity).max().unwrap_or(Severity::Low);
        let policy = shipment.rows.first().and_then(|row| policies.iter().find(|policy| policy.name == row.policy));
        if let Some(budget) = policy.and_then(|policy| policy.budget) {
            let per = i64::try_from(budget.per.as_micros()).unwrap_or(i64::MAX);
            let since = Timestamp::from_micros(now.as_micros().saturating_sub(per));
            let sent = store.sent(&shipment.channel, since).await?;
            if let Some(due) = over_budget(&sent, Some(budget), severity, now) {
                let put_off = |row: &Delivery| settled(row, Fate::OverBudget, due, None, String::new());
                store.settle(shipment.rows.iter().map(put_off).collect()).await?;
                return Ok(false);
            }
        }
        let Some(document) = store.document(CHANNEL, &shipment.channel).await? else {
            let gone = |row: &Delivery| settled(row, Fate::Failed, now, Some(now), "the channel is gone".to_owned());
            store.settle(shipment.rows.iter().map(gone).collect()).await?;
            return Ok(false);
        };
        let mut incidents = Vec::new();
        for number in shipment.rows.iter().map(|row| row.incident).collect::<BTreeSet<i64>>() {
            incidents.extend(store.incident(number).await?);
        }
        let event = match (shipment.together, shipment.rows.as_slice(), incidents.as_slice()) {
            (false, [row], [incident]) => message::single(row, incident),
            (_, rows, incidents) => message::digest(rows, incidents),
        };
        let ready = self.ready.remove(&shipment.channel).filter(|ready| ready.version == document.version);
        let ready = match ready {
            Some(ready) => Ok(ready),
            None => self.hub.channels().ready(&document),
        };
        self.busy.insert(shipment.channel.clone(), shipment.rows.iter().map(|row| row.row).collect());
        let task = match ready {
            Ok(mut ready) => self.tasks.spawn(async move {
                let tried = ready.send(event).await;
                (Some(ready), tried)
            }),
            // It may be put right.
            Err(error) => {
                let reason = error.to_string();
                self.tasks.spawn(async move { (None, Tried::Later { reason, asked: None }) })
            }
        };
        self.under_way.insert(task.id(), shipment);
        Ok(true)
    }

    /// Notes what a try came to.
    async fn done(&mut self, joined: Joined) {
        let (id, ready, tried) = match joined {
            Ok((id, (ready, tried))) => (id, ready, tried),
            Err(error) => {
                let reason = "the output panicked".to_owned();
                (error.id(), None, Tried::Later { reason, asked: None })
            }
        };
        let Some(shipment) = self.under_way.remove(&id) else { return };
        self.busy.remove(&shipment.channel);
        if let Some(ready) = ready {
            self.ready.insert(shipment.channel.clone(), ready);
        }
        let now = self.hub.now();
        let mut trouble = None;
        let settled = shipment
            .rows
            .iter()
            .map(|row| {
                let (settled, troubled) = judge(row, &tried, shipment.together, now);
                if troubled {
                    trouble = Some(row);
                }
                settled
            })
            .collect();
        // Not noted is sent again, under the same id.
        if let Err(error) = self.hub.store().settle(settled).await {
            tracing::error!(channel = shipment.channel, %error, "a delivery cannot be noted");
        }
        if let (Some(row), Tried::Later { reason, .. } | Tried::Refused { reason }) = (trouble, &tried) {
            tracing::warn!(channel = shipment.channel, "alerts cannot be delivered: {reason}");
            self.raise(row, reason, now).await;
        }
    }

    /// Makes an incident of a channel that does not deliver.
    async fn raise(&mut self, row: &Delivery, reason: &str, now: Timestamp) {
        let channel = &row.channel;
        let data = LogData::new()
            .with("TEXT", format!("alerts to channel {channel} cannot be delivered").as_str())
            .with("ERROR", reason);
        let src = Origin { host: trouble_of(channel), port: Port::Number(-1) };
        let key = format!("{channel} {} {}", row.row, row.attempts);
        let event = Event::new(&TROUBLE, data, id(&key), now, &TimeZone::UTC, "hub", "hub", None, src, Origin::none());
        let source = Source { sensor: "hub".to_owned(), site: String::new(), nodes: Vec::new() };
        if let Err(error) = self.hub.take(&source, &[event.to_line(true)]).await {
            tracing::error!(%error, "an incident about alerting cannot be stored");
        }
    }
}

/// What a try makes of a row, and whether the channel itself is an incident now.
fn judge(row: &Delivery, tried: &Tried, together: bool, now: Timestamp) -> (Settled, bool) {
    let attempts = row.attempts.saturating_add(1);
    match tried {
        Tried::Delivered => {
            let fate = if together { Fate::Digested } else { Fate::Delivered };
            (settled(row, fate, now, Some(now), DELIVERED.to_owned()), false)
        }
        Tried::Refused { reason } => (settled(row, Fate::Failed, now, Some(now), reason.clone()), true),
        Tried::Later { reason, asked } => {
            let noise = row.row.unsigned_abs().wrapping_mul(31).wrapping_add(u64::from(attempts).wrapping_mul(97));
            match again(attempts, *asked, noise, now) {
                Some(due) => {
                    let fate = if row.fate == Fate::OverBudget { Fate::Gathering } else { row.fate };
                    (settled(row, fate, due, Some(now), reason.clone()), attempts == TROUBLED)
                }
                None => (settled(row, Fate::Failed, now, Some(now), format!("given up: {reason}")), true),
            }
        }
    }
}

fn settled(row: &Delivery, fate: Fate, due: Timestamp, tried: Option<Timestamp>, answer: String) -> Settled {
    Settled { row: row.row, fate, due, tried, answer }
}

fn draft(notice: Notice, severity: Severity) -> Draft {
    let Notice { policy, channel, into, facts, due, together } = notice;
    let fate = if together { Fate::Gathering } else { Fate::Waiting };
    Draft { into, policy, channel, severity, fate, due, facts }
}

/// To what sensors belong: groups, tags, sites.
fn groups(documents: &[Document]) -> HashMap<String, Vec<String>> {
    let of = |document: &Document| {
        let text = |key: &str| document.body.get(key).and_then(|value| value.as_str()).map(str::to_owned);
        let tags = document.body.get("tags").and_then(|tags| tags.as_array()).into_iter().flatten();
        let tags = tags.filter_map(|tag| tag.as_str().map(str::to_owned));
        let groups: Vec<String> = text("group").into_iter().chain(text("site")).chain(tags).collect();
        (document.key.clone(), groups)
    };
    documents.iter().map(of).collect()
}

/// The source under which a channel is an incident.
fn trouble_of(channel: &str) -> String {
    format!("channel {channel}")
}

/// The channel that an incident is about, if it is about one.
fn troubled(row: &IncidentRow) -> Option<String> {
    let known = &row.incident;
    known.facts.of(Sort::Trouble).next()?;
    let Actor { source, .. } = &known.actor;
    source.to_string().strip_prefix("channel ").map(str::to_owned)
}

fn id(key: &str) -> Uuid {
    let mut bytes = [0; 16];
    for (byte, digest) in bytes.iter_mut().zip(Sha256::digest(key).iter()) {
        *byte = *digest;
    }
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// Sends a marked test event to a channel, and gives whether it arrived and what the receiver said.
///
/// # Errors
/// When there is no such channel, or the store cannot be read.
pub async fn test_channel(hub: &Hub, name: &str, by: &str) -> Result<(bool, String), StoreError> {
    let Some(document) = hub.store().document(CHANNEL, name).await? else {
        return Err(StoreError::Missing { what: "such channel" });
    };
    let mut ready = match hub.channels().ready(&document) {
        Ok(ready) => ready,
        Err(error) => return Ok((false, ChannelError::to_string(&error))),
    };
    if let Some(why) = ready.no_test() {
        return Ok((false, format!("no test goes there: {why}")));
    }
    let now = hub.now();
    let data =
        LogData::new().with("OUTPUT", name).with("TEXT", format!("test of channel {name}, asked for by {by}").as_str());
    let key = format!("test {name} {}", now.as_micros());
    let event =
        Event::new(&TEST, data, id(&key), now, &TimeZone::UTC, "hub", "hub", None, Origin::none(), Origin::none());
    Ok(match ready.send(event).await {
        Tried::Delivered => (true, DELIVERED.to_owned()),
        Tried::Later { reason, .. } | Tried::Refused { reason } => (false, reason),
    })
}
