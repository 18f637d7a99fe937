//! What real scanners sent, recorded: nmap 7.93, masscan 1.3.2, ZMap 2.1.1, hping3 3.0.0a2, and urllib of Python 3.11.
//!
//! They scanned four addresses between two network namespaces of one machine; port 80 of the first was served by
//! Python. The captures in `fixtures/` hold both directions.

use aviary_scan::{Probe, Proto, Rules, Summary, Tool};

use crate::replay::{Capture, OURS, Segment, Told};

fn play(name: &str) -> Told {
    let path = format!("{}/fixtures/{name}.pcap", env!("CARGO_MANIFEST_DIR"));
    let capture = Capture::from_pcap(&std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}")));
    capture.play(Rules::default(), &[(Proto::Tcp, 80)], 80)
}

fn brief(scan: &Summary) -> (Probe, Option<Tool>, usize, u32, u32) {
    (scan.probe, scan.tool, scan.hosts.len(), scan.tcp.count, scan.udp.count)
}

#[test]
fn each_scan_is_recognised() {
    let nmap = Some(Tool::Nmap);
    for (name, expected) in [
        ("nmap_syn", (Probe::Syn, nmap, 1, 6, 0)),
        ("nmap_syn6", (Probe::Syn, nmap, 1, 6, 0)),
        ("nmap_connect", (Probe::Connect, None, 1, 6, 0)),
        ("nmap_null", (Probe::Null, nmap, 1, 6, 0)),
        ("nmap_fin", (Probe::Fin, nmap, 1, 6, 0)),
        ("nmap_xmas", (Probe::Xmas, nmap, 1, 6, 0)),
        ("nmap_ack", (Probe::Ack, nmap, 1, 6, 0)),
        ("nmap_maimon", (Probe::Maimon, nmap, 1, 6, 0)),
        ("nmap_udp", (Probe::Udp, None, 1, 0, 6)),
        ("nmap_os", (Probe::Os, nmap, 1, 2, 1)),
        ("nmap_hosts", (Probe::Syn, nmap, 4, 2, 0)),
        ("nmap_masks", (Probe::Icmp, None, 4, 0, 0)),
        ("masscan", (Probe::Syn, Some(Tool::Masscan), 1, 6, 0)),
        ("masscan_udp", (Probe::Udp, None, 1, 0, 4)),
        ("masscan_ping", (Probe::Icmp, None, 4, 0, 0)),
        ("zmap", (Probe::Syn, Some(Tool::Zmap), 4, 1, 0)),
        ("zmap_icmp", (Probe::Icmp, Some(Tool::Zmap), 4, 0, 0)),
        ("zmap_udp", (Probe::Udp, Some(Tool::Zmap), 4, 0, 1)),
        ("hping", (Probe::Syn, Some(Tool::Hping), 1, 6, 0)),
    ] {
        assert_eq!(brief(play(name).only()), expected, "{name}");
    }
}

#[test]
fn looking_for_hosts_is_a_scan() {
    let told = play("nmap_sn");
    let scan = told.only();
    assert_eq!((scan.tool, scan.hosts.len()), (Some(Tool::Nmap), 4));
    assert_eq!(scan.tcp.order, [443, 80], "a SYN to one, an acknowledgement to the other");
    assert_eq!(scan.probes, [(Probe::Syn, 4), (Probe::Ack, 2), (Probe::Icmp, 4)]);
}

#[test]
fn operating_system_probes_are_told_apart_from_the_scan_before() {
    let told = play("nmap_os");
    let of = |probe| told.only().probes.iter().find(|(known, _)| *known == probe).map(|(_, packets)| *packets);
    assert!(of(Probe::Os).is_some_and(|packets| packets >= 16), "{:?}", told.only().probes);
    assert_eq!(of(Probe::Ack), None, "T4 and T6 are its");
    assert!(told.compatible.contains(&5002));
}

#[test]
fn what_browses_or_pings_is_none() {
    play("curl").nothing();
    play("hping_icmp").nothing();
}

/// Mirai's number is its victim's address; this packet is made after its source.
#[test]
fn mirai_is_told_by_its_sequence_number() {
    let mut capture = Capture::default();
    for (number, port) in [23, 2323, 7547].into_iter().enumerate() {
        let mut frame = Segment { to: (OURS[0], port), ..Segment::default() }.frame();
        frame[38..42].copy_from_slice(&OURS[0].octets());
        capture.add(number as f64, frame);
    }
    assert_eq!(capture.play(Rules::default(), &[], 70).only().tool, Some(Tool::Mirai));
}
