//! The program `aviary`; under the name `opencanaryd`, OpenCanary's start script.

use std::path::Path;

fn main() -> std::process::ExitCode {
    let name = std::env::args_os().next();
    let name = name.as_deref().map(Path::new).and_then(Path::file_name);
    if name.is_some_and(|name| name == "opencanaryd") { aviary::opencanaryd() } else { aviary::aviary() }
}
