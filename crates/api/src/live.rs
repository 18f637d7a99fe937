//! `/api/v1/live`: what happens, as it happens.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use aviary_hub::{Hub, News, Scope};
use axum::extract::State;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive, KeepAliveStream};
use futures_core::Stream;
use serde_json::json;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::time::sleep;

use crate::Problem;
use crate::access::Caller;
use crate::wire::time;

/// Seconds between two words on a quiet stream, so that what stands between does not take it for dead.
const ALIVE: Duration = Duration::from_secs(15);

/// How often it is looked whether the listener may still listen.
const LOOKED: Duration = Duration::from_secs(10);

/// Sends events and incidents as they come (server-sent events)
///
/// `event` has the id, time, sensor and line of an event; `incident` the number, severity, stage and count of one that
/// began or changed; `missed` how many of both a slow reader did not get.
#[utoipa::path(
    get, path = "/api/v1/live", tag = "live", security(("token" = ["read"])),
    responses(
        (status = 200, content_type = "text/event-stream", body = String),
        (status = 401, body = Problem), (status = 403, body = Problem),
    ),
)]
pub(crate) async fn stream(State(hub): State<Arc<Hub>>, caller: Caller) -> Result<Sse<KeepAliveStream<Live>>, Problem> {
    caller.may(Scope::Read)?;
    let live = Live { next: Box::pin(next(hub.feed().listen())), end: Box::pin(end(hub, caller)) };
    Ok(Sse::new(live).keep_alive(KeepAlive::new().interval(ALIVE)))
}

type Next = Pin<Box<dyn Future<Output = (Receiver<News>, Option<Event>)> + Send>>;

/// The stream of one listener.
pub(crate) struct Live {
    next: Next,
    end: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Done when the listener may not listen any more.
async fn end(hub: Arc<Hub>, caller: Caller) {
    while caller.still_may(&hub).await {
        sleep(LOOKED).await;
    }
}

impl Stream for Live {
    type Item = Result<Event, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.end.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        match self.next.as_mut().poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready((_, None)) => Poll::Ready(None),
            Poll::Ready((receiver, Some(event))) => {
                self.next = Box::pin(next(receiver));
                Poll::Ready(Some(Ok(event)))
            }
        }
    }
}

async fn next(mut receiver: Receiver<News>) -> (Receiver<News>, Option<Event>) {
    let event = match receiver.recv().await {
        Ok(news) => Some(tell(&news)),
        Err(RecvError::Lagged(count)) => Some(Event::default().event("missed").data(count.to_string())),
        Err(RecvError::Closed) => None,
    };
    (receiver, event)
}

fn tell(news: &News) -> Event {
    let (name, data) = match news {
        News::Event(record) => {
            let line: serde_json::Value = serde_json::from_str(&record.line).unwrap_or_default();
            let body = json!({
                "id": record.id, "time": time(record.at), "sensor": record.sensor, "hidden": record.hidden, "event": line,
            });
            ("event", body)
        }
        News::Incident(changed) => {
            let row = &changed.now;
            let body = json!({
                "number": row.number, "born": changed.born, "absorbed": changed.absorbed,
                "source": row.incident.actor.source.to_string(), "severity": row.severity.word(),
                "stage": row.stage.word(), "state": row.state.word(), "events": row.incident.events,
            });
            ("incident", body)
        }
    };
    Event::default().event(name).data(data.to_string())
}
