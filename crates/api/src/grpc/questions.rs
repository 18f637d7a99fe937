//! `aviary.hub.v1.Hub`: events and incidents, asked for or as they come.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aviary_event::{Class, Severity};
use aviary_hub::{Hub, News, Scope};
use aviary_insight::{Fact, Reason, Source, Stage, Stamp};
use aviary_proto::hub::v1::hub_server::{Hub as Service, HubServer};
use aviary_proto::hub::v1::{self as proto, news, reason};
use aviary_store::{Changed, Cursor, EventQuery, EventRow, IncidentQuery, IncidentRow, Networks, Record, State};
use futures_core::Stream;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::time::timeout;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use super::status::{of_store, token};
use crate::unfold::unfold;

/// Events and incidents of a page, if none are asked for, and at most.
const EVENTS: (usize, usize) = (100, 1000);
const INCIDENTS: (usize, usize) = (50, 500);
/// How long a token that was revoked still listens.
const TRUSTED: Duration = Duration::from_secs(2);

/// The service.
pub(super) fn server(hub: Arc<Hub>) -> HubServer<Desk> {
    HubServer::new(Desk { hub })
}

/// Who answers.
pub(super) struct Desk {
    hub: Arc<Hub>,
}

/// Somebody who listens.
struct Listener {
    hub: Arc<Hub>,
    metadata: MetadataMap,
    /// When the token was looked up last.
    known: Instant,
    news: Receiver<News>,
    wish: Wish,
    greeted: bool,
    ended: bool,
}

/// What a listener wants to hear of events.
struct Wish {
    source: Option<Networks>,
    sensor: Option<String>,
    stage: Option<Stage>,
    hidden: bool,
}

#[tonic::async_trait]
impl Service for Desk {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<proto::News, Status>> + Send>>;

    async fn query(&self, request: Request<proto::QueryRequest>) -> Result<Response<proto::QueryAnswer>, Status> {
        token(&self.hub, request.metadata(), Scope::Read).await?;
        let page = self.hub.store().events(query(request.into_inner())?).await.map_err(|error| of_store(&error))?;
        let next = page.next.map(Cursor::to_text).unwrap_or_default();
        Ok(Response::new(proto::QueryAnswer { events: page.rows.into_iter().map(of_row).collect(), next }))
    }

    async fn incidents(
        &self,
        request: Request<proto::IncidentsRequest>,
    ) -> Result<Response<proto::IncidentsAnswer>, Status> {
        token(&self.hub, request.metadata(), Scope::Read).await?;
        let request = request.into_inner();
        let query = IncidentQuery {
            state: word("state", &request.state, State::from_word)?,
            severity: word("severity", &request.severity, Severity::from_word)?,
            since: moment("since", request.since)?,
            after: cursor(&request.after)?,
            limit: rows(request.limit, INCIDENTS),
            ..IncidentQuery::default()
        };
        let page = self.hub.store().incidents(query).await.map_err(|error| of_store(&error))?;
        let next = page.next.map(Cursor::to_text).unwrap_or_default();
        let incidents = page.rows.iter().map(of_incident).collect();
        Ok(Response::new(proto::IncidentsAnswer { incidents, next }))
    }

