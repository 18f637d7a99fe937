//! The file outputs against what happens to log files: logrotate, deletion, a full disk, a crash.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use aviary_event::Value;
use aviary_output::Output;
use serde_json::json;
use tempfile::TempDir;

use crate::bench::{Setup, deliver_all, event, event_with, events, have, seqs, temporary};

const FILE: &str = "logging.FileHandler";
const ROTATING: &str = "logging.handlers.RotatingFileHandler";
const TIMED: &str = "logging.handlers.TimedRotatingFileHandler";

struct Log {
    folder: TempDir,
}

impl Log {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("x.log")
    }

    fn text(&self) -> String {
        read(&self.path())
    }

    fn setup(&self, class: &'static str, mut options: serde_json::Value) -> Setup {
        options["filename"] = json!(self.path());
        Setup::new(class, options)
    }

    fn output(&self) -> Box<dyn Output> {
        self.setup(FILE, json!({})).build()
    }

    /// Names of all files, sorted.
    fn names(&self) -> Vec<String> {
        let found = fs::read_dir(self.folder.path()).expect("the folder").flatten();
        let mut names: Vec<String> = found.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().append(true).create(true).open(path).expect("the file opens");
    file.write_all(text.as_bytes()).expect("it takes text");
}

#[tokio::test]
async fn appends_lines_that_its_group_may_read() {
    let log = Log::new();
    let mut output = log.output();
    deliver_all(&mut output, &events(1..=300)).await;
    assert_eq!(seqs(&log.text()), (1..=300).collect::<Vec<_>>());
    assert_eq!(log.text().lines().next(), Some(event(1).to_line(true).as_str()));
    let mode = fs::metadata(log.path()).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
}

#[tokio::test]
async fn follows_renames_deletions_and_truncations() {
    for class in [FILE, "logging.handlers.WatchedFileHandler", ROTATING, TIMED] {
        let log = Log::new();
        let mut output = log.setup(class, json!({})).build();
        deliver_all(&mut output, &events(1..=2)).await;
        fs::rename(log.path(), log.folder.path().join("moved")).expect("it moves");
        deliver_all(&mut output, &events(3..=4)).await;
        assert_eq!((seqs(&read(&log.folder.path().join("moved"))), seqs(&log.text())), (vec![1, 2], vec![3, 4]));
        fs::remove_file(log.path()).expect("it goes");
        deliver_all(&mut output, &events(5..=6)).await;
        assert_eq!(seqs(&log.text()), [5, 6]);
        fs::write(log.path(), "").expect("it is cut");
        deliver_all(&mut output, &events(7..=8)).await;
        assert_eq!(seqs(&log.text()), [7, 8]);
    }
}

#[tokio::test]
async fn loses_nothing_to_logrotate() {
    if !have("logrotate") {
        return;
    }
    for (how, old) in [("create", "x.log.1"), ("copytruncate", "x.log.1"), ("nocreate\ndateext", "x.log-")] {
        let log = Log::new();
        let mut output = log.output();
        let config = log.folder.path().join("rotate.conf");
        let path = log.path();
        fs::write(&config, format!("{} {{\nrotate 5\n{how}\nsu root root\n}}\n", path.display())).expect("a config");
        fs::set_permissions(log.folder.path(), fs::Permissions::from_mode(0o755)).expect("rights");
        deliver_all(&mut output, &events(1..=50)).await;
        let state = log.folder.path().join("state");
        let rotated = Command::new("logrotate").arg("-f").arg("-s").arg(&state).arg(&config).output().expect("it runs");
        if !rotated.status.success() {
            println!("skipped: logrotate says {}", String::from_utf8_lossy(&rotated.stderr));
            return;
        }
        deliver_all(&mut output, &events(51..=60)).await;
        let old = log.names().into_iter().find(|name| name.starts_with(old)).expect("a rotated file");
        assert_eq!(seqs(&read(&log.folder.path().join(old))), (1..=50).collect::<Vec<_>>(), "{how}");
        assert_eq!(seqs(&log.text()), (51..=60).collect::<Vec<_>>(), "{how}");
    }
}

