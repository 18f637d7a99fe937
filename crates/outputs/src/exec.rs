//! `aviary.exec`: JSON lines to the standard input of a program.
//!
//! | key | meaning |
//! |---|---|
//! | `command` | `["/usr/local/bin/alert", "--fast"]`, or the program alone; no shell is asked |
//! | `acknowledge` | whether the program answers each line; `false` |
//! | `timeout` | seconds without progress after which the program counts as hung and is killed; 60 |
//! | `lifecycle` | whether events about the canary itself are given too; `true` |
//!
//! The program is started with the first event, gets a line an event, and is started again when it has
//! ended. Its standard error is logged at `debug`, and its last line stands with the exit code in what
//! `aviary status` shows. It ends, as it should at the end of its input, when the canary does.
//!
//! Without `acknowledge` an event is delivered once the program has read it; its output goes nowhere.
//! With it the program gets one line at a time and answers with a line on its standard output: `ok`, or
//! `later` and why (the event is tried again), or `no` and why (the event is passed over). An event that
//! a program had not read or answered when it ended is given to the next one, and so is one whose answer
//! was lost; `aviary.id` tells a repetition.
//!
//! A program that ends soon after its start, with whatever code, is started less and less often, at least
//! once a minute. It runs as the canary's user, without privileges of its own and with its environment.

use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aviary_event::Event;
use aviary_output::{Blueprint, Delivery, DeliveryError, Entry, Failure, LineFormat, Output, Rejection};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::options::{Options, wrong};
use crate::worker::temporary;

/// Lines to a program.
pub(crate) static ENTRY: Entry = Entry {
    name: "exec",
    classes: &["aviary.exec"],
    summary: "JSON lines to the standard input of a program",
    options: &["command", "acknowledge", "timeout", "lifecycle", "template"],
    build,
};

/// A program that makes no progress for so long hangs, unless `timeout` says otherwise.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who lives shorter failed; each such end in a row doubles the wait, from half a second to a minute.
const SHORT: Duration = Duration::from_secs(10);
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Longest line that is read from a program, bytes; the rest of it is thrown away.
const LINE: u64 = 4096;

/// How long a program's last words are waited for after its end.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// How often it is looked whether the program has read its input, at first and at most.
const LOOK_FIRST: Duration = Duration::from_micros(200);
const LOOK_LAST: Duration = Duration::from_millis(20);

fn build(blueprint: &Blueprint<'_>) -> Result<Box<dyn Output>, Rejection> {
    let options = Options(blueprint.options);
    // The formatter is not used, but a mistake in it is one all the same.
    let lines = LineFormat::with_template(blueprint)?;
    let (program, arguments) = command(options)?;
    Ok(Box::new(Exec {
        name: blueprint.name.to_owned(),
        program,
        arguments,
        lines,
        acknowledge: options.flag("acknowledge", false)?,
        patience: options.seconds("timeout")?.unwrap_or(PATIENCE),
        lifecycle: options.flag("lifecycle", true)?,
        running: None,
        short_lives: 0,
    }))
}

fn command(options: Options<'_>) -> Result<(String, Vec<String>), Rejection> {
    let accepted = "a list of a program and its arguments, `[\"/usr/local/bin/alert\", \"--fast\"]`";
    let Some(value) = options.get("command") else {
        return Err(Rejection::new("command", format!("is missing; it takes {accepted}")));
    };
    let items = match value {
        Value::Array(items) => items.as_slice(),
        one => std::slice::from_ref(one),
    };
    let words: Option<Vec<String>> = items.iter().map(|item| item.as_str().map(str::to_owned)).collect();
    let words = words.filter(|words| !words.iter().any(|word| word.contains('\0')));
    match words.as_deref() {
        Some([program, arguments @ ..]) if !program.is_empty() => Ok((program.clone(), arguments.to_vec())),
        _ => Err(wrong("command", value, accepted)),
    }
}

struct Exec {
    /// The handler's.
    name: String,
    program: String,
    arguments: Vec<String>,
    lines: LineFormat,
    acknowledge: bool,
    patience: Duration,
    lifecycle: bool,
    running: Option<Running>,
    /// Programs in a row that ended soon.
    short_lives: u32,
}

