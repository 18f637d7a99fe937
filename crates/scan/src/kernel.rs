//! A packet as the kernel's firewall logs it, which is how OpenCanary writes it.
//!
//! The fields are those of Linux's `nf_log_ip_packet` and `nf_log_ipv6_packet`; addresses and ports stand
//! in the event's own keys. A field without a value, such as a flag, is empty text.

use std::fmt::Write as _;

use aviary_event::LogData;

use crate::packet::{Flags, Ip, Packet, Transport};

/// The fields of a packet that came in by an interface.
#[must_use]
pub fn log_data(packet: &Packet<'_>, interface: &str) -> LogData {
    let mut data = LogData::new().with("IN", interface).with("OUT", "").with("MAC", mac(&packet.ethernet));
    data = match packet.ip {
        Ip::V4 { tos, length, id, fragment, ttl, .. } => {
            // The kernel prints the lower bits of the field as TOS and its precedence apart.
            let mut data = data
                .with("LEN", length.to_string())
                .with("TOS", format!("{:#04x}", tos & 0x1e))
                .with("PREC", format!("{:#04x}", tos & 0xe0))
                .with("TTL", ttl.to_string())
                .with("ID", id.to_string());
            for (bit, name) in [(0x8000, "CE"), (0x4000, "DF"), (0x2000, "MF")] {
                if fragment & bit != 0 {
                    data = data.with(name, "");
                }
            }
            data
        }
        Ip::V6 { class, flow, length, hops } => data
            .with("LEN", length.to_string())
            .with("TC", class.to_string())
            .with("HOPLIMIT", hops.to_string())
            .with("FLOWLBL", flow.to_string()),
    };
    let tcp = match &packet.transport {
        Transport::Tcp(tcp) => tcp,
        Transport::Cut(_) => return data.with("PROTO", "TCP"),
        Transport::Udp(_) => return data.with("PROTO", "UDP"),
        Transport::Icmp(_) => return data.with("PROTO", "ICMP"),
    };
    data = data
        .with("PROTO", "TCP")
        .with("WINDOW", tcp.window.to_string())
        .with("RES", format!("{:#04x}", tcp.reserved))
        .with("URGP", tcp.urgent.to_string());
    for (bit, name) in [
        (Flags::CWR, "CWR"),
        (Flags::ECE, "ECE"),
        (Flags::URG, "URG"),
        (Flags::PSH, "PSH"),
        (Flags::RST, "RST"),
        (Flags::SYN, "SYN"),
        (Flags::FIN, "FIN"),
    ] {
        if tcp.flags.has(bit) {
            data = data.with(name, "");
        }
    }
    data
}

/// `08:00:27:da:4c:e2:6c:96:cf:dd:ee:bd:08:00`: destination, source, type.
fn mac(header: &[u8]) -> String {
    let mut text = String::new();
    for (at, byte) in header.iter().enumerate() {
        let _ = write!(text, "{}{byte:02x}", if at == 0 { "" } else { ":" });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::tests::frame;

    #[test]
    fn is_the_event_of_the_article() {
        let frame = frame(Flags::FIN);
        let packet = Packet::parse(&frame).expect("a packet");
        let printed: Vec<String> = log_data(&packet, "eth1")
            .iter()
            .map(|(key, value)| format!("{key}={}", String::from_utf8_lossy(value.as_bytes().unwrap())))
            .collect();
        assert_eq!(
            printed.join(" "),
            "FIN= ID=29768 IN=eth1 LEN=40 MAC=08:00:27:da:4c:e2:6c:96:cf:dd:ee:bd:08:00 OUT= PREC=0x00 PROTO=TCP \
             RES=0x00 TOS=0x00 TTL=59 URGP=0 WINDOW=1024"
        );
    }
}
