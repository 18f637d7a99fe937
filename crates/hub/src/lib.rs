//! A running hub: takes events of many canaries, stores each once, and joins them into incidents.
//!
//! Where an event comes from does not matter here: every way in gives lines and a [`Source`], and gets a word on
//! each line.

mod access;
mod arrival;
mod certificate;
pub mod clock;
mod feed;
mod foreign;
mod intake;
mod retention;
mod rules;

pub use access::{Scope, Token, TokenError, find_token, make_token};
pub use arrival::{Arrival, Refusal, Source};
pub use certificate::{Certificate, CertificateError, own_certificate, read_certificate};
pub use feed::{Feed, News};
pub use intake::{Hub, Word};
pub use retention::{Keep, retain, retain_once};
pub use rules::{Suppression, Suppressions};
