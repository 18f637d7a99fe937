//! Where the file is looked for.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::document::LONGEST_FILE;
use crate::problem::{Location, Problem};

/// What surrounds the process and has a say in its configuration.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Environment variables.
    pub variables: BTreeMap<String, String>,
    /// The user's home folder.
    pub home: Option<PathBuf>,
    /// The folder that it was started in.
    pub directory: PathBuf,
    /// `/etc`.
    pub etc: PathBuf,
    /// Whether it runs as root.
    pub is_root: bool,
}

impl Surroundings {
    /// Those of this process. Variables that are not UTF-8 are not seen.
    #[must_use]
    pub fn of_this_process() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self {
            variables: std::env::vars_os().filter_map(text).collect(),
            home: std::env::home_dir(),
            directory: PathBuf::new(),
            etc: PathBuf::from("/etc"),
            // Linux: the process's own folder in /proc belongs to its effective user.
            is_root: std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0),
        }
    }
}

/// A place where a file is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// Whether it is in the folder that the process was started in, which may be anybody's.
    pub is_current_directory: bool,
}

/// The places in the order in which they are looked at: OpenCanary 0.9.10's three, then ours. The
/// first file that exists is the one, whether it parses or not.
#[must_use]
pub fn places(surroundings: &Surroundings) -> Vec<Place> {
    let fixed = |path: PathBuf| Place { path, is_current_directory: false };
    let etc = &surroundings.etc;
    let mut places = vec![fixed(etc.join("opencanaryd/opencanary.conf"))];
    places.extend(surroundings.home.as_ref().map(|home| fixed(home.join(".opencanary.conf"))));
    places.push(Place { path: surroundings.directory.join("opencanary.conf"), is_current_directory: true });
    places.push(fixed(etc.join("aviary/aviary.toml")));
    places.push(fixed(etc.join("aviary/opencanary.conf")));
    places
}

/// A file that was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The file.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
    /// What is risky about where it stands and who may write it.
    pub problems: Vec<Problem>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// None of the places holds one.
    #[error("no config file found; looked for {}", list(places))]
    Nowhere {
        /// Where it was looked for.
        places: Vec<PathBuf>,
    },
    /// A file is there but cannot be read or parsed; no other is tried.
    #[error("{0}")]
    Stopped(Box<Problem>),
}

fn list(places: &[PathBuf]) -> String {
    places.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// Looks for the file and reads it.
///
/// # Errors
/// If there is none, or the first there is cannot be read.
pub fn search(surroundings: &Surroundings) -> Result<Found, LoadError> {
    let places = places(surroundings);
    for place in &places {
        match read_capped(&place.path, LONGEST_FILE) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            found => {
                let mut found = read_as_text(&place.path, found)?;
                found.problems = risks(place, surroundings);
                return Ok(found);
            }
        }
    }
    Err(LoadError::Nowhere { places: places.into_iter().map(|place| place.path).collect() })
}

/// Reads the file that the operator named.
///
/// # Errors
/// If it cannot be read.
pub fn read(path: &Path, surroundings: &Surroundings) -> Result<Found, LoadError> {
    let mut found = read_as_text(path, read_capped(path, LONGEST_FILE))?;
    found.problems = risks(&Place { path: path.to_owned(), is_current_directory: false }, surroundings);
    Ok(found)
}

fn read_as_text(path: &Path, bytes: io::Result<Option<Vec<u8>>>) -> Result<Found, LoadError> {
    let file: Arc<Path> = path.into();
    let unreadable = |location, message: String, hint: &str| {
        LoadError::Stopped(Box::new(Problem::error(location, message).hint(hint)))
    };
    let whole = Location::whole(&file);
    let bytes = match bytes {
        Ok(Some(bytes)) => bytes,
        Ok(None) => {
            return Err(unreadable(whole, format!("is longer than {LONGEST_FILE} bytes"), "is this the right file?"));
        }
        Err(error) => {
            let hint = "no other file is tried; make it readable, or move it away";
            return Err(unreadable(whole, format!("cannot be read: {error}"), hint));
        }
    };
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let number = |n: usize| u32::try_from(n + 1).unwrap_or(u32::MAX);
        let line = good.iter().filter(|byte| **byte == b'\n').count();
        let start = good.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let column = String::from_utf8_lossy(&good[start..]).chars().count();
        let location = Location { file, line: number(line), column: number(column) };
        unreadable(location, "a byte here is not UTF-8".into(), "save the file as UTF-8")
    })?;
    Ok(Found { path: path.to_owned(), text, problems: Vec::new() })
}

/// A config names programs' files and secrets and is read as root: who may write it may do as root does.
fn risks(place: &Place, surroundings: &Surroundings) -> Vec<Problem> {
    let mut problems = Vec::new();
    let location = Location::whole(&place.path.as_path().into());
    let warn = |message: &str, hint: &str| Problem::warning(location.clone(), message).hint(hint);
    if place.is_current_directory && surroundings.is_root {
        let message = "was taken from the current directory while running as root";
        problems.push(warn(message, "move it to /etc/aviary or /etc/opencanaryd, or name it with --config"));
    }
    let Ok(facts) = std::fs::metadata(&place.path) else { return problems };
    let by_group = surroundings.is_root && facts.mode() & 0o020 != 0 && facts.gid() != 0;
    if facts.mode() & 0o002 != 0 || by_group {
        problems.push(warn("may be written by other users", "`chmod go-w` it"));
    }
    if surroundings.is_root && facts.uid() != 0 {
        problems.push(warn("belongs to another user than root, who runs this canary", "`chown root` it"));
    }
    problems
}

/// A file's bytes, or `None` when there are more than `limit`.
pub(crate) fn read_capped(path: &Path, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let mut file = File::open(path)?;
    let mut bytes = Vec::new();
    let mut buffer = [0; 8192];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(Some(bytes)),
            Ok(read) if bytes.len() + read > limit => return Ok(None),
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
