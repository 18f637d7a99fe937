//! Files of other programs, read as `tail -F` reads them: from the end at the start, on through rotation,
//! cutting and absence.
//!
//! LIMIT: a file that is cut and at once longer than it was goes on where the old one was read to, as with
//! every program that follows by size.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::mem;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aviary_service::{Follow, LineReader};
use nix::libc;
use tokio::sync::watch;

use crate::errand::{Progress, Trouble};
use crate::reporter::Reporter;

/// Time between two looks at the file.
const LOOK: Duration = Duration::from_millis(500);
/// Longest line that is read; a longer one is passed over.
const LONGEST_LINE: usize = 64 * 1024;
/// Bytes that are read at a time; if there are more, without a pause.
const PIECE: usize = 256 * 1024;

/// Follows a file until told to stop.
pub(crate) async fn run(
    (host, entry): (Option<Arc<str>>, &'static str),
    follow: Follow,
    reporter: Arc<Reporter>,
    progress: Arc<Progress>,
    mut stop: watch::Receiver<bool>,
) {
    let Follow { path, mut reader } = follow;
    let mut tail = Tail::new(path.clone());
    while !*stop.borrow() {
        // A disk may hang; the event loop may not.
        let looked = tokio::task::spawn_blocking(move || {
            let mut lines = Vec::new();
            let looked = tail.look(&mut lines);
            (tail, lines, looked)
        });
        let Ok((back, lines, looked)) = looked.await else { return };
        tail = back;
        report((host.as_deref(), entry), &mut *reader, &lines, &reporter, &progress).await;
        let more = match looked {
            Ok(Look { more, is_there }) => {
                let trouble = (!is_there).then_some(Trouble::Waiting("the file is not there yet"));
                if progress.set_trouble(trouble) && !is_there {
                    tracing::info!(service = entry, path = %path.display(), "waits for the file");
                }
                more
            }
            Err(error) => {
                let trouble = explain(&path, &error);
                if progress.set_trouble(Some(Trouble::Failed(trouble.clone()))) {
                    tracing::error!(service = entry, "{trouble}");
                }
                false
            }
        };
        if !more {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }
}

async fn report(
    (host, entry): (Option<&str>, &'static str),
    reader: &mut dyn LineReader,
    lines: &[Vec<u8>],
    reporter: &Reporter,
    progress: &Progress,
) {
    for line in lines {
        let Ok(told) = catch_unwind(AssertUnwindSafe(|| reader.line(line))) else {
            tracing::error!(service = entry, "a line could not be looked at");
            continue;
        };
        if let Some(told) = told {
            progress.count();
            drop(reporter.report_told(entry, host, told).await);
        }
    }
}

fn explain(path: &Path, error: &io::Error) -> String {
    let path = path.display();
    if error.kind() == io::ErrorKind::PermissionDenied {
        return format!(
            "`{path}` may not be read by the user that the canary runs as; let its group read the file, or name that group \
             with `--gid`"
        );
    }
    format!("`{path}` cannot be read: {error}")
}

/// What one look found.
#[derive(Debug, Default)]
struct Look {
    /// Whether there is more to read at once.
    more: bool,
    /// Whether the file is there.
    is_there: bool,
}

/// A file being followed.
struct Tail {
    path: PathBuf,
    open: Option<Open>,
    /// The beginning of a line whose end has not been written.
    partial: Vec<u8>,
    /// Whether the rest of a line that was too long is passed over.
    skipping: bool,
    /// Whether the file was looked for before: what appears later is read from its beginning.
    begun: bool,
}

/// The file as it was opened.
struct Open {
    file: File,
    identity: (u64, u64),
    position: u64,
}

impl Tail {
    const fn new(path: PathBuf) -> Self {
        Self { path, open: None, partial: Vec::new(), skipping: false, begun: false }
    }

    /// Appends whole lines, without their ends, also where it then fails.
    fn look(&mut self, lines: &mut Vec<Vec<u8>>) -> io::Result<Look> {
        let begun = mem::replace(&mut self.begun, true);
        if self.open.is_none() && !self.reopen(!begun)? {
            return Ok(Look::default());
        }
        let mut look = Look { is_there: true, ..Look::default() };
        let Some(open) = &mut self.open else { return Ok(look) };
        if open.file.metadata()?.len() < open.position {
            // Cut off: it begins anew, and with it the line.
            open.position = open.file.seek(SeekFrom::Start(0))?;
            self.partial.clear();
            self.skipping = false;
        }
        let mut piece = Vec::new();
        let read = (&open.file).take(u64::try_from(PIECE).unwrap_or(u64::MAX)).read_to_end_of_piece(&mut piece);
        open.position = open.position.saturating_add(u64::try_from(piece.len()).unwrap_or(0));
        let identity = open.identity;
        self.split(&piece, lines);
        read?;
        look.more = piece.len() == PIECE;
        if !look.more && self.is_replaced(identity)? {
            // What stood in the old one was read to its end above, and nobody ends its last line any more.
            let last = mem::take(&mut self.partial);
            lines.extend((!last.is_empty()).then_some(last));
            self.skipping = false;
            look.is_there = self.reopen(false)?;
            look.more = look.is_there;
        }
        Ok(look)
    }

    /// Whether another file is at the path now. While none is, the old one goes on.
    fn is_replaced(&self, identity: (u64, u64)) -> io::Result<bool> {
        match std::fs::metadata(&self.path) {
            Ok(now) => Ok((now.dev(), now.ino()) != identity),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Opens the file, at its end or its beginning; `false` when it is not there.
    fn reopen(&mut self, at_end: bool) -> io::Result<bool> {
        self.open = None;
        // A pipe without a writer would hang here.
        let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(&self.path);
        let mut file = match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            opened => opened?,
        };
        let facts = file.metadata()?;
        if !facts.is_file() {
            return Err(io::Error::other("it is no regular file"));
        }
        let position = if at_end { file.seek(SeekFrom::End(0))? } else { 0 };
        self.open = Some(Open { file, identity: (facts.dev(), facts.ino()), position });
        Ok(true)
    }

    fn split(&mut self, piece: &[u8], lines: &mut Vec<Vec<u8>>) {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            let (text, is_whole) = match part.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (part, false),
            };
            if self.partial.len().saturating_add(text.len()) > LONGEST_LINE {
                self.skipping = true;
                self.partial.clear();
            }
            if !self.skipping {
                self.partial.extend_from_slice(text);
            }
            if is_whole {
                let line = mem::take(&mut self.partial);
                if !mem::take(&mut self.skipping) {
                    lines.push(line);
                }
            }
        }
    }
}

/// Reads up to a limit that the caller has set.
trait ReadPiece {
    /// Appends what there is, also where it then fails.
    fn read_to_end_of_piece(self, piece: &mut Vec<u8>) -> io::Result<()>;
}

impl ReadPiece for io::Take<&File> {
    fn read_to_end_of_piece(mut self, piece: &mut Vec<u8>) -> io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        loop {
            match self.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => piece.extend_from_slice(buffer.get(..read).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use aviary_event::{LogData, Origin};
    use aviary_service::Told;
    use tokio::runtime::Builder;

    use super::*;
    use crate::errand::Errand;
    use crate::testing::{KIND, PATIENCE, Rig};

    struct Scene {
        folder: tempfile::TempDir,
        tail: Tail,
    }

    impl Scene {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let tail = Tail::new(folder.path().join("audit.log"));
            Self { folder, tail }
        }

        fn append(&self, text: &str) {
            let mut file = OpenOptions::new().create(true).append(true).open(&self.tail.path).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }

        /// The lines of as many looks as it takes.
        fn lines(&mut self) -> Vec<String> {
            let mut lines = Vec::new();
            loop {
                let mut whole = Vec::new();
                let look = self.tail.look(&mut whole).unwrap();
                lines.extend(whole.into_iter().map(|line| String::from_utf8(line).unwrap()));
                if !look.more {
                    return lines;
                }
            }
        }
    }

    #[test]
    fn begins_at_the_end_and_waits_for_the_end_of_a_line() {
        let mut scene = Scene::new();
        scene.append("old\nold, too\n");
        assert!(scene.lines().is_empty());
        scene.append("one\ntw");
        assert_eq!(scene.lines(), ["one"]);
        scene.append("o\n\nthree\n");
        assert_eq!(scene.lines(), ["two", "", "three"]);
    }

    #[test]
    fn a_file_that_appears_later_is_read_from_its_beginning() {
        let mut scene = Scene::new();
        assert!(!scene.tail.look(&mut Vec::new()).unwrap().is_there);
        scene.append("one\n");
        assert_eq!(scene.lines(), ["one"]);
        assert!(scene.tail.look(&mut Vec::new()).unwrap().is_there);
    }

    #[test]
    fn goes_on_in_the_new_file_after_the_old_one_is_read() {
        let mut scene = Scene::new();
        scene.append("old\n");
        assert!(scene.lines().is_empty());
        let rotated = scene.folder.path().join("audit.log.1");
        std::fs::rename(&scene.tail.path, &rotated).unwrap();
        OpenOptions::new().append(true).open(&rotated).unwrap().write_all(b"late\n").unwrap();
        assert_eq!(scene.lines(), ["late"], "there is no new one yet");
        OpenOptions::new().append(true).open(&rotated).unwrap().write_all(b"later\n").unwrap();
        scene.append("new\n");
        assert_eq!(scene.lines(), ["later", "new"]);
    }

    #[test]
    fn a_line_that_nobody_ends_any_more_is_a_line() {
        let mut scene = Scene::new();
        scene.append("old\n");
        assert!(scene.lines().is_empty());
        scene.append("one\nha");
        assert_eq!(scene.lines(), ["one"]);
        scene.append("lf");
        std::fs::rename(&scene.tail.path, scene.folder.path().join("audit.log.1")).unwrap();
        scene.append("new\n");
        assert_eq!(scene.lines(), ["half", "new"]);
    }

    #[test]
    fn what_was_read_is_told_although_the_new_file_cannot_be_opened() {
        let mut scene = Scene::new();
        scene.append("old\n");
        assert!(scene.lines().is_empty());
        scene.append("one\ntwo\nhalf");
        std::fs::rename(&scene.tail.path, scene.folder.path().join("audit.log.1")).unwrap();
        std::fs::create_dir(&scene.tail.path).unwrap();
        let mut lines = Vec::new();
        assert_eq!(scene.tail.look(&mut lines).unwrap_err().to_string(), "it is no regular file");
        assert_eq!(lines, [&b"one"[..], b"two", b"half"]);
        std::fs::remove_dir(&scene.tail.path).unwrap();
        scene.append("new\n");
        assert_eq!(scene.lines(), ["new"]);
    }

    /// Reports each line.
    struct Teller;

    impl LineReader for Teller {
        fn line(&mut self, line: &[u8]) -> Option<Told> {
            let data = LogData::new().with("WHAT", line);
            Some(Told { kind: &KIND, data, source: Origin::none(), target: Origin::none() })
        }
    }

    #[test]
    fn lines_are_reported_with_the_trouble_that_follows_them() {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let rig = Rig::new(aviary_service::Security::Plain);
            let scene = Scene::new();
            let follow = Follow { path: scene.tail.path.clone(), reader: Box::new(Teller) };
            let errand = Errand::begin("test", "reading", String::new(), |progress, stop| {
                run((None, "test"), follow, Arc::clone(rig.reporter()), progress, stop)
            });
            tokio::time::timeout(PATIENCE, async {
                while errand.trouble().is_none() {
                    tokio::time::sleep(LOOK / 10).await;
                }
            })
            .await
            .unwrap();
            scene.append("one\nhalf");
            rig.told("one").await;
            std::fs::rename(&scene.tail.path, scene.folder.path().join("audit.log.1")).unwrap();
            std::fs::create_dir(&scene.tail.path).unwrap();
            rig.told("half").await;
            tokio::time::timeout(PATIENCE, async {
                while !matches!(errand.trouble(), Some(Trouble::Failed(_))) {
                    tokio::time::sleep(LOOK / 10).await;
                }
            })
            .await
            .unwrap();
        });
    }

    #[test]
    fn a_file_that_is_cut_off_begins_anew() {
        let mut scene = Scene::new();
        scene.append("a long line that was there\n");
        assert!(scene.lines().is_empty());
        scene.append("half");
        assert!(scene.lines().is_empty());
        std::fs::write(&scene.tail.path, "new\n").unwrap();
        assert_eq!(scene.lines(), ["new"]);
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_over() {
        let mut scene = Scene::new();
        scene.append("");
        assert!(scene.lines().is_empty());
        scene.append(&"x".repeat(LONGEST_LINE * 6));
        assert!(scene.lines().is_empty());
        assert!(scene.tail.partial.len() <= LONGEST_LINE);
        scene.append(&format!("\nshort\n{}\n", "y".repeat(LONGEST_LINE)));
        let lines = scene.lines();
        assert_eq!(lines.iter().map(String::len).collect::<Vec<_>>(), [5, LONGEST_LINE]);
    }

    #[test]
    fn what_is_no_file_is_told() {
        let mut scene = Scene::new();
        nix::unistd::mkfifo(&scene.tail.path, nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert_eq!(scene.tail.look(&mut Vec::new()).unwrap_err().to_string(), "it is no regular file");
        std::fs::remove_file(&scene.tail.path).unwrap();
        std::fs::create_dir(&scene.tail.path).unwrap();
        let error = scene.tail.look(&mut Vec::new()).unwrap_err();
        assert!(explain(&scene.tail.path, &error).contains("cannot be read"), "{error}");
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        assert!(explain(&scene.tail.path, &denied).contains("--gid"));
    }
}
