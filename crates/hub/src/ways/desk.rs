//! Messages in, lines of a source out: who sent a message, and what in it is the event.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aviary_store::StoreError;
use tokio::time::sleep;

use super::framing::Piece;
use crate::{Hub, Place, Source, event_in, find_token};

/// How long a token that was revoked is still taken.
const TRUSTED: Duration = Duration::from_secs(2);
/// Tokens that are remembered.
const TOKENS: usize = 1024;
/// Pause before a batch that the store did not take is offered again.
const PAUSE: Duration = Duration::from_millis(250);
/// How often the store may fail at a batch.
const TRIES: u32 = 20;
/// What a token begins with.
const MARK: &str = "avt_";

/// Whose a message is.
type Whose = Option<Arc<Source>>;

/// Where messages of all ways are handed in.
pub(super) struct Desk {
    hub: Arc<Hub>,
    tokens: Mutex<HashMap<String, (Instant, Whose)>>,
}

/// Messages of one sender in order, by source.
#[derive(Debug, Default)]
pub(super) struct Batch(Vec<(Arc<Source>, Vec<Vec<u8>>)>);

impl Batch {
    pub(super) fn add(&mut self, source: &Arc<Source>, line: Vec<u8>) {
        match self.0.last_mut() {
            Some((last, lines)) if Arc::ptr_eq(last, source) || last == source => lines.push(line),
            _ => self.0.push((Arc::clone(source), vec![line])),
        }
    }
}

/// What a message is to whoever sent it.
pub(super) enum Read {
    /// An event, or what should have been one.
    Line(Arc<Source>, Vec<u8>),
    /// A token alone: what follows is of its sensor.
    Introduction(Arc<Source>),
    /// It is of nobody who is known.
    Nobody,
}

impl Desk {
    pub(super) fn new(hub: Arc<Hub>) -> Self {
        Self { hub, tokens: Mutex::default() }
    }

    /// Who sends from an address.
    pub(super) fn by_address(&self, address: IpAddr) -> Whose {
        self.hub.senders().find(address).cloned()
    }

    /// Room for what a sender's message needs.
    pub(super) fn place(&self, source: Option<&Source>, address: IpAddr) -> Place {
        match source {
            Some(source) => self.hub.room().place(&source.sensor),
            None => self.hub.room().place(&address.to_string()),
        }
    }

    /// Notes somebody who is not known.
    pub(super) fn refuse(&self, address: IpAddr, way: &'static str) {
        self.hub.tally().refused(address, way, self.hub.now());
    }

    /// Reads one message of a sender that is known as `known`, if at all. A token in it says otherwise.
    pub(super) async fn read(&self, piece: Piece, known: &Whose) -> Result<Read, StoreError> {
        let of = |line: Vec<u8>| known.clone().map_or(Read::Nobody, |source| Read::Line(source, line));
        let bytes = match piece {
            // As long as what it was, so that it is refused for that, and cheap.
            Piece::TooLong(_) => return Ok(of(vec![b' '; super::framing::LONGEST])),
            Piece::Message(bytes) => bytes,
        };
        if bytes.first() == Some(&b'{') {
            return Ok(of(bytes));
        }
        let Ok(text) = std::str::from_utf8(&bytes) else { return Ok(of(bytes)) };
        let event = event_in(text);
        let before =
            if event.starts_with('{') { text.split_once(event).map_or("", |(before, _)| before) } else { text };
        let Some(token) = token_in(before) else { return Ok(of(event.as_bytes().to_vec())) };
        Ok(match self.by_token(token).await? {
            None => Read::Nobody,
            Some(source) if event.starts_with('{') => Read::Line(source, event.as_bytes().to_vec()),
            Some(source) => Read::Introduction(source),
        })
    }

    async fn by_token(&self, token: &str) -> Result<Whose, StoreError> {
        let known = {
            let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
            tokens.get(token).filter(|(at, _)| at.elapsed() < TRUSTED).map(|(_, whose)| whose.clone())
        };
        if let Some(whose) = known {
            return Ok(whose);
        }
        let found = find_token(self.hub.store().as_ref(), token).await?;
        let whose = found.and_then(|token| token.source()).map(Arc::new);
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if tokens.len() >= TOKENS {
            tokens.clear();
        }
        tokens.insert(token.to_owned(), (Instant::now(), whose.clone()));
        Ok(whose)
    }

    /// Stores messages. While the store takes none, it waits, and the sender with it; what the store fails at again and
    /// again is given up, so that it holds nothing that comes after.
    pub(super) async fn store(&self, batch: Batch) {
        for (source, lines) in batch.0 {
            let mut failed = 0;
            while let Err(error) = self.hub.take(&source, &lines).await {
                match error {
                    StoreError::Busy | StoreError::Full { .. } => {}
                    StoreError::Closed => return,
                    error if failed >= TRIES => {
                        tracing::error!(sensor = source.sensor, lines = lines.len(), %error, "lines are lost");
                        break;
                    }
                    _ => failed += 1,
                }
                sleep(PAUSE).await;
            }
        }
    }
}

/// The token in a text.
fn token_in(text: &str) -> Option<&str> {
    let (start, _) = text.match_indices(MARK).next()?;
    let token = text.get(start..)?;
    let end = token.bytes().skip(MARK.len()).position(|byte| !byte.is_ascii_hexdigit());
    token.get(..end.map_or(token.len(), |end| MARK.len().saturating_add(end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_wherever_it_stands() {
        for (text, token) in [
            ("avt_0123ab", Some("avt_0123ab")),
            ("Authorization: Bearer avt_0123ab\r", Some("avt_0123ab")),
            ("<14>1 - - - - - [aviary token=\"avt_ff\"] ", Some("avt_ff")),
            ("avt", None),
            ("", None),
        ] {
            assert_eq!(token_in(text), token, "{text}");
        }
    }
}
