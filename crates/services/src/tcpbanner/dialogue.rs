//! The conversation: a banner at the start, another for each chunk of data.

use std::sync::Arc;
use std::time::Duration;

use aviary_event::{Kind, LogData, PeerBytes};
use aviary_service::{Dialogue, Outbox};

use super::{Banner, codec, events};

/// Longest `DATA` of OpenCanary's events, in bytes or characters.
const LOGGED: usize = 255;

/// A connection that keep-alive holds open is not idle.
const HELD: Duration = Duration::from_secs(7 * 24 * 3600);

/// The key and value that an event has beside the usual ones.
type Extra<'a> = Option<(&'static str, &'a [u8])>;

/// One connection to one banner port.
pub(super) struct TcpBanner {
    banner: Arc<Banner>,
    /// The secret came: what follows is the operator's own and not reported.
    trusted: bool,
}

impl TcpBanner {
    pub(super) const fn new(banner: Arc<Banner>) -> Self {
        Self { banner, trusted: false }
    }

    fn data(&self, function: &str, data: PeerBytes) -> LogData {
        LogData::new().with("BANNER_ID", self.banner.id.as_str()).with("DATA", data).with("FUNCTION", function)
    }

    /// Which of OpenCanary's events the chunk is, if any, with its extra key.
    fn kind_of(&self, chunk: &[u8]) -> Option<(Kind, Extra<'_>)> {
        let banner = &*self.banner;
        if banner.keep_alive.is_some() {
            // OpenCanary takes an empty secret as found in anything and falls silent; here it is no secret.
            if !banner.secret.is_empty() && codec::contains(chunk, &banner.secret) {
                return Some((events::KEEP_ALIVE_SECRET_RECEIVED, Some(("SECRET_STRING", &banner.secret))));
            }
            return Some((events::KEEP_ALIVE_DATA_RECEIVED, None));
        }
        let alert = banner.alert.as_deref()?;
        codec::contains(chunk, alert).then_some((events::DATA_RECEIVED, Some(("ALERT_STRING", alert))))
    }
}

impl Dialogue for TcpBanner {
    fn open(&mut self, out: &mut Outbox) {
        let banner = &*self.banner;
        let kind = match (&banner.keep_alive, &banner.alert) {
            (Some(_), _) => Some(events::KEEP_ALIVE_CONNECTION_MADE),
            (None, None) => Some(events::CONNECTION_MADE),
            (None, Some(_)) => None,
        };
        if banner.keep_alive.is_some() {
            out.idle_limit(HELD);
        }
        if let Some(kind) = kind {
            let text: String = codec::python_repr(&banner.greeting).chars().take(LOGGED).collect();
            out.report(kind, self.data("CONNECTION_MADE", PeerBytes::from(text.as_str())));
        }
        out.reply(&banner.greeting);
    }

    fn feed(&mut self, input: &[u8], out: &mut Outbox) -> usize {
        if !self.trusted {
            let logged = codec::stripped(input.get(..LOGGED).unwrap_or(input));
            let found = self.kind_of(input);
            if let Some((kind, extra)) = found {
                let mut data = self.data("DATA_RECEIVED", PeerBytes::from(logged));
                if let Some((key, value)) = extra {
                    data.insert(key, value);
                }
                out.report(kind, data);
            }
            if found.is_none() || input.len() > LOGGED {
                let id = self.banner.id.as_str();
                out.report(events::DATA, LogData::new().with("BANNER_ID", id).with("DATA", input));
            }
            self.trusted = found.is_some_and(|(kind, _)| kind.number == events::KEEP_ALIVE_SECRET_RECEIVED.number);
        }
        out.reply(&self.banner.answer);
        input.len()
    }
}
