//! Behind a proxy: whom a request really comes from.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use aviary_store::Networks;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;

use crate::serve::Peer;

/// Believes `X-Forwarded-For` of these networks, and of nobody else.
pub fn behind(router: Router, proxies: Vec<Networks>) -> Router {
    if proxies.is_empty() {
        return router;
    }
    router.layer(from_fn_with_state(Arc::new(proxies), believe))
}

async fn believe(State(proxies): State<Arc<Vec<Networks>>>, mut request: Request, next: Next) -> Response {
    if let Some(Peer(peer)) = request.extensions().get::<Peer>().copied() {
        let address = origin(peer.ip(), request.headers(), &proxies);
        request.extensions_mut().insert(Peer(SocketAddr::new(address, peer.port())));
    }
    next.run(request).await
}

/// The last address in the list that is no proxy of ours: everything before it may be invented.
fn origin(peer: IpAddr, headers: &HeaderMap, proxies: &[Networks]) -> IpAddr {
    let is_proxy = |address: IpAddr| proxies.iter().any(|network| network.holds(address));
    let lines: Vec<&str> = headers.get_all("x-forwarded-for").iter().filter_map(|line| line.to_str().ok()).collect();
    let mut origin = peer;
    for text in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
        if !is_proxy(origin) {
            break;
        }
        let Some(address) = read(text.trim()) else { break };
        origin = address;
    }
    origin
}

/// An address as proxies write it, with a port or without.
fn read(text: &str) -> Option<IpAddr> {
    let alone = text.strip_prefix('[').and_then(|text| text.split_once(']')).map_or(text, |(address, _)| address);
    let address = alone.parse::<IpAddr>().or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()));
    address.ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn of(peer: &str, lines: &[&str]) -> String {
        let proxies = ["10.0.0.0/24", "2001:db8::/32"].map(|text| Networks::parse(text).expect("a network"));
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-forwarded-for", HeaderValue::from_str(line).expect("a header"));
        }
        origin(peer.parse().expect("an address"), &headers, &proxies).to_string()
    }

    #[test]
    fn a_stranger_cannot_say_who_they_are() {
        assert_eq!(of("192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
        assert_eq!(of("10.0.1.1", &["198.51.100.7"]), "10.0.1.1");
    }

    #[test]
    fn a_proxy_is_believed_and_what_stands_before_its_word_is_not() {
        assert_eq!(of("10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(of("10.0.0.1", &["203.0.113.9, 198.51.100.7"]), "198.51.100.7");
        assert_eq!(of("10.0.0.1", &["203.0.113.9, 198.51.100.7, 10.0.0.2"]), "198.51.100.7");
        assert_eq!(of("10.0.0.1", &["203.0.113.9", "198.51.100.7"]), "198.51.100.7");
        assert_eq!(of("2001:db8::1", &["[2001:470::1]:443"]), "2001:470::1");
        assert_eq!(of("10.0.0.1", &["198.51.100.7:1234"]), "198.51.100.7");
        assert_eq!(of("10.0.0.1", &["::ffff:198.51.100.7"]), "198.51.100.7");
    }

    #[test]
    fn what_is_no_address_ends_the_list() {
        assert_eq!(of("10.0.0.1", &["198.51.100.7, unknown"]), "10.0.0.1");
        assert_eq!(of("10.0.0.1", &[""]), "10.0.0.1");
        assert_eq!(of("10.0.0.1", &[]), "10.0.0.1");
    }
}
