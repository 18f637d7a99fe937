//! `aviary simulate`, as a process.

use std::process::Command;

fn simulate(arguments: &[&str]) -> (bool, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_aviary")).arg("simulate").args(arguments).output().expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (output.status.success(), text(output.stdout), text(output.stderr))
}

#[test]
fn writes_the_same_lines_for_the_same_seed() {
    let (good, lines, told) = simulate(&["--events", "500", "--sensors", "20", "--seed", "9"]);
    assert!(good && told.starts_with("500 events in "), "{told}");
    assert_eq!(lines.lines().count(), 500);
    for line in lines.lines() {
        aviary_event::Event::parse(line).expect("an event");
    }
    assert_eq!(simulate(&["--events", "500", "--sensors", "20", "--seed", "9"]).1, lines);
    assert_ne!(simulate(&["--events", "500", "--sensors", "20", "--seed", "10"]).1, lines);
}

#[test]
fn says_what_is_wrong() {
    for (arguments, word) in [
        (&["--start", "yesterday"][..], "`--start` is no time"),
        (&["--pace", "0"], "`--pace` is not above 0"),
        (&["--hub", "https://127.0.0.1:1"], "--token-file"),
        (
            &["--hub", "https://127.0.0.1:1", "--token-file", "/nonexistent/tokens"],
            "`/nonexistent/tokens` cannot be read",
        ),
        (&["--to", "/nonexistent/events"], "`/nonexistent/events` cannot be written"),
    ] {
        let (good, _, told) = simulate(arguments);
        assert!(!good && told.contains(word), "{arguments:?}: {told}");
    }
}
