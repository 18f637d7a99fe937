//! Captures in, events out: what is told of every kind of scan, and that nothing is told of anything else.

mod compatible;
mod floods;
mod never;
mod replay;
mod scans;
mod settings;
mod tools;
