//! A datagram to at most one answer and its events.

use aviary_event::Timestamp;
use aviary_service::{Endpoint, Facts, Outbox, Protocol, Security, Service, Slot};
use aviary_wire::guess::Budget;

use super::agent::{self, Grant};
use super::codec::{Community, Message, Secure, SecureAnswer, community_bytes, message};
use super::mib::{Mib, address_of};
use super::persona::Persona;
use super::report;
use super::usm::{self, Refusal};
use super::value::Moment;

/// Microseconds of a day.
const DAY: u64 = 86_400_000_000;
/// Octets that an answer to GETBULK fills at most: what an Ethernet frame carries.
const BULK_SIZE: usize = 1400;

/// The service as configured.
pub(super) struct Snmp {
    pub(super) port: u16,
    pub(super) persona: &'static Persona,
    pub(super) mib: Mib,
    pub(super) read: Vec<Vec<u8>>,
    pub(super) write: Vec<Vec<u8>>,
    pub(super) users: Vec<Vec<u8>>,
    pub(super) host: String,
    pub(super) contact: String,
    pub(super) location: String,
    pub(super) description: String,
    /// 32 random bytes of this installation.
    pub(super) secret: Slot,
    pub(super) guesses: Budget,
}

impl Service for Snmp {
    fn endpoints(&self) -> Vec<Endpoint> {
        vec![Endpoint {
            port: self.port,
            label: "snmp".to_owned(),
            protocol: Protocol::Udp,
            security: Security::Plain,
            try_line: "snmpget -v2c -c public {host}:{port} 1.3.6.1.2.1.1.1.0",
        }]
    }

    fn datagram(&self, _endpoint: usize, facts: &Facts, bytes: &[u8], out: &mut Outbox) {
        match message(bytes) {
            Ok(Message::Community(message)) => self.community(&message, facts, out),
            Ok(Message::Secure(message)) => self.secure(&message, facts, bytes, out),
            Err(error) => report::malformed(&error, bytes, out),
        }
    }
}

/// How often the machine started, and when last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) boots: u32,
    /// Microseconds since.
    pub(super) uptime: u64,
}

/// The machine starts anew after 60 to 150 days, at the same distance each time: the clock and the secret
/// alone say when it did.
pub(super) fn start(now: Timestamp, secret: &[u8]) -> Start {
    let [.., a, b, c, d, e, f] = secret else { return Start { boots: 1, uptime: 0 } };
    let now = u64::try_from(now.as_micros()).unwrap_or(0);
    let period = 60_u64.saturating_add(u64::from(*a) * 90 / 255).saturating_mul(DAY);
    let phase = (u64::from(u32::from_be_bytes([*b, *c, *d, *e])) << 20).checked_rem(period).unwrap_or(0);
    let since = now.saturating_sub(phase);
    // Not how often since 1970: machines are younger.
    let rounds = since
        .checked_div(period)
        .unwrap_or(0)
        .saturating_sub(1_700_000_000_000_000_u64.checked_div(period).unwrap_or(0));
    Start {
        boots: u32::try_from(rounds).unwrap_or(0).saturating_add(2 + u32::from(*f % 8)),
        uptime: since.checked_rem(period).unwrap_or(0),
    }
}

impl Snmp {
    fn community(&self, message: &Community<'_>, facts: &Facts, out: &mut Outbox) {
        let is_in = |list: &[Vec<u8>]| list.iter().any(|known| known == message.community);
        let may_write = is_in(&self.write);
        let accepted = may_write || is_in(&self.read);
        report::community(message, accepted, out);
        if !accepted {
            return;
        }
        let size = self.persona.size;
        // Who has proven nothing gets a list that is as long as may be sent, and asks again for the rest.
        let bulk_size = BULK_SIZE.min(size).min(out.room());
        let grant =
            Grant { is_v1: message.version == 0, may_write, size, bulk_size, community: message.community.len() };
        let secret = self.secret.wait();
        let engine = self.persona.engine_id(self.mac(secret), secret).unwrap_or_default();
        let moment = self.moment(out.now(), facts, secret, &engine);
        if let Some(pdu) = agent::respond(&self.mib.view(&moment), &message.pdu, grant) {
            out.reply(community_bytes(message.version, message.community, &pdu));
        }
    }

    fn secure(&self, message: &Secure<'_>, facts: &Facts, bytes: &[u8], out: &mut Outbox) {
        let is_known = self.users.iter().any(|user| user == message.user);
        let secret = self.secret.wait();
        let engine = self.persona.engine_id(self.mac(secret), secret);
        if message.is_authenticated() {
            let guess = engine.as_deref() == Some(message.engine) && self.guesses.take(out.now().as_seconds());
            report::login(message, usm::capture(message, bytes, facts.count, guess), is_known, out);
        } else {
            report::secure(message, is_known, out);
        }
        let Some(engine) = engine else { return };
        let request = message.scoped.as_ref().map(|scoped| &scoped.pdu);
        let id = request.map_or(0, |pdu| pdu.id);
        // Each report counts; the datagrams that came are near enough.
        let count = u32::try_from(facts.count).unwrap_or(u32::MAX);
        let pdu = if request.is_some_and(|pdu| agent::refuse(pdu).is_none()) {
            None
        } else if message.engine != engine {
            Some(Refusal::UnknownEngine.report(id, count))
        } else if !is_known {
            Some(Refusal::UnknownUser.report(id, count))
        } else if message.is_authenticated() {
            Some(Refusal::WrongDigest.report(id, count))
        } else {
            request.and_then(agent::refuse)
        };
        let Some(pdu) = pdu else { return };
        let Start { boots, uptime } = start(out.now(), secret);
        let time = u32::try_from(uptime / 1_000_000).unwrap_or(0);
        let answer =
            SecureAnswer { id: message.id, engine: &engine, boots, time, user: message.user, context: b"", pdu: &pdu };
        out.reply(answer.encode());
    }

    fn moment<'a>(&'a self, now: Timestamp, facts: &Facts, secret: &'a [u8], engine: &'a [u8]) -> Moment<'a> {
        let Start { boots, uptime } = start(now, secret);
        Moment {
            now,
            boots,
            uptime,
            engine,
            address: address_of(facts.local.ip()),
            mac: self.mac(secret),
            secret,
            host: &self.host,
            contact: &self.contact,
            location: &self.location,
            description: &self.description,
        }
    }

    fn mac(&self, secret: &[u8]) -> [u8; 6] {
        let [a, b, c] = self.persona.vendor;
        let [d, e, f] = secret.first_chunk::<3>().copied().unwrap_or_default();
        // Room for the ports behind the first.
        [a, b, c, d, e, f & 0xc0]
    }
}