#[tokio::test]
async fn names_a_folder_that_is_missing_and_goes_on_when_it_comes() {
    let log = Log::new();
    let path = log.folder.path().join("later/x.log");
    let mut output = Setup::new(FILE, json!({"filename": path})).build();
    let (_, reason) = temporary(&mut output, &events(1..=1)).await;
    assert!(reason.ends_with("later` does not exist"), "{reason}");
    fs::create_dir(log.folder.path().join("later")).expect("a folder");
    deliver_all(&mut output, &events(1..=1)).await;
    assert_eq!(seqs(&read(&path)), [1]);
}

#[tokio::test]
async fn writes_nothing_twice_after_a_restart() {
    let log = Log::new();
    deliver_all(&mut log.output(), &events(1..=10)).await;
    // Killed after writing and before it was noted: 6 to 10 come again.
    deliver_all(&mut log.output(), &events(6..=12)).await;
    assert_eq!(seqs(&log.text()), (1..=12).collect::<Vec<_>>());
    // All of a batch stands there, and the next does not.
    let mut output = log.output();
    deliver_all(&mut output, &events(11..=12)).await;
    deliver_all(&mut output, &events(13..=14)).await;
    assert_eq!(seqs(&log.text()), (1..=14).collect::<Vec<_>>());
}

/// Where the process that is to be killed writes, and from which event on.
const VICTIM: &str = "AVIARY_TEST_VICTIM";

#[tokio::test]
async fn holds_each_line_once_however_often_it_is_killed() {
    if let Ok(told) = std::env::var(VICTIM) {
        let (from, path) = told.split_once(' ').expect("a number and a path");
        let mut output = Setup::new(FILE, json!({"filename": path})).build();
        let mut next: u64 = from.parse().expect("a number");
        loop {
            deliver_all(&mut output, &events(next..next + 60)).await;
            next += 60;
        }
    }
    let log = Log::new();
    let (mut from, mut size) = (1, 0);
    for _ in 0..5 {
        let victim = Command::new(std::env::current_exe().expect("this program"))
            .args(["file::holds_each_line_once_however_often_it_is_killed", "--exact"])
            .env(VICTIM, format!("{from} {}", log.path().display()))
            .stdout(std::process::Stdio::null())
            .spawn();
        let victim = crate::bench::Running(victim.expect("this program starts"));
        let grown = || fs::metadata(log.path()).ok().map(|there| there.len()).filter(|now| *now > size + 300_000);
        size = crate::bench::until("the file to grow", grown).await;
        // `kill -9`, in the middle of whatever it does.
        drop(victim);
        // The journal's note of what is done is some batches old.
        let lines = log.text().matches('\n').count() as u64;
        from = lines.saturating_sub(150);
    }
    let lines = log.text().matches('\n').count() as u64;
    deliver_all(&mut log.output(), &events(lines - 100..=lines + 10)).await;
    assert_eq!(seqs(&log.text()), (1..=lines + 10).collect::<Vec<_>>());
}

#[tokio::test]
async fn finds_long_lines_again_however_far_back_they_begin() {
    let log = Log::new();
    let long = |seq| event_with(seq, Value::from("x".repeat(60_000)));
    let batch: Vec<_> = (1..=100).map(long).collect();
    deliver_all(&mut log.output(), &batch).await;
    deliver_all(&mut log.output(), &batch[1..]).await;
    assert_eq!(seqs(&log.text()).len(), 100);
}

#[tokio::test]
async fn finds_lines_again_that_were_rotated_away_in_between() {
    for (moved, class) in [("x.log.1", FILE), ("x.log-20261122", FILE), ("x.log.1", ROTATING)] {
        let log = Log::new();
        deliver_all(&mut log.setup(class, json!({})).build(), &events(1..=6)).await;
        fs::rename(log.path(), log.folder.path().join(moved)).expect("it moves");
        deliver_all(&mut log.setup(class, json!({})).build(), &events(4..=8)).await;
        assert_eq!(seqs(&log.text()), [7, 8], "{moved}");
    }
}

#[tokio::test]
async fn knows_lines_without_an_id_by_the_whole_line() {
    let log = Log::new();
    let plain = || Setup { extended: false, ..log.setup(FILE, json!({})) }.build();
    deliver_all(&mut plain(), &events(1..=4)).await;
    deliver_all(&mut plain(), &events(3..=6)).await;
    let lines: Vec<String> = events(1..=6).iter().map(|event| event.to_line(false)).collect();
    assert_eq!(log.text(), lines.join("\n") + "\n");
}

