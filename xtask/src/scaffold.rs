//! `cargo xtask new service NAME`: a folder from the living template, and its two lines in the list.
//!
//! The template is `xtask/template/service`, an echo service that the tests of `aviary-services`
//! compile and put through every battery.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};

use crate::docs::groups;

/// First number of a new service's kinds when there are none yet, and their distance.
const NUMBERS: (i64, i64) = (30_100, 100);

/// Longest line that rustfmt leaves alone.
const LINE: usize = 120;

/// The number of the template's kind.
const TEMPLATE_NUMBER: &str = "39900";

/// Makes the folder and the lines.
///
/// # Errors
/// When the name cannot be used, the service is there, or a file cannot be read or written.
pub fn service(root: &Path, name: &str) -> Result<()> {
    ensure!(
        name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()),
        "`{name}` is no name for a service: lower case letters and digits, a letter first"
    );
    let sources = root.join("crates/services/src");
    let folder = sources.join(name);
    if folder.exists() {
        bail!("there is a service `{name}`");
    }
    let list = sources.join("lib.rs");
    let text = fs::read_to_string(&list).context("read the list of services")?;
    let text = with_lines(&text, name)?;
    copy(&root.join("xtask/template/service"), &folder, name, next_number())?;
    fs::write(&list, text).context("write the list of services")?;
    println!("crates/services/src/{name}/ stands; `cargo xtask docs` adds it to the tables");
    Ok(())
}

/// The first free hundred above every number of ours.
fn next_number() -> i64 {
    let numbers = groups().into_iter().flat_map(|group| group.kinds).map(|kind| kind.number);
    let highest = numbers.max().unwrap_or_default();
    (highest / NUMBERS.1 * NUMBERS.1 + NUMBERS.1).max(NUMBERS.0)
}

/// The list with `mod name;` and `&name::ENTRY,` where the alphabet puts them.
fn with_lines(text: &str, name: &str) -> Result<String> {
    let (head, rest) = text.split_once("pub static ALL:").context("there is no list `ALL`")?;
    let (kind, rest) = rest.split_once("= &[").context("the list `ALL` does not begin")?;
    let (list, tail) = rest.split_once("];").context("the list `ALL` does not end")?;

    let entry = format!("&{name}::ENTRY");
    let mut entries: Vec<&str> = list.split(',').map(str::trim).filter(|entry| !entry.is_empty()).collect();
    let module_of = |entry: &str| entry.trim_start_matches('&').split("::").next().unwrap_or_default().to_owned();
    let at = entries.iter().position(|other| *module_of(other) > *name).unwrap_or(entries.len());
    entries.insert(at, &entry);
    // As rustfmt writes it: on one line while it fits.
    let line = format!("pub static ALL:{kind}= &[{}];", entries.join(", "));
    let list = if line.len() <= LINE {
        line
    } else {
        format!("pub static ALL:{kind}= &[\n    {},\n];", entries.join(",\n    "))
    };
    Ok(format!("{}{list}{tail}", with_module(head, name)?))
}

/// What stands above the list, with `mod name;` among the modules.
fn with_module(head: &str, name: &str) -> Result<String> {
    let mut lines: Vec<&str> = head.lines().collect();
    let module = |line: &str| -> Option<String> {
        let name = line.strip_prefix("pub ").unwrap_or(line).strip_prefix("mod ")?.strip_suffix(';')?;
        Some(name.to_owned())
    };
    let declared = format!("mod {name};");
    let last = lines.iter().rposition(|line| module(line).is_some_and(|other| *other < *name));
    let first = lines.iter().position(|line| module(line).is_some());
    let imports = lines.iter().rposition(|line| line.starts_with("use "));
    match (last, first, imports) {
        (Some(last), _, _) => lines.insert(last + 1, &declared),
        (None, Some(first), _) => lines.insert(first, &declared),
        (None, None, Some(imports)) => {
            lines.insert(imports + 1, "");
            lines.insert(imports + 2, &declared);
        }
        (None, None, None) => bail!("there is no place for `{declared}`"),
    }
    Ok(lines.join("\n") + "\n")
}

