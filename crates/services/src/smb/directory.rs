//! QUERY_DIRECTORY: listings in all common classes, with the wildcards of DOS ([MS-FSA] 2.1.4.4).

use aviary_service::Outbox;

use super::codec::{Answer, Header, Put as _, slice, text, u16_at, u32_at, wide};
use super::information::put_times;
use super::state::Connection;
use super::status;
use super::tree::{Node, Place};

/// Begin again, give one entry only, take a new pattern.
const RESTART: u8 = 0x01;
const SINGLE: u8 = 0x02;
const REOPEN: u8 = 0x10;

/// Longest listing in one response.
const LONGEST: usize = 64 * 1024;

/// How far a listing is.
#[derive(Debug)]
pub(super) struct Listing {
    pattern: String,
    /// Entries to come, last first.
    left: Vec<(String, Place)>,
    begun: bool,
}

impl Connection {
    /// Answers QUERY_DIRECTORY: size 9, offset, length, entries.
    pub(super) fn query_directory(
        &mut self,
        header: &Header,
        message: &[u8],
        related: Option<u64>,
        out: &mut Outbox,
    ) -> Result<Answer, u32> {
        let position = self.position(header, message, 72, related)?;
        let (Some(class), Some(flags)) = (message.get(66).copied(), message.get(67).copied()) else {
            return Err(status::INVALID_PARAMETER);
        };
        let length = u16_at(message, 90).ok_or(status::INVALID_PARAMETER)?;
        let at = u16_at(message, 88).ok_or(status::INVALID_PARAMETER)?;
        let pattern =
            if length == 0 { &[][..] } else { slice(message, at, length).ok_or(status::INVALID_PARAMETER)? };
        let most = usize::try_from(u32_at(message, 92).unwrap_or(0)).unwrap_or(usize::MAX);
        if !matches!(class, 1 | 2 | 3 | 12 | 37 | 38) {
            return Err(status::INVALID_INFO_CLASS);
        }
        let file = self.file(position).ok_or(status::INVALID_PARAMETER)?;
        let place = file.place;
        let again = flags & (RESTART | REOPEN) != 0;
        let first = file.listing.is_none();
        let old = file.listing.take().filter(|_| flags & REOPEN == 0);
        if !self.tree.node(place).is_some_and(Node::is_folder) {
            return Err(status::INVALID_PARAMETER);
        }
        let mut listing = match old {
            Some(listing) if !again => listing,
            Some(listing) if pattern.is_empty() => self.listing(place, listing.pattern),
            _ => self.listing(place, text(pattern)),
        };
        if first {
            self.audit(header.session, "fdopendir", self.tree.path(place), status::SUCCESS, out);
        }
        let room = self.allow(most.min(LONGEST), out);
        let result = self.entries(&mut listing, class, flags & SINGLE != 0, (room, most), out);
        self.give_back(room.saturating_sub(result.as_ref().map_or(0, Vec::len)));
        listing.begun = true;
        if let Some(file) = self.file(position) {
            file.listing = Some(listing);
        }
        let data = result?;
        let mut body = Vec::with_capacity(data.len().saturating_add(8));
        body.put16(9);
        body.put16(72);
        body.put_len(data.len());
        body.extend_from_slice(&data);
        Ok(Answer::ok(body))
    }

    fn listing(&self, folder: Place, pattern: String) -> Listing {
        let parent = self.tree.node(folder).map_or(0, |node| node.parent);
        let mut all = vec![(".".to_owned(), folder), ("..".to_owned(), parent)];
        for child in self.tree.children(folder) {
            if let Some(node) = self.tree.node(child) {
                all.push((node.name.shown.clone(), child));
            }
        }
        let pattern = if pattern.is_empty() { "*".to_owned() } else { pattern };
        all.retain(|(name, _)| fits(&pattern, name));
        all.reverse();
        Listing { pattern, left: all, begun: false }
    }

