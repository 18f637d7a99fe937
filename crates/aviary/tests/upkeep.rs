//! `aviary hub backup|restore|check`, as processes beside a running hub.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

fn aviary(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_aviary")).args(arguments).output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text)
}

struct Hub {
    child: Child,
    address: String,
    token: String,
}

impl Hub {
    fn start(state: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_aviary"))
            .args(["hub", "--listen", "127.0.0.1:0", "--state"])
            .arg(state)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let (mut address, mut token) = (String::new(), String::new());
        for line in BufReader::new(child.stdout.take().expect("its output")).lines() {
            let line = line.expect("a line");
            if let Some(rest) = line.strip_prefix("Aviary hub at ") {
                address = rest.split(' ').next().unwrap_or_default().to_owned();
            }
            if line.trim().starts_with("avt_") {
                token = line.trim().to_owned();
                break;
            }
        }
        Self { child, address, token }
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_hub_is_copied_while_it_runs_and_put_back_when_it_does_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let (state, copy, tokens, certificate) = (path("state"), path("copy.db"), path("tokens"), path("state/ca.crt"));
    let hub = Hub::start(Path::new(&state));
    std::fs::write(&tokens, &hub.token).expect("written");
    let (good, told) = aviary(&[
        "simulate",
        "--events",
        "500",
        "--hub",
        &hub.address,
        "--token-file",
        &tokens,
        "--verify",
        &certificate,
    ]);
    assert!(good, "{told}");
    let (good, told) = aviary(&["hub", "backup", &copy, "--state", &state]);
    assert!(good && told.contains(" bytes in `"), "{told}");
    let (good, told) = aviary(&["hub", "backup", &copy, "--state", &state]);
    assert!(!good && told.contains("exists already"), "{told}");
    let (good, told) = aviary(&["hub", "check", "--state", &state]);
    assert!(good && told.contains("500 events") && told.contains("sound"), "{told}");
    let (good, told) = aviary(&["hub", "restore", &copy, "--state", &state]);
    assert!(!good && told.contains("in use by another process"), "{told}");
    drop(hub);
    std::fs::write(path("state/hub.db"), "what a broken disk left").expect("written");
    for log in ["state/hub.db-wal", "state/hub.db-shm"] {
        let _ = std::fs::remove_file(path(log));
    }
    let (good, told) = aviary(&["hub", "check", "--state", &state]);
    assert!(!good && told.contains("is no store of a hub"), "{told}");
    let (good, told) = aviary(&["hub", "restore", &path("tokens"), "--state", &state]);
    assert!(!good && told.contains("is no store of a hub"), "{told}");
    let (good, told) = aviary(&["hub", "restore", &copy, "--state", &state]);
    assert!(good && told.contains("The store before is in `"), "{told}");
    let (good, told) = aviary(&["hub", "check", "--state", &state]);
    assert!(good && told.contains("500 events"), "{told}");
    let (good, told) = aviary(&["hub", "check", &path("none"), "--state", &state]);
    assert!(!good && told.contains("there is no store at"), "{told}");
    let (good, told) = aviary(&["hub", "--keep", "soon"]);
    assert!(!good && told.contains("such as 90d"), "{told}");
}
