//! What happened: the event, its kinds (log types), the bytes a peer sent, and its JSON forms.
//!
//! The compact line is the contract that OpenCanary 0.9.10 fixed: one JSON object, keys sorted,
//! `", "` and `": "` between members, everything outside printable ASCII escaped. What Aviary knows
//! beyond it stands in one extra object, `aviary`. This crate does no I/O and reads no clock.

mod event;
mod forms;
mod json;
mod kind;
mod of_hub;
mod origin;
mod peer_bytes;
mod raw;
mod severity;
mod time;
mod value;

pub use event::{Aviary, Event, ParseError};
pub use json::{write_string as write_json_string, write_value as write_json_value};
pub use kind::{Class, Kind, KindInfo};
pub use of_hub::{ALERT, HUB_KINDS, TROUBLE};
pub use origin::{Origin, Port};
pub use peer_bytes::PeerBytes;
pub use severity::Severity;
pub use time::Timestamp;
pub use value::{LogData, Value};
