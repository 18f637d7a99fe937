//! What an imitated service is to the frame that runs it.
//!
//! A [`Service`] says where it listens and makes one [`Dialogue`] for each connection, or looks at one
//! datagram after the other. A dialogue
//! turns bytes into replies and events through an [`Outbox`] and does nothing else: no sockets, no
//! clock, no randomness, no waiting. Binding, limits, timeouts, TLS, panic containment, the journal
//! and shutdown belong to the frame, so no service can forget them.

mod allowance;
mod dialogue;
mod entry;
mod follow;
mod outbox;
mod seeker;
mod vault;

pub use allowance::Allowance;
pub use dialogue::{Dialogue, Facts, SessionId, TlsFacts, Transport};
pub use entry::{Build, Entry, Materials, Rejection};
pub use follow::{Follow, LineReader, Told};
pub use outbox::{Computation, Outbox, Step, TlsStart, Wrapping};
pub use seeker::{Heard, Interface, Question, Seeker};
pub use service::{Endpoint, KeepAlive, Limits, Protocol, Security, Service, TlsKey, TlsProfile};
pub use vault::{Maker, MemoryVault, Slot, Vault};

mod service;
