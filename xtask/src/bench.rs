//! `cargo xtask bench`: criterion's benches, then every script of `benches/` against the release
//! build. Nothing here passes or fails by time, since machines differ; what is printed is to be read.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use crate::clients;
use crate::run::{command, run};

/// Longest time of one bench.
const LIMIT: Duration = Duration::from_secs(1800);

/// Runs all of them; fails when one cannot run.
#[must_use]
pub fn all(root: &Path) -> ExitCode {
    let mut ok = run(command(root, "cargo", &["bench", "--workspace", "--benches"]), LIMIT).ok;
    let scripts = scripts(root);
    if !scripts.is_empty() {
        ok &= run(command(root, "cargo", &["build", "--release"]), LIMIT).ok;
        match clients::environment(root) {
            Ok((python, lacking)) => {
                for reason in lacking {
                    println!("not installed: {reason}");
                }
                for script in scripts {
                    println!("\n== {}", script.display());
                    let mut command = command(root, &python, &[]);
                    command.arg(&script).args(["--bin-dir", "target/release"]);
                    ok &= run(command, LIMIT).ok;
                }
            }
            Err(reason) => {
                println!("not run: {} scripts: {reason}", scripts.len());
                ok = false;
            }
        }
    }
    if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The scripts of `benches/`, in order; a name that begins with `_` is a part of others.
fn scripts(root: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(root.join("benches")).into_iter().flatten().flatten();
    let mut scripts: Vec<PathBuf> = files
        .map(|file| file.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "py"))
        .filter(|path| path.file_name().is_some_and(|name| !name.to_string_lossy().starts_with('_')))
        .collect();
    scripts.sort();
    scripts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_scripts_and_passes_over_their_parts() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(scripts(root.path()), Vec::<PathBuf>::new());
        let folder = root.path().join("benches");
        fs::create_dir(&folder).unwrap();
        for name in ["b.py", "a.py", "_part.py", "notes.md"] {
            fs::write(folder.join(name), "").unwrap();
        }
        assert_eq!(scripts(root.path()), [folder.join("a.py"), folder.join("b.py")]);
    }
}
