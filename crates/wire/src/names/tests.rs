//! What packets tell of their senders, and what they do not. The packets are scapy's.

use super::*;

const MAC: [u8; 6] = [0xd8, 0x3b, 0xbf, 1, 2, 3];
const HOST: &str = "192.0.2.66";

/// A packet of the fixtures.
fn packet(name: &str) -> Vec<u8> {
    let lines = include_str!("fixtures/scapy.txt").lines();
    let hex = lines.filter_map(|line| line.split_once(' ')).find(|(named, _)| *named == name).expect(name).1;
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn from(address: &str, port: u16) -> Sender {
    Sender { mac: Some(MAC), address: address.parse().unwrap(), port }
}

/// Every packet that names its sender: source address and port, destination port, name and protocol.
const TELLING: [(&str, &str, u16, u16, &str, NameSource); 9] = [
    ("dhcp_request", "0.0.0.0", 68, 67, "LAPTOP-7", NameSource::Dhcp),
    ("dhcp_fqdn_only", "0.0.0.0", 68, 67, "LAPTOP-7.corp.example", NameSource::Dhcp),
    ("dhcp6_solicit", "fe80::66", 546, 547, "LAPTOP-7.corp.example", NameSource::Dhcp),
    ("nbns_registration", HOST, 137, 137, "LAPTOP-7", NameSource::NetBios),
    ("nbds", HOST, 138, 138, "LAPTOP-7", NameSource::NetBios),
    ("mdns", HOST, 5353, 5353, "MacBook-Pro", NameSource::Mdns),
    ("mdns_additional", HOST, 5353, 5353, "raspi", NameSource::Mdns),
    ("llmnr_own", HOST, 50000, 5355, "LAPTOP-7", NameSource::Llmnr),
    ("llmnr_answer", HOST, 5355, 50000, "LAPTOP-7", NameSource::Llmnr),
];

#[test]
fn hosts_tell_their_names() {
    for (name, source, port, to, told, by) in TELLING {
        let heard = passive(from(source, port), to, &packet(name)).expect(name);
        let address: IpAddr = source.parse().unwrap();
        assert_eq!((heard.name.as_str(), heard.from), (told, by), "{name}");
        assert_eq!(heard.address, Some(address).filter(|address| !address.is_unspecified()), "{name}");
        let own_mac = name.starts_with("dhcp");
        assert_eq!(heard.mac, own_mac.then_some(MAC), "{name}: by MAC where no router can have passed it on");
    }
}

#[test]
fn an_address_of_version_six_that_holds_one_of_four_is_that() {
    let heard = passive(from("::ffff:192.0.2.66", 5353), 5353, &packet("mdns")).unwrap();
    assert_eq!(heard.address, Some(HOST.parse().unwrap()));
}

#[test]
fn a_link_local_address_shows_whose_mac_it_is() {
    let heard = passive(from("fe80::66", 5353), 5353, &packet("mdns")).unwrap();
    assert_eq!((heard.mac, heard.name.as_str()), (Some(MAC), "MacBook-Pro"));
}

#[test]
fn nobody_names_another() {
    for (name, _, port, to, _, by) in TELLING {
        // What has no address in it counts for whoever sends it.
        if by == NameSource::Dhcp || name == "llmnr_own" {
            continue;
        }
        assert_eq!(passive(from("192.0.2.67", port), to, &packet(name)), None, "{name}");
    }
    let another = Sender { mac: Some([2, 0, 0, 0, 0, 1]), ..from("0.0.0.0", 68) };
    assert_eq!(passive(another, 67, &packet("dhcp_request")), None, "another's MAC address in the request");
    let unseen = Sender { mac: None, ..from("0.0.0.0", 68) };
    assert_eq!(passive(unseen, 67, &packet("dhcp_request")).unwrap().mac, Some(MAC));
}

#[test]
fn what_is_no_hosts_own_name_is_none() {
    for (name, source, port, to) in [
        ("dhcp_ack", HOST, 67, 68),
        ("dhcp_ack", "0.0.0.0", 68, 67),
        ("dhcp_relayed", "0.0.0.0", 68, 67),
        ("dhcp_request", "0.0.0.0", 67, 67),
        ("nbns_group", HOST, 137, 137),
        ("nbns_query", HOST, 137, 137),
        ("mdns_query", HOST, 5353, 5353),
        ("mdns", HOST, 40000, 5353),
        ("llmnr_question", HOST, 50000, 5355),
        ("llmnr_answer", HOST, 50000, 5355),
        ("nbns_registration", HOST, 137, 53),
    ] {
        assert_eq!(passive(from(source, port), to, &packet(name)), None, "{name} to {to}");
    }
    let mut group = packet("nbds");
    group[14 + 1 + 30..14 + 1 + 32].copy_from_slice(b"BN");
    assert_eq!(passive(from(HOST, 138), 138, &group), None, "a name of kind 0x1d");
}

#[test]
fn every_prefix_tells_the_name_or_nothing() {
    for (name, source, port, to, told, _) in TELLING {
        let whole = packet(name);
        let heard = |end: usize| passive(from(source, port), to, &whole[..end]);
        for end in 0..whole.len() {
            // A client's FQDN may stand for a host name that was not reached, and a cut FQDN is none.
            assert!(heard(end).is_none_or(|heard| heard.name == told), "{name} {end}");
        }
        assert_eq!(heard(12.min(whole.len())), None, "{name}");
    }
}

#[test]
fn junk_tells_nothing() {
    for (name, source, port, to, ..) in TELLING {
        for filler in [0, 0x20, 0x41, 0x80, 0xc0, 0xff] {
            assert_eq!(passive(from(source, port), to, &[filler; 600]), None, "{name} {filler}");
            // Broken in each place, it must still end; what it tells is then up to who broke it.
            let mut broken = packet(name);
            for at in 0..broken.len() {
                let kept = std::mem::replace(&mut broken[at], filler);
                let heard = passive(from(source, port), to, &broken);
                assert!(heard.is_none_or(|heard| heard.name.len() <= 4 * LONGEST), "{name} {at}");
                broken[at] = kept;
            }
        }
    }
}

#[test]
fn what_was_asked_for_is_read_of_all_three_protocols() {
    assert_eq!(asked(&packet("llmnr_question")), ["fileserver"]);
    assert_eq!(asked(&packet("mdns_query")), ["MacBook-Pro.local"]);
    assert_eq!(asked(&packet("nbns_query")), ["FILESRV"]);
    assert_eq!(asked(&packet("llmnr_answer")), [""; 0]);
    assert_eq!(asked(b""), [""; 0]);
}

#[test]
fn names_lose_what_is_no_part_of_them() {
    assert_eq!(text(b"LAPTOP-7\0"), Some("LAPTOP-7".to_owned()));
    assert_eq!(text(b"a.example. "), Some("a.example".to_owned()));
    assert_eq!(text(b"caf\xe9"), Some("caf\\xe9".to_owned()));
    assert_eq!(text("café".as_bytes()), Some("café".to_owned()));
    assert_eq!(text(b" \0."), None);
    assert_eq!(text(&[b'x'; 400]).map(|text| text.len()), Some(LONGEST));
}