#[tokio::test]
async fn completes_the_half_line_of_a_crash() {
    let log = Log::new();
    deliver_all(&mut log.output(), &events(1..=2)).await;
    append(&log.path(), &event(3).to_line(true)[..40]);
    deliver_all(&mut log.output(), &events(2..=4)).await;
    assert_eq!(seqs(&log.text()), [1, 2, 3, 4]);
}

#[tokio::test]
async fn keeps_the_half_line_of_somebody_else() {
    let log = Log::new();
    append(&log.path(), "whole line\nhalf a li");
    let mut output = log.output();
    deliver_all(&mut output, &events(1..=1)).await;
    deliver_all(&mut output, &events(2..=2)).await;
    let (first, second) = (event(1).to_line(true), event(2).to_line(true));
    assert_eq!(log.text(), format!("whole line\nhalf a li\n{first}\n{second}\n"));
}

#[tokio::test]
async fn begins_with_an_empty_file_in_mode_w() {
    let log = Log::new();
    append(&log.path(), "old\n");
    let mut output = log.setup(FILE, json!({"mode": "w"})).build();
    deliver_all(&mut output, &events(1..=1)).await;
    fs::rename(log.path(), log.folder.path().join("moved")).expect("it moves");
    append(&log.path(), "");
    deliver_all(&mut output, &events(2..=2)).await;
    assert_eq!(seqs(&log.text()), [2]);
    assert_eq!(seqs(&read(&log.folder.path().join("moved"))), [1]);
}

#[tokio::test]
async fn takes_what_is_no_regular_file() {
    let mut output = Setup::new(FILE, json!({"filename": "/dev/null"})).build();
    deliver_all(&mut output, &events(1..=3)).await;
    let mut output = Setup::new(FILE, json!({"filename": "/dev/full"})).build();
    let (delivered, reason) = temporary(&mut output, &events(1..=3)).await;
    assert_eq!(delivered, 0);
    assert!(reason.contains("`/dev/full`: No space left on device"), "{reason}");
}

#[tokio::test]
async fn a_full_disk_leaves_no_half_line_and_loses_none() {
    let log = Log::new();
    let disk = log.folder.path().join("disk");
    fs::create_dir(&disk).expect("a folder");
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "none"]).arg(&disk).output();
    if !mounted.as_ref().is_ok_and(|done| done.status.success()) {
        println!("skipped: mounting a tmpfs needs root");
        return;
    }
    let unmount = scopeguard(|| Command::new("umount").arg("-l").arg(log.folder.path().join("disk")).output());
    let path = disk.join("x.log");
    let mut output = Setup::new(FILE, json!({"filename": path})).build();
    fs::write(disk.join("ballast"), vec![0; 20 * 1024]).expect("it fits");
    let batch = events(1..=200);
    let (mut done, mut fulls) = (0, 0);
    while done < 90 {
        let (delivered, reason) = temporary(&mut output, &batch[done..]).await;
        assert!(reason.contains("No space left"), "{reason}");
        done += delivered;
        let text = read(&path);
        assert!(text.ends_with('\n'), "half a line stays");
        assert_eq!(seqs(&text), (1..=done as u64).collect::<Vec<_>>());
        fulls += 1;
        match fulls {
            1 => {}
            2 => fs::remove_file(disk.join("ballast")).expect("it goes"),
            _ => break,
        }
    }
    assert!(done > 50, "{done}");
    // Somebody makes room by truncating the log itself.
    fs::write(&path, "").expect("it is cut");
    deliver_all(&mut output, &batch[done..done + 50]).await;
    assert_eq!(seqs(&read(&path)), (done as u64 + 1..=done as u64 + 50).collect::<Vec<_>>());
    drop(unmount);
}

/// Runs something at the end of the test, however it ends.
fn scopeguard<T>(end: impl FnMut() -> T) -> impl Drop {
    struct Guard<F: FnMut() -> T, T>(F);
    impl<F: FnMut() -> T, T> Drop for Guard<F, T> {
        fn drop(&mut self) {
            (self.0)();
        }
    }
    Guard(end)
}

