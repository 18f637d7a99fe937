//! Appends lines to a file that others may move, delete or cut at any time.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::sync::Arc;

use aviary_event::Event;
use aviary_output::{DeliveryError, Failure, LineFormat};

use super::redelivery::{Fragment, Standing};
use super::rotation::Rotation;
use crate::worker::{Writer, temporary};

/// Lines are written together up to this size, bytes; an ordinary batch is one write.
const CHUNK: usize = 1 << 20;

/// Rights of a new file: its group may read it (a log collector), others may not.
const MODE: u32 = 0o640;

/// The writer behind all file classes.
pub(crate) struct Appender {
    path: PathBuf,
    /// Whether the file begins empty at each start.
    fresh: bool,
    rotation: Rotation,
    lines: LineFormat,
    open: Option<Opened>,
    /// What stood in the file when it was first opened; `None` before that.
    standing: Option<Standing>,
    /// Whether the file ends with half a line that could not be taken back.
    dangling: bool,
}

struct Opened {
    file: File,
    device: u64,
    inode: u64,
    regular: bool,
    /// Bytes in the file.
    size: u64,
}

impl Writer for Appender {
    fn write(&mut self, batch: &[Arc<Event>]) -> Result<(), Failure> {
        let fail = |delivered, error| Failure { delivered, error };
        self.ensure_open(batch).map_err(|error| fail(0, error))?;
        let mut done = self.skip_standing(batch);
        let mut chunk = Vec::new();
        let mut ends = Vec::new();
        while let Some(rest) = batch.get(done..).filter(|rest| !rest.is_empty()) {
            chunk.clear();
            ends.clear();
            let rotate = self.fill(rest, &mut chunk, &mut ends);
            match self.append(&chunk, &ends) {
                Ok(()) => done += ends.len(),
                Err((written, error)) => return Err(fail(done + written, self.failure("write", &error))),
            }
            if rotate {
                self.rotate(batch).map_err(|error| fail(done, error))?;
            }
        }
        Ok(())
    }
}

impl Appender {
    pub(crate) const fn new(path: PathBuf, fresh: bool, rotation: Rotation, lines: LineFormat) -> Self {
        Self { path, fresh, rotation, lines, open: None, standing: None, dangling: false }
    }

    /// Makes sure that what is open is what stands at the path.
    fn ensure_open(&mut self, batch: &[Arc<Event>]) -> Result<(), DeliveryError> {
        if let Some(open) = &mut self.open {
            match fs::metadata(&self.path) {
                Ok(there) if (there.dev(), there.ino()) == (open.device, open.inode) => {
                    // Smaller than remembered when somebody cut it; appending goes on at its end.
                    open.size = there.len();
                    return Ok(());
                }
                // Not allowed to look: what is open still works.
                Err(error) if error.kind() != ErrorKind::NotFound => return Ok(()),
                _ => {}
            }
        }
        let first_time = self.standing.is_none();
        if first_time {
            // Looked at before the file may be created, and before a rotation may move it.
            let standing = Standing::read(&self.path, self.fresh, &self.lines, batch.first().map(|event| &**event));
            self.rotation.begin(&self.path, batch.first().map(|event| &**event));
            self.standing = Some(standing);
        }
        // What was moved away keeps its half line; a new file has none.
        self.dangling = false;
        let opened = OpenOptions::new().append(true).create(true).mode(MODE).open(&self.path);
        let open = opened.and_then(|file| {
            let there = file.metadata()?;
            let empty_it = first_time && self.fresh && there.is_file();
            if empty_it {
                file.set_len(0)?;
            }
            Ok(Opened {
                device: there.dev(),
                inode: there.ino(),
                regular: there.is_file(),
                size: if empty_it { 0 } else { there.len() },
                file,
            })
        });
        match open {
            Ok(open) => {
                self.open = Some(open);
                Ok(())
            }
            Err(error) => {
                self.open = None;
                if first_time {
                    self.standing = None;
                }
                Err(self.failure("open", &error))
            }
        }
    }

