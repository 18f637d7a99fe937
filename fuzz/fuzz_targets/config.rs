//! Any text as a configuration, in both spellings: it is read, or every problem has a place.
#![no_main]

use aviary_services::ALL;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| aviary_testkit::oracle::config(data, ALL.iter().map(|entry| entry.keys)));
