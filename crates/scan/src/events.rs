//! Kinds of scan: OpenCanary's, a number for what a packet looks like with the kernel's fields as keys, and the
//! scan as a whole.

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
pub static KINDS: [KindInfo; 6] = [
    kind(5001, "LOG_PORT_SYN", "a SYN to a port where nothing listens; so many a second of a source"),
    kind(5002, "LOG_PORT_NMAPOS", "a probe of nmap's OS detection: SYN, FIN, PSH and URG at once"),
    kind(5003, "LOG_PORT_NMAPNULL", "a packet without flags"),
    kind(5004, "LOG_PORT_NMAPXMAS", "a packet with FIN, PSH and URG"),
    kind(5005, "LOG_PORT_NMAPFIN", "a FIN of no connection"),
    KindInfo {
        number: 32_000,
        constant: "LOG_SCAN",
        class: Class::Scan,
        when: "a scan is known as one, goes on with news, and is over: `STATE` says which, `SCAN` is the same in all \
               three; `KIND` is how most packets scan, `PORTS` the first 256 TCP ports in the order tried",
        keys: &[
            "DURATION_MS",
            "FIRST",
            "HOSTS",
            "HOSTS_AT_LEAST",
            "HOST_COUNT",
            "KIND",
            "KINDS",
            "LAST",
            "PACKETS",
            "PORTS",
            "PORTS_AT_LEAST",
            "PORT_COUNT",
            "RATE",
            "SCAN",
            "STATE",
            "TOOL",
            "UDP_PORTS",
            "UDP_PORT_COUNT",
        ],
        technique: &["T1046"],
    },
];

pub(crate) static SYN: Kind = &KINDS[0];
pub(crate) static NMAP_OS: Kind = &KINDS[1];
pub(crate) static NULL: Kind = &KINDS[2];
pub(crate) static XMAS: Kind = &KINDS[3];
pub(crate) static FIN: Kind = &KINDS[4];
/// The kind of what [`scan_data`](crate::scan_data) makes.
pub static SCAN: Kind = &KINDS[5];
