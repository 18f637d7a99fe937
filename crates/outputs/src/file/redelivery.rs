//! What already stands in a file when it is first opened.
//!
//! An event is marked as delivered after it is written, so a program that is killed between the two
//! delivers it again at its next start. The file's end tells which events those are: by their
//! `aviary.id`, or, when lines carry none, by the whole line.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use aviary_event::Event;
use aviary_output::LineFormat;

/// The file is read backwards in pieces of this size, bytes.
const PIECE: u64 = 1 << 20;

/// Pieces that are read at most. A batch is far smaller, but its lines may be long.
const PIECES: u64 = 32;

/// Pieces overlap by this much, so that no id or number is cut in two.
const OVERLAP: u64 = 128;

/// Length of a UUID with hyphens.
const ID: usize = 36;

/// Lines at the end of the file that may be delivered again.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    ids: HashSet<[u8; ID]>,
    lines: HashMap<Vec<u8>, usize>,
    fragment: Option<Fragment>,
}

/// A line without an end, where the file ends.
#[derive(Debug, PartialEq)]
pub(crate) struct Fragment {
    /// Where it starts in the file.
    pub(crate) start: u64,
    /// It.
    pub(crate) bytes: Vec<u8>,
}

impl Standing {
    /// Looks at the file's end, and at the file that was rotated last when that is not enough.
    /// `first` is the first event to deliver: no line before its place in the journal matters.
    pub(crate) fn read(path: &Path, fresh: bool, lines: &LineFormat, first: Option<&Event>) -> Self {
        let mut standing = Self::default();
        if fresh {
            return standing;
        }
        let first = first.and_then(|event| event.aviary.as_ref()).map_or(0, |ours| ours.seq);
        // What cannot be read cannot be compared; at worst a line stands there twice.
        let enough = open(path).is_some_and(|(file, size)| {
            standing.fragment = fragment(&file, size);
            // A template's lines may be the same for many events: better one twice than one not at all.
            lines.has_template() || standing.look(&file, size, lines, first)
        });
        if !enough && let Some((file, size)) = rotated_last(path).as_deref().and_then(open) {
            standing.look(&file, size, lines, first);
        }
        standing
    }

    /// Whether the event stands in the file. Events come again in the order in which they were
    /// written, so the first that does not ends it.
    pub(crate) fn take(&mut self, event: &Event, format: &LineFormat) -> bool {
        if self.ids.is_empty() && self.lines.is_empty() {
            return false;
        }
        let there = match event.aviary.as_ref().filter(|_| format.extended()) {
            Some(ours) => {
                let id = ours.id.hyphenated().to_string();
                <[u8; ID]>::try_from(id.as_bytes()).is_ok_and(|id| self.ids.remove(&id))
            }
            None => match self.lines.get_mut(format.line(event).as_bytes()) {
                Some(count) if *count > 0 => {
                    *count -= 1;
                    true
                }
                _ => false,
            },
        };
        if !there {
            self.ids = HashSet::new();
            self.lines = HashMap::new();
        }
        there
    }

    /// Half a line at the end, once.
    pub(crate) fn take_fragment(&mut self) -> Option<Fragment> {
        self.fragment.take()
    }

    /// Reads backwards; says whether it saw a line from before the first event, so that nothing
    /// further back can matter.
    fn look(&mut self, file: &File, size: u64, format: &LineFormat, first: u64) -> bool {
        if !format.extended() {
            let start = size.saturating_sub(PIECE);
            let tail = piece(file, start, size);
            // The first line may be cut; the last may have no end.
            let mut lines: Vec<&[u8]> = tail.split(|byte| *byte == b'\n').collect();
            lines.pop();
            for line in lines.into_iter().skip(usize::from(start > 0)) {
                *self.lines.entry(line.to_vec()).or_default() += 1;
            }
            return start > 0;
        }
        let mut end = size;
        for _ in 0..PIECES {
            let start = end.saturating_sub(PIECE);
            // An overlap sees a few ids twice, which does no harm.
            let bytes = piece(file, start, (end + OVERLAP).min(size));
            let before = self.ids.len();
            self.ids.extend(after(&bytes, b"\"id\": \"").filter_map(uuid));
            if self.ids.len() == before {
                // Lines of another program, from before it was replaced by this one.
                return true;
            }
            if after(&bytes, b"\"seq\": ").any(|digits| number(digits).is_some_and(|seq| seq < first)) {
                return true;
            }
            if start == 0 {
                return false;
            }
            end = start;
        }
        true
    }
}

fn open(path: &Path) -> Option<(File, u64)> {
    // Asked before opening, since opening a pipe waits for its other end.
    if !fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let file = File::open(path).ok()?;
    let size = file.metadata().ok()?.len();
    Some((file, size))
}

/// The bytes from `start` to `end`, or none when they cannot be read.
fn piece(file: &File, start: u64, end: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(end.saturating_sub(start)).unwrap_or(0)];
    match file.read_exact_at(&mut bytes, start) {
        Ok(()) => bytes,
        Err(_) => Vec::new(),
    }
}

/// The last line, when it has no end. One longer than a piece is not ours.
fn fragment(file: &File, size: u64) -> Option<Fragment> {
    let from = size.saturating_sub(PIECE);
    let tail = piece(file, from, size);
    let begin = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    let bytes = tail.get(begin..)?.to_vec();
    (!bytes.is_empty()).then_some(Fragment { start: size - bytes.len() as u64, bytes })
}

/// The newest file beside `path` whose name begins with its name: `x.log.1`, `x.log-20261122`.
fn rotated_last(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let folder = match path.parent()? {
        folder if folder.as_os_str().is_empty() => Path::new("."),
        folder => folder,
    };
    let siblings = fs::read_dir(folder).ok()?.flatten().filter_map(|entry| {
        let other = entry.file_name();
        let suffix = other.to_str()?.strip_prefix(name)?;
        let packed = [".gz", ".xz", ".bz2", ".zst"].iter().any(|end| suffix.ends_with(end));
        if packed || !suffix.starts_with(['.', '-']) {
            return None;
        }
        Some((entry.metadata().ok()?.modified().ok()?, entry.path()))
    });
    siblings.max().map(|(_, path)| path)
}

/// What follows each occurrence of `mark`. No text that a peer sent can hold it, since its quotes
/// would be escaped.
fn after<'a>(bytes: &'a [u8], mark: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let ends = bytes.windows(mark.len()).enumerate().filter(move |(_, window)| *window == mark);
    ends.filter_map(move |(at, _)| bytes.get(at + mark.len()..))
}

fn uuid(bytes: &[u8]) -> Option<[u8; ID]> {
    let id: [u8; ID] = bytes.get(..ID)?.try_into().ok()?;
    id.iter().all(|byte| byte.is_ascii_hexdigit() || *byte == b'-').then_some(id)
}

fn number(bytes: &[u8]) -> Option<u64> {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(bytes.get(..digits)?).ok()?.parse().ok()
}
