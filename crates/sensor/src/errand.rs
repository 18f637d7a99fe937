//! What a service does beside its connections: asking a network, reading a file. A task each, which ends with
//! the canary or with the settings that it was begun under.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// One of them at work.
pub(crate) struct Errand {
    /// The host whose service it is; `None` for the canary's own.
    pub host: Option<Arc<str>>,
    /// Name of the service's entry.
    pub entry: &'static str,
    /// What it does, as `status` says it: `asking`.
    pub word: &'static str,
    /// The service's settings as text.
    pub digest: String,
    progress: Arc<Progress>,
    stop: watch::Sender<bool>,
}

/// How one is doing.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    events: AtomicU64,
    trouble: Mutex<Option<Trouble>>,
}

/// Why one does nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It waits for something that may well come.
    Waiting(&'static str),
    /// Somebody has to do something about it.
    Failed(String),
}

impl Progress {
    /// One more event.
    pub(crate) fn count(&self) {
        self.events.fetch_add(1, Ordering::Relaxed);
    }

    /// Why it does nothing, or `None` once it does. Whether that is news.
    pub(crate) fn set_trouble(&self, trouble: Option<Trouble>) -> bool {
        let mut held = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = *held != trouble;
        *held = trouble;
        is_news
    }
}

impl Errand {
    /// Begins one; `work` gets where to say how it does and when to stop.
    #[must_use]
    pub(crate) fn begin<W>(
        entry: &'static str,
        word: &'static str,
        digest: String,
        work: impl FnOnce(Arc<Progress>, watch::Receiver<bool>) -> W,
    ) -> Self
    where
        W: Future<Output = ()> + Send + 'static,
    {
        let (stop, stopped) = watch::channel(false);
        let progress = Arc::new(Progress::default());
        drop(tokio::runtime::Handle::current().spawn(work(Arc::clone(&progress), stopped)));
        Self { host: None, entry, word, digest, progress, stop }
    }

    /// The same for a host.
    #[must_use]
    pub(crate) fn of_host(mut self, host: Option<Arc<str>>) -> Self {
        self.host = host;
        self
    }

    /// Why it does nothing, if that is so.
    #[must_use]
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        self.progress.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Events since it began.
    #[must_use]
    pub(crate) fn events(&self) -> u64 {
        self.progress.events.load(Ordering::Relaxed)
    }
}

impl Drop for Errand {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
    }
}
