//! `aviary status`: how a running canary is doing.

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::paint::{Ink, Style, Table};
use crate::process;

/// Show how the running canary is doing
///
/// Services bound, failed and why; outputs with last error, queue and oldest undelivered event; the
/// journal; the privileges held. Exits with 1 when a service or an output does not work.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  aviary status\n  aviary status --json | jq .outputs")]
pub(super) struct Arguments {
    #[command(flatten)]
    which: super::Which,
    /// Everything as one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let folder = arguments.which.state_dir();
    let status = process::small_runtime()?.block_on(aviary_sensor::ask(&folder, json!({"ask": "status"})))?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&status)?);
    } else {
        print!("{}", render(&status, Style::of_stdout()));
    }
    Ok(if all_well(&status) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn all_well(status: &Value) -> bool {
    let states_are = |list: &str, words: &[&str]| {
        let all = |item: &Value| item["state"].as_str().is_some_and(|state| words.contains(&state));
        status[list].as_array().into_iter().flatten().all(all)
    };
    states_are("services", &["listening", "watching", "asking", "following"])
        && states_are("outputs", &["working"])
        && status["journal"]["trouble"].is_null()
        && status["metrics"]["reason"].is_null()
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn render(status: &Value, style: Style) -> String {
    let mut out = format!(
        "aviary {} runs since {} s as process {}, {}\nconfig {}\nstate  {}\n\n",
        text(&status["version"]),
        status["uptime_seconds"],
        status["pid"],
        status["privileges"].as_array().into_iter().flatten().map(text).collect::<Vec<_>>().join(", "),
        text(&status["config"]),
        text(&status["state_dir"]),
    );
    let mut services = Table::new(&["host", "service", "address", "port", "connections", "state"]);
    for service in status["services"].as_array().into_iter().flatten() {
        let listening = service["state"] != "failed";
        let state = if listening { text(&service["state"]) } else { format!("failed: {}", text(&service["reason"])) };
        services.row(vec![
            (service["host"].as_str().unwrap_or("-").to_owned(), None),
            (text(&service["service"]), None),
            (text(&service["address"]), None),
            (
                if service["protocol"] == "udp" { format!("{}/udp", service["port"]) } else { text(&service["port"]) },
                None,
            ),
            (text(&service["connections"]), None),
            (state, Some(if listening { Ink::Good } else { Ink::Alarm })),
        ]);
    }
    out.push_str(&services.without_idle_column().print(style));
    out.push('\n');
    out.push_str(&outputs(status, style));
    let journal = &status["journal"];
    out.push_str(&format!(
        "\njournal: {} events reported, {} stored in {} bytes, {} could not be stored; {} connections now, {} events ignored by rule\n",
        journal["head"], journal["stored"], journal["bytes"], journal["unsaved"], status["connections"], status["ignored"],
    ));
    let capture = &status["capture"];
    if let Some(why) = capture["reason"].as_str() {
        out.push_str(&format!("capture: off: {why}\n"));
    } else if !capture.is_null() {
        out.push_str(&format!("capture: {} packets looked at, {} dropped\n", capture["packets"], capture["dropped"]));
    }
    let metrics = &status["metrics"];
    if let Some(why) = metrics["reason"].as_str() {
        let line = format!("metrics: not served at {}: {why}\n", text(&metrics["listen"]));
        out.push_str(&style.paint(Ink::Alarm, &line));
    } else if !metrics.is_null() {
        out.push_str(&format!("metrics: served at {}\n", text(&metrics["listen"])));
    }
    if !journal["trouble"].is_null() {
        out.push_str(&style.paint(Ink::Alarm, &format!("journal cannot be written: {}\n", text(&journal["trouble"]))));
    }
    out
}

/// The table of outputs.
pub(super) fn outputs(status: &Value, style: Style) -> String {
    let mut outputs = Table::new(&["output", "delivered", "refused", "queued", "oldest undelivered", "state"]);
    for output in status["outputs"].as_array().into_iter().flatten() {
        let state = text(&output["state"]);
        let why = if output["reason"].is_null() { text(&output["last_error"]) } else { text(&output["reason"]) };
        let ink = if state == "working" { Ink::Good } else { Ink::Alarm };
        let state = match (state.as_str(), why.as_str()) {
            (state, "") => state.to_owned(),
            ("working", why) => format!("working; last error at {}: {why}", text(&output["last_error_time"])),
            (state, why) => format!("{state}: {why}"),
        };
        outputs.row(vec![
            (text(&output["output"]), None),
            (text(&output["delivered"]), None),
            (text(&output["refused"]), None),
            (text(&output["queued"]), None),
            (text(&output["oldest_undelivered"]), None),
            (state, Some(ink)),
        ]);
    }
    outputs.print(style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_failed_and_why() {
        let status = json!({
            "services": [{"service": "ssh", "address": "*", "port": 22, "state": "failed",
                          "reason": "port 22 is taken by sshd (pid 7)", "connections": 0}],
            "outputs": [{"output": "file", "state": "failing", "last_error": "no space", "queued": 3}],
            "journal": {"trouble": null},
        });
        let shown = render(&status, Style::Plain);
        assert!(shown.contains("failed: port 22 is taken by sshd (pid 7)"), "{shown}");
        assert!(shown.contains("failing: no space"), "{shown}");
        assert!(!all_well(&status));
    }

    #[test]
    fn says_where_metrics_are_served_or_why_not() {
        let mut status = json!({"metrics": {"listen": "127.0.0.1:9464", "state": "listening", "reason": null}});
        assert!(render(&status, Style::Plain).contains("metrics: served at 127.0.0.1:9464\n"));
        assert!(all_well(&status));
        status["metrics"]["reason"] = json!("port 9464 is taken");
        assert!(render(&status, Style::Plain).contains("metrics: not served at 127.0.0.1:9464: port 9464 is taken\n"));
        assert!(!all_well(&status));
    }
}
