//! Any bytes as frames: they are read or not, and what is told of scans holds together.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| aviary_testkit::oracle::scan(data));
