//! The quarantine: files that peers upload, bounded in size, readable by nobody but the canary.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use aviary_service::SessionId;

/// Longest part of a file's name that a service chooses.
const LONGEST_NAME: usize = 64;

/// A folder that takes so much and no more.
#[derive(Debug)]
pub(crate) struct Quarantine {
    folder: PathBuf,
    /// Bytes in all files, and in one.
    bounds: (u64, u64),
    /// Bytes in all files, once they were counted.
    used: Mutex<Option<u64>>,
}

impl Quarantine {
    /// A quarantine in this folder, with bounds for all files together and for one, in bytes.
    #[must_use]
    pub(crate) fn new(folder: PathBuf, bounds: (u64, u64)) -> Arc<Self> {
        Arc::new(Self { folder, bounds, used: Mutex::default() })
    }

    /// Appends to a file of a session; see `Outbox::keep`. What does not fit is dropped.
    pub(crate) async fn keep(self: &Arc<Self>, session: SessionId, name: &str, bytes: Vec<u8>) {
        let this = Arc::clone(self);
        let name = format!("{session}-{}", harmless(name));
        let kept = tokio::task::spawn_blocking(move || this.append(&name, &bytes)).await;
        if let Ok(Err(error)) = kept {
            tracing::error!(%error, folder = %self.folder.display(), "an upload cannot be kept");
        }
    }

    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let so_far = match *used {
            Some(so_far) => so_far,
            None => {
                fs::DirBuilder::new().mode(0o700).recursive(true).create(&self.folder)?;
                let files = fs::read_dir(&self.folder)?.flatten();
                files.filter_map(|file| file.metadata().ok()).map(|data| data.len()).sum()
            }
        };
        *used = Some(so_far);
        let path = self.folder.join(name);
        let length = fs::metadata(&path).map_or(0, |data| data.len());
        let room = self.bounds.0.saturating_sub(so_far).min(self.bounds.1.saturating_sub(length));
        let fitting = bytes.get(..usize::try_from(room).unwrap_or(usize::MAX)).unwrap_or(bytes);
        if fitting.is_empty() && !bytes.is_empty() {
            return Ok(());
        }
        let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        file.write_all(fitting)?;
        *used = Some(so_far.saturating_add(u64::try_from(fitting.len()).unwrap_or(0)));
        Ok(())
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
        let quarantine = Quarantine::new(folder.path().join("quarantine"), (100, 60));
        let (a, b) = (SessionId(1), SessionId(2));
        quarantine.keep(a, "../../etc/passwd", vec![1; 40]).await;
        quarantine.keep(a, "../../etc/passwd", vec![2; 40]).await;
        quarantine.keep(b, "", vec![3; 50]).await;
        quarantine.keep(b, "more", vec![4; 50]).await;
        let names = ["0000000000000001-.._.._etc_passwd", "0000000000000002-"];
        assert_eq!(sizes(&quarantine), [(names[0].to_owned(), 60), (names[1].to_owned(), 40)]);
        let again = Quarantine::new(quarantine.folder.clone(), (110, 60));
        again.keep(b, "more", vec![4; 50]).await;
        assert_eq!(sizes(&again)[2].1, 10, "what lies there from before counts");
    }
}
