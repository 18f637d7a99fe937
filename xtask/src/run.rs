//! Running programs with a time limit, and counting what they report.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// Lines of output that are kept for counting and for telling what failed.
const KEPT: usize = 4000;

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// Whether it ended in time and with success.
    pub ok: bool,
    /// Why not, in a few words.
    pub why: String,
    /// Its last lines, standard output and error mixed.
    pub lines: Vec<String>,
    /// How long it took.
    pub took: Duration,
}

/// A program to run from the repository's root.
#[must_use]
pub fn command(root: &Path, program: impl AsRef<OsStr>, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root);
    command
}

/// Whether a program can be started at all.
#[must_use]
pub fn exists(program: &str) -> bool {
    let version = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    version.is_ok()
}

/// Runs a program, shows its output as it comes, and ends it with its children at the limit.
#[must_use]
pub fn run(command: Command, limit: Duration) -> Ended {
    run_beside(command, limit, "")
}

/// The same for a program that runs beside others: each of its lines begins with `mark`.
#[must_use]
pub fn run_beside(mut command: Command, limit: Duration, mark: &str) -> Ended {
    let begun = Instant::now();
    let mut lines = VecDeque::new();
    let ended =
        |ok: bool, why: String, lines: VecDeque<String>| Ended { ok, why, lines: lines.into(), took: begun.elapsed() };
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return ended(false, format!("cannot start {:?}: {error}", command.get_program()), lines),
    };
    let (sender, receiver) = channel();
    follow(child.stdout.take(), sender.clone());
    follow(child.stderr.take(), sender);
    loop {
        match receiver.recv_timeout(limit.saturating_sub(begun.elapsed())) {
            Ok(line) => {
                println!("{mark}{line}");
                if lines.len() == KEPT {
                    lines.pop_front();
                }
                lines.push_back(line);
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                end_group(&mut child);
                return ended(false, format!("took longer than {} s", limit.as_secs()), lines);
            }
        }
    }
    match child.wait() {
        Ok(status) if status.success() => ended(true, String::new(), lines),
        Ok(status) => ended(false, status.to_string(), lines),
        Err(error) => ended(false, error.to_string(), lines),
    }
}

fn follow(stream: Option<impl Read + Send + 'static>, sender: Sender<String>) {
    let Some(stream) = stream else { return };
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            if sender.send(text).is_err() {
                return;
            }
            line.clear();
        }
    });
}

/// Ends the child and everything that it started: all of its process group.
fn end_group(child: &mut Child) {
    let group = format!("-{}", child.id());
    let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
    let _ = child.kill();
    let _ = child.wait();
}

/// Longest extract of what failed.
const EXTRACT: usize = 40;

/// What a program that failed said of it: its lines that begin with `FAIL`, each with the indented ones below
/// it; where there are none, its last lines.
#[must_use]
pub fn complaint(lines: &[String]) -> Vec<String> {
    let mut told = Vec::new();
    let mut below = false;
    for line in lines {
        below = line.trim_start().starts_with("FAIL") || below && line.starts_with("     ");
        if below {
            told.push(line.clone());
        }
    }
    if told.is_empty() {
        told = lines.iter().rev().take(EXTRACT / 2).rev().cloned().collect();
    }
    told.truncate(EXTRACT);
    told
}

/// Tests or checks that a program counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Passed.
    pub passed: u64,
    /// Failed.
    pub failed: u64,
    /// Left out.
    pub skipped: u64,
}

impl Count {
    /// The sum of all counts in lines such as `3 passed, 1 failed, 2 skipped` or, from
    /// `cargo test`, `test result: ok. 3 passed; 0 failed; 0 ignored;`.
    #[must_use]
    pub fn of(lines: &[String]) -> Self {
        let mut sum = Self::default();
        for line in lines.iter().map(String::as_str).filter(|line| is_summary(line)) {
            let words: Vec<&str> = line.split_whitespace().collect();
            for pair in words.windows(2) {
                let [number, what] = pair else { continue };
                let Ok(number) = number.parse::<u64>() else { continue };
                match what.trim_end_matches([',', ';', '.']) {
                    "passed" => sum.passed += number,
                    "failed" => sum.failed += number,
                    "skipped" | "ignored" => sum.skipped += number,
                    _ => {}
                }
            }
        }
        sum
    }
}

fn is_summary(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("Summary [")
        || line.starts_with("test result:")
        || line.starts_with(|c: char| c.is_ascii_digit()) && line.contains(" passed, ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        command(Path::new("/"), "sh", &["-c", script])
    }

    #[test]
    fn counts_what_each_program_says() {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        for (text, passed, failed, skipped) in [
            ("     Summary [   3.2s] 31 tests run: 29 passed, 2 failed, 1 skipped", 29, 2, 1),
            ("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out", 3, 0, 1),
            ("40 passed, 2 failed, 1 skipped\n", 40, 2, 1),
            ("40 passed, 0 failed", 40, 0, 0),
            ("PASS login: 3 passed, 1 failed words in a name", 0, 0, 0),
        ] {
            assert_eq!(Count::of(&lines(text)), Count { passed, failed, skipped }, "{text}");
        }
    }

    #[test]
    fn complaints_are_what_failed_or_the_last_lines() {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let told = complaint(&lines("PASS a\nFAIL b: no\n     at line 3\nPASS c\n     detail\n  FAIL [0.1s] d\n"));
        assert_eq!(told, ["FAIL b: no", "     at line 3", "  FAIL [0.1s] d"]);
        let long: String = (0..100).map(|number| format!("{number}\n")).collect();
        assert_eq!(complaint(&lines(&long)).first().map(String::as_str), Some("80"));
    }

    #[test]
    fn tells_success_from_failure() {
        let good = run(shell("echo a; echo b >&2"), Duration::from_secs(20));
        assert!(good.ok, "{good:?}");
        assert_eq!(good.lines.len(), 2);
        assert!(!run(shell("exit 3"), Duration::from_secs(20)).ok);
        assert!(!run(command(Path::new("/"), "no-such-program", &[]), Duration::from_secs(20)).ok);
    }

    #[test]
    fn ends_what_takes_too_long_with_its_children() {
        let late = run(shell("sleep 60 & sleep 60"), Duration::from_millis(200));
        assert!(!late.ok && late.why.contains("longer than"), "{late:?}");
        assert!(late.took < Duration::from_secs(30));
    }
}
