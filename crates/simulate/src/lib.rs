//! A model of what many sensors see, for tests, measurements and demonstrations: the same seed gives the same events.
//!
//! Strangers knock, ask and guess passwords as on the Internet, a few of them all the time and most once. Into that, again
//! and again, come a sweep of all sensors for one port and of one sensor for all ports, a spray of one password over many
//! users and sensors, and a worm that goes from machine to machine. Events are of kinds that the services declare, with
//! keys that they write.

mod fleet;
mod lines;
mod random;
mod traffic;

use aviary_event::{Event, Timestamp};

pub use traffic::Simulation;

/// What is simulated.
#[derive(Clone, Debug)]
pub struct Options {
    /// Chance begins here.
    pub seed: u64,
    /// How many sensors.
    pub sensors: usize,
    /// When it begins.
    pub start: Timestamp,
    /// Visits of strangers a second, over all sensors. A visit is one event or a few hundred.
    pub pace: f64,
    /// Whether sweep, spray and worm come.
    pub scenes: bool,
}

impl Default for Options {
    /// Two hundred sensors on the first day of 2026, with a visit each five seconds.
    fn default() -> Self {
        Self { seed: 1, sensors: 200, start: Timestamp::from_micros(1_767_225_600_000_000), pace: 0.2, scenes: true }
    }
}

/// An event of a sensor.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The sensor's number, from 0.
    pub sensor: usize,
    /// What it says.
    pub event: Event,
}
