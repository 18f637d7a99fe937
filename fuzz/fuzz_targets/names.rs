//! Any bytes as a datagram that may tell a name: it is the sender's and bounded, or there is none.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| aviary_testkit::oracle::names(data));
