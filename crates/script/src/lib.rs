//! Users' modules: services and outputs in Rhai, a file each, without a compiler and without a way out.
//!
//! A module declares itself in a function `about`, and has functions that are called as bytes come; what they
//! may do is send, report and close. `docs/modules.md` is the manual. Scripts run inside the canary, so they
//! are bounded in all they take ([`limits`]): a script that runs away costs its own session and nothing else.
//!
//! The list of modules is a folder, read by [`entries`]. Each module becomes an [`Entry`](aviary_service::Entry)
//! as the built-in services have one, so that plan, reload, limits, journal and honeycreds know no difference.

//! An output has a function `emit` that is called for each event, and says what to send to which of the destinations
//! that its handler names ([`output`]). How to reach those is told from outside: this crate opens no connection.

// Bytes from peers are hostile: nothing here may panic, overflow or truncate on their account.
#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::string_slice,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

mod dialogue;
mod emission;
mod emitter;
mod engine;
mod folder;
mod kinds;
pub mod limits;
mod manifest;
mod module;
mod outgoing;
mod output;
mod rehearsal;
mod service;
mod session;
mod template;
mod text;
mod values;

pub use emission::rehearse_output;
pub use emitter::{Declared, Emitted, Emitter, is_output};
pub use engine::{Clock, lend_clock};
pub use folder::{KEYS, entries};
pub use kinds::KINDS;
pub use manifest::{Manifest, Transport};
pub use module::{Fault, Module};
pub use output::{OUTPUT_OPTIONS, Open, output};
pub use rehearsal::{Rehearsal, rehearse};
pub use template::{Shape as TemplateShape, template};
pub use text::{from_text, to_text};

/// The word for who declares the kinds, and the prefix of the key that names the folder.
pub const NAME: &str = "usermodule";

/// What it is, for tables.
pub const SUMMARY: &str = "users' modules in Rhai";
