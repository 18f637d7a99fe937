//! The questions of a round, and whose answers count.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::Arc;
use std::time::Duration;

use aviary_event::{LogData, PeerBytes};
use aviary_service::{Heard, Interface, Outbox, Question, Seeker};

use super::codec::{self, A, AAAA};
use super::{Config, events, names};

/// Ports of NetBIOS name service and mDNS.
const NETBIOS: u16 = 137;
const MDNS: u16 = 5353;

/// LLMNR's groups.
const LLMNR_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 252);
const LLMNR_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 3);

/// mDNS's groups.
const MDNS_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const MDNS_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);

/// Windows asks LLMNR twice, 410 ms apart, and NetBIOS three times, 750 ms apart.
const LLMNR_TIMES: (u8, Duration) = (2, Duration::from_millis(410));
const NETBIOS_TIMES: (u8, Duration) = (3, Duration::from_millis(750));
const ONCE: (u8, Duration) = (1, Duration::ZERO);

/// Time that a round listens: the last repetition, and then as long as Windows waits.
const PATIENCE: Duration = Duration::from_secs(4);

/// Responders of a round that are reported, and questions that are kept.
const MOST: usize = 256;

/// The three protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Protocol {
    /// RFC 4795.
    Llmnr,
    /// RFC 1002.
    NetBios,
    /// RFC 6762.
    Mdns,
}

impl Protocol {
    /// All, with the words of `llmnr.protocols`.
    pub(super) const ALL: [(Self, &'static str); 3] =
        [(Self::Llmnr, "llmnr"), (Self::NetBios, "nbt-ns"), (Self::Mdns, "mdns")];

    const fn word(self) -> &'static str {
        match self {
            Self::Llmnr => "LLMNR",
            Self::NetBios => "NBT-NS",
            Self::Mdns => "mDNS",
        }
    }

    /// The word with which scapy begins the summary of an answer.
    const fn summary(self) -> &'static str {
        match self {
            Self::Llmnr => "DNS",
            Self::NetBios => "NBNS",
            Self::Mdns => "mDNS",
        }
    }
}

/// What was asked.
#[derive(Debug)]
struct Asked {
    protocol: Protocol,
    interface: String,
    id: u16,
    name: String,
}

/// Asks the networks of this host.
pub(super) struct Asker {
    config: Arc<Config>,
    asked: Vec<Asked>,
    told: HashSet<(IpAddr, Protocol, String)>,
}

impl Asker {
    pub(super) fn new(config: Arc<Config>) -> Self {
        Self { config, asked: Vec::new(), told: HashSet::new() }
    }

    fn plays(&self, protocol: Protocol) -> bool {
        self.config.protocols.contains(&protocol)
    }

    /// Remembers what was asked.
    fn note(&mut self, protocol: Protocol, interface: &Interface, id: u16, name: &str) {
        if self.asked.len() < MOST {
            let interface = interface.name.clone();
            self.asked.push(Asked { protocol, interface, id, name: name.to_owned() });
        }
    }

    /// What was asked and this answers, if anything. mDNS has no ids: its answers go by name alone.
    fn answered(&self, protocol: Protocol, interface: &str, answer: &codec::Answer) -> Option<&Asked> {
        let name = match protocol {
            Protocol::Mdns => strip_local(&answer.name),
            _ => &answer.name,
        };
        self.asked.iter().find(|asked| {
            asked.protocol == protocol
                && asked.interface == interface
                && (asked.id == answer.id || protocol == Protocol::Mdns)
                && asked.name.as_bytes().eq_ignore_ascii_case(name)
        })
    }
}

fn strip_local(name: &[u8]) -> &[u8] {
    let Some(at) = name.len().checked_sub(6) else { return name };
    match name.split_at_checked(at) {
        Some((head, tail)) if tail.eq_ignore_ascii_case(b".local") => head,
        _ => name,
    }
}

/// Numbers out of the 32 random bytes of a round on an interface: seven bytes for the name, then two each.
struct Chance([u8; 32], usize);

impl Chance {
    fn id(&mut self) -> u16 {
        let at = self.1;
        self.1 = at.saturating_add(2);
        let byte = |at: usize| self.0.get(at).copied().unwrap_or(0);
        u16::from_be_bytes([byte(at), byte(at.saturating_add(1))])
    }
}

impl Seeker for Asker {
    fn pause(&mut self, entropy: [u8; 32]) -> Duration {
        let (interval, splay) = (self.config.interval, self.config.splay.min(self.config.interval));
        let span = u64::try_from(splay.as_millis()).unwrap_or(0).saturating_mul(2).saturating_add(1);
        let chance = entropy.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        let offset = Duration::from_millis(chance.checked_rem(span).unwrap_or(0));
        // Never in a row: a round lasts seconds, too.
        interval.saturating_sub(splay).saturating_add(offset).max(Duration::from_secs(1))
    }

