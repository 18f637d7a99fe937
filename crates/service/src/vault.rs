//! Secrets of this installation: host keys, certificates, salts. Made once, kept, never shared.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Makes a secret the first time it is needed.
pub type Maker = Box<dyn Fn() -> Vec<u8> + Send + Sync>;

/// Keeps secrets by name.
pub trait Vault: Send + Sync {
    /// The secret of that name; `make` makes it when it was never made. Nothing is made by this
    /// call: the frame fills slots in the background after the ports are open.
    fn slot(&self, name: &str, make: Maker) -> Slot;
}

/// A secret that may still be in the making.
#[derive(Clone)]
pub struct Slot {
    value: Arc<OnceLock<Vec<u8>>>,
    make: Arc<Maker>,
}

impl Slot {
    /// A slot filled by `load`, which reads or makes and keeps the secret.
    #[must_use]
    pub fn new(load: Maker) -> Self {
        Self { value: Arc::default(), make: Arc::new(load) }
    }

    /// The secret if it is there already.
    #[must_use]
    pub fn ready(&self) -> Option<&[u8]> {
        self.value.get().map(Vec::as_slice)
    }

    /// The secret; blocks while it is made (seconds for an RSA key), so not for the event loop
    /// unless [`Slot::ready`] answered.
    #[must_use]
    pub fn wait(&self) -> &[u8] {
        self.value.get_or_init(|| (self.make)())
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Slot(..)")
    }
}

/// A vault that forgets: for tests and for checking a configuration.
#[derive(Debug, Default)]
pub struct MemoryVault {
    slots: Mutex<HashMap<String, Slot>>,
}

impl Vault for MemoryVault {
    fn slot(&self, name: &str, make: Maker) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.entry(name.to_owned()).or_insert_with(|| Slot::new(make)).clone()
    }
}
