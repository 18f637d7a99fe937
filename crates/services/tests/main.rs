//! What every service must stand, and the checks themselves, seen to fail.
//!
//! All integration tests of the crate are one binary, since linking costs more than running.

#[cfg(test)]
mod battery;
#[cfg(test)]
mod broken;
// What `cargo xtask new service` copies; here it is compiled, tested and put through the batteries.
#[cfg(test)]
#[path = "../../../xtask/template/service/mod.rs"]
mod echo;
#[cfg(test)]
mod replay;
