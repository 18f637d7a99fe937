//! Source files: what they say, how long they are, what they may not hold.

use crate::house::Tree;

/// Most lines of a file.
const LONGEST: usize = 800;

/// Names that say nothing.
const EMPTY_NAMES: [&str; 8] = ["common", "helper", "helpers", "manager", "misc", "util", "utils", "stuff"];

/// Endings of types that say nothing.
const EMPTY_TYPES: [&str; 4] = ["Manager", "Helper", "Utils", "Util"];

/// What leaves something open, in two parts so that this file does not hold it.
const LEFT_OPEN: [(&str, &str); 4] = [("#[ign", "ore"), ("to", "do!("), ("unimpl", "emented!("), ("db", "g!(")];

/// Addresses of package registries and folders of the machine that somebody worked on, in two parts.
const MACHINE: [(&str, &str); 11] = [
    ("index.", "crates.io"),
    ("static.", "crates.io"),
    ("files.", "pythonhosted.org"),
    ("pypi.", "org/simple"),
    ("registry.", "npmjs.org"),
    ("proxy.", "golang.org"),
    ("deb.", "debian.org"),
    ("archive.", "ubuntu.com"),
    ("/.cargo/", "registry"),
    ("/home/", "runner/"),
    ("/tmp/bash", "_jobs"),
];

/// Checks that every Rust file begins by saying what it is for.
#[must_use]
pub fn files_say_what_they_are_for(tree: &Tree) -> Vec<String> {
    tree.ending(".rs")
        .filter(|(_, text)| !text.starts_with("//! "))
        .map(|(path, _)| format!("{path}: does not begin with `//!`"))
        .collect()
}

/// Checks that no source file is longer than anyone reads.
#[must_use]
pub fn files_are_not_long(tree: &Tree) -> Vec<String> {
    let sources = [".rs", ".py", ".ts", ".svelte"].into_iter().flat_map(|ending| tree.ending(ending));
    sources
        .filter_map(|(path, text)| {
            let lines = text.lines().count();
            (lines > LONGEST).then(|| format!("{path}: {lines} lines, more than {LONGEST}"))
        })
        .collect()
}

/// Checks the names of files, folders and types.
#[must_use]
pub fn names_explain_themselves(tree: &Tree) -> Vec<String> {
    let mut problems = Vec::new();
    for (path, text) in tree.files().filter(|(path, _)| is_source(path)) {
        let mut steps = path.split('/').map(|step| step.split_once('.').map_or(step, |(stem, _)| stem));
        if let Some(name) = steps.find(|step| EMPTY_NAMES.contains(step)) {
            problems.push(format!("{path}: `{name}` says nothing"));
        }
        for (n, line) in text.lines().enumerate() {
            let words: Vec<&str> = line.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
            for pair in words.windows(2) {
                let [keyword, name] = pair else { continue };
                let is_type = matches!(*keyword, "struct" | "enum" | "trait" | "class");
                let empty = is_type && EMPTY_TYPES.iter().any(|ending| name.ends_with(ending))
                    || *keyword == "mod" && EMPTY_NAMES.contains(name);
                if empty && line.trim_start().starts_with(['p', 's', 'e', 't', 'c', 'm']) {
                    problems.push(format!("{path}:{}: `{name}` says nothing", n + 1));
                }
            }
        }
    }
    problems
}

fn is_source(path: &str) -> bool {
    [".rs", ".py", ".ts", ".svelte"].iter().any(|ending| path.ends_with(ending))
}

/// Checks that nothing is put off: no ignored test, nothing that panics because it is not written.
#[must_use]
pub fn nothing_is_left_open(tree: &Tree) -> Vec<String> {
    held(tree.ending(".rs"), &LEFT_OPEN)
}

/// Checks that no file names a registry or the machine it was written on. Lock files name
/// registries; that is what they are for.
#[must_use]
pub fn nothing_names_this_machine(tree: &Tree) -> Vec<String> {
    held(tree.files().filter(|(path, _)| !path.contains("lock")), &MACHINE)
}

