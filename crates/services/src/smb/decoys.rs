//! The decoy share's files: those that the operator names, or some of a pool.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use aviary_service::Rejection;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::content::{self, Form, draw, draw_between};
use super::tree::{Content, Name, Node, Stamp, Tree};

/// Files that are taken from one folder of the operator's.
const FILES: usize = 500;

/// Longest file of the operator's that is taken, in bytes; longer ones are cut.
const LONGEST: u64 = 4 * 1024 * 1024;

/// Bytes that are taken from the operator in all.
const IN_ALL: u64 = 32 * 1024 * 1024;

/// Largest file that may be claimed, in bytes.
const CLAIMED: u64 = 1 << 40;

/// Names of files that offices have, of which an installation gets some.
const POOL: &[&str] = &[
    "Accounts\\Open invoices.xlsx",
    "Accounts\\Bank details suppliers.xlsx",
    "Accounts\\Payment run.csv",
    "Accounts\\Dunning letters.docx",
    "Accounts\\Annual accounts draft.pdf",
    "Controlling\\Budget.xlsx",
    "Controlling\\Forecast.xlsx",
    "Controlling\\Board presentation.pptx",
    "Personnel\\Salaries.xlsx",
    "Personnel\\Employment contract template.docx",
    "Personnel\\Applicants.xlsx",
    "Personnel\\Holiday list.xlsx",
    "Personnel\\Warning letter.docx",
    "Contracts\\Framework agreement.pdf",
    "Contracts\\Lease.pdf",
    "Contracts\\Insurance policies.pdf",
    "Contracts\\NDA signed.pdf",
    "IT\\Passwords.kdbx",
    "IT\\VPN access.docx",
    "IT\\Network plan.pdf",
    "IT\\Server list.xlsx",
    "IT\\Licences.xlsx",
    "IT\\Firewall rules.csv",
    "IT\\Backup\\database export.zip",
    "IT\\notes.txt",
    "Projects\\Kick-off minutes.docx",
    "Projects\\Cost plan.xlsx",
    "Projects\\Offer.pdf",
    "Meeting notes.txt",
    "Telephone list.xlsx",
    "Organisation chart.pptx",
    "Scan.jpg",
];

/// A file that is to stand in the share.
#[derive(Debug)]
struct Decoy {
    /// Path with backslashes.
    name: String,
    size: Option<u64>,
    /// Bytes of the operator's, and when they were written.
    given: Option<(Arc<[u8]>, Option<i64>)>,
}

/// What the operator named.
#[derive(Debug)]
pub(super) struct Decoys {
    /// `None` for some of the pool.
    named: Option<Vec<Decoy>>,
}

impl Decoys {
    /// Reads `smb.files`: names, or objects of `name`, `size` (bytes) and `path` (a file, or a folder
    /// whose files are all taken).
    ///
    /// # Errors
    /// When an entry is neither or a path cannot be read.
    pub(super) fn read(items: Option<&[Value]>) -> Result<Self, Rejection> {
        let Some(items) = items else { return Ok(Self { named: None }) };
        let mut named = Vec::new();
        let mut room = IN_ALL;
        for item in items {
            let decoy = |name: &str, size| Decoy { name: inside(name), size, given: None };
            match item {
                Value::String(name) => named.push(decoy(name, None)),
                Value::Object(fields) => {
                    let name = fields.get("name").and_then(Value::as_str);
                    let size = fields.get("size").and_then(Value::as_u64).map(|size| size.min(CLAIMED));
                    match (fields.get("path").and_then(Value::as_str), name) {
                        (Some(path), name) => take(Path::new(path), name, &mut room, &mut named)
                            .map_err(|error| rejected(&format!("cannot read `{path}`: {error}")))?,
                        (None, Some(name)) => named.push(decoy(name, size)),
                        (None, None) => return Err(rejected("an entry has neither `name` nor `path`")),
                    }
                }
                _ => return Err(rejected("an entry is neither a name nor an object")),
            }
        }
        named.retain(|decoy| !decoy.name.is_empty());
        Ok(Self { named: Some(named) })
    }

    /// The share of this installation.
    pub(super) fn tree(&self, secret: &[u8]) -> Tree {
        let mut tree = Tree::new(Stamp::drawn(&draw(secret, "share", 0)));
        match &self.named {
            Some(named) => named.iter().for_each(|decoy| plant(&mut tree, decoy, secret)),
            None => {
                for (number, name) in (0_u64..).zip(POOL) {
                    if draw(secret, "pool", number).first().is_some_and(|byte| byte.is_multiple_of(2)) {
                        plant(&mut tree, &Decoy { name: (*name).to_owned(), size: None, given: None }, secret);
                    }
                }
            }
        }
        tree
    }
}

