//! The quarantine: files that peers upload, bounded in size, readable by nobody but the canary.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use aviary_service::SessionId;
use tokio::sync::Semaphore;

/// What a file takes at least: a block of the disk.
const BLOCK: u64 = 4096;
/// Most files.
const FILES: u64 = 10_000;
/// Longest part of a file's name that a service chooses.
const LONGEST_NAME: usize = 64;

/// A folder that takes so much and no more.
#[derive(Debug)]
pub(crate) struct Quarantine {
    folder: PathBuf,
    /// Bytes in all files, and in one.
    bounds: (u64, u64),
    /// Bytes and number of all files, once they were counted.
    used: Mutex<Option<(u64, u64)>>,
    /// One writer at a time, so that others wait without holding a thread.
    turn: Semaphore,
    /// Whether the last file could not be written.
    failing: AtomicBool,
}

impl Quarantine {
    /// A quarantine in this folder, with bounds for all files together and for one, in bytes.
    #[must_use]
    pub(crate) fn new(folder: PathBuf, bounds: (u64, u64)) -> Arc<Self> {
        let (used, failing) = (Mutex::default(), AtomicBool::new(false));
        Arc::new(Self { folder, bounds, used, turn: Semaphore::new(1), failing })
    }

    /// Appends to a file of a session; see `Outbox::keep`. What does not fit is dropped.
    pub(crate) async fn keep(self: &Arc<Self>, session: SessionId, name: &str, bytes: Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let this = Arc::clone(self);
        let name = format!("{session}-{}", harmless(name));
        let _turn = self.turn.acquire().await;
        let kept = tokio::task::spawn_blocking(move || this.append(&name, &bytes)).await;
        let failed = matches!(kept, Ok(Err(_)));
        // Said once until it works again: strangers cause these.
        if !self.failing.swap(failed, Ordering::Relaxed)
            && let Ok(Err(error)) = kept
        {
            tracing::error!(%error, folder = %self.folder.display(), "an upload cannot be kept");
        }
    }

    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let (so_far, files) = match *used {
            Some(used) => used,
            None => {
                fs::DirBuilder::new().mode(0o700).recursive(true).create(&self.folder)?;
                let files = fs::read_dir(&self.folder)?.flatten();
                let sizes = files.filter_map(|file| file.metadata().ok()).map(|data| data.len().max(BLOCK));
                sizes.fold((0_u64, 0_u64), |(sum, count), size| (sum.saturating_add(size), count + 1))
            }
        };
        *used = Some((so_far, files));
        let path = self.folder.join(name);
        let present = fs::metadata(&path).ok().map(|data| data.len());
        if present.is_none() && files >= FILES {
            return Ok(());
        }
        let length = present.unwrap_or(0);
        let before = present.map_or(0, |length| length.max(BLOCK));
        // What is left of the file's last block was paid for.
        let room = self.bounds.0.saturating_sub(so_far).saturating_add(before.saturating_sub(length));
        let room = room.min(self.bounds.1.saturating_sub(length));
        let fitting = bytes.get(..usize::try_from(room).unwrap_or(usize::MAX)).unwrap_or(bytes);
        if fitting.is_empty() {
            return Ok(());
        }
        let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        let written = file.write_all(fitting);
        let now = file.metadata().map_or(length, |data| data.len());
        let grown = now.max(BLOCK).saturating_sub(before);
        *used = Some((so_far.saturating_add(grown), files + u64::from(present.is_none())));
        written
    }
}

/// A name that stands for nothing but a file in the folder.
fn harmless(name: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' };
    name.chars().take(LONGEST_NAME).map(safe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(quarantine: &Quarantine) -> Vec<(String, u64)> {
        let mut all: Vec<_> = fs::read_dir(&quarantine.folder)
            .unwrap()
            .flatten()
            .map(|file| (file.file_name().into_string().unwrap(), file.metadata().unwrap().len()))
            .collect();
        all.sort();
        all
    }

    #[tokio::test]
    async fn appends_within_both_bounds_and_never_leaves_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let quarantine = Quarantine::new(folder.path().join("quarantine"), (12_288, 6000));
        let (a, b) = (SessionId(1), SessionId(2));
        quarantine.keep(a, "../../etc/passwd", vec![1; 4000]).await;
        quarantine.keep(a, "../../etc/passwd", vec![2; 4000]).await;
        quarantine.keep(b, "", vec![3; 6000]).await;
        // 288 bytes are left, which a file of one byte takes whole: it takes a block of the disk.
        quarantine.keep(b, "small", vec![4; 1]).await;
        quarantine.keep(b, "none", vec![5; 1]).await;
        quarantine.keep(b, "empty", Vec::new()).await;
        let names = ["0000000000000001-.._.._etc_passwd", "0000000000000002-", "0000000000000002-small"];
        let wanted: Vec<_> = names.into_iter().map(str::to_owned).zip([6000, 6000, 1]).collect();
        assert_eq!(sizes(&quarantine), wanted);
        let again = Quarantine::new(quarantine.folder.clone(), (12_288, 6000));
        again.keep(b, "none", vec![5; 1]).await;
        assert_eq!(sizes(&again), wanted, "what lies there from before counts");
    }
}
