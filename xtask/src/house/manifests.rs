//! Manifests: versions stand in one place, and lints hold for everyone.

use crate::house::Tree;

/// The manifests of members of the workspace.
fn members(tree: &Tree) -> impl Iterator<Item = (&str, &str)> {
    tree.ending("Cargo.toml").filter(|(path, _)| path.starts_with("crates/") || path.starts_with("xtask/"))
}

/// Checks that every dependency of every member is the workspace's.
#[must_use]
pub fn dependencies_come_from_the_workspace(tree: &Tree) -> Vec<String> {
    let mut problems = Vec::new();
    for (path, text) in members(tree) {
        let mut among = false;
        for (n, line) in text.lines().map(str::trim).enumerate() {
            if line.starts_with('[') {
                among = line.ends_with("dependencies]");
                // `[dependencies.tokio]` spreads one dependency over lines that are not looked at.
                if line.contains("dependencies.") {
                    problems.push(format!("{path}:{}: a table for one dependency: {line}", n + 1));
                }
            } else if among && line.contains('=') && !line.starts_with('#') {
                let ours = line.contains(".workspace = true") || line.contains("workspace = true,");
                if !ours {
                    problems.push(format!("{path}:{}: not the workspace's: {line}", n + 1));
                }
            }
        }
    }
    problems
}

/// Checks that every member takes the workspace's lints.
#[must_use]
pub fn lints_come_from_the_workspace(tree: &Tree) -> Vec<String> {
    members(tree)
        .filter(|(_, text)| !text.contains("[lints]\nworkspace = true\n"))
        .map(|(path, _)| format!("{path}: no `[lints]` with `workspace = true`"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> Tree {
        Tree::from([("crates/a/Cargo.toml", text), ("fuzz/Cargo.toml", "[dependencies]\nb = \"1\"\n")])
    }

    #[test]
    fn what_the_workspace_gives_is_right() {
        let good = tree(
            "[package]\nname = \"a\"\n[lints]\nworkspace = true\n[dependencies]\nb.workspace = true\n\
             c = { workspace = true, features = [\"x\"] }\n",
        );
        assert_eq!(dependencies_come_from_the_workspace(&good), [""; 0]);
        assert_eq!(lints_come_from_the_workspace(&good), [""; 0]);
    }

    #[test]
    fn a_version_of_its_own_is_found() {
        for bad in [
            "[dependencies]\nb = \"1\"\n",
            "[dev-dependencies]\nb = { version = \"1\" }\n",
            "[build-dependencies]\nb = { path = \"../b\" }\n",
            "[dependencies.b]\nversion = \"1\"\n",
            "[target.'cfg(unix)'.dependencies]\nb = \"1\"\n",
        ] {
            assert_eq!(dependencies_come_from_the_workspace(&tree(bad)).len(), 1, "{bad}");
            assert_eq!(lints_come_from_the_workspace(&tree(bad)).len(), 1, "{bad}");
        }
    }
}
