//! What a destination of events is, and the loop that delivers to it.
//!
//! An [`Output`] encodes events and hands them over; everything else — its own queue position,
//! retry with back-off, time limits, health — belongs to the loop around it ([`run`]), so that no
//! destination can slow a service or another destination.

mod backoff;
mod delivery;
mod destination;
mod format;
mod health;
mod output;
mod route;
mod routed;
mod telling;
mod template;
mod throttle;

pub use backoff::Pacing;
pub use delivery::{Batch, Source, run};
pub use destination::{Body, Destination, Message};
pub use format::{LineFormat, moment};
pub use health::{Health, HealthReport, State};
pub use output::{Blueprint, DRILL, Delivery, DeliveryError, Entry, Failure, Output, Rejection, Someday};
pub use route::Route;
pub use routed::routed;
pub use telling::Telling;
pub use template::{Piece, Template, visible};
pub use throttle::{DIGEST, Rate, TEST};

#[cfg(test)]
mod delivery_tests;
