//! `aviary outputs`: how the outputs of a running canary do, and what can be done about it.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::{Which, status};
use crate::paint::{Style, Table};
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
}

#[derive(clap::Subcommand)]
enum Command {
    /// Health, queue and last error of every output, and how many events were refused
    List,
    /// Send one marked event and show the receiver's answer
    Test {
        /// Its name in `logger.kwargs.handlers`
        output: String,
    },
    /// Show events that a receiver refused for good
    Dead {
        /// Only those of this output
        output: Option<String>,
        /// Everything as one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Send an output its refused events again
    Resend {
        /// Its name in `logger.kwargs.handlers`
        output: String,
    },
    /// Forget an output's refused events
    Discard {
        /// Its name in `logger.kwargs.handlers`
        output: String,
    },
    /// Send an output once more what the journal still has
    Replay {
        /// Its name in `logger.kwargs.handlers`
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
    let style = Style::of_stdout();
    match arguments.command.as_ref().unwrap_or(&Command::List) {
        Command::List => {
            let (found, dead) = (ask(json!({"ask": "status"}))?, ask(json!({"ask": "dead"}))?);
            print!("{}", status::outputs(&found, style));
            for (output, count) in dead["counts"].as_object().into_iter().flatten() {
                println!("{output}: {count} refused events are kept; see `aviary outputs dead {output}`");
            }
        }
        Command::Test { output } => {
            let answer = ask(json!({"ask": "test", "output": output}))?;
            if answer["delivered"] == true {
                println!("{output}: delivered in {} ms, event {}", answer["milliseconds"], plain(&answer["id"]));
            } else {
                let what = if answer["untested"] == true { "not tested" } else { "not delivered" };
                println!("{output}: {what}: {}", plain(&answer["answer"]));
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Dead { output, json } => {
            let answer = ask(json!({"ask": "dead", "output": output}))?;
            if *json {
                println!("{}", serde_json::to_string_pretty(&answer)?);
            } else {
                print!("{}", letters(&answer, style));
            }
        }
        Command::Resend { output } => {
            let answer = ask(json!({"ask": "resend", "output": output}))?;
            println!("{output}: {} events are sent again", answer["sent"]);
        }
        Command::Discard { output } => {
            let answer = ask(json!({"ask": "discard", "output": output}))?;
            println!("{output}: {} events are forgotten", answer["discarded"]);
        }
        Command::Replay { output, since } => {
            let answer = ask(json!({"ask": "replay", "output": output, "since": since}))?;
            println!("{output}: {} events are sent once more", answer["replayed"]);
        }
    }
    Ok(ExitCode::SUCCESS)
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
    fn letters_show_what_was_refused_and_why() {
        let answer = json!({"letters": [{"output": "hook", "time": "2026-11-22 22:00:00.000000", "reason": "404 no",
                                          "event": {"logtype": 2000, "src_host": "10.0.0.9"}}]});
        let shown = letters(&answer, Style::Plain);
        assert!(shown.contains("hook") && shown.contains("2000") && shown.contains("404 no"), "{shown}");
        assert_eq!(letters(&json!({"letters": []}), Style::Plain), "no event was refused\n");
    }
}
