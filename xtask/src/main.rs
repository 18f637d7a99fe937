//! `cargo xtask`: the developer's commands.

use std::process::ExitCode;

use anyhow::{Result, bail};

const USAGE: &str = "\
usage: cargo xtask COMMAND

  test [--quick]       everything that must hold; --quick leaves out fuzzing and real clients
  new service NAME     a new service folder from the template, and its two lines in the list
  docs [--check]       writes the tables of docs/events.md and schema/, or says what is stale
  console              builds the web console, which the next build of the hub takes in
  oui FILE...          makes the table of network vendors of the IEEE's listings
  fuzz [NAME] [SECONDS]  fuzzes one target, or all
  bench                runs the benches, the scripts in benches/ and the measurements of bench/";

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let root = xtask::root();
    match words.as_slice() {
        ["test"] => return Ok(xtask::stages::test(&root, false)),
        ["test", "--quick"] => return Ok(xtask::stages::test(&root, true)),
        ["new", "service", name] => xtask::scaffold::service(&root, name)?,
        ["docs"] => xtask::docs::write(&root)?,
        ["docs", "--check"] => xtask::docs::check(&root)?,
        ["fuzz"] => return Ok(xtask::fuzz::all(&root, 60)),
        ["fuzz", name] => return Ok(xtask::fuzz::one(&root, name, 600)),
        ["fuzz", name, seconds] => return Ok(xtask::fuzz::one(&root, name, seconds.parse()?)),
        ["console"] => xtask::console::build(&root)?,
        ["oui", listings @ ..] if !listings.is_empty() => xtask::oui::write(&root, listings)?,
        ["bench"] => return Ok(xtask::measure::all(&root)),
        [] | ["help" | "--help" | "-h"] => println!("{USAGE}"),
        other => bail!("no command `{}`\n{USAGE}", other.join(" ")),
    }
    Ok(ExitCode::SUCCESS)
}
