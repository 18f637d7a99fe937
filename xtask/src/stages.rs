//! `cargo xtask test`: every stage one after another, and at the end what each came to.
//!
//! A stage that cannot run here is skipped, and the last lines say why; a stage that fails does not
//! keep the next from running, unless nothing could come of it.

use std::fmt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::clients::{self, SCRIPTS};
use crate::fuzz;
use crate::run::{Count, Ended, command, complaint, exists, run, run_beside};

/// Longest time of everything: twice what it takes on two cores, since a machine may be busy.
const WHOLE: Duration = Duration::from_secs(45 * 60);

/// Fuzz targets at once, which compute, and scripts of clients, which mostly wait.
const FUZZ_LANES: usize = 2;
const CLIENT_LANES: usize = 4;

/// Fuzzing of one target, unless the targets are so many that less remains for each.
const FUZZ_SECONDS: u64 = 20;

/// Time for fuzzing in all.
const FUZZ_WHOLE: u64 = 150;

/// What a stage came to.
#[derive(Debug)]
pub struct Outcome {
    name: String,
    took: Duration,
    count: Count,
    failure: Option<String>,
    skipped: Vec<String>,
    /// What it said of its failure.
    complaint: Vec<String>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Count { passed, failed, skipped } = self.count;
        write!(f, "{:<22} {:>6.1} s  ", self.name, self.took.as_secs_f64())?;
        match &self.failure {
            Some(why) => write!(f, "FAILED ({why})")?,
            None => f.write_str("ok")?,
        }
        if passed + failed + skipped > 0 {
            write!(f, ", {passed} passed, {failed} failed, {skipped} skipped")?;
        }
        for reason in &self.skipped {
            write!(f, "\n    skipped: {reason}")?;
        }
        Ok(())
    }
}

/// Stages that ran, and the time that remains.
struct Stages<'a> {
    root: &'a Path,
    begun: Instant,
    outcomes: Vec<Outcome>,
}

impl Stages<'_> {
    fn remaining(&self) -> Duration {
        WHOLE.saturating_sub(self.begun.elapsed())
    }

    fn announce(&self, name: &str) {
        println!("\n== {name} ({} s so far)", self.begun.elapsed().as_secs());
    }

    fn note(&mut self, name: &str, took: Duration, failure: Option<String>, skipped: Vec<String>) {
        let (name, count, complaint) = (name.to_owned(), Count::default(), Vec::new());
        self.outcomes.push(Outcome { name, took, count, failure, skipped, complaint });
    }

    /// Keeps how a program ended; a count of failures is one too, whatever it returned.
    fn keep(&mut self, name: &str, ended: &Ended) -> bool {
        let count = Count::of(&ended.lines);
        let failure = (!ended.ok)
            .then(|| ended.why.clone())
            .or_else(|| (count.failed > 0).then(|| "it says so itself".to_owned()));
        let ok = failure.is_none();
        let complaint = if ok { Vec::new() } else { complaint(&ended.lines) };
        let (name, took, skipped) = (name.to_owned(), ended.took, Vec::new());
        self.outcomes.push(Outcome { name, took, count, failure, skipped, complaint });
        ok
    }

    fn program(&mut self, name: &str, program: &str, arguments: &[&str], limit: u64) -> bool {
        self.announce(name);
        let limit = Duration::from_secs(limit).min(self.remaining());
        let ended = run(command(self.root, program, arguments), limit);
        self.keep(name, &ended)
    }

    fn cargo(&mut self, name: &str, arguments: &[&str], limit: u64) -> bool {
        self.program(name, "cargo", arguments, limit)
    }
}

/// Runs everything; `quick` leaves out fuzzing and real clients.
#[must_use]
pub fn test(root: &Path, quick: bool) -> ExitCode {
    let mut stages = Stages { root, begun: Instant::now(), outcomes: Vec::new() };
    stages.cargo("format", &["fmt", "--all", "--check"], 60);
    let lints = ["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"];
    stages.cargo("lints", &lints, 900);
    if exists("cargo-nextest") {
        stages.cargo("tests", &["nextest", "run", "--workspace", "--no-fail-fast"], 900);
    } else {
        stages.cargo("tests", &["test", "--quiet", "--workspace", "--lib", "--bins", "--tests", "--no-fail-fast"], 900);
    }
    stages.cargo("documentation tests", &["test", "--quiet", "--workspace", "--doc"], 600);
    licences(&mut stages);
    if quick {
        stages.note("fuzzing", Duration::ZERO, None, vec!["--quick".to_owned()]);
        stages.note("real clients", Duration::ZERO, None, vec!["--quick".to_owned()]);
    } else {
        fuzzing(&mut stages);
        real_clients(&mut stages);
    }
    summary(&stages.outcomes, stages.begun.elapsed())
}

fn licences(stages: &mut Stages<'_>) {
    if exists("cargo-deny") {
        // Advisories need the network and change from day to day; licences do not.
        stages.cargo("licences", &["deny", "--offline", "check", "licenses", "bans", "sources"], 120);
    } else {
        stages.note("licences", Duration::ZERO, None, vec!["cargo-deny is not installed".to_owned()]);
    }
}