    /// Entries that fit, each at a multiple of 8, each but the last saying where the next begins.
    fn entries(
        &self,
        listing: &mut Listing,
        class: u8,
        single: bool,
        (room, most): (usize, usize),
        outbox: &Outbox,
    ) -> Result<Vec<u8>, u32> {
        let mut out: Vec<u8> = Vec::new();
        let mut last = None;
        while let Some((name, place)) = listing.left.last() {
            let Some(node) = self.tree.node(*place) else {
                listing.left.pop();
                continue;
            };
            let entry = self.entry(class, name, *place, node, outbox);
            let begin = out.len().next_multiple_of(8);
            let end = begin.saturating_add(entry.len());
            if end > room {
                if out.is_empty() && end > most {
                    return Err(status::INFO_LENGTH_MISMATCH);
                }
                if !out.is_empty() {
                    break;
                }
            }
            if let Some(last) = last {
                let next = u32::try_from(begin.saturating_sub(last)).unwrap_or(0).to_le_bytes();
                if let Some(field) = out.get_mut(last..last.saturating_add(4)) {
                    field.copy_from_slice(&next);
                }
            }
            out.align(8);
            last = Some(begin);
            out.extend_from_slice(&entry);
            listing.left.pop();
            if single {
                break;
            }
        }
        match out.is_empty() {
            false => Ok(out),
            true if listing.begun => Err(status::NO_MORE_FILES),
            true => Err(status::NO_SUCH_FILE),
        }
    }

    /// An entry: next (4), index (4), then by class times, sizes, attributes, lengths, file id, name.
    fn entry(&self, class: u8, name: &str, place: Place, node: &Node, outbox: &Outbox) -> Vec<u8> {
        let name = wide(name);
        let mut out = vec![0; 8];
        if class == 12 {
            out.put_len(name.len());
            out.extend_from_slice(&name);
            return out;
        }
        put_times(&mut out, node, outbox);
        out.put64(node.size);
        out.put64(node.allocated());
        out.put32(node.attributes());
        out.put_len(name.len());
        if class != 1 {
            out.put32(0); // size of extended attributes
        }
        if matches!(class, 3 | 37) {
            // Length of the short name, reserved, short name: the volume makes none.
            out.extend_from_slice(&[0; 26]);
        }
        match class {
            37 => out.put16(0),
            38 => out.put32(0),
            _ => {}
        }
        if matches!(class, 37 | 38) {
            out.put64(self.index(place));
        }
        out.extend_from_slice(&name);
        out
    }
}

/// Whether a name fits a pattern: `*` and `?`, and `<`, `>` and `"`, which stand for `*`, `?` and `.`
/// as DOS meant them. Without regard to case, without backtracking over more than one star.
fn fits(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.to_lowercase().chars().take(512).collect();
    if matches!(pattern.as_slice(), ['*'] | ['*', '.', '*'] | ['<', '"', '*'] | ['<', '"', '>']) {
        return true;
    }
    let name: Vec<char> = name.to_lowercase().chars().collect();
    let (mut p, mut n) = (0_usize, 0_usize);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        let here = name.get(n).copied();
        let matched = match pattern.get(p).copied() {
            Some('*' | '<') => {
                star = Some((p, n));
                p = p.saturating_add(1);
                continue;
            }
            Some('?' | '>') => true,
            Some('"') => here == Some('.'),
            other => other.is_some() && other == here,
        };
        if matched {
            (p, n) = (p.saturating_add(1), n.saturating_add(1));
        } else if let Some((at, from)) = star {
            (p, n) = (at.saturating_add(1), from.saturating_add(1));
            star = Some((at, n));
        } else {
            return false;
        }
    }
    pattern.iter().skip(p).all(|c| matches!(c, '*' | '<' | '>' | '"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_are_those_of_dos() {
        for (pattern, name) in [
            ("*", "a"),
            ("*.*", "README"),
            ("*.TXT", "notes.txt"),
            ("no?es.txt", "notes.txt"),
            ("<.txt", "a.b.txt"),
            ("notes>>>>>>", "notes"),
            ("a*b*c", "aXbXbc"),
        ] {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("*.txt", "notes.doc"), ("a?", "a"), ("notes", "note"), ("a\"b", "axb")] {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
        assert!(!fits(&"*a".repeat(250), &"b".repeat(255)));
    }
}