#[tokio::test]
async fn rotates_by_size_and_keeps_every_line() {
    let log = Log::new();
    let line = event(10).to_line(true).len() as u64 + 1;
    let mut output = log.setup(ROTATING, json!({"maxBytes": line * 4 + 1, "backupCount": 3})).build();
    deliver_all(&mut output, &events(10..=23)).await;
    assert_eq!(log.names(), ["x.log", "x.log.1", "x.log.2", "x.log.3"]);
    let of = |name: &str| seqs(&read(&log.folder.path().join(name)));
    assert_eq!((of("x.log.3"), of("x.log.2")), ((10..=13).collect(), (14..=17).collect()));
    assert_eq!((of("x.log.1"), of("x.log")), ((18..=21).collect(), vec![22, 23]));
    deliver_all(&mut output, &events(24..=26)).await;
    assert_eq!((of("x.log.3"), of("x.log")), ((14..=17).collect::<Vec<_>>(), vec![26]), "the oldest goes");
    let mut huge = log.setup(ROTATING, json!({"maxBytes": 10, "backupCount": 1})).build();
    deliver_all(&mut huge, &events(27..=28)).await;
    assert_eq!((of("x.log.1"), of("x.log")), (vec![27], vec![28]), "a line longer than the limit");
}

#[tokio::test]
async fn never_rotates_by_size_when_a_limit_is_zero() {
    for options in [json!({"maxBytes": 10}), json!({"backupCount": 3})] {
        let log = Log::new();
        deliver_all(&mut log.setup(ROTATING, options).build(), &events(1..=5)).await;
        assert_eq!(log.names(), ["x.log"]);
    }
}

#[tokio::test]
async fn rotates_by_the_time_of_the_events() {
    let log = Log::new();
    let options = json!({"when": "M", "utc": true, "backupCount": 2});
    let mut output = log.setup(TIMED, options).build();
    // A second apart each, from 22:00:00 on.
    deliver_all(&mut output, &events([0, 10, 59, 60, 61, 119, 200, 201])).await;
    let of = |name: &str| seqs(&read(&log.folder.path().join(name)));
    assert_eq!(log.names(), ["x.log", "x.log.2026-11-22_22-00", "x.log.2026-11-22_22-01"]);
    assert_eq!(of("x.log.2026-11-22_22-00"), [0, 10, 59]);
    assert_eq!((of("x.log.2026-11-22_22-01"), of("x.log")), (vec![60, 61, 119], vec![200, 201]));
    deliver_all(&mut output, &events([400])).await;
    assert_eq!(log.names(), ["x.log", "x.log.2026-11-22_22-01", "x.log.2026-11-22_22-03"], "the oldest goes");
}

#[tokio::test]
async fn rotates_at_midnight_and_on_weekdays() {
    for (options, days, name) in [
        (json!({"when": "midnight", "utc": true}), 1, "x.log.2026-11-22"),
        (json!({"when": "midnight", "utc": true, "atTime": "02:30"}), 1, "x.log.2026-11-22"),
        // 2026-11-22 is a Sunday.
        (json!({"when": "W0", "utc": true}), 1, "x.log.2026-11-16"),
        (json!({"when": "w6", "utc": true}), 7, "x.log.2026-11-22"),
    ] {
        let log = Log::new();
        let mut output = log.setup(TIMED, options.clone()).build();
        let day = 24 * 3600;
        deliver_all(&mut output, &events([0, 3600])).await;
        assert_eq!(log.names(), ["x.log"], "{options}");
        deliver_all(&mut output, &events([days * day])).await;
        assert_eq!(log.names(), ["x.log", name], "{options}");
        assert_eq!(seqs(&log.text()), [days * day]);
    }
}

#[tokio::test]
async fn goes_on_in_the_old_file_when_it_cannot_be_rotated() {
    let log = Log::new();
    // A folder in the way cannot be replaced by a file.
    fs::create_dir_all(log.folder.path().join("x.log.1/full")).expect("a folder");
    let mut output = log.setup(ROTATING, json!({"maxBytes": 1000, "backupCount": 1})).build();
    deliver_all(&mut output, &events(1..=30)).await;
    assert_eq!(seqs(&log.text()), (1..=30).collect::<Vec<_>>());
}
