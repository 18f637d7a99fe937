//! How long events are kept, and how much of them.

use std::time::Duration;

use aviary_event::Timestamp;
use aviary_store::StoreError;

use crate::Hub;

/// How often is looked.
const EVERY: Duration = Duration::from_secs(600);
/// Pause between two steps, in which others write.
const BREATH: Duration = Duration::from_millis(20);
/// What happened within this time, in microseconds, stays however full the store is.
const STAYS: i64 = 3_600_000_000;
/// To make room, so many parts of the time that is kept go at once.
const PARTS: i64 = 20;

/// What is kept. Evidence is kept in any case: events of an incident that is not closed, or was grave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Events that are not older.
    pub age: Option<Duration>,
    /// The newest events, as long as the store is not larger, in bytes.
    pub bytes: Option<u64>,
}

/// Removes what is too old or too much, again and again; never ends.
pub async fn retain(hub: &Hub, keep: Keep) {
    loop {
        match retain_once(hub, keep).await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "old events removed"),
            Err(error) => tracing::error!(%error, "old events are not removed"),
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Removes what is too old or too much; gives how many events went.
///
/// # Errors
/// When the store does not do it.
pub async fn retain_once(hub: &Hub, keep: Keep) -> Result<u64, StoreError> {
    let now = hub.now().as_micros();
    let mut removed = 0_u64;
    if let Some(age) = keep.age {
        let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
        removed = remove(hub, now.saturating_sub(age)).await?;
    }
    let Some(most) = keep.bytes else { return Ok(removed) };
    let mut until = i64::MIN;
    loop {
        let size = hub.store().size().await?;
        let Some(oldest) = size.oldest.filter(|_| size.bytes > most) else { return Ok(removed) };
        let end = now.saturating_sub(STAYS);
        let begin = oldest.as_micros().max(until);
        if begin >= end {
            tracing::warn!(
                bytes = size.bytes,
                most,
                "the store is too large, and what is left is evidence or of this hour"
            );
            return Ok(removed);
        }
        // At least a minute, so that the last steps are not ever smaller.
        let part = end.saturating_sub(begin).div_euclid(PARTS).max(60_000_000);
        until = begin.saturating_add(part).min(end);
        removed = removed.saturating_add(remove(hub, until).await?);
    }
}

async fn remove(hub: &Hub, before: i64) -> Result<u64, StoreError> {
    let (mut removed, mut from) = (0_u64, None);
    loop {
        let step = hub.store().expire(Timestamp::from_micros(before), from).await?;
        removed = removed.saturating_add(step.removed);
        if step.next.is_none() {
            return Ok(removed);
        }
        from = step.next;
        tokio::time::sleep(BREATH).await;
    }
}
