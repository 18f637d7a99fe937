//! A running hub: takes events of many canaries, stores each once, and joins them into incidents.
//!
//! Where an event comes from does not matter here: every way in gives lines and a [`Source`], and gets a word on
//! each line.

mod access;
mod alarm;
mod alerting;
mod arrival;
mod authority;
mod certificate;
mod channels;
pub mod clock;
mod embedded;
mod feed;
mod foreign;
mod intake;
mod people;
mod preview;
mod retention;
mod room;
mod rules;
mod seal;
mod senders;
pub mod sensors;
mod tally;
mod ways;

pub use access::{Scope, Token, TokenError, find_token, make_token};
pub use alarm::{KINDS, SENSOR_STATE};
pub use alerting::{DELIVERED, POLICY, alert, test_channel};
pub use arrival::{Arrival, Refusal, Source};
pub use authority::{Authority, Issued, fingerprint};
pub use aviary_outputs::{Key, keys};
pub use certificate::{Certificate, CertificateError, own_certificate, read_certificate};
pub use channels::{CHANNEL, Channel, ChannelError, Channels, HIDDEN};
pub use embedded::{event_in, object_in};
pub use feed::{Feed, News};
pub use intake::{Hub, Word};
pub use people::{Attempt, Link, ListedToken, People, Person, PersonError, Role, Session, SignedIn};
pub use preview::{Preview, PreviewError, preview};
pub use retention::{Keep, retain, retain_once};
pub use room::{Place, Room};
pub use rules::{SUPPRESSION, Suppression, Suppressions};
pub use seal::{Seal, SealError};
pub use senders::{ChangeError, Sender, SenderError, Senders};
pub use tally::{Intake, Stranger, Tally};
pub use ways::{Way, Ways, WaysError};