    /// How many events at the head of the batch stand in the file already, since they were written
    /// before a restart. Half a line that a crash left is taken back, or ended if it is not ours.
    fn skip_standing(&mut self, batch: &[Arc<Event>]) -> usize {
        let Some(standing) = &mut self.standing else { return 0 };
        let mut done = 0;
        while let Some(event) = batch.get(done) {
            if !standing.take(event, &self.lines) {
                break;
            }
            done += 1;
        }
        if let Some(event) = batch.get(done)
            && let Some(Fragment { start, bytes }) = standing.take_fragment()
            && let Some(open) = &mut self.open
            && open.size == start + bytes.len() as u64
        {
            let ours = self.lines.line(event).as_bytes().starts_with(&bytes);
            if ours && open.file.set_len(start).is_ok() {
                open.size = start;
            } else {
                self.dangling = true;
            }
        }
        done
    }

    /// Puts lines of the events into `chunk`, up to where the file is to be rotated; says whether it is.
    fn fill(&mut self, events: &[Arc<Event>], chunk: &mut Vec<u8>, ends: &mut Vec<usize>) -> bool {
        let (size, regular) = self.open.as_ref().map_or((0, false), |open| (open.size, open.regular));
        if self.dangling {
            chunk.push(b'\n');
        }
        let mut line = String::new();
        for event in events {
            line.clear();
            self.lines.write(event, &mut line);
            line.push('\n');
            let before = size + chunk.len() as u64;
            if regular && self.rotation.due(before, line.len() as u64, event) {
                return true;
            }
            chunk.extend_from_slice(line.as_bytes());
            ends.push(chunk.len());
            if chunk.len() >= CHUNK {
                break;
            }
        }
        false
    }

    /// Writes the lines that end at `ends`. On an error the file ends with a whole line again, and
    /// the error comes with the number of lines that stand in it.
    fn append(&mut self, bytes: &[u8], ends: &[usize]) -> Result<(), (usize, io::Error)> {
        let Some(open) = &mut self.open else { return Err((0, ErrorKind::NotFound.into())) };
        let mut written = 0;
        let error = loop {
            match bytes.get(written..) {
                None | Some([]) => {
                    open.size += written as u64;
                    self.dangling &= bytes.is_empty();
                    return Ok(());
                }
                Some(rest) => match open.file.write(rest) {
                    Ok(0) => break ErrorKind::WriteZero.into(),
                    Ok(count) => written += count,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => break error,
                },
            }
        };
        let whole = ends.iter().take_while(|end| **end <= written).count();
        let keep = whole.checked_sub(1).and_then(|last| ends.get(last)).copied().unwrap_or(0);
        if whole > 0 {
            self.dangling = false;
        }
        if written > keep && !open.take_back((written - keep) as u64) {
            self.dangling = true;
        }
        open.size += keep as u64;
        Err((whole, error))
    }

    fn rotate(&mut self, batch: &[Arc<Event>]) -> Result<(), DeliveryError> {
        self.rotation.turn(&self.path, self.open.as_ref().map_or(0, |open| open.size));
        self.open = None;
        self.ensure_open(batch)
    }

    fn failure(&self, doing: &str, error: &io::Error) -> DeliveryError {
        let path = self.path.display();
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        match folder {
            Some(folder) if error.kind() == ErrorKind::NotFound => {
                temporary(format!("cannot {doing} `{path}`: the folder `{}` does not exist", folder.display()))
            }
            _ => temporary(format!("cannot {doing} `{path}`: {error}")),
        }
    }
}

impl Opened {
    /// Cuts off the last bytes that were written, unless somebody else wrote behind them.
    fn take_back(&mut self, bytes: u64) -> bool {
        let Ok(end) = self.file.stream_position() else { return false };
        let untouched = self.file.metadata().is_ok_and(|there| there.len() == end);
        self.regular && untouched && end >= bytes && self.file.set_len(end - bytes).is_ok()
    }
}
