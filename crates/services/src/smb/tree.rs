//! The decoy share: folders and files, and what one connection did to them.
//!
//! All connections begin with the same tree and share it until they change something; then the
//! connection has its own, bounded by [`MOST`].

use std::collections::BTreeMap;
use std::sync::Arc;

use super::content::{self, Form};
use super::status;

/// Files and folders of a share, those that a connection made included.
pub(super) const MOST: usize = 1200;

/// Folders below one another.
const DEEPEST: usize = 24;

/// Bytes that a connection wrote and may read again, in all.
const KEPT: usize = 256 * 1024;

const DAY: i64 = 86_400_000_000;

/// A place in the tree; the root is 0.
pub(super) type Place = usize;

/// What a file holds.
#[derive(Clone, Debug)]
pub(super) enum Content {
    Folder,
    /// Made when it is read, with the size that it was planted with: behind it are zeros.
    Made(Form, [u8; 32], u64),
    /// The operator's, or text.
    Given(Arc<[u8]>),
    /// What this connection wrote, so far as it is kept.
    Written(Vec<u8>),
}

/// When a file was made and last written.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stamp {
    /// Microseconds before the beginning of the present 30 days: a file ages, but not from look to look.
    Before { created: i64, written: i64 },
    /// Microseconds since 1970.
    At { created: i64, written: i64 },
}

/// Times of a file in microseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) created: i64,
    pub(super) accessed: i64,
    pub(super) written: i64,
}

impl Stamp {
    /// Drawn: on a working day, in office hours, up to two years ago.
    pub(super) fn drawn(secret: &[u8; 32]) -> Self {
        let moment = |purpose: &str, low, high| {
            let days = i64::try_from(content::draw_between(secret, purpose, low, high)).unwrap_or(30);
            let second = content::draw_between(secret, &format!("{purpose} second"), 7 * 3600, 17 * 3600);
            let fine = content::draw_between(secret, &format!("{purpose} fine"), 0, 999_999);
            let clock = i64::try_from(second.saturating_mul(1_000_000).saturating_add(fine)).unwrap_or(0);
            days.saturating_mul(DAY).saturating_sub(clock)
        };
        Self::Before { created: moment("created", 240, 700), written: moment("written", 2, 230) }
    }

    /// The times as they are at a moment.
    pub(super) fn times(self, now: i64) -> Times {
        match self {
            Self::At { created, written } => Times { created, accessed: written, written },
            Self::Before { created, written } => {
                let base = now.saturating_sub(now.checked_rem_euclid(DAY.saturating_mul(30)).unwrap_or(0));
                let (created, written) = (base.saturating_sub(created), base.saturating_sub(written));
                let (created, written) = (working_day(created), working_day(written));
                Times { created, accessed: written, written }
            }
        }
    }
}

/// The moment, or the Friday before when it is on a weekend. 1 January 1970 was a Thursday.
fn working_day(micros: i64) -> i64 {
    let days = micros.checked_div_euclid(DAY).unwrap_or(0);
    let back = match days.saturating_add(4).checked_rem_euclid(7) {
        Some(6) => 1, // Saturday
        Some(0) => 2, // Sunday
        _ => 0,
    };
    micros.saturating_sub(DAY.saturating_mul(back))
}

/// A name as it is shown, and in lower case as it is looked up.
#[derive(Clone, Debug, Default)]
pub(super) struct Name {
    pub(super) shown: String,
    lower: String,
}

impl From<&str> for Name {
    fn from(name: &str) -> Self {
        Self { shown: name.to_owned(), lower: name.to_lowercase() }
    }
}

/// A file or folder.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) parent: Place,
    pub(super) name: Name,
    pub(super) size: u64,
    pub(super) stamp: Stamp,
    pub(super) content: Content,
    pub(super) gone: bool,
}

impl Node {
    pub(super) const fn is_folder(&self) -> bool {
        matches!(self.content, Content::Folder)
    }

    /// Bytes on disk, in clusters of 4096.
    pub(super) const fn allocated(&self) -> u64 {
        self.size.saturating_add(4095) & !4095
    }

    /// FILE_ATTRIBUTE_DIRECTORY, or FILE_ATTRIBUTE_ARCHIVE.
    pub(super) const fn attributes(&self) -> u32 {
        if self.is_folder() { 0x10 } else { 0x20 }
    }