    fn wants(&self, interface: &Interface) -> bool {
        let config = &self.config;
        if !config.interfaces.is_empty() {
            return config.interfaces.contains(&interface.name);
        }
        if config.addresses.is_empty() {
            return !interface.is_loopback;
        }
        let holds = |address: &IpAddr| match address {
            IpAddr::V4(four) => interface.v4.iter().any(|(own, _)| own == four),
            IpAddr::V6(six) => interface.v6.contains(six),
        };
        config.addresses.iter().any(holds)
    }

    fn begin(&mut self) {
        self.asked.clear();
        self.told.clear();
    }

    fn ask(&mut self, interface: &Interface, entropy: [u8; 32]) -> Vec<Question> {
        let chance_of_name = entropy.first_chunk::<7>().copied().unwrap_or_default();
        let mut chance = Chance(entropy, 7);
        let name = match &self.config.name {
            Some(name) => name.clone(),
            None => names::name(&self.config.host_name, chance_of_name),
        };
        let mut questions = Vec::new();
        let mut add = |from, source_port, to, hops, times, bytes| {
            questions.push(Question { from, source_port, to, hops, times, bytes });
        };
        let four = interface.v4.first().copied();
        // Windows asks from its link-local address.
        let link_local = |address: &&Ipv6Addr| address.is_unicast_link_local();
        let six = interface.v6.iter().find(link_local).or_else(|| interface.v6.first().filter(|a| a.is_loopback()));
        let group = |address, port| SocketAddr::V6(SocketAddrV6::new(address, port, 0, interface.index));
        if self.plays(Protocol::Llmnr) {
            for record in [A, AAAA] {
                let id = chance.id();
                self.note(Protocol::Llmnr, interface, id, &name);
                let bytes = codec::question(id, &name, record);
                if let Some((own, _)) = four {
                    let to = SocketAddr::from((LLMNR_V4, self.config.port));
                    add(own.into(), None, to, 1, LLMNR_TIMES, bytes.clone());
                }
                if let Some(own) = six {
                    add((*own).into(), None, group(LLMNR_V6, self.config.port), 1, LLMNR_TIMES, bytes);
                }
            }
        }
        if self.plays(Protocol::NetBios)
            && let Some((own, Some(broadcast))) = four
        {
            let id = chance.id();
            self.note(Protocol::NetBios, interface, id, &name);
            let to = SocketAddr::from((broadcast, NETBIOS));
            add(own.into(), Some(NETBIOS), to, 128, NETBIOS_TIMES, codec::netbios_question(id, &name));
        }
        if self.plays(Protocol::Mdns) {
            self.note(Protocol::Mdns, interface, 0, &name);
            let bytes = codec::question(0, &format!("{name}.local"), A);
            if let Some((own, _)) = four {
                add(own.into(), None, SocketAddr::from((MDNS_V4, MDNS)), 255, ONCE, bytes.clone());
            }
            if let Some(own) = six {
                add((*own).into(), None, group(MDNS_V6, MDNS), 255, ONCE, bytes);
            }
        }
        questions
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }

    fn hear(&mut self, heard: &Heard<'_>, out: &mut Outbox) {
        let protocol = match heard.port {
            NETBIOS => Protocol::NetBios,
            MDNS => Protocol::Mdns,
            _ => Protocol::Llmnr,
        };
        let Some(answer) = codec::answer(heard.bytes) else { return };
        let Some(asked) = self.answered(protocol, heard.interface, &answer) else { return };
        let name = asked.name.clone();
        // Each question is asked more than once, for two kinds of address and over two families.
        let seen = (heard.source.ip(), protocol, answer.addresses.iter().map(ToString::to_string).collect());
        if self.told.len() >= MOST || !self.told.insert(seen) {
            return;
        }
        out.report(
            events::QUERY_RESPONSE,
            LogData::new().with("query_hostname", name.as_str()).with("response", summary(protocol, &answer)),
        );
        let addresses: Vec<PeerBytes> =
            answer.addresses.iter().map(|address| PeerBytes::from(address.to_string().as_bytes())).collect();
        let mut data = LogData::new()
            .with("ANSWERS", addresses)
            .with("INTERFACE", heard.interface)
            .with("NAME", name)
            .with("PROTOCOL", protocol.word());
        if answer.code != 0 {
            data.insert("RESPONSE_CODE", answer.code);
        }
        if let Some(hops) = heard.hops {
            data.insert("TTL", hops);
        }
        out.report(events::RESPONDER, data);
    }

    fn ports(&self) -> &'static [u16] {
        if self.plays(Protocol::NetBios) { &[NETBIOS] } else { &[] }
    }
}

/// The words of scapy's `DNS.summary()`.
fn summary(protocol: Protocol, answer: &codec::Answer) -> String {
    const CODES: [&str; 6] = ["ok", "format-error", "server-failure", "name-error", "not-implemented", "refused"];
    let word = protocol.summary();
    match answer.addresses.first() {
        Some(address) => format!("{word} Ans {address}"),
        None if answer.code != 0 => match CODES.get(usize::from(answer.code)) {
            Some(text) => format!("{word} Ans {text}"),
            None => format!("{word} Ans {}", answer.code),
        },
        None => format!("{word} Ans"),
    }
}
