//! Senders that have no token, since their way has no place for one: known by their addresses.

use std::net::IpAddr;
use std::sync::Arc;

use aviary_store::{Document, Networks, PutError, StoreError};
use serde::{Deserialize, Serialize};

use crate::{Hub, Source};

/// The kind of their documents. The key is the sensor's name.
pub(crate) const KIND: &str = "sender";

/// Longest name of a sensor, in bytes.
const LONGEST: usize = 100;
/// Most networks of one.
const MOST: usize = 100;

/// Whose lines come from where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sender {
    /// Addresses and networks.
    pub networks: Vec<String>,
    /// Where the sensor stands.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub site: String,
    /// The `node_id`s that its lines may have; any if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<String>,
}

/// Why a sender is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SenderError {
    /// The name is none.
    #[error("`name` is empty, or longer than {LONGEST} bytes")]
    Name,
    /// There are none, or too many.
    #[error("`networks` has {count}; accepted: 1 to {MOST}")]
    Count {
        /// How many.
        count: usize,
    },
    /// One is none.
    #[error("`networks`: `{text}` is no address or network such as 10.0.0.0/8")]
    Network {
        /// What it says.
        text: String,
    },
    /// One is everybody.
    #[error("`networks`: `{text}` is everybody; who may send from anywhere needs a token")]
    Everybody {
        /// What it says.
        text: String,
    },
    /// Another sensor has it.
    #[error("`networks`: `{text}` is of the sensor `{sensor}` already")]
    Taken {
        /// What it says.
        text: String,
        /// Whose it is.
        sensor: String,
    },
}

