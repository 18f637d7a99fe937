//! A running hub: takes events of many canaries, stores each once, and joins them into incidents.
//!
//! Where an event comes from does not matter here: every way in gives lines and a [`Source`], and gets a word on
//! each line.

mod access;
mod arrival;
mod certificate;
pub mod clock;
mod embedded;
mod feed;
mod foreign;
mod intake;
mod people;
mod retention;
mod room;
mod rules;
mod senders;
mod tally;
mod ways;

pub use access::{Scope, Token, TokenError, find_token, make_token};
pub use arrival::{Arrival, Refusal, Source};
pub use certificate::{Certificate, CertificateError, own_certificate, read_certificate};
pub use embedded::{event_in, object_in};
pub use feed::{Feed, News};
pub use intake::{Hub, Word};
pub use people::{Attempt, Link, ListedToken, People, Person, PersonError, Role, Session, SignedIn};
pub use retention::{Keep, retain, retain_once};
pub use room::{Place, Room};
pub use rules::{Suppression, Suppressions};
pub use senders::{ChangeError, Sender, SenderError, Senders};
pub use tally::{Intake, Stranger, Tally};
pub use ways::{Way, Ways, WaysError};
