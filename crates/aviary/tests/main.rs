//! The two programs from outside: real processes, real sockets, real files.

mod command_line;
mod config;
mod drill;
mod harness;
mod life;
mod limits;
mod outputs;
mod privileges;
mod receiver;
mod reload;