impl Output for Exec {
    fn deliver<'a>(&'a mut self, batch: &'a [Arc<Event>]) -> Delivery<'a> {
        Box::pin(async move {
            let failed = |error| Failure { delivered: 0, error };
            let mut running = match self.running.take() {
                Some(running) => running,
                None => self.start().map_err(failed)?,
            };
            if let Ok(Some(status)) = running.child.try_wait() {
                return Err(failed(self.ended(running, status).await));
            }
            let lines = batch.iter().map(|event| self.lines.text_or_json(event) + "\n");
            let given = if self.acknowledge {
                running.ask(lines, self.patience).await
            } else {
                running.give(lines, self.patience).await
            };
            let (delivered, why) = match given {
                Ok(()) => {
                    self.running = Some(running);
                    return Ok(());
                }
                Err((delivered, why)) => (delivered, why),
            };
            let error = match why {
                Why::Said(error) => {
                    self.running = Some(running);
                    error
                }
                Why::Hung => {
                    let _ = running.child.start_kill();
                    let what = if self.acknowledge { "answered" } else { "read" };
                    let seconds = self.patience.as_secs_f32();
                    let reason = format!("`{}` {what} nothing for {seconds} s and was killed", self.program);
                    let _ = timeout(LAST_WORDS, running.child.wait()).await;
                    DeliveryError::Temporary { reason, retry_after: self.wait(running.since) }
                }
                Why::Closed => match timeout(self.patience, running.child.wait()).await {
                    Ok(Ok(status)) => self.ended(running, status).await,
                    Ok(Err(error)) => temporary(format!("`{}`: {error}", self.program)),
                    Err(_) => {
                        let _ = running.child.start_kill();
                        temporary(format!("`{}` closed its input and did not end; it was killed", self.program))
                    }
                },
            };
            Err(Failure { delivered, error })
        })
    }

    fn takes_lifecycle(&self) -> bool {
        self.lifecycle
    }

    fn batch_limit(&self) -> usize {
        64
    }

    /// Long: as long as the program makes progress, it is waited for.
    fn time_limit(&self) -> Duration {
        self.patience.saturating_mul(70)
    }
}

impl Exec {
    fn start(&mut self) -> Result<Running, DeliveryError> {
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(if self.acknowledge { Stdio::piped() } else { Stdio::null() })
            .stderr(Stdio::piped())
            // A signal to the canary's terminal is not meant for it; it ends after its last line.
            .process_group(0)
            .spawn();
        let refused = |reason: String| DeliveryError::Temporary {
            reason: format!("cannot start `{}`: {reason}", self.program),
            retry_after: None,
        };
        let mut child = child.map_err(|error| refused(error.to_string()))?;
        let (Some(input), Some(errors)) = (child.stdin.take(), child.stderr.take()) else {
            return Err(refused("no pipes".to_owned()));
        };
        let last_words = Arc::<Mutex<String>>::default();
        let mut listening = JoinSet::new();
        listening.spawn(listen(errors, self.name.clone(), Arc::clone(&last_words)));
        let answers = child.stdout.take().map(BufReader::new);
        Ok(Running { child, input, answers, listening, last_words, since: Instant::now() })
    }

    /// The program ended by itself: what to say of it, and how long to leave it alone.
    async fn ended(&mut self, mut running: Running, status: ExitStatus) -> DeliveryError {
        let _ = timeout(LAST_WORDS, running.listening.join_next()).await;
        let said = running.last_words.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let code = match status.code() {
            Some(code) => format!("exit code {code}"),
            // `signal: 9 (SIGKILL)`
            None => status.to_string(),
        };
        let mut reason = format!("`{}` ended with {code}", self.program);
        if !said.is_empty() {
            reason.push_str(": ");
            reason.push_str(&said);
        }
        DeliveryError::Temporary { reason, retry_after: self.wait(running.since) }
    }

    /// How long to wait before another start.
    fn wait(&mut self, since: Instant) -> Option<Duration> {
        if since.elapsed() >= SHORT {
            self.short_lives = 0;
            return None;
        }
        let wait = FIRST_WAIT.saturating_mul(1 << self.short_lives.min(10)).min(LONGEST_WAIT);
        self.short_lives = self.short_lives.saturating_add(1);
        Some(wait)
    }
}

/// A program that runs.
struct Running {
    child: Child,
    input: ChildStdin,
    answers: Option<BufReader<ChildStdout>>,
    /// Reads its standard error.
    listening: JoinSet<()>,
    last_words: Arc<Mutex<String>>,
    since: Instant,
}

/// Why not all was delivered.
enum Why {
    /// The program's word for the next event.
    Said(DeliveryError),
    /// Nothing happened for too long.
    Hung,
    /// It reads or answers no more.
    Closed,
}

