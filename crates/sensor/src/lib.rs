//! A running canary: listeners, TLS, limits, the pipeline from report to output, reload, privileges.

mod canary;
mod capture;
mod clock;
mod connections;
mod control;
mod conversation;
mod datagrams;
mod drills;
mod errand;
mod follow;
mod ground;
mod handlers;
mod kinds;
mod listener;
mod machine;
mod metrics;
mod neighbours;
mod outlets;
mod own;
mod plan;
mod ports;
mod post;
mod privileges;
mod quarantine;
mod reporter;
mod scanning;
mod seeker;
mod session;
mod tally;
#[cfg(test)]
mod testing;
mod tls;
mod vault;
mod who;

pub use canary::{Canary, StartError, Startup};
pub use clock::{now, now_micros};
pub use control::{ControlError, Reload, ask, follow, socket_path};
pub use handlers::{console_of, odd_options, unknown_class};
pub use kinds::ALL as KINDS;
pub use metrics::{FAMILIES, Family, Sort};
pub use plan::{Plan, PlannedOutput, PortRule, entries};
pub use ports::{holder, port_trouble};
pub use post::PostView;
pub use privileges::{Identity, PrivilegeError, held};
pub use who::{Description, Frame, Sighting, Who};

/// An error with all its causes on one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