    /// Bytes from an offset, none beyond the size; `None` where what was written is not kept.
    pub(super) fn read(&self, offset: u64, length: usize) -> Option<Vec<u8>> {
        let length = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX).min(length);
        let cut = |bytes: &[u8]| {
            let rest = bytes.get(usize::try_from(offset).ok()?..)?;
            Some(rest.get(..rest.len().min(length)).unwrap_or_default().to_vec())
        };
        match &self.content {
            Content::Folder => None,
            Content::Made(form, secret, size) => {
                let mut bytes = content::read(*form, secret, *size, offset, length);
                bytes.resize(length, 0);
                Some(bytes)
            }
            Content::Given(bytes) => cut(bytes),
            Content::Written(bytes) => cut(bytes).filter(|kept| !kept.is_empty()),
        }
    }
}

/// A share's files.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    /// Where a folder's files are, by their names in lower case.
    places: BTreeMap<(Place, String), Place>,
    written: usize,
}

impl Tree {
    /// An empty share.
    pub(super) fn new(stamp: Stamp) -> Self {
        let root = Node { parent: 0, name: Name::default(), size: 0, stamp, content: Content::Folder, gone: false };
        Self { nodes: vec![root], places: BTreeMap::new(), written: 0 }
    }

    /// The node at a place.
    pub(super) fn node(&self, place: Place) -> Option<&Node> {
        self.nodes.get(place)
    }

    /// The same, to change it.
    pub(super) fn node_mut(&mut self, place: Place) -> Option<&mut Node> {
        self.nodes.get_mut(place)
    }

    /// What a folder holds, in the order of names.
    pub(super) fn children(&self, folder: Place) -> Vec<Place> {
        let mut found: Vec<(String, Place)> = self
            .nodes
            .iter()
            .enumerate()
            .skip(1)
            .filter(|(_, node)| node.parent == folder && !node.gone)
            .map(|(place, node)| (node.name.shown.to_uppercase(), place))
            .collect();
        found.sort();
        found.into_iter().map(|(_, place)| place).collect()
    }

    /// Whether a folder holds nothing.
    pub(super) fn is_empty(&self, folder: Place) -> bool {
        self.places.range((folder, String::new())..).next().is_none_or(|((parent, _), _)| *parent != folder)
    }

    fn child(&self, folder: Place, name: &str) -> Option<Place> {
        self.places.get(&(folder, name.to_lowercase())).copied()
    }

