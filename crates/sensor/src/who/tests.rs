//! What is told of a peer, from frames, from the kernel and from names.

use super::*;

const MAC: Mac = [2, 0, 0, 0, 0, 0x66];
const ROUTER: Mac = [0xb8, 0x27, 0xeb, 0, 0, 1];

/// 192.0.2.0/24 is the link, and .1 on it the router.
fn kernel(address: IpAddr, _: u32) -> Standing {
    match address.to_string().as_str() {
        "192.0.2.66" => Standing { is_routed: false, mac: Some(MAC) },
        "192.0.2.1" => Standing { is_routed: false, mac: Some(ROUTER) },
        text if text.starts_with("192.0.2.") => Standing::default(),
        _ => Standing { is_routed: true, mac: Some(ROUTER) },
    }
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn frame(mac: Mac, ttl: u8) -> Frame {
    Frame { mac: Some(mac), ttl: Some(ttl), hops: Some(64 - ttl) }
}

#[test]
fn without_a_frame_the_kernel_knows_the_neighbour() {
    let who = Who::asking(kernel);
    let told = who.describe(at("192.0.2.66:40000"), 22);
    assert_eq!(told, Description { mac: Some(MAC), ..Description::default() });
    assert_eq!(who.describe(at("[::ffff:192.0.2.66]:40000"), 22), told, "the same address");
    assert_eq!(who.describe(at("192.0.2.9:40000"), 22), Description::default());
}

#[test]
fn a_frame_tells_mac_and_distance_and_a_syn_its_fingerprints() {
    let who = Who::asking(kernel);
    let syn =
        |ttl| Sighting { frame: frame(MAC, ttl), tcp: Some(format!("4:{ttl}")), ja4t: Some("64240_2".to_owned()) };
    who.saw_syn(at("192.0.2.9:40000"), at("192.0.2.2:22"), syn(62));
    who.saw_syn(at("192.0.2.9:40001"), at("192.0.2.2:22"), syn(60));
    let told = who.describe(at("192.0.2.9:40000"), 22);
    assert_eq!((told.mac, told.is_router, told.ttl, told.hops), (Some(MAC), false, Some(62), Some(2)));
    assert_eq!((told.tcp.as_deref(), told.ja4t.as_deref()), (Some("4:62"), Some("64240_2")));
    let other = who.describe(at("192.0.2.9:40002"), 22);
    assert_eq!((other.mac, other.ttl), (Some(MAC), Some(60)), "the address's last");
    assert_eq!((other.tcp, other.ja4t), (None, None), "another connection's are not its own");
    who.saw_frame(at("192.0.2.9:0").ip(), Frame { mac: Some(ROUTER), ..Frame::default() });
    let moved = who.describe(at("192.0.2.9:40002"), 22);
    assert_eq!((moved.mac, moved.ttl), (Some(ROUTER), Some(60)));
}

#[test]
fn a_routers_mac_is_marked_and_its_name_and_vendor_are_nobody_elses() {
    let who = Who::asking(kernel);
    who.saw_name(Some(ROUTER), None, "gateway", NameSource::Dhcp);
    who.saw_frame(at("198.51.100.7:0").ip(), frame(ROUTER, 61));
    let told = who.describe(at("198.51.100.7:40000"), 22);
    assert_eq!((told.mac, told.is_router, told.hops, told.name.is_none()), (Some(ROUTER), true, Some(3), true));
    let unseen = who.describe(at("198.51.100.8:40000"), 22);
    assert_eq!((unseen.mac, unseen.is_router), (Some(ROUTER), true), "by the kernel's route alone");
    let itself = who.describe(at("192.0.2.1:40000"), 22);
    assert_eq!((itself.mac, itself.is_router), (Some(ROUTER), false), "the router is itself");
    assert_eq!(itself.name, Some(("gateway".into(), NameSource::Dhcp)));
}

#[test]
fn names_go_by_address_then_by_mac_and_the_better_source_stays() {
    let who = Who::asking(kernel);
    let (peer, address) = (at("192.0.2.66:40000"), Some(at("192.0.2.66:0").ip()));
    let name = |who: &Who| who.describe(peer, 22).name.map(|(name, from)| (name.into_string(), from.word()));
    assert_eq!(name(&who), None);
    who.saw_name(Some(MAC), None, "LAPTOP-7", NameSource::Llmnr);
    assert_eq!(name(&who), Some(("LAPTOP-7".to_owned(), "llmnr")));
    who.saw_name(None, address, "laptop", NameSource::NetBios);
    assert_eq!(name(&who), Some(("laptop".to_owned(), "netbios")));
    who.saw_name(None, address, "OTHER", NameSource::Mdns);
    assert_eq!(name(&who), Some(("laptop".to_owned(), "netbios")), "mDNS is believed less");
    who.saw_name(None, address, "NEW", NameSource::Dhcp);
    assert_eq!(name(&who), Some(("NEW".to_owned(), "dhcp")));
    who.saw_name(None, address, "  ", NameSource::Dhcp);
    who.saw_name(None, address, &"ä".repeat(300), NameSource::Dhcp);
    assert_eq!(name(&who), Some(("ä".repeat(127), "dhcp")), "cut, and between two characters");
}

#[test]
fn who_answers_to_what_was_only_made_up_has_no_name() {
    let who = Who::asking(kernel);
    let (peer, address) = (at("192.0.2.66:40000"), Some(at("192.0.2.66:0").ip()));
    who.asked_for("FILESRV02.local");
    who.saw_name(None, address, "filesrv02", NameSource::Mdns);
    assert_eq!(who.describe(peer, 22).name, None, "this canary asked for it");
    for name in ["wpad", "fileserver", "printer", "intranet"] {
        who.saw_name(None, address, name, NameSource::Mdns);
        assert!(who.describe(peer, 22).name.is_some(), "{name}");
    }
    who.saw_name(None, address, "exchange", NameSource::Mdns);
    assert_eq!(who.describe(peer, 22).name, None, "one that answers to everything");
}

#[test]
fn nothing_of_the_link_is_told_of_the_loopback() {
    let who = Who::asking(|address, _| panic!("{address} is asked for"));
    let sighting = Sighting { frame: frame([0; 6], 64), tcp: Some("4:64".to_owned()), ja4t: None };
    who.saw_syn(at("127.0.0.1:40000"), at("127.0.0.1:22"), sighting);
    let told = who.describe(at("127.0.0.1:40000"), 22);
    let expected = Description { ttl: Some(64), hops: Some(0), tcp: Some("4:64".to_owned()), ..Description::default() };
    assert_eq!(told, expected);
    assert_eq!(who.describe(at("[::1]:40000"), 22), Description::default());
}

#[test]
fn the_kernel_is_asked_once_a_while() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let who = Who::asking(|address, scope| {
        assert_eq!((address.to_string().as_str(), scope), ("fe80::66", 4));
        ASKED.fetch_add(1, Ordering::Relaxed);
        Standing { is_routed: false, mac: Some(MAC) }
    });
    let peer = SocketAddr::V6(std::net::SocketAddrV6::new("fe80::66".parse().unwrap(), 40000, 0, 4));
    for _ in 0..10 {
        assert_eq!(who.describe(peer, 22).mac, Some(MAC));
    }
    assert_eq!(ASKED.load(Ordering::Relaxed), 1);
}

#[test]
fn a_flood_leaves_no_more_than_is_remembered() {
    let who = Who::asking(|_, _| Standing::default());
    for n in 0..50_000_u32 {
        let source = SocketAddr::new(std::net::Ipv4Addr::from(0x0a00_0000 + n).into(), 40000);
        who.saw_syn(source, at("192.0.2.2:22"), Sighting { frame: frame(MAC, 60), ..Sighting::default() });
        who.saw_name(None, Some(source.ip()), "flood", NameSource::Dhcp);
    }
    let memory = who.lock();
    assert!(memory.addresses.len() <= ADDRESSES, "{}", memory.addresses.len());
    assert!(memory.syns.len() <= SYNS, "{}", memory.syns.len());
    assert!(memory.names.len() <= NAMES, "{}", memory.names.len());
    drop(memory);
    assert_eq!(who.describe(SocketAddr::new([10, 0, 195, 79].into(), 40000), 22).ttl, Some(60), "the last one");
}
