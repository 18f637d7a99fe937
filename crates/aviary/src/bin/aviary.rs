//! The program `aviary`.

fn main() -> std::process::ExitCode {
    aviary::aviary()
}