fn held<'a>(files: impl Iterator<Item = (&'a str, &'a str)>, words: &[(&str, &str)]) -> Vec<String> {
    let words: Vec<String> = words.iter().map(|(first, second)| format!("{first}{second}")).collect();
    let mut problems = Vec::new();
    for (path, text) in files {
        for (n, line) in text.lines().enumerate() {
            if let Some(word) = words.iter().find(|word| line.contains(word.as_str())) {
                problems.push(format!("{path}:{}: holds `{word}`", n + 1));
            }
        }
    }
    problems
}

/// Checks that the changelog begins with what is not released yet, or with a version.
#[must_use]
pub fn changelog_has_a_head(tree: &Tree) -> Vec<String> {
    let text = tree.text("CHANGELOG.md").unwrap_or_default();
    let head = text.lines().find_map(|line| line.strip_prefix("## ")).unwrap_or_default();
    let is_version = head.trim_start_matches(['[', 'v']).starts_with(|c: char| c.is_ascii_digit());
    if is_version || head.trim_matches(['[', ']']) == "Unreleased" {
        Vec::new()
    } else {
        vec![format!("CHANGELOG.md: its first head is `{head}`, neither `Unreleased` nor a version")]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rust(text: &str) -> Tree {
        Tree::from([("crates/a/src/lib.rs", text)])
    }

    #[test]
    fn a_file_that_says_nothing_is_found() {
        assert_eq!(files_say_what_they_are_for(&rust("//! What for.\n")), [""; 0]);
        assert_eq!(files_say_what_they_are_for(&rust("use a;\n")).len(), 1);
        assert_eq!(files_say_what_they_are_for(&rust("")).len(), 1);
    }

    #[test]
    fn a_long_file_is_found() {
        assert_eq!(files_are_not_long(&rust(&"//\n".repeat(LONGEST))), [""; 0]);
        assert_eq!(files_are_not_long(&rust(&"//\n".repeat(LONGEST + 1))).len(), 1);
    }

    #[test]
    fn an_empty_name_is_found() {
        let good =
            Tree::from([("a/uncommon.rs", "//! The common case.\nlet manager = helper();\n// a struct Manager")]);
        assert_eq!(names_explain_themselves(&good), [""; 0]);
        for (path, text) in [
            ("a/utils.rs", ""),
            ("common/a.rs", ""),
            ("a/helpers/b.py", ""),
            ("a/b.rs", "pub struct SessionManager;"),
            ("a/b.rs", "mod utils {"),
            ("a/b.py", "class Helper:"),
        ] {
            assert_eq!(names_explain_themselves(&Tree::from([(path, text)])).len(), 1, "{path}: {text}");
        }
    }

    #[test]
    fn what_is_left_open_is_found() {
        assert_eq!(nothing_is_left_open(&rust("//! To do: nothing.\n")), [""; 0]);
        for (first, second) in LEFT_OPEN {
            assert_eq!(nothing_is_left_open(&rust(&format!("    {first}{second}\n"))).len(), 1);
        }
    }

    #[test]
    fn this_machine_is_found() {
        assert_eq!(nothing_names_this_machine(&rust("//! See https://docs.rs/tokio\n")), [""; 0]);
        for (first, second) in MACHINE {
            let held = format!("x {first}{second} y");
            assert_eq!(nothing_names_this_machine(&Tree::from([("docs/a.md", held.as_str())])).len(), 1);
            assert_eq!(nothing_names_this_machine(&Tree::from([("Cargo.lock", held.as_str())])), [""; 0]);
        }
    }

    #[test]
    fn a_changelog_without_head_is_found() {
        for good in ["# Changes\n\n## Unreleased\n", "## [Unreleased]\n", "## 0.1.0, 2026-11-22\n", "## [v1.0.0]\n"] {
            assert_eq!(changelog_has_a_head(&Tree::from([("CHANGELOG.md", good)])), [""; 0], "{good}");
        }
        assert_eq!(changelog_has_a_head(&Tree::from([("CHANGELOG.md", "## Soon\n")])).len(), 1);
        assert_eq!(changelog_has_a_head(&Tree::default()).len(), 1);
    }
}
