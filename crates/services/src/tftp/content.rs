//! Decoy files: what is served under which name.
//!
//! INVARIANT: every secret in them is a string of this installation's own seed and opens nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use aviary_service::Slot;
use sha2::{Digest as _, Sha256};

use super::codec::{Mode, netascii};

/// Crypt's alphabet, as in the hashes of a switch.
const CRYPT: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A file as it is, and as netascii has it.
#[derive(Clone, Debug)]
pub(super) struct Forms {
    octet: Arc<[u8]>,
    netascii: Arc<[u8]>,
}

impl Forms {
    pub(super) fn new(bytes: &[u8]) -> Self {
        Self { octet: bytes.into(), netascii: netascii(bytes).into() }
    }
}

/// What a decoy holds.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// A file of the operator's.
    Given(Forms),
    /// The configuration of a switch.
    Switch,
    /// The menu of a network boot.
    Boot,
}

impl Content {
    /// What can be made up for a file of that name.
    pub(super) fn for_name(name: &str) -> Option<Self> {
        if name.starts_with("pxelinux.cfg/") {
            return Some(Self::Boot);
        }
        let ends = ["-config", "-confg", ".cfg", ".conf", ".confg"];
        ends.iter().any(|end| name.ends_with(end)).then_some(Self::Switch)
    }
}

/// The decoys by name.
pub(super) struct Files {
    pub files: BTreeMap<String, Content>,
    pub host_name: String,
    /// 32 bytes of this installation.
    pub seed: Slot,
    pub made: OnceLock<(Forms, Forms)>,
}

impl Files {
    /// The bytes of a file, leading slashes aside.
    pub(super) fn find(&self, name: &[u8], mode: Mode) -> Option<Arc<[u8]>> {
        let slashes = name.iter().take_while(|byte| **byte == b'/').count();
        let name = std::str::from_utf8(name.get(slashes..)?).ok()?;
        let content = self.files.get(name)?;
        let forms = match content {
            Content::Given(forms) => forms,
            Content::Switch => &self.made().0,
            Content::Boot => &self.made().1,
        };
        Some(Arc::clone(match mode {
            Mode::Octet => &forms.octet,
            Mode::Netascii => &forms.netascii,
        }))
    }

    fn made(&self) -> &(Forms, Forms) {
        self.made.get_or_init(|| (Forms::new(self.switch().as_bytes()), Forms::new(self.boot().as_bytes())))
    }

    /// Bytes of this installation's own, another row for every label.
    fn own(&self, label: &str) -> [u8; 32] {
        // The secret is 32 random bytes, so making it here, should nobody have yet, takes no time.
        let seed = self.seed.ready().unwrap_or_else(|| self.seed.wait());
        Sha256::new().chain_update(seed).chain_update(label).finalize().into()
    }

    fn crypt(&self, label: &str, length: usize) -> String {
        let rows = [self.own(label), self.own(&format!("{label} more"))];
        let characters = rows.as_flattened().iter().filter_map(|byte| CRYPT.get(usize::from(byte & 63)));
        characters.take(length).map(|byte| char::from(*byte)).collect()
    }

    fn switch(&self) -> String {
        let [a, b, c, ..] = self.own("addresses");
        let hash = |label: &str| format!("$9${}${}", self.crypt(&format!("{label} salt"), 14), self.crypt(label, 43));
        include_str!("fixtures/switch.txt")
            .replace("{host}", &self.host_name)
            .replace("{enable}", &hash("enable"))
            .replace("{admin}", &hash("admin"))
            .replace("{community}", &self.crypt("community", 10).replace(['.', '/'], "x"))
            .replace("{net}", &format!("10.{}.{}", a & 63, b))
            .replace("{number}", &(20_u16.saturating_add(u16::from(c) % 200)).to_string())
    }

    fn boot(&self) -> String {
        let [a, b, ..] = self.own("addresses");
        include_str!("fixtures/boot.txt").replace("{net}", &format!("10.{}.{}", a & 63, b))
    }
}
