//! The ground that a canary stands on: its folder, its files' owner, file descriptors, the journal's bounds.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use aviary_journal::Options;

use crate::plan::Plan;
use crate::privileges::Resolved;

/// Makes the state folder, and finds out whether it can be written to.
pub(crate) fn make_folder(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    // A folder that is there but may not be written to would only show when the first event comes.
    let probe = path.join(".probe");
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&probe)?;
    std::fs::remove_file(probe)
}

/// Gives files that were root's to the user whom the canary becomes: its state, and log files, which
/// OpenCanary opens before it gives up root.
pub(crate) fn prepare_files(state_dir: &Path, plan: &Plan, identity: Resolved) {
    let own = |path: &Path| {
        if let Err(error) = nix::unistd::chown(path, Some(identity.uid), Some(identity.gid)) {
            tracing::warn!(path = %path.display(), %error, "owner cannot be changed");
        }
    };
    let mut folders = vec![state_dir.to_owned()];
    while let Some(folder) = folders.pop() {
        own(&folder);
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(kind) if kind.is_file() || std::os::unix::fs::FileTypeExt::is_socket(&kind) => own(&entry.path()),
                _ => {}
            }
        }
    }
    for output in &plan.outputs {
        if let Some(path) = output.handler.options.get("filename").and_then(|name| name.as_str()) {
            let path = Path::new(path);
            let made =
                OpenOptions::new().append(true).create(true).mode(0o640).custom_flags(nix::libc::O_NOFOLLOW).open(path);
            if made.is_ok() {
                own(path);
            }
        }
    }
}

/// As many file descriptors as the system lets us have; gives how many that are.
pub(crate) fn raise_file_limit() -> u64 {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 1024 };
    if soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() {
        return hard;
    }
    soft
}

/// The journal's bounds as the settings have them.
pub(crate) fn journal_options(state_dir: &Path, plan: &Plan) -> Options {
    let mut options = Options::at(state_dir.join("journal.db"));
    let (bytes, days) = plan.journal;
    if bytes > 0 {
        options.max_bytes = bytes;
    }
    if days > 0 {
        options.max_age = Duration::from_secs(days.saturating_mul(86_400));
    }
    options
}
