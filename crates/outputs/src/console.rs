//! `logging.StreamHandler`: lines on standard output or standard error.
//!
//! Key: `stream`, `ext://sys.stdout` or `ext://sys.stderr` (Python's default). A terminal or pipe
//! that nobody reads stops this output alone; see [`crate::worker`]. Reference:
//! <https://docs.python.org/3/library/logging.handlers.html#streamhandler>.

use std::fs::File;
use std::io::{self, ErrorKind, Write as _};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use aviary_event::Event;
use aviary_output::{Blueprint, Delivery, Entry, Failure, LineFormat, Output, Rejection};
use serde_json::Value;

use crate::options::{Options, wrong};
use crate::worker::{Worker, Writer, temporary};

/// Lines on a standard stream.
pub(crate) static ENTRY: Entry = Entry {
    name: "console",
    classes: &["logging.StreamHandler"],
    summary: "lines on standard output or standard error",
    options: &["stream", "template"],
    build,
};

fn build(blueprint: &Blueprint<'_>) -> Result<Box<dyn Output>, Rejection> {
    let options = Options(blueprint.options);
    let stream = match options.text("stream")? {
        Some("ext://sys.stdout") => Stream::Out,
        Some("ext://sys.stderr") | None => Stream::Error,
        Some(other) => {
            return Err(wrong("stream", &Value::from(other), "`ext://sys.stdout` or `ext://sys.stderr`"));
        }
    };
    let writer = Console { stream, lines: LineFormat::with_template(blueprint)?, unsent: None };
    Ok(Box::new(ConsoleOutput(Worker::new("console", writer))))
}

struct ConsoleOutput(Worker<Console>);

impl Output for ConsoleOutput {
    fn deliver<'a>(&'a mut self, batch: &'a [Arc<Event>]) -> Delivery<'a> {
        Box::pin(self.0.deliver(batch))
    }
}

#[derive(Clone, Copy)]
enum Stream {
    Out,
    Error,
}

struct Console {
    stream: Stream,
    lines: LineFormat,
    /// An event whose line has begun to go out, and the rest of that line.
    unsent: Option<(Arc<Event>, Vec<u8>)>,
}

impl Console {
    /// The stream itself, past the lock and buffer that the rest of the program shares: a stalled
    /// terminal must not stop whoever else wants to print.
    fn open(&self) -> io::Result<File> {
        let descriptor = match self.stream {
            Stream::Out => io::stdout().as_fd().try_clone_to_owned(),
            Stream::Error => io::stderr().as_fd().try_clone_to_owned(),
        };
        descriptor.map(File::from)
    }

    fn name(&self) -> &'static str {
        match self.stream {
            Stream::Out => "standard output",
            Stream::Error => "standard error",
        }
    }
}

impl Writer for Console {
    fn write(&mut self, batch: &[Arc<Event>]) -> Result<(), Failure> {
        let fail = |delivered, name, error: io::Error| Failure {
            delivered,
            error: temporary(format!("cannot write to {name}: {error}")),
        };
        let name = self.name();
        let mut stream = self.open().map_err(|error| fail(0, name, error))?;
        let mut bytes = Vec::new();
        let mut ends = Vec::with_capacity(batch.len());
        let mut resumed = false;
        if let Some((event, rest)) = self.unsent.take() {
            bytes = rest;
            resumed = batch.first().is_some_and(|first| Arc::ptr_eq(first, &event));
            ends.extend(resumed.then_some(bytes.len()));
        }
        for event in batch.iter().skip(usize::from(resumed)) {
            let mut line = self.lines.line(event);
            line.push('\n');
            bytes.extend_from_slice(line.as_bytes());
            ends.push(bytes.len());
        }
        let (written, result) = write_all(&mut stream, &bytes);
        let Err(error) = result else { return Ok(()) };
        let delivered = ends.iter().take_while(|end| **end <= written).count();
        let line_start = delivered.checked_sub(1).and_then(|last| ends.get(last)).copied().unwrap_or(0);
        if let (Some(event), Some(end)) = (batch.get(delivered), ends.get(delivered))
            && (written > line_start || (delivered == 0 && resumed))
        {
            self.unsent = Some((Arc::clone(event), bytes.get(written..*end).unwrap_or_default().to_vec()));
        }
        Err(fail(delivered, name, error))
    }
}

/// Writes all; says how many bytes went out when not.
fn write_all(stream: &mut File, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match stream.write(rest) {
            Ok(0) => return (written, Err(ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Somebody who shares the terminal made it non-blocking.
            Err(error) if error.kind() == ErrorKind::WouldBlock => sleep(Duration::from_millis(10)),
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}