fn copy(from: &Path, to: &Path, name: &str, number: i64) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("create {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("read {}", from.display()))? {
        let entry = entry?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &target, name, number)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            fs::write(&target, renamed(&fs::read_to_string(&path)?, name, number))?;
        } else {
            fs::copy(&path, &target)?;
        }
    }
    Ok(())
}

fn renamed(text: &str, name: &str, number: i64) -> String {
    let mut title = name.to_owned();
    if let Some(first) = title.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text.replace("echo", name)
        .replace("Echo", &title)
        .replace("ECHO", &name.to_ascii_uppercase())
        .replace(TEMPLATE_NUMBER, &number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::house::{Tree, files_say_what_they_are_for, folders_and_list_agree};

    const EMPTY: &str = "//! x\n\nuse a::Entry;\n\n/// All.\npub static ALL: &[&Entry] = &[];\n";

    #[test]
    fn lines_stand_where_the_alphabet_puts_them() {
        let mut text = EMPTY.to_owned();
        for name in ["redis", "ftp", "telnet", "ssh"] {
            text = with_lines(&text, name).unwrap();
        }
        let modules = "//! x\n\nuse a::Entry;\n\nmod ftp;\nmod redis;\nmod ssh;\nmod telnet;\n\n/// All.\n";
        let entries = ["&ftp::ENTRY", "&redis::ENTRY", "&ssh::ENTRY", "&telnet::ENTRY"];
        assert_eq!(text, format!("{modules}pub static ALL: &[&Entry] = &[{}];\n", entries.join(", ")));

        text = with_lines(&text.replace("mod ssh", "pub mod ssh"), "gopher").unwrap();
        text = with_lines(&text, "sftp").unwrap();
        text = with_lines(&text, "tcpbanner").unwrap();
        assert!(text.contains("mod ftp;\nmod gopher;\nmod redis;\nmod sftp;\npub mod ssh;\n"), "{text}");
        assert!(text.contains("= &[\n    &ftp::ENTRY,\n    &gopher::ENTRY,\n    &redis::ENTRY,\n"), "{text}");
        assert!(text.ends_with("    &telnet::ENTRY,\n];\n"), "{text}");
        assert!(with_lines("//! no list\n", "ftp").is_err());
    }

    #[test]
    fn a_new_service_keeps_the_rules_of_the_house() {
        let root = tempfile::tempdir().unwrap();
        let sources = root.path().join("crates/services/src");
        fs::create_dir_all(&sources).unwrap();
        fs::write(sources.join("lib.rs"), EMPTY).unwrap();
        copy(&crate::root().join("xtask/template"), &root.path().join("xtask/template"), "echo", 39_900).unwrap();

        service(root.path(), "gopher").unwrap();
        let tree = Tree::read(root.path()).unwrap();
        assert_eq!(folders_and_list_agree(&tree, "services", "events.rs"), [""; 0]);
        assert_eq!(files_say_what_they_are_for(&tree), [""; 0]);
        let module = tree.text("crates/services/src/gopher/mod.rs").unwrap();
        assert!(module.contains("\"gopher.port\"") && module.contains("struct Gopher"), "{module}");
        let events = tree.text("crates/services/src/gopher/events.rs").unwrap();
        assert!(events.contains("LOG_GOPHER_LINE") && !events.contains(TEMPLATE_NUMBER), "{events}");
        assert!(sources.join("gopher/fixtures/line.bin").exists());

        assert!(service(root.path(), "gopher").is_err(), "it is there");
        for name in ["", "Gopher", "7z", "a-b", "../x"] {
            assert!(service(root.path(), name).is_err(), "{name}");
        }
    }
}
