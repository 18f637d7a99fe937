//! `aviary outputs`: how the outputs of a running canary do, and what can be done about it.

use std::process::ExitCode;

use aviary_event::Timestamp;
use serde_json::{Value, json};

use super::Which;
use crate::paint::{Ink, Style, Table};
use crate::process;

/// Show outputs, test them, and send again what was refused or lost
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  aviary outputs\n  aviary outputs test webhook\n  \
    aviary outputs replay file --since 2h")]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    which: Which,
    /// What the canary answers, as JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(clap::Subcommand)]
enum Command {
    /// State, queue, oldest waiting event, last success and last error of every output
    List,
    /// Send one marked event and show the receiver's answer
    Test {
        /// Its name in the config
        output: String,
    },
    /// Show events that a receiver refused for good
    Dead {
        /// Only those of this output
        output: Option<String>,
    },
    /// Send an output its refused events again
    Resend {
        /// Its name in the config
        output: String,
    },
    /// Forget an output's refused events
    Discard {
        /// Its name in the config
        output: String,
    },
    /// Send an output once more what the journal still has
    Replay {
        /// Its name in the config
        output: String,
        /// From when on: `90s`, `30m`, `2h`, `3d`, or a time such as 2026-11-25T00:00:00Z
        #[arg(long, value_name = "WHEN")]
        since: String,
    },
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let folder = arguments.which.state_dir();
    let ask = |question: Value| -> anyhow::Result<Value> {
        Ok(process::small_runtime()?.block_on(aviary_sensor::ask(&folder, question))?)
    };
    let command = arguments.command.as_ref().unwrap_or(&Command::List);
    let question = match command {
        Command::List => json!({"ask": "status"}),
        Command::Test { output } => json!({"ask": "test", "output": output}),
        Command::Dead { output } => json!({"ask": "dead", "output": output}),
        Command::Resend { output } => json!({"ask": "resend", "output": output}),
        Command::Discard { output } => json!({"ask": "discard", "output": output}),
        Command::Replay { output, since } => json!({"ask": "replay", "output": output, "since": since}),
    };
    let answer = ask(question)?;
    let is_good = !matches!(command, Command::Test { .. }) || answer["delivered"] == true;
    if arguments.json {
        let shown = if matches!(command, Command::List) { &answer["outputs"] } else { &answer };
        println!("{}", serde_json::to_string_pretty(shown)?);
    } else {
        print!("{}", said(command, &answer, Style::of_stdout()));
    }
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// An answer for people.
fn said(command: &Command, answer: &Value, style: Style) -> String {
    match command {
        Command::List => list(answer, style),
        Command::Test { output } if answer["delivered"] == true => {
            format!("{output}: delivered in {} ms, event {}\n", answer["milliseconds"], plain(&answer["id"]))
        }
        Command::Test { output } => {
            let what = if answer["untested"] == true { "not tested" } else { "not delivered" };
            format!("{output}: {what}: {}\n", plain(&answer["answer"]))
        }
        Command::Dead { .. } => letters(answer, style),
        Command::Resend { output } => format!("{output}: {} events are sent again\n", answer["sent"]),
        Command::Discard { output } => format!("{output}: {} events are forgotten\n", answer["discarded"]),
        Command::Replay { output, .. } => format!("{output}: {} events are sent once more\n", answer["replayed"]),
    }
}

/// A table of all outputs, and below it what was last wrong with each, in the receiver's own words.
fn list(status: &Value, style: Style) -> String {
    let mut table =
        Table::new(&["output", "class", "state", "queued", "oldest", "last success", "delivered", "refused"]);
    let now = status["time"].as_str().and_then(Timestamp::parse_rfc3339);
    let ago = |time: &Value| {
        let then = time.as_str().and_then(Timestamp::parse_rfc3339);
        now.zip(then).map(|(now, then)| now.as_micros().saturating_sub(then.as_micros()) / 1_000_000)
    };
    let shown_ago =
        |time: &Value| ago(time).map_or_else(|| "never".to_owned(), |seconds| format!("{} ago", span(seconds)));
    let mut notes = String::new();
    for output in status["outputs"].as_array().into_iter().flatten() {
        let name = plain(&output["output"]);
        let state = plain(&output["state"]);
        let next = ago(&output["next_try"]).map(|seconds| span(seconds.saturating_neg()));
        let shown = match (&next, output["activity"] == "delivering") {
            (Some(next), _) => format!("{state}, next try in {next}"),
            (None, true) => format!("{state}, delivers now"),
            (None, false) => state.clone(),
        };
        table.row(vec![
            (name.clone(), Some(Ink::Strong)),
            (plain(&output["class"]), None),
            (shown, Some(if state == "working" { Ink::Good } else { Ink::Alarm })),
            (plain(&output["queued"]), None),
            (output["oldest_seconds"].as_i64().map_or_else(|| "-".to_owned(), span), None),
            (shown_ago(&output["last_success"]), None),
            (plain(&output["delivered"]), None),
            (plain(&output["refused"]), None),
        ]);
        if let Some(why) = output["reason"].as_str() {
            notes.push_str(&format!("{name}: does not run: {why}\n"));
        }
        if let Some(why) = output["last_error"].as_str() {
            notes.push_str(&format!("{name}: last error, {}: {why}\n", shown_ago(&output["last_error_time"])));
        }
        if let Some(lost) = output["lost"].as_u64().filter(|lost| *lost > 0) {
            notes.push_str(&format!("{name}: {lost} events left the journal before they were delivered\n"));
        }
        if let Some(dead) = output["dead"].as_u64().filter(|dead| *dead > 0) {
            notes.push_str(&format!("{name}: {dead} refused events are kept; see `aviary outputs dead {name}`\n"));
        }
    }
    // What was refused by outputs that there no longer are.
    let is_there =
        |name: &str| status["outputs"].as_array().into_iter().flatten().any(|output| output["output"] == name);
    for (name, dead) in status["dead"].as_object().into_iter().flatten().filter(|(name, _)| !is_there(name)) {
        notes
            .push_str(&format!("{name}: gone, and {dead} refused events are kept; see `aviary outputs dead {name}`\n"));
    }
    format!("{}{notes}", table.print(style))
}

/// Seconds as people say them.
fn span(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{} s", seconds.max(0)),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

fn letters(answer: &Value, style: Style) -> String {
    let mut table = Table::new(&["output", "refused (UTC)", "log type", "source", "reason"]);
    for letter in answer["letters"].as_array().into_iter().flatten() {
        let event = &letter["event"];
        table.row(vec![
            (plain(&letter["output"]), None),
            (plain(&letter["time"]), None),
            (plain(&event["logtype"]), None),
            (plain(&event["src_host"]), None),
            (plain(&letter["reason"]), None),
        ]);
    }
    if answer["letters"].as_array().is_none_or(Vec::is_empty) {
        return "no event was refused\n".to_owned();
    }
    table.print(style)
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_says_how_long_things_wait_and_what_the_receiver_said() {
        let status = json!({"time": "2026-11-22T22:00:00.000000+00:00", "dead": {"hook": 1, "old": 2}, "outputs": [
            {"output": "hook", "class": "x.Hook", "state": "failing", "activity": "waiting", "queued": 7,
             "next_try": "2026-11-22T22:00:09.000000+00:00", "oldest_seconds": 125, "delivered": 3, "refused": 1,
             "last_success": "2026-11-22T20:00:00.000000+00:00", "last_error": "503 closed for lunch",
             "last_error_time": "2026-11-22T21:59:50.000000+00:00", "lost": 4, "dead": 1},
            {"output": "file", "class": "x.File", "state": "working", "activity": "idle", "queued": 0,
             "delivered": 0, "refused": 0, "lost": 0, "dead": 0, "last_error": null},
            {"output": "odd", "class": "x", "state": "failed", "activity": "idle", "reason": "`url`: is missing"},
        ]});
        let shown = list(&status, Style::Plain);
        let row = |name: &str| shown.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
        for part in ["x.Hook", "failing, next try in 9 s", "  7  ", "2 min", "2 h ago"] {
            assert!(row("hook").contains(part), "{part}: {shown}");
        }
        assert!(
            row("file").contains("working") && row("file").contains("never") && row("file").contains("  -  "),
            "{shown}"
        );
        for line in [
            "hook: last error, 10 s ago: 503 closed for lunch",
            "hook: 4 events left the journal before they were delivered",
            "hook: 1 refused events are kept; see `aviary outputs dead hook`",
            "old: gone, and 2 refused events are kept; see `aviary outputs dead old`",
            "odd: does not run: `url`: is missing",
        ] {
            assert!(shown.lines().any(|shown| shown == line), "{line}: {shown}");
        }
        assert_eq!([0, 59, 61, 7200, 200_000].map(span), ["0 s", "59 s", "1 min", "2 h", "2 d"]);
    }

    #[test]
    fn letters_show_what_was_refused_and_why() {
        let answer = json!({"letters": [{"output": "hook", "time": "2026-11-22 22:00:00.000000", "reason": "404 no",
                                          "event": {"logtype": 2000, "src_host": "10.0.0.9"}}]});
        let shown = letters(&answer, Style::Plain);
        assert!(shown.contains("hook") && shown.contains("2000") && shown.contains("404 no"), "{shown}");
        assert_eq!(letters(&json!({"letters": []}), Style::Plain), "no event was refused\n");
    }
}
