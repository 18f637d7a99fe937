//! Fuzzing: builds the targets of `fuzz/` as cargo-fuzz does, and runs each for a while.
//!
//! A finding is copied to `fuzz/regressions/<target>/`, where an ordinary test replays it for ever.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use aviary_services::ALL;

use crate::run::{Ended, command, run};

const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// What libFuzzer needs of the compiler: counters at each edge, and comparisons.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing";

/// Longest input, and most memory in MiB.
const LIMITS: [&str; 3] = ["-max_len=8192", "-rss_limit_mb=1536", "-timeout=10"];

/// A target: its program and, for services, the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The program in `fuzz/`.
    pub program: &'static str,
    /// The target's name: folder of corpus and findings.
    pub name: &'static str,
}

/// Every target.
#[must_use]
pub fn targets() -> Vec<Target> {
    let services = ALL.iter().map(|entry| Target { program: "service", name: entry.name });
    ["config", "event_line", "names", "scan"]
        .map(|name| Target { program: name, name })
        .into_iter()
        .chain(services)
        .collect()
}

/// Why nothing can be fuzzed here, if so.
#[must_use]
pub fn missing() -> Option<String> {
    let nightly = Command::new("rustc").args(["+nightly", "--version"]).output();
    if !nightly.is_ok_and(|output| output.status.success()) {
        return Some("there is no nightly toolchain".to_owned());
    }
    let host = Command::new("rustc").args(["+nightly", "-vV"]).output();
    let host = host.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    (!host.contains(TRIPLE)).then(|| format!("fuzzing is set up for {TRIPLE} alone"))
}

/// Builds the targets' programs.
#[must_use]
pub fn build(root: &Path, limit: Duration) -> Ended {
    // The same versions as the workspace; cargo adds what only `fuzz/` needs.
    let _ = fs::copy(root.join("Cargo.lock"), root.join("fuzz/Cargo.lock"));
    let arguments = ["+nightly", "build", "--release", "--manifest-path", "fuzz/Cargo.toml", "--target", TRIPLE];
    let mut command = command(root, "cargo", &arguments);
    command.env("RUSTFLAGS", FLAGS).env_remove("CARGO_ENCODED_RUSTFLAGS").env_remove("RUSTUP_TOOLCHAIN");
    // Set by `cargo run`, and they would name the other toolchain's programs.
    command.env_remove("CARGO").env_remove("RUSTC");
    run(command, limit)
}

/// Runs a target that was built, for some seconds.
#[must_use]
pub fn fuzz(root: &Path, target: Target, seconds: u64) -> Ended {
    let found = root.join("fuzz/found").join(target.name);
    let artifacts = root.join("fuzz/artifacts").join(target.name);
    let seeds = root.join("fuzz/corpus").join(target.name);
    for folder in [&found, &artifacts] {
        let _ = fs::create_dir_all(folder);
    }
    let program = root.join("fuzz/target").join(TRIPLE).join("release").join(target.program);
    let mut command = command(root, program, &LIMITS);
    command.arg(format!("-max_total_time={seconds}")).arg("-verbosity=0").arg("-print_final_stats=1");
    command.arg(format!("-artifact_prefix={}/", artifacts.display())).arg(&found);
    if seeds.is_dir() {
        command.arg(&seeds);
    }
    command.env("AVIARY_FUZZ_SERVICE", target.name);
    let mut ended = run(command, Duration::from_secs(seconds + 60));
    let kept = keep(&artifacts, &root.join("fuzz/regressions").join(target.name));
    if !ended.ok && !kept.is_empty() {
        let kept: Vec<String> = kept.iter().map(|path| path.display().to_string()).collect();
        ended.why = format!("{}; kept as {}", ended.why, kept.join(", "));
    }
    ended
}

/// Moves findings to where the replay looks for them. A slow input is no fault by itself.
fn keep(artifacts: &Path, regressions: &Path) -> Vec<PathBuf> {
    let mut kept = Vec::new();
    for file in fs::read_dir(artifacts).into_iter().flatten().flatten() {
        let name = file.file_name();
        if name.to_string_lossy().starts_with("slow-unit") {
            continue;
        }
        let target = regressions.join(name);
        if fs::create_dir_all(regressions).is_ok()
            && fs::copy(file.path(), &target).is_ok()
            && fs::remove_file(file.path()).is_ok()
        {
            kept.push(target);
        }
    }
    kept
}

/// Builds and runs every target, one after another.
#[must_use]
pub fn all(root: &Path, seconds: u64) -> ExitCode {
    some(root, &targets(), seconds)
}

/// Builds and runs one target.
#[must_use]
pub fn one(root: &Path, name: &str, seconds: u64) -> ExitCode {
    let chosen: Vec<Target> = targets().into_iter().filter(|target| target.name == name).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = targets().iter().map(|target| target.name).collect();
        eprintln!("error: no target `{name}`; there are {names:?}");
        return ExitCode::FAILURE;
    }
    some(root, &chosen, seconds)
}

fn some(root: &Path, targets: &[Target], seconds: u64) -> ExitCode {
    if let Some(reason) = missing() {
        eprintln!("error: {reason}");
        return ExitCode::FAILURE;
    }
    if !build(root, Duration::from_secs(1800)).ok {
        return ExitCode::FAILURE;
    }
    let mut code = ExitCode::SUCCESS;
    for target in targets {
        let ended = fuzz(root, *target, seconds);
        println!("{}: {}", target.name, if ended.ok { "nothing found" } else { &ended.why });
        if !ended.ok {
            code = ExitCode::FAILURE;
        }
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_kept_for_the_replay() {
        let root = tempfile::tempdir().unwrap();
        let (artifacts, regressions) = (root.path().join("a"), root.path().join("r/ftp"));
        fs::create_dir(&artifacts).unwrap();
        for name in ["crash-1", "slow-unit-2"] {
            fs::write(artifacts.join(name), name).unwrap();
        }
        assert_eq!(keep(&artifacts, &regressions), [regressions.join("crash-1")]);
        assert_eq!(fs::read(regressions.join("crash-1")).unwrap(), b"crash-1");
        assert_eq!(keep(&artifacts, &regressions), [""; 0].map(PathBuf::from), "nothing twice");
    }

    #[test]
    fn every_target_has_seeds() {
        for target in targets() {
            let seeds = crate::root().join("fuzz/corpus").join(target.name);
            assert!(fs::read_dir(&seeds).is_ok_and(|mut files| files.next().is_some()), "{} is empty", seeds.display());
        }
    }
}
