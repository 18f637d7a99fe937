//! A conversation that a module leads.

use std::sync::Arc;

use aviary_service::{Dialogue, Facts, Outbox};
use rhai::{Blob, Dynamic, FuncArgs};

use crate::limits;
use crate::service::Running;
use crate::session::{Session, report_failure};
use crate::text::to_text;

/// One connection of a module.
pub(crate) struct Scripted {
    running: Arc<Running>,
    session: Session,
    /// The module has said goodbye, or failed: what still comes is not looked at.
    over: bool,
}

impl Scripted {
    pub(crate) fn new(running: Arc<Running>, facts: &Facts) -> Self {
        let session = running.session(facts);
        Self { running, session, over: false }
    }

    /// Calls a function; `data` is what the peer sent for it. `None` when it failed.
    fn call(&mut self, function: &str, values: impl FuncArgs, data: &[u8], out: &mut Outbox) -> Option<Dynamic> {
        self.session.begin(out.now());
        let called = self.running.module.call(function, values);
        self.session.finish(called.is_err(), out);
        match called {
            Ok(value) => {
                if out.is_closing() {
                    self.goodbye(out);
                }
                Some(value)
            }
            Err(error) => {
                self.fail(&error, data, out);
                None
            }
        }
    }

    fn fail(&mut self, error: &str, data: &[u8], out: &mut Outbox) {
        self.over = true;
        self.running.note_failure(error);
        report_failure(error, data, out);
        out.close();
    }

    fn line(&mut self, line: &[u8], out: &mut Outbox) {
        let text = to_text(line);
        self.call("on_line", (self.session.clone(), text), line, out);
    }

    /// Calls `on_close`, once.
    fn goodbye(&mut self, out: &mut Outbox) {
        if !std::mem::replace(&mut self.over, true) && self.running.module.has("on_close") {
            self.session.begin(out.now());
            let called = self.running.module.call("on_close", (self.session.clone(),));
            self.session.finish(called.is_err(), out);
            if let Err(error) = called {
                self.fail(&error, b"", out);
            }
        }
    }

    /// The peer sends no more, and `rest` waits.
    fn end(&mut self, rest: &[u8], out: &mut Outbox) {
        if self.over {
            return;
        }
        if self.running.module.takes_lines {
            // The last line may lack its end.
            let mut rest = rest;
            while !rest.is_empty() && !self.over {
                let (line, used) = first_line(rest).unwrap_or((rest, rest.len()));
                self.line(line, out);
                rest = rest.get(used..).unwrap_or_default();
            }
        } else {
            self.session.set_unused(rest);
        }
        self.goodbye(out);
    }
}

impl Dialogue for Scripted {
    fn open(&mut self, out: &mut Outbox) {
        if self.running.module.has("on_connect") {
            self.call("on_connect", (self.session.clone(),), b"", out);
        }
    }

    fn feed(&mut self, input: &[u8], out: &mut Outbox) -> usize {
        if self.over || input.is_empty() {
            return input.len();
        }
        if self.running.module.takes_lines {
            let Some((line, used)) = first_line(input) else { return 0 };
            self.line(line, out);
            return used;
        }
        let window = input.get(..limits::WINDOW).unwrap_or(input);
        let Some(value) = self.call("on_data", (self.session.clone(), Blob::from(window)), window, out) else {
            return input.len();
        };
        let used = if value.is_unit() {
            Some(window.len())
        } else {
            value.as_int().ok().and_then(|n| usize::try_from(n).ok())
        };
        match used {
            Some(used) if used > 0 && used <= window.len() => used,
            Some(0) if window.len() < limits::WINDOW || out.must_act() => 0,
            Some(0) => {
                let error = format!("`on_data` uses none of {} bytes, and no more can wait", window.len());
                self.fail(&error, window, out);
                input.len()
            }
            _ => {
                let error = format!(
                    "`on_data` gives {value:?}; accepted: nothing, or how many of {} bytes it used",
                    window.len()
                );
                self.fail(&error, window, out);
                input.len()
            }
        }
    }

    fn ended(&mut self, rest: &[u8], out: &mut Outbox) {
        self.end(rest, out);
    }

    fn expired(&mut self, rest: &[u8], out: &mut Outbox) {
        self.end(rest, out);
    }

    fn overflowed(&mut self, input: &[u8], out: &mut Outbox) {
        self.end(input, out);
    }
}

/// The first line without its end, and how long it is with it. A piece of [`limits::LINE`] bytes without an end
/// counts as a line.
fn first_line(input: &[u8]) -> Option<(&[u8], usize)> {
    let whole = input.iter().take(limits::LINE.saturating_add(1)).position(|byte| *byte == b'\n');
    match whole {
        Some(end) => {
            let line = input.get(..end)?;
            Some((line.strip_suffix(b"\r").unwrap_or(line), end.saturating_add(1)))
        }
        // Whether the next byte ends it is not known before it is there: pieces must not matter.
        None if input.len() > limits::LINE => Some((input.get(..limits::LINE)?, limits::LINE)),
        None => None,
    }
}
