//! OpenCanary's kinds of scan: a number for what a packet looks like, and the kernel's fields as keys.

use aviary_event::{Class, Kind, KindInfo};

/// Every field that the kernel's firewall prints of a TCP packet, but for those that are in the event's
/// other keys.
const FIELDS: &[&str] = &[
    "CE", "CWR", "DF", "ECE", "FIN", "FLOWLBL", "FRAG", "HOPLIMIT", "ID", "IN", "LEN", "MAC", "MF", "OUT", "PREC",
    "PROTO", "PSH", "RES", "RST", "SYN", "TC", "TOS", "TTL", "URG", "URGP", "WINDOW",
];

const fn kind(number: i64, constant: &'static str, when: &'static str) -> KindInfo {
    KindInfo { number, constant, class: Class::Scan, when, keys: FIELDS, technique: &["T1046"] }
}

/// All kinds.
pub static KINDS: [KindInfo; 5] = [
    kind(5001, "LOG_PORT_SYN", "a SYN to a port where nothing listens; so many a second of a source"),
    kind(5002, "LOG_PORT_NMAPOS", "a probe of nmap's OS detection: SYN, FIN, PSH and URG at once"),
    kind(5003, "LOG_PORT_NMAPNULL", "a packet without flags"),
    kind(5004, "LOG_PORT_NMAPXMAS", "a packet with FIN, PSH and URG"),
    kind(5005, "LOG_PORT_NMAPFIN", "a FIN of no connection"),
];

pub(crate) static SYN: Kind = &KINDS[0];
pub(crate) static NMAP_OS: Kind = &KINDS[1];
pub(crate) static NULL: Kind = &KINDS[2];
pub(crate) static XMAS: Kind = &KINDS[3];
pub(crate) static FIN: Kind = &KINDS[4];