    /// Looks a path up: its place, or the folder that would hold it and its last name.
    ///
    /// # Errors
    /// With a status when a folder on the way is missing or the name is none.
    pub(super) fn find<'a>(&self, path: &'a str) -> Result<Result<Place, (Place, &'a str)>, u32> {
        let mut place = 0;
        let mut parts = path.split('\\').filter(|part| !part.is_empty()).peekable();
        let mut depth = 0_usize;
        while let Some(part) = parts.next() {
            depth = depth.saturating_add(1);
            if depth > DEEPEST || !is_name(part) {
                return Err(status::OBJECT_NAME_INVALID);
            }
            match part {
                "." => {}
                ".." => place = self.node(place).map_or(0, |node| node.parent),
                _ => match self.child(place, part) {
                    Some(found) => place = found,
                    None if parts.peek().is_none() => return Ok(Err((place, part))),
                    None => return Err(status::OBJECT_PATH_NOT_FOUND),
                },
            }
        }
        Ok(Ok(place))
    }

    /// The path of a place, with slashes, `.` for the root: as Samba's audit log writes it.
    pub(super) fn path(&self, place: Place) -> String {
        let mut parts = Vec::new();
        let mut at = place;
        while at != 0 && parts.len() < DEEPEST {
            let Some(node) = self.node(at) else { break };
            parts.push(node.name.shown.as_str());
            at = node.parent;
        }
        parts.reverse();
        if parts.is_empty() { ".".to_owned() } else { parts.join("/") }
    }

    /// Adds a node; `None` when the share is full.
    pub(super) fn add(&mut self, node: Node) -> Option<Place> {
        let place = self.nodes.len();
        (place < MOST).then(|| {
            self.places.insert((node.parent, node.name.lower.clone()), place);
            self.nodes.push(node);
            place
        })
    }

    /// Takes a node out of its folder.
    pub(super) fn remove(&mut self, place: Place) {
        let Some(node) = self.nodes.get_mut(place) else { return };
        node.gone = true;
        let key = (node.parent, node.name.lower.clone());
        // Another may have its name by now.
        if self.places.get(&key) == Some(&place) {
            self.places.remove(&key);
        }
    }

    /// Puts a node elsewhere. One that is gone stays so.
    pub(super) fn rename(&mut self, place: Place, parent: Place, name: &str) {
        let gone = self.nodes.get(place).is_none_or(|node| node.gone);
        if gone {
            return;
        }
        self.remove(place);
        let Some(node) = self.nodes.get_mut(place) else { return };
        (node.parent, node.name, node.gone) = (parent, name.into(), false);
        self.places.insert((parent, node.name.lower.clone()), place);
    }

    /// Adds a file with the folders above it.
    pub(super) fn add_path(&mut self, path: &str, node: Node) -> Option<Place> {
        let mut parent = 0;
        let (folders, name) = path.rsplit_once('\\').unwrap_or(("", path));
        for part in folders.split('\\').filter(|part| !part.is_empty()) {
            parent = match self.child(parent, part) {
                Some(place) => place,
                None => {
                    self.add(Node { parent, name: part.into(), size: 0, content: Content::Folder, ..node.clone() })?
                }
            };
        }
        if self.child(parent, name).is_some() {
            return None;
        }
        self.add(Node { parent, name: name.into(), ..node })
    }

    /// Whether a place lies in a folder, or is it.
    pub(super) fn lies_in(&self, place: Place, folder: Place) -> bool {
        let mut at = place;
        for _ in 0..=DEEPEST {
            if at == folder {
                return true;
            }
            let Some(node) = self.node(at).filter(|_| at != 0) else { return false };
            at = node.parent;
        }
        false
    }

    /// Takes what was written: the size grows, and the first bytes of new files are kept.
    pub(super) fn write(&mut self, place: Place, offset: u64, data: &[u8], now: i64) {
        let room = KEPT.saturating_sub(self.written);
        let Some(node) = self.nodes.get_mut(place) else { return };
        // [MS-FSA] 2.1.5.4: an offset of all ones is the end of the file.
        let offset = if offset == u64::MAX { node.size } else { offset };
        let end = offset.saturating_add(u64::try_from(data.len()).unwrap_or(0));
        if let Content::Written(kept) = &mut node.content
            && usize::try_from(offset) == Ok(kept.len())
        {
            let taken = data.get(..data.len().min(room)).unwrap_or_default();
            kept.extend_from_slice(taken);
            self.written = self.written.saturating_add(taken.len());
        }
        node.size = node.size.max(end);
        let created = node.stamp.times(now).created;
        node.stamp = Stamp::At { created, written: now };
    }
}

