//! Log files: `logging.FileHandler` and its three relatives, which here are one writer with or
//! without a rotation of its own.
//!
//! | class | keys |
//! |---|---|
//! | `logging.FileHandler`, `logging.handlers.WatchedFileHandler` | `filename`, `mode`, `encoding`, `delay`, `errors` |
//! | `logging.handlers.RotatingFileHandler` | those, and `maxBytes`, `backupCount` |
//! | `logging.handlers.TimedRotatingFileHandler` | those but `mode`, and `when`, `interval`, `backupCount`, `utc`, `atTime` |
//!
//! All of them notice when somebody renames, deletes or truncates the file (`logrotate` does), never
//! leave half a line behind, and write no event twice when a restart delivers it again. What tried
//! them: `logrotate` with and without `copytruncate`, a full tmpfs. Reference:
//! <https://docs.python.org/3/library/logging.handlers.html>.

mod appender;
mod redelivery;
mod rotation;

use std::path::PathBuf;
use std::sync::Arc;

use aviary_event::Event;
use aviary_output::{Blueprint, Delivery, Entry, LineFormat, Output, Rejection};
use serde_json::Value;

use crate::options::{Options, wrong};
use crate::worker::Worker;
use appender::Appender;
use rotation::{Rotation, Timed};

/// A file that others rotate, if anybody.
pub(crate) static ENTRY: Entry = Entry {
    name: "file",
    classes: &["logging.FileHandler", "logging.handlers.WatchedFileHandler"],
    summary: "lines in a file; follows logrotate",
    options: &["filename", "mode", "encoding", "delay", "errors", "template"],
    build: |blueprint| build(blueprint, |_| Ok(Rotation::Never)),
};

/// A file that is rotated when it is full.
pub(crate) static ROTATING: Entry = Entry {
    name: "rotating_file",
    classes: &["logging.handlers.RotatingFileHandler"],
    summary: "lines in a file that is rotated by size",
    options: &["filename", "mode", "encoding", "delay", "errors", "maxBytes", "backupCount", "template"],
    build: |blueprint| {
        build(blueprint, |options| {
            let most = options.whole("maxBytes", 0, 0, u64::MAX)?;
            let keep = options.whole("backupCount", 0, 0, 10_000)?;
            // Python's documentation: if either is zero, the file is never rotated.
            Ok(if most == 0 || keep == 0 { Rotation::Never } else { Rotation::Size { most, keep, retry_at: 0 } })
        })
    },
};

/// A file that is rotated at certain times.
pub(crate) static TIMED: Entry = Entry {
    name: "timed_file",
    classes: &["logging.handlers.TimedRotatingFileHandler"],
    summary: "lines in a file that is rotated by time",
    options: &[
        "filename",
        "encoding",
        "delay",
        "errors",
        "when",
        "interval",
        "backupCount",
        "utc",
        "atTime",
        "template",
    ],
    build: |blueprint| build(blueprint, |options| Timed::new(options).map(Rotation::Time)),
};

/// Spellings of encodings that hold our lines, which are ASCII, and a format's own text as UTF-8.
const ENCODINGS: &[&str] = &["utf-8", "utf8", "ascii", "us-ascii", "latin-1", "latin1", "iso-8859-1"];

fn build(
    blueprint: &Blueprint<'_>,
    rotation: impl FnOnce(Options<'_>) -> Result<Rotation, Rejection>,
) -> Result<Box<dyn Output>, Rejection> {
    let options = Options(blueprint.options);
    let path = PathBuf::from(options.needed_text("filename", "/var/tmp/opencanary.log")?);
    let fresh = match options.text("mode")?.unwrap_or("a") {
        "a" | "at" | "a+" | "ab" => false,
        "w" | "wt" | "w+" | "wb" => true,
        other => return Err(wrong("mode", &Value::from(other), "`a` to append or `w` to begin with an empty file")),
    };
    if let Some(encoding) = options.text("encoding")?
        && !ENCODINGS.contains(&encoding.to_ascii_lowercase().replace('_', "-").as_str())
    {
        return Err(wrong("encoding", &Value::from(encoding), "`utf-8` or another that holds ASCII as it is"));
    }
    // The file is opened at the first line in any case.
    options.flag("delay", false)?;
    options.text("errors")?;
    let writer = Appender::new(path, fresh, rotation(options)?, LineFormat::with_template(blueprint)?);
    Ok(Box::new(FileOutput(Worker::new("file", writer))))
}

struct FileOutput(Worker<Appender>);

impl Output for FileOutput {
    fn deliver<'a>(&'a mut self, batch: &'a [Arc<Event>]) -> Delivery<'a> {
        Box::pin(self.0.deliver(batch))
    }
}
