//! The order of places, and what stops the search.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;

/// A machine of its own in a folder.
fn machine() -> (TempDir, Surroundings) {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(&path).expect("a folder");
        path
    };
    at("etc/opencanaryd");
    at("etc/aviary");
    let surroundings =
        Surroundings { home: Some(at("home")), directory: at("cwd"), etc: at("etc"), ..Surroundings::default() };
    (folder, surroundings)
}

fn put(folder: &TempDir, name: &str) {
    let path = folder.path().join(name);
    fs::write(&path, format!("// {name}")).expect("written");
    fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("set");
}

#[test]
fn opencanarys_places_come_first_in_its_order() {
    let (folder, surroundings) = machine();
    let order = [
        "etc/opencanaryd/opencanary.conf",
        "home/.opencanary.conf",
        "cwd/opencanary.conf",
        "etc/aviary/aviary.toml",
        "etc/aviary/opencanary.conf",
    ];
    let seen: Vec<_> = places(&surroundings).into_iter().map(|place| place.path).collect();
    assert_eq!(seen, order.map(|name| folder.path().join(name)));
    for name in order.iter().rev() {
        put(&folder, name);
        let found = search(&surroundings).expect("found");
        assert_eq!(found.path, folder.path().join(name));
        assert_eq!(found.text, format!("// {name}"));
        assert_eq!(found.problems, []);
    }
}

#[test]
fn without_any_file_all_places_are_named() {
    let (_folder, surroundings) = machine();
    let error = search(&surroundings).expect_err("nothing there").to_string();
    assert!(error.starts_with("no config file found; looked for /"), "{error}");
    assert_eq!(error.matches("opencanary.conf").count(), 4);
}

#[test]
fn a_file_that_cannot_be_read_stops_the_search() {
    let (folder, surroundings) = machine();
    put(&folder, "etc/aviary/aviary.toml");
    fs::create_dir(folder.path().join("cwd/opencanary.conf")).expect("a folder");
    let error = search(&surroundings).expect_err("a folder is no file").to_string();
    assert!(error.contains("cwd/opencanary.conf: error: cannot be read"), "{error}");
}

#[test]
fn a_byte_that_is_not_utf8_has_a_place() {
    let (folder, surroundings) = machine();
    fs::write(folder.path().join("home/.opencanary.conf"), b"{\n \"\xc3\xa4\xff\": 1}").expect("written");
    let error = search(&surroundings).expect_err("not UTF-8").to_string();
    assert!(
        error.ends_with(".opencanary.conf:2:4: error: a byte here is not UTF-8; save the file as UTF-8"),
        "{error}"
    );
}

#[test]
fn a_file_too_long_is_refused() {
    let (folder, surroundings) = machine();
    let path = folder.path().join("long.conf");
    fs::write(&path, vec![b' '; LONGEST_FILE + 1]).expect("written");
    let error = read(&path, &surroundings).expect_err("too long").to_string();
    assert!(error.contains("is longer than 4194304 bytes"), "{error}");
}

#[test]
fn warns_when_others_may_write_the_file() {
    let (folder, mut surroundings) = machine();
    put(&folder, "cwd/opencanary.conf");
    let path = folder.path().join("cwd/opencanary.conf");
    fs::set_permissions(&path, Permissions::from_mode(0o666)).expect("set");
    let found = search(&surroundings).expect("found");
    assert_eq!(found.problems.len(), 1);
    assert!(found.problems[0].to_string().ends_with("warning: may be written by other users; `chmod go-w` it"));
    surroundings.is_root = true;
    let found = search(&surroundings).expect("found");
    assert!(found.problems[0].message.contains("current directory while running as root"));
}