/// Why a change of a sender is not made.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// It is wrong.
    #[error(transparent)]
    Wrong(#[from] SenderError),
    /// There is none of this name.
    #[error("there is no sender `{name}`")]
    Missing {
        /// The name.
        name: String,
    },
    /// Somebody changed it at the same time.
    #[error(transparent)]
    Conflict(#[from] PutError),
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// All senders, for questions.
#[derive(Clone, Debug, Default)]
pub struct Senders {
    /// From the narrowest network to the widest.
    known: Vec<(Networks, Arc<Source>)>,
}

impl Sender {
    /// Whether it is right by itself, and beside these.
    ///
    /// # Errors
    /// Names the member, what it says and what it takes.
    pub fn check(&self, name: &str, others: &Senders) -> Result<(), SenderError> {
        if name.trim().is_empty() || name.len() > LONGEST {
            return Err(SenderError::Name);
        }
        if self.networks.is_empty() || self.networks.len() > MOST {
            return Err(SenderError::Count { count: self.networks.len() });
        }
        for text in &self.networks {
            let said = || text.chars().take(LONGEST).collect::<String>();
            let Some(network) = Networks::parse(text) else { return Err(SenderError::Network { text: said() }) };
            if Networks::parse("0.0.0.0/0").is_none_or(|all| holds(network, all)) {
                return Err(SenderError::Everybody { text: said() });
            }
            let other = others.known.iter().find(|(known, source)| *known == network && source.sensor != name);
            if let Some((_, source)) = other {
                return Err(SenderError::Taken { text: said(), sensor: source.sensor.clone() });
            }
        }
        Ok(())
    }
}

impl Senders {
    /// Reads documents. One that cannot be read lets nobody in, and is told.
    #[must_use]
    pub(crate) fn read(documents: Vec<Document>) -> Self {
        let mut known = Vec::new();
        for document in documents {
            let sender: Sender = match serde_json::from_value(document.body) {
                Ok(sender) => sender,
                Err(error) => {
                    tracing::error!(sender = document.key, %error, "a sender cannot be read");
                    continue;
                }
            };
            let source = Arc::new(Source { sensor: document.key, site: sender.site, nodes: sender.nodes });
            let networks = sender.networks.iter().filter_map(|text| Networks::parse(text));
            known.extend(networks.map(|network| (network, Arc::clone(&source))));
        }
        known.sort_by_key(|(network, _)| width(*network));
        Self { known }
    }

    /// Whose lines come from an address: the narrowest network counts.
    #[must_use]
    pub fn find(&self, address: IpAddr) -> Option<&Arc<Source>> {
        let Networks { first: key, .. } = Networks::one(address);
        self.known.iter().find(|(network, _)| network.first <= key && key <= network.last).map(|(_, source)| source)
    }
}

impl Hub {
    /// The senders as they are stored, by name.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn stored_senders(&self) -> Result<Vec<(String, Sender)>, StoreError> {
        let read = |document: Document| Some((document.key, serde_json::from_value(document.body).ok()?));
        Ok(self.store().documents(KIND).await?.into_iter().filter_map(read).collect())
    }

    /// Says whose lines come from where, from now on.
    ///
    /// # Errors
    /// When it is wrong, was changed at the same time, or is not stored.
    pub async fn put_sender(&self, name: &str, sender: &Sender, by: &str) -> Result<(), ChangeError> {
        sender.check(name, &self.senders())?;
        let version = self.store().document(KIND, name).await?.map_or(0, |document| document.version);
        let body = serde_json::to_value(sender).unwrap_or_default();
        let document = Document { kind: KIND.to_owned(), key: name.to_owned(), version, body };
        self.store().put(document, by.to_owned(), self.now()).await??;
        Ok(self.reload().await?)
    }

    /// Takes nothing more from where a sender was.
    ///
    /// # Errors
    /// When there is none, it was changed at the same time, or the store takes nothing.
    pub async fn remove_sender(&self, name: &str, by: &str) -> Result<(), ChangeError> {
        let Some(document) = self.store().document(KIND, name).await? else {
            return Err(ChangeError::Missing { name: name.chars().take(LONGEST).collect() });
        };
        self.store().remove(document, by.to_owned(), self.now()).await??;
        Ok(self.reload().await?)
    }
}

/// Whether all of one network is in the other.
fn holds(network: Networks, other: Networks) -> bool {
    network.first <= other.first && other.last <= network.last
}

/// How many addresses follow the first.
fn width(network: Networks) -> u128 {
    u128::from_be_bytes(network.last).saturating_sub(u128::from_be_bytes(network.first))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn senders(all: &[(&str, &str)]) -> Senders {
        let document = |(name, network): &(&str, &str)| Document {
            kind: KIND.to_owned(),
            key: (*name).to_owned(),
            version: 1,
            body: json!({"networks": [network]}),
        };
        Senders::read(all.iter().map(document).collect())
    }

    fn found(senders: &Senders, address: &str) -> Option<String> {
        senders.find(address.parse().expect("an address")).map(|source| source.sensor.clone())
    }

    #[test]
    fn the_narrowest_network_says_whose_a_line_is() {
        let senders = senders(&[("wide", "10.0.0.0/8"), ("one", "10.0.0.1"), ("six", "2001:db8::/32")]);
        assert_eq!(found(&senders, "10.0.0.1").as_deref(), Some("one"));
        assert_eq!(found(&senders, "::ffff:10.0.0.1").as_deref(), Some("one"));
        assert_eq!(found(&senders, "10.0.0.12").as_deref(), Some("wide"));
        assert_eq!(found(&senders, "2001:db8::7").as_deref(), Some("six"));
        assert_eq!(found(&senders, "192.0.2.1"), None);
    }

    #[test]
    fn what_lets_in_nobody_or_everybody_is_refused() {
        let others = senders(&[("north", "10.0.0.0/8")]);
        let said = |name: &str, networks: &[&str]| {
            let networks = networks.iter().map(|text| (*text).to_owned()).collect();
            Sender { networks, site: String::new(), nodes: Vec::new() }
                .check(name, &others)
                .err()
                .map(|e| e.to_string())
        };
        assert_eq!(said("north", &["10.0.0.0/8"]), None, "its own");
        assert_eq!(said("south", &["10.0.0.0/9", "::1"]), None);
        assert_eq!(
            said("south", &["10.1.2.3/8"]).as_deref(),
            Some("`networks`: `10.1.2.3/8` is of the sensor `north` already")
        );
        for (name, networks, word) in [
            ("", &["10.0.0.1"][..], "`name`"),
            ("south", &[], "`networks` has 0"),
            ("south", &["ten"], "`ten` is no address"),
            ("south", &["0.0.0.0/0"], "everybody"),
            ("south", &["::/0"], "everybody"),
        ] {
            let why = said(name, networks).unwrap_or_default();
            assert!(why.contains(word), "{why}");
        }
    }
}
