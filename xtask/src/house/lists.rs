//! Folders and lists of plugins hold to each other.

use crate::house::Tree;

/// Checks that the list `ALL` of `crates/<name>/src/lib.rs` names every plugin's module, in
/// alphabetical order, and that every such module is declared.
///
/// A folder is a plugin when it holds a file of that name (`events.rs` for services); one folder
/// may have several entries, one after another.
#[must_use]
pub fn folders_and_list_agree(tree: &Tree, name: &str, telling: &str) -> Vec<String> {
    let sources = format!("crates/{name}/src/");
    let file = format!("{sources}lib.rs");
    let Some(text) = tree.text(&file) else { return vec![format!("there is no {file}")] };
    let mut problems = Vec::new();

    let mut folders: Vec<&str> = tree
        .files()
        .filter_map(|(path, _)| path.strip_prefix(&sources)?.strip_suffix(telling)?.strip_suffix('/'))
        .filter(|folder| !folder.contains('/'))
        .collect();
    folders.sort_unstable();

    let declared = modules(text);
    problems.extend(
        folders
            .iter()
            .filter(|folder| !declared.contains(*folder))
            .map(|folder| format!("{file}: `mod {folder};` is missing")),
    );
    if !declared.is_sorted() {
        problems.push(format!("{file}: modules are not in alphabetical order: {declared:?}"));
    }

    let Some(mut listed) = listed(text) else { return vec![format!("{file}: there is no list `ALL`")] };
    listed.dedup();
    if listed != folders {
        problems.push(format!("{file}: `ALL` names {listed:?}, and the folders are {folders:?}"));
    }
    problems
}

/// The modules that a file declares, without those inside other modules.
fn modules(text: &str) -> Vec<&str> {
    text.lines()
        .filter_map(|line| line.strip_prefix("pub mod ").or_else(|| line.strip_prefix("mod "))?.strip_suffix(';'))
        .collect()
}

/// The module of each entry of `ALL`.
pub(crate) fn listed(text: &str) -> Option<Vec<&str>> {
    let (_, rest) = text.split_once("pub static ALL:")?;
    let (_, rest) = rest.split_once("= &[")?;
    let (list, _) = rest.split_once("];")?;
    let entries = list.split(',').map(|entry| entry.trim().trim_start_matches('&'));
    Some(entries.filter(|entry| !entry.is_empty()).map(|entry| entry.split("::").next().unwrap_or(entry)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "mod ftp;\nmod http;\nmod shared;\n\npub static ALL: &[&Entry] = &[\n    &ftp::ENTRY,\n    &http::HTTP,\n    &http::HTTPS,\n];\n";

    fn problems(text: &str) -> Vec<String> {
        let tree = Tree::from([
            ("crates/services/src/lib.rs", text),
            ("crates/services/src/ftp/events.rs", ""),
            ("crates/services/src/http/events.rs", ""),
            ("crates/services/src/http/skins/mod.rs", ""),
            ("crates/services/src/shared/mod.rs", ""),
        ]);
        folders_and_list_agree(&tree, "services", "events.rs")
    }

    #[test]
    fn a_whole_list_is_right() {
        assert_eq!(problems(GOOD), [""; 0]);
    }

    #[test]
    fn a_gap_is_found() {
        assert_eq!(problems(&GOOD.replace("    &ftp::ENTRY,\n", "")).len(), 1, "not listed");
        assert_eq!(problems(&GOOD.replace("mod http;\n", "")).len(), 1, "not declared");
        assert_eq!(problems(&GOOD.replace("&ftp::ENTRY", "&gopher::ENTRY")).len(), 1, "no such folder");
        let turned = "mod http;\nmod ftp;\npub static ALL: &[&Entry] = &[&http::ENTRY, &ftp::ENTRY];\n";
        assert_eq!(problems(turned).len(), 2, "out of order");
        assert_eq!(problems("").len(), 1, "no list");
        assert_eq!(folders_and_list_agree(&Tree::default(), "services", "events.rs").len(), 1, "no file");
    }
}
