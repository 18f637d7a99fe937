//! The program `opencanaryd`: takes the place of OpenCanary's start script.

fn main() -> std::process::ExitCode {
    aviary::opencanaryd()
}
