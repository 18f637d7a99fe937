//! Every input that once broke something, and every seed of the fuzz targets, for ever.

use std::fs;
use std::path::Path;

use aviary_services::ALL;
use aviary_testkit::battery::{Subject, fuzz_oracle, join};
use aviary_testkit::oracle;

use crate::battery::{everyone, root};

/// The files in `fuzz/<kind>/<target>/`.
fn files(kind: &str, target: &str) -> Vec<Vec<u8>> {
    let folder = fs::read_dir(root().join("fuzz").join(kind).join(target));
    folder.into_iter().flatten().flatten().filter_map(|file| fs::read(file.path()).ok()).collect()
}

#[test]
fn services_stand_what_once_broke_them() {
    for entry in everyone() {
        let installation = Subject::of(entry, &root()).install().unwrap();
        let noise = (0..=u8::MAX).map(|byte| join(&[&[byte; 3], b"\r\n", &[byte]]));
        let files = ["regressions", "corpus"].into_iter().flat_map(|kind| files(kind, entry.name));
        for data in noise.chain(files) {
            fuzz_oracle(entry, &installation, &data);
        }
    }
}

#[test]
fn event_lines_stand_what_once_broke_them() {
    for kind in ["regressions", "corpus"] {
        for data in files(kind, "event_line") {
            oracle::event_line(&data);
        }
    }
}

#[test]
fn configurations_stand_what_once_broke_them() {
    for kind in ["regressions", "corpus"] {
        for data in files(kind, "config") {
            oracle::config(&data, everyone().map(|entry| entry.keys));
        }
    }
}

#[test]
fn packets_stand_what_once_broke_them() {
    for kind in ["regressions", "corpus"] {
        for data in files(kind, "scan") {
            oracle::scan(&data);
        }
    }
}

#[test]
fn names_stand_what_once_broke_them() {
    for kind in ["regressions", "corpus"] {
        for data in files(kind, "names") {
            oracle::names(&data);
        }
    }
}

/// A folder of findings that no target has would never be replayed.
#[test]
fn every_finding_belongs_to_a_target() {
    let folders = fs::read_dir(root().join("fuzz/regressions")).into_iter().flatten().flatten();
    for folder in folders.filter(|folder| folder.path().is_dir()) {
        let name = folder.file_name().into_string().unwrap();
        let known = ALL.iter().any(|entry| entry.name == name)
            || ["config", "event_line", "names", "scan"].contains(&name.as_str());
        assert!(known, "fuzz/regressions/{name} belongs to no target");
        assert!(Path::new(&folder.path()).is_dir());
    }
}
