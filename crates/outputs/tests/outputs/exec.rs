//! Programs that read, answer, end, hang and die.

use std::path::{Path, PathBuf};
use std::time::Duration;

use aviary_output::{DeliveryError, Output};
use serde_json::{Value as Json, json};

use crate::bench::{Setup, deliver, deliver_all, event, events, seqs, temporary, until};

fn output(script: &str, change: Json) -> Box<dyn Output> {
    let mut options = json!({"command": ["/bin/sh", "-c", script]});
    options.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
    Setup { format: "<%(message)s>", ..Setup::new("aviary.exec", options) }.build()
}

fn got(path: &Path) -> Vec<u64> {
    seqs(&std::fs::read_to_string(path).unwrap_or_default())
}

fn file() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("got");
    (folder, path)
}

fn retry_after(failure: &aviary_output::Failure) -> Option<Duration> {
    match &failure.error {
        DeliveryError::Temporary { retry_after, .. } => *retry_after,
        DeliveryError::Refused { .. } => None,
    }
}

#[tokio::test]
async fn gives_lines_to_one_program_that_ends_with_the_canary() {
    let (_folder, path) = file();
    let mut output = output(&format!("cat >> {0}; echo $$ >> {0}.end", path.display()), json!({}));
    deliver_all(&mut output, &events(1..=300)).await;
    deliver_all(&mut output, &events(301..=301)).await;
    drop(output);
    let end = path.with_extension("end");
    until("the program's end", || end.exists().then_some(())).await;
    assert_eq!(got(&path), (1..=301).collect::<Vec<_>>());
    let text = std::fs::read_to_string(&path).expect("the file");
    assert_eq!(text.lines().next(), Some(event(1).to_line(true).as_str()));
}

#[tokio::test]
async fn says_with_which_code_and_words_a_program_ended() {
    let mut output = output("echo too bad >&2; exit 3", json!({}));
    for wait in [500, 1000, 2000] {
        let Some(Err(failure)) = deliver(&mut output, &events(1..=1)).await else { panic!("it ended") };
        assert_eq!(failure.error.to_string(), "`/bin/sh` ended with exit code 3: too bad");
        assert_eq!((failure.delivered, retry_after(&failure)), (0, Some(Duration::from_millis(wait))));
    }
}

#[tokio::test]
async fn gives_the_next_program_what_the_last_one_had_not_read() {
    let (_folder, path) = file();
    // `read` of the shell takes no byte more than its line.
    let script = format!("read -r line; printf '%s\\n' \"$line\" >> {}; kill -9 $$", path.display());
    let mut output = output(&script, json!({}));
    let mut left = events(1..=4);
    let mut said = Vec::new();
    while !left.is_empty() {
        match deliver(&mut output, &left).await {
            Some(Ok(())) => break,
            Some(Err(failure)) => {
                left.drain(..failure.delivered);
                said.push(failure.error.to_string());
            }
            None => panic!("no answer within the limit"),
        }
    }
    until("the last line", || (got(&path).len() >= 4).then_some(())).await;
    assert_eq!(got(&path), [1, 2, 3, 4]);
    assert!(said.contains(&"`/bin/sh` ended with signal: 9 (SIGKILL)".to_owned()), "{said:?}");
}

#[tokio::test]
async fn kills_a_program_that_does_not_read() {
    let mut output = output("exec sleep 1000", json!({"timeout": 0.2}));
    let (delivered, reason) = temporary(&mut output, &events(1..=3)).await;
    assert_eq!((delivered, reason.as_str()), (0, "`/bin/sh` read nothing for 0.2 s and was killed"));
    // More than a pipe holds.
    let (delivered, reason) = temporary(&mut output, &events(0..500)).await;
    assert_eq!((delivered, reason.as_str()), (0, "`/bin/sh` read nothing for 0.2 s and was killed"));
}

#[tokio::test]
async fn waits_for_a_program_that_is_slow_but_reads() {
    let (_folder, path) = file();
    let script = format!("while read -r l; do sleep 0.05; printf '%s\\n' \"$l\" >> {}; done", path.display());
    let mut output = output(&script, json!({"timeout": 1}));
    deliver_all(&mut output, &events(1..=30)).await;
    drop(output);
    until("all lines", || (got(&path).len() == 30).then_some(())).await;
}

#[tokio::test]
async fn takes_the_programs_answer_for_each_event() {
    let (_folder, path) = file();
    let script = format!(
        "n=0; while read -r l; do n=$((n+1)); case $n in 2) echo 'no: not mine';; 3) echo later please;; *) printf '%s\\n' \"$l\" >> {}; echo ok;; esac; done",
        path.display()
    );
    let mut output = output(&script, json!({"acknowledge": true}));
    let batch = events(1..=4);
    let Some(Err(failure)) = deliver(&mut output, &batch).await else { panic!("the second is refused") };
    assert_eq!((failure.delivered, failure.error.to_string().as_str()), (1, "refused: not mine"));
    assert_eq!(temporary(&mut output, &batch[2..]).await, (0, "please".to_owned()));
    deliver_all(&mut output, &batch[2..]).await;
    assert_eq!(got(&path), [1, 3, 4]);
}

#[tokio::test]
async fn takes_no_noise_for_an_answer_and_no_answer_for_another_event() {
    let (_folder, path) = file();
    let keep = format!("printf '%s\\n' \"$l\" >> {}", path.display());
    for (says, reason) in [
        ("echo what", "answered `what`, which is neither `ok` nor `later` nor `no`, and was killed"),
        ("printf '\\nok\\n'", "answered ``, which is neither `ok` nor `later` nor `no`, and was killed"),
        // The second `ok` must not be the answer to an event that the program has not looked at.
        ("printf 'ok\\nok\\n'", "said `ok` without being asked, and was killed"),
    ] {
        std::fs::remove_file(&path).ok();
        let script = format!("read -r l; {keep}; {says}; exec sleep 60");
        let mut output = output(&script, json!({"acknowledge": true}));
        let (delivered, said) = temporary(&mut output, &events(1..=2)).await;
        assert!(said.ends_with(reason), "{said}");
        assert_eq!((delivered, got(&path)), (usize::from(reason.starts_with("said")), vec![1]), "{says}");
    }
}

#[tokio::test]
async fn puts_an_event_off_when_the_program_says_so_or_dies_before_its_answer() {
    let mut output = output("read -r l; echo later the disk is full; read -r l; exit 0", json!({"acknowledge": true}));
    assert_eq!(temporary(&mut output, &events(1..=1)).await, (0, "the disk is full".to_owned()));
    assert_eq!(temporary(&mut output, &events(1..=1)).await, (0, "`/bin/sh` ended with exit code 0".to_owned()));
}

#[tokio::test]
async fn says_what_cannot_be_started() {
    let options = json!({"command": "/no/such/program"});
    let (_, reason) = temporary(&mut Setup::new("aviary.exec", options).build(), &events(1..=1)).await;
    assert!(reason.starts_with("cannot start `/no/such/program`: No such file"), "{reason}");
}

#[tokio::test]
async fn stands_endless_noise_from_a_program() {
    let noise = "head -c 300000 /dev/zero | tr '\\0' x >&2; echo >&2; head -c 100000 /dev/zero | tr '\\0' y; echo; ";
    let mut output = output(&format!("{noise} cat > /dev/null"), json!({"acknowledge": true}));
    let (_, reason) = temporary(&mut output, &events(1..=1)).await;
    assert!(reason.starts_with("`/bin/sh` answered `yyy") && reason.len() < 5000, "{}", reason.len());
}
