//! The key space: every key that a file may hold, from this crate and from the services.

use std::collections::{BTreeMap, BTreeSet};

use crate::key::{Key, Shape, numbered};
use crate::keys::{CORE, IDLE};
use crate::persona::Persona;
use crate::problem::nearest;

/// `NAME.honeycreds`, which every service has whether it declares it or not.
static HONEYCREDS: Key = Key {
    name: "SERVICE.honeycreds",
    shape: Shape::List,
    default: "[]",
    doc: "Logins that mark an event with `honeycred`: a list of objects with `username` and `password`, the latter plain or hashed.",
};

/// Every key that a file may hold.
#[derive(Clone, Debug)]
pub struct KeySpace {
    keys: BTreeMap<&'static str, Key>,
    services: BTreeSet<&'static str>,
    personas: &'static [Persona],
}

impl KeySpace {
    /// The keys of this crate and those of the services that are built, given by layers above.
    /// A key that is given replaces one of the same name here.
    pub fn new<'a>(services: impl IntoIterator<Item = &'a [Key]>) -> Self {
        let mut keys: BTreeMap<_, _> = CORE.iter().chain(IDLE).map(|key| (key.name, *key)).collect();
        for key in services.into_iter().flatten() {
            keys.insert(key.name, *key);
        }
        let services = keys.keys().filter_map(|name| service_of_switch(name)).collect();
        Self { keys, services, personas: &[] }
    }

    /// The same with the machines that `device.persona` may name.
    #[must_use]
    pub fn with_personas(self, personas: &'static [Persona]) -> Self {
        Self { personas, ..self }
    }

    /// The machines that `device.persona` may name.
    #[must_use]
    pub const fn personas(&self) -> &'static [Persona] {
        self.personas
    }

    /// The key of a name as it stands in a file.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Key> {
        if let Some(key) = self.keys.get(name) {
            return Some(key);
        }
        if let Some((pattern, _)) = numbered(name) {
            return self.keys.get(pattern.as_str());
        }
        // OpenCanary looks for `SIP.honeycreds`, `SNMP.honeycreds` and `VNC.honeycreds`; both spellings count.
        let service = name.strip_suffix(".honeycreds")?.to_ascii_lowercase();
        self.services.contains(service.as_str()).then_some(&HONEYCREDS)
    }

    /// All keys that are declared, by name.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.keys.values()
    }

    /// Names of all services.
    pub fn services(&self) -> impl Iterator<Item = &'static str> {
        self.services.iter().copied()
    }

    /// What an unknown name may have been meant to be.
    pub(crate) fn suggestion(&self, name: &str) -> Option<String> {
        let number = numbered(name).map(|(_, number)| number.to_string());
        let names: Vec<String> = self
            .keys
            .keys()
            .map(|key| key.replace('#', number.as_deref().unwrap_or("1")))
            .chain(self.services.iter().map(|service| format!("{service}.honeycreds")))
            .collect();
        // Within a service that exists only its own keys are likely: `ssh.banner` is not `ftp.banner`.
        let family = name.split_once('.').map(|(family, _)| family.to_ascii_lowercase());
        let own = |key: &&str| family.as_ref().is_some_and(|family| key.split('.').next() == Some(family));
        let known: Vec<&str> = names.iter().map(String::as_str).collect();
        let siblings: Vec<&str> = known.iter().copied().filter(own).collect();
        let found = nearest(name, if siblings.is_empty() { known } else { siblings.clone() });
        match found {
            Some(found) => Some(format!("did you mean `{found}`?")),
            None if siblings.is_empty() => None,
            None => Some(format!("known here: `{}`", siblings.join("`, `"))),
        }
    }
}

/// `ftp` of `ftp.enabled`: the key that makes a family of keys a service.
fn service_of_switch(name: &'static str) -> Option<&'static str> {
    name.strip_suffix(".enabled").filter(|service| !service.contains(['.', '#']))
}

#[cfg(test)]
mod tests {
    use crate::testing::space;

    #[test]
    fn finds_numbered_keys_and_honeycreds_of_every_service() {
        let space = space();
        assert_eq!(space.find("tcpbanner_7.port").map(|key| key.name), Some("tcpbanner_#.port"));
        assert!(space.find("tcpbanner_x.port").is_none());
        for name in ["ftp.honeycreds", "mysql.honeycreds", "VNC.honeycreds", "vnc.honeycreds"] {
            assert!(space.find(name).is_some(), "{name}");
        }
        assert!(space.find("gopher.honeycreds").is_none());
    }

    #[test]
    fn suggests_within_the_service_first() {
        let space = space();
        assert_eq!(space.suggestion("ftp.prot").as_deref(), Some("did you mean `ftp.port`?"));
        assert_eq!(space.suggestion("ftpd.port").as_deref(), Some("did you mean `ftp.port`?"));
        assert_eq!(space.suggestion("tcpbanner_3.prot").as_deref(), Some("did you mean `tcpbanner_3.port`?"));
        let known = space.suggestion("rdp.certificate").expect("keys of RDP");
        assert_eq!(known, "known here: `rdp.enabled`, `rdp.port`, `rdp.honeycreds`");
        assert_eq!(space.suggestion("completely.else"), None);
    }

    #[test]
    fn every_default_is_json_of_its_shape() {
        for key in space().keys().filter(|key| !key.default.is_empty()) {
            let value = serde_json::from_str(key.default).unwrap_or_else(|_| panic!("{}", key.name));
            assert!(crate::shape::read(key.shape, &value, true).is_ok(), "{}", key.name);
        }
    }
}