fn fuzzing(stages: &mut Stages<'_>) {
    stages.announce("fuzzing");
    if let Some(reason) = fuzz::missing() {
        stages.note("fuzzing", Duration::ZERO, None, vec![reason]);
        return;
    }
    let limit = Duration::from_secs(420).min(stages.remaining());
    let built = fuzz::build(stages.root, limit);
    if !stages.keep("fuzz targets", &built) {
        return;
    }
    let targets = fuzz::targets();
    let count = u64::try_from(targets.len()).unwrap_or(u64::MAX).max(1);
    let seconds = FUZZ_SECONDS.min(FUZZ_WHOLE / count).max(2);
    let root = stages.root;
    let ended = beside(FUZZ_LANES, &targets, |target| fuzz::fuzz(root, *target, seconds));
    for (target, ended) in targets.iter().zip(&ended) {
        stages.keep(&format!("fuzz {}", target.name), ended);
    }
}

fn real_clients(stages: &mut Stages<'_>) {
    if !stages.cargo("release build", &["build", "--release", "--quiet"], 900) {
        return;
    }
    if !stages.root.join("target/release/opencanaryd").exists() {
        stages.note("real clients", Duration::ZERO, None, vec!["there is no `opencanaryd` yet".to_owned()]);
        return;
    }
    stages.announce("what the clients need");
    let begun = Instant::now();
    let mut lacking = clients::install_programs(stages.root);
    let python = match clients::environment(stages.root) {
        Ok((python, failed)) => {
            lacking.extend(failed);
            stages.note("what clients need", begun.elapsed(), None, lacking);
            python
        }
        Err(reason) => {
            lacking.push(reason);
            stages.note("real clients", begun.elapsed(), None, lacking);
            return;
        }
    };
    let python = python.to_string_lossy().into_owned();
    stages.announce("real clients, four scripts at a time");
    let (root, remaining) = (stages.root, stages.remaining());
    let ended = beside(CLIENT_LANES, SCRIPTS, |script| {
        let file = format!("tests/clients/{}", script.file);
        let mut arguments = vec![file.as_str(), "--bin-dir", "target/release"];
        arguments.extend(script.arguments);
        let limit = Duration::from_secs(script.limit).min(remaining);
        run_beside(command(root, &python, &arguments), limit, &format!("{}: ", script.name()))
    });
    for (script, ended) in SCRIPTS.iter().zip(&ended) {
        stages.keep(&script.name(), ended);
    }
}

/// Does the work for each item, so many at a time.
fn beside<T: Sync>(lanes: usize, items: &[T], work: impl Fn(&T) -> Ended + Sync) -> Vec<Ended> {
    let next = AtomicUsize::new(0);
    let lane = || {
        let mut done = Vec::new();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(place) else { return done };
            done.push((place, work(item)));
        }
    };
    let mut all: Vec<(usize, Ended)> = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..lanes).map(|_| scope.spawn(lane)).collect();
        lanes.into_iter().flat_map(|lane| lane.join().unwrap_or_default()).collect()
    });
    all.sort_by_key(|(place, _)| *place);
    all.into_iter().map(|(_, ended)| ended).collect()
}

fn summary(outcomes: &[Outcome], took: Duration) -> ExitCode {
    for outcome in outcomes.iter().filter(|outcome| outcome.failure.is_some()) {
        println!("\n== what failed in {}", outcome.name);
        for line in &outcome.complaint {
            println!("{line}");
        }
    }
    println!("\n== summary");
    let mut sum = Count::default();
    for outcome in outcomes {
        println!("{outcome}");
        sum.passed += outcome.count.passed;
        sum.failed += outcome.count.failed;
        sum.skipped += outcome.count.skipped;
    }
    let failed = outcomes.iter().filter(|outcome| outcome.failure.is_some()).count();
    let left_out = outcomes.iter().filter(|outcome| !outcome.skipped.is_empty()).count();
    println!("stages: {} ran, {failed} failed, {left_out} skipped something, {} s", outcomes.len(), took.as_secs());
    println!("{} passed, {} failed, {} skipped", sum.passed, sum.failed, sum.skipped);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stages() -> Stages<'static> {
        Stages { root: Path::new("/"), begun: Instant::now(), outcomes: Vec::new() }
    }

    #[test]
    fn a_failed_stage_fails_the_whole() {
        let mut stages = stages();
        assert!(stages.program("good", "sh", &["-c", "echo 2 passed, 0 failed"], 20));
        assert_eq!(format!("{:?}", summary(&stages.outcomes, Duration::ZERO)), format!("{:?}", ExitCode::SUCCESS));
        assert!(!stages.program("bad", "sh", &["-c", "echo 1 passed, 1 failed; exit 0"], 20), "it counted a failure");
        assert!(!stages.program("worse", "sh", &["-c", "exit 1"], 20));
        assert_eq!(format!("{:?}", summary(&stages.outcomes, Duration::ZERO)), format!("{:?}", ExitCode::FAILURE));
    }

    #[test]
    fn work_beside_other_work_keeps_its_order() {
        let said = beside(2, &["c", "a", "b"], |word| run(command(Path::new("/"), "echo", &[word]), WHOLE));
        let lines: Vec<_> = said.iter().map(|ended| ended.lines.join(" ")).collect();
        assert_eq!(lines, ["c", "a", "b"]);
    }

    #[test]
    fn an_outcome_says_what_was_left_out() {
        let mut stages = stages();
        stages.note("fuzzing", Duration::from_millis(1500), None, vec!["there is no nightly toolchain".to_owned()]);
        assert_eq!(
            stages.outcomes[0].to_string(),
            "fuzzing                   1.5 s  ok\n    skipped: there is no nightly toolchain"
        );
    }
}
