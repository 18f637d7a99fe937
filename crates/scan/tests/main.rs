//! Captures in, events out: what is told of every kind of scan, and that nothing is told of anything else.

mod captures;
mod compatible;
mod never;
mod replay;
mod scans;
mod tools;
