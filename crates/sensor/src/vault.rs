//! Secrets of this installation in files: `STATE/secrets/NAME`, mode 0600, made once.

use std::collections::HashMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use aviary_service::{Slot, Vault};

/// Largest secret that is read back, in bytes.
const CAP: u64 = 64 * 1024;

/// A vault in a folder.
#[derive(Debug)]
pub(crate) struct FileVault {
    folder: PathBuf,
    slots: Mutex<HashMap<String, Slot>>,
}

impl FileVault {
    /// Opens the folder, which is made with mode 0700 if it is not there.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub(crate) fn open(folder: PathBuf) -> std::io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        Ok(Self { folder, slots: Mutex::default() })
    }

    /// Fills every slot that was asked for; blocks until all are there (seconds at the first start).
    pub(crate) fn fill(&self) {
        let slots: Vec<Slot> = self.slots.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        for slot in slots {
            let _ = slot.wait();
        }
    }
}

impl Vault for FileVault {
    fn slot(&self, name: &str, make: Box<dyn Fn() -> Vec<u8> + Send + Sync>) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.folder.join(name.replace('/', "_"));
        slots.entry(name.to_owned()).or_insert_with(|| Slot::new(Box::new(move || load_or_make(&path, &*make)))).clone()
    }
}

/// A secret that cannot be kept is used all the same: the service stands, and the log says why the
/// next start will look like another machine.
fn load_or_make(path: &Path, make: &dyn Fn() -> Vec<u8>) -> Vec<u8> {
    if let Ok(secret) = read(path)
        && !secret.is_empty()
    {
        return secret;
    }
    let secret = make();
    if let Err(error) = keep(path, &secret) {
        tracing::error!(path = %path.display(), %error, "secret cannot be kept and will differ after a restart");
    }
    secret
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let mut secret = Vec::new();
    let mut chunk = [0; 4096];
    let mut file = file.take(CAP);
    loop {
        let n = file.read(&mut chunk)?;
        if n == 0 {
            return Ok(secret);
        }
        secret.extend_from_slice(chunk.get(..n).unwrap_or_default());
    }
}

/// Written beside and renamed, so that a crash leaves either the whole secret or none.
fn keep(path: &Path, secret: &[u8]) -> std::io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(secret)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::*;

    #[test]
    fn keeps_a_secret_between_starts_and_from_others() {
        static MADE: AtomicU8 = AtomicU8::new(0);
        let dir = tempfile::tempdir().unwrap();
        let make =
            || Box::new(|| vec![MADE.fetch_add(1, Ordering::Relaxed) + 1]) as Box<dyn Fn() -> Vec<u8> + Send + Sync>;
        for _ in 0..2 {
            let vault = FileVault::open(dir.path().join("secrets")).unwrap();
            assert_eq!(vault.slot("ssh/rsa", make()).wait(), [1]);
        }
        let mode = std::fs::metadata(dir.path().join("secrets/ssh_rsa")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
