//! The console output, in a process of its own: what it writes goes to this test's pipe.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;
use tokio::time::timeout;

use crate::bench::{Setup, deliver_all, events, seqs, temporary};

/// Set in the process whose standard output is looked at.
const ROLE: &str = "AVIARY_TEST_CONSOLE";

/// Runs one test of this binary again with a piped standard output.
fn again(test: &str, role: &str) -> std::process::Child {
    Command::new(std::env::current_exe().expect("this program"))
        .args([test, "--exact", "--nocapture"])
        .env(ROLE, role)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("this program starts")
}

#[tokio::test]
async fn writes_lines_to_standard_output() {
    let mut output = Setup::new("logging.StreamHandler", json!({"stream": "ext://sys.stdout"})).build();
    if std::env::var(ROLE).is_ok() {
        deliver_all(&mut output, &events(1..=3)).await;
        return;
    }
    let child = again("console::writes_lines_to_standard_output", "lines");
    let text = String::from_utf8(child.wait_with_output().expect("it ends").stdout).expect("text");
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("\"seq\"")).collect();
    assert_eq!(seqs(&lines.join("\n")), [1, 2, 3]);
}

#[tokio::test]
async fn a_pipe_that_nobody_reads_stops_neither_the_runtime_nor_the_exit() {
    if std::env::var(ROLE).is_ok() {
        let mut output = Setup::new("logging.StreamHandler", json!({"stream": "ext://sys.stdout"})).build();
        let batch = events(1..=2000);
        for _ in 0..2 {
            let hanging = timeout(Duration::from_millis(100), output.deliver(&batch)).await;
            assert!(hanging.is_err(), "a pipe does not hold all that");
        }
        // Not by returning, since the test harness wants to print. Leaving is what matters.
        std::process::exit(42);
    }
    let mut child = again("console::a_pipe_that_nobody_reads_stops_neither_the_runtime_nor_the_exit", "stall");
    let pipe = child.stdout.take();
    let code = crate::bench::until("the program's end", || child.try_wait().expect("it runs")).await.code();
    assert_eq!(code, Some(42));
    drop(pipe);
}

#[tokio::test]
async fn a_closed_pipe_is_worth_trying_again() {
    if std::env::var(ROLE).is_ok() {
        let mut output = Setup::new("logging.StreamHandler", json!({"stream": "ext://sys.stdout"})).build();
        // The reader goes away some time after the start.
        for _ in 0..500 {
            if output.deliver(&events(1..=1)).await.is_err() {
                let (delivered, reason) = temporary(&mut output, &events(1..=1)).await;
                assert_eq!(delivered, 0);
                assert!(reason.starts_with("cannot write to standard output: Broken pipe"), "{reason}");
                std::process::exit(42);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        std::process::exit(1);
    }
    let mut child = again("console::a_closed_pipe_is_worth_trying_again", "closed");
    let mut pipe = child.stdout.take().expect("a pipe");
    pipe.read_exact(&mut [0; 10]).expect("it writes");
    drop(pipe);
    let code = crate::bench::until("the program's end", || child.try_wait().expect("it runs")).await.code();
    assert_eq!(code, Some(42));
}
