//! Puts the console into the program: built here if Node is there, as it lies in `console/dist` if not, or not at all. Whatever
//! goes wrong with it, the hub is built, and its page says how to get the console.

use std::collections::hash_map::DefaultHasher;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::hash::{Hash, Hasher};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;

/// What the console is made of; `dist` and `node_modules` are what comes of it.
const SOURCES: [&str; 8] = [
    "index.html",
    "package.json",
    "package-lock.json",
    "vite.config.ts",
    "svelte.config.js",
    "tsconfig.json",
    "public",
    "src",
];
/// In `dist`: the hash of the sources that it was built of.
const STAMP: &str = ".stamp";
/// In `node_modules`: the hash of the list that it was installed from.
const INSTALLED: &str = ".installed";
/// Longest time for one step, so that a network that does not answer holds no build for ever.
const PATIENCE: Duration = Duration::from_secs(240);

fn main() -> io::Result<()> {
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let console = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../console");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=AVIARY_CONSOLE");
    for source in SOURCES {
        println!("cargo::rerun-if-changed={}", console.join(source).display());
    }
    let dist = console.join("dist");
    let left_out = env::var("AVIARY_CONSOLE").is_ok_and(|word| word == "none");
    if !left_out && let Err(why) = build(&console, &dist) {
        println!("cargo::warning=the console was not built: {why}; `cargo xtask console` builds it when Node is there");
        // What somebody builds by hand later is looked at again.
        println!("cargo::rerun-if-changed={}", console.display());
    }
    embed(&out, if left_out { None } else { Some(dist.as_path()) })
}

/// Builds `dist`, unless it is what the sources make.
fn build(console: &Path, dist: &Path) -> Result<(), String> {
    let told = |error: io::Error| error.to_string();
    let mut hasher = DefaultHasher::new();
    for source in SOURCES {
        hash(&console.join(source), &mut hasher).map_err(told)?;
    }
    let stamp = format!("{:016x}", hasher.finish());
    if fs::read_to_string(dist.join(STAMP)).is_ok_and(|text| text == stamp) {
        return Ok(());
    }
    let mut hasher = DefaultHasher::new();
    hash(&console.join("package-lock.json"), &mut hasher).map_err(told)?;
    let installed = format!("{:016x}", hasher.finish());
    let mark = console.join("node_modules").join(INSTALLED);
    if !fs::read_to_string(&mark).is_ok_and(|text| text == installed) {
        npm(console, &["ci", "--prefer-offline", "--no-audit", "--no-fund", "--ignore-scripts"])?;
        fs::write(&mark, &installed).map_err(told)?;
    }
    npm(console, &["run", "build"])?;
    fs::write(dist.join(STAMP), stamp).map_err(told)
}

/// Names and contents of a file or folder, in an order that does not change.
fn hash(path: &Path, hasher: &mut DefaultHasher) -> io::Result<()> {
    if path.is_dir() {
        for below in children(path)? {
            hash(&below, hasher)?;
        }
        return Ok(());
    }
    path.file_name().hash(hasher);
    fs::read(path)?.hash(hasher);
    Ok(())
}

fn children(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut all = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
    all.sort();
    Ok(all)
}

fn npm(console: &Path, words: &[&str]) -> Result<(), String> {
    let mut command = Command::new(if cfg!(windows) { "npm.cmd" } else { "npm" });
    command.args(words).current_dir(console).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let said = words.join(" ");
    let mut child = command.spawn().map_err(|error| format!("`npm` cannot be started ({error})"))?;
    let begun = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(format!("`npm {said}` failed ({status})")),
            Err(error) => return Err(format!("`npm {said}` was lost ({error})")),
            Ok(None) if begun.elapsed() > PATIENCE => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("`npm {said}` took longer than {} s", PATIENCE.as_secs()));
            }
            Ok(None) => sleep(Duration::from_millis(100)),
        }
    }
}

/// Writes `console_files.rs`: every file, compressed, with its path below `/console/`.
fn embed(out: &Path, dist: Option<&Path>) -> io::Result<()> {
    let mut files = Vec::new();
    if let Some(dist) = dist.filter(|dist| dist.join("index.html").is_file()) {
        gather(dist, dist, &mut files)?;
    }
    let folder = out.join("console");
    fs::create_dir_all(&folder)?;
    let mut list = String::from("&[\n");
    for (number, (name, path)) in files.iter().enumerate() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&fs::read(path)?)?;
        let packed = folder.join(format!("{number}.gz"));
        fs::write(&packed, encoder.finish()?)?;
        writeln!(list, "    ({name:?}, include_bytes!({packed:?})),").map_err(io::Error::other)?;
    }
    list.push_str("]\n");
    fs::write(out.join("console_files.rs"), list)
}

fn gather(root: &Path, folder: &Path, files: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    for path in children(folder)? {
        if path.is_dir() {
            gather(root, &path, files)?;
        } else if let Ok(name) = path.strip_prefix(root)
            && !name.starts_with(STAMP)
        {
            let steps: Vec<_> = name.components().map(|step| step.as_os_str().to_string_lossy().into_owned()).collect();
            files.push((steps.join("/"), path));
        }
    }
    Ok(())
}
