//! Real clients against the real binary: what they need, and the scripts of `tests/clients/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::run::{command, exists, run};

const VENV: &str = "target/clients-venv";

/// Longest time for one package, and for the first attempt with all of them.
const ONE_PACKAGE: Duration = Duration::from_secs(60);
const ALL_PACKAGES: Duration = Duration::from_secs(300);

/// A script, its arguments, and the longest time it may take.
#[derive(Clone, Copy, Debug)]
pub struct Script {
    /// File in `tests/clients/`.
    pub file: &'static str,
    /// Arguments after `--bin-dir DIR`.
    pub arguments: &'static [&'static str],
    /// Longest time in seconds.
    pub limit: u64,
}

impl Script {
    /// Its name in what is printed.
    #[must_use]
    pub fn name(&self) -> String {
        [&[self.file], self.arguments].concat().join(" ")
    }
}

/// The scripts, in the order in which they begin: the longest first, since several run at a time.
pub const SCRIPTS: &[Script] = &[
    Script { file: "real_services.py", arguments: &["--part", "1"], limit: 900 },
    Script { file: "real_services.py", arguments: &["--part", "2"], limit: 900 },
    Script { file: "real_clients.py", arguments: &[], limit: 900 },
    Script { file: "differential.py", arguments: &[], limit: 900 },
    Script { file: "hostile.py", arguments: &[], limit: 600 },
    Script { file: "scans.py", arguments: &[], limit: 600 },
    Script { file: "stealth.py", arguments: &[], limit: 600 },
    Script { file: "article.py", arguments: &[], limit: 600 },
    Script { file: "fingerprints.py", arguments: &[], limit: 300 },
    Script { file: "hosts.py", arguments: &[], limit: 600 },
    Script { file: "hub_console.py", arguments: &[], limit: 500 },
    Script { file: "chaos.py", arguments: &[], limit: 400 },
    Script { file: "hub_ingest.py", arguments: &[], limit: 500 },
    Script { file: "outputs_chat.py", arguments: &[], limit: 300 },
    Script { file: "outputs_metrics.py", arguments: &[], limit: 300 },
    Script { file: "outputs_hub.py", arguments: &[], limit: 300 },
    Script { file: "hub_api.py", arguments: &[], limit: 400 },
    Script { file: "hub_alerts.py", arguments: &[], limit: 400 },
    Script { file: "hub_sensors.py", arguments: &[], limit: 500 },
    Script { file: "outputs_python.py", arguments: &[], limit: 300 },
    Script { file: "outputs_queues.py", arguments: &[], limit: 300 },
    Script { file: "outputs_script.py", arguments: &[], limit: 300 },
    Script { file: "outputs_siem.py", arguments: &[], limit: 300 },
    Script { file: "outputs_streams.py", arguments: &[], limit: 300 },
    Script { file: "outputs_syslog.py", arguments: &[], limit: 300 },
    Script { file: "kill.py", arguments: &["--rounds", "100"], limit: 900 },
];

/// Lines of a list of packages, without remarks and empty lines.
fn packages(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.split('#').next()).map(str::trim).filter(|line| !line.is_empty()).collect()
}

/// Installs what `tests/clients/apt.txt` lists and is not there, when that can be done here; gives
/// what could not be installed, with the reason.
#[must_use]
pub fn install_programs(root: &Path) -> Vec<String> {
    let text = fs::read_to_string(root.join("tests/clients/apt.txt")).unwrap_or_default();
    let missing: Vec<&str> = packages(&text).into_iter().filter(|package| !is_installed(package)).collect();
    if missing.is_empty() {
        return Vec::new();
    }
    let because = |reason: &str| missing.iter().map(|package| format!("{package}: {reason}")).collect();
    if !exists("apt-get") {
        return because("there is no apt-get");
    }
    if !is_root() {
        return because("only root installs packages");
    }
    let apt = |words: &[&str], limit| {
        let mut apt = command(root, "apt-get", words);
        apt.env("DEBIAN_FRONTEND", "noninteractive");
        run(apt, limit)
    };
    if !apt(&["update", "-q"], ALL_PACKAGES).ok {
        return because("apt-get update failed");
    }
    let install = ["install", "-q", "-y", "--no-install-recommends"];
    let all: Vec<&str> = install.iter().chain(&missing).copied().collect();
    if apt(&all, ALL_PACKAGES).ok {
        return Vec::new();
    }
    // One that is not to be had must not keep the others away.
    let one = |package: &&str| {
        let words: Vec<&str> = install.iter().chain([package]).copied().collect();
        (!apt(&words, ONE_PACKAGE).ok).then(|| format!("{package}: apt-get cannot install it"))
    };
    missing.iter().filter_map(one).collect()
}

fn is_installed(package: &str) -> bool {
    let asked = Command::new("dpkg-query").args(["-W", "-f=${Status}", package]).output();
    asked.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("ok installed"))
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// The Python of an environment with what `tests/clients/requirements.txt` lists, and what could
/// not be installed. What `requirements-older.txt` lists goes into the folder `older` of the environment,
/// where only a check that asks for it finds it.
///
/// # Errors
/// When there is no Python, or it makes no environment.
pub fn environment(root: &Path) -> Result<(PathBuf, Vec<String>), String> {
    let python = root.join(VENV).join("bin/python");
    let wanted = fs::read_to_string(root.join("tests/clients/requirements.txt")).unwrap_or_default();
    let older = "tests/clients/requirements-older.txt";
    let marked = wanted.clone() + fs::read_to_string(root.join(older)).unwrap_or_default().as_str();
    let done = root.join(VENV).join("requirements.installed");
    if python.exists() && fs::read_to_string(&done).is_ok_and(|text| text == marked) {
        return Ok((python, Vec::new()));
    }
    if !python.exists() {
        let made = run(command(root, "python3", &["-m", "venv", VENV]), ALL_PACKAGES);
        if !made.ok {
            return Err(format!("no environment of Python: {}", made.why));
        }
    }
    let pip = |words: &[&str], limit| {
        let mut pip = command(root, &python, &["-m", "pip", "install", "-q", "--disable-pip-version-check"]);
        pip.args(words);
        run(pip, limit).ok
    };
    let mut failed = Vec::new();
    if !pip(&["-r", "tests/clients/requirements.txt"], ALL_PACKAGES) {
        let requirements = packages(&wanted);
        failed.extend(requirements.iter().filter(|one| !pip(&[**one], ONE_PACKAGE)).map(|one| format!("{one}: pip")));
    }
    let folder = format!("{VENV}/older");
    if !pip(&["--upgrade", "--target", &folder, "-r", older], ALL_PACKAGES) {
        failed.push(format!("{older}: pip"));
    }
    if failed.is_empty() {
        // Only a whole environment is not looked at again.
        let _ = fs::write(&done, &marked);
    }
    Ok((python, failed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remarks_and_empty_lines_are_no_packages() {
        assert_eq!(packages("nmap\n\n# all\n hydra # logins\nimpacket==0.12\n"), ["nmap", "hydra", "impacket==0.12"]);
    }

    #[test]
    fn an_unknown_package_is_not_installed() {
        assert!(!is_installed("no-such-package-at-all"));
    }
}
