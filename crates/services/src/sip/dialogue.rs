//! A connection over TCP: one message after another.

use std::sync::Arc;

use aviary_service::{Dialogue, Facts, Outbox};

use super::agent::{Agent, Circumstances};
use super::codec::{self, Frame};

/// One connection.
pub(super) struct Connection {
    agent: Arc<Agent>,
    at: Circumstances,
    /// Whether anything was reported.
    told: bool,
    /// Whether blank lines came.
    blank: bool,
}

impl Connection {
    pub(super) fn new(agent: Arc<Agent>, facts: &Facts) -> Self {
        let at = Circumstances {
            peer: facts.peer,
            local: facts.local,
            tcp: true,
            room: None,
            entropy: facts.entropy,
            count: 0,
        };
        Self { agent, at, told: false, blank: false }
    }

    fn broken(&mut self, bytes: &[u8], why: &str, out: &mut Outbox) {
        self.told = true;
        self.agent.no_request(bytes, why, self.at, out);
    }
}

impl Dialogue for Connection {
    fn open(&mut self, _out: &mut Outbox) {}

    fn feed(&mut self, input: &[u8], out: &mut Outbox) -> usize {
        match codec::frame(input) {
            Frame::Incomplete => 0,
            Frame::Blank(used) => {
                self.blank = true;
                used
            }
            Frame::Message { head, body, used } => {
                self.told = true;
                self.at.count = self.at.count.saturating_add(1);
                self.agent.message(head, body, self.at, out);
                used
            }
            Frame::Broken(why) => {
                self.broken(input, why, out);
                out.close();
                input.len()
            }
        }
    }

    fn ended(&mut self, rest: &[u8], out: &mut Outbox) {
        if !rest.is_empty() {
            self.broken(rest, "unfinished message", out);
        } else if self.blank && !self.told {
            self.broken(b"\r\n", "blank lines and no message", out);
        }
    }

    fn expired(&mut self, rest: &[u8], out: &mut Outbox) {
        self.ended(rest, out);
    }

    fn overflowed(&mut self, input: &[u8], out: &mut Outbox) {
        self.broken(input, "message too long", out);
    }
}
