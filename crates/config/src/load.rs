//! From a file to settings, in one step.

use std::path::{Path, PathBuf};

use crate::check::check;
use crate::document::{Document, Format};
use crate::expand::expand;
use crate::problem::Problem;
use crate::search::{LoadError, Surroundings, read, search};
use crate::settings::Settings;
use crate::space::KeySpace;

/// A configuration that was found, parsed and checked.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The file.
    pub path: PathBuf,
    /// Its values, without those that are errors.
    pub settings: Settings,
    /// Everything wrong or odd, in the order of the file. With an error among them nothing starts.
    pub problems: Vec<Problem>,
}

impl Loaded {
    /// Whether a canary may start with it.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        !self.problems.iter().any(Problem::is_error)
    }
}

/// Loads the file that the operator named, or else the first of the places.
///
/// # Errors
/// If there is no file, or it cannot be read or parsed: then no other is tried.
pub fn load(named: Option<&Path>, surroundings: &Surroundings, space: &KeySpace) -> Result<Loaded, LoadError> {
    let found = match named {
        Some(path) => read(path, surroundings)?,
        None => search(surroundings)?,
    };
    let mut document =
        Document::parse(&found.path, &found.text, Format::of(&found.path), space).map_err(LoadError::Stopped)?;
    let mut problems = found.problems;
    problems.extend(expand(&mut document, surroundings));
    let (settings, checked) = check(&document, space);
    problems.extend(checked);
    problems.sort_by(|a, b| a.location.cmp(&b.location));
    Ok(Loaded { path: found.path, settings, problems })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{space, surroundings};

    #[test]
    fn a_file_that_does_not_parse_stops_and_no_other_is_tried() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut surroundings = surroundings();
        surroundings.etc = folder.path().to_owned();
        for name in ["opencanaryd", "aviary"] {
            std::fs::create_dir(folder.path().join(name)).expect("a folder");
        }
        std::fs::write(folder.path().join("aviary/aviary.toml"), "ftp.enabled = true").expect("written");
        let loaded = load(None, &surroundings, &space()).expect("loaded");
        assert!(loaded.is_usable() && loaded.settings.flag("ftp.enabled"));
        std::fs::write(folder.path().join("opencanaryd/opencanary.conf"), "{\n \"ftp.port\": 21,\n}").expect("written");
        let error = load(None, &surroundings, &space()).expect_err("a trailing comma");
        assert!(
            error.to_string().contains("opencanary.conf:2:16: error: a comma stands after the last element"),
            "{error}"
        );
    }

    #[test]
    fn problems_come_in_the_order_of_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.conf");
        let text = "{\n\"ftp.prot\": 1,\n\"ftp.banner\": \"${NOPE}\",\n\"git.port\": 0\n}";
        std::fs::write(&path, text).expect("written");
        let loaded = load(Some(&path), &surroundings(), &space()).expect("loaded");
        let lines: Vec<_> =
            loaded.problems.iter().map(|problem| problem.location.line).filter(|line| *line > 0).collect();
        assert_eq!(lines, [2, 3, 4]);
        assert!(!loaded.is_usable());
    }
}
