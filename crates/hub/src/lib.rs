//! A running hub: takes events of many canaries, stores each once, and joins them into incidents.
//!
//! Where an event comes from does not matter here: every way in gives lines and a [`Source`], and gets a word on
//! each line.

mod access;
mod alarm;
mod arrival;
mod authority;
mod certificate;
pub mod clock;
mod feed;
mod intake;
mod rules;
pub mod sensors;

pub use access::{Scope, Token, TokenError, find_token, make_token};
pub use alarm::{KINDS, SENSOR_STATE};
pub use arrival::{Arrival, Refusal, Source};
pub use authority::{Authority, Issued, fingerprint};
pub use certificate::{Certificate, CertificateError, own_certificate, read_certificate};
pub use feed::{Feed, News};
pub use intake::{Hub, Word};
pub use rules::{Suppression, Suppressions};
