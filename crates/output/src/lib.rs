//! What a destination of events is, and the loop that delivers to it.
//!
//! An [`Output`] encodes events and hands them over; everything else — its own queue position,
//! retry with back-off, time limits, health — belongs to the loop around it, so that no destination
//! can slow a service or another destination.

mod output;

pub use output::{Blueprint, Delivery, DeliveryError, Entry, Failure, Output, Rejection};
