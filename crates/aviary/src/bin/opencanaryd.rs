//! The program `opencanaryd`: starts `aviary` under its drop-in name.
//!
//! The two are one program; this one only finds it, beside itself or in the search path, so that a
//! package may as well ship a symbolic link of this name.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let beside = std::env::current_exe().ok().map(|own| own.with_file_name("aviary")).filter(|path| path.is_file());
    let program = beside.unwrap_or_else(|| PathBuf::from("aviary"));
    let error = Command::new(&program).arg0(OsStr::new("opencanaryd")).args(std::env::args_os().skip(1)).exec();
    eprintln!(
        "error: `{}` cannot be started: {error}; opencanaryd needs the program aviary beside it",
        program.display()
    );
    ExitCode::FAILURE
}
