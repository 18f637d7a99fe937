//! What happens, as it happens, to whoever listens.

use std::sync::Arc;

use aviary_store::{Changed, Record};
use tokio::sync::broadcast;

/// News that wait for a slow listener, at most; it is told how many it missed.
const WAITING: usize = 1024;

/// Something new.
#[derive(Clone, Debug)]
pub enum News {
    /// An event was stored.
    Event(Arc<Record>),
    /// An incident began or changed.
    Incident(Arc<Changed>),
}

/// Tells listeners; never waits for one.
#[derive(Clone, Debug)]
pub struct Feed(broadcast::Sender<News>);

impl Default for Feed {
    fn default() -> Self {
        Self(broadcast::Sender::new(WAITING))
    }
}

impl Feed {
    /// Listens from now on.
    #[must_use]
    pub fn listen(&self) -> broadcast::Receiver<News> {
        self.0.subscribe()
    }

    /// Whether anybody listens.
    pub(crate) fn is_heard(&self) -> bool {
        self.0.receiver_count() > 0
    }

    pub(crate) fn tell(&self, news: News) {
        // An error says that nobody listens.
        let _ = self.0.send(news);
    }
}
