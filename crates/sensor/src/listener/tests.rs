//! What is said when a port cannot be bound, and how a listener ends.

use std::time::{Duration, Instant};

use aviary_service::Security;

use super::*;
use crate::testing::{Rig, ask};

#[test]
fn a_busy_port_is_explained_with_its_holder() {
    let held = bind(Some(Ipv4Addr::LOCALHOST.into()), 0).unwrap();
    let port = held.local_addr().unwrap().port();
    let error = bind(Some(Ipv4Addr::LOCALHOST.into()), port).unwrap_err();
    let said = explain(None, port, Protocol::Tcp, &error);
    assert!(said.starts_with(&format!("port {port} is taken by ")), "{said}");
    assert!(said.contains(&format!("(pid {})", std::process::id())), "{said}");
}

#[test]
fn every_refusal_says_what_to_do() {
    let said = explain(None, 22, Protocol::Tcp, &io::Error::from(io::ErrorKind::PermissionDenied));
    assert!(said.contains("CAP_NET_BIND_SERVICE") && said.contains("restart"), "{said}");
    let error = bind(Some([192, 0, 2, 1].into()), 0).unwrap_err();
    let said = explain(Some([192, 0, 2, 1].into()), 21, Protocol::Tcp, &error);
    assert!(said.contains("no address 192.0.2.1") && said.contains("device.listen_addr"), "{said}");
    let other = explain(None, 21, Protocol::Tcp, &io::Error::from_raw_os_error(nix::libc::EIO));
    assert!(other.starts_with("port 21 cannot be bound: "), "{other}");
}

#[test]
fn every_address_means_both_families() {
    let listener = bind(None, 0).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    if std::net::TcpListener::bind("[::1]:0").is_ok() {
        std::net::TcpStream::connect(("::1", port)).unwrap();
    }
}

#[test]
fn an_ipv4_peer_of_a_socket_for_both_is_named_as_ipv4() {
    let mapped: SocketAddr = "[::ffff:192.0.2.7]:99".parse().unwrap();
    assert_eq!(canonical(mapped), "192.0.2.7:99".parse().unwrap());
    let real: SocketAddr = "[2001:db8::7]:99".parse().unwrap();
    assert_eq!(canonical(real), real);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_is_free_as_soon_as_its_listener_says_it_has_ended() {
    for _ in 0..20 {
        let rig = Rig::new(Security::Plain);
        let mut peer = rig.greeted();
        rig.stop.send(true).unwrap();
        let began = Instant::now();
        while !rig.stop.is_closed() {
            assert!(began.elapsed() < Duration::from_secs(5));
            tokio::task::yield_now().await;
        }
        bind(Some(rig.address.ip()), rig.address.port()).unwrap();
        // Conversations go on.
        assert_eq!(ask(&mut peer, "echo on"), "on");
    }
}