/// Puts a file into the tree.
fn plant(tree: &mut Tree, decoy: &Decoy, secret: &[u8]) {
    let own: [u8; 32] = Sha256::new().chain_update(secret).chain_update(&decoy.name).finalize().into();
    let form = Form::of(&decoy.name);
    let (low, high) = form.sizes();
    let size = decoy.size.unwrap_or_else(|| draw_between(&own, "size", low, high));
    let mut stamp = Stamp::drawn(&own);
    let content = match (&decoy.given, form) {
        (Some((bytes, written)), _) => {
            if let Some(written) = written {
                stamp = Stamp::At { created: *written, written: *written };
            }
            Content::Given(Arc::clone(bytes))
        }
        (None, Form::Text | Form::Table) => Content::Given(content::text(form, &own, size).into()),
        (None, form) => Content::Made(form, own, size),
    };
    let size = match &content {
        Content::Given(bytes) => u64::try_from(bytes.len()).unwrap_or(0),
        _ => size,
    };
    let node = Node { parent: 0, name: Name::default(), size, stamp, content, gone: false };
    // A second file of the same name is left out, as is what does not fit.
    let _ = tree.add_path(&decoy.name, node);
}

/// A name as a path inside the share.
fn inside(name: &str) -> String {
    let parts = name.split(['/', '\\']).filter(|part| !matches!(*part, "" | "." | ".."));
    parts.collect::<Vec<_>>().join("\\")
}

/// Takes a file, or the files of a folder.
fn take(path: &Path, name: Option<&str>, room: &mut u64, into: &mut Vec<Decoy>) -> io::Result<()> {
    let own = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if !path.is_dir() {
        into.push(read(path, inside(name.unwrap_or(&own)), room)?);
        return Ok(());
    }
    let prefix = name.map(inside).unwrap_or_default();
    let mut waiting = vec![(path.to_owned(), prefix)];
    let mut found = 0_usize;
    while let Some((folder, prefix)) = waiting.pop() {
        let mut entries: Vec<_> = fs::read_dir(folder)?.collect::<Result<_, _>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            found = found.saturating_add(1);
            if found > FILES {
                return Ok(());
            }
            let name = inside(&format!("{prefix}\\{}", entry.file_name().to_string_lossy()));
            let kind = entry.file_type()?;
            if kind.is_dir() {
                waiting.push((entry.path(), name));
            } else if kind.is_file() {
                into.push(read(&entry.path(), name, room)?);
            }
        }
    }
    Ok(())
}

fn read(path: &Path, name: String, room: &mut u64) -> io::Result<Decoy> {
    let file = File::open(path)?;
    let written = file.metadata()?.modified().ok();
    let written = written.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    let written = written.and_then(|since| i64::try_from(since.as_micros()).ok());
    let mut bytes = Vec::new();
    let taken = io::copy(&mut file.take(LONGEST.min(*room)), &mut bytes)?;
    *room = room.saturating_sub(taken);
    Ok(Decoy { name, size: None, given: Some((bytes.into(), written)) })
}

fn rejected(reason: &str) -> Rejection {
    let accepted = "accepted: a list of names, or of objects with `name`, and `size` or `path`";
    Rejection::new("smb.files", format!("{reason}; {accepted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(json: &str, secret: u8) -> Tree {
        let items: Vec<Value> = serde_json::from_str(json).unwrap();
        Decoys::read(Some(&items)).unwrap().tree(&[secret; 32])
    }

    #[test]
    fn takes_names_sizes_and_the_operators_own() {
        let folder = std::env::temp_dir().join(format!("smb-decoys-{}", std::process::id()));
        fs::create_dir_all(folder.join("sub")).unwrap();
        fs::write(folder.join("sub/own.txt"), "mine").unwrap();
        let json = format!(
            r#"["HR/Pay.xlsx", {{"name": "big.iso", "size": 700000000}}, {{"path": "{}"}}, "../../etc/x"]"#,
            folder.display()
        );
        let tree = tree(&json, 1);
        let node = |path: &str| tree.find(path).unwrap().ok().and_then(|place| tree.node(place)).unwrap();
        assert_eq!(node("big.iso").size, 700_000_000);
        assert!((14_000..=96_000).contains(&node("HR\\Pay.xlsx").size));
        assert_eq!(node("sub\\own.txt").read(1, 9).unwrap(), b"ine");
        assert!(!node("etc\\x").is_folder());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn says_what_is_accepted() {
        for json in ["[1]", "[{}]", r#"[{"path": "/nowhere/at/all"}]"#] {
            let items: Vec<Value> = serde_json::from_str(json).unwrap();
            let said = Decoys::read(Some(&items)).unwrap_err().to_string();
            assert!(said.contains("`smb.files`") && said.contains("accepted: a list"), "{said}");
        }
    }

    #[test]
    fn two_installations_have_other_files() {
        let listing = |secret: u8| -> Vec<String> {
            let tree = Decoys::read(None).unwrap().tree(&[secret; 32]);
            (0..100).filter_map(|place| tree.node(place).map(|_| tree.path(place))).collect()
        };
        assert_ne!(listing(1), listing(2));
        assert_eq!(listing(1), listing(1));
        assert!(listing(1).len() > 8);
    }
}
