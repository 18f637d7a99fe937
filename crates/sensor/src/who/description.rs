//! What is known of a peer, as its events say it.

use std::collections::BTreeMap;

use aviary_event::{Event, Value};
use aviary_wire::names::NameSource;
use aviary_wire::vendor;

use crate::neighbours::Mac;

/// What is known of a peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// MAC address, its own or its router's.
    pub mac: Option<Mac>,
    /// Whether it is a router's.
    pub is_router: bool,
    /// Its name, and how that was heard.
    pub name: Option<(Box<str>, NameSource)>,
    /// TTL or hop limit of its packets as they arrived.
    pub ttl: Option<u8>,
    /// Routers between.
    pub hops: Option<u8>,
    /// p0f's signature of the packet that began the connection.
    pub tcp: Option<String>,
    /// JA4T of the same.
    pub ja4t: Option<String>,
}

impl Description {
    /// Writes what is known into an event's own object, beside what the session noted.
    pub fn write(self, event: &mut Event) {
        let Some(ours) = &mut event.aviary else { return };
        let mut put = |key: &str, value: Value| drop(ours.more.insert(key.to_owned(), value));
        if let Some(mac) = self.mac {
            put("src_mac", mac_text(mac).into());
            if self.is_router {
                put("src_mac_router", true.into());
            } else if let Some(vendor) = vendor::of(mac) {
                put("src_vendor", vendor.into());
            }
        }
        if let Some((name, from)) = self.name {
            put("src_name", name.into_string().into());
            put("src_name_from", from.word().into());
        }
        if let Some(ttl) = self.ttl {
            put("src_ttl", i64::from(ttl).into());
        }
        if let Some(hops) = self.hops {
            put("src_hops", i64::from(hops).into());
        }
        let prints: Vec<(&str, String)> = [("tcp", self.tcp), ("ja4t", self.ja4t)]
            .into_iter()
            .filter_map(|(key, print)| Some((key, print?)))
            .collect();
        if prints.is_empty() {
            return;
        }
        let noted = ours.more.entry("fingerprint".to_owned()).or_insert_with(|| Value::Map(BTreeMap::new()));
        if let Value::Map(noted) = noted {
            noted.extend(prints.into_iter().map(|(key, print)| (key.to_owned(), print.into())));
        }
    }
}

/// `02:00:00:00:00:66`.
#[must_use]
pub(crate) fn mac_text(mac: Mac) -> String {
    let [a, b, c, d, e, f] = mac;
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}
