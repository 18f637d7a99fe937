//! Any bytes to one service, in the segments that the separator cuts. `AVIARY_FUZZ_SERVICE` names
//! the service; there is one program for all of them, since linking is what takes long.
#![no_main]

use std::path::Path;
use std::sync::OnceLock;

use aviary_service::Entry;
use aviary_services::ALL;
use aviary_testkit::battery::{Installation, Subject, fuzz_oracle};
use libfuzzer_sys::fuzz_target;

struct Target {
    entry: &'static Entry,
    installation: Installation,
}

static TARGET: OnceLock<Target> = OnceLock::new();

fn target() -> Target {
    let name = std::env::var("AVIARY_FUZZ_SERVICE").unwrap_or_default();
    let Some(entry) = ALL.iter().find(|entry| entry.name == name) else {
        let names: Vec<&str> = ALL.iter().map(|entry| entry.name).collect();
        panic!("AVIARY_FUZZ_SERVICE is `{name}`, not one of {names:?}");
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let installation = Subject::of(entry, &root).install().unwrap_or_else(|reason| panic!("{reason}"));
    Target { entry, installation }
}

fuzz_target!(|data: &[u8]| {
    let target = TARGET.get_or_init(target);
    fuzz_oracle(target.entry, &target.installation, data);
});
