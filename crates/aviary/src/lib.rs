//! The command line: `aviary`, one file a subcommand, and `opencanaryd`, its drop-in name.

mod command;
mod configuration;
mod joined;
mod opencanaryd;
mod paint;
mod process;
mod terminal;

pub use command::main as aviary;
pub use opencanaryd::main as opencanaryd;