    async fn watch(&self, request: Request<proto::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        token(&self.hub, request.metadata(), Scope::Read).await?;
        let (metadata, _, wish) = request.into_parts();
        let wish = Wish {
            source: network("source", &wish.source)?,
            sensor: Some(wish.sensor).filter(|sensor| !sensor.is_empty()),
            stage: stage(&wish.stage)?,
            hidden: wish.hidden,
        };
        let (hub, news) = (Arc::clone(&self.hub), self.hub.feed().listen());
        let listener = Listener { hub, metadata, known: Instant::now(), news, wish, greeted: false, ended: false };
        let answers = unfold(listener, |mut listener| {
            Box::pin(async move {
                let news = listener.next().await?;
                listener.ended = news.is_err();
                Some((news, listener))
            })
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

impl Listener {
    /// What is told next; nothing when the hub stops.
    async fn next(&mut self) -> Option<Result<proto::News, Status>> {
        if self.ended {
            return None;
        }
        if !self.greeted {
            self.greeted = true;
            return Some(Ok(proto::News::default()));
        }
        loop {
            let heard = timeout(TRUSTED, self.news.recv()).await;
            if self.known.elapsed() >= TRUSTED {
                if let Err(status) = token(&self.hub, &self.metadata, Scope::Read).await {
                    return Some(Err(status));
                }
                self.known = Instant::now();
            }
            let news = match heard {
                Err(_) => continue,
                Ok(Err(RecvError::Closed)) => return None,
                Ok(Err(RecvError::Lagged(count))) => news::News::Missed(count),
                Ok(Ok(News::Event(record))) if self.wish.takes(&record) => news::News::Event(of_record(&record)),
                Ok(Ok(News::Event(_))) => continue,
                Ok(Ok(News::Incident(changed))) => news::News::Change(of_change(&changed)),
            };
            return Some(Ok(proto::News { news: Some(news) }));
        }
    }
}

impl Wish {
    fn takes(&self, record: &Record) -> bool {
        let sighting = record.sighting.as_ref();
        let source = self.source.is_none_or(|networks| {
            sighting.is_some_and(|sighting| match &sighting.actor.source {
                Source::Address(address) => {
                    let one = Networks::one(*address);
                    networks.first <= one.first && one.first <= networks.last
                }
                Source::Text(_) => false,
            })
        });
        source
            && self.sensor.as_ref().is_none_or(|sensor| *sensor == record.sensor)
            && self.stage.is_none_or(|stage| sighting.is_some_and(|sighting| sighting.stage >= stage))
            && (self.hidden || record.hidden.is_none())
    }
}

fn query(request: proto::QueryRequest) -> Result<EventQuery, Status> {
    let given = |text: String| Some(text).filter(|text| !text.trim().is_empty());
    let port = request
        .port
        .map(|port| u16::try_from(port).map_err(|_| bad(format!("`port` is {port}; accepted: 0 to 65535"))));
    Ok(EventQuery {
        since: moment("since", request.since)?,
        until: moment("until", request.until)?,
        sources: network("source", &request.source)?,
        destinations: network("destination", &request.destination)?,
        sensor: given(request.sensor),
        service: given(request.service),
        kind: word("kind", &request.kind, Class::from_word)?.map(|kind| kind.word().to_owned()),
        logtype: request.logtype,
        stage: stage(&request.stage)?,
        port: port.transpose()?,
        fields: request.fields.into_iter().collect(),
        text: given(request.text),
        hidden: request.hidden,
        after: cursor(&request.after)?,
        limit: rows(request.limit, EVENTS),
        ..EventQuery::default()
    })
}

fn bad(words: impl Into<String>) -> Status {
    Status::invalid_argument(words)
}

/// What a text is, if there is any.
fn given<T>(text: &str, read: impl Fn(&str) -> Option<T>, wrong: impl Fn() -> String) -> Result<Option<T>, Status> {
    if text.is_empty() { Ok(None) } else { read(text).map(Some).ok_or_else(|| bad(wrong())) }
}

fn word<T>(name: &str, text: &str, read: fn(&str) -> Option<T>) -> Result<Option<T>, Status> {
    given(text, read, || format!("`{name}` is none of the words that the field takes"))
}

fn stage(text: &str) -> Result<Option<Stage>, Status> {
    word("stage", text, |text| Stage::ALL.into_iter().find(|stage| stage.word() == text))
}

fn network(name: &str, text: &str) -> Result<Option<Networks>, Status> {
    given(text, Networks::parse, || format!("`{name}` is no address or network such as 10.0.0.0/8"))
}

fn cursor(text: &str) -> Result<Option<Cursor>, Status> {
    given(text, Cursor::from_text, || "`after` is not what `next` of a page said".to_owned())
}

fn rows(asked: u32, (usual, most): (usize, usize)) -> usize {
    if asked == 0 { usual } else { usize::try_from(asked).unwrap_or(most).min(most) }
}

fn moment(name: &str, time: Option<aviary_proto::Timestamp>) -> Result<Option<aviary_event::Timestamp>, Status> {
    let Some(time) = time else { return Ok(None) };
    let micros = time.seconds.checked_mul(1_000_000).and_then(|all| all.checked_add(i64::from(time.nanos) / 1000));
    let micros = micros.ok_or_else(|| bad(format!("`{name}` is no time that there is")))?;
    Ok(Some(aviary_event::Timestamp::from_micros(micros)))
}

#[expect(clippy::unnecessary_wraps, reason = "a message's field is optional always")]
fn time(micros: i64) -> Option<aviary_proto::Timestamp> {
    let nanos = i32::try_from(micros.rem_euclid(1_000_000).saturating_mul(1000)).unwrap_or_default();
    Some(aviary_proto::Timestamp { seconds: micros.div_euclid(1_000_000), nanos })
}

fn of_row(row: EventRow) -> proto::Event {
    proto::Event {
        id: row.id.to_string(),
        time: time(row.at.as_micros()),
        received: time(row.received.as_micros()),
        sensor: row.sensor,
        stage: row.stage.map_or_else(String::new, |stage| stage.word().to_owned()),
        hidden: row.hidden.unwrap_or_default(),
        line: row.line,
    }
}

fn of_record(record: &Record) -> proto::Event {
    proto::Event {
        id: record.id.to_string(),
        time: time(record.at.as_micros()),
        received: time(record.received.as_micros()),
        sensor: record.sensor.clone(),
        stage: record.sighting.as_ref().map_or_else(String::new, |sighting| sighting.stage.word().to_owned()),
        hidden: record.hidden.clone().unwrap_or_default(),
        line: record.line.clone(),
    }
}

fn of_change(changed: &Changed) -> proto::Change {
    proto::Change { incident: Some(of_incident(&changed.now)), born: changed.born, absorbed: changed.absorbed.clone() }
}

fn of_incident(row: &IncidentRow) -> proto::Incident {
    proto::Incident {
        number: row.number,
        source: row.incident.actor.source.to_string(),
        realm: row.incident.actor.realm.clone(),
        first: time(row.incident.begun().as_micros()),
        last: time(row.incident.ended().as_micros()),
        events: row.incident.events,
        severity: row.severity.word().to_owned(),
        stage: row.stage.word().to_owned(),
        state: row.state.word().to_owned(),
        reasons: row.incident.verdict().reasons.iter().map(of_reason).collect(),
        facts: row.incident.facts.iter().map(|(fact, first)| of_fact(fact, first)).collect(),
    }
}

fn of_reason(reason: &Reason) -> proto::Reason {
    let (reason, first) = match reason {
        Reason::Stage { stage, first } => (reason::Reason::Stage(stage.word().to_owned()), Some(first)),
        Reason::Decoy { user, first } => (reason::Reason::Decoy(user.clone()), Some(first)),
        Reason::Trouble { what, first } => (reason::Reason::Trouble(what.clone()), Some(first)),
        Reason::Breadth { sensors } => (reason::Reason::Breadth(u32::try_from(*sensors).unwrap_or(u32::MAX)), None),
    };
    proto::Reason {
        reason: Some(reason),
        event: first.map_or_else(String::new, |first| first.event.to_string()),
        time: first.and_then(|first| time(first.at)),
    }
}

fn of_fact(fact: &Fact, first: Stamp) -> proto::Fact {
    let (word, value) = match fact {
        Fact::Sensor(value) => ("sensor", value.clone()),
        Fact::Target(value) => ("target", value.clone()),
        Fact::Service(value) => ("service", value.clone()),
        Fact::Port(value) => ("port", value.to_string()),
        Fact::Stage(value) => ("stage", value.word().to_owned()),
        Fact::Technique(value) => ("technique", value.clone()),
        Fact::Kind(value) => ("kind", value.to_string()),
        Fact::User(value) => ("user", value.clone()),
        Fact::Decoy(value) => ("decoy", value.clone()),
        Fact::Tool(value) => ("tool", value.clone()),
        Fact::Fingerprint(value) => ("fingerprint", value.clone()),
        Fact::Mac(value) => ("mac", value.clone()),
        Fact::Name(value) => ("name", value.clone()),
        Fact::Trouble(value) => ("trouble", value.clone()),
    };
    proto::Fact { fact: word.to_owned(), value, event: first.event.to_string(), time: time(first.at) }
}
