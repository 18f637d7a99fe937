//! The two programs from outside: real processes, real sockets, real files.

#[cfg(test)]
mod command_line;
#[cfg(test)]
mod config;
#[cfg(test)]
mod drill;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod hosts;
#[cfg(test)]
mod joined;
#[cfg(test)]
mod life;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod modules;
#[cfg(test)]
mod outputs;
#[cfg(test)]
mod privileges;
#[cfg(test)]
mod receiver;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod simulate;
#[cfg(test)]
mod upkeep;