impl Running {
    /// Writes lines and waits until all are read; the number is that of lines that were.
    async fn give(&mut self, lines: impl Iterator<Item = String>, patience: Duration) -> Result<(), (usize, Why)> {
        let mut ends = Vec::new();
        let mut bytes = Vec::new();
        for line in lines {
            bytes.extend_from_slice(line.as_bytes());
            ends.push(bytes.len());
        }
        let mut written = 0;
        let mut moved = Instant::now();
        let mut unread = usize::MAX;
        let mut pause = LOOK_FIRST;
        let why = loop {
            let rest = bytes.get(written..).unwrap_or_default();
            if rest.is_empty() {
                if unread == 0 {
                    return Ok(());
                }
                sleep(pause).await;
                pause = (pause * 2).min(LOOK_LAST);
            } else {
                match timeout(patience, self.input.write(rest)).await {
                    Ok(Ok(count @ 1..)) => {
                        written += count;
                        moved = Instant::now();
                    }
                    Ok(_) => break Why::Closed,
                    Err(_) => break Why::Hung,
                }
            }
            let now = self.unread();
            if now != unread {
                (unread, moved, pause) = (now, Instant::now(), LOOK_FIRST);
            }
            if unread > 0 && matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                break Why::Closed;
            }
            if moved.elapsed() > patience {
                break Why::Hung;
            }
        };
        let read = written.saturating_sub(self.unread());
        Err((ends.iter().take_while(|end| **end <= read).count(), why))
    }

    /// Bytes in the pipe that the program has not read.
    fn unread(&self) -> usize {
        let unread = rustix::io::ioctl_fionread(&self.input);
        unread.ok().and_then(|unread| usize::try_from(unread).ok()).unwrap_or(0)
    }

    /// Writes lines one by one, each after the answer to the one before.
    async fn ask(&mut self, lines: impl Iterator<Item = String>, patience: Duration) -> Result<(), (usize, Why)> {
        for (delivered, line) in lines.enumerate() {
            match timeout(patience, self.ask_one(&line)).await {
                Ok(Ok(())) => {}
                Ok(Err(why)) => return Err((delivered, why)),
                Err(_) => return Err((delivered, Why::Hung)),
            }
        }
        Ok(())
    }

    async fn ask_one(&mut self, line: &str) -> Result<(), Why> {
        let Some(answers) = &mut self.answers else { return Err(Why::Closed) };
        self.input.write_all(line.as_bytes()).await.map_err(|_| Why::Closed)?;
        let answer = read_line(answers).await.ok_or(Why::Closed)?;
        let (word, reason) = answer.split_once([' ', ':']).unwrap_or((&answer, ""));
        let reason = reason.trim_start_matches([' ', ':']).to_owned();
        let said = |otherwise: &str| if reason.is_empty() { otherwise.to_owned() } else { reason.clone() };
        match word {
            "ok" => Ok(()),
            "no" => Err(Why::Said(DeliveryError::Refused { reason: said("the program said `no`") })),
            "later" => Err(Why::Said(temporary(said("the program said `later`")))),
            _ => {
                let reason = format!("the program said `{answer}`, which is neither `ok` nor `later` nor `no`");
                Err(Why::Said(temporary(reason)))
            }
        }
    }
}

/// A line without its end, cut to [`LINE`] bytes; nothing at the end of the stream.
async fn read_line(from: &mut (impl tokio::io::AsyncBufRead + Unpin)) -> Option<String> {
    let mut line = Vec::new();
    let count = from.take(LINE).read_until(b'\n', &mut line).await.ok()?;
    if count == 0 {
        return None;
    }
    let mut over = line.last() == Some(&b'\n');
    while !over {
        // The rest of a line that is too long.
        let buffer = from.fill_buf().await.ok()?;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let used = end.map_or(buffer.len(), |end| end + 1);
        over = end.is_some() || buffer.is_empty();
        from.consume(used);
    }
    Some(String::from_utf8_lossy(&line).trim_end().to_owned())
}

/// Logs what a program says on its standard error and keeps the last of it.
async fn listen(errors: ChildStderr, name: String, last_words: Arc<Mutex<String>>) {
    let mut errors = BufReader::new(errors);
    while let Some(line) = read_line(&mut errors).await {
        if line.is_empty() {
            continue;
        }
        tracing::debug!(output = name, "the program says: {}", line.escape_debug());
        *last_words.lock().unwrap_or_else(PoisonError::into_inner) = line;
    }
}