/// Whether Windows takes it for the name of a file.
fn is_name(part: &str) -> bool {
    let fits = |c: char| !c.is_control() && !matches!(c, '"' | '*' | '/' | ':' | '<' | '>' | '?' | '|');
    part.chars().count() <= 255 && part.chars().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Stamp = Stamp::At { created: 1, written: 2 };

    fn file() -> Node {
        let content = Content::Given(Arc::from(*b"hello"));
        Node { parent: 0, name: Name::default(), size: 5, stamp: OLD, content, gone: false }
    }

    #[test]
    fn paths_are_found_whatever_their_case() {
        let mut tree = Tree::new(OLD);
        let place = tree.add_path("IT\\VPN\\access.txt", file()).unwrap();
        assert_eq!(tree.find("it\\vpn\\ACCESS.TXT"), Ok(Ok(place)));
        assert_eq!(tree.find("it\\..\\it\\vpn\\access.txt"), Ok(Ok(place)));
        assert_eq!(tree.find(""), Ok(Ok(0)));
        assert_eq!(tree.find("it\\new.txt"), Ok(Err((1, "new.txt"))));
        assert_eq!(tree.find("no\\new.txt"), Err(status::OBJECT_PATH_NOT_FOUND));
        assert_eq!(tree.find("a*b"), Err(status::OBJECT_NAME_INVALID));
        assert_eq!(tree.find(&"a\\".repeat(40)), Err(status::OBJECT_PATH_NOT_FOUND));
        assert_eq!((tree.path(place).as_str(), tree.path(0).as_str()), ("IT/VPN/access.txt", "."));
        assert!(tree.lies_in(place, 1) && !tree.lies_in(1, place));
    }

    #[test]
    fn a_name_is_looked_up_as_it_was_stored_and_goes_with_its_file() {
        let mut tree = Tree::new(OLD);
        let first = tree.add_path("A\\One.txt", file()).unwrap();
        let second = tree.add_path("B\\Two.txt", file()).unwrap();
        let folder = tree.node(second).unwrap().parent;
        assert_eq!(tree.node(first).unwrap().name.lower, "one.txt");
        // What is shown has no part in it.
        tree.node_mut(first).unwrap().name.shown = "Other".to_owned();
        assert_eq!(tree.find("a\\ONE.txt"), Ok(Ok(first)));
        tree.rename(first, folder, "Three.TXT");
        assert_eq!((tree.find("b\\three.txt"), tree.find("a\\one.txt")), (Ok(Ok(first)), Ok(Err((1, "one.txt")))));
        assert!(tree.is_empty(1) && !tree.is_empty(folder) && !tree.is_empty(0));
        tree.remove(first);
        let again = tree.add_path("B\\THREE.txt", file()).unwrap();
        tree.remove(first);
        tree.rename(first, 1, "back");
        assert_eq!((tree.find("b\\three.txt"), tree.find("a\\back")), (Ok(Ok(again)), Ok(Err((1, "back")))));
        tree.remove(second);
        tree.remove(again);
        assert!(tree.is_empty(folder));
    }

    #[test]
    fn dots_are_looked_at_before_names() {
        let mut tree = Tree::new(OLD);
        let odd = tree.add(Node { name: "..".into(), ..file() }).unwrap();
        let place = tree.add_path("a\\b", file()).unwrap();
        assert_eq!(tree.find("a\\..\\.\\a\\b"), Ok(Ok(place)));
        assert_eq!((tree.find(".."), odd), (Ok(Ok(0)), 1));
    }

    #[test]
    fn a_made_file_that_is_grown_has_zeros_behind_what_was_made() {
        let content = Content::Made(Form::Opaque, [3; 32], 100);
        let mut node = Node { size: 100, content, ..file() };
        let whole = node.read(0, 200).unwrap();
        node.size = u64::MAX;
        assert_eq!(node.read(0, 150).unwrap(), [whole.as_slice(), &[0; 50]].concat());
        assert_eq!(node.read(1 << 60, 9).unwrap(), [0; 9]);
        node.size = 10;
        assert_eq!(node.read(4, 150).unwrap(), whole[4..10]);
    }

    #[test]
    fn a_share_holds_no_more_than_it_may() {
        let mut tree = Tree::new(OLD);
        let made = (0..5000).filter(|n| tree.add_path(&format!("f{n}"), file()).is_some()).count();
        assert_eq!(made, MOST - 1);
    }

    #[test]
    fn what_is_written_is_kept_in_bounds() {
        let mut tree = Tree::new(OLD);
        let place = tree.add_path("new", Node { content: Content::Written(Vec::new()), size: 0, ..file() }).unwrap();
        for step in 0..10_u64 {
            tree.write(place, step * 50_000, &[1; 50_000], 9);
        }
        let node = tree.node(place).unwrap();
        assert_eq!((node.size, node.read(0, 10).map(|bytes| bytes.len())), (500_000, Some(10)));
        assert_eq!(node.read(400_000, 10), None);
        assert!(matches!(node.stamp, Stamp::At { created: 1, written: 9 }));
    }

    #[test]
    fn drawn_times_are_on_working_days_and_stay_for_a_while() {
        let stamp = Stamp::drawn(&[3; 32]);
        let now = 1_795_384_800_000_000;
        let times = stamp.times(now);
        assert_eq!(times, stamp.times(now + DAY));
        assert!(times.created < times.written && times.written < now - DAY);
        for moment in [times.created, times.written] {
            assert!(!matches!((moment / DAY + 4) % 7, 0 | 6));
        }
    }
}
