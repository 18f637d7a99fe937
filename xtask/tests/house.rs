//! The rules of the house, held against this repository.

use std::path::Path;
use std::process::Command;

use aviary_config::{Document, Format, KeySpace, check};
use xtask::house::{self, Tree};

fn tree() -> Tree {
    Tree::read(&xtask::root()).expect("the repository can be read")
}

fn assert_none(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn arrows_point_down() {
    let arguments = ["metadata", "--format-version", "1", "--no-deps", "--offline"];
    let said = Command::new(env!("CARGO")).args(arguments).current_dir(xtask::root()).output().expect("cargo runs");
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    assert_none(&house::arrows_point_down(&serde_json::from_slice(&said.stdout).expect("metadata is JSON")));
}

#[test]
fn service_folders_and_list_agree() {
    assert_none(&house::folders_and_list_agree(&tree(), "services", "events.rs"));
}

#[test]
fn kinds_are_in_order() {
    let groups = xtask::docs::groups();
    let kinds = groups.iter().flat_map(|group| group.kinds.iter().map(|kind| (group.name, *kind)));
    assert_none(&house::kinds_are_in_order(kinds));
}

#[test]
fn documents_and_schema_say_what_the_code_declares() {
    if let Err(stale) = xtask::docs::check(&xtask::root()) {
        panic!("{stale:#}");
    }
}

#[test]
fn files_say_what_they_are_for() {
    assert_none(&house::files_say_what_they_are_for(&tree()));
}

#[test]
fn files_are_not_long() {
    assert_none(&house::files_are_not_long(&tree()));
}

#[test]
fn names_explain_themselves() {
    assert_none(&house::names_explain_themselves(&tree()));
}

#[test]
fn nothing_is_left_open() {
    assert_none(&house::nothing_is_left_open(&tree()));
}

#[test]
fn nothing_names_a_registry_or_a_machine() {
    assert_none(&house::nothing_names_this_machine(&tree()));
}

#[test]
fn dependencies_and_lints_come_from_the_workspace() {
    assert_none(&house::dependencies_come_from_the_workspace(&tree()));
    assert_none(&house::lints_come_from_the_workspace(&tree()));
}

#[test]
fn every_shipped_configuration_loads() {
    let space = KeySpace::new(
        aviary_services::ALL.iter().map(|entry| entry.keys).chain([aviary_scan::KEYS, aviary_script::KEYS]),
    );
    let mut problems = Vec::new();
    let tree = tree();
    for (path, text) in tree.files().filter(|(path, _)| path.starts_with("config/")) {
        let path = Path::new(path);
        match Document::parse(path, text, Format::of(path), &space) {
            Ok(document) => problems.extend(check(&document, &space).1.iter().map(ToString::to_string)),
            Err(problem) => problems.push(problem.to_string()),
        }
    }
    assert_none(&problems);
}

#[test]
fn the_changelog_has_a_head() {
    assert_none(&house::changelog_has_a_head(&tree()));
}

#[test]
fn every_service_and_key_stands_in_the_docs() {
    let tree = tree();
    let text = |path: &str| tree.files().find(|(file, _)| *file == path).map(|(_, text)| text.to_owned());
    let table = text("docs/services.md").unwrap_or_default();
    let mut missing = Vec::new();
    for entry in aviary_services::ALL {
        let page = text(&format!("docs/services/{}.md", entry.name)).unwrap_or_else(|| table.clone());
        let row = |line: &str| line.starts_with("| [") && line.contains(entry.name);
        if !table.lines().any(row) {
            missing.push(format!("{}: no row", entry.name));
        }
        for key in entry.keys {
            let last = key.name.split_once('.').map_or(key.name, |(_, last)| last);
            if !page.contains(key.name) && !page.contains(&format!("`{last}`")) {
                missing.push(format!("{}: no word of `{}`", entry.name, key.name));
            }
        }
    }
    assert_none(&missing);
}
