//! Any text as an event line: what can be read is printed and read as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| aviary_testkit::oracle::event_line(data));
